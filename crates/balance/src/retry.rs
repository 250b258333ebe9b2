//! How many extra attempts a pool may cause, and how long they are put off.
//!
//! Retries help while few requests fail, and make it worse when all do. So they are paid for:
//! every request puts a fifth of a retry into its pool's budget, a retry takes a whole one.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fastrand::Rng;

/// The extra attempts that one pool may still make, over all workers.
///
/// A balance and not a share of the requests in flight: when an endpoint dies, half of those fail
/// in one moment, and each of them deserves its second attempt; a share would refuse most. Over
/// any time in which nothing was saved up, upstream load is at most 1.2 × offered + 3.
#[derive(Debug)]
pub struct RetryBudget {
    /// In fifths of a retry.
    credit: AtomicU32,
}

/// What a retry costs, in requests that earn it: a ratio of 0.2.
const REQUESTS_PER_RETRY: u32 = 5;

/// Retries that a pool begins with, because a quiet pool has earned nothing.
const RETRIES_AT_START: u32 = 3;

/// Retries that can be saved up: the requests that one dying endpoint may cut in a busy pool.
/// More would let a total outage double its load for seconds.
const RETRIES_MAX: u32 = 100;

const BACKOFF_FIRST: Duration = Duration::from_millis(25);
const BACKOFF_MAX: Duration = Duration::from_millis(250);

impl Default for RetryBudget {
    fn default() -> Self {
        Self {
            credit: AtomicU32::new(RETRIES_AT_START * REQUESTS_PER_RETRY),
        }
    }
}

impl RetryBudget {
    /// A request begins. In good times the budget is full, and this only reads.
    pub fn earn(&self) {
        // Workers that see the last free place at once may all fill it: a few fifths too much.
        if self.credit.load(Ordering::Relaxed) < RETRIES_MAX * REQUESTS_PER_RETRY {
            self.credit.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Pays for one extra attempt. False if the budget is spent.
    #[must_use]
    pub fn try_retry(&self) -> bool {
        self.credit
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |credit| {
                credit.checked_sub(REQUESTS_PER_RETRY)
            })
            .is_ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_every_attempt_failing_the_load_is_a_fifth_more_and_three() {
        let budget = RetryBudget::default();
        let mut upstream = 0;
        for offered in 1..=10_000u32 {
            budget.earn();
            upstream += 1;
            // However many extra attempts each request is allowed.
            while budget.try_retry() {
                upstream += 1;
            }
            assert!(
                f64::from(upstream) <= 1.2 * f64::from(offered) + 3.0,
                "at {offered}"
            );
        }
    }

    #[test]
    fn a_busy_pool_may_retry_all_that_one_dying_endpoint_cuts() {
        let budget = RetryBudget::default();
        (0..100_000).for_each(|_| budget.earn());
        assert_eq!(
            (0..1000).filter(|_| budget.try_retry()).count(),
            RETRIES_MAX as usize
        );
    }

    #[test]
    fn a_quiet_pool_may_retry_from_the_start() {
        let budget = RetryBudget::default();
        assert_eq!(
            (0..10).filter(|_| budget.try_retry()).count(),
            RETRIES_AT_START as usize
        );
    }

    #[test]
    fn backoff_is_anything_up_to_a_doubling_bound() {
        let mut random = Rng::with_seed(1);
        for (retry, longest) in [(1, 25), (2, 50), (3, 100), (4, 200), (5, 250), (50, 250)] {
            let longest = Duration::from_millis(longest);
            let waits: Vec<_> = (0..1000).map(|_| backoff(retry, &mut random)).collect();
            assert!(waits.iter().all(|wait| *wait <= longest));
            assert!(waits.iter().any(|wait| *wait > longest.mul_f64(0.9)));
            assert!(waits.iter().any(|wait| *wait < longest.mul_f64(0.1)));
        }
    }
}
