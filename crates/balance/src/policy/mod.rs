//! How endpoints are chosen: one file a policy, and the table of them.
//!
//! A policy sees [`Candidates`]: endpoints of one tier, some of them full or excluded. Health,
//! tiers and weight 0 are settled before it is asked (see `Balancer::pick`).

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

use crate::{Answer, Endpoint, PolicySettings, Pool};

pub use candidates::Candidates;
pub(crate) use peak_ewma::LatencyCost;
pub(crate) use utilization::ReportedWeight;

/// Every balancing policy. To add one: write its file, add its row. The config, the docs and the
/// conformance test read this table.
pub const POLICIES: &[PolicyKind] = &[
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
pub const DEFAULT_POLICY: &str = least_request::KIND.name;

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
    /// Takes what came of a request that was sent to the endpoint of this index, with so many
    /// requests in flight there as it was picked, itself included.
    pub learn: fn(&Pool, usize, u32, &Answer),
}

/// Up to this many endpoints, looking at all of them costs less than choosing whom to look at: a
/// cache line each. And it is strictly better.
const SCAN_MAX: usize = 16;

/// For policies that learn nothing from answers.
pub fn learn_nothing(_: &Pool, _: usize, _: u32, _: &Answer) {}

/// A way to choose. Each worker has its own for each pool.
pub trait Policy {
    /// The index of an endpoint for which [`Candidates::may_pick`] holds; `None` only if it holds
    /// for none.
    fn pick(&mut self, candidates: &Candidates<'_>, random: &mut Rng) -> Option<usize>;
}

pub(crate) fn by_name(name: &str) -> Option<&'static PolicyKind> {
    POLICIES.iter().find(|kind| kind.name == name)
}
