//! The floor by UDP, one datagram at a time.
//!
//! Each client has a socket of its own to its endpoint, so that answers find back. For a datagram
//! and its answer that is recv, send, recv, send. A load balancer that takes several datagrams
//! with one call can cost less.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};

use anyhow::{Context, Result};

use crate::socket::{self, Interest, Poller};

/// Relays datagrams from `listen` to `endpoints` in turn, for ever.
pub(super) fn run(listen: SocketAddr, endpoints: Vec<SocketAddr>) -> Result<()> {
    let listener = UdpSocket::bind(listen).with_context(|| format!("listening on {listen}"))?;
    listener.set_nonblocking(true)?;
    Relay {
        poller: Poller::new()?,
        listener,
        endpoints,
        indices: HashMap::new(),
        flows: Vec::new(),
        buffer: vec![0; BUFFER_BYTES],
    }
    .serve()
}

struct Relay {
    poller: Poller,
    listener: UdpSocket,
    endpoints: Vec<SocketAddr>,
    /// Which flow a client has, as an index into `flows`.
    indices: HashMap<SocketAddr, usize>,
    flows: Vec<Flow>,
    buffer: Vec<u8>,
}

/// A client, and the socket to its endpoint.
struct Flow {
    client: SocketAddr,
    upstream: UdpSocket,
}

impl Relay {
    fn serve(mut self) -> Result<()> {
        self.poller.add(&self.listener, LISTENER, Interest::Read)?;
        let mut ready = Vec::new();
        loop {
            self.poller.wait(None, &mut ready)?;
            for &token in &ready {
                if token == LISTENER {
                    self.ask()?;
                } else {
                    self.answer(token as usize);
                }
            }
        }
    }

    /// Passes on what clients have sent.
    fn ask(&mut self) -> io::Result<()> {
        for _ in 0..DATAGRAMS_PER_EVENT {
            let Ok((count, client)) = self.listener.recv_from(&mut self.buffer) else {
                break;
            };
            let index = match self.indices.get(&client) {
                Some(&index) => index,
                None => self.open(client)?,
            };
            // What cannot be sent is lost: so it is with UDP.
            let _ = self.flows[index].upstream.send(&self.buffer[..count]);
        }
        Ok(())
    }

    /// Passes on what an endpoint has sent.
    fn answer(&mut self, index: usize) {
        let flow = &self.flows[index];
        if let Ok(count) = flow.upstream.recv(&mut self.buffer) {
            let _ = self.listener.send_to(&self.buffer[..count], flow.client);
        }
    }

    /// Gives a client the next endpoint in turn. Returns the index of the flow.
    fn open(&mut self, client: SocketAddr) -> io::Result<usize> {
        let index = self.flows.len();
        let upstream = socket::dial_udp(self.endpoints[index % self.endpoints.len()])?;
        self.poller.add(&upstream, index as u64, Interest::Read)?;
        self.flows.push(Flow { client, upstream });
        self.indices.insert(client, index);
        Ok(index)
    }
}

const LISTENER: u64 = u64::MAX;
const DATAGRAMS_PER_EVENT: usize = 64;
const BUFFER_BYTES: usize = 64 * 1024;
