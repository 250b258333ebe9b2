//! Where requests wait while every endpoint is full: first come, first served, over all workers
//! and without locks.
//!
//! Each worker keeps its own waiters in a [`Line`] and publishes the ticket of the first in the
//! shared [`Queue`]. The lowest published ticket is next. Whoever makes room wakes that one only;
//! once served it wakes the next, as there may be room for more.
//!
//! No wake-up is lost: both sides write, fence, and only then read. A waiter publishes its ticket
//! and its waker, then looks for room; the other side makes room (or leaves the line), then looks
//! for waiters. Whichever fence comes second sees what the other wrote.
//!
//! Two tickets drawn at the same moment by two workers may be served in either order: the lower
//! one may not be published yet when the higher one looks.

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "waiters race on threads, up to a deadline"
)]
mod tests;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::task::Waker;

use atomic_waker::AtomicWaker;

/// The part of a pool's queue that all workers share.
#[derive(Debug)]
pub struct Queue {
    length: u32,
    waiting: AtomicU32,
    next_ticket: AtomicU64,
    heads: Box<[Head]>,
}

/// A place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

/// The first waiter of one worker.
#[derive(Debug)]
#[repr(align(64))]
struct Head {
    /// Its ticket, or [`NOBODY`].
    ticket: AtomicU64,
    waker: AtomicWaker,
}

/// One worker's waiters.
#[derive(Debug)]
pub(crate) struct Line {
    worker: usize,
    /// By ticket, ascending.
    waiters: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    /// `None` until polled while not the first of the line: the first has its waker in [`Head`].
    waker: Option<Waker>,
}

const NOBODY: u64 = u64::MAX;

impl Queue {
    pub(crate) fn new(length: u32, workers: usize) -> Self {
        let nobody = |_| Head {
            ticket: AtomicU64::new(NOBODY),
            waker: AtomicWaker::new(),
        };
        Self {
            length,
            waiting: AtomicU32::new(0),
            next_ticket: AtomicU64::new(0),
            heads: (0..workers).map(nobody).collect(),
        }
    }

    /// Requests waiting, over all workers.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Wakes whoever is next, after the caller made room or changed who is first.
    pub(crate) fn wake_first(&self) {
        fence(Ordering::SeqCst);
        if self.waiting() == 0 {
            return;
        }
        let first = self
            .heads
            .iter()
            .min_by_key(|head| head.ticket.load(Ordering::Relaxed));
        if let Some(head) = first {
            head.waker.wake();
        }
    }

    fn count_in(&self) -> bool {
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        let one_more = |waiting| (waiting < self.length).then_some(waiting + 1);
        self.waiting.fetch_update(set, fetch, one_more).is_ok()
    }
}

impl Line {
    pub(crate) fn new(worker: usize) -> Self {
        Self {
            worker,
            waiters: VecDeque::new(),
        }
    }

    /// Takes a place at the end, or `None` if the queue is full.
    pub(crate) fn join(&mut self, queue: &Queue) -> Option<Ticket> {
        if !queue.count_in() {
            return None;
        }
        let ticket = queue.next_ticket.fetch_add(1, Ordering::Relaxed);
        self.waiters.push_back(Waiter {
            ticket,
            waker: None,
        });
        if self.waiters.len() == 1 {
            self.publish_head(queue);
        }
        Some(Ticket(ticket))
    }

    /// True if `ticket` is the first over all workers. Asks for a wake-up in any case.
    pub(crate) fn is_first(&mut self, ticket: Ticket, waker: &Waker, queue: &Queue) -> bool {
        let position = self
            .position(ticket)
            .expect("a ticket is polled before it is used up");
        if position > 0 {
            self.waiters[position].waker = Some(waker.clone());
            return false;
        }
        queue.heads[self.worker].waker.register(waker);
        fence(Ordering::SeqCst);
        queue
            .heads
            .iter()
            .all(|head| head.ticket.load(Ordering::Relaxed) >= ticket.0)
    }

    /// Gives up a place, and wakes whoever is next. Does nothing if `ticket` has no place.
    pub(crate) fn leave(&mut self, ticket: Ticket, queue: &Queue) {
        let Some(position) = self.position(ticket) else {
            return;
        };
        self.waiters.remove(position);
        queue.waiting.fetch_sub(1, Ordering::Relaxed);
        if position == 0 {
            self.publish_head(queue);
            queue.wake_first();
        }
    }

    /// Gives up every place.
    pub(crate) fn clear(&mut self, queue: &Queue) {
        while let Some(waiter) = self.waiters.front() {
            self.leave(Ticket(waiter.ticket), queue);
        }
    }

    fn publish_head(&mut self, queue: &Queue) {
        let head = &queue.heads[self.worker];
        let ticket = match self.waiters.front_mut() {
            Some(waiter) => {
                // Without a waker it has not been polled yet; its first poll will look itself.
                if let Some(waker) = waiter.waker.take() {
                    head.waker.register(&waker);
                }
                waiter.ticket
            }
            None => NOBODY,
        };
        head.ticket.store(ticket, Ordering::Relaxed);
    }

    fn position(&self, ticket: Ticket) -> Option<usize> {
        self.waiters
            .binary_search_by_key(&ticket.0, |waiter| waiter.ticket)
            .ok()
    }
}
