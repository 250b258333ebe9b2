//! Which keys move, and which must not.

use std::collections::BTreeSet;

use proptest::prelude::ProptestConfig;

use super::*;
use crate::fixture::tried_of;
use crate::{Pool, hash_key};

const KEYS: u64 = 10_000;

fn policies() -> impl Iterator<Item = &'static str> {
    let by_key = POLICIES.iter().filter(|kind| kind.has_key);
    by_key.map(|kind| kind.name)
}

/// Endpoints of these names and weights, all up.
fn named(policy: &'static str, bound: Option<f64>, endpoints: &[(String, u32)]) -> Balancer {
    let mut settings = settings(policy);
    settings.policy.bounded_load = bound;
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|(name, weight)| EndpointSettings {
            name: name.as_str().into(),
            ..endpoint(*weight, 0)
        })
        .collect();
    let pool = Pool::new(settings, endpoints, 1, tick());
    for index in 0..pool.endpoints.len() {
        pool.set_availability(index, Availability::Up);
    }
    Balancer::new(Arc::new(pool), 0)
}

fn names(count: usize) -> Vec<(String, u32)> {
    (0..count)
        .map(|number| (format!("10.0.0.{number}:3000"), 1))
        .collect()
}

fn lease_of_key(balancer: &mut Balancer, key: u64, tried: &Tried, now: Instant) -> Lease {
    let wanted = Wanted {
        key: Some(key),
        ..Wanted::plain(tried, now)
    };
    match balancer.pick(&wanted, &mut Rng::with_seed(key)) {
        Pick::Endpoint(lease, _) => lease,
        _ => panic!("there is room"),
    }
}

/// The names of the endpoints that the first keys belong to.
fn owners(balancer: &mut Balancer) -> Vec<Box<str>> {
    owners_at(balancer, tick())
}

fn owners_at(balancer: &mut Balancer, now: Instant) -> Vec<Box<str>> {
    let owner = |number: u64| {
        let key = hash_key(&number.to_be_bytes());
        let lease = lease_of_key(balancer, key, &Tried::new(), now);
        lease.endpoint().name.clone()
    };
    (0..KEYS).map(owner).collect()
}

/// How many keys of `of` and how many others moved.
fn moved(before: &[Box<str>], after: &[Box<str>], of: &str) -> (usize, usize) {
    let moved = before.iter().zip(after).filter(|(old, new)| old != new);
    let (own, foreign): (Vec<_>, Vec<_>) = moved.partition(|(old, _)| &***old == of);
    (own.len(), foreign.len())
}

#[test]
fn removing_one_of_ten_endpoints_moves_few_keys_that_were_not_its_own() {
    for policy in policies() {
        let all = names(10);
        let before = owners(&mut named(policy, None, &all));
        for gone in 0..10 {
            let mut left = all.clone();
            let (gone, _) = left.remove(gone);
            let after = owners(&mut named(policy, None, &left));
            let (own, foreign) = moved(&before, &after, &gone);
            let percent = |count: usize| count as f64 * 100.0 / KEYS as f64;
            assert!(
                own > 0 && percent(own + foreign) <= 12.0,
                "{policy}: {own} + {foreign}"
            );
            assert!(percent(foreign) <= 5.0, "{policy}: {foreign}");
            if policy == "rendezvous" {
                assert_eq!(foreign, 0);
            }
        }
    }
}

#[test]
fn the_order_in_the_file_moves_no_key() {
    for policy in policies() {
        let mut endpoints = names(20);
        for (number, (_, weight)) in endpoints.iter_mut().enumerate() {
            *weight = 1 + number as u32 % 3;
        }
        let before = owners(&mut named(policy, None, &endpoints));
        Rng::with_seed(1).shuffle(&mut endpoints);
        assert_eq!(
            owners(&mut named(policy, None, &endpoints)),
            before,
            "{policy}"
        );
    }
}

#[test]
fn an_endpoint_that_is_down_moves_its_own_keys_only_and_has_them_back() {
    for policy in policies() {
        for count in [2, 10, 30] {
            let all = names(count);
            let mut balancer = named(policy, None, &all);
            let pool = Arc::clone(balancer.pool());
            let whole = owners(&mut balancer);
            let mut before = whole.clone();
            // Half of them, one after the other.
            for (index, (gone, _)) in all.iter().enumerate().take(count / 2) {
                pool.set_availability(index, Availability::Down);
                let after = owners(&mut balancer);
                let (own, foreign) = moved(&before, &after, gone);
                assert!(own > 0, "{policy}: {gone} had no keys");
                assert_eq!(foreign, 0, "{policy}: {gone} of {count}");
                before = after;
            }
            for index in 0..count / 2 {
                pool.set_availability(index, Availability::Up);
            }
            assert_eq!(owners(&mut balancer), whole, "{policy}");
        }
    }
}

#[test]
fn the_keys_of_an_endpoint_that_is_down_go_to_all_others() {
    for policy in policies() {
        let mut balancer = named(policy, None, &names(10));
        let before = owners(&mut balancer);
        balancer.pool().set_availability(0, Availability::Down);
        let after = owners(&mut balancer);
        for (name, _) in &names(10)[1..] {
            let count =
                |owners: &[Box<str>]| owners.iter().filter(|owner| ***owner == **name).count();
            let more = count(&after) as f64 / count(&before) as f64;
            assert!((1.05..1.20).contains(&more), "{policy}: {more}");
        }
    }
}

