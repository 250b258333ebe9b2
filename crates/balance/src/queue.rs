//! Where requests wait while every endpoint is full: first come, first served, over all workers
//! and without locks. Under standing overload the last to come is served first: see
//! [`Discipline`].
//!
//! Each worker keeps its own waiters in a [`Line`] and publishes both [`Ends`] of it in the shared
//! [`Queue`]. The lowest published ticket is next, or newest first the highest. Whoever makes room
//! wakes that one only; once served it wakes the next, as there may be room for more.
//!
//! No wake-up is lost: both sides write, fence, and only then read. A waiter publishes its ticket
//! and its waker, then looks whose turn it is, and for room; the other side makes room (or leaves
//! the line, or turns the order round), then looks for waiters. Whichever fence comes second sees
//! what the other wrote.
//!
//! Two tickets drawn at the same moment by two workers may be served in either order: one may not
//! be published yet when the other one looks.

mod discipline;
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

use crate::endpoint::NEVER;
use discipline::Discipline;

/// The part of a pool's queue that all workers share.
#[derive(Debug)]
pub struct Queue {
    length: u32,
    waiting: AtomicU32,
    next_ticket: AtomicU64,
    discipline: Discipline,
    lines: Box<[Ends]>,
}

/// A place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

/// The waiters of one worker who may be next. One who waits alone is both of them.
#[derive(Debug)]
#[repr(align(64))]
struct Ends {
    oldest: End,
    newest: End,
    /// When the oldest joined, in µs of the pool's time; [`NEVER`]: nobody waits.
    waits_since: AtomicU64,
}

#[derive(Debug)]
struct End {
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
    /// In µs of the pool's time.
    since: u64,
    /// `None` until polled. Its [`End`] has a copy while it is one.
    waker: Option<Waker>,
}

/// No ticket; the first one is the next number.
const NOBODY: u64 = 0;

impl Queue {
    pub(crate) fn new(length: u32, workers: usize) -> Self {
        Self {
            length,
            waiting: AtomicU32::new(0),
            next_ticket: AtomicU64::new(NOBODY + 1),
            discipline: Discipline::new(),
            lines: (0..workers).map(|_| Ends::default()).collect(),
        }
    }

    /// Requests waiting, over all workers.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// True under standing overload: the last to come is served first.
    pub fn is_newest_first(&self) -> bool {
        self.discipline.is_newest_first()
    }

    /// Wakes whoever is next, after the caller made room or changed who is next.
    pub(crate) fn wake_next(&self) {
        fence(Ordering::SeqCst);
        if self.waiting() == 0 {
            return;
        }
        if let Some((_, end)) = self.next() {
            end.waker.wake();
        }
    }

    /// Whose turn it is, with the ticket. `None` if no ticket is published.
    fn next(&self) -> Option<(u64, &End)> {
        if self.is_newest_first() {
            let newest = self.lines.iter().map(|ends| &ends.newest);
            tickets(newest).max_by_key(|(ticket, _)| *ticket)
        } else {
            let oldest = self.lines.iter().map(|ends| &ends.oldest);
            tickets(oldest).min_by_key(|(ticket, _)| *ticket)
        }
    }

    /// How long the oldest of all has waited, in µs.
    fn delay(&self, now: u64) -> u64 {
        let waits_since = |ends: &Ends| ends.waits_since.load(Ordering::Relaxed);
        let since = self.lines.iter().map(waits_since).min();
        now.saturating_sub(since.unwrap_or(NEVER))
    }

    fn count_in(&self) -> bool {
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        let one_more = |waiting| (waiting < self.length).then_some(waiting + 1);
        self.waiting.fetch_update(set, fetch, one_more).is_ok()
    }

    fn count_out(&self) {
        if self.waiting.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.discipline.rest();
        }
    }
}

/// The ends where somebody waits.
fn tickets<'a>(ends: impl Iterator<Item = &'a End>) -> impl Iterator<Item = (u64, &'a End)> {
    ends.map(|end| (end.ticket.load(Ordering::Relaxed), end))
        .filter(|(ticket, _)| *ticket != NOBODY)
}

impl Line {
    pub(crate) fn new(worker: usize) -> Self {
        Self {
            worker,
            waiters: VecDeque::new(),
        }
    }

    /// Takes a place at the end, or `None` if the queue is full. `now` is in µs.
    pub(crate) fn join(&mut self, queue: &Queue, now: u64) -> Option<Ticket> {
        if !queue.count_in() {
            return None;
        }
        let ticket = queue.next_ticket.fetch_add(1, Ordering::Relaxed);
        self.waiters.push_back(Waiter {
            ticket,
            since: now,
            waker: None,
        });
        self.publish(queue);
        Some(Ticket(ticket))
    }

    /// True if `ticket` is next over all workers. Asks for a wake-up in any case.
    pub(crate) fn is_next(&mut self, ticket: Ticket, waker: &Waker, queue: &Queue) -> bool {
        let position = self
            .position(ticket)
            .expect("a ticket is polled before it is used up");
        self.waiters[position].waker = Some(waker.clone());
        let Ends { oldest, newest, .. } = &queue.lines[self.worker];
        if position == 0 {
            oldest.waker.register(waker);
        }
        if position + 1 == self.waiters.len() {
            newest.waker.register(waker);
        }
        fence(Ordering::SeqCst);
        queue.next().is_some_and(|(next, _)| next == ticket.0)
    }

    /// Gives up a place because its turn has come, at `now` in µs, and wakes whoever is next.
    pub(crate) fn serve(&mut self, ticket: Ticket, queue: &Queue, now: u64) {
        queue.discipline.observe(queue.delay(now), now);
        self.leave(ticket, queue);
    }

    /// Gives up a place, and wakes whoever is next. Does nothing if `ticket` has no place.
    pub(crate) fn leave(&mut self, ticket: Ticket, queue: &Queue) {
        let Some(position) = self.position(ticket) else {
            return;
        };
        self.waiters.remove(position);
        queue.count_out();
        // Who waits between the ends is never next.
        if position == 0 || position == self.waiters.len() {
            self.publish(queue);
            queue.wake_next();
        }
    }

    /// Gives up every place.
    pub(crate) fn clear(&mut self, queue: &Queue) {
        while let Some(waiter) = self.waiters.front() {
            self.leave(Ticket(waiter.ticket), queue);
        }
    }

    fn publish(&self, queue: &Queue) {
        let ends = &queue.lines[self.worker];
        ends.oldest.publish(self.waiters.front());
        ends.newest.publish(self.waiters.back());
        let since = self.waiters.front().map_or(NEVER, |waiter| waiter.since);
        ends.waits_since.store(since, Ordering::Relaxed);
    }

    fn position(&self, ticket: Ticket) -> Option<usize> {
        self.waiters
            .binary_search_by_key(&ticket.0, |waiter| waiter.ticket)
            .ok()
    }
}

impl Default for Ends {
    fn default() -> Self {
        let nobody = || End {
            ticket: AtomicU64::new(NOBODY),
            waker: AtomicWaker::new(),
        };
        Self {
            oldest: nobody(),
            newest: nobody(),
            waits_since: AtomicU64::new(NEVER),
        }
    }
}

impl End {
    fn publish(&self, waiter: Option<&Waiter>) {
        // Without a waker it has not been polled yet; its first poll will look itself.
        if let Some(waker) = waiter.and_then(|waiter| waiter.waker.as_ref()) {
            self.waker.register(waker);
        }
        let ticket = waiter.map_or(NOBODY, |waiter| waiter.ticket);
        self.ticket.store(ticket, Ordering::Relaxed);
    }
}
