//! Receive buffers, recycled by the worker that uses them.
//!
//! A buffer has memory only while bytes are pending in it or are about to be, so a connection
//! that waits, for a request or for a response, costs none.

use std::cell::RefCell;

/// Size of an ordinary buffer: most messages fit.
pub const SMALL: usize = 16 * 1024;

/// Size of a buffer for a long head or body: fewer system calls per byte.
pub const LARGE: usize = 128 * 1024;

/// Free memory of each size that a worker keeps, 4 MiB each. Beyond it goes back to the allocator:
/// whatever comes from there has to be cleared first, which costs more than the rest of a request.
const FREE_BYTES_MAX: usize = 4 * 1024 * 1024;

thread_local! {
    static FREE: RefCell<[Vec<Box<[u8]>>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// Bytes that have arrived and were not consumed, with room behind them.
#[derive(Debug, Default)]
pub struct Buffer {
    /// Empty, or of one of the two sizes.
    memory: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// The bytes that wait.
    pub fn filled(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    /// The bytes that wait, to be worked on in place.
    pub(crate) fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.end]
    }

    /// Takes away the waiting bytes from `start` to `end`; what stands behind them moves up.
    pub(crate) fn remove(&mut self, start: usize, end: usize) {
        if start == 0 {
            self.consume(end);
        } else if start < end {
            self.memory
                .copy_within(self.start + end..self.end, self.start + start);
            self.end -= end - start;
        }
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

    /// The room behind the waiting bytes, of [`SMALL`] bytes if there was no memory. Moves waiting
    /// bytes to the front if they stand at the back.
    pub fn spare(&mut self) -> &mut [u8] {
        if !self.has_memory() {
            self.memory = take(SMALL);
        }
        if self.end == self.memory.len() && self.start > 0 {
            self.memory.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.memory[self.end..]
    }

    /// `count` bytes were written into [`Self::spare`].
    pub fn fill(&mut self, count: usize) {
        debug_assert!(
            count <= self.memory.len() - self.end,
            "filled more than there was room"
        );
        self.end += count;
    }

    /// Copies from the front of `bytes` what there is room for; returns how much.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> usize {
        if bytes.is_empty() {
            return 0;
        }
        let spare = self.spare();
        let count = bytes.len().min(spare.len());
        spare[..count].copy_from_slice(&bytes[..count]);
        self.fill(count);
        count
    }

    /// True if no byte can arrive before some are consumed.
    pub fn is_full(&self) -> bool {
        self.has_memory() && self.end - self.start == self.memory.len()
    }

    /// True if it holds memory.
    pub fn has_memory(&self) -> bool {
        !self.memory.is_empty()
    }

    /// True if it has room for [`LARGE`] bytes.
    pub(crate) fn is_large(&self) -> bool {
        self.memory.len() == LARGE
    }

    /// The same bytes, with room for [`LARGE`] of them.
    pub fn enlarge(&mut self) {
        if !self.is_large() {
            let mut memory = take(LARGE);
            let waiting = self.filled();
            let count = waiting.len();
            memory[..count].copy_from_slice(waiting);
            *self = Self {
                memory,
                start: 0,
                end: count,
            };
        }
    }

    /// Gives the memory back unless bytes wait in it.
    pub fn release(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.has_memory() {
            give_back(std::mem::take(&mut self.memory));
        }
    }
}

fn take(size: usize) -> Box<[u8]> {
    let recycled = FREE.with_borrow_mut(|free| free[class(size)].pop());
    recycled.unwrap_or_else(|| vec![0; size].into_boxed_slice())
}

fn give_back(memory: Box<[u8]>) {
    // The thread may be ending: then there is nothing to recycle for.
    let _ = FREE.try_with(|free| {
        let free = &mut free.borrow_mut()[class(memory.len())];
        if (free.len() + 1) * memory.len() <= FREE_BYTES_MAX {
            free.push(memory);
        }
    });
}

fn class(size: usize) -> usize {
    usize::from(size == LARGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_bytes_survive_moving_and_enlarging() {
        let mut buffer = Buffer::default();
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
    fn memory_is_taken_late_given_back_early_and_used_again() {
        let mut buffer = Buffer::default();
        assert!(!buffer.has_memory() && !buffer.is_full());
        let address = buffer.spare().as_ptr();
        buffer.fill(1);
        buffer.release();
        assert!(buffer.has_memory(), "a byte waits");
        buffer.consume(1);
        buffer.release();
        assert!(!buffer.has_memory());
        assert_eq!(Buffer::default().spare().as_ptr(), address);
    }

    #[test]
    fn free_memory_is_bounded() {
        let buffers: Vec<Buffer> = (0..FREE_BYTES_MAX / SMALL + 10)
            .map(|_| {
                let mut buffer = Buffer::default();
                buffer.spare();
                buffer
            })
            .collect();
        drop(buffers);
        FREE.with_borrow(|free| assert_eq!(free[0].len(), FREE_BYTES_MAX / SMALL));
    }
}
