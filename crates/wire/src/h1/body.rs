//! Bodies: framing taken off on one side and put on again on the other.

use std::ops::Range;

use message::BodyLength;

use super::BadMessage;
use super::chunked::ChunkedReader;
use super::encode::{CHUNK_END, write_chunk_size};

/// Takes the framing off a body.
#[derive(Debug)]
pub enum BodyReader {
    /// A known number of bytes is left, perhaps none.
    Exact {
        /// Bytes that have not arrived.
        bytes_left: u64,
    },
    /// Chunked coding.
    Chunked(Chunked),
    /// Everything until the connection closes.
    UntilClose {
        /// The connection has closed.
        closed: bool,
    },
}

/// The state of a chunked body.
#[derive(Debug)]
pub struct Chunked(ChunkedReader);

/// What one look at arrived bytes gave.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes that are done with.
    pub consumed: usize,
    /// Which of these are content. May be empty.
    pub data: Range<usize>,
}

impl BodyReader {
    /// A reader for a body of this length.
    pub fn new(length: BodyLength) -> Self {
        match length {
            BodyLength::Empty => Self::Exact { bytes_left: 0 },
            BodyLength::Exact(bytes_left) => Self::Exact { bytes_left },
            BodyLength::Chunked => Self::Chunked(Chunked(ChunkedReader::new())),
            // The source says when a stream ends: for its reader that is a close.
            BodyLength::UntilClose | BodyLength::UntilEnd => Self::UntilClose { closed: false },
        }
    }

    /// True once the whole body has arrived.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Exact { bytes_left } => *bytes_left == 0,
            Self::Chunked(chunked) => chunked.0.is_done(),
            Self::UntilClose { closed } => *closed,
        }
    }

    /// Reads the next piece of content from `bytes`, all that has arrived and was not consumed.
    /// Takes at most one chunk at a time; call again while it consumes.
    ///
    /// # Errors
    /// A chunk or trailer that breaks a rule.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Step, BadMessage> {
        let taken = match self {
            Self::Exact { bytes_left } => {
                let taken = bytes
                    .len()
                    .min(usize::try_from(*bytes_left).unwrap_or(usize::MAX));
                *bytes_left -= taken as u64;
                taken
            }
            Self::UntilClose { .. } => bytes.len(),
            Self::Chunked(chunked) => {
                let (consumed, data) = chunked.0.receive(bytes)?;
                return Ok(Step { consumed, data });
            }
        };
        Ok(Step {
            consumed: taken,
            data: 0..taken,
        })
    }

    /// The sender has closed. False if the body was cut.
    #[must_use]
    pub fn receive_close(&mut self) -> bool {
        if let Self::UntilClose { closed } = self {
            *closed = true;
        }
        self.is_done()
    }

    /// Field lines that came behind the last chunk, each with its CR LF.
    pub fn trailers(&self) -> &[u8] {
        match self {
            Self::Chunked(chunked) => chunked.0.trailers(),
            _ => &[],
        }
    }
}

/// Puts a framing on a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyWriter {
    /// The length was announced, or the end is the close: content goes out as it is.
    Plain,
    /// Chunked coding.
    Chunked,
}

impl BodyWriter {
    /// Appends one piece of content to `out`.
    pub fn write(self, data: &[u8], out: &mut Vec<u8>) {
        match self {
            // A chunk of no bytes would end the body.
            _ if data.is_empty() => {}
            Self::Plain => out.extend_from_slice(data),
            Self::Chunked => {
                write_chunk_size(data.len(), out);
                out.extend_from_slice(data);
                out.extend_from_slice(CHUNK_END);
            }
        }
    }

    /// Appends the end of the body, with `trailers` where the framing can carry them.
    pub fn finish(self, trailers: &[u8], out: &mut Vec<u8>) {
        if self == Self::Chunked {
            out.extend_from_slice(b"0\r\n");
            out.extend_from_slice(trailers);
            out.extend_from_slice(b"\r\n");
        }
    }
}
