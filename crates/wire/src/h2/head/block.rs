//! What all heads have in common: a block that is read to its end, within limits.

use message::{BodyLength, Field, FieldName, Span};

use crate::h1::{BadMessage, Limits};
use crate::h2::hpack::{Block, CompressionError, Decoder, Line, Name};

/// Why a block gave no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadError {
    /// What later blocks refer to is lost: the connection must end (COMPRESSION_ERROR).
    Compression,
    /// A malformed message (RFC 9113 §8.1.1), an error of the stream alone: the whole block was
    /// decoded.
    Malformed(BadMessage),
    /// Larger than the limits; the whole block was decoded, without being kept. A server answers
    /// 431.
    TooLarge,
}

impl From<CompressionError> for HeadError {
    fn from(CompressionError: CompressionError) -> Self {
        Self::Compression
    }
}

impl From<BadMessage> for HeadError {
    fn from(bad: BadMessage) -> Self {
        Self::Malformed(bad)
    }
}

/// The length of a body of which the stream's end has come with the head already.
///
/// # Errors
/// The head promises content.
pub fn end_with_head(length: BodyLength) -> Result<BodyLength, HeadError> {
    match length {
        BodyLength::Exact(1..) => Err(BadMessage::ContentLength.into()),
        BodyLength::Exact(0) => Ok(length),
        _ => Ok(BodyLength::Empty),
    }
}

/// Text that a connection keeps room for between blocks.
const SCRATCH_BYTES_KEPT: usize = 1024;

/// Opens a block and lets `read` have it, with a text of its own that is empty. A message that is
/// malformed or too large does not keep the block from being decoded to its end, because the next
/// one builds on it.
pub(super) fn read_block(
    decoder: &mut Decoder,
    block: &[u8],
    read: impl FnOnce(&mut Block<'_>, &mut Vec<u8>) -> Result<(), HeadError>,
) -> Result<(), HeadError> {
    let mut scratch = std::mem::take(&mut decoder.scratch);
    let mut block = decoder.open(block)?;
    let result = read(&mut block, &mut scratch);
    scratch.clear();
    if matches!(result, Err(HeadError::Malformed(_) | HeadError::TooLarge)) {
        while block.skip(&mut scratch)? {}
    }
    scratch.shrink_to(SCRATCH_BYTES_KEPT);
    decoder.scratch = scratch;
    result
}

/// What is left of the limits.
pub(super) struct Budget {
    bytes: usize,
    fields: usize,
}

impl Budget {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            bytes: limits.head_bytes,
            fields: limits.fields,
        }
    }

    /// Pays for a line, as long as it is as text. An authority becomes a field.
    pub(super) fn spend(&mut self, line: &Line) -> Result<(), HeadError> {
        let is_field = !line.name.is_pseudo() || line.name == Name::Authority;
        let fields = self.fields.checked_sub(usize::from(is_field));
        let bytes = self.bytes.checked_sub(line.length());
        let (Some(fields), Some(bytes)) = (fields, bytes) else {
            return Err(HeadError::TooLarge);
        };
        *self = Self { bytes, fields };
        Ok(())
    }
}

/// Where the value stands of a line that begins at `start`.
pub(super) fn value_span(line: &Line, start: usize) -> Span {
    let value = start + line.name_bytes as usize + 2;
    Span::new(value, value + line.value_bytes as usize)
}

/// The line that begins at `start`, as a field of a head.
pub(super) fn field(line: &Line, start: usize, id: FieldName) -> Field {
    Field {
        name: Span::new(start, start + line.name_bytes as usize),
        value: value_span(line, start),
        end: (start + line.length()) as u32,
        id,
        hop_by_hop: id.is_hop_by_hop(),
    }
}

/// Refuses fields about the connection (RFC 9113 §8.2.2).
pub(super) fn check_hop_by_hop(id: FieldName, value: &[u8]) -> Result<(), BadMessage> {
    match id {
        FieldName::Te if value.eq_ignore_ascii_case(b"trailers") => Ok(()),
        FieldName::Te => Err(BadMessage::FieldValue),
        id if id.is_hop_by_hop() => Err(BadMessage::FieldName),
        _ => Ok(()),
    }
}
