use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU32;
use std::ops::Range;

use fastrand::Rng;
use proptest::prelude::*;

use super::*;

fn concurrency(min: u32, max: u32) -> Concurrency {
    Concurrency::new(ConcurrencySettings {
        min: NonZeroU32::new(min).expect("not 0"),
        max: NonZeroU32::new(max).expect("not 0"),
    })
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
            if !self.concurrency.is_resting.load(Ordering::Relaxed) {
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
        } = endpoint.run(300, 1.2);
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
    } = endpoint.run(300, 1.2);
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
