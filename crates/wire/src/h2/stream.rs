//! One stream (RFC 9113 §5.1).
//!
//! ```text
//!                      HEADERS, either way
//!               idle ──────────┐
//!                              ▼
//!                  ┌───────── open ─────────┬───────────────┐
//!          we send │                        │ we receive    │
//!       END_STREAM ▼                        ▼ END_STREAM    │
//!        half-closed (local)      half-closed (remote)      │
//!       we receive │                        │ we send       │ RST_STREAM,
//!       END_STREAM │                        │ END_STREAM    │ from any,
//!                  └───────▶ closed ◀───────┴───────────────┘ either way
//! ```
//!
//! Each direction has a state of its own here, [`Receive`] and [`Send`]: the six states of the
//! RFC are their combinations. Idle streams are not kept, and closed ones only until nobody holds
//! them any more (see [`super::streams`]); `reserved` does not occur, as nothing is pushed.

use message::Method;

use super::error::ErrorCode;
use super::frame::MAX_31_BITS;
use super::window::{ReceiveWindow, SendWindow};

/// What the peer is to send next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Receive {
    /// A response, perhaps an interim one first. Clients only.
    ExpectHead,
    /// Content, trailers, the end.
    ExpectBody,
    /// Nothing: it has sent END_STREAM.
    Done,
}

/// What we are to send next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Send {
    /// A response, perhaps an interim one first. Servers only.
    ExpectHead,
    /// Content, trailers, the end.
    ExpectBody,
    /// Nothing: we have sent END_STREAM.
    Done,
}

/// One stream that is open, or that somebody holds.
#[derive(Debug)]
pub(super) struct Stream {
    /// Zero: the slot is free.
    pub(super) id: u32,
    /// Of the request.
    pub(super) method: Method,
    pub(super) receive: Receive,
    pub(super) send: Send,
    /// Why it was reset, and by whom.
    pub(super) reset: Option<Reset>,
    /// Counts against the limit of streams: not closed on the wire.
    pub(super) is_counted: bool,
    /// Stands in the queue of [`super::streams::Streams`].
    pub(super) is_queued: bool,
    /// Has more to send, and waits for a WINDOW_UPDATE of its own.
    pub(super) is_stalled: bool,
    pub(super) send_window: SendWindow,
    pub(super) receive_window: ReceiveWindow,
    /// Where its request stands in the output. Clients only.
    pub(super) head_at: u64,
    /// Bytes that Content-Length still promises.
    pub(super) content_left: Option<u64>,
    /// Content that has arrived and was not read.
    pub(super) content: Content,
    /// Field lines behind it.
    pub(super) trailers: Vec<u8>,
    /// Neighbours in the queue; for a free slot, the next free one.
    pub(super) previous: u32,
    pub(super) next: u32,
}

/// Why a stream was reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reset {
    pub(super) code: ErrorCode,
    /// The peer did not know when it sent what comes now: it is ignored.
    pub(super) by_us: bool,
}

/// Content that does not fit the message (§8.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LengthMismatch;

impl Stream {
    /// True if both sides have ended it, or one has reset it.
    pub(super) fn is_closed(&self) -> bool {
        self.reset.is_some() || (self.receive == Receive::Done && self.send == Send::Done)
    }

    /// True if nothing more can be sent on it.
    pub(super) fn is_send_closed(&self) -> bool {
        self.reset.is_some() || self.send == Send::Done
    }

    /// True if it is whole, although the peer has reset it: it only wants no more from us.
    pub(super) fn is_received(&self) -> bool {
        let is_polite = self
            .reset
            .is_some_and(|reset| !reset.by_us && reset.code == ErrorCode::NoError);
        is_polite && self.receive == Receive::Done
    }

    /// Counts content against what the head promised, which must be there whole at the end.
    pub(super) fn count_content(
        &mut self,
        bytes: usize,
        is_end: bool,
    ) -> Result<(), LengthMismatch> {
        if let Some(left) = &mut self.content_left {
            *left = left.checked_sub(bytes as u64).ok_or(LengthMismatch)?;
            if is_end && *left > 0 {
                return Err(LengthMismatch);
            }
        }
        Ok(())
    }
}

/// Bytes that arrive at one end and are read at the other.
#[derive(Debug, Default)]
pub(super) struct Content {
    bytes: Vec<u8>,
    read: usize,
}

/// Memory that a slot keeps for its next stream.
const CONTENT_BYTES_KEPT: usize = 4096;

impl Content {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.read
    }

    /// Bounded by the window of the stream.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        // What was read makes room before memory is asked for, once that is cheap.
        if self.read >= self.bytes.len() - self.read
            && self.bytes.capacity() - self.bytes.len() < bytes.len()
        {
            self.bytes.drain(..self.read);
            self.read = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Moves as much as fits into `out`. Returns how much that was.
    pub(super) fn read(&mut self, out: &mut [u8]) -> usize {
        let unread = &self.bytes[self.read..];
        let count = unread.len().min(out.len());
        out[..count].copy_from_slice(&unread[..count]);
        self.read += count;
        if self.read == self.bytes.len() {
            self.clear();
        }
        count
    }

    /// Forgets everything. Returns how many bytes nobody has read.
    pub(super) fn clear(&mut self) -> usize {
        let unread = self.len();
        self.read = 0;
        self.bytes.clear();
        if self.bytes.capacity() > CONTENT_BYTES_KEPT {
            self.bytes = Vec::new();
        }
        unread
    }
}

/// The stream of a slot that was never used, or is free.
impl Default for Stream {
    fn default() -> Self {
        const { assert!(NO_INDEX > MAX_31_BITS, "no slot has it") };
        Self {
            id: 0,
            method: Method::default(),
            receive: Receive::Done,
            send: Send::Done,
            reset: None,
            is_counted: false,
            is_queued: false,
            is_stalled: false,
            send_window: SendWindow::new(0),
            receive_window: ReceiveWindow::new(0, 0),
            head_at: 0,
            content_left: None,
            content: Content::default(),
            trailers: Vec::new(),
            previous: NO_INDEX,
            next: NO_INDEX,
        }
    }
}

/// The index of no slot.
pub(super) const NO_INDEX: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_read_in_order_whatever_the_pieces() {
        let mut content = Content::default();
        let mut read = Vec::new();
        let mut out = [0; 7];
        for piece in (0..=255_u8).collect::<Vec<_>>().chunks(11) {
            content.push(piece);
            let count = content.read(&mut out);
            read.extend_from_slice(&out[..count]);
        }
        while content.len() > 0 {
            let count = content.read(&mut out);
            read.extend_from_slice(&out[..count]);
        }
        assert_eq!(read, (0..=255).collect::<Vec<u8>>());
    }

    #[test]
    fn content_that_was_read_does_not_pile_up() {
        let mut content = Content::default();
        let mut out = [0; 1000];
        content.push(&[0; 1]);
        for _ in 0..10_000 {
            content.push(&[0; 1000]);
            content.read(&mut out);
        }
        assert_eq!(content.len(), 1);
        assert!(
            content.bytes.capacity() <= 8192,
            "{}",
            content.bytes.capacity()
        );
    }
}
