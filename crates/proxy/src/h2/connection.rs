//! What the streams of a connection share.

use std::cell::{Cell, RefCell};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use balance::ConnectionPlace;
use message::ResponseHead;
use wire::h2::{self, ErrorCode, StreamKey};

use super::upstream::STREAMS_MAX;

/// A connection, as its driver and its streams see it. Nobody holds a borrow across a wait.
pub(crate) struct Connection {
    pub(crate) wire: RefCell<h2::Connection>,
    /// By [`StreamKey::index`].
    slots: RefCell<Vec<Slot>>,
    /// Wakes the task that reads and writes.
    driver: RefCell<Option<Waker>>,
    /// The driver was woken and has not run since.
    is_woken: Cell<bool>,
    /// Streams that were promised to an exchange and are not open yet.
    reserved: Cell<usize>,
    is_over: Cell<bool>,
    /// When we asked the peer for something, first since anything was heard of it.
    asked: Cell<Option<Instant>>,
    /// Who waits for the peer's settings.
    unsettled: RefCell<Vec<Waker>>,
    /// Who waits until less is owed to the peer.
    crowded: RefCell<Vec<Waker>>,
    /// Where the pool bounds its connections.
    place: RefCell<Option<ConnectionPlace>>,
}

/// What waits for the holder of a stream.
#[derive(Default)]
struct Slot {
    task: Option<Waker>,
    /// Heads of responses, in the order they came: interim ones and a final one.
    heads: Vec<ResponseHead>,
    reset: Option<ErrorCode>,
}

/// An endpoint of which nothing is heard for so long, although it was asked for something, may be
/// gone without a word, or its answers lost on the way: no more is asked of it there. Long enough
/// for most answers, so that few wait for a connection of their own; and short to people.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Heads of interim responses that may wait for their exchange.
const HEADS_MAX: usize = 16;

impl Connection {
    pub(crate) fn new(wire: h2::Connection) -> Self {
        Self {
            wire: RefCell::new(wire),
            slots: RefCell::default(),
            driver: RefCell::default(),
            is_woken: Cell::new(false),
            reserved: Cell::new(0),
            is_over: Cell::new(false),
            asked: Cell::new(None),
            unsettled: RefCell::default(),
            crowded: RefCell::default(),
            place: RefCell::default(),
        }
    }

    /// True once nothing more is read or written.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// The connection has ended: every stream is told.
    pub(crate) fn end(&self) {
        self.is_over.set(true);
        self.hold(None);
        self.has_sent();
        self.settle();
        for slot in &mut *self.slots.borrow_mut() {
            wake(slot);
        }
    }

    /// The driver runs now, in the task of `cx`.
    pub(crate) fn drive(&self, cx: &Context<'_>) {
        self.is_woken.set(false);
        let mut driver = self.driver.borrow_mut();
        if !driver
            .as_ref()
            .is_some_and(|driver| driver.will_wake(cx.waker()))
        {
            *driver = Some(cx.waker().clone());
        }
    }

    /// Something is owed to the peer: the driver is to send it, behind all tasks that are ready.
    pub(crate) fn wake_driver(&self) {
        if !self.is_woken.replace(true)
            && let Some(driver) = &*self.driver.borrow()
        {
            driver.wake_by_ref();
        }
    }

    /// A stream has come to be.
    pub(crate) fn begin(&self, key: StreamKey) {
        let mut slots = self.slots.borrow_mut();
        let index = key.index as usize;
        if slots.len() <= index {
            slots.resize_with(index + 1, Slot::default);
        }
        slots[index] = Slot::default();
    }

    /// Something has happened to a stream: wakes its holder.
    pub(crate) fn wake(&self, key: StreamKey) {
        self.with_slot(key, wake);
    }

    /// A stream was reset.
    pub(crate) fn reset(&self, key: StreamKey, code: ErrorCode) {
        self.with_slot(key, |slot| {
            slot.reset = Some(code);
            wake(slot);
        });
    }

    /// A response has come on a stream. False if more have come than anybody waits for.
    pub(crate) fn receive_head(&self, key: StreamKey, head: ResponseHead) -> bool {
        let mut has_room = true;
        self.with_slot(key, |slot| {
            has_room = slot.heads.len() < HEADS_MAX;
            slot.heads.push(head);
            wake(slot);
        });
        has_room
    }

