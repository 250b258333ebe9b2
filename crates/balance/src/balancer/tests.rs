use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use proptest::prelude::{
    Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};

use super::*;
use crate::fixture::{ask, endpoint, pick, pick_after, pool, pool_of, settings, tick, tried_of};
use crate::{Availability, DEFAULT_POLICY, POLICIES, PoolSettings};

fn balancer(availabilities: &[Availability]) -> Balancer {
    let pool = pool_of(&vec![0; availabilities.len()], 1);
    for (index, &availability) in availabilities.iter().enumerate() {
        pool.set_availability(index, availability);
    }
    Balancer::new(pool, 0)
}

#[test]
fn a_retry_prefers_an_untried_unknown_endpoint_to_a_tried_one() {
    let mut balancer = balancer(&[Availability::Up, Availability::Unknown]);
    assert_eq!(pick_after(&mut balancer, &[]), (0, Why::Policy));
    assert_eq!(pick_after(&mut balancer, &[0]), (1, Why::OnlyUnknown));
    assert_eq!(pick_after(&mut balancer, &[0, 1]), (0, Why::AlreadyTried));
}

#[test]
fn a_retry_prefers_a_tried_endpoint_to_one_that_is_down() {
    let mut balancer = balancer(&[Availability::Up, Availability::Down]);
    assert_eq!(pick_after(&mut balancer, &[0]), (0, Why::AlreadyTried));
}

#[test]
fn with_all_down_they_are_tried_unless_the_pool_fails_closed() {
    let mut open = balancer(&[Availability::Down, Availability::Down]);
    open.pool()
        .set_admin_state(1, crate::AdminState::Maintenance);
    assert_eq!(pick_after(&mut open, &[]), (0, Why::FailOpen));

    let closed = PoolSettings {
        fail_closed: true,
        ..settings(DEFAULT_POLICY)
    };
    let pool = pool(closed, vec![endpoint(1, 0)], 1);
    pool.set_availability(0, Availability::Down);
    let mut closed = Balancer::new(pool, 0);
    assert!(matches!(
        ask(&mut closed, &Tried::new(), &mut Rng::with_seed(1)),
        Pick::Refused
    ));
}

#[test]
fn a_new_verdict_counts_from_the_next_pick() {
    let mut balancer = balancer(&[Availability::Up, Availability::Up]);
    balancer.pool().set_availability(0, Availability::Down);
    assert!((0..4).all(|_| pick_after(&mut balancer, &[]).0 == 1));
    balancer.pool().set_availability(0, Availability::Up);
    balancer.pool().set_availability(1, Availability::Down);
    assert!((0..4).all(|_| pick_after(&mut balancer, &[]).0 == 0));
}

/// A balancer of this policy whose endpoint 0 is back from an ejection.
fn on_trial(policy: &'static str, max_requests: &[u32]) -> Balancer {
    let endpoints = max_requests.iter().map(|&max| endpoint(1, max)).collect();
    let pool = pool(settings(policy), endpoints, 1);
    begin_trial(&pool);
    Balancer::new(pool, 0)
}

fn begin_trial(pool: &Pool) {
    pool.endpoints[0].load.begin_trial();
    pool.set_availability(0, Availability::Up);
}

/// How many of so many requests, all in flight at once, come to endpoint 0.
fn at_first(balancer: &mut Balancer, requests: usize) -> (usize, Vec<Lease>) {
    let mut random = Rng::with_seed(1);
    let leases: Vec<_> = (0..requests)
        .map(|_| match ask(balancer, &Tried::new(), &mut random) {
            Pick::Endpoint(lease, _) => lease,
            _ => panic!("an endpoint is up"),
        })
        .collect();
    let count = leases.iter().filter(|lease| lease.index() == 0).count();
    (count, leases)
}

#[test]
fn an_endpoint_on_trial_has_one_request_at_a_time_until_that_shows_that_it_is_well() {
    for policy in POLICIES {
        let mut balancer = on_trial(policy.name, &[0, 0, 0]);
        let (count, leases) = at_first(&mut balancer, 50);
        assert!(count <= 1, "{}: {count}", policy.name);
        drop(leases);
    }
    let mut balancer = on_trial("first", &[0, 0]);
    for round in 0..3 {
        // Those of each round are over, and have shown nothing.
        let (count, _leases) = at_first(&mut balancer, 5);
        assert_eq!(count, 1, "round {round}");
    }
    let (_, leases) = at_first(&mut balancer, 5);
    for lease in leases.iter().filter(|lease| lease.index() == 0) {
        lease.endpoint().load.record_success();
    }
    assert_eq!(at_first(&mut balancer, 5).0, 5);
}

