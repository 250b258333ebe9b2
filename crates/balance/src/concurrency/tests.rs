use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Wake, Waker};

use fastrand::Rng;
use proptest::prelude::*;

use super::*;
use crate::fixture::{self, endpoint, pick, poll, tick};
use crate::{Answer, Balancer, DEFAULT_POLICY, Pick, Pool, PoolSettings, Tried, Wanted};

fn settings(min: u32, max: u32) -> ConcurrencySettings {
    ConcurrencySettings {
        min: NonZeroU32::new(min).expect("not 0"),
        max: NonZeroU32::new(max).expect("not 0"),
    }
}

fn concurrency(min: u32, max: u32) -> Concurrency {
    Concurrency::new(settings(min, max))
}

#[test]
fn the_next_limit_is_as_the_formula_says() {
    for (limit, long, short, expected) in [
        // As fast as without load: up by a fifth of the spare requests.
        (20.0, 10.0, 10.0, 20.8),
        (20.0, 10.0, 1.0, 20.8),
        // Up to the tolerance too.
        (20.0, 10.0, 15.0, 20.8),
        // Twice as slow: three quarters and 4 are the same limit.
        (16.0, 10.0, 20.0, 16.0),
        (100.0, 10.0, 20.0, 95.8),
        // Never by more than half.
        (100.0, 10.0, 30.0, 90.8),
        (100.0, 10.0, 1000.0, 90.8),
    ] {
        let next = next_limit(limit, long, short);
        assert!(
            (next - expected).abs() < 1e-4,
            "{limit} {long} {short}: {next}"
        );
    }
}

#[test]
fn it_begins_at_twenty_within_the_bounds() {
    for (min, max, expected) in [(1, 1000, 20), (30, 40, 30), (1, 5, 5)] {
        assert_eq!(concurrency(min, max).max(), expected);
    }
}

#[test]
fn a_limit_that_is_not_used_stays() {
    let concurrency = concurrency(1, 1000);
    for now in 0..1000 {
        assert!(!concurrency.observe(9, Duration::from_millis(1), now));
    }
    assert_eq!(concurrency.max(), 20);
}

#[test]
fn a_limit_that_is_used_goes_up_while_it_does_no_harm_and_down_once_it_does() {
    let concurrency = concurrency(1, 1000);
    for _ in 0..REST_SAMPLES {
        concurrency.observe(1, Duration::from_millis(10), 0);
    }
    let observe = |latency, times| {
        for _ in 0..times {
            concurrency.observe(concurrency.max(), Duration::from_millis(latency), 0);
        }
        concurrency.max()
    };
    let up = observe(10, 1000);
    assert!(up > 40, "{up}");
    let down = observe(40, 1000);
    assert!((8..15).contains(&down), "{down}");
}

/// A pool of one endpoint, of which it is known how fast it is without load.
fn known_pool(max_requests: u32) -> Arc<Pool> {
    let settings = PoolSettings {
        concurrency: Some(settings(1, 1000)),
        ..fixture::settings(DEFAULT_POLICY)
    };
    let pool = fixture::pool(settings, vec![endpoint(1, max_requests)], 1);
    for _ in 0..REST_SAMPLES {
        pool.observe_latency(0, 1, Duration::from_millis(10), 0);
    }
    pool
}

#[test]
fn the_least_counts_of_what_is_configured_and_said_and_found() {
    let pool = known_pool(30);
    let max = || pool.endpoints[0].in_flight_max();
    assert_eq!(max(), Some(20));
    for _ in 0..1000 {
        pool.observe_latency(0, 30, Duration::from_millis(10), 0);
    }
    assert_eq!(max(), Some(30));
    pool.set_max_requests(0, Some(7));
    assert_eq!(max(), Some(7));
    pool.set_max_requests(0, None);
    assert_eq!(max(), Some(30));
    for _ in 0..1000 {
        pool.observe_latency(0, 1000, Duration::from_millis(40), 0);
    }
    assert!(max() < Some(15), "{:?}", max());
}

