//! The streams of a connection: where they are kept, which were reset, which wait to send.

use std::collections::VecDeque;

use super::connection::StreamKey;
use super::ids::Ids;
use super::stream::{NO_INDEX, Stream};

/// Every stream that is open or that somebody holds.
#[derive(Debug)]
pub(super) struct Streams {
    slots: Vec<Stream>,
    /// The first free slot; they are linked.
    free: u32,
    /// Slots that are not free.
    count: usize,
    /// Streams that are not closed on the wire.
    counted: usize,
    ids: Ids,
    /// Streams that we have reset while the peer could still send, and that are gone here: their
    /// frames were on their way and are ignored (RFC 9113 §5.1, "closed").
    reset: VecDeque<u32>,
    /// The largest identifier that `reset` has forgotten.
    forgotten: u32,
    /// Both ends of the queue of streams that have more to send and wait for nothing but the
    /// connection's window or room in its output.
    first: u32,
    last: u32,
}

/// Streams that we have reset and remember. As many may end in one round trip with a client that
/// keeps to our limit of streams; of older ones, frames are ignored without knowing.
const RESET_MAX: usize = 256;

impl Default for Streams {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: NO_INDEX,
            count: 0,
            counted: 0,
            ids: Ids::default(),
            reset: VecDeque::new(),
            forgotten: 0,
            first: NO_INDEX,
            last: NO_INDEX,
        }
    }
}

impl Streams {
    /// Streams that are open or not freed.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Streams that are not closed on the wire.
    pub(super) fn counted(&self) -> usize {
        self.counted
    }

    /// Keeps a stream that is open, whose identifier is larger than all before.
    pub(super) fn insert(&mut self, stream: Stream) -> StreamKey {
        let id = stream.id;
        debug_assert!(id != 0, "that is the connection");
        let index = match self.free {
            NO_INDEX => {
                self.slots.push(Stream::default());
                (self.slots.len() - 1) as u32
            }
            free => free,
        };
        let slot = &mut self.slots[index as usize];
        if self.free == index {
            self.free = slot.next;
        }
        // The memory stays with the slot.
        let content = std::mem::take(&mut slot.content);
        *slot = Stream {
            content,
            is_counted: true,
            ..stream
        };
        self.ids.push(id, index);
        self.count += 1;
        self.counted += 1;
        StreamKey { index, id }
    }

    /// The stream that `key` names, unless it was freed.
    pub(super) fn get(&mut self, key: StreamKey) -> Option<&mut Stream> {
        self.slots
            .get_mut(key.index as usize)
            .filter(|stream| stream.id == key.id && key.id != 0)
    }

    /// The same, for looking.
    pub(super) fn peek(&self, key: StreamKey) -> Option<&Stream> {
        self.slots
            .get(key.index as usize)
            .filter(|stream| stream.id == key.id && key.id != 0)
    }

    /// The key of the stream that frames call `id`.
    pub(super) fn find(&self, id: u32) -> Option<StreamKey> {
        let index = self.ids.find(id)?;
        Some(StreamKey { index, id })
    }

    /// The stream that frames call `id`, unless it is closed.
    pub(super) fn find_open(&mut self, id: u32) -> Option<(StreamKey, &mut Stream)> {
        let key = self.find(id)?;
        let stream = self.get(key)?;
        (!stream.is_closed()).then_some((key, stream))
    }

    /// The keys of streams above `id`.
    pub(super) fn above(&self, id: u32) -> Vec<StreamKey> {
        let keys = self.ids.above(id);
        keys.map(|(id, index)| StreamKey { index, id }).collect()
    }

    /// The keys of all streams.
    pub(super) fn keys(&self) -> Vec<StreamKey> {
        self.above(0)
    }

