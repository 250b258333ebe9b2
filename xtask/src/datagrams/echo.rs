//! Endpoints that send every datagram back.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use crate::socket::{Interest, Poller};

/// Two endpoints.
pub(super) struct Echoes {
    endpoints: Vec<Echo>,
    buffer: Vec<u8>,
}

struct Echo {
    socket: UdpSocket,
    /// Datagrams that were sent back.
    count: u64,
}

impl Echoes {
    pub(super) fn bind(poller: &Poller) -> io::Result<Self> {
        let mut endpoints = Vec::new();
        for token in 0..ENDPOINTS {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.set_nonblocking(true)?;
            poller.add(&socket, token, Interest::Read)?;
            endpoints.push(Echo { socket, count: 0 });
        }
        Ok(Self {
            endpoints,
            buffer: vec![0; BUFFER_BYTES],
        })
    }

    pub(super) fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let sockets = self.endpoints.iter();
        sockets.map(|echo| echo.socket.local_addr()).collect()
    }

    pub(super) fn counts(&self) -> Vec<u64> {
        self.endpoints.iter().map(|echo| echo.count).collect()
    }

    /// Sends back what has come to the endpoint with this token.
    pub(super) fn advance(&mut self, token: u64) {
        let echo = &mut self.endpoints[token as usize];
        for _ in 0..DATAGRAMS_PER_EVENT {
            let Ok((count, from)) = echo.socket.recv_from(&mut self.buffer) else {
                return;
            };
            let sent = echo.socket.send_to(&self.buffer[..count], from);
            echo.count += u64::from(sent.is_ok());
        }
    }
}

const ENDPOINTS: u64 = 2;
const DATAGRAMS_PER_EVENT: usize = 64;
const BUFFER_BYTES: usize = 64 * 1024;