#[test]
fn a_failed_request_of_a_trial_makes_room_for_the_next() {
    let mut balancer = on_trial("first", &[0, 0]);
    let (count, leases) = at_first(&mut balancer, 5);
    assert_eq!(count, 1);
    leases[0].endpoint().load.record_failure();
    leases[0].learn(&Answer {
        class: 0,
        latency: Duration::from_millis(1),
        is_success: false,
        now: tick(),
    });
    assert_eq!(balancer.pool().endpoints[0].load.failures_in_row(), 1);
    assert_eq!(at_first(&mut balancer, 5).0, 1);
}

#[test]
fn what_an_endpoint_had_in_flight_before_its_trial_does_not_keep_it_waiting() {
    let pool = pool(settings("first"), vec![endpoint(1, 0), endpoint(1, 0)], 1);
    let mut balancer = Balancer::new(pool, 0);
    let (count, _tunnels) = at_first(&mut balancer, 5);
    assert_eq!(count, 5);
    begin_trial(balancer.pool());
    assert_eq!(at_first(&mut balancer, 5).0, 1);
}

#[test]
fn an_endpoint_on_trial_takes_what_no_other_takes() {
    let mut alone = on_trial("first", &[0]);
    assert_eq!(at_first(&mut alone, 5).0, 5);

    let mut beside_a_full_one = on_trial("first", &[0, 2]);
    assert_eq!(at_first(&mut beside_a_full_one, 5).0, 3);

    let mut beside_one_that_refuses = on_trial("first", &[0, 0]);
    let pool = beside_one_that_refuses.pool();
    let now = tick();
    pool.report_full(1, now + Duration::from_secs(60), now);
    assert_eq!(at_first(&mut beside_one_that_refuses, 5).0, 5);

    let mut beside_one_that_is_down = on_trial("first", &[0, 0]);
    let pool = beside_one_that_is_down.pool();
    pool.set_availability(1, Availability::Down);
    assert_eq!(at_first(&mut beside_one_that_is_down, 5).0, 5);
}

#[test]
fn of_workers_that_pick_at_once_one_has_the_request_of_a_trial() {
    for _ in 0..200 {
        let pool = pool(settings("first"), vec![endpoint(1, 0), endpoint(1, 0)], 3);
        begin_trial(&pool);
        let barrier = Barrier::new(3);
        let at_first = AtomicU32::new(0);
        thread::scope(|scope| {
            for worker in 0..3 {
                let (pool, barrier, at_first) = (&pool, &barrier, &at_first);
                scope.spawn(move || {
                    let mut balancer = Balancer::new(Arc::clone(pool), worker);
                    barrier.wait();
                    let lease = pick(&mut balancer).expect("room");
                    at_first.fetch_add(u32::from(lease.index() == 0), Ordering::Relaxed);
                    // Nobody's request is over before all have theirs.
                    barrier.wait();
                });
            }
        });
        assert_eq!(at_first.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn excess_spills_to_the_next_endpoint_and_a_dropped_lease_gives_its_place_back() {
    let mut balancer = Balancer::new(pool_of(&[1, 1], 1), 0);
    let first = pick(&mut balancer).expect("room");
    let second = pick(&mut balancer).expect("room");
    assert_ne!(first.index(), second.index());
    assert!(matches!(
        ask(&mut balancer, &Tried::new(), &mut Rng::with_seed(1)),
        Pick::Full
    ));
    let freed = first.index();
    drop(first);
    assert_eq!(pick(&mut balancer).expect("room").index(), freed);
}

#[test]
fn a_retry_goes_again_to_a_tried_endpoint_when_the_others_are_full() {
    let mut balancer = Balancer::new(pool_of(&[1, 1], 1), 0);
    let other = pick(&mut balancer).expect("room");
    let tried = 1 - other.index();
    assert_eq!(
        pick_after(&mut balancer, &[tried]),
        (tried, Why::AlreadyTried)
    );
}

#[test]
fn max_requests_holds_over_all_workers() {
    const WORKERS: usize = 4;
    let pool = pool_of(&[1, 2, 3], WORKERS);
    // Counted apart from the pool's own counters, while a lease is held.
    let held: Arc<[AtomicU32; 3]> = Arc::default();
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (pool, held) = (Arc::clone(&pool), Arc::clone(&held));
            scope.spawn(move || {
                let mut balancer = Balancer::new(pool, worker);
                let mut random = Rng::with_seed(worker as u64);
                let mut leases: Vec<Lease> = Vec::new();
                for _ in 0..20_000 {
                    if let Pick::Endpoint(lease, _) = ask(&mut balancer, &Tried::new(), &mut random)
                    {
                        let index = lease.index();
                        let now = held[index].fetch_add(1, Ordering::SeqCst) + 1;
                        assert!(now <= index as u32 + 1, "{now} at endpoint {index}");
                        leases.push(lease);
                    }
                    if !leases.is_empty() && random.bool() {
                        let lease = leases.swap_remove(random.usize(..leases.len()));
                        held[lease.index()].fetch_sub(1, Ordering::SeqCst);
                        drop(lease);
                    }
                }
                for lease in leases {
                    held[lease.index()].fetch_sub(1, Ordering::SeqCst);
                }
            });
        }
    });
    let in_flight = pool
        .endpoints
        .iter()
        .map(|e| e.load.in_flight.load(Ordering::SeqCst));
    assert_eq!(in_flight.sum::<u32>(), 0);
}

