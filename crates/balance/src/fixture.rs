//! Pools for tests.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use fastrand::Rng;

use crate::{
    Address, Availability, Balancer, Check, DEFAULT_POLICY, Endpoint, Lease, OutlierSettings, Pick,
    Pool, PoolSettings, QueueSettings, RetrySettings, Ticket, Tried, Why,
};

pub(crate) fn settings(policy: &'static str) -> PoolSettings {
    PoolSettings {
        name: "app".into(),
        policy,
        check: Check::default(),
        outlier: OutlierSettings::default(),
        retry: RetrySettings::default(),
        queue: QueueSettings::default(),
        fail_closed: false,
    }
}

/// `max_requests` 0: unlimited.
pub(crate) fn endpoint(weight: u32, max_requests: u32) -> Endpoint {
    let address = Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 3000)));
    Endpoint::new("a", address, weight, NonZeroU32::new(max_requests))
}

/// Every endpoint up.
pub(crate) fn pool(settings: PoolSettings, endpoints: Vec<Endpoint>, workers: usize) -> Arc<Pool> {
    let pool = Pool::new(settings, endpoints, workers);
    for index in 0..pool.endpoints.len() {
        pool.set_availability(index, Availability::Up);
    }
    Arc::new(pool)
}

/// Endpoints up, each with this `max_requests` (0: unlimited).
pub(crate) fn pool_of(max_requests: &[u32], workers: usize) -> Arc<Pool> {
    let endpoints = max_requests.iter().map(|&max| endpoint(1, max)).collect();
    pool(settings(DEFAULT_POLICY), endpoints, workers)
}

pub(crate) fn pick(balancer: &mut Balancer) -> Option<Lease> {
    lease(balancer.pick(&Tried::new(), &mut Rng::with_seed(1)))
}

/// A pick that must come to an endpoint, and why it did.
pub(crate) fn pick_after(balancer: &mut Balancer, tried: &[usize]) -> (usize, Why) {
    match balancer.pick(&tried_of(tried), &mut Rng::with_seed(1)) {
        Pick::Endpoint(lease, why) => (lease.index(), why),
        Pick::Full => panic!("full"),
        Pick::Refused => panic!("refused"),
    }
}

pub(crate) fn poll(balancer: &mut Balancer, ticket: Ticket, waker: &Waker) -> Poll<Option<Lease>> {
    let (tried, mut cx) = (Tried::new(), Context::from_waker(waker));
    balancer
        .poll_turn(ticket, &tried, &mut cx, &mut Rng::with_seed(1))
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
        Pick::Full | Pick::Refused => None,
    }
}
