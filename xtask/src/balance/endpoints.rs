//! The endpoints on their sockets: each reads requests into its [`Station`] and answers what
//! comes out. No CPU is burnt for work: it is time that passes.
//!
//! The path of a request says how long its work takes, in nanoseconds (`/10000000`), so that the
//! load and not the endpoint decides it, and all load balancers get the same work.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::Result;
use memchr::memmem;

use super::station::Station;
use super::trouble::{Condition, Conduct, ENDPOINTS, Trouble};
use crate::socket::{self, Interest, Poller, Transfer};

/// All endpoints and the connections to them.
pub(super) struct Endpoints {
    endpoints: Vec<Endpoint>,
    /// By file descriptor.
    connections: Vec<Option<Connection>>,
    /// Connections so far.
    accepted: u64,
}

struct Endpoint {
    address: SocketAddr,
    /// Holds the port even while nobody may connect; `None` once the endpoint has ended.
    socket: Option<TcpListener>,
    condition: Condition,
    station: Station<Job>,
    requests: u64,
    first_request: Option<Instant>,
}

struct Connection {
    stream: TcpStream,
    endpoint: usize,
    /// Tells it from others that have had the same file descriptor.
    number: u64,
    /// The beginning of a request head whose end has not arrived.
    head: Vec<u8>,
}

/// Work for the connection with this number, if it is still there.
struct Job {
    descriptor: usize,
    number: u64,
}

impl Endpoints {
    /// Endpoints as they are before the window begins.
    pub(super) fn listen(trouble: Trouble, poller: &Poller) -> Result<Self> {
        let mut endpoints = Vec::new();
        for index in 0..ENDPOINTS {
            let (socket, address) = socket::reserve()?;
            let condition = trouble.condition(index, f64::NEG_INFINITY, 0);
            let mut endpoint = Endpoint {
                address,
                socket: Some(socket),
                condition: Condition {
                    conduct: Conduct::Refuses,
                    slowness: 1.0,
                },
                station: Station::new(),
                requests: 0,
                first_request: None,
            };
            endpoint.change(condition, index, Instant::now(), poller)?;
            endpoints.push(endpoint);
        }
        Ok(Self {
            endpoints,
            connections: Vec::new(),
            accepted: 0,
        })
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let endpoints = self.endpoints.iter();
        endpoints.map(|endpoint| endpoint.address).collect()
    }

    /// Requests that each endpoint has got so far.
    pub(super) fn request_counts(&self) -> Vec<u64> {
        let endpoints = self.endpoints.iter();
        endpoints.map(|endpoint| endpoint.requests).collect()
    }

    /// When an endpoint got its first request.
    pub(super) fn first_request(&self, endpoint: usize) -> Option<Instant> {
        self.endpoints[endpoint].first_request
    }

    /// From now on an endpoint is like this.
    pub(super) fn set_condition(
        &mut self,
        index: usize,
        condition: Condition,
        now: Instant,
        poller: &Poller,
    ) -> Result<()> {
        let endpoint = &mut self.endpoints[index];
        if condition == endpoint.condition {
            return Ok(());
        }
        endpoint.change(condition, index, now, poller)?;
        if condition.conduct == Conduct::Refuses {
            for connection in &mut self.connections {
                connection.take_if(|connection| connection.endpoint == index);
            }
        }
        Ok(())
    }

    /// Answers all that is done.
    pub(super) fn answer_done(&mut self, now: Instant) {
        for endpoint in &mut self.endpoints {
            while let Some(job) = endpoint.station.poll_done(now) {
                let slot = &mut self.connections[job.descriptor];
                if slot
                    .as_ref()
                    .is_some_and(|there| there.number == job.number)
                {
                    answer(slot, RIGHT);
                }
            }
        }
    }

    /// Does what the event `token` is about.
    pub(super) fn advance(
        &mut self,
        token: u64,
        now: Instant,
        poller: &Poller,
        buffer: &mut [u8],
    ) -> Result<()> {
        match token.checked_sub(ENDPOINTS as u64) {
            None => self.accept(token as usize, poller),
            Some(descriptor) => {
                self.receive(descriptor as usize, now, buffer);
                Ok(())
            }
        }
    }

