//! Least request: the endpoint with the fewest requests in flight for its weight.

use fastrand::Rng;

use super::{Candidates, Policy, PolicyKind, SCAN_MAX};

pub(super) const KIND: PolicyKind = PolicyKind {
    name: "least_request",
    summary: "The endpoint with the fewest requests in flight for its weight; in large pools the \
              better of two drawn at random.",
    has_key: false,
    build: |_, _| Box::new(LeastRequest),
};

/// Compares `(in_flight + 1) / weight`; ties go to the least recently picked.
struct LeastRequest;

impl Policy for LeastRequest {
    fn pick(&mut self, candidates: &Candidates<'_>, random: &mut Rng) -> Option<usize> {
        least_request(candidates, random)
    }
}

/// What policies do with a request that they have no opinion of.
pub(super) fn least_request(candidates: &Candidates<'_>, random: &mut Rng) -> Option<usize> {
    cheapest(candidates, random, |index| {
        (candidates.load(index) + 1) as f32 / candidates.weight(index) as f32
    })
}

/// The candidate of the least cost: of all in small sets, of two drawn at random in large ones.
/// Ties go to the least recently picked.
///
/// Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE TPDS
/// 12(10), 2001. The two are drawn without replacement, as with it the busier of two endpoints is
/// picked a quarter of the time; and by weight, as an even draw never gives an endpoint more than
/// 2/n of the picks.
pub(super) fn cheapest(
    candidates: &Candidates<'_>,
    random: &mut Rng,
    cost: impl Fn(usize) -> f32,
) -> Option<usize> {
    if candidates.count() <= SCAN_MAX {
        return cheapest_of(candidates.pickable(), candidates, cost);
    }
    let (a, b) = candidates.draw_two(random);
    let drawn = [a, b]
        .into_iter()
        .filter(|&index| candidates.may_pick(index));
    cheapest_of(drawn, candidates, &cost)
        .or_else(|| cheapest_of(candidates.pickable(), candidates, &cost))
}

fn cheapest_of(
    indices: impl Iterator<Item = usize>,
    candidates: &Candidates<'_>,
    cost: impl Fn(usize) -> f32,
) -> Option<usize> {
    let mut best = None;
    for index in indices {
        let this = (cost(index), candidates.picked_at(index));
        if best.is_none_or(|(least, _)| this < least) {
            best = Some((this, index));
        }
    }
    best.map(|(_, index)| index)
}
