//! How many extra attempts a pool may cause, and how long they are put off.
//!
//! Retries help while few requests fail, and make it worse when all do. So they are bounded by a
//! share of the requests in flight, counted over all workers.

#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fastrand::Rng;

use crate::balancer::Seat;

/// The share of extra attempts of one pool.
#[derive(Debug)]
pub struct RetryBudget {
    retries_in_flight: AtomicU32,
    /// By worker, each on a cache line of its own: it is written by every request.
    requests_in_flight: Box<[RequestCount]>,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct RequestCount(AtomicU32);

/// A request in flight, queueing and retrying included. From [`crate::Balancer::begin_request`].
#[must_use]
pub struct RequestGuard(Rc<Seat>);

/// A retry in flight. Keep it from before the back-off until the attempt has ended.
#[must_use]
pub struct RetryPermit(Rc<Seat>);

/// Always allowed at once: in a quiet pool a share of the requests would round to nothing.
const RETRIES_MIN: u32 = 3;
/// One retry for this many requests: a ratio of 0.2.
const REQUESTS_PER_RETRY: u32 = 5;

const BACKOFF_FIRST: Duration = Duration::from_millis(25);
const BACKOFF_MAX: Duration = Duration::from_millis(250);

impl RetryBudget {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            retries_in_flight: AtomicU32::new(0),
            requests_in_flight: (0..workers).map(|_| RequestCount::default()).collect(),
        }
    }

    /// Requests in flight, over all workers.
    pub fn requests_in_flight(&self) -> u32 {
        let counts = self.requests_in_flight.iter();
        counts.map(|count| count.0.load(Ordering::Relaxed)).sum()
    }

    /// Retries in flight, over all workers.
    pub fn retries_in_flight(&self) -> u32 {
        self.retries_in_flight.load(Ordering::Relaxed)
    }

    fn try_retry(&self) -> bool {
        let requests = self.requests_in_flight();
        let one_more = |retries: u32| {
            // Requests that are being retried do not earn further retries: 0.2 of everything
            // would come to 0.25 of what was offered.
            let earning = requests.saturating_sub(retries);
            let allowed = RETRIES_MIN.max(earning.div_ceil(REQUESTS_PER_RETRY));
            (retries < allowed).then_some(retries + 1)
        };
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        self.retries_in_flight
            .fetch_update(set, fetch, one_more)
            .is_ok()
    }
}

impl RequestGuard {
    pub(crate) fn new(seat: Rc<Seat>) -> Self {
        let guard = Self(seat);
        guard.count().fetch_add(1, Ordering::Relaxed);
        guard
    }

    /// Leave for one extra attempt, or `None` if the budget is spent.
    pub fn try_retry(&self) -> Option<RetryPermit> {
        let allowed = self.0.pool.retry_budget.try_retry();
        allowed.then(|| RetryPermit(Rc::clone(&self.0)))
    }

    fn count(&self) -> &AtomicU32 {
        &self.0.pool.retry_budget.requests_in_flight[self.0.worker].0
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.count().fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for RetryPermit {
    fn drop(&mut self) {
        self.0
            .pool
            .retry_budget
            .retries_in_flight
            .fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long to put off retry number `retry_number`, the first being 1: anything up to 25 ms,
/// doubling to 250 ms. Full jitter, so that requests that failed together do not return together.
///
/// Not for the first retry after a connect failure, which goes at once: it goes elsewhere, and the
/// endpoint that failed got no work.
pub fn backoff(retry_number: u32, random: &mut Rng) -> Duration {
    let doublings = retry_number.saturating_sub(1).min(16);
    let longest = BACKOFF_MAX.min(BACKOFF_FIRST * (1 << doublings));
    longest.mul_f64(random.f64())
}