#[test]
fn a_limit_that_goes_up_lets_the_next_waiter_in() {
    let pool = known_pool(0);
    let mut balancer = Balancer::new(Arc::clone(&pool), 0);
    let held: Vec<_> = (0..20)
        .map(|_| pick(&mut balancer).expect("room"))
        .collect();
    assert!(pick(&mut balancer).is_none());
    let ticket = balancer.enqueue(tick()).expect("room to wait");
    let (woken, waker) = counting_waker();
    assert!(poll(&mut balancer, ticket, &waker).is_pending());
    let answer = |now| Answer {
        class: 0,
        latency: Duration::from_millis(10),
        is_success: true,
        now,
    };
    // Those that were sent when half of the limit was in flight, and failures, say nothing.
    for lease in held.iter().take(9) {
        lease.learn(&answer(tick()));
    }
    let failure = Answer {
        is_success: false,
        ..answer(tick())
    };
    held[19].learn(&failure);
    assert_eq!(short_samples(&pool), 0);
    for lease in &held {
        lease.learn(&answer(tick()));
    }
    assert_eq!(short_samples(&pool), 10);
    assert_eq!(woken.load(Ordering::Relaxed), 0);
    for _ in 0..40 {
        pool.observe_latency(0, 20, Duration::from_millis(10), 0);
    }
    assert_eq!(pool.endpoints[0].in_flight_max(), Some(21));
    assert_ne!(woken.load(Ordering::Relaxed), 0);
    assert!(poll(&mut balancer, ticket, &waker).is_ready());
}

#[test]
fn requests_that_last_do_not_keep_others_away_in_a_rest() {
    let pool = known_pool(0);
    let mut balancer = Balancer::new(Arc::clone(&pool), 0);
    let start = tick();
    let _lasting: Vec<_> = (0..15)
        .map(|_| pick(&mut balancer).expect("room"))
        .collect();
    let later = start + Duration::from_secs(60);
    for _ in 0..20 {
        pool.observe_latency(0, 15, Duration::from_millis(10), pool.micros(later));
    }
    assert_eq!(pool.endpoints[0].in_flight_max(), Some(5));
    let tried = Tried::new();
    let mut random = Rng::with_seed(1);
    let mut ask_at = |now| balancer.pick(&Wanted::plain(&tried, now), &mut random);
    assert!(matches!(ask_at(later), Pick::Full));
    let end = later + Duration::from_secs(1);
    assert!(matches!(ask_at(end), Pick::Endpoint(..)));
    assert_eq!(pool.endpoints[0].in_flight_max(), Some(20));
    // The next one comes when it is time, not with the next step.
    for _ in 0..20 {
        pool.observe_latency(0, 15, Duration::from_millis(10), pool.micros(end));
    }
    assert_eq!(pool.endpoints[0].in_flight_max(), Some(20));
}

fn short_samples(pool: &Pool) -> u64 {
    let concurrency = pool.endpoints[0].concurrency.as_ref();
    concurrency.map_or(0, |found| {
        found.short.load(Ordering::Relaxed) >> COUNT_SHIFT
    })
}

fn counting_waker() -> (Arc<AtomicU32>, Waker) {
    struct Count(Arc<AtomicU32>);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let count = Arc::new(AtomicU32::new(0));
    (Arc::clone(&count), Waker::from(Arc::new(Count(count))))
}

/// An endpoint of so many servers and a queue that is served in order, and clients that send more
/// or less than it can do. What its limit turns away is gone.
struct Overload {
    concurrency: Concurrency,
    servers: BinaryHeap<Reverse<u64>>,
    /// When it is done with each request, when that was sent, and how many were there then.
    in_flight: BinaryHeap<Reverse<(u64, u64, u32)>>,
    /// Mean time of a request without load, in µs.
    service: f64,
    now: u64,
    random: Rng,
}

/// What came of a while.
struct Outcome {
    /// By the 99th percentile, in means of service.
    p99: f64,
    /// Answered, as a part of what all servers can do.
    throughput: f64,
    limits: Range<u32>,
}

impl Overload {
    fn of(servers: usize) -> Self {
        Self {
            concurrency: concurrency(1, 1000),
            servers: (0..servers).map(|_| Reverse(0)).collect(),
            in_flight: BinaryHeap::new(),
            service: 10_000.0,
            now: 0,
            random: Rng::with_seed(servers as u64),
        }
    }

