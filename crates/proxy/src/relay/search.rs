//! Where a connection or a flow goes: what its pool goes by, and whether another endpoint may be
//! tried.

use std::time::{Instant, SystemTime};

use balance::{Session, Tried, Wanted, Why, hash_key};
use config::Route;
use message::RequestHead;

use crate::attempt::{Failed, Retryable};
use crate::client_address::ClientAddress;
use crate::key;
use crate::worker::Worker;

/// A search for an endpoint, as far as it has come.
pub(crate) struct Search {
    /// Index of the route.
    route: usize,
    key: Option<u64>,
    session: Option<Session>,
    tried: Tried,
    /// Extra attempts.
    retries: u32,
}

impl Search {
    /// A search on the route of this index, for what comes from `client` at this time.
    pub(crate) fn new(
        worker: &Worker,
        route: usize,
        client: &ClientAddress,
        time: SystemTime,
    ) -> Self {
        let plan = &worker.plan;
        let index = plan.snapshot.routes[route].pool;
        let pool = &plan.pools[index];
        // What a request could bring is not there.
        let request = RequestHead::default();
        let key = pool.key().and_then(|key| key::of(key, &request, client));
        let visit = plan.stickiness.visit(index, pool, &request, client, time);
        Self {
            route,
            key: key.map(hash_key),
            session: visit.session,
            tried: Tried::new(),
            retries: 0,
        }
    }

    /// What is asked of a pick.
    pub(crate) fn wanted(&self, now: Instant) -> Wanted<'_> {
        Wanted {
            tried: &self.tried,
            now,
            class: self.route,
            key: self.key,
            session: self.session,
        }
    }

    /// The endpoint of this index was picked.
    pub(crate) fn picked(&mut self, worker: &Worker, endpoint: usize, why: Why) {
        self.tried.insert(endpoint);
        let metrics = &worker.metrics.pools[self.route(worker).pool];
        match why {
            Why::Sticky => metrics.sticky_hits.increment(),
            Why::Moved => metrics.sticky_misses.increment(),
            _ => {}
        }
    }

    /// True if an endpoint was picked.
    pub(crate) fn has_tried(&self) -> bool {
        !self.tried.is_empty()
    }

    /// True if another endpoint may be tried after the last one has `failed` before it got
    /// anything; counts that.
    pub(crate) fn may_move(&mut self, worker: &Worker, failed: Failed) -> bool {
        let route = self.route(worker);
        let may_move = failed.retryable(&route.retry.on) == Retryable::Always
            && self.retries < route.retry.attempts;
        if may_move {
            self.retries += 1;
            worker.metrics.pools[route.pool].retries.increment();
        }
        may_move
    }

    fn route<'w>(&self, worker: &'w Worker) -> &'w Route {
        &worker.plan.snapshot.routes[self.route]
    }
}
