//! Who a client is, written out.

use std::io::{self, Write as _};
use std::net::{SocketAddr, SocketAddrV4};

/// A client's address as text: `192.0.2.1:4711`, `[2001:db8::1]:4711`, or `unix`.
pub(crate) struct ClientAddress {
    /// Long enough for every IPv6 socket address with a scope.
    text: [u8; 64],
    length: u8,
    /// Where the IP address stands, without brackets; `(0, 0)` if there is none.
    ip: (u8, u8),
}

impl ClientAddress {
    pub(crate) fn new(peer: Option<SocketAddr>) -> Self {
        let mut text = [0; 64];
        let mut rest = &mut text[..];
        // 64 bytes hold `[8*4 + 7]:port`, so writing cannot fail.
        let address = match peer {
            // A dual-stack socket shows IPv4 clients as `::ffff:1.2.3.4`.
            Some(address) => SocketAddr::new(address.ip().to_canonical(), address.port()),
            None => {
                let _ = rest.write(b"unix");
                return Self {
                    text,
                    length: 4,
                    ip: (0, 0),
                };
            }
        };
        let _ = match address {
            // By hand, because formatting is most of what a short connection would cost.
            SocketAddr::V4(address) => write_ipv4(&mut rest, address),
            // Without the scope, which means something on this machine only.
            SocketAddr::V6(address) => write!(rest, "[{}]:{}", address.ip(), address.port()),
        };
        let length = 64 - rest.len();
        let colon = text[..length]
            .iter()
            .rposition(|&byte| byte == b':')
            .unwrap_or(length);
        let bracket = u8::from(address.is_ipv6());
        let ip = (bracket, colon as u8 - bracket);
        Self {
            text,
            length: length as u8,
            ip,
        }
    }

    /// Address and port.
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
        self.ip.1 != 0
    }

    /// True if the IP address needs brackets in a `Forwarded` node (RFC 7239 §6).
    pub(crate) fn is_ipv6(&self) -> bool {
        self.ip.0 == 1
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
        }
        assert_eq!(ClientAddress::new(None).as_str(), "unix");
        assert_eq!(ClientAddress::new(None).ip(), b"unknown");
    }
}
