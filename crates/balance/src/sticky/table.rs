//! Which endpoint has which session: a table of fixed size that all workers write without locks.
//!
//! A session is one word: a part of its id, its endpoint and when it was used last. It stands in
//! one of the sixteen places of a bucket that its id names, so looking for it reads two cache
//! lines, and taking the place of another is one exchange of a word.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Sessions and their endpoints.
///
/// Two workers that enter one session at the same moment may enter it twice; from then on both
/// find the first of the two. Two sessions of one bucket whose ids agree in 28 further bits are
/// taken for one: in a full table of 65,536, one chance in two hundred that any two are.
#[derive(Debug)]
pub(crate) struct Table {
    buckets: Box<[Bucket]>,
    /// The unit of stamps, in µs.
    stamp_unit: u64,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Bucket([AtomicU64; PLACES]);

/// Places of a bucket.
const PLACES: usize = 16;

/// An entry that is taken apart. Its word is 0 when the place is free: `endpoint` begins at 1
/// there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    tag: u64,
    endpoint: usize,
    /// In units, of which only the last 20 bits are kept.
    stamp: u64,
}

const TAG_BITS: u32 = 28;
const ENDPOINT_BITS: u32 = 16;
const STAMP_BITS: u32 = 20;

/// A session is forgotten when it is older than so many units. They come round only after four
/// thousand times as long, so that a session which nothing pushed out may be remembered again
/// then, for as long as one unit's turn: its old endpoint is no worse than another.
const IDLE_UNITS: u64 = 256;

impl Table {
    /// With room for `sessions_max`, rounded up to whole buckets. Buckets do not fill evenly: from
    /// half full on, now and then one is full and forgets its longest unused session.
    pub(crate) fn new(sessions_max: usize, idle: Duration) -> Self {
        let count = sessions_max.div_ceil(PLACES).max(1);
        Self {
            buckets: (0..count).map(|_| Bucket::default()).collect(),
            stamp_unit: (idle.as_micros() as u64 / IDLE_UNITS).max(1),
        }
    }

    /// The endpoint of a session, which counts as used now. `now` is in µs, as everywhere here.
    pub(crate) fn find(&self, id: u64, now: u64) -> Option<usize> {
        let stamp = self.stamp(now);
        let (place, word, entry) = self.look_up(id, stamp)?;
        if entry.stamp != stamp {
            // Whoever comes before us writes the same, or something newer.
            let touched = Entry { stamp, ..entry }.pack();
            let _ = place.compare_exchange(word, touched, Ordering::Relaxed, Ordering::Relaxed);
        }
        Some(entry.endpoint)
    }

    /// Gives a session to an endpoint, unless another worker was faster: its endpoint must still
    /// be `before`, else the one that it has now is returned.
    pub(crate) fn claim(
        &self,
        id: u64,
        before: Option<usize>,
        endpoint: usize,
        now: u64,
    ) -> Result<(), usize> {
        let stamp = self.stamp(now);
        let entry = Entry {
            tag: tag(id),
            endpoint,
            stamp,
        };
        // Beyond the bits of an entry nothing is remembered.
        if endpoint >= (1 << ENDPOINT_BITS) - 1 {
            return Ok(());
        }
        loop {
            let (place, word) = match self.look_up(id, stamp) {
                Some((_, _, found)) if found.endpoint == endpoint => return Ok(()),
                Some((_, _, found)) if Some(found.endpoint) != before => return Err(found.endpoint),
                Some((place, word, _)) => (place, word),
                None => self.least_used(id, stamp),
            };
            let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
            if place
                .compare_exchange(word, entry.pack(), set, fetch)
                .is_ok()
            {
                return Ok(());
            }
        }
    }

    /// Gives a session to an endpoint, whoever had it.
    pub(crate) fn put(&self, id: u64, endpoint: usize, now: u64) {
        let mut before = self.find(id, now);
        while let Err(holder) = self.claim(id, before, endpoint, now) {
            before = Some(holder);
        }
    }