    /// All streams, for what changes all windows.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.slots.iter_mut().filter(|stream| stream.id != 0)
    }

    /// The stream may have been closed: it then no longer counts, nor waits to send.
    pub(super) fn settle(&mut self, key: StreamKey) {
        let Some(stream) = self.get(key) else { return };
        if stream.is_send_closed() {
            stream.is_stalled = false;
            self.unlink(key);
        }
        let Some(stream) = self.get(key) else { return };
        if stream.is_closed() && std::mem::take(&mut stream.is_counted) {
            self.counted -= 1;
        }
    }

    /// Forgets a stream, which is closed.
    pub(super) fn remove(&mut self, key: StreamKey) {
        self.settle(key);
        let free = self.free;
        let Some(stream) = self.get(key) else { return };
        debug_assert!(stream.is_closed(), "frames for it would be an error");
        let mut content = std::mem::take(&mut stream.content);
        content.clear();
        *stream = Stream {
            content,
            next: free,
            ..Stream::default()
        };
        self.free = key.index;
        self.ids.remove(key.id);
        self.count -= 1;
        if self.count == 0 {
            self.release();
        }
    }

    /// Gives back memory: an idle connection has none for streams.
    fn release(&mut self) {
        self.slots = Vec::new();
        self.free = NO_INDEX;
        self.ids.release();
    }

    /// Remembers that we have reset a stream which the peer may still send on.
    pub(super) fn remember_reset(&mut self, id: u32) {
        if self.reset.len() == RESET_MAX
            && let Some(forgotten) = self.reset.pop_front()
        {
            self.forgotten = self.forgotten.max(forgotten);
        }
        self.reset.push_back(id);
    }

    /// True if we have, or may have, reset a stream that is gone.
    pub(super) fn was_reset(&self, id: u32) -> bool {
        id <= self.forgotten || self.reset.contains(&id)
    }

    /// Puts a stream at the end of the queue, unless it is there.
    pub(super) fn enqueue(&mut self, key: StreamKey) {
        let last = self.last;
        let Some(stream) = self.get(key).filter(|stream| !stream.is_queued) else {
            return;
        };
        stream.is_queued = true;
        stream.previous = last;
        stream.next = NO_INDEX;
        match self.slots.get_mut(last as usize) {
            Some(before) => before.next = key.index,
            None => self.first = key.index,
        }
        self.last = key.index;
    }

    /// Takes the first stream out of the queue.
    pub(super) fn dequeue(&mut self) -> Option<StreamKey> {
        let stream = self.slots.get(self.first as usize)?;
        let key = StreamKey {
            index: self.first,
            id: stream.id,
        };
        self.unlink(key);
        Some(key)
    }

    /// True if streams wait in the queue.
    pub(super) fn has_queue(&self) -> bool {
        self.first != NO_INDEX
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.slots.capacity() * size_of::<Stream>() + self.reset.capacity() * 4 + self.ids.memory()
    }

    #[cfg(test)]
    pub(super) fn work(&self) -> usize {
        self.ids.work.get()
    }

    /// Takes a stream out of the queue, if it is there.
    fn unlink(&mut self, key: StreamKey) {
        let Some(stream) = self.get(key).filter(|stream| stream.is_queued) else {
            return;
        };
        stream.is_queued = false;
        let (previous, next) = (stream.previous, stream.next);
        match self.slots.get_mut(previous as usize) {
            Some(before) => before.next = next,
            None => self.first = next,
        }
        match self.slots.get_mut(next as usize) {
            Some(behind) => behind.previous = previous,
            None => self.last = previous,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::ErrorCode;
    use super::super::stream::Reset;
    use super::*;

    fn insert(streams: &mut Streams, id: u32) -> StreamKey {
        streams.insert(Stream {
            id,
            send: super::super::stream::Send::ExpectBody,
            ..Stream::default()
        })
    }

    fn close(streams: &mut Streams, key: StreamKey) {
        streams.get(key).unwrap().reset = Some(Reset {
            code: ErrorCode::Cancel,
            by_us: true,
        });
        streams.remove(key);
    }

    #[test]
    fn a_slot_is_used_again_and_stale_keys_find_nothing() {
        let mut streams = Streams::default();
        let one = insert(&mut streams, 1);
        let three = insert(&mut streams, 3);
        close(&mut streams, one);
        let five = insert(&mut streams, 5);
        assert_eq!(five.index, one.index);
        assert!(streams.get(one).is_none());
        assert!(streams.get(five).is_some() && streams.get(three).is_some());
        assert_eq!(streams.find(1), None);
        assert_eq!(streams.find(5), Some(five));
        assert_eq!((streams.count(), streams.counted()), (2, 2));
    }

    #[test]
    fn the_queue_is_in_turn_and_forgets_streams_that_end() {
        let mut streams = Streams::default();
        let keys: Vec<_> = (0..5).map(|n| insert(&mut streams, 2 * n + 1)).collect();
        for &key in &keys {
            streams.enqueue(key);
            streams.enqueue(key);
        }
        for gone in [0, 2, 4] {
            close(&mut streams, keys[gone]);
        }
        assert_eq!(streams.dequeue(), Some(keys[1]));
        streams.enqueue(keys[1]);
        assert_eq!(streams.dequeue(), Some(keys[3]));
        assert_eq!(streams.dequeue(), Some(keys[1]));
        assert_eq!(streams.dequeue(), None);
        assert!(!streams.has_queue());
    }

    #[test]
    fn resets_are_remembered_to_a_bound_and_then_ignored() {
        let mut streams = Streams::default();
        for n in 0..=RESET_MAX as u32 {
            streams.remember_reset(2 * n + 101);
        }
        assert!(streams.was_reset(101) && streams.was_reset(103));
        assert!(!streams.was_reset(105 + 2 * RESET_MAX as u32));
        assert_eq!(streams.reset.len(), RESET_MAX);
    }

    #[test]
    fn without_streams_there_is_no_memory() {
        let mut streams = Streams::default();
        let keys: Vec<_> = (0..100).map(|n| insert(&mut streams, 2 * n + 1)).collect();
        for key in keys {
            close(&mut streams, key);
        }
        assert_eq!(streams.slots.capacity(), 0);
    }
}