    /// The first response that waits on a stream, if any.
    pub(crate) fn take_head(&self, key: StreamKey) -> Option<ResponseHead> {
        let mut slots = self.slots.borrow_mut();
        let heads = &mut slots.get_mut(key.index as usize)?.heads;
        (!heads.is_empty()).then(|| heads.remove(0))
    }

    /// Why a stream was reset, if it was.
    pub(crate) fn reset_code(&self, key: StreamKey) -> Option<ErrorCode> {
        self.slots.borrow().get(key.index as usize)?.reset
    }

    /// The task of `cx` wants to know what happens to a stream.
    pub(crate) fn watch(&self, key: StreamKey, cx: &Context<'_>) {
        self.with_slot(key, |slot| match &slot.task {
            Some(task) if task.will_wake(cx.waker()) => {}
            _ => slot.task = Some(cx.waker().clone()),
        });
    }

    /// The task of `cx` waits for the peer's settings.
    pub(crate) fn watch_settings(&self, cx: &Context<'_>) {
        self.unsettled.borrow_mut().push(cx.waker().clone());
    }

    /// The peer's settings have come.
    pub(crate) fn settle(&self) {
        for waker in self.unsettled.take() {
            waker.wake();
        }
    }

    /// The task of `cx` waits until something has left.
    pub(crate) fn watch_output(&self, cx: &Context<'_>) {
        self.crowded.borrow_mut().push(cx.waker().clone());
    }

    /// Something has left.
    pub(crate) fn has_sent(&self) {
        for waker in self.crowded.take() {
            waker.wake();
        }
    }

    /// Holds `place` for as long as the connection lives.
    pub(crate) fn hold(&self, place: Option<ConnectionPlace>) {
        *self.place.borrow_mut() = place;
    }

    /// Ends the connection if no exchange uses it and it holds a place, which is free then.
    pub(crate) fn leave_place(&self) -> bool {
        if self.is_busy() || self.place.borrow().is_none() {
            return false;
        }
        self.hold(None);
        self.wire.borrow_mut().go_away();
        self.wake_driver();
        true
    }

    /// No stream is open: gives back the memory for them.
    pub(crate) fn rest(&self) {
        *self.slots.borrow_mut() = Vec::new();
    }

    /// Promises a stream, if the endpoint takes one more: it takes one before it has said how many.
    pub(crate) fn reserve(&self) -> bool {
        let wire = self.wire.borrow();
        let reserved = self.reserved.get();
        let streams_max = if wire.has_settings() { STREAMS_MAX } else { 1 };
        let is_silent = |asked: Instant| asked.elapsed() >= SILENCE_MAX;
        let has_room = !self.is_over()
            && !self.asked.get().is_some_and(is_silent)
            && wire.streams_left() > reserved
            && wire.streams() + reserved < streams_max;
        if has_room {
            self.reserved.set(self.reserved.get() + 1);
        }
        has_room
    }

    /// A promise was kept, or is not needed.
    pub(crate) fn unreserve(&self) {
        self.reserved.set(self.reserved.get() - 1);
    }

    /// The peer was asked for something.
    pub(crate) fn ask(&self) {
        if self.asked.get().is_none() {
            self.asked.set(Some(Instant::now()));
        }
    }

    /// Something was heard of the peer.
    pub(crate) fn hear(&self) {
        self.asked.set(None);
    }

    /// When the peer was asked for something, first since anything was heard of it.
    pub(crate) fn asked(&self) -> Option<Instant> {
        self.asked.get()
    }

    /// True while streams are open or promised.
    pub(crate) fn is_busy(&self) -> bool {
        self.reserved.get() > 0 || self.wire.borrow().streams() > 0
    }

    fn with_slot(&self, key: StreamKey, act: impl FnOnce(&mut Slot)) {
        if let Some(slot) = self.slots.borrow_mut().get_mut(key.index as usize) {
            act(slot);
        }
    }
}

fn wake(slot: &mut Slot) {
    if let Some(task) = &slot.task {
        task.wake_by_ref();
    }
}
