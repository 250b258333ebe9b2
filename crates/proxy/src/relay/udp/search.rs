//! Where a flow goes: an endpoint is picked, and there is a socket to it, or another one is tried.
//!
//! As for a connection, but nothing here waits: making a socket sends nothing.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Instant;

use balance::{Address, Endpoint, Lease, Pick, Why};
use config::Route;
use net::UdpSocket;

use super::Relay;
use crate::attempt::{Failed, Stop};
use crate::client::Peer;
use crate::client_address::ClientAddress;
use crate::failure::Failure;
use crate::record::{Attempt, Phase, Record, Relayed};
use crate::relay::flows::Ends;
use crate::relay::search;
use crate::upstream::connect_failure;

/// A flow's search, which begins anew where nobody listens.
pub(super) struct Search {
    pub(super) peer: Peer,
    pub(super) record: Record,
    pub(super) endpoint: search::Search,
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
        let record = Record::begin_relay(worker, &peer, relayed, Some(self.route));
        Search {
            endpoint: search::Search::new(worker, self.route, &peer.address, record.time),
            record,
            peer,
        }
    }

    /// A socket to an endpoint. `None` if there is none to be had; the record says why, if any was
    /// tried.
    pub(super) fn reach(&self, search: &mut Search, now: Instant) -> Option<(Attempt, UdpSocket)> {
        loop {
            let (lease, why) = self.pick(search, now)?;
            search.endpoint.picked(&self.worker, lease.index(), why);
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
        let (worker, pool) = (&self.worker, self.route().pool);
        let wanted = search.endpoint.wanted(now);
        let mut balancer = worker.balancers[pool].borrow_mut();
        match balancer.pick(&wanted, &mut worker.random.borrow_mut()) {
            Pick::Endpoint(lease, why) => Some((lease, why)),
            Pick::CircuitOpen => {
                worker.metrics.pools[pool].circuit_open.increment();
                None
            }
            Pick::Full | Pick::Refused => None,
        }
    }

    /// A socket to this endpoint, for `peer`. If there are no file descriptors left, or no ports, the
    /// flow that has been silent for longest makes room.
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
        let connect = || UdpSocket::connect(address, &self.options);
        let socket = match connect() {
            Err(error) if net::is_shortage(&error) && self.evict(now) => connect(),
            result => result,
        };
        socket.map_err(|error| connect_failure(&error))
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
        let record = &mut search.record;
        record.end_attempt(&self.worker, attempt, failed.outcome(), now);
        // It stands if no other endpoint is found.
        if let Stop::Failure(failure, by) = failed.stop() {
            record.failure = Some(failure);
            record.ended_by = Some(by);
        }
        search.endpoint.may_move(&self.worker, failed)
    }

    pub(super) fn route(&self) -> &Route {
        &self.worker.plan.snapshot.routes[self.route]
    }
}
