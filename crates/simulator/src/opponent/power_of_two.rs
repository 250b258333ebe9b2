//! Power of two choices, as Envoy's `LEAST_REQUEST` and HAProxy's `random(2)` have it.

use balance::Candidates;
use fastrand::Rng;

use super::{Judge, Opponent, lesser_of_two};

pub(super) const OPPONENT: Opponent = Opponent {
    name: "p2c",
    summary: "the one of two drawn at random that has fewer requests in flight",
    is_judged: true,
    build: |_| Box::new(PowerOfTwo),
};

/// Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE TPDS
/// 12(10), 2001. The two are different ones, which is the better variant.
struct PowerOfTwo;

impl Judge for PowerOfTwo {
    fn pick(&mut self, candidates: &Candidates<'_>, random: &mut Rng) -> Option<usize> {
        lesser_of_two(candidates, random, |index| {
            f64::from(candidates.load(index))
        })
    }
}
