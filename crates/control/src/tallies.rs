//! What the workers counted of the endpoints of a pool, from one look to the next.

use std::time::{Duration, Instant};

use balance::Tally;
use observe::{Blame, Registry};

/// The counts of a pool's endpoints at a moment, to see what came on top of them.
#[derive(Debug)]
pub(crate) struct Tallies {
    /// The pool's index.
    pool: usize,
    since: Instant,
    /// By endpoint index.
    then: Vec<Tally>,
}

impl Tallies {
    /// Of a pool with `endpoints` endpoints that nothing has been counted of.
    pub(crate) fn new(pool: usize, endpoints: usize, now: Instant) -> Self {
        Self {
            pool,
            since: now,
            then: vec![Tally::default(); endpoints],
        }
    }

    /// What came of requests since the last call that was not too soon, and how long that is ago.
    /// `None`, and nothing begins anew, sooner than `length` after it.
    pub(crate) fn after(
        &mut self,
        length: Duration,
        registry: &Registry,
        now: Instant,
    ) -> Option<(Vec<Tally>, Duration)> {
        let time = now.saturating_duration_since(self.since);
        if time < length {
            return None;
        }
        self.since = now;
        let count = |endpoint, blame| registry.attempts(self.pool, endpoint, blame);
        let since = self.then.iter_mut().enumerate().map(|(endpoint, then)| {
            let tally = Tally {
                successes: count(endpoint, Blame::Success),
                failures: count(endpoint, Blame::Failure),
            };
            tally.since(std::mem::replace(then, tally))
        });
        Some((since.collect(), time))
    }
}
