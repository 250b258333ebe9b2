//! What `adaptive` is held against, beside the rows of [`POLICIES`](balance::POLICIES): what other load balancers
//! do, one file each, and a judge who knows everything.
//!
//! A [`Judge`] serves all workers of one balancer, however the original divides its knowledge:
//! so none of them looks worse here than it is.

mod c3;
mod least_connections;
mod least_time;
mod oracle;
mod peak_ewma;
mod power_of_two;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use balance::{Candidates, Policy};
use fastrand::Rng;

use crate::machine::Machine;

/// Every opponent that is no policy of ours.
pub(crate) const OPPONENTS: &[Opponent] = &[
    power_of_two::OPPONENT,
    least_connections::OPPONENT,
    peak_ewma::OPPONENT,
    least_time::OPPONENT,
    c3::OPPONENT,
    oracle::OPPONENT,
];

/// A row of [`OPPONENTS`].
pub(crate) struct Opponent {
    /// As written on the command line. No policy of ours is called so.
    pub(crate) name: &'static str,
    /// One sentence for the docs.
    pub(crate) summary: &'static str,
    /// The bars are set by the best of those that are judged.
    pub(crate) is_judged: bool,
    /// Makes what the workers of one balancer share.
    pub(crate) build: fn(&World) -> Box<dyn Judge>,
}

/// What an opponent may know when it is made.
pub(crate) struct World {
    /// The machines as they are. Only the oracle looks at them.
    pub(crate) machines: Rc<RefCell<Vec<Machine>>>,
    /// How many balancers share the endpoints.
    pub(crate) balancers: usize,
}

/// A way to choose, with what it learned.
pub(crate) trait Judge {
    /// As [`Policy::pick`].
    fn pick(&mut self, candidates: &Candidates<'_>, random: &mut Rng) -> Option<usize>;

    /// Takes what came of a request to the endpoint of this index.
    fn learn(&mut self, _index: usize, _response: &Response) {}
}

/// What came of a request, as far as any opponent wants to know.
pub(crate) struct Response {
    /// From pick to the end.
    pub(crate) latency: Duration,
    /// How long the endpoint worked at it without interruption, as servers made for C3 tell.
    pub(crate) service: Duration,
    /// Requests at the endpoint as it ended, those of all balancers, as servers made for C3 tell.
    pub(crate) queue: usize,
    /// In µs since the start.
    pub(crate) now: u64,
}

/// The judge at the place of one worker's policy.
pub(crate) struct Shared(pub(crate) Rc<RefCell<Box<dyn Judge>>>);

impl Policy for Shared {
    fn pick(&mut self, candidates: &Candidates<'_>, random: &mut Rng) -> Option<usize> {
        self.0.borrow_mut().pick(candidates, random)
    }
}

/// The one with the least cost; of equals the least recently picked.
fn least(candidates: &Candidates<'_>, cost: impl Fn(usize) -> f64) -> Option<usize> {
    let mut best: Option<(f64, u64, usize)> = None;
    for index in candidates.pickable() {
        let (cost, picked_at) = (cost(index), candidates.picked_at(index));
        let is_better = best
            .is_none_or(|(least, first, _)| cost < least || (cost == least && picked_at < first));
        if is_better {
            best = Some((cost, picked_at, index));
        }
    }
    best.map(|(_, _, index)| index)
}

/// The one of two drawn at random with the lesser cost, as published: weights count in the draw.
fn lesser_of_two(
    candidates: &Candidates<'_>,
    random: &mut Rng,
    cost: impl Fn(usize) -> f64,
) -> Option<usize> {
    if candidates.count() < 2 {
        return least(candidates, cost);
    }
    let (a, b) = candidates.draw_two(random);
    match (candidates.may_pick(a), candidates.may_pick(b)) {
        (true, true) if cost(b) < cost(a) => Some(b),
        (true, _) => Some(a),
        (false, true) => Some(b),
        (false, false) => least(candidates, cost),
    }
}
