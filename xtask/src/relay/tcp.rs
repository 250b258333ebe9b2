//! The floor by TCP.
//!
//! Per request it does recv, send, recv, send, and shares one epoll_wait with whatever else is
//! ready. No load balancer that makes these four calls can cost less.
//!
//! By default each client connection has an endpoint connection of its own. With `once` a
//! client connection is closed after one exchange and endpoint connections are pooled: the same
//! work as a load balancer whose clients send one request per connection. It takes the first
//! bytes from an endpoint for the whole response, so it is for small ones only.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};

use crate::socket::{self, Interest, Poller, Transfer};

/// Relays connections from `listen` to `endpoints` in turn, for ever.
pub(super) fn run(listen: SocketAddr, endpoints: Vec<SocketAddr>, once: bool) -> Result<()> {
    let listener = TcpListener::bind(listen).with_context(|| format!("listening on {listen}"))?;
    listener.set_nonblocking(true)?;
    rustix::net::listen(&listener, 4096)?;
    Relay {
        poller: Poller::new()?,
        listener,
        idle: vec![Vec::new(); endpoints.len()],
        endpoints,
        next_endpoint: 0,
        once,
        sides: Vec::new(),
        buffer: vec![0; BUFFER_BYTES],
    }
    .serve()
}

struct Relay {
    poller: Poller,
    listener: TcpListener,
    endpoints: Vec<SocketAddr>,
    next_endpoint: usize,
    once: bool,
    /// Open connections of both kinds, by file descriptor.
    sides: Vec<Option<Side>>,
    /// Idle connections by endpoint, as indices into `sides`.
    idle: Vec<Vec<usize>>,
    buffer: Vec<u8>,
}

/// One connection, of a client or to an endpoint.
struct Side {
    stream: TcpStream,
    /// Which endpoint it leads to; `None` is a client.
    endpoint: Option<usize>,
    /// The side that gets what this one sends.
    other: Option<usize>,
    /// Bytes for this side that its socket did not take. While there are any, the other side is
    /// not read.
    unsent: Vec<u8>,
}

impl Relay {
    fn serve(mut self) -> Result<()> {
        self.poller.add(&self.listener, LISTENER, Interest::Read)?;
        let mut ready = Vec::new();
        loop {
            self.poller.wait(None, &mut ready)?;
            for &token in &ready {
                if token == LISTENER {
                    self.accept()?;
                } else {
                    self.advance(token as usize)?;
                }
            }
        }
    }

    fn accept(&mut self) -> Result<()> {
        for _ in 0..ACCEPTS_PER_EVENT {
            let Some(stream) = socket::accept(&self.listener)? else {
                return Ok(());
            };
            let client = self.keep(stream, None)?;
            if !self.once {
                self.join(client)?;
            }
        }
        Ok(())
    }

    /// A readable, writable or broken side. The event may be for an earlier connection with the
    /// same number: then nothing can be read, and nothing happens.
    fn advance(&mut self, index: usize) -> Result<()> {
        let Some(side) = self.sides.get(index).and_then(Option::as_ref) else {
            return Ok(());
        };
        if side.unsent.is_empty() {
            self.forward(index)
        } else {
            self.flush(index)
        }
    }

    fn forward(&mut self, from: usize) -> Result<()> {
        let Some(side) = &self.sides[from] else {
            return Ok(());
        };
        let count = match socket::read(&side.stream, &mut self.buffer) {
            Transfer::Moved(count) => count,
            Transfer::Blocked => return Ok(()),
            Transfer::Ended => {
                self.close(from);
                return Ok(());
            }
        };
        let to = match (side.other, side.endpoint) {
            (Some(other), _) => other,
            (None, None) => self.join(from)?,
            // An idle endpoint connection has nothing to say.
            (None, Some(_)) => {
                self.close(from);
                return Ok(());
            }
        };
        let Some(target) = &mut self.sides[to] else {
            return Ok(());
        };
        let sent = match socket::write(&target.stream, &self.buffer[..count]) {
            Transfer::Moved(sent) => sent,
            Transfer::Blocked => 0,
            Transfer::Ended => {
                self.close(from);
                return Ok(());
            }
        };
        if sent < count {
            target.unsent.extend_from_slice(&self.buffer[sent..count]);
            self.poller
                .modify(&target.stream, to as u64, Interest::Write)?;
            if let Some(side) = &self.sides[from] {
                self.poller
                    .modify(&side.stream, from as u64, Interest::Nothing)?;
            }
        } else if self.once {
            self.finish_exchange(from, to);
        }
        Ok(())
    }

    /// Sends what waits for `to`, then reads the other side again.
    fn flush(&mut self, to: usize) -> Result<()> {
        let Some(side) = &mut self.sides[to] else {
            return Ok(());
        };
        match socket::write(&side.stream, &side.unsent) {
            Transfer::Moved(sent) => drop(side.unsent.drain(..sent)),
            Transfer::Blocked => {}
            Transfer::Ended => {
                self.close(to);
                return Ok(());
            }
        }
        if !side.unsent.is_empty() {
            return Ok(());
        }
        self.poller
            .modify(&side.stream, to as u64, Interest::Read)?;
        if let Some(from) = side.other
            && let Some(source) = &self.sides[from]
        {
            self.poller
                .modify(&source.stream, from as u64, Interest::Read)?;
        }
        Ok(())
    }

    /// With `--once`: when an endpoint has answered, its connection goes to the pool and the
    /// client's is closed.
    fn finish_exchange(&mut self, from: usize, to: usize) {
        let Some(side) = &mut self.sides[from] else {
            return;
        };
        if let Some(endpoint) = side.endpoint {
            side.other = None;
            self.idle[endpoint].push(from);
            self.sides[to] = None;
        }
    }

    /// Gives a client the next endpoint in turn. Returns the index of that side.
    fn join(&mut self, client: usize) -> Result<usize> {
        let endpoint = self.next_endpoint;
        self.next_endpoint = (endpoint + 1) % self.endpoints.len();
        let upstream = match self.idle[endpoint].pop() {
            Some(upstream) => upstream,
            None => {
                let stream = socket::dial(self.endpoints[endpoint])?;
                self.keep(stream, Some(endpoint))?
            }
        };
        for (index, other) in [(client, upstream), (upstream, client)] {
            if let Some(side) = &mut self.sides[index] {
                side.other = Some(other);
            }
        }
        Ok(upstream)
    }

    fn keep(&mut self, stream: TcpStream, endpoint: Option<usize>) -> Result<usize> {
        let index = stream.as_raw_fd() as usize;
        self.poller.add(&stream, index as u64, Interest::Read)?;
        if self.sides.len() <= index {
            self.sides.resize_with(index + 1, || None);
        }
        self.sides[index] = Some(Side {
            stream,
            endpoint,
            other: None,
            unsent: Vec::new(),
        });
        Ok(index)
    }

    fn close(&mut self, index: usize) {
        let Some(side) = self.sides[index].take() else {
            return;
        };
        match (side.other, side.endpoint) {
            (Some(other), _) => self.sides[other] = None,
            (None, Some(endpoint)) => self.idle[endpoint].retain(|&idle| idle != index),
            (None, None) => {}
        }
    }
}

const LISTENER: u64 = u64::MAX;
const ACCEPTS_PER_EVENT: usize = 64;
const BUFFER_BYTES: usize = 256 * 1024;
