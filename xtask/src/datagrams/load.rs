//! Clients that send datagrams and want them back.

use std::collections::VecDeque;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::CLIENTS;
use crate::socket::{self, Interest, Poller};
use crate::traffic::{Outcome, Pace, Plan};

pub(super) struct Load {
    clients: Vec<UdpSocket>,
    /// Clients that may send, the next one first. One that may send several stands here as often.
    free: VecDeque<usize>,
    /// Datagrams on their way.
    on_their_way: VecDeque<Sent>,
    /// The number of the first of `on_their_way`.
    first_number: u64,
    in_flight: usize,
    /// True if each client sends one datagram, and then none.
    is_held: bool,
    is_measured: bool,
    datagram: Vec<u8>,
    buffer: Vec<u8>,
    outcome: Outcome,
}

/// A datagram that was sent.
struct Sent {
    client: usize,
    at: Instant,
    is_back: bool,
}

impl Load {
    pub(super) fn new(plan: &Plan, poller: &Poller) -> Result<Self> {
        let bytes = plan.answer_bytes as usize;
        ensure!(
            bytes >= NUMBER_BYTES,
            "a datagram must have room for its number"
        );
        let mut clients = Vec::new();
        for index in 0..plan.connections {
            let client = socket::dial_udp(plan.target)?;
            poller.add(&client, CLIENTS + index as u64, Interest::Read)?;
            clients.push(client);
        }
        let is_held = plan.pace == Pace::Idle;
        let each = if is_held {
            1
        } else {
            (IN_FLIGHT_MAX / plan.connections).max(1)
        };
        Ok(Self {
            free: (0..each).flat_map(|_| 0..plan.connections).collect(),
            clients,
            on_their_way: VecDeque::new(),
            first_number: 0,
            in_flight: 0,
            is_held,
            is_measured: false,
            datagram: vec![b'x'; bytes],
            buffer: vec![0; bytes + 1],
            outcome: Outcome::default(),
        })
    }

    /// From now on datagrams that come back count.
    pub(super) fn begin_window(&mut self) {
        self.is_measured = true;
    }

    /// True if every client has had its answer, or never will.
    pub(super) fn is_settled(&self) -> bool {
        self.free.is_empty() && self.in_flight == 0
    }

    pub(super) fn outcome(&self) -> Outcome {
        self.outcome.clone()
    }

    /// Sends what may be sent at `now`.
    pub(super) fn send(&mut self, now: Instant) {
        self.forget(now);
        while self.in_flight < IN_FLIGHT_MAX
            && let Some(client) = self.free.pop_front()
        {
            let number = self.first_number + self.on_their_way.len() as u64;
            self.datagram[..NUMBER_BYTES].copy_from_slice(&number.to_ne_bytes());
            // One that is not sent does not come back, and is noticed then.
            let _ = self.clients[client].send(&self.datagram);
            self.in_flight += 1;
            self.on_their_way.push_back(Sent {
                client,
                at: now,
                is_back: false,
            });
        }
    }

    /// Takes what has come back to `client`.
    pub(super) fn receive(&mut self, client: usize) {
        // A socket of an earlier load may still be reported once.
        let Some(socket) = self.clients.get(client) else {
            return;
        };
        let Ok(count) = socket.recv(&mut self.buffer) else {
            return;
        };
        if !self.is_right(client, count) {
            self.record_wrong("a datagram that nobody sent, or not so");
            return;
        }
        self.in_flight -= 1;
        self.outcome.requests_in_all += 1;
        self.outcome.requests += u64::from(self.is_measured);
        if !self.is_held {
            self.free.push_back(client);
        }
    }

    /// True if the buffer holds a datagram that `client` awaits. From now on it does not.
    fn is_right(&mut self, client: usize, count: usize) -> bool {
        let Some((number, rest)) = self.buffer[..count].split_first_chunk() else {
            return false;
        };
        let index = u64::from_ne_bytes(*number).wrapping_sub(self.first_number);
        let sent = usize::try_from(index)
            .ok()
            .and_then(|index| self.on_their_way.get_mut(index));
        let Some(sent) = sent.filter(|sent| sent.client == client && !sent.is_back) else {
            return false;
        };
        sent.is_back = rest == &self.datagram[NUMBER_BYTES..];
        sent.is_back
    }

    /// Forgets datagrams that are back, and those that were lost.
    fn forget(&mut self, now: Instant) {
        while let Some(sent) = self.on_their_way.front() {
            if !sent.is_back {
                if now.duration_since(sent.at) < PATIENCE {
                    return;
                }
                self.in_flight -= 1;
                if !self.is_held {
                    self.free.push_back(sent.client);
                }
                self.record_wrong("a datagram was lost");
            }
            self.on_their_way.pop_front();
            self.first_number += 1;
        }
    }

    fn record_wrong(&mut self, what: &str) {
        self.outcome.wrong += 1;
        self.outcome.first_wrong.get_or_insert(what.to_owned());
    }
}

const NUMBER_BYTES: usize = 8;
/// Datagrams on their way at a time, of all clients. Linux keeps 256 small ones for a socket that is
/// not read: with fewer, nothing is lost while a load balancer looks elsewhere.
const IN_FLIGHT_MAX: usize = 192;
/// A datagram that is not back by then is lost.
const PATIENCE: Duration = Duration::from_millis(500);
