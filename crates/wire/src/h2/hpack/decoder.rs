//! Blocks to field lines.

use super::name::Name;
use super::table::Table;
use super::{CompressionError, TABLE_SIZE, huffman, integer, static_table};
use crate::h1::{find_control, is_blank};

/// What the peer's blocks refer to. One for each connection.
#[derive(Debug, Default)]
pub struct Decoder {
    pub(super) table: Table<Note>,
    /// Text that stands nowhere else meanwhile. Empty between blocks.
    pub(crate) scratch: Vec<u8>,
}

/// What is known of a line of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Note {
    name: Name,
    is_value_good: bool,
}

/// A field line that was appended to a text as `name: value CRLF`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    pub(crate) name: Name,
    pub(crate) name_bytes: u32,
    pub(crate) value_bytes: u32,
    /// The value keeps RFC 9113 §8.2.1, and holds no control bytes at all, as in HTTP/1.1.
    pub(crate) is_value_good: bool,
}

impl Line {
    /// Bytes of the text.
    pub(crate) fn length(&self) -> usize {
        (self.name_bytes + self.value_bytes) as usize + ": \r\n".len()
    }
}

impl Decoder {
    /// Begins a block. Every one must be read to its end, by [`Block::next`] or [`Block::skip`],
    /// or there is no other.
    pub(crate) fn open<'a>(&'a mut self, block: &'a [u8]) -> Result<Block<'a>, CompressionError> {
        let mut rest = block;
        // Twice is enough to say the lowest size since the last block and the one from now on
        // (RFC 7541 §4.2).
        for _ in 0..SIZE_UPDATES_MAX {
            if !matches!(rest.first(), Some(0x20..=0x3f)) {
                break;
            }
            let size = integer::read(&mut rest, 5)?;
            if size > TABLE_SIZE {
                return Err(CompressionError);
            }
            self.table.set_size_max(size);
        }
        Ok(Block {
            table: &mut self.table,
            rest,
        })
    }
}

/// Changes of the table's size at the front of a block.
const SIZE_UPDATES_MAX: u32 = 2;

/// A block that is being read.
pub(crate) struct Block<'a> {
    table: &'a mut Table<Note>,
    rest: &'a [u8],
}

impl Block<'_> {
    /// Appends the next line to `out`. `None` behind the last.
    #[inline]
    pub(crate) fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<Line>, CompressionError> {
        match self.rest.first() {
            None => Ok(None),
            Some(0x80..) => {
                let index = integer::read(&mut self.rest, 7)?;
                let (line, text) = self.indexed(index)?;
                out.extend_from_slice(text);
                Ok(Some(line))
            }
            Some(_) => self.literal(out).map(Some),
        }
    }

    /// Goes past the next line for the sake of the table. False behind the last. `spare` ends as
    /// it was.
    ///
    /// Costs no more than reading what stands in the block itself, and for each line that is to
    /// be inserted one copy of a name from the table.
    pub(crate) fn skip(&mut self, spare: &mut Vec<u8>) -> Result<bool, CompressionError> {
        match self.rest.first() {
            None => return Ok(false),
            Some(0x80..) => {
                let index = integer::read(&mut self.rest, 7)?;
                self.indexed(index)?;
            }
            Some(_) => {
                let length = spare.len();
                self.literal(spare)?;
                spare.truncate(length);
            }
        }
        Ok(true)
    }

    /// The line with this index in both tables (RFC 7541 §2.3.3), and its text.
    #[inline]
    fn indexed(&self, index: u32) -> Result<(Line, &[u8]), CompressionError> {
        if let Some(entry) = static_table::Entry::at(index) {
            let line = Line {
                name: entry.name,
                name_bytes: entry.name_bytes,
                value_bytes: entry.value_bytes(),
                is_value_good: true,
            };
            return Ok((line, entry.line.as_bytes()));
        }
        let age = index.checked_sub(static_table::COUNT + 1);
        let (entry, text) = age
            .and_then(|age| self.table.entry(age))
            .ok_or(CompressionError)?;
        let line = Line {
            name: entry.note.name,
            name_bytes: entry.name_bytes,
            value_bytes: entry.value_bytes,
            is_value_good: entry.note.is_value_good,
        };
        Ok((line, text))
    }

    /// Appends a line of which at least the value stands in the block (RFC 7541 §6.2).
    fn literal(&mut self, out: &mut Vec<u8>) -> Result<Line, CompressionError> {
        let (is_inserted, prefix_bits) = match self.rest.first() {
            Some(0x40..) => (true, 6),
            // A change of the table's size stands at the front only (RFC 7541 §4.2).
            Some(0x20..) => return Err(CompressionError),
            _ => (false, 4),
        };
        let index = integer::read(&mut self.rest, prefix_bits)?;
        let start = out.len();
        let name = match index {
            0 => {
                self.string(out)?;
                Name::from_bytes(&out[start..])
            }
            index => {
                let (line, text) = self.indexed(index)?;
                out.extend_from_slice(&text[..line.name_bytes as usize]);
                line.name
            }
        };
        let name_end = out.len();
        out.extend_from_slice(b": ");
        let value_start = out.len();
        self.string(out)?;
        let value = &out[value_start..];
        let line = Line {
            name,
            name_bytes: (name_end - start) as u32,
            value_bytes: value.len() as u32,
            is_value_good: is_good_value(value),
        };
        if is_inserted {
            let note = Note {
                name,
                is_value_good: line.is_value_good,
            };
            self.table.insert(&out[start..name_end], value, note);
        }
        out.extend_from_slice(b"\r\n");
        Ok(line)
    }

    /// Appends a string (RFC 7541 §5.2).
    fn string(&mut self, out: &mut Vec<u8>) -> Result<(), CompressionError> {
        let is_huffman = matches!(self.rest.first(), Some(0x80..));
        let length = integer::read(&mut self.rest, 7)? as usize;
        let (string, rest) = self.rest.split_at_checked(length).ok_or(CompressionError)?;
        self.rest = rest;
        if is_huffman {
            return huffman::decode(string, out);
        }
        out.extend_from_slice(string);
        Ok(())
    }
}

/// True if `value` may be the value of a field: it would stand in HTTP/1.1 as it is.
fn is_good_value(value: &[u8]) -> bool {
    let is_blank = |byte: Option<&u8>| byte.is_some_and(|byte| is_blank(*byte));
    !is_blank(value.first()) && !is_blank(value.last()) && find_control(value).is_none()
}
