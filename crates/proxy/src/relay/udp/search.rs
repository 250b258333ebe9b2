//! Where a flow goes: an endpoint is picked, and there is a socket to it, or another one is tried.
//!
//! As for a connection, but nothing here waits: making a socket sends nothing.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Instant;

use balance::{Address, Endpoint, Lease, Pick, Tried, Wanted, Why, hash_key};
use config::Route;
use message::RequestHead;
use net::UdpSocket;

use super::Relay;
use crate::attempt::{Failed, Retryable, Stop};
use crate::client::Peer;
use crate::client_address::ClientAddress;
use crate::failure::Failure;
use crate::key;
use crate::record::{Attempt, Phase, Record, Relayed};
use crate::relay::flows::Ends;
use crate::upstream::connect_failure;

/// A flow's search, which begins anew where nobody listens.
pub(super) struct Search {
    pub(super) peer: Peer,
    pub(super) record: Record,
    pub(super) tried: Tried,
    /// Extra attempts.
    retries: u32,
}

impl Relay {
    /// What the client has sent to.
    pub(super) fn destination(&self, ends: &Ends) -> SocketAddr {
        let ip = ends.local.unwrap_or(self.address.ip());
        SocketAddr::new(ip.to_canonical(), self.address.port())
    }

    pub(super) fn search(&self, ends: &Ends) -> Search {
        let worker = &self.worker;
        let peer = Peer {
            address: ClientAddress::new(Some(ends.client)),
            listener: self.listener,
            tls: None,
            proxied: None,
            destination: Some(self.destination(ends)),
            introduction: RefCell::default(),
        };
        let relayed = Relayed {
            protocol: "udp",
            ..Relayed::default()
        };
        Search {
            record: Record::begin_relay(worker, &peer, relayed, Some(self.route)),
            peer,
            tried: Tried::new(),
            retries: 0,
        }
    }

    /// A socket to an endpoint. `None` if there is none to be had; the record says why, if any was
    /// tried.
    pub(super) fn reach(&self, search: &mut Search, now: Instant) -> Option<(Attempt, UdpSocket)> {
        loop {
            let (lease, why) = self.pick(search, now)?;
            search.tried.insert(lease.index());
            let record = &mut search.record;
            record.phase = Phase::Connect;
            let attempt = record.begin_attempt(&self.worker, lease, why, None, now);
            match self.connect(attempt.lease.endpoint(), &search.peer, now) {
                Ok(socket) => {
                    record.sending(&self.worker, &attempt);
                    record.phase = Phase::Response;
                    (record.failure, record.ended_by) = (None, None);
                    return Some((attempt, socket));
                }
                Err(failure) => {
                    let failed = Failed::NotConnected(failure);
                    if !self.fail(search, &attempt, failed, now) {
                        return None;
                    }
                }
            }
        }
    }

    /// Picks an endpoint. There is no queue: who comes when all are full is turned away, as by a
    /// full socket.
    fn pick(&self, search: &Search, now: Instant) -> Option<(Lease, Why)> {
        let (worker, index) = (&self.worker, self.route().pool);
        let (pool, metrics) = (&worker.plan.pools[index], &worker.metrics.pools[index]);
        // What a request could bring is not there.
        let request = RequestHead::default();
        let client = &search.peer.address;
        let key = pool.key().and_then(|key| key::of(key, &request, client));
        let time = search.record.time;
        let stickiness = &worker.plan.stickiness;
        let wanted = Wanted {
            tried: &search.tried,
            now,
            class: self.route,
            key: key.map(hash_key),
            session: stickiness
                .visit(index, pool, &request, client, time)
                .session,
        };
        let mut balancer = worker.balancers[index].borrow_mut();
        match balancer.pick(&wanted, &mut worker.random.borrow_mut()) {
            Pick::Endpoint(lease, why) => {
                match why {
                    Why::Sticky => metrics.sticky_hits.increment(),
                    Why::Moved => metrics.sticky_misses.increment(),
                    _ => {}
                }
                Some((lease, why))
            }
            Pick::CircuitOpen => {
                metrics.circuit_open.increment();
                None
            }
            Pick::Full | Pick::Refused => None,
        }
    }

    /// A socket to this endpoint, for `peer`. If there are no file descriptors left, the flow that
    /// has been silent for longest makes room.
    fn connect(
        &self,
        endpoint: &Endpoint,
        peer: &Peer,
        now: Instant,
    ) -> Result<UdpSocket, Failure> {
        let Address::Tcp(address) = endpoint.address else {
            return Err(Failure::DestinationUnroutable);
        };
        if peer.destination == Some(address) {
            // Our own listener: what is sent there comes back to us as from a new client.
            return Err(Failure::DestinationUnroutable);
        }
        let connect = || {
            let socket = UdpSocket::connect(address, &self.options);
            socket.map_err(|error| connect_failure(&error))
        };
        match connect() {
            Err(Failure::InternalError) if self.evict(now) => connect(),
            result => result,
        }
    }

    /// The attempt has failed before the endpoint has sent anything. True if there may be another
    /// one: what was sent has reached nobody, so sending it again adds no load.
    pub(super) fn fail(
        &self,
        search: &mut Search,
        attempt: &Attempt,
        failed: Failed,
        now: Instant,
    ) -> bool {
        let (worker, route) = (&self.worker, self.route());
        let record = &mut search.record;
        record.end_attempt(worker, attempt, failed.outcome(), now);
        let may_retry = failed.retryable(&route.retry.on) == Retryable::Always
            && search.retries < route.retry.attempts;
        // It stands if no other endpoint is found.
        if let Stop::Failure(failure, by) = failed.stop() {
            record.failure = Some(failure);
            record.ended_by = Some(by);
        }
        if may_retry {
            search.retries += 1;
            worker.metrics.pools[route.pool].retries.increment();
        }
        may_retry
    }

    pub(super) fn route(&self) -> &Route {
        &self.worker.plan.snapshot.routes[self.route]
    }
}
