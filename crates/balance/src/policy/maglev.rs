//! Maglev hashing: a table that says which endpoint a key belongs to.

use fastrand::Rng;

use super::bound::Caps;
use super::least_request::least_request;
use super::rendezvous::Rendezvous;
use super::{Candidates, Policy, PolicyKind};
use crate::hash::{hash_pair, unit};
use crate::{Endpoint, PolicySettings};

pub(super) const KIND: PolicyKind = PolicyKind {
    name: "maglev",
    summary: "The endpoint that the request's key belongs to, found in a table: as fast in a \
              large pool as in a small one. One that goes moves its own keys and few others.",
    has_key: true,
    build: |settings, endpoints| Box::new(Maglev::new(settings, endpoints)),
};

/// The table holds all endpoints that are configured with a weight, whatever becomes of them: so
/// one that is down moves its own keys only, and has them back at once. A key whose endpoint may
/// not be picked goes on to another slot, the same one for as long as it has to.
///
/// Source: Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI
/// 2016, section 3.4. Weights: an endpoint takes a slot in each round in which its weights up to
/// then make up the heaviest one's.
struct Maglev {
    /// Indices of endpoints. Empty if none has a weight.
    table: Box<[u32]>,
    /// Knows the names and the bound, and is asked when the table gives nobody.
    rendezvous: Rendezvous,
}

/// The paper's size for some hundred endpoints: shares are right to 1 % from a hundred slots each.
const SLOTS_MIN: usize = 65_537;

/// Slots for each endpoint in larger pools.
const SLOTS_PER_ENDPOINT: usize = 100;

/// Slots that a key tries. With half of a pool gone, one key in 2^16 needs more.
const STEPS_MAX: u64 = 16;

/// Keeps the hash that decides about slow start apart from the others.
const RAMP: u64 = 1;

/// Keep apart what decides where an endpoint's search for slots begins, and by how much it goes
/// on.
const OFFSET: u64 = 2;
const SKIP: u64 = 3;

impl Maglev {
    fn new(settings: &PolicySettings, endpoints: &[Endpoint]) -> Self {
        let rendezvous = Rendezvous::new(settings, endpoints);
        Self {
            table: table(endpoints, |index| rendezvous.name(index)),
            rendezvous,
        }
    }

    fn of_key(&self, key: u64, candidates: &Candidates<'_>) -> Option<usize> {
        if !self.table.is_empty() {
            let caps = self.rendezvous.bound().caps(candidates);
            for step in 0..STEPS_MAX {
                // Any other slot, not the neighbour: the keys of an endpoint that is gone go to
                // all others, and its neighbour does not follow it.
                let hash = hash_pair(key, step);
                let slot = (u128::from(hash) * self.table.len() as u128) >> 64;
                let index = self.table[slot as usize] as usize;
                if self.takes(index, key, caps, candidates) {
                    return Some(index);
                }
            }
        }
        self.rendezvous.of_key(key, candidates)
    }

    fn takes(&self, index: usize, key: u64, caps: Caps, candidates: &Candidates<'_>) -> bool {
        candidates.contains(index)
            && candidates.may_pick(index)
            && caps.has_room(candidates, index)
            && {
                let ramp = candidates.ramp(index);
                // In slow start it has a part of its keys: the same ones, and ever more.
                let of_ramp = || hash_pair(hash_pair(key, self.rendezvous.name(index)), RAMP);
                ramp >= 1.0 || unit(of_ramp()) < f64::from(ramp)
            }
    }
}

impl Policy for Maglev {
    fn pick(&mut self, candidates: &Candidates<'_>, random: &mut Rng) -> Option<usize> {
        match candidates.wanted().key {
            Some(key) => self.of_key(key, candidates),
            None => least_request(candidates, random),
        }
    }
}

