use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::fixture::{endpoint, pool, settings, tick};
use crate::{Answer, Availability, Balancer, Lease, LoadReport, Pick, Tried, Wanted};

const ORDINARY: Duration = Duration::from_millis(10);

/// A pool of one worker at a moment that only goes on when it is told to.
struct Bench {
    balancer: Balancer,
    random: Rng,
    now: Instant,
}

impl Bench {
    fn new(endpoints: usize) -> Self {
        let endpoints = vec![endpoint(1, 0); endpoints];
        Self {
            balancer: Balancer::new(pool(settings("adaptive"), endpoints, 1), 0),
            random: Rng::with_seed(1),
            now: tick(),
        }
    }

    /// Endpoints that each gave a hundred answers, of ten milliseconds times its slowness.
    fn trained(slowness: &[f64]) -> Self {
        let mut bench = Self::new(slowness.len());
        for _ in 0..100 {
            let leases: Vec<Lease> = (0..slowness.len()).map(|index| bench.at(index)).collect();
            bench.now += ORDINARY;
            for (lease, slowness) in leases.into_iter().zip(slowness) {
                bench.answer(lease, ORDINARY.mul_f64(*slowness));
            }
        }
        bench
    }

    fn pick(&mut self) -> Lease {
        self.pick_in(0)
    }

    fn pick_in(&mut self, class: usize) -> Lease {
        let tried = Tried::new();
        let wanted = Wanted {
            class,
            ..Wanted::plain(&tried, self.now)
        };
        match self.balancer.pick(&wanted, &mut self.random) {
            Pick::Endpoint(lease, _) => lease,
            _ => panic!("every endpoint is up and has room"),
        }
    }

    /// A lease of the endpoint of this index, whatever the policy thinks of it.
    fn at(&mut self, index: usize) -> Lease {
        let mut tried = Tried::new();
        let count = self.balancer.pool().endpoints.len();
        (0..count)
            .filter(|other| *other != index)
            .for_each(|other| tried.insert(other));
        let wanted = Wanted::plain(&tried, self.now);
        match self.balancer.pick(&wanted, &mut self.random) {
            Pick::Endpoint(lease, _) => lease,
            _ => panic!("every endpoint is up and has room"),
        }
    }

    fn answer(&self, lease: Lease, latency: Duration) {
        self.answer_in(0, lease, latency);
    }

    fn answer_in(&self, class: usize, lease: Lease, latency: Duration) {
        lease.learn(&Answer {
            class,
            latency,
            is_success: true,
            now: self.now,
        });
    }

    fn fail(&self, lease: Lease, latency: Duration) {
        lease.learn(&Answer {
            class: 0,
            latency,
            is_success: false,
            now: self.now,
        });
    }

    /// Picks per endpoint of so many requests, one after the other, each answered at once.
    fn picks(&mut self, count: usize) -> Vec<usize> {
        let mut counts = vec![0; self.balancer.pool().endpoints.len()];
        for _ in 0..count {
            counts[self.pick().index()] += 1;
            self.now += Duration::from_micros(100);
        }
        counts
    }
}

#[test]
fn as_long_as_nothing_is_known_the_least_loaded_is_picked() {
    let mut bench = Bench::new(4);
    let leases: Vec<Lease> = (0..40)
        .map(|_| {
            bench.now += Duration::from_millis(1);
            bench.pick()
        })
        .collect();
    for index in 0..4 {
        let count = leases.iter().filter(|lease| lease.index() == index).count();
        assert_eq!(count, 10);
    }
}

#[test]
fn equals_take_turns() {
    let mut bench = Bench::trained(&[1.0; 4]);
    assert_eq!(bench.picks(400), [100; 4]);
}

#[test]
fn slow_endpoints_are_left_alone_while_others_have_room() {
    let mut bench = Bench::trained(&[1.0, 1.0, 1.0, 4.0]);
    assert_eq!(bench.picks(300)[3], 0);
}

#[test]
fn a_slow_endpoint_gets_work_when_the_others_have_much_more() {
    let mut bench = Bench::trained(&[1.0, 1.0, 4.0]);
    let held: Vec<Lease> = (0..60).map(|_| bench.pick()).collect();
    let slow = held.iter().filter(|lease| lease.index() == 2).count();
    assert!((2..15).contains(&slow), "{slow}");
}

