//! Bytes as they come, cut anywhere, to headers and payloads of frames.

use super::frame::{FrameHeader, HEADER_BYTES, PREFACE};

/// What the next bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    /// What a client sends first, so much of which has come.
    Preface { matched: usize },
    /// The header of a frame.
    Header,
    /// The next so many bytes of a payload are of use together only: see [`Part`].
    Part(Part, usize),
    /// The rest of the payload, each byte of use by itself.
    Content,
    /// What is behind the content.
    Padding,
}

/// A piece of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// In front of content: the length of the padding, what priority was.
    Prefix,
    /// One setting.
    Setting,
    /// All of a short frame.
    Fixed,
}

/// The frame under way.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) expect: Expect,
    pub(super) frame: FrameHeader,
    /// Bytes of its payload that have not come, without the padding.
    pub(super) left: usize,
    /// Bytes of its padding that have not come.
    pub(super) padding: usize,
    /// A header or part of which not all has come.
    small: [u8; HEADER_BYTES],
    small_bytes: usize,
}

impl Intake {
    pub(super) fn new(expect: Expect) -> Self {
        Self {
            expect,
            frame: FrameHeader::default(),
            left: 0,
            padding: 0,
            small: [0; HEADER_BYTES],
            small_bytes: 0,
        }
    }

    /// Takes bytes until there are `want`. Returns how many it took, and all once they are there;
    /// those behind `want` mean nothing.
    pub(super) fn collect(
        &mut self,
        bytes: &[u8],
        want: usize,
    ) -> (usize, Option<[u8; HEADER_BYTES]>) {
        let count = bytes.len().min(want - self.small_bytes);
        self.small[self.small_bytes..][..count].copy_from_slice(&bytes[..count]);
        self.small_bytes += count;
        if self.small_bytes < want {
            return (count, None);
        }
        self.small_bytes = 0;
        (count, Some(self.small))
    }

    /// Takes the preface. Returns how many bytes it took; `None`: these are something else.
    pub(super) fn match_preface(&mut self, matched: usize, bytes: &[u8]) -> Option<usize> {
        let expected = &PREFACE[matched..];
        let count = bytes.len().min(expected.len());
        if bytes[..count] != expected[..count] {
            return None;
        }
        self.expect = match matched + count {
            whole if whole == PREFACE.len() => Expect::Header,
            matched => Expect::Preface { matched },
        };
        Some(count)
    }

    /// Takes content. Returns how many bytes that is, and whether it is the last of it.
    pub(super) fn take_content(&mut self, bytes: &[u8]) -> (usize, bool) {
        let count = bytes.len().min(self.left);
        self.left -= count;
        if self.left == 0 {
            self.expect = match self.padding {
                0 => Expect::Header,
                _ => Expect::Padding,
            };
        }
        (count, self.left == 0)
    }

    /// Takes padding. It should be zeros, which need not be checked (RFC 9113 §6.1).
    pub(super) fn take_padding(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.padding);
        self.padding -= count;
        if self.padding == 0 {
            self.expect = Expect::Header;
        }
        count
    }
}
