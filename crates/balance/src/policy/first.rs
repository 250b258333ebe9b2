//! First: fill the first endpoint to its limit, then the second.

use fastrand::Rng;

use super::{Candidates, Policy, PolicyKind, learn_nothing};

pub(super) const KIND: PolicyKind = PolicyKind {
    name: "first",
    summary: "The first endpoint of the list until it is at `max_requests`, then the next, so \
              that those at the end can be switched off. Weights are ignored, except 0.",
    has_key: false,
    build: |_, _| Box::new(First),
    learn: learn_nothing,
};

struct First;

impl Policy for First {
    fn pick(&mut self, candidates: &Candidates<'_>, _random: &mut Rng) -> Option<usize> {
        candidates.pickable().next()
    }
}
