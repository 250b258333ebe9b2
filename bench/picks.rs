//! Picking an endpoint, and giving its place back.
//!
//! `cargo bench --package bench --bench picks`

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use balance::{
    Address, Answer, Availability, Balancer, EndpointSettings, POLICIES, Pick, PolicySettings,
    Pool, PoolSettings, Tried, Wanted,
};
use divan::{Bencher, black_box};
use fastrand::Rng;

fn main() {
    divan::main();
}

/// Every policy of the table with few, some and many endpoints.
#[divan::bench(args = POLICIES.iter().map(|kind| kind.name), consts = [2, 16, 1000])]
fn pick<const ENDPOINTS: usize>(bencher: Bencher<'_, '_>, policy: &'static str) {
    let mut balancer = Balancer::new(pool(policy, ENDPOINTS), 0);
    let mut random = Rng::with_seed(1);
    let tried = Tried::new();
    let mut now = Instant::now();
    let mut key = 0u64;
    let mut pick = || {
        now += BETWEEN_PICKS;
        key = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let wanted = Wanted {
            key: Some(key),
            ..Wanted::plain(&tried, now)
        };
        (balancer.pick(black_box(&wanted), &mut random), now)
    };
    // The first one sorts the endpoints. Answers are what some policies go by.
    for number in 0..20 * ENDPOINTS as u64 {
        if let (Pick::Endpoint(lease, _), now) = pick() {
            lease.learn(&Answer {
                class: 0,
                latency: Duration::from_micros(500 + number % 101),
                is_success: true,
                now,
            });
        }
    }
    bencher.bench_local(|| drop(pick()));
}

/// What a request costs a worker, so that no more picks come in a second.
const BETWEEN_PICKS: Duration = Duration::from_micros(15);

/// All endpoints up, unlimited and of the same weight.
fn pool(policy: &'static str, endpoints: usize) -> Arc<Pool> {
    let settings = PoolSettings {
        policy: PolicySettings::named(policy),
        ..PoolSettings::new("app")
    };
    let endpoints = (0..endpoints)
        .map(|index| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 3000 + index as u16));
            EndpointSettings {
                name: address.to_string().into(),
                address: Address::Tcp(address),
                host: None,
                weight: 1,
                max_requests: None,
                tier: 0,
                zone: None,
            }
        })
        .collect();
    let pool = Pool::new(settings, endpoints, 1, Instant::now());
    for index in 0..pool.endpoints.len() {
        pool.set_availability(index, Availability::Up);
    }
    Arc::new(pool)
}
