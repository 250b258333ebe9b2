//! First: fill the first endpoint to its limit, then the second.

use fastrand::Rng;

use super::{Candidates, Policy, PolicyKind};

pub(super) const KIND: PolicyKind = PolicyKind {
    name: "first",
    summary: "The first endpoint of the list until it is at `max_requests`, then the next, so \
              that those at the end can be switched off. Weights are ignored, except 0.",
    has_key: false,
    build: |_, _| Box::new(First),
};

struct First;

impl Policy for First {
    /// An endpoint in slow start takes the part of the requests that its ramp leaves it, and the
    /// others go on to the next.
    fn pick(&mut self, candidates: &Candidates<'_>, random: &mut Rng) -> Option<usize> {
        let mut takes = |&index: &usize| {
            let ramp = candidates.ramp(index);
            ramp >= 1.0 || random.f32() < ramp
        };
        let first = candidates.pickable().find(&mut takes);
        first.or_else(|| candidates.pickable().next())
    }
}
