//! A port where connections neither succeed nor fail.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::peer::Peer;

/// A listener that never accepts and whose backlog is full: the kernel drops what knocks, as a
/// host does that went away without a word.
#[derive(Debug)]
pub struct Clogged {
    peer: Peer,
    _listener: Socket,
    _backlog: Vec<Socket>,
}

impl Clogged {
    /// A clogged port of 127.0.0.1.
    pub fn start() -> Self {
        Self::try_start().expect("a port of loopback can be listened on")
    }

    fn try_start() -> io::Result<Self> {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
        listener.listen(0)?;
        let address = listener.local_addr()?.as_socket();
        let peer = Peer::Tcp(address.ok_or(io::ErrorKind::AddrNotAvailable)?);
        let mut backlog = Vec::new();
        while let Ok(socket) = peer.connect(KNOCK) {
            backlog.push(socket);
        }
        Ok(Self {
            peer,
            _listener: listener,
            _backlog: backlog,
        })
    }
}

impl fmt::Display for Clogged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.peer.fmt(f)
    }
}

/// Longer than loopback takes to connect, shorter than a SYN is repeated.
const KNOCK: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clogged_port_lets_nobody_in_and_refuses_nobody() {
        let clogged = Clogged::start();
        let error = clogged.peer.connect(KNOCK).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
