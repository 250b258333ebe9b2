use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use proptest::prelude::{Just, Strategy, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;
use crate::fixture::{ask, endpoint, pick_after, pool, settings, tick};
use crate::{Balancer, DEFAULT_POLICY, EndpointSettings, LoadReport, Pick, PoolSettings, Tried};

const HOUR: Duration = Duration::from_secs(3600);

fn at(tier: u8, zone: &str) -> EndpointSettings {
    EndpointSettings {
        tier,
        zone: Some(zone.into()),
        ..endpoint(1, 0)
    }
}

/// Endpoints of these tiers, all up.
fn tiers(tiers: &[u8]) -> Arc<Pool> {
    let endpoints = tiers.iter().map(|&tier| at(tier, "here")).collect();
    pool(settings(DEFAULT_POLICY), endpoints, 1)
}

/// Endpoints of these zones, all up, seen from zone `here`.
fn zones(zones: &[&str]) -> Arc<Pool> {
    let settings = PoolSettings {
        zone: Some("here".into()),
        ..settings(DEFAULT_POLICY)
    };
    pool(settings, zones.iter().map(|zone| at(0, zone)).collect(), 1)
}

fn take_down(pool: &Pool, indices: impl IntoIterator<Item = usize>) {
    for index in indices {
        pool.set_availability(index, Availability::Down);
    }
}

fn report(pool: &Pool, index: usize, utilization: f32, valid: Duration) -> Instant {
    let now = tick();
    let report = LoadReport {
        utilization: Some(utilization),
        ..LoadReport::default()
    };
    pool.report_load(index, &report, valid, now);
    now
}

/// Requests of 10,000 that each endpoint gets, none of them staying.
fn picks(pool: &Arc<Pool>) -> Vec<u32> {
    let mut balancer = Balancer::new(Arc::clone(pool), 0);
    let mut random = Rng::with_seed(7);
    let mut counts = vec![0; pool.endpoints.len()];
    for _ in 0..10_000 {
        match ask(&mut balancer, &Tried::new(), &mut random) {
            Pick::Endpoint(lease, _) => counts[lease.index()] += 1,
            Pick::Full | Pick::CircuitOpen | Pick::Refused => panic!("nothing was picked"),
        }
    }
    counts
}

/// In hundredths of all requests, what the endpoints of `indices` get together.
fn percent(counts: &[u32], indices: impl IntoIterator<Item = usize>) -> u32 {
    let sum: u32 = indices.into_iter().map(|index| counts[index]).sum();
    (sum + 50) / 100
}

#[test]
fn backups_get_nothing_while_the_primaries_are_well() {
    let pool = tiers(&[0, 0, 0, 0, 1, 1]);
    assert_eq!(percent(&picks(&pool), 0..4), 100);
    // 3 of 4 are 1.05 of what is needed with a spare of 1.4.
    take_down(&pool, [0]);
    assert_eq!(percent(&picks(&pool), 1..4), 100);
}

#[test]
fn backups_get_what_the_primaries_that_are_left_cannot_bear() {
    let pool = tiers(&[0, 0, 0, 0, 1, 1]);
    take_down(&pool, [0, 1]);
    let counts = picks(&pool);
    // 2 of 4 bear 0.7.
    assert!((69..=71).contains(&percent(&counts, 2..4)), "{counts:?}");
    take_down(&pool, [2, 3]);
    let counts = picks(&pool);
    assert_eq!(percent(&counts, 4..6), 100);
}

#[test]
fn a_want_of_all_levels_is_shared() {
    // 1 of 4 primaries bears 0.35, 1 of 4 backups as much: half of the requests for each.
    let pool = tiers(&[0, 0, 0, 0, 1, 1, 1, 1]);
    take_down(&pool, (1..4).chain(5..8));
    let counts = picks(&pool);
    assert!((48..=52).contains(&percent(&counts, [0])), "{counts:?}");
    assert!((48..=52).contains(&percent(&counts, [4])), "{counts:?}");
}

#[test]
fn the_lowest_tier_that_has_anybody_up_takes_all() {
    let pool = tiers(&[2, 1, 0]);
    assert_eq!(percent(&picks(&pool), [2]), 100);
    take_down(&pool, [2]);
    assert_eq!(percent(&picks(&pool), [1]), 100);
    take_down(&pool, [1]);
    assert_eq!(percent(&picks(&pool), [0]), 100);
}

#[test]
fn a_backup_takes_what_finds_the_primaries_full() {
    let mut endpoints = vec![at(0, "here"), at(1, "here")];
    endpoints[0].max_requests = std::num::NonZeroU32::new(1);
    let pool = pool(settings(DEFAULT_POLICY), endpoints, 1);
    let mut balancer = Balancer::new(Arc::clone(&pool), 0);
    let held = ask(&mut balancer, &Tried::new(), &mut Rng::with_seed(1));
    assert_eq!(pick_after(&mut balancer, &[]), (1, Why::Policy));
    drop(held);
    assert_eq!(pick_after(&mut balancer, &[]), (0, Why::Policy));
}

#[test]
fn the_own_zone_goes_first_and_spills_when_it_is_short() {
    let pool = zones(&["here", "there", "here", "there"]);
    assert_eq!(percent(&picks(&pool), [0, 2]), 100);
    take_down(&pool, [0]);
    let counts = picks(&pool);
    assert!((69..=71).contains(&percent(&counts, [2])), "{counts:?}");
    take_down(&pool, [2]);
    assert_eq!(percent(&picks(&pool), [1, 3]), 100);
}

#[test]
fn a_far_primary_goes_before_a_near_backup() {
    let settings = PoolSettings {
        zone: Some("here".into()),
        ..settings(DEFAULT_POLICY)
    };
    let pool = pool(settings, vec![at(1, "here"), at(0, "there")], 1);
    assert_eq!(percent(&picks(&pool), [1]), 100);
}

#[test]
fn without_a_zone_of_our_own_zones_do_not_matter() {
    let endpoints = vec![at(0, "here"), at(0, "there")];
    let counts = picks(&pool(settings(DEFAULT_POLICY), endpoints, 1));
    assert!((45..=55).contains(&percent(&counts, [0])), "{counts:?}");
}

#[test]
fn a_busy_endpoint_gets_nothing_while_another_is_below_and_is_not_down() {
    let pool = tiers(&[0, 0]);
    report(&pool, 0, 1.0, HOUR);
    let mut balancer = Balancer::new(Arc::clone(&pool), 0);
    assert!((0..100).all(|_| pick_after(&mut balancer, &[]) == (1, Why::Policy)));
    assert_eq!(pool.endpoints[0].availability(), Availability::Up);
    // A retry goes to it before it goes where it has been.
    assert_eq!(pick_after(&mut balancer, &[1]), (0, Why::Busy));
    // All busy: all are used.
    report(&pool, 1, 1.5, HOUR);
    let counts = picks(&pool);
    assert!((45..=55).contains(&percent(&counts, [0])), "{counts:?}");
    report(&pool, 0, 0.99, HOUR);
    assert_eq!(pick_after(&mut balancer, &[]), (0, Why::Policy));
}

#[test]
fn a_backup_that_is_not_busy_goes_before_a_primary_that_is() {
    let pool = tiers(&[0, 1]);
    report(&pool, 0, 1.0, HOUR);
    assert_eq!(percent(&picks(&pool), [1]), 100);
}

#[test]
fn a_full_endpoint_comes_after_a_busy_one_until_its_time_is_over() {
    let pool = tiers(&[0, 0]);
    let mut balancer = Balancer::new(Arc::clone(&pool), 0);
    report(&pool, 0, 1.0, HOUR);
    let now = tick();
    pool.report_full(1, now + Duration::from_millis(20), now);
    assert_eq!(pick_after(&mut balancer, &[]), (0, Why::Busy));
    assert_eq!(pick_after(&mut balancer, &[0]), (1, Why::Busy));
    // Each pick is a millisecond later.
    let picks = (0..40).map(|_| pick_after(&mut balancer, &[]));
    assert!(picks.into_iter().any(|pick| pick == (1, Why::Policy)));
    assert_eq!(pick_after(&mut balancer, &[]), (1, Why::Policy));
}

#[test]
fn a_report_is_forgotten_when_it_is_old() {
    let pool = tiers(&[0, 0]);
    let now = report(&pool, 0, 2.0, Duration::from_millis(20));
    assert_eq!(pool.load_word(0, now), LoadWord::Busy);
    let later = now + Duration::from_millis(20);
    assert_eq!(pool.load_word(0, later), LoadWord::Normal);
    assert_eq!(pool.utilization(0, later), None);
    let mut balancer = Balancer::new(pool, 0);
    let picks: Vec<_> = (0..60).map(|_| pick_after(&mut balancer, &[]).0).collect();
    assert!(picks[..10].iter().all(|&index| index == 1), "{picks:?}");
    assert!(picks[40..].contains(&0), "{picks:?}");
}

#[test]
fn below_the_panic_threshold_health_is_ignored() {
    let settings = PoolSettings {
        panic_percent: 50,
        ..settings(DEFAULT_POLICY)
    };
    let endpoints = (0..4).map(|_| endpoint(1, 0)).collect();
    let pool = pool(settings, endpoints, 1);
    take_down(&pool, [0, 1]);
    assert_eq!(percent(&picks(&pool), [2, 3]), 100, "half is enough");
    take_down(&pool, [2]);
    let counts = picks(&pool);
    for index in 0..4 {
        assert!((20..=30).contains(&percent(&counts, [index])), "{counts:?}");
    }
    // The log says which of them are down.
    let mut balancer = Balancer::new(pool, 0);
    assert_eq!(pick_after(&mut balancer, &[1, 2, 3]), (0, Why::FailOpen));
    assert_eq!(pick_after(&mut balancer, &[0, 1, 2]), (3, Why::Policy));
}

#[test]
fn a_pool_that_fails_closed_does_not_panic_with_nothing_up() {
    let settings = PoolSettings {
        panic_percent: 100,
        fail_closed: true,
        ..settings(DEFAULT_POLICY)
    };
    let pool = pool(settings, vec![endpoint(1, 0), endpoint(1, 0)], 1);
    take_down(&pool, [0, 1]);
    let mut balancer = Balancer::new(pool, 0);
    let pick = ask(&mut balancer, &Tried::new(), &mut Rng::with_seed(1));
    assert!(matches!(pick, Pick::Refused));
}

#[test]
fn endpoints_in_drain_or_maintenance_get_nothing_even_if_no_other_is_left() {
    for state in [AdminState::Drain, AdminState::Maintenance] {
        let pool = tiers(&[0, 0]);
        pool.set_admin_state(0, state);
        assert_eq!(percent(&picks(&pool), [1]), 100);
        pool.set_admin_state(1, state);
        let mut balancer = Balancer::new(Arc::clone(&pool), 0);
        let pick = ask(&mut balancer, &Tried::new(), &mut Rng::with_seed(1));
        assert!(matches!(pick, Pick::Refused), "{state:?}");
        pool.set_admin_state(0, AdminState::Ready);
        assert_eq!(pick_after(&mut balancer, &[]), (0, Why::Policy));
    }
}

#[test]
fn the_share_of_an_endpoint_in_slow_start_grows_to_its_weight() {
    let pool = tiers(&[0, 0]);
    let begin = tick();
    pool.begin_slow_start(0, begin);
    let seconds = |count| begin + Duration::from_secs(count);
    // max(0.10, t/window) of weight 1, window 10 s.
    for (second, weight) in [(0, 0.1), (1, 0.1), (3, 0.3), (5, 0.5), (9, 0.9)] {
        let found = pool.weight(0, seconds(second));
        assert!((found - weight).abs() < 0.005, "{found} after {second} s");
        assert_eq!(pool.weight(1, seconds(second)), 1.0);
        let part = pool.slow_start(0, seconds(second)).expect("it ramps");
        assert!((part - weight).abs() < 1e-6, "{part} after {second} s");
    }
    assert_eq!(pool.weight(0, seconds(10)), 1.0);
    assert_eq!(pool.slow_start(0, seconds(10)), None);

    // Held for 2 s, everything comes 2 s later.
    pool.begin_slow_start(0, begin);
    pool.hold_slow_start(0, Duration::from_secs(2));
    assert!((pool.weight(0, seconds(5)) - 0.3).abs() < 0.005);
    assert_eq!(pool.weight(0, seconds(12)), 1.0);
    pool.hold_slow_start(1, Duration::from_secs(2));
    assert_eq!(pool.slow_start(1, begin), None, "it never began");
}

#[test]
fn an_agents_percentage_and_slow_start_multiply() {
    let pool = tiers(&[0, 0]);
    let begin = tick();
    pool.begin_slow_start(0, begin);
    pool.set_weight_percent(0, 50);
    let middle = begin + Duration::from_secs(5);
    assert!((pool.weight(0, middle) - 0.25).abs() < 0.005);
}

/// An endpoint as [`Rotation`] sees it.
#[derive(Debug, Clone)]
struct Case {
    availability: Availability,
    tier: u8,
    is_far: bool,
    weight: u32,
    load: LoadWord,
}

fn case() -> impl Strategy<Value = Case> {
    let availability = prop_oneof![
        Just(Availability::Up),
        Just(Availability::Unknown),
        Just(Availability::Down)
    ];
    let load = prop_oneof![
        2 => Just(LoadWord::Normal),
        1 => Just(LoadWord::Busy),
        1 => Just(LoadWord::Full),
    ];
    (availability, 0u8..3, prop::bool::ANY, 0u32..3, load).prop_map(
        |(availability, tier, is_far, weight, load)| Case {
            availability,
            tier,
            is_far,
            weight,
            load,
        },
    )
}

proptest! {
    #[test]
    fn every_ready_endpoint_is_in_one_group_and_levels_share_all_requests(
        cases in prop::collection::vec(case(), 1..24),
        panic_percent in 0u8..=100,
        seed: u64,
    ) {
        let settings = PoolSettings {
            zone: Some("here".into()),
            panic_percent,
            ..settings(DEFAULT_POLICY)
        };
        let endpoints = cases.iter().map(|case| EndpointSettings {
            weight: case.weight,
            ..at(case.tier, if case.is_far { "there" } else { "here" })
        });
        let pool = pool(settings, endpoints.collect(), 1);
        for (index, case) in cases.iter().enumerate() {
            pool.set_availability(index, case.availability);
            match case.load {
                LoadWord::Normal => {}
                LoadWord::Busy => _ = report(&pool, index, 1.0, HOUR),
                LoadWord::Full => {
                    let now = tick();
                    pool.report_full(index, now + HOUR, now);
                }
            }
        }
        let mut rotation = Rotation::new();
        rotation.refresh(&pool, pool.micros(tick()));

        let mut seen: Vec<u32> = rotation.groups.iter().flat_map(|group| group.indices.clone()).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..cases.len() as u32).collect::<Vec<_>>());
        prop_assert!(rotation.groups.is_sorted_by_key(|group| group.standing));

        // Where a pick may begin is a level, and levels are what is open.
        let levels = &rotation.groups[..rotation.levels];
        prop_assert!(levels.iter().all(|level| level.standing == Standing::Open));
        prop_assert!(rotation.groups[rotation.levels..].iter().all(|group| group.standing != Standing::Open));
        prop_assert!(levels.is_sorted_by_key(|level| level.begin_before));
        if let Some(last) = levels.last() {
            prop_assert_eq!(last.begin_before, ALL);
        }
        let mut random = Rng::with_seed(seed);
        for _ in 0..8 {
            let order: Vec<_> = rotation.groups(&mut random).map(|group| group.indices[0]).collect();
            prop_assert_eq!(order.len(), rotation.groups.len());
            if !levels.is_empty() {
                prop_assert!(levels.iter().any(|level| level.indices[0] == order[0]));
            }
        }

        // In panic health says nothing.
        let up = cases.iter().filter(|case| case.availability == Availability::Up).count();
        prop_assert_eq!(rotation.is_panic, up * 100 < cases.len() * usize::from(panic_percent));
        prop_assert!(!(rotation.is_panic && rotation.has_down));
    }
}
