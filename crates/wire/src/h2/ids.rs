//! Which stream an identifier of a frame means.

/// Identifiers of streams and where each is kept, in the order of the identifiers: they only
/// increase (RFC 9113 §5.1.1), so that nothing is ever inserted, and a peer cannot choose them so
/// that looking them up gets slow, as it could with a hash.
#[derive(Debug, Default)]
pub(super) struct Ids {
    entries: Vec<Entry>,
    /// Entries that were removed and are still there.
    dead: usize,
    /// Entries that were looked at or moved, for the test that this is not quadratic.
    #[cfg(test)]
    pub(super) work: std::cell::Cell<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    id: u32,
    /// `None`: removed.
    index: Option<u32>,
}

impl Ids {
    /// Adds an identifier larger than all before.
    pub(super) fn push(&mut self, id: u32, index: u32) {
        debug_assert!(
            self.entries.last().is_none_or(|last| last.id < id),
            "identifiers increase"
        );
        self.entries.push(Entry {
            id,
            index: Some(index),
        });
    }

    /// Where the stream is kept, unless it was removed. O(log n).
    pub(super) fn find(&self, id: u32) -> Option<u32> {
        self.entries[self.place(id)?].index
    }

    /// Forgets a stream. O(log n), and what it leaves behind is swept once it is half of all.
    pub(super) fn remove(&mut self, id: u32) {
        let Some(place) = self.place(id) else { return };
        if self.entries[place].index.take().is_some() {
            self.dead += 1;
        }
        if self.dead > self.entries.len() / 2 {
            #[cfg(test)]
            self.work.set(self.work.get() + self.entries.len());
            self.entries.retain(|entry| entry.index.is_some());
            self.dead = 0;
        }
    }

    /// The streams with identifiers above `id`.
    pub(super) fn above(&self, id: u32) -> impl Iterator<Item = (u32, u32)> {
        let first = self.entries.partition_point(|entry| entry.id <= id);
        self.entries[first..]
            .iter()
            .filter_map(|entry| Some((entry.id, entry.index?)))
    }

    /// Gives back memory. There must be no stream.
    pub(super) fn release(&mut self) {
        debug_assert_eq!(self.entries.len(), self.dead, "streams are there");
        self.entries = Vec::new();
        self.dead = 0;
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }

    fn place(&self, id: u32) -> Option<usize> {
        #[cfg(test)]
        self.work
            .set(self.work.get() + self.entries.len().checked_ilog2().unwrap_or(0) as usize + 1);
        // Most frames are of the stream that was opened last.
        let last = self.entries.len().checked_sub(1)?;
        if self.entries[last].id == id {
            return Some(last);
        }
        self.entries
            .binary_search_by_key(&id, |entry| entry.id)
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_found_until_they_are_removed() {
        let mut ids = Ids::default();
        for index in 0..100 {
            ids.push(2 * index + 1, index);
        }
        for index in (0..100).step_by(3) {
            ids.remove(2 * index + 1);
            ids.remove(2 * index + 1);
        }
        for index in 0..100 {
            let expected = (index % 3 != 0).then_some(index);
            assert_eq!(ids.find(2 * index + 1), expected);
            assert_eq!(ids.find(2 * index), None);
        }
        assert_eq!(ids.above(195).collect::<Vec<_>>(), [(197, 98)]);
    }

    /// CVE-2021-32778: work that grows with the square of the streams that end at once.
    #[test]
    fn many_streams_that_end_at_once_cost_a_logarithm_each() {
        const STREAMS: u32 = 10_000;
        for is_forward in [true, false] {
            let mut ids = Ids::default();
            for index in 0..STREAMS {
                ids.push(2 * index + 1, index);
            }
            for index in 0..STREAMS {
                let index = if is_forward {
                    index
                } else {
                    STREAMS - 1 - index
                };
                ids.remove(2 * index + 1);
            }
            assert!(ids.entries.is_empty());
            let each = ids.work.get() / STREAMS as usize;
            assert!(each <= 20, "{each} steps for a stream");
        }
    }
}
