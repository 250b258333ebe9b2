//! Frames (RFC 9113 §4.1): a header of nine bytes, and a payload.
//!
//! ```text
//! +-----------------------------------------------+
//! |                 Length (24)                   |
//! +---------------+---------------+---------------+
//! |   Type (8)    |   Flags (8)   |
//! +-+-------------+---------------+-------------------------------+
//! |R|                 Stream Identifier (31)                      |
//! +=+=============================================================+
//! |                   Frame Payload (0...)                      ...
//! +---------------------------------------------------------------+
//! ```

/// Bytes of a frame's header.
pub(super) const HEADER_BYTES: usize = 9;

/// The longest payload that we take and send: what every peer takes (§4.2).
pub(super) const PAYLOAD_BYTES_MAX: usize = 16_384;

/// What a client sends first (§3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The largest window (§6.9.1), and the largest identifier of a stream (§5.1.1).
pub(super) const MAX_31_BITS: u32 = (1 << 31) - 1;

/// The kinds of frames (§6), as they stand on the wire.
pub(super) mod kind {
    pub(in super::super) const DATA: u8 = 0;
    pub(in super::super) const HEADERS: u8 = 1;
    pub(in super::super) const PRIORITY: u8 = 2;
    pub(in super::super) const RST_STREAM: u8 = 3;
    pub(in super::super) const SETTINGS: u8 = 4;
    pub(in super::super) const PUSH_PROMISE: u8 = 5;
    pub(in super::super) const PING: u8 = 6;
    pub(in super::super) const GOAWAY: u8 = 7;
    pub(in super::super) const WINDOW_UPDATE: u8 = 8;
    pub(in super::super) const CONTINUATION: u8 = 9;
}

/// Flags; each means this for some kinds only.
pub(super) mod flag {
    pub(in super::super) const ACK: u8 = 0x1;
    pub(in super::super) const END_STREAM: u8 = 0x1;
    pub(in super::super) const END_HEADERS: u8 = 0x4;
    pub(in super::super) const PADDED: u8 = 0x8;
    pub(in super::super) const PRIORITY: u8 = 0x20;
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct FrameHeader {
    /// Bytes of the payload.
    pub(super) length: usize,
    /// One of [`kind`], or unknown.
    pub(super) kind: u8,
    pub(super) flags: u8,
    /// The stream it belongs to; zero: the connection.
    pub(super) stream: u32,
}

impl FrameHeader {
    pub(super) fn read(bytes: &[u8; HEADER_BYTES]) -> Self {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *bytes;
        Self {
            length: u32::from_be_bytes([0, l0, l1, l2]) as usize,
            kind,
            flags,
            // The first bit is to be ignored.
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & MAX_31_BITS,
        }
    }

    pub(super) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        debug_assert!(self.length < 1 << 24, "a length has 24 bits");
        let [_, l0, l1, l2] = (self.length as u32).to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [l0, l1, l2, self.kind, self.flags, s0, s1, s2, s3]
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Bytes in front of the content of DATA and HEADERS: the length of the padding, and what
    /// priority was (§6.2), which nobody heeds any more.
    pub(super) fn prefix(self) -> usize {
        let padding = usize::from(self.has(flag::PADDED));
        let is_prioritized = self.kind == kind::HEADERS && self.has(flag::PRIORITY);
        padding + if is_prioritized { 5 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let header = FrameHeader {
            length: 0x01_02_03,
            kind: kind::GOAWAY,
            flags: 0xa5,
            stream: 0x7fff_fffe,
        };
        let mut bytes = header.to_bytes();
        assert_eq!(bytes, [1, 2, 3, 7, 0xa5, 0x7f, 0xff, 0xff, 0xfe]);
        assert_eq!(FrameHeader::read(&bytes), header);
        bytes[5] |= 0x80;
        assert_eq!(
            FrameHeader::read(&bytes),
            header,
            "the first bit is ignored"
        );
    }
}