/// An endpoint as the rules of `Balancer::pick` see it.
#[derive(Debug, Clone)]
struct Case {
    availability: Availability,
    weight: u32,
    full: bool,
    tried: bool,
}

/// Every endpoint that may be picked, and why; or `Err(full)`.
fn allowed(cases: &[Case], fail_closed: bool) -> Result<(Vec<usize>, Why), bool> {
    use Availability::{Down, Unknown, Up};
    let exists = |availability| cases.iter().any(|case| case.availability == availability);
    let any_tried = cases.iter().any(|case| case.tried);
    let mut tiers = vec![Up];
    if !exists(Up) || any_tried {
        tiers.push(Unknown);
    }
    if !exists(Up) && !exists(Unknown) && !fail_closed {
        tiers.push(Down);
    }
    for tried in [false, true] {
        for &tier in &tiers {
            for weightless in [false, true] {
                let fits = |case: &Case| {
                    let class = (case.availability, case.tried, case.weight == 0);
                    class == (tier, tried, weightless) && !case.full
                };
                let found: Vec<_> = (0..cases.len()).filter(|&i| fits(&cases[i])).collect();
                let why = match tier {
                    Unknown => Why::OnlyUnknown,
                    Down => Why::FailOpen,
                    _ if tried => Why::AlreadyTried,
                    _ => Why::Policy,
                };
                if !found.is_empty() {
                    return Ok((found, why));
                }
            }
        }
    }
    Err(tiers.into_iter().any(exists))
}

fn case() -> impl Strategy<Value = Case> {
    let availability = prop_oneof![
        Just(Availability::Unknown),
        Just(Availability::Up),
        Just(Availability::Down),
        Just(Availability::Down),
    ];
    let weight = prop_oneof![Just(0u32), 1u32..=256];
    (availability, weight, any::<bool>(), any::<bool>()).prop_map(
        |(availability, weight, full, tried)| Case {
            availability,
            weight,
            full,
            tried,
        },
    )
}

proptest! {
    #[test]
    fn every_policy_keeps_to_the_order_of_preference(
        cases in prop::collection::vec(case(), 0..24),
        fail_closed: bool,
        seed: u64,
    ) {
        let expected = allowed(&cases, fail_closed);
        for kind in POLICIES {
            let settings = PoolSettings { fail_closed, ..settings(kind.name) };
            let endpoints = cases.iter().map(|case| endpoint(case.weight, 1)).collect();
            let pool = pool(settings, endpoints, 1);
            for (index, case) in cases.iter().enumerate() {
                pool.set_availability(index, case.availability);
                if case.full {
                    prop_assert!(pool.reserve(index, 0).is_some());
                }
            }
            let tried: Vec<_> = (0..cases.len()).filter(|&index| cases[index].tried).collect();
            let mut balancer = Balancer::new(pool, 0);
            let pick = ask(&mut balancer, &tried_of(&tried), &mut Rng::with_seed(seed));
            match (pick, &expected) {
                (Pick::Endpoint(lease, why), Ok((indices, expected_why))) => {
                    prop_assert!(indices.contains(&lease.index()), "{}", kind.name);
                    prop_assert_eq!(why, *expected_why);
                }
                (Pick::Full, Err(full)) => prop_assert!(*full),
                (Pick::CircuitOpen, _) => prop_assert!(false, "there is no circuit"),
                (Pick::Refused, Err(full)) => prop_assert!(!*full),
                (Pick::Endpoint(..), Err(_)) => prop_assert!(false, "picked a forbidden one"),
                (Pick::Full | Pick::Refused, Ok(_)) => prop_assert!(false, "picked nothing"),
            }
        }
    }
}
