//! How endpoints are chosen: one file a policy, and the table of them.
//!
//! A policy sees [`Candidates`]: endpoints of one tier, some of them full or excluded. Health,
//! tiers and weight 0 are settled before it is asked (see `Balancer::pick`).

mod adaptive;
mod bound;
mod candidates;
mod first;
mod least_connections;
mod least_request;
mod maglev;
mod peak_ewma;
mod random;
mod rendezvous;
mod round_robin;
mod schedule;
#[cfg(test)]
mod tests;
mod utilization;

use fastrand::Rng;

use crate::{Answer, Endpoint, PolicySettings};

pub(crate) use adaptive::{Reported, Slowness};
pub use candidates::Candidates;
pub(crate) use peak_ewma::LatencyCost;
pub(crate) use utilization::ReportedWeight;

/// Every balancing policy. To add one: write its file, add its row. The config, the docs and the
/// conformance test read this table.
pub const POLICIES: &[PolicyKind] = &[
    adaptive::KIND,
    least_request::KIND,
    least_connections::KIND,
    peak_ewma::KIND,
    utilization::KIND,
    round_robin::KIND,
    random::KIND,
    first::KIND,
    maglev::KIND,
    rendezvous::KIND,
];

/// The policy of a pool that names none.
pub const DEFAULT_POLICY: &str = adaptive::KIND.name;

/// A row of [`POLICIES`].
#[derive(Debug)]
pub struct PolicyKind {
    /// As written in the config.
    pub name: &'static str,
    /// One sentence for the docs.
    pub summary: &'static str,
    /// True if it goes by [`crate::Wanted::key`]: only then is the key worked out.
    pub has_key: bool,
    /// Makes the state that a worker keeps for a pool.
    pub build: fn(&PolicySettings, &[Endpoint]) -> Box<dyn Policy>,
}

/// Up to this many endpoints, looking at all of them costs less than choosing whom to look at: a
/// cache line each. And it is strictly better.
const SCAN_MAX: usize = 16;

/// A way to choose. Each worker has its own for each pool.
pub trait Policy {
    /// The index of an endpoint for which [`Candidates::may_pick`] holds; `None` only if it holds
    /// for none.
    fn pick(&mut self, candidates: &Candidates<'_>, random: &mut Rng) -> Option<usize>;

    /// A request of this class goes to the endpoint, at `now` in µs of the pool's time, whoever
    /// picked it. What is returned comes back in [`Self::learn`] or [`Self::forget`].
    fn send(&mut self, _endpoint: &Endpoint, _class: usize, _now: u64) -> Mark {
        Mark::default()
    }

    /// True if [`Self::learn`] and [`Self::forget`] do something.
    fn learns(&self) -> bool {
        false
    }

    /// Takes what came of it.
    fn learn(&mut self, _endpoint: &Endpoint, _sent: Sent, _answer: &Answer, _now: u64) {}

    /// Nothing came of it: the client left first.
    fn forget(&mut self, _endpoint: &Endpoint, _sent: Sent) {}
}

/// What a policy notes with a request that it sends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark(pub u64);

/// A request that was sent.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// Requests in flight at the endpoint as it was picked, this one included.
    pub in_flight: u32,
    /// What [`Policy::send`] returned.
    pub mark: Mark,
}

pub(crate) fn by_name(name: &str) -> Option<&'static PolicyKind> {
    POLICIES.iter().find(|kind| kind.name == name)
}
