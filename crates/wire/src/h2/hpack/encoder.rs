//! Field lines to blocks.

use super::table::Table;
use super::{TABLE_SIZE, integer, static_table};

/// Places of the memory for where a line stands in the table: a power of two, a few times the
/// fields of one message.
const PLACES: usize = 64;

/// What our blocks refer to. One for each connection.
///
/// A line is looked for at one place only, which its hash names, and which a later line may have
/// taken over: then it is sent again. So is one whose name is spelled in another case.
#[derive(Debug)]
pub struct Encoder {
    /// Each line with its hash.
    table: Table<u32>,
    /// For each place, which line of the table it was, counted from the first.
    places: [u32; PLACES],
    /// What the next block begins by saying.
    update: Option<SizeUpdate>,
}

/// A change of the table's size.
#[derive(Debug, Clone, Copy)]
struct SizeUpdate {
    /// The smallest size since the last block.
    lowest: u32,
    /// The size from now on.
    last: u32,
}

/// How a field line is sent (RFC 7541 §6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Indexing {
    /// Both sides keep it, so that it is one or two bytes the next time.
    Kept,
    /// It will be another the next time.
    Not,
    /// It is a secret: nobody on the way may keep it, or the size of a message would tell whether
    /// its sender has guessed it (RFC 7541 §7.1.3).
    Never,
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            table: Table::default(),
            places: [0; PLACES],
            update: None,
        }
    }
}

impl Encoder {
    /// Takes the peer's SETTINGS_HEADER_TABLE_SIZE. The next block says how much of it we use.
    pub fn set_table_size_max(&mut self, bytes: u32) {
        let last = bytes.min(TABLE_SIZE);
        let size = self.table.size_max();
        let lowest = last.min(self.update.map_or(size, |update| update.lowest));
        self.update = (lowest != size || last != size).then_some(SizeUpdate { lowest, last });
    }

    /// Begins a block.
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>) {
        let Some(SizeUpdate { lowest, last }) = self.update.take() else {
            return;
        };
        for size in [lowest, last] {
            if size != self.table.size_max() {
                self.table.set_size_max(size);
                integer::write(size, 5, 0x20, out);
            }
        }
    }

    /// Appends a line that the static table has whole.
    pub(crate) fn indexed(index: u32, out: &mut Vec<u8>) {
        integer::write(index, 7, 0x80, out);
    }

    /// Appends a line. `name_index` is where the static table has the name, 0 if it does not.
    #[inline]
    pub(crate) fn line(
        &mut self,
        name_index: u32,
        name: &[u8],
        value: &[u8],
        indexing: Indexing,
        out: &mut Vec<u8>,
    ) {
        let (pattern, prefix_bits) = match indexing {
            Indexing::Kept if self.is_worth_keeping(name, value) => {
                let hash = hash(name_index, name, value);
                if let Some(age) = self.find(hash, name, value) {
                    return Self::indexed(static_table::COUNT + 1 + age, out);
                }
                self.table.insert(name, value, hash);
                self.places[hash as usize % PLACES] = self.table.inserted();
                (0x40, 6)
            }
            Indexing::Kept | Indexing::Not => (0x00, 4),
            Indexing::Never => (0x10, 4),
        };
        integer::write(name_index, prefix_bits, pattern, out);
        if name_index == 0 {
            integer::write(name.len() as u32, 7, 0, out);
            out.extend(name.iter().map(u8::to_ascii_lowercase));
        }
        integer::write(value.len() as u32, 7, 0, out);
        out.extend_from_slice(value);
    }

    /// False for a line that would drive most others from the table.
    fn is_worth_keeping(&self, name: &[u8], value: &[u8]) -> bool {
        name.len() + value.len() < self.table.size_max() as usize / 2
    }

    /// How many lines came after this one, if the table has it where it would be.
    #[inline]
    fn find(&self, hash: u32, name: &[u8], value: &[u8]) -> Option<u32> {
        let ordinal = self.places[hash as usize % PLACES];
        let age = self.table.inserted().wrapping_sub(ordinal);
        let (entry, line) = self.table.entry(age)?;
        let name_bytes = entry.name_bytes as usize;
        let is_same = entry.note == hash
            && entry.value_bytes as usize == value.len()
            && &line[..name_bytes] == name
            && &line[name_bytes + 2..line.len() - 2] == value;
        is_same.then_some(age)
    }
}

/// The same for the same line. Lines that differ in the middle only have the same, too: they take
/// turns in one place.
#[inline]
fn hash(name_index: u32, name: &[u8], value: &[u8]) -> u32 {
    /// 2⁶⁴ divided by the golden ratio: its product spreads close numbers (Knuth, "The Art of
    /// Computer Programming", volume 3, section 6.4).
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let name = match name_index {
        0 => ends(name),
        index => u64::from(index),
    };
    let mixed = (name.wrapping_mul(SPREAD).rotate_left(32) ^ ends(value)).wrapping_mul(SPREAD);
    (mixed >> 32) as u32
}

/// The length and the first and last eight bytes of a text as one number.
#[inline]
fn ends(text: &[u8]) -> u64 {
    let ends = match (text.first_chunk(), text.last_chunk()) {
        (Some(first), Some(last)) => {
            u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(29)
        }
        _ => text
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)),
    };
    ends ^ (text.len() as u64) << 56
}
