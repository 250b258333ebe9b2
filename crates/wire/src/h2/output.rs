//! Bytes owed to the peer: those of all streams in one buffer, so that they leave in one write.

use super::frame::{FrameHeader, HEADER_BYTES, PAYLOAD_BYTES_MAX, flag, kind};

/// What is owed.
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    /// Bytes at the beginning that have left.
    sent: usize,
    /// Bytes that have ever left, and of those the place at which `control` moves on.
    sent_ever: u64,
    control_until: u64,
    /// Bytes of frames that the peer may have made us owe, and that may not have left: those from
    /// before `control_until`, and those behind it.
    control: [usize; 2],
}

/// Content is taken while less than this is owed: what TLS and a socket take in one go.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// Less room than this is none.
const ROOM_BYTES_MIN: usize = 1024;

/// Answers to PING, SETTINGS and broken streams that may wait for the peer to read: about a
/// thousand. They come on top, as they must not wait for room.
const CONTROL_BYTES_MAX: usize = 16 * 1024;

/// Memory that is kept while nothing is owed and no stream is open.
const BYTES_KEPT: usize = 1024;

impl Output {
    pub(super) fn owed(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Where the next frame will stand among all bytes that ever leave.
    pub(super) fn end(&self) -> u64 {
        self.sent_ever + self.owed().len() as u64
    }

    /// True if some byte from there on has left.
    pub(super) fn has_sent(&self, from: u64) -> bool {
        self.sent_ever > from
    }

    /// The first `count` bytes of what is owed have left.
    pub(super) fn sent(&mut self, count: usize) {
        self.sent += count;
        self.sent_ever += count as u64;
        debug_assert!(self.sent <= self.bytes.len(), "more has left than was owed");
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        } else if self.sent >= OUTPUT_BYTES_MAX && self.sent > self.bytes.len() / 2 {
            // A peer that never reads everything: what has left makes room, at a cost below what
            // sending it was.
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        if self.sent_ever >= self.control_until {
            let [_, behind] = self.control;
            self.control = [behind, 0];
            self.control_until = self.sent_ever + self.owed().len() as u64;
        }
    }

    /// Bytes of content that may be added: none rather than few, as each frame has its price.
    pub(super) fn room(&self) -> usize {
        match OUTPUT_BYTES_MAX.saturating_sub(self.owed().len()) {
            ..ROOM_BYTES_MIN => 0,
            room => room,
        }
    }

    /// True if the peer makes us owe answers and does not read them.
    pub(super) fn is_flooded(&self) -> bool {
        self.control.iter().sum::<usize>() > CONTROL_BYTES_MAX
    }

    /// Adds something that is no frame.
    pub(super) fn push_raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds a frame that is not content.
    pub(super) fn push_control(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.control[1] += HEADER_BYTES + payload.len();
        self.push_frame(kind, flags, stream, payload);
    }

    /// Adds content in as many DATA frames as it needs, at least one.
    pub(super) fn push_data(&mut self, stream: u32, mut data: &[u8], is_end: bool) {
        while data.len() > PAYLOAD_BYTES_MAX {
            let (part, rest) = data.split_at(PAYLOAD_BYTES_MAX);
            self.push_frame(kind::DATA, 0, stream, part);
            data = rest;
        }
        let flags = if is_end { flag::END_STREAM } else { 0 };
        self.push_frame(kind::DATA, flags, stream, data);
    }

    fn push_frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let header = FrameHeader {
            length: payload.len(),
            kind,
            flags,
            stream,
        };
        self.bytes.extend_from_slice(&header.to_bytes());
        self.bytes.extend_from_slice(payload);
    }

    /// Adds a header block that `write` appends: HEADERS, and CONTINUATION as far as needed.
    pub(super) fn push_block(
        &mut self,
        stream: u32,
        is_end: bool,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEADER_BYTES]);
        write(&mut self.bytes);
        let block = start + HEADER_BYTES;
        let length = self.bytes.len() - block;
        let end_stream = if is_end { flag::END_STREAM } else { 0 };
        if length <= PAYLOAD_BYTES_MAX {
            let header = FrameHeader {
                length,
                kind: kind::HEADERS,
                flags: end_stream | flag::END_HEADERS,
                stream,
            };
            self.bytes[start..block].copy_from_slice(&header.to_bytes());
            return;
        }
        let whole = self.bytes.split_off(block);
        self.bytes.truncate(start);
        let last = whole.len().div_ceil(PAYLOAD_BYTES_MAX) - 1;
        for (index, part) in whole.chunks(PAYLOAD_BYTES_MAX).enumerate() {
            let (kind, flags) = match index {
                0 => (kind::HEADERS, end_stream),
                _ if index == last => (kind::CONTINUATION, flag::END_HEADERS),
                _ => (kind::CONTINUATION, 0),
            };
            self.push_frame(kind, flags, stream, part);
        }
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// Gives back memory if nothing is owed.
    pub(super) fn release(&mut self) {
        if self.bytes.is_empty() && self.bytes.capacity() > BYTES_KEPT {
            self.bytes = Vec::new();
        }
    }
}
