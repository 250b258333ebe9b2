//! Least request: the endpoint with the fewest requests in flight for its weight.

use std::cmp::Ordering;

use fastrand::Rng;

use super::{Candidates, Policy, PolicyKind, learn_nothing};

pub(super) const KIND: PolicyKind = PolicyKind {
    name: "least_request",
    summary: "The endpoint with the fewest requests in flight for its weight; in large pools the \
              better of two drawn at random.",
    has_key: false,
    build: |_, _| Box::new(LeastRequest),
    learn: learn_nothing,
};

/// Up to this many endpoints are all looked at: one cache line each, and strictly better.
const SCAN_MAX: usize = 16;

/// Compares `(in_flight + 1) / weight`; ties go to the least recently picked.
///
/// Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE TPDS
/// 12(10), 2001. The two are drawn without replacement, as with it the busier of two endpoints is
/// picked a quarter of the time; and by weight, as an even draw never gives an endpoint more than
/// 2/n of the picks.
struct LeastRequest;

impl Policy for LeastRequest {
    fn pick(&mut self, candidates: &Candidates<'_>, random: &mut Rng) -> Option<usize> {
        if candidates.count() <= SCAN_MAX {
            return least_of_all(candidates);
        }
        let (a, b) = candidates.draw_two(random);
        match (candidates.may_pick(a), candidates.may_pick(b)) {
            (true, true) if compare(candidates, b, a).is_lt() => Some(b),
            (true, _) => Some(a),
            (false, true) => Some(b),
            (false, false) => least_of_all(candidates),
        }
    }
}

fn least_of_all(candidates: &Candidates<'_>) -> Option<usize> {
    candidates
        .pickable()
        .min_by(|&a, &b| compare(candidates, a, b))
}

fn compare(candidates: &Candidates<'_>, a: usize, b: usize) -> Ordering {
    // Cross multiplication instead of division; 33 bits times 9 bits fit.
    let cost = |of: usize, other: usize| {
        (u64::from(candidates.load(of)) + 1) * u64::from(candidates.weight(other))
    };
    let by_load = cost(a, b).cmp(&cost(b, a));
    by_load.then_with(|| candidates.picked_at(a).cmp(&candidates.picked_at(b)))
}
