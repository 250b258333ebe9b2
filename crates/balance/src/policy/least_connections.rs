//! Least connections: the fewest requests in flight for the weight, looked for far and wide.

use fastrand::Rng;

use super::{Candidates, Policy, PolicyKind};

pub(super) const KIND: PolicyKind = PolicyKind {
    name: "least_connections",
    summary: "The endpoint with the fewest requests in flight for its weight, of all up to 64 and \
              of 16 drawn at random in larger pools: more even than `least_request`, and slower.",
    has_key: false,
    build: |_, _| Box::new(LeastConnections),
};

/// Up to this many endpoints are all looked at.
const ALL_MAX: usize = 64;

/// How many are drawn in larger sets.
const DRAWS: usize = 16;

/// Compares `in_flight / weight`; ties are broken at random.
struct LeastConnections;

impl Policy for LeastConnections {
    fn pick(&mut self, candidates: &Candidates<'_>, random: &mut Rng) -> Option<usize> {
        if candidates.count() > ALL_MAX {
            let mut best = Least::default();
            for _ in 0..DRAWS {
                let drawn = candidates.draw(random);
                if candidates.may_pick(drawn) {
                    best.consider(drawn, candidates, random);
                }
            }
            if best.index.is_some() {
                return best.index;
            }
        }
        let mut best = Least::default();
        for index in candidates.pickable() {
            best.consider(index, candidates, random);
        }
        best.index
    }
}

/// The best of those considered.
#[derive(Default)]
struct Least {
    index: Option<usize>,
    cost: f32,
    /// How many of this cost were considered.
    ties: u32,
}

impl Least {
    /// Keeps each of several that are equal with the same probability.
    fn consider(&mut self, index: usize, candidates: &Candidates<'_>, random: &mut Rng) {
        let cost = (candidates.load(index) + 1) as f32 / candidates.weight(index) as f32;
        if self.index.is_none() || cost < self.cost {
            *self = Self {
                index: Some(index),
                cost,
                ties: 1,
            };
        } else if cost == self.cost {
            self.ties += 1;
            if random.u32(..self.ties) == 0 {
                self.index = Some(index);
            }
        }
    }
}
