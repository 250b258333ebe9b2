//! Receive buffers, recycled by the worker that uses them.
//!
//! A connection holds a buffer only while bytes of it are pending, so an idle one costs none.

use std::cell::RefCell;

/// Size of an ordinary buffer: most messages fit.
pub const SMALL: usize = 16 * 1024;

/// Size of a buffer for a long head or body: fewer system calls per byte.
pub const LARGE: usize = 64 * 1024;

/// Free buffers of each size that a worker keeps. Beyond it they go back to the allocator.
const FREE_MAX: usize = 64;

thread_local! {
    static FREE: RefCell<[Vec<Box<[u8]>>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// Bytes that have arrived and were not consumed, with room behind them.
#[derive(Debug)]
pub struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// An empty buffer of [`SMALL`] bytes.
    pub fn small() -> Self {
        Self::take(SMALL)
    }

    /// An empty buffer of [`LARGE`] bytes.
    pub fn large() -> Self {
        Self::take(LARGE)
    }

    fn take(size: usize) -> Self {
        let recycled = FREE.with_borrow_mut(|free| free[class(size)].pop());
        let bytes = recycled.unwrap_or_else(|| vec![0; size].into_boxed_slice());
        Self {
            bytes,
            start: 0,
            end: 0,
        }
    }

    /// The bytes that wait.
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// True if no byte waits.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The first `count` waiting bytes are done with.
    pub fn consume(&mut self, count: usize) {
        debug_assert!(
            count <= self.end - self.start,
            "consumed more than there is"
        );
        self.start += count;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// The room behind the waiting bytes; moves these to the front if they stand at the back.
    pub fn spare(&mut self) -> &mut [u8] {
        if self.end == self.bytes.len() && self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.bytes[self.end..]
    }

    /// `count` bytes were written into [`Self::spare`].
    pub fn fill(&mut self, count: usize) {
        debug_assert!(
            count <= self.bytes.len() - self.end,
            "filled more than there was room"
        );
        self.end += count;
    }

    /// True if no byte can arrive before some are consumed.
    pub fn is_full(&self) -> bool {
        self.end - self.start == self.bytes.len()
    }

    /// The same bytes in a buffer of [`LARGE`] bytes.
    pub fn enlarge(&mut self) {
        if self.bytes.len() < LARGE {
            let mut large = Self::large();
            let waiting = self.filled();
            large.bytes[..waiting.len()].copy_from_slice(waiting);
            large.end = waiting.len();
            *self = large;
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        // The thread may be ending: then there is nothing to recycle for.
        let _ = FREE.try_with(|free| {
            let free = &mut free.borrow_mut()[class(bytes.len())];
            if free.len() < FREE_MAX {
                free.push(bytes);
            }
        });
    }
}

fn class(size: usize) -> usize {
    usize::from(size == LARGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_bytes_survive_moving_and_enlarging() {
        let mut buffer = Buffer::small();
        buffer.spare()[..3].copy_from_slice(b"abc");
        buffer.fill(3);
        buffer.consume(1);
        let rest = buffer.spare().len();
        buffer.fill(rest);
        assert!(!buffer.is_full());
        assert_eq!(buffer.spare().len(), 1);
        assert_eq!(&buffer.filled()[..2], b"bc");
        buffer.fill(1);
        assert!(buffer.is_full());
        buffer.enlarge();
        assert_eq!(&buffer.filled()[..2], b"bc");
        assert_eq!(buffer.spare().len(), LARGE - SMALL);
    }

    #[test]
    fn a_dropped_buffer_is_used_again() {
        let first = Buffer::small();
        let address = first.bytes.as_ptr();
        drop(first);
        assert_eq!(Buffer::small().bytes.as_ptr(), address);
    }
}
