//! What every row of [`POLICIES`] must do, and what single policies promise.

mod hashing;
mod ramps;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fastrand::Rng;
use proptest::prelude::{prop, prop_assert, prop_assert_eq, prop_assert_ne, proptest};

use super::*;
use crate::fixture::{ask, endpoint, pick, pool, settings, tick};
use crate::rotation::Group;
use crate::{
    Answer, Availability, Balancer, EndpointSettings, Lease, LoadReport, Pick, Tried, Wanted,
};

fn balancer(policy: &'static str, endpoints: Vec<EndpointSettings>) -> Balancer {
    Balancer::new(pool(settings(policy), endpoints, 1), 0)
}

fn weighted(weights: &[u32]) -> Vec<EndpointSettings> {
    weights.iter().map(|&weight| endpoint(weight, 0)).collect()
}

/// For a request of any key.
fn pick_at(balancer: &mut Balancer, now: Instant, random: &mut Rng) -> Option<Lease> {
    let tried = Tried::new();
    let wanted = Wanted {
        key: Some(random.u64(..)),
        ..Wanted::plain(&tried, now)
    };
    match balancer.pick(&wanted, random) {
        Pick::Endpoint(lease, _) => Some(lease),
        _ => None,
    }
}

/// Picks per endpoint while about `in_flight` requests are kept in flight and end in any order.
fn picks_in_steady_state(balancer: &mut Balancer, in_flight: usize, picks: usize) -> Vec<usize> {
    picks_over_time(balancer, in_flight, picks, tick)
}

fn picks_over_time(
    balancer: &mut Balancer,
    in_flight: usize,
    picks: usize,
    now: impl Fn() -> Instant,
) -> Vec<usize> {
    let mut random = Rng::with_seed(7);
    let mut leases: Vec<Lease> = Vec::new();
    let mut counts = vec![0; balancer.pool().endpoints.len()];
    for number in 0..in_flight + picks {
        if leases.len() >= in_flight {
            drop(leases.swap_remove(random.usize(..leases.len())));
        }
        let lease = pick_at(balancer, now(), &mut random).expect("no endpoint has a limit");
        if number >= in_flight {
            counts[lease.index()] += 1;
        }
        leases.push(lease);
    }
    counts
}

/// `first` ignores weights, as its summary says.
fn policies_with_weights() -> impl Iterator<Item = &'static PolicyKind> {
    POLICIES.iter().filter(|kind| kind.name != "first")
}

#[test]
fn names_are_unique_and_the_default_is_a_row() {
    for kind in POLICIES {
        assert_eq!(
            POLICIES
                .iter()
                .filter(|other| other.name == kind.name)
                .count(),
            1
        );
    }
    assert!(by_name(DEFAULT_POLICY).is_some());
}

#[test]
fn weights_are_honoured_in_small_and_large_pools() {
    let small = vec![1, 2, 3, 10];
    let large: Vec<u32> = (0..40).map(|index| 1 + index % 4).collect();
    // One that should get two thirds of the traffic, which an even draw of two never gives.
    let skewed: Vec<u32> = [64].into_iter().chain(vec![1; 32]).collect();
    for kind in policies_with_weights() {
        for weights in [&small, &large, &skewed] {
            let sum: u32 = weights.iter().sum();
            let mut balancer = balancer(kind.name, weighted(weights));
            let picks = 1000 * sum as usize;
            let counts = picks_in_steady_state(&mut balancer, 20 * sum as usize, picks);
            for (&weight, &count) in weights.iter().zip(&counts) {
                let share = count as f64 / f64::from(1000 * weight);
                assert!(
                    (0.8..1.2).contains(&share),
                    "{}: {weight} got {share}",
                    kind.name
                );
            }
        }
    }
}

#[test]
fn weight_zero_is_never_picked_while_another_is_left() {
    for kind in POLICIES {
        let mut balancer = balancer(kind.name, vec![endpoint(0, 0), endpoint(1, 2)]);
        let held: Vec<_> = (0..4)
            .map(|_| pick(&mut balancer).expect("room").index())
            .collect();
        assert_eq!(held, [1; 4], "{}", kind.name);
        let leases: Vec<_> = (0..4).map(|_| pick(&mut balancer).expect("room")).collect();
        let indices: Vec<_> = leases.iter().map(Lease::index).collect();
        assert_eq!(indices, [1, 1, 0, 0], "{}", kind.name);
    }
}