    fn accept(&mut self, index: usize, poller: &Poller) -> Result<()> {
        // It may have ended while its event waited for its turn.
        let Some(listener) = &self.endpoints[index].socket else {
            return Ok(());
        };
        while let Some(stream) = socket::accept(listener)? {
            let descriptor = stream.as_raw_fd() as usize;
            poller.add(&stream, (ENDPOINTS + descriptor) as u64, Interest::Read)?;
            if self.connections.len() <= descriptor {
                self.connections.resize_with(descriptor + 1, || None);
            }
            self.accepted += 1;
            self.connections[descriptor] = Some(Connection {
                stream,
                endpoint: index,
                number: self.accepted,
                head: Vec::new(),
            });
        }
        Ok(())
    }

    /// Reads a request. Nobody here pipelines, and requests have no bodies.
    fn receive(&mut self, descriptor: usize, now: Instant, buffer: &mut [u8]) {
        let Some(slot) = self.connections.get_mut(descriptor) else {
            return;
        };
        let Some(connection) = slot else {
            return;
        };
        match socket::read(&connection.stream, buffer) {
            Transfer::Moved(count) => connection.head.extend_from_slice(&buffer[..count]),
            Transfer::Blocked => return,
            Transfer::Ended => {
                *slot = None;
                return;
            }
        }
        if memmem::find(&connection.head, b"\r\n\r\n").is_none() {
            return;
        }
        let work = work_in(&connection.head);
        connection.head.clear();
        let number = connection.number;
        let endpoint = &mut self.endpoints[connection.endpoint];
        endpoint.requests += 1;
        endpoint.first_request.get_or_insert(now);
        if endpoint.condition.conduct == Conduct::Fails {
            answer(slot, FAILED);
        } else {
            endpoint
                .station
                .arrive(Job { descriptor, number }, work, now);
        }
    }
}

impl Endpoint {
    fn change(
        &mut self,
        condition: Condition,
        index: usize,
        now: Instant,
        poller: &Poller,
    ) -> Result<()> {
        let was_closed = self.condition.conduct == Conduct::Refuses;
        let is_closed = condition.conduct == Conduct::Refuses;
        if let Some(socket) = &self.socket
            && was_closed
            && !is_closed
        {
            socket::listen_on(socket)?;
            poller.add(socket, index as u64, Interest::Read)?;
        } else if is_closed && !was_closed {
            // What its process was working on goes with it.
            self.socket = None;
            self.station = Station::new();
        }
        self.station.set_slowness(condition.slowness, now);
        self.condition = condition;
        Ok(())
    }
}

/// Sends an answer. One this short fits in any socket that is read at all.
fn answer(slot: &mut Option<Connection>, bytes: &[u8]) {
    slot.take_if(|connection| {
        !matches!(socket::write(&connection.stream, bytes), Transfer::Moved(count) if count == bytes.len())
    });
}

/// How long the work of a request takes: its path, in nanoseconds.
fn work_in(head: &[u8]) -> Duration {
    let digits = head
        .iter()
        .skip_while(|&&byte| byte != b'/')
        .skip(1)
        .take_while(|byte| byte.is_ascii_digit());
    Duration::from_nanos(digits.fold(0, |sum: u64, digit| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    }))
}

const RIGHT: &[u8] = b"HTTP/1.1 200 OK\r\nServer: endpoint\r\nContent-Length: 0\r\n\r\n";
const FAILED: &[u8] =
    b"HTTP/1.1 500 Internal Server Error\r\nServer: endpoint\r\nContent-Length: 0\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_says_how_long_work_takes() {
        for (head, nanoseconds) in [
            ("GET /10000000 HTTP/1.1\r\n\r\n", 10_000_000),
            ("GET /0 HTTP/1.1\r\n\r\n", 0),
            ("GET / HTTP/1.1\r\n\r\n", 0),
            ("GET /healthz HTTP/1.1\r\n\r\n", 0),
        ] {
            assert_eq!(work_in(head.as_bytes()), Duration::from_nanos(nanoseconds));
        }
    }
}
