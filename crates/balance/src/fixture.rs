//! Pools for tests.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::{
    Address, Availability, Balancer, DEFAULT_POLICY, EndpointSettings, Lease, Pick, PolicySettings,
    Pool, PoolSettings, Ticket, Tried, Wanted, Why,
};

pub(crate) fn settings(policy: &'static str) -> PoolSettings {
    PoolSettings {
        policy: PolicySettings::named(policy),
        ..PoolSettings::new("app")
    }
}

/// `max_requests` 0: unlimited.
pub(crate) fn endpoint(weight: u32, max_requests: u32) -> EndpointSettings {
    EndpointSettings {
        name: "a".into(),
        address: Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 3000))),
        host: None,
        weight,
        max_requests: NonZeroU32::new(max_requests),
        tier: 0,
        zone: None,
    }
}

/// Every endpoint up; their names are `0`, `1` and so on.
pub(crate) fn pool(
    settings: PoolSettings,
    mut endpoints: Vec<EndpointSettings>,
    workers: usize,
) -> Arc<Pool> {
    for (index, endpoint) in endpoints.iter_mut().enumerate() {
        endpoint.name = index.to_string().into();
    }
    let pool = Pool::new(settings, endpoints, workers, tick());
    for index in 0..pool.endpoints.len() {
        pool.set_availability(index, Availability::Up);
    }
    Arc::new(pool)
}

/// A moment. Each call gives a later one, 1 ms after the last of this thread.
#[expect(
    clippy::disallowed_methods,
    reason = "an `Instant` comes from nowhere else; from there on time is counted"
)]
pub(crate) fn tick() -> Instant {
    thread_local! {
        static TICKS: Cell<u32> = const { Cell::new(0) };
    }
    static START: OnceLock<Instant> = OnceLock::new();
    let ticks = TICKS.with(|ticks| ticks.replace(ticks.get() + 1));
    *START.get_or_init(Instant::now) + Duration::from_millis(ticks.into())
}

/// Endpoints up, each with this `max_requests` (0: unlimited).
pub(crate) fn pool_of(max_requests: &[u32], workers: usize) -> Arc<Pool> {
    let endpoints = max_requests.iter().map(|&max| endpoint(1, max)).collect();
    pool(settings(DEFAULT_POLICY), endpoints, workers)
}

pub(crate) fn pick(balancer: &mut Balancer) -> Option<Lease> {
    lease(ask(balancer, &Tried::new(), &mut Rng::with_seed(1)))
}

/// A pick for a request without key and session.
pub(crate) fn ask(balancer: &mut Balancer, tried: &Tried, random: &mut Rng) -> Pick {
    balancer.pick(&Wanted::plain(tried, tick()), random)
}

/// A pick that must come to an endpoint, and why it did.
pub(crate) fn pick_after(balancer: &mut Balancer, tried: &[usize]) -> (usize, Why) {
    match ask(balancer, &tried_of(tried), &mut Rng::with_seed(1)) {
        Pick::Endpoint(lease, why) => (lease.index(), why),
        Pick::Full => panic!("full"),
        Pick::CircuitOpen => panic!("circuit open"),
        Pick::Refused => panic!("refused"),
    }
}

pub(crate) fn poll(balancer: &mut Balancer, ticket: Ticket, waker: &Waker) -> Poll<Option<Lease>> {
    let (tried, mut cx) = (Tried::new(), Context::from_waker(waker));
    balancer
        .poll_turn(
            ticket,
            &Wanted::plain(&tried, tick()),
            &mut cx,
            &mut Rng::with_seed(1),
        )
        .map(lease)
}

pub(crate) fn tried_of(indices: &[usize]) -> Tried {
    let mut tried = Tried::new();
    for &index in indices {
        tried.insert(index);
    }
    tried
}

fn lease(pick: Pick) -> Option<Lease> {
    match pick {
        Pick::Endpoint(lease, _) => Some(lease),
        Pick::Full | Pick::CircuitOpen | Pick::Refused => None,
    }
}