#[test]
fn one_endpoint_works_and_none_gives_none() {
    for kind in POLICIES {
        let mut one = balancer(kind.name, weighted(&[1]));
        assert!((0..3).all(|_| pick(&mut one).is_some_and(|lease| lease.index() == 0)));
        assert!(pick(&mut balancer(kind.name, Vec::new())).is_none());
    }
}

#[test]
fn the_same_seed_gives_the_same_picks() {
    for kind in POLICIES {
        let weights: Vec<u32> = (0..30).map(|index| 1 + index % 3).collect();
        let run = || picks_in_steady_state(&mut balancer(kind.name, weighted(&weights)), 50, 500);
        assert_eq!(run(), run(), "{}", kind.name);
    }
}

#[test]
fn least_request_takes_the_least_loaded_for_its_weight_and_then_turns() {
    let mut balancer = balancer("least_request", weighted(&[1, 1, 2]));
    let leases: Vec<_> = (0..8).map(|_| pick(&mut balancer).expect("room")).collect();
    let count = |index| leases.iter().filter(|lease| lease.index() == index).count();
    assert_eq!([count(0), count(1), count(2)], [2, 2, 4]);
    drop(leases);
    // With nothing in flight the two of equal weight tie only with each other.
    let mut even = super::tests::balancer("least_request", weighted(&[1, 1, 1]));
    let turns: Vec<_> = (0..6)
        .map(|_| pick(&mut even).expect("room").index())
        .collect();
    assert_eq!(turns, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn whoever_has_room_is_found_and_nobody_else() {
    for kind in POLICIES {
        for count in [3, 16, 17, 100] {
            let mut balancer = balancer(kind.name, (0..count).map(|_| endpoint(1, 1)).collect());
            let down = count / 2;
            balancer.pool().set_availability(down, Availability::Down);
            let mut random = Rng::with_seed(3);
            let mut leases: Vec<Lease> = Vec::new();
            while let Some(lease) = pick_at(&mut balancer, tick(), &mut random) {
                leases.push(lease);
            }
            let mut indices: Vec<_> = leases.iter().map(Lease::index).collect();
            indices.sort_unstable();
            let up: Vec<_> = (0..count).filter(|&index| index != down).collect();
            assert_eq!(indices, up, "{}", kind.name);
            let freed = leases.swap_remove(random.usize(..leases.len())).index();
            let found = pick_at(&mut balancer, tick(), &mut random);
            assert_eq!(
                found.map(|lease| lease.index()),
                Some(freed),
                "{}",
                kind.name
            );
        }
    }
}

#[test]
fn least_request_in_a_large_pool_finds_the_only_endpoint_with_room() {
    let mut endpoints: Vec<_> = (0..100).map(|_| endpoint(1, 1)).collect();
    endpoints.push(endpoint(1, 2));
    let mut balancer = balancer("least_request", endpoints);
    let leases: Vec<_> = (0..102).map_while(|_| pick(&mut balancer)).collect();
    assert_eq!(leases.len(), 102);
}

#[test]
fn random_honours_weights_among_the_few_that_have_room() {
    let full = (0..100).map(|_| endpoint(9, 1));
    let open = [1, 2, 3].map(|weight| endpoint(weight, 0));
    let mut balancer = balancer("random", full.chain(open).collect());
    for index in 0..100 {
        assert!(balancer.pool().reserve(index, 0).is_some());
    }
    let counts = picks_in_steady_state(&mut balancer, 1, 6000);
    for (weight, count) in (1..).zip(&counts[100..]) {
        let share = *count as f64 / f64::from(1000 * weight);
        assert!((0.9..1.1).contains(&share), "{weight} got {share}");
    }
}

#[test]
fn round_robin_interleaves_instead_of_clumping() {
    let mut balancer = balancer("round_robin", weighted(&[5, 1, 1]));
    let turns: Vec<_> = (0..7)
        .map(|_| pick(&mut balancer).expect("room").index())
        .collect();
    assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn round_robin_in_large_sets_goes_on_where_it_was_and_comes_to_all() {
    let mut balancer = balancer("round_robin", weighted(&[1; 40]));
    let mut counts = [0; 40];
    for number in 0..40 * 50 {
        // Each change is a new set of candidates.
        if number % 7 == 0 {
            balancer.pool().set_weight_percent(0, 100);
        }
        counts[ask_index(&mut balancer, number)] += 1;
    }
    assert!(
        counts.iter().all(|count| (20..100).contains(count)),
        "{counts:?}"
    );
}

#[test]
fn round_robin_does_not_make_up_for_turns_while_full() {
    let mut endpoints: Vec<_> = (0..20).map(|_| endpoint(1, 0)).collect();
    endpoints[3] = endpoint(1, 1);
    let mut balancer = balancer("round_robin", endpoints);
    assert!(balancer.pool().reserve(3, 0).is_some());
    for _ in 0..19 * 10 {
        assert_ne!(pick(&mut balancer).expect("room").index(), 3);
    }
    balancer.pool().release(3);
    let picks = (0..40).map(|_| pick(&mut balancer).expect("room").index());
    assert!((1..=3).contains(&picks.filter(|&index| index == 3).count()));
}

#[test]
fn least_connections_finds_the_least_of_64_and_turns_at_random() {
    let mut balancer = balancer("least_connections", weighted(&[1; 64]));
    for index in (0..64).filter(|&index| index != 40) {
        assert!(balancer.pool().reserve(index, 0).is_some());
    }
    assert_eq!(pick(&mut balancer).expect("room").index(), 40);
    // Then all are equal again.
    assert!(balancer.pool().reserve(40, 0).is_some());
    let mut counts = [0; 64];
    for number in 0..64 * 100 {
        counts[ask_index(&mut balancer, number)] += 1;
    }
    assert!(
        counts.iter().all(|count| (50..150).contains(count)),
        "{counts:?}"
    );
}

#[test]
fn least_connections_in_large_pools_keeps_all_about_equal() {
    let mut balancer = balancer("least_connections", weighted(&[1; 500]));
    let mut random = Rng::with_seed(2);
    let leases: Vec<Lease> = (0..5000)
        .map(|_| pick_at(&mut balancer, tick(), &mut random).expect("room"))
        .collect();
    let load = |endpoint: &Endpoint| endpoint.load.in_flight.load(Ordering::Relaxed);
    let most = balancer.pool().endpoints.iter().map(load).max();
    assert!(most <= Some(12), "{most:?} of {} in flight", leases.len());
}

/// Keeps as many requests in flight as there are endpoints for so many rounds. Each round, every
/// request is answered as `answer` says of its endpoint. Returns the picks per endpoint.
fn picks_with_answers(
    balancer: &mut Balancer,
    rounds: usize,
    answer: impl Fn(usize) -> (Duration, bool),
) -> Vec<usize> {
    let mut random = Rng::with_seed(5);
    let count = balancer.pool().endpoints.len();
    let mut counts = vec![0; count];
    for _ in 0..rounds {
        let pick = |_| pick_at(balancer, tick(), &mut random).expect("room");
        for lease in (0..count).map(pick).collect::<Vec<_>>() {
            counts[lease.index()] += 1;
            let (latency, is_success) = answer(lease.index());
            lease.learn(&Answer {
                class: 0,
                latency,
                is_success,
                now: tick(),
            });
        }
    }
    counts
}

#[test]
fn peak_ewma_goes_by_latency() {
    let mut balancer = balancer("peak_ewma", weighted(&[1; 8]));
    let latency = |index| Duration::from_millis(if index == 0 { 100 } else { 10 });
    let counts = picks_with_answers(&mut balancer, 1000, |index| (latency(index), true));
    assert!(counts[0] < 250, "{counts:?}");
    assert!(counts[1..].iter().all(|&count| count >= 1000), "{counts:?}");
}

#[test]
fn peak_ewma_does_not_fall_for_fast_failures() {
    let mut balancer = balancer("peak_ewma", weighted(&[1; 8]));
    let latency = |index| Duration::from_millis(if index == 0 { 1 } else { 10 });
    let counts = picks_with_answers(&mut balancer, 1000, |index| (latency(index), index != 0));
    assert!((1..20).contains(&counts[0]), "{counts:?}");
}

#[test]
fn utilization_goes_by_reports_once_two_endpoints_have_made_them() {
    let mut balancer = balancer("utilization", weighted(&[1, 2, 4, 1]));
    let begin = tick();
    let report = |balancer: &Balancer, index, requests, after| {
        let report = LoadReport {
            requests_per_second: Some(requests),
            utilization: Some(0.5),
            ..LoadReport::default()
        };
        let now = begin + Duration::from_secs(after);
        let valid = Duration::from_secs(10);
        balancer.pool().report_load(index, &report, valid, now);
    };
    let counts = |balancer: &mut Balancer, after| {
        let now = begin + Duration::from_secs(after);
        picks_over_time(balancer, 1, 8000, || now)
    };
    let is_about = |count: usize, expected: usize| count.abs_diff(expected) <= 8;

    report(&balancer, 0, 300.0, 0);
    assert_eq!(counts(&mut balancer, 11), [1000, 2000, 4000, 1000]);
    report(&balancer, 1, 100.0, 11);
    assert_eq!(counts(&mut balancer, 20), [1000, 2000, 4000, 1000]);
    // Those without a report have the mean of those with one, whatever is configured.
    let reported = counts(&mut balancer, 22);
    for (count, expected) in reported.iter().zip([3000, 1000, 2000, 2000]) {
        assert!(is_about(*count, expected), "{reported:?}");
    }
    // The first one's report is too old now.
    assert_eq!(counts(&mut balancer, 181), [1000, 2000, 4000, 1000]);
}

#[test]
fn first_fills_an_endpoint_before_it_goes_on() {
    let mut balancer = balancer("first", vec![endpoint(1, 2), endpoint(9, 0)]);
    let leases: Vec<_> = (0..4).map(|_| pick(&mut balancer).expect("room")).collect();
    let indices: Vec<_> = leases.iter().map(Lease::index).collect();
    assert_eq!(indices, [0, 0, 1, 1]);
}

/// The endpoint of a request that is over at once.
fn ask_index(balancer: &mut Balancer, seed: u64) -> usize {
    let Pick::Endpoint(lease, _) = ask(balancer, &Tried::new(), &mut Rng::with_seed(seed)) else {
        panic!("no endpoint has a limit");
    };
    lease.index()
}

proptest! {
    #[test]
    fn round_robin_never_strays_far_from_even_shares(
        weights in prop::collection::vec(1u32..60, 1..60),
    ) {
        let mut balancer = balancer("round_robin", weighted(&weights));
        let sum: u32 = weights.iter().sum();
        let mut counts = vec![0; weights.len()];
        for picks in 1..=sum {
            counts[pick(&mut balancer).expect("room").index()] += 1;
            for (&count, &weight) in counts.iter().zip(&weights) {
                let even = f64::from(picks * weight) / f64::from(sum);
                prop_assert!((f64::from(count) - even).abs() < 3.0, "{count} for {even}");
            }
        }
    }

    #[test]
    fn round_robin_gives_each_exactly_its_weight(
        weights in prop::collection::vec(1u32..60, 1..40),
        rounds in 1usize..4,
    ) {
        let mut balancer = balancer("round_robin", weighted(&weights));
        let sum: u32 = weights.iter().sum();
        for _ in 0..rounds {
            let mut counts = vec![0; weights.len()];
            for _ in 0..sum {
                counts[pick(&mut balancer).expect("room").index()] += 1;
            }
            prop_assert_eq!(&counts, &weights);
        }
    }

    #[test]
    fn two_draws_are_never_the_same_endpoint(
        weights in prop::collection::vec(1u32..=256, 2..40),
        seed: u64,
    ) {
        let pool = pool(settings(DEFAULT_POLICY), weighted(&weights), 1);
        let mut group = Group::default();
        for (index, &weight) in weights.iter().enumerate() {
            group.push(index, weight);
        }
        group.lay_guide();
        for point in 0..weights.iter().sum::<u32>().into() {
            let position = group.position(point);
            prop_assert_eq!(position, group.shares.partition_point(|&share| share <= point));
        }
        let tried = Tried::new();
        let wanted = Wanted::plain(&tried, tick());
        let candidates = Candidates::new(&pool, &group, &weights, &tried, &wanted, 0, 1);
        let mut random = Rng::with_seed(seed);
        for _ in 0..100 {
            let (a, b) = candidates.draw_two(&mut random);
            prop_assert_ne!(a, b);
            prop_assert!(a < weights.len() && b < weights.len());
        }
    }
}

#[test]
fn many_workers_share_one_view_of_the_load() {
    let pool = pool(settings("least_request"), weighted(&[1, 1]), 2);
    let mut one = Balancer::new(Arc::clone(&pool), 0);
    let mut other = Balancer::new(pool, 1);
    let held = pick(&mut one).expect("room");
    assert_ne!(pick(&mut other).expect("room").index(), held.index());
}