    /// The sessions of each of so many endpoints. Reads the whole table.
    pub(crate) fn counts(&self, endpoints: usize, now: u64) -> Vec<usize> {
        let stamp = self.stamp(now);
        let mut counts = vec![0; endpoints];
        for place in self.buckets.iter().flat_map(|bucket| &bucket.0) {
            if let Some(entry) = Entry::unpack(place.load(Ordering::Relaxed))
                && !entry.is_old(stamp)
                && let Some(count) = counts.get_mut(entry.endpoint)
            {
                *count += 1;
            }
        }
        counts
    }

    /// A session's place, its word and what that says.
    fn look_up(&self, id: u64, stamp: u64) -> Option<(&AtomicU64, u64, Entry)> {
        let tag = tag(id);
        self.bucket(id).0.iter().find_map(|place| {
            let word = place.load(Ordering::Relaxed);
            let entry = Entry::unpack(word)?;
            (entry.tag == tag && !entry.is_old(stamp)).then_some((place, word, entry))
        })
    }

    /// The place that a new session gets, with its word: a free one, or that of the session that
    /// was not used for longest.
    fn least_used(&self, id: u64, stamp: u64) -> (&AtomicU64, u64) {
        let words = self.bucket(id).0.iter();
        words
            .map(|place| (place, place.load(Ordering::Relaxed)))
            .max_by_key(|(_, word)| Entry::unpack(*word).map_or(u64::MAX, |entry| entry.age(stamp)))
            .expect("a bucket has places")
    }

    /// By the upper bits of the id; the tag is the lower ones.
    fn bucket(&self, id: u64) -> &Bucket {
        let index = (u128::from(id) * self.buckets.len() as u128) >> 64;
        &self.buckets[index as usize]
    }

    fn stamp(&self, now: u64) -> u64 {
        now / self.stamp_unit % (1 << STAMP_BITS)
    }
}

fn tag(id: u64) -> u64 {
    id % (1 << TAG_BITS)
}

impl Entry {
    fn pack(self) -> u64 {
        let place = self.endpoint as u64 + 1;
        (self.tag << (ENDPOINT_BITS + STAMP_BITS)) | (place << STAMP_BITS) | self.stamp
    }

    fn unpack(word: u64) -> Option<Self> {
        let place = (word >> STAMP_BITS) % (1 << ENDPOINT_BITS);
        Some(Self {
            tag: word >> (ENDPOINT_BITS + STAMP_BITS),
            endpoint: (place as usize).checked_sub(1)?,
            stamp: word % (1 << STAMP_BITS),
        })
    }

    /// Units since the last use. Another worker's time may be a little ahead of ours: such an
    /// entry is new.
    fn age(self, stamp: u64) -> u64 {
        let age = stamp.wrapping_sub(self.stamp) % (1 << STAMP_BITS);
        if age >= (1 << STAMP_BITS) - AHEAD_UNITS {
            0
        } else {
            age
        }
    }

    fn is_old(self, stamp: u64) -> bool {
        self.age(stamp) > IDLE_UNITS
    }
}

