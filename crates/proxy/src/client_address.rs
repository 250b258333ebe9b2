//! Who a client is, written out.

use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr, SocketAddrV4};

/// A client's address, and the same as text: `192.0.2.1:4711`, `[2001:db8::1]:4711`, or `unix`;
/// `192.0.2.1` or `2001:db8::1` where no port is known.
#[derive(Debug, Clone)]
pub(crate) struct ClientAddress {
    /// Long enough for every IPv6 socket address.
    text: [u8; 64],
    length: u8,
    /// Where the IP address stands, without brackets; `(0, 0)` if there is none.
    ip: (u8, u8),
    /// With port 0 where none is known; `None` for a Unix socket.
    socket: Option<SocketAddr>,
}

impl ClientAddress {
    /// The other end of a connection; `None` for a Unix socket.
    pub(crate) fn new(peer: Option<SocketAddr>) -> Self {
        let Some(peer) = peer else {
            let mut unix = Self::blank(None);
            unix.write(|text| text.write_all(b"unix"));
            return unix;
        };
        // A dual-stack socket shows IPv4 clients as `::ffff:1.2.3.4`. Without the scope, which
        // means something on this machine only.
        let socket = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let mut address = Self::blank(Some(socket));
        let length = address.write(|text| match socket {
            // By hand, because formatting is most of what a short connection would cost.
            SocketAddr::V4(socket) => write_ipv4(text, socket),
            SocketAddr::V6(socket) => write!(text, "{socket}"),
        });
        let colon = address.text[..length]
            .iter()
            .rposition(|&byte| byte == b':')
            .unwrap_or(length);
        let bracket = u8::from(socket.is_ipv6());
        address.ip = (bracket, colon as u8 - bracket);
        address
    }

    /// A client of which a proxy has told nothing but the IP address.
    pub(crate) fn without_port(ip: IpAddr) -> Self {
        let ip = ip.to_canonical();
        let mut address = Self::blank(Some(SocketAddr::new(ip, 0)));
        let length = address.write(|text| write!(text, "{ip}"));
        address.ip = (0, length as u8);
        address
    }

    fn blank(socket: Option<SocketAddr>) -> Self {
        Self {
            text: [0; 64],
            length: 0,
            ip: (0, 0),
            socket,
        }
    }

    /// Writes the text. Returns its length.
    fn write(&mut self, write: impl FnOnce(&mut &mut [u8]) -> io::Result<()>) -> usize {
        let mut rest = &mut self.text[..];
        // 64 bytes hold `[8*4 + 7]:port`, so writing cannot fail.
        let _ = write(&mut rest);
        let length = 64 - rest.len();
        self.length = length as u8;
        length
    }

    /// Address and port, if it is known.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..self.length as usize]).unwrap_or_default()
    }

    /// The IP address alone, without brackets; `unknown` for a Unix socket (RFC 7239 §6.2).
    pub(crate) fn ip(&self) -> &[u8] {
        match self.ip {
            (_, 0) => b"unknown",
            (start, end) => &self.text[start as usize..end as usize],
        }
    }

    /// False for a Unix socket.
    pub(crate) fn has_ip(&self) -> bool {
        self.socket.is_some()
    }

    /// True if the IP address needs brackets in a `Forwarded` node (RFC 7239 §6).
    pub(crate) fn is_ipv6(&self) -> bool {
        self.socket.is_some_and(|socket| socket.is_ipv6())
    }

    /// Address and port as numbers, port 0 where it is not known; `None` for a Unix socket.
    pub(crate) fn socket(&self) -> Option<SocketAddr> {
        self.socket
    }
}

fn write_ipv4(out: &mut &mut [u8], address: SocketAddrV4) -> io::Result<()> {
    let mut digits = itoa::Buffer::new();
    for (octet, separator) in address.ip().octets().into_iter().zip([".", ".", ".", ":"]) {
        out.write_all(digits.format(octet).as_bytes())?;
        out.write_all(separator.as_bytes())?;
    }
    out.write_all(digits.format(address.port()).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_with_and_without_its_port() {
        for (peer, text, ip) in [
            ("1.2.3.4:5", "1.2.3.4:5", "1.2.3.4"),
            ("[2001:db8::1]:65535", "[2001:db8::1]:65535", "2001:db8::1"),
            ("[::ffff:1.2.3.4]:5", "1.2.3.4:5", "1.2.3.4"),
        ] {
            let address = ClientAddress::new(Some(peer.parse().unwrap()));
            assert_eq!(address.as_str(), text);
            assert_eq!(address.ip(), ip.as_bytes());
            assert_eq!(address.is_ipv6(), ip.contains(':'));
        }
        let longest = "[1111:2222:3333:4444:5555:6666:7777:8888%4294967295]:65535";
        let address = ClientAddress::new(Some(longest.parse().unwrap()));
        assert_eq!(
            address.as_str(),
            "[1111:2222:3333:4444:5555:6666:7777:8888]:65535"
        );
        for (ip, text) in [
            ("1.2.3.4", "1.2.3.4"),
            ("2001:db8::1", "2001:db8::1"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
        ] {
            let address = ClientAddress::without_port(ip.parse().unwrap());
            assert_eq!(address.as_str(), text);
            assert_eq!(address.ip(), text.as_bytes());
            assert_eq!(address.is_ipv6(), text.contains(':'));
        }
        assert_eq!(ClientAddress::new(None).as_str(), "unix");
        assert_eq!(ClientAddress::new(None).ip(), b"unknown");
    }
}