    /// Runs for so long with clients that ask for this part of what it can do.
    fn run(&mut self, seconds: u64, load: f64) -> Outcome {
        let until = self.now + seconds * 1_000_000;
        let mut latencies = Vec::new();
        let (mut low, mut high) = (u32::MAX, 0);
        let count = self.servers.len() as f64;
        while self.now < until {
            if self.now >= self.concurrency.rest_until() {
                self.concurrency.end_rest(self.now);
            }
            self.now += self.exponential(self.service / count / load);
            while let Some(&Reverse((done, sent, there))) = self.in_flight.peek()
                && done <= self.now
            {
                self.in_flight.pop();
                let latency = Duration::from_micros(done - sent);
                self.concurrency.observe(there, latency, done);
                latencies.push(done - sent);
            }
            let there = self.in_flight.len() as u32 + 1;
            let max = self.concurrency.max();
            if !self.concurrency.is_resting() {
                (low, high) = (low.min(max), high.max(max));
            }
            if there > max {
                continue;
            }
            let Reverse(free) = self.servers.pop().expect("there are servers");
            let done = free.max(self.now) + self.exponential(self.service);
            self.servers.push(Reverse(done));
            self.in_flight.push(Reverse((done, self.now, there)));
        }
        latencies.sort_unstable();
        let p99 = latencies[latencies.len() * 99 / 100] as f64 / self.service;
        let possible = seconds as f64 * 1_000_000.0 / self.service * count;
        Outcome {
            p99,
            throughput: latencies.len() as f64 / possible,
            limits: low..high + 1,
        }
    }

    fn exponential(&mut self, mean: f64) -> u64 {
        (-mean * (1.0 - self.random.f64()).ln()) as u64
    }
}

#[test]
fn under_overload_the_limit_settles_around_the_knee() {
    for servers in [4, 16, 64] {
        let mut endpoint = Overload::of(servers);
        endpoint.run(10, 1.2);
        let Outcome {
            p99,
            throughput,
            limits,
        } = endpoint.run(120, 1.2);
        let knee = servers as u32;
        assert!(
            knee <= limits.start && limits.end <= 2 * knee + 14,
            "{servers}: {limits:?}"
        );
        // Of exponential times alone it is 4.6.
        assert!(p99 < 8.0, "{servers}: {p99}");
        assert!(throughput > 0.96, "{servers}: {throughput}");
    }
}

#[test]
fn an_endpoint_that_became_slower_for_good_keeps_its_work() {
    let mut endpoint = Overload::of(32);
    endpoint.run(60, 1.2);
    endpoint.service *= 4.0;
    endpoint.run(60, 1.2);
    let Outcome {
        p99,
        throughput,
        limits,
    } = endpoint.run(120, 1.2);
    assert!(32 <= limits.start && limits.end <= 80, "{limits:?}");
    assert!(p99 < 8.0, "{p99}");
    assert!(throughput > 0.96, "{throughput}");
}

#[test]
fn below_overload_next_to_nothing_is_turned_away() {
    let mut endpoint = Overload::of(16);
    endpoint.run(10, 0.7);
    let outcome = endpoint.run(100, 0.7);
    assert!(outcome.throughput > 0.69, "{}", outcome.throughput);
}

proptest! {
    #[test]
    fn whatever_happens_the_limit_keeps_within_its_bounds(
        min in 1_u32..50,
        more in 0_u32..1000,
        seen in proptest::collection::vec(
            (0_u32..1000, 0_u64..10_000_000_000, 0_u64..10_000_000),
            1..500,
        ),
    ) {
        let concurrency = concurrency(min, min + more);
        let mut now = 0;
        for (in_flight, latency, pause) in seen {
            now += pause;
            concurrency.observe(in_flight, Duration::from_micros(latency), now);
            let limit = load(&concurrency.limit);
            prop_assert!((min as f32..=(min + more) as f32).contains(&limit), "{}", limit);
            prop_assert!(load(&concurrency.long).is_finite());
            prop_assert!((1..=min + more).contains(&concurrency.max()));
        }
    }
}
