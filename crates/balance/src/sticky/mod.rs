//! Stickiness: a session's requests go to the endpoint that has the session.
//!
//! [`Sessions`] says who that is and whether it may still be used; `Balancer` asks before it asks
//! the policy. How a request shows its session is the request path's business: here a session is
//! a number.

mod table;
#[cfg(test)]
mod tests;

use std::sync::atomic::Ordering;

use crate::{AdminState, Availability, Pool, Session, StickyBy, StickySettings};

use table::Table;

/// The sessions of a pool.
#[derive(Debug)]
pub(crate) struct Sessions {
    table: Table,
    settings: StickySettings,
}

impl Sessions {
    pub(crate) fn new(settings: StickySettings) -> Self {
        Self {
            table: Table::new(settings.sessions_max, settings.idle),
            settings,
        }
    }

    /// True if a session's requests go nowhere else.
    pub(crate) fn is_strict(&self) -> bool {
        self.settings.is_strict
    }

    /// The endpoints that may have the session: the one that the request names, and the one that
    /// is remembered. They differ while a client still uses what it was told before its session
    /// moved.
    pub(crate) fn owners(&self, session: Session, now: u64) -> (Option<usize>, Option<usize>) {
        (session.owner, self.table.find(session.id, now))
    }

    /// Enters the endpoint that a request of the session was sent to. `before` is what was
    /// remembered as the endpoint was chosen; if that has changed, returns the one which another
    /// request of the session was sent to meanwhile.
    pub(crate) fn claim(
        &self,
        id: u64,
        before: Option<usize>,
        endpoint: usize,
        now: u64,
    ) -> Result<(), usize> {
        // Where endpoints say which sessions they have, a request alone makes none: whoever makes
        // up keys cannot push out those that are real.
        if matches!(self.settings.by, StickyBy::Learned(_)) && before.is_none() {
            return Ok(());
        }
        self.table.claim(id, before, endpoint, now)
    }

    pub(crate) fn put(&self, id: u64, endpoint: usize, now: u64) {
        self.table.put(id, endpoint, now);
    }

    pub(crate) fn counts(&self, endpoints: usize, now: u64) -> Vec<usize> {
        self.table.counts(endpoints, now)
    }

    /// True unless the endpoint is out of the question even for its own sessions. A draining one
    /// is not: that is what draining means. `is_fail_open`: all are down, and are tried.
    pub(crate) fn may_keep(
        &self,
        pool: &Pool,
        index: usize,
        weights: &[u32],
        is_fail_open: bool,
    ) -> bool {
        let endpoint = &pool.endpoints[index];
        let is_down = endpoint.availability() == Availability::Down;
        (!is_down || is_fail_open)
            && endpoint.admin_state() != AdminState::Maintenance
            && self.is_within_bound(pool, index, weights)
    }

    /// True while one more request keeps the endpoint within its multiple of the fair share
    /// (algorithms: bounded loads).
    fn is_within_bound(&self, pool: &Pool, index: usize, weights: &[u32]) -> bool {
        let Some(factor) = self.settings.bounded_load else {
            return true;
        };
        let in_flight = |index: usize| {
            let load = &pool.endpoints[index].load;
            u64::from(load.in_flight.load(Ordering::Relaxed))
        };
        let (mut total, mut weight_sum) = (1, 0);
        for (other, endpoint) in pool.endpoints.iter().enumerate() {
            let shares = endpoint.availability() != Availability::Down
                && endpoint.admin_state() == AdminState::Ready;
            if shares || other == index {
                total += in_flight(other);
                weight_sum += u64::from(weights[other].max(1));
            }
        }
        let share = f64::from(weights[index].max(1)) / weight_sum as f64;
        let cap = (factor * total as f64 * share).ceil();
        (in_flight(index) as f64) < cap
    }
}