#[test]
fn what_is_known_of_an_endpoint_fades() {
    let mut bench = Bench::trained(&[1.0, 4.0]);
    assert_eq!(bench.picks(50)[1], 0);
    bench.now += Duration::from_secs(300);
    let counts = bench.picks(50);
    assert!(counts[1] > 10, "{counts:?}");
}

#[test]
fn an_endpoint_that_stops_answering_is_noticed_before_its_first_late_answer() {
    let mut bench = Bench::trained(&[1.0, 1.0]);
    let stuck: Vec<Lease> = (0..3).map(|_| bench.at(0)).collect();
    bench.now += ORDINARY * 10;
    // As much in flight at the other one, but fresh.
    let fresh: Vec<Lease> = (0..3).map(|_| bench.at(1)).collect();
    assert_eq!(bench.pick().index(), 1);
    drop((stuck, fresh));
}

#[test]
fn requests_without_an_answer_leave_no_trace() {
    let mut bench = Bench::trained(&[1.0, 1.0]);
    let slowness = |bench: &Bench, index: usize| {
        let line = &bench.balancer.pool().endpoints[index].load;
        let now = bench.balancer.pool().micros(bench.now);
        line.slowness.multiple(1e4, 1e6, now)
    };
    let before = slowness(&bench, 0);
    let left: Vec<Lease> = (0..50).map(|_| bench.at(0)).collect();
    bench.now += Duration::from_micros(10);
    drop(left);
    bench.now -= Duration::from_micros(10);
    assert_eq!(slowness(&bench, 0), before);
}

#[test]
fn an_endpoint_that_fails_fast_does_not_attract() {
    let mut bench = Bench::trained(&[1.0; 4]);
    let mut counts = [0; 4];
    for _ in 0..2000 {
        let lease = bench.pick();
        counts[lease.index()] += 1;
        if lease.index() == 0 {
            bench.now += Duration::from_micros(500);
            bench.fail(lease, Duration::from_micros(500));
        } else {
            bench.now += ORDINARY;
            bench.answer(lease, ORDINARY);
        }
    }
    assert!(counts[0] < 10, "{counts:?}");
}

#[test]
fn an_endpoint_that_is_back_is_not_judged_by_how_it_went() {
    let mut bench = Bench::trained(&[1.0, 1.0]);
    for _ in 0..10 {
        let lease = bench.at(0);
        bench.fail(lease, Duration::from_micros(500));
    }
    bench.now += Duration::from_micros(2 * KNOWN_FOR);
    assert_eq!(bench.picks(20), [0, 20]);
    let pool = Arc::clone(bench.balancer.pool());
    pool.set_availability(0, Availability::Down);
    pool.set_availability(0, Availability::Up);
    bench.now += Duration::from_secs(1);
    let counts = bench.picks(20);
    assert!(counts[0] >= 10, "{counts:?}");
}

#[test]
fn an_expensive_route_does_not_make_its_endpoint_slow() {
    let mut bench = Bench::trained(&[1.0, 1.0]);
    let report = ORDINARY * 50;
    for _ in 0..50 {
        for index in [0, 1] {
            let lease = bench.at(index);
            bench.now += report;
            bench.answer_in(7, lease, report);
        }
    }
    // Now one endpoint happens to get all of them, and the ordinary ones are spread as before.
    for _ in 0..200 {
        let lease = bench.at(0);
        bench.now += ORDINARY;
        bench.answer_in(7, lease, report);
        let counts = bench.picks(2);
        assert_eq!(counts, [1, 1]);
    }
}

#[test]
fn requests_of_other_balancers_count_where_they_are_reported() {
    let mut bench = Bench::trained(&[1.0, 1.0]);
    let report = LoadReport {
        in_flight: Some(40),
        ..LoadReport::default()
    };
    let valid = Duration::from_secs(1);
    bench
        .balancer
        .pool()
        .report_load(0, &report, valid, bench.now);
    assert_eq!(bench.picks(20), [0, 20]);
    bench.now += valid;
    assert_eq!(bench.picks(20), [10, 10]);
}