/// Fills the table: in turn each endpoint takes the next free slot of its own permutation.
fn table(endpoints: &[Endpoint], name: impl Fn(usize) -> u64) -> Box<[u32]> {
    struct Filler {
        index: u32,
        weight: u32,
        /// Of rounds; a slot is taken when they reach the greatest weight.
        weights: u32,
        slot: usize,
        skip: usize,
    }
    let slots = prime_from(SLOTS_MIN.max(SLOTS_PER_ENDPOINT * endpoints.len()));
    let modulo = |hash: u64, by: usize| (hash % by as u64) as usize;
    let filler = |(index, endpoint): (usize, &Endpoint)| Filler {
        index: u32::try_from(index).expect("a pool has fewer than 2^32 endpoints"),
        weight: endpoint.weight,
        weights: 0,
        slot: modulo(hash_pair(name(index), OFFSET), slots),
        skip: modulo(hash_pair(name(index), SKIP), slots - 1) + 1,
    };
    let mut fillers: Vec<Filler> = endpoints.iter().enumerate().map(filler).collect();
    fillers.retain(|filler| filler.weight > 0);
    // Whose turn it is must not depend on the order of the file.
    fillers.sort_unstable_by(|a, b| {
        endpoints[a.index as usize]
            .name
            .cmp(&endpoints[b.index as usize].name)
    });
    let Some(weight_max) = fillers.iter().map(|filler| filler.weight).max() else {
        return Box::default();
    };
    const FREE: u32 = u32::MAX;
    let mut table = vec![FREE; slots].into_boxed_slice();
    let mut free = slots;
    loop {
        for filler in &mut fillers {
            filler.weights += filler.weight;
            if filler.weights < weight_max {
                continue;
            }
            filler.weights -= weight_max;
            // A prime number of slots: every skip comes to every slot.
            while table[filler.slot] != FREE {
                filler.slot += filler.skip;
                if filler.slot >= slots {
                    filler.slot -= slots;
                }
            }
            table[filler.slot] = filler.index;
            free -= 1;
            if free == 0 {
                return table;
            }
        }
    }
}

/// The least prime number that is not less than `from`, which is odd or not small.
fn prime_from(from: usize) -> usize {
    let is_prime = |number: &usize| {
        (2..)
            .take_while(|divisor| divisor * divisor <= *number)
            .all(|divisor| !number.is_multiple_of(divisor))
    };
    (from..)
        .find(is_prime)
        .expect("there is a prime number between a number and its double")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::EndpointSettings;
    use crate::fixture::endpoint;
    use crate::hash::hash_key;

    fn endpoints(weights: &[u32]) -> Vec<Endpoint> {
        let endpoint = |(index, &weight): (usize, &u32)| EndpointSettings {
            name: format!("10.0.0.{index}:3000").into(),
            ..endpoint(weight, 0)
        };
        let settings = weights.iter().enumerate().map(endpoint);
        settings.map(Endpoint::new).collect()
    }

    fn table_of(weights: &[u32]) -> Box<[u32]> {
        let endpoints = endpoints(weights);
        table(&endpoints, |index| {
            hash_key(endpoints[index].name.as_bytes())
        })
    }

    #[test]
    fn the_size_is_a_prime_number_of_a_hundred_slots_each() {
        assert_eq!(prime_from(SLOTS_MIN), SLOTS_MIN);
        assert_eq!(table_of(&[1; 3]).len(), 65_537);
        assert_eq!(table_of(&[1; 1000]).len(), 100_003);
    }

    #[test]
    fn endpoints_of_weight_0_have_no_slots() {
        assert!(!table_of(&[1, 0, 1]).contains(&1));
        assert!(table_of(&[0, 0]).is_empty());
        assert!(table_of(&[]).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn shares_are_within_2_percent_of_the_weights(
            weights in prop::collection::vec(1u32..=20, 1..20),
        ) {
            let table = table_of(&weights);
            let sum: u32 = weights.iter().sum();
            let mut counts = vec![0; weights.len()];
            for &index in &table {
                counts[index as usize] += 1;
            }
            prop_assert_eq!(counts.iter().sum::<usize>(), table.len());
            for (&count, &weight) in counts.iter().zip(&weights) {
                let fair = table.len() as f64 * f64::from(weight) / f64::from(sum);
                let share = count as f64 / fair;
                prop_assert!((0.98..=1.02).contains(&share), "{weight} of {sum}: {share}");
            }
        }

        #[test]
        fn without_one_of_ten_few_slots_of_the_others_move(gone in 0usize..10) {
            let mut weights = [1; 10];
            let before = table_of(&weights);
            weights[gone] = 0;
            let after = table_of(&weights);
            let others = before.iter().zip(&after).filter(|(old, _)| **old as usize != gone);
            let moved = others.filter(|(old, new)| old != new).count();
            prop_assert!(moved * 20 <= before.len(), "{moved} of {}", before.len());
        }
    }
}