/// How far the times of two workers may differ.
const AHEAD_UNITS: u64 = IDLE_UNITS;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;

    const SECOND: u64 = 1_000_000;

    fn table(sessions_max: usize) -> Table {
        Table::new(sessions_max, Duration::from_secs(60))
    }

    #[test]
    fn a_session_is_remembered_for_as_long_as_it_may_idle() {
        let table = table(100);
        assert_eq!(table.claim(7, None, 3, 0), Ok(()));
        assert_eq!(table.find(7, 60 * SECOND), Some(3));
        // Each use begins the time anew.
        assert_eq!(table.find(7, 120 * SECOND), Some(3));
        assert_eq!(table.find(7, 181 * SECOND), None);
        assert_eq!(table.counts(4, 181 * SECOND), [0; 4]);
    }

    #[test]
    fn a_session_goes_to_whoever_claims_it_first() {
        let table = table(100);
        assert_eq!(table.claim(7, None, 3, 0), Ok(()));
        assert_eq!(table.claim(7, None, 4, 0), Err(3));
        assert_eq!(table.claim(7, Some(5), 4, 0), Err(3));
        assert_eq!(table.claim(7, Some(3), 4, 0), Ok(()));
        assert_eq!(table.find(7, 0), Some(4));
        table.put(7, 5, 0);
        assert_eq!(table.find(7, 0), Some(5));
        assert_eq!(table.counts(6, 0), [0, 0, 0, 0, 0, 1]);
        // Those of endpoints beyond are nobody's.
        assert_eq!(table.counts(2, 0), [0, 0]);
    }

    #[test]
    fn of_a_full_bucket_the_longest_unused_session_is_forgotten() {
        let table = table(1);
        let places = PLACES as u64;
        for id in 0..places {
            assert_eq!(table.claim(id, None, 0, id * SECOND), Ok(()));
        }
        assert_eq!(table.find(0, places * SECOND), Some(0));
        assert_eq!(
            table.claim(places, None, 0, places * SECOND + SECOND),
            Ok(())
        );
        let now = (places + 2) * SECOND;
        let lost: Vec<u64> = (0..=places)
            .filter(|id| table.find(*id, now).is_none())
            .collect();
        assert_eq!(lost, [1]);
    }

    #[test]
    fn an_endpoint_beyond_the_bits_of_an_entry_is_not_remembered() {
        let table = table(1);
        assert_eq!(table.claim(7, None, 70_000, 0), Ok(()));
        assert_eq!(table.find(7, 0), None);
        assert_eq!(table.claim(7, None, 65_534, 0), Ok(()));
        assert_eq!(table.find(7, 0), Some(65_534));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "workers race for a session")]
    fn of_workers_that_claim_a_session_at_once_one_gets_it_and_all_know() {
        for id in 0..200 {
            let table = &table(16);
            let claims = std::thread::scope(|scope| {
                let claim = |endpoint| scope.spawn(move || table.claim(id, None, endpoint, 0));
                [0, 1, 2].map(claim).map(|thread| thread.join().unwrap())
            });
            let owner = table.find(id, 0).expect("somebody has it");
            for (endpoint, claim) in claims.into_iter().enumerate() {
                let expected = if endpoint == owner {
                    Ok(())
                } else {
                    Err(owner)
                };
                assert_eq!(claim, expected, "endpoint {endpoint}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_table_says_what_a_map_says_while_it_has_room(
            steps in prop::collection::vec((0..8u64, 0..4usize, 0..40u64, any::<bool>()), 1..200),
        ) {
            let table = table(1000);
            let mut map: HashMap<u64, (usize, u64)> = HashMap::new();
            let mut now = 0;
            for (session, endpoint, seconds, is_claim) in steps {
                now += seconds * SECOND;
                // Far apart, as hashes are.
                let id = session.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                // Times are whole seconds: the table is exact to a quarter of one here.
                map.retain(|_, (_, used)| now - *used <= 60 * SECOND);
                let known = map.get(&id).map(|(endpoint, _)| *endpoint);
                let found = table.find(id, now);
                prop_assert_eq!(found, known);
                if let Some(found) = found {
                    map.insert(id, (found, now));
                }
                if is_claim {
                    prop_assert_eq!(table.claim(id, found, endpoint, now), Ok(()));
                    map.insert(id, (endpoint, now));
                }
            }
        }

        #[test]
        fn no_number_of_sessions_makes_the_table_larger(
            sessions_max in 1..100usize,
            ids in prop::collection::vec(any::<u64>(), 0..2000),
        ) {
            let table = table(sessions_max);
            for id in &ids {
                prop_assert_eq!(table.claim(*id, None, 1, 0), Ok(()));
                prop_assert_eq!(table.find(*id, 0), Some(1));
            }
            prop_assert!(table.counts(2, 0)[1] <= sessions_max.next_multiple_of(PLACES));
        }
    }
}