#[test]
fn an_endpoint_that_reports_absurdly_many_requests_is_the_last_to_be_picked() {
    let mut bench = Bench::trained(&[1.0, 1.0]);
    let report = LoadReport {
        in_flight: Some(u32::MAX),
        ..LoadReport::default()
    };
    let valid = Duration::from_secs(1);
    bench
        .balancer
        .pool()
        .report_load(0, &report, valid, bench.now);
    let held: Vec<Lease> = (0..3).map(|_| bench.at(0)).collect();
    assert_eq!(bench.picks(20), [0, 20]);
    for lease in held {
        bench.answer(lease, ORDINARY);
    }
    assert_eq!(bench.picks(20), [0, 20]);
}

#[test]
fn a_reported_latency_goes_before_what_was_measured() {
    let mut bench = Bench::trained(&[1.0, 1.0]);
    for (index, latency_us) in [(0, 90_000), (1, 9_000)] {
        let report = LoadReport {
            in_flight: Some(1),
            latency_us: Some(latency_us),
            ..LoadReport::default()
        };
        let valid = Duration::from_secs(60);
        bench
            .balancer
            .pool()
            .report_load(index, &report, valid, bench.now);
    }
    assert_eq!(bench.picks(20), [0, 20]);
}

#[test]
fn in_a_large_pool_the_slow_tenth_is_mostly_avoided() {
    let slowness: Vec<f64> = (0..200)
        .map(|index| if index % 10 == 0 { 5.0 } else { 1.0 })
        .collect();
    let mut bench = Bench::trained(&slowness);
    let counts = bench.picks(2000);
    let slow: usize = counts.iter().step_by(10).sum();
    assert_eq!(slow, 0);
    let used = counts.iter().filter(|count| **count > 0).count();
    assert!(used > 150, "{used}");
}

fn loaded(load: f32) -> Score {
    Score {
        index: 0,
        load,
        latency: 0.0,
        waited: 0.0,
    }
}

proptest! {
    #[test]
    fn some_are_always_cold_and_a_higher_quantile_has_more_of_them(
        loads in prop::collection::vec(0u16..50, 1..64),
        quantiles in (1usize..=100, 1usize..=100),
    ) {
        let loads: Vec<Score> = loads.iter().map(|&load| loaded(load.into())).collect();
        let cold = |quantile: usize| {
            let cold = |score: &&Score| !is_hot(&loads, score.load, quantile);
            loads.iter().filter(cold).count()
        };
        let (a, b) = quantiles;
        prop_assert!(cold(a.min(b)) <= cold(a.max(b)));
        prop_assert!(cold(a) * 100 >= loads.len() * a);
        prop_assert_eq!(cold(100), loads.len());
    }

    /// The laws of the choice: the pick is cold, and no cold one is expected to answer sooner by
    /// more than what counts as equal.
    #[test]
    fn the_pick_is_cold_and_none_of_the_cold_is_better(
        cases in prop::collection::vec((0usize..12, 1u32..8), 2..12),
    ) {
        let slowness: Vec<f64> = cases.iter().map(|case| f64::from(case.1)).collect();
        let mut bench = Bench::trained(&slowness);
        let mut held = Vec::new();
        for (index, (in_flight, _)) in cases.iter().enumerate() {
            for _ in 0..*in_flight {
                held.push(bench.at(index));
            }
        }
        let lease = bench.pick();
        let picked = lease.index();
        drop(lease);
        let loads: Vec<Score> = cases.iter().map(|case| loaded(case.0 as f32)).collect();
        prop_assert!(!is_hot(&loads, loads[picked].load, QUANTILE_PERCENT));
        let latency = |index: usize| {
            // All endpoints share what one worker has learnt, so their slowness decides.
            let pool = bench.balancer.pool();
            let now = pool.micros(bench.now);
            let line = &pool.endpoints[index].load;
            let mean = cases.iter().map(|case| case.1 as f32).sum::<f32>() / cases.len() as f32;
            let ordinary = mean * ORDINARY.as_micros() as f32;
            line.slowness.multiple(ordinary, 1e6, now)
        };
        for other in 0..cases.len() {
            // With no more in flight, nobody that is clearly faster is passed over.
            if loads[other].load <= loads[picked].load {
                prop_assert!(latency(picked) <= latency(other) * 1.3, "{picked} {other}");
            }
        }
    }
}
