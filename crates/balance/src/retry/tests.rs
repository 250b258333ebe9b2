use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::*;
use crate::Balancer;
use crate::fixture::pool_of;

#[test]
fn a_few_retries_are_always_allowed_and_dropping_one_allows_another() {
    let balancer = Balancer::new(pool_of(&[0], 1), 0);
    let request = balancer.begin_request();
    let mut permits: Vec<_> = (0..3)
        .map(|_| request.try_retry().expect("three at once"))
        .collect();
    assert!(request.try_retry().is_none());
    permits.pop();
    assert!(request.try_retry().is_some());
}

#[test]
fn the_budget_grows_with_the_requests_of_all_workers() {
    let pool = pool_of(&[0], 2);
    let workers = [0, 1].map(|worker| Balancer::new(Arc::clone(&pool), worker));
    let requests: Vec<_> = (0..60)
        .map(|number| workers[number % 2].begin_request())
        .collect();
    let permits: Vec<_> = requests.iter().map_while(RequestGuard::try_retry).collect();
    // Ten retries for the fifty requests that are not being retried.
    assert_eq!(permits.len(), 10);
    assert_eq!(pool.retry_budget.retries_in_flight(), 10);
    drop((permits, requests));
    assert_eq!(pool.retry_budget.retries_in_flight(), 0);
    assert_eq!(pool.retry_budget.requests_in_flight(), 0);
}

#[test]
fn back_off_doubles_up_to_its_cap_with_full_jitter() {
    let mut random = Rng::with_seed(3);
    for (number, longest_ms) in [
        (1, 25),
        (2, 50),
        (3, 100),
        (4, 200),
        (5, 250),
        (u32::MAX, 250),
    ] {
        let waits: Vec<_> = (0..1000).map(|_| backoff(number, &mut random)).collect();
        let longest = Duration::from_millis(longest_ms);
        assert!(waits.iter().all(|wait| *wait <= longest));
        assert!(
            waits.iter().any(|wait| *wait > longest.mul_f64(0.9)),
            "retry {number}"
        );
        assert!(
            waits.iter().any(|wait| *wait < longest.mul_f64(0.1)),
            "retry {number}"
        );
    }
}

/// With every endpoint failing, upstream load stays within 1.2 × offered + 3.
///
/// Load is attempts in flight on average over time. Requests arrive at random and would retry
/// without end; attempts take 0 to 200 ms.
#[test]
fn with_everything_failing_load_stays_within_the_budget() {
    for requests_per_second in [1, 20, 200, 2_000] {
        let (offered, carried) = simulate_failing_pool(requests_per_second);
        assert!(
            carried <= 1.2 * offered + 3.0,
            "{carried} of {offered} at {requests_per_second}/s"
        );
        assert!(
            carried >= 1.1 * offered,
            "at {requests_per_second}/s hardly anything is retried"
        );
    }
}

/// Average attempts in flight: first ones, and all.
fn simulate_failing_pool(requests_per_second: u64) -> (f64, f64) {
    const ARRIVALS: usize = 20_000;
    const US_PER_SECOND: u64 = 1_000_000;
    const ATTEMPT_US_MAX: u64 = 200_000;

    let balancer = Balancer::new(pool_of(&[0], 1), 0);
    let mut random = Rng::with_seed(requests_per_second);
    // The end of an attempt, and who makes it.
    let mut ends: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let mut requests: Vec<Option<(RequestGuard, Option<RetryPermit>)>> = Vec::new();
    let (mut first_us, mut all_us, mut now) = (0, 0, 0);
    let mut next_arrival = 0;
    while requests.len() < ARRIVALS {
        let arrives = ends
            .peek()
            .is_none_or(|Reverse((end, _))| next_arrival <= *end);
        let attempt_us = random.u64(..ATTEMPT_US_MAX);
        if arrives {
            now = next_arrival;
            next_arrival += random.u64(..2 * US_PER_SECOND / requests_per_second);
            ends.push(Reverse((now + attempt_us, requests.len())));
            requests.push(Some((balancer.begin_request(), None)));
            first_us += attempt_us;
            all_us += attempt_us;
        } else if let Some(Reverse((end, number))) = ends.pop() {
            now = end;
            let (request, permit) = requests[number].take().expect("its attempt was running");
            drop(permit);
            if let Some(permit) = request.try_retry() {
                ends.push(Reverse((now + attempt_us, number)));
                requests[number] = Some((request, Some(permit)));
                all_us += attempt_us;
            }
        }
    }
    (first_us as f64 / now as f64, all_us as f64 / now as f64)
}
