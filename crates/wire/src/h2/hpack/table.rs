//! The dynamic table of one direction (RFC 7541 §2.3.2): the last field lines, as text.

use std::collections::VecDeque;

use super::TABLE_SIZE;

/// Bytes that each entry counts for beside its name and value (RFC 7541 §4.1).
const ENTRY_OVERHEAD: u32 = 32;

/// Bytes of `: ` and CR LF in a line.
const LINE_OVERHEAD: u32 = 4;

/// Text of entries that are gone, in front of the others. When there is more, these move up.
const DEAD_BYTES_MAX: u32 = 2048;

/// Entries in the order of their coming, each with a `note` by whoever keeps the table.
#[derive(Debug)]
pub(super) struct Table<T> {
    /// The lines, one behind the other; those of entries that are gone stand in front.
    text: Vec<u8>,
    /// Oldest first.
    entries: VecDeque<Entry<T>>,
    /// As RFC 7541 §4.1 counts: never more than `size_max`.
    size: u32,
    size_max: u32,
    /// How many entries there ever were, modulo 2³².
    inserted: u32,
}

/// A field line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<T> {
    /// Where its line begins.
    start: u32,
    pub(super) name_bytes: u32,
    pub(super) value_bytes: u32,
    pub(super) note: T,
}

impl<T> Entry<T> {
    fn size(&self) -> u32 {
        self.name_bytes + self.value_bytes + ENTRY_OVERHEAD
    }

    fn line_bytes(&self) -> u32 {
        self.name_bytes + self.value_bytes + LINE_OVERHEAD
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            text: Vec::new(),
            entries: VecDeque::new(),
            size: 0,
            size_max: TABLE_SIZE,
            inserted: 0,
        }
    }
}

impl<T> Table<T> {
    pub(super) fn size_max(&self) -> u32 {
        self.size_max
    }

    /// How many entries there ever were, modulo 2³².
    pub(super) fn inserted(&self) -> u32 {
        self.inserted
    }

    /// The entry that came `age` entries before the newest, and its line.
    pub(super) fn entry(&self, age: u32) -> Option<(&Entry<T>, &[u8])> {
        let place = self
            .entries
            .len()
            .checked_sub(1)?
            .checked_sub(age as usize)?;
        let entry = &self.entries[place];
        let start = entry.start as usize;
        Some((
            entry,
            &self.text[start..start + entry.line_bytes() as usize],
        ))
    }

    /// Bytes that it keeps room for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.text.capacity() + self.entries.capacity() * size_of::<Entry<T>>()
    }

    /// Changes the size, and lets go of what is too much.
    pub(super) fn set_size_max(&mut self, size_max: u32) {
        self.size_max = size_max;
        self.evict(0);
    }

    /// Adds a line, in place of the oldest ones. One that is larger than the whole table empties
    /// it (RFC 7541 §4.4).
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8], note: T) {
        let [name_bytes, value_bytes] = [name, value].map(|text| text.len() as u32);
        let size = name_bytes + value_bytes + ENTRY_OVERHEAD;
        self.evict(size);
        if size > self.size_max {
            return;
        }
        self.reclaim();
        self.entries.push_back(Entry {
            start: self.text.len() as u32,
            name_bytes,
            value_bytes,
            note,
        });
        for part in [name, b": ", value, b"\r\n"] {
            self.text.extend_from_slice(part);
        }
        self.size += size;
        self.inserted = self.inserted.wrapping_add(1);
    }

    /// Lets go of the oldest entries until there is room for `bytes`, or none is left.
    fn evict(&mut self, bytes: u32) {
        while self.size.saturating_add(bytes) > self.size_max {
            let Some(oldest) = self.entries.pop_front() else {
                return;
            };
            self.size -= oldest.size();
        }
    }

    /// Moves the text up if much of it is dead.
    fn reclaim(&mut self) {
        let Some(oldest) = self.entries.front() else {
            return self.text.clear();
        };
        let dead = oldest.start;
        if dead > DEAD_BYTES_MAX {
            self.text.drain(..dead as usize);
            for entry in &mut self.entries {
                entry.start -= dead;
            }
        }
    }
}
