//! Random by weight.

use fastrand::Rng;

use super::{Candidates, Policy, PolicyKind};

pub(super) const KIND: PolicyKind = PolicyKind {
    name: "random",
    summary: "Any endpoint, as likely as its weight says.",
    has_key: false,
    build: |_, _| Box::new(Random),
};

/// Draws before looking at every candidate: enough while a few are full.
const DRAWS_MAX: usize = 4;

struct Random;

impl Policy for Random {
    fn pick(&mut self, candidates: &Candidates<'_>, random: &mut Rng) -> Option<usize> {
        for _ in 0..DRAWS_MAX {
            let drawn = candidates.draw(random);
            if candidates.may_pick(drawn) {
                return Some(drawn);
            }
        }
        draw_of_pickable(candidates, random)
    }
}

/// Keeps each one that may be picked with the probability of its weight among those seen so far,
/// so that one pass is enough and an endpoint filling up meanwhile does no harm.
fn draw_of_pickable(candidates: &Candidates<'_>, random: &mut Rng) -> Option<usize> {
    let mut weight_sum = 0;
    let mut kept = None;
    for index in candidates.pickable() {
        let weight = u64::from(candidates.weight(index));
        weight_sum += weight;
        if random.u64(..weight_sum) < weight {
            kept = Some(index);
        }
    }
    kept
}
