//! Least connections, as HAProxy's `leastconn` and nginx's `least_conn` have it.

use balance::Candidates;
use fastrand::Rng;

use super::{Judge, Opponent, least};

pub(super) const OPPONENT: Opponent = Opponent {
    name: "leastconn",
    summary: "the endpoint with the fewest requests in flight for its weight, of equals the least \
              recently picked",
    is_judged: true,
    build: |_| Box::new(LeastConnections),
};

struct LeastConnections;

impl Judge for LeastConnections {
    fn pick(&mut self, candidates: &Candidates<'_>, _random: &mut Rng) -> Option<usize> {
        least(candidates, |index| {
            f64::from(candidates.load(index) + 1) / f64::from(candidates.weight(index))
        })
    }
}