#[test]
fn an_endpoint_in_slow_start_gets_its_keys_little_by_little() {
    for policy in policies() {
        let all = names(10);
        let mut balancer = named(policy, None, &all);
        let whole = owners(&mut balancer);
        let pool = Arc::clone(balancer.pool());
        pool.set_availability(0, Availability::Down);
        let mut before = owners(&mut balancer);
        let begin = tick();
        pool.set_availability(0, Availability::Up);
        pool.begin_slow_start(0, begin);
        for seconds in 0..=10 {
            let after = owners_at(&mut balancer, begin + Duration::from_secs(seconds));
            // Whatever moves comes to it, and stays.
            for (old, new) in before.iter().zip(&after).filter(|(old, new)| old != new) {
                assert_eq!(**new, *all[0].0, "{policy}: a key left {old}");
            }
            before = after;
        }
        assert_eq!(before, whole, "{policy}");
    }
}

#[test]
fn a_retry_of_a_key_goes_to_the_same_other_endpoint() {
    for policy in policies() {
        let mut balancer = named(policy, None, &names(10));
        let (key, now) = (hash_key(b"198.51.100.7"), tick());
        let first = lease_of_key(&mut balancer, key, &Tried::new(), now).index();
        let tried = tried_of(&[first]);
        let second = lease_of_key(&mut balancer, key, &tried, now).index();
        assert_ne!(first, second);
        for _ in 0..10 {
            assert_eq!(
                lease_of_key(&mut balancer, key, &tried, now).index(),
                second
            );
        }
    }
}

#[test]
fn requests_without_a_key_go_where_the_fewest_are() {
    for policy in policies() {
        let mut balancer = balancer(policy, weighted(&[1; 5]));
        let leases: Vec<_> = (0..10)
            .map(|_| pick(&mut balancer).expect("room"))
            .collect();
        let count = |index| leases.iter().filter(|lease| lease.index() == index).count();
        assert!((0..5).all(|index| count(index) == 2), "{policy}");
    }
}

/// `ceil(c * in_flight * w_i / sum(w))` with the pick among those in flight.
fn cap(balancer: &Balancer, index: usize, factor: f64, in_flight: usize) -> f64 {
    let weight = |index: usize| f64::from(balancer.pool().endpoints[index].weight);
    let sum: f64 = (0..balancer.pool().endpoints.len()).map(weight).sum();
    (factor * in_flight as f64 * weight(index) / sum).ceil()
}

#[test]
fn a_hot_key_spills_to_the_same_few_endpoints() {
    for policy in policies() {
        for count in [10, 40] {
            let mut balancer = named(policy, Some(2.0), &names(count));
            let mut used = || {
                let hot = |_| lease_of_key(&mut balancer, hash_key(b"hot"), &Tried::new(), tick());
                let leases: Vec<_> = (0..2 * count).map(hot).collect();
                leases.iter().map(Lease::index).collect::<BTreeSet<_>>()
            };
            let first = used();
            // Each takes twice its share at least.
            assert!(first.len() <= count / 2, "{policy}: {first:?}");
            assert_eq!(used(), first, "{policy}");
        }
    }
}

#[test]
fn a_bound_is_no_reason_to_refuse() {
    for policy in policies() {
        let endpoints = vec![endpoint(1, 1), endpoint(1, 1), endpoint(1, 0)];
        let mut settings = settings(policy);
        settings.policy.bounded_load = Some(1.0);
        let mut balancer = Balancer::new(pool(settings, endpoints, 1), 0);
        let mut random = Rng::with_seed(1);
        let leases: Vec<_> = (0..10)
            .map_while(|_| pick_at(&mut balancer, tick(), &mut random))
            .collect();
        assert_eq!(leases.len(), 10, "{policy}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_endpoint_is_picked_beyond_its_bound(
        weights in prop::collection::vec(1u32..=20, 2..40),
        percent in 100u32..300,
        keys in 1u64..50,
        seed: u64,
    ) {
        let factor = f64::from(percent) / 100.0;
        let endpoints: Vec<_> = names(weights.len())
            .into_iter()
            .zip(weights)
            .map(|((name, _), weight)| (name, weight))
            .collect();
        for policy in policies() {
            let mut balancer = named(policy, Some(factor), &endpoints);
            let mut random = Rng::with_seed(seed);
            let mut leases: Vec<Lease> = Vec::new();
            for _ in 0..600 {
                if random.u32(..5) < 2 && !leases.is_empty() {
                    drop(leases.swap_remove(random.usize(..leases.len())));
                    continue;
                }
                // Few keys, and one of them half of the time.
                let key = hash_key(&(random.u64(..2 * keys) / keys * random.u64(..keys)).to_be_bytes());
                let lease = lease_of_key(&mut balancer, key, &Tried::new(), tick());
                let in_flight = lease.endpoint().load.in_flight.load(Ordering::Relaxed);
                let cap = cap(&balancer, lease.index(), factor, leases.len() + 1);
                prop_assert!(f64::from(in_flight) <= cap, "{policy}: {in_flight} of {cap}");
                leases.push(lease);
            }
        }
    }
}
