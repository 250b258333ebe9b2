//! The PROXY protocol: what a proxy in front says, before the first byte of the client, of the
//! connection that it has accepted.
//!
//! [`read`] finds a header of either version at the beginning of a connection (`v1` is a line of
//! text, `v2` is binary), [`write_v1`] and [`write_v2`] write one. Both versions say who connected
//! to whom; version 2 adds what is known of TLS, and can stand before a datagram
//! ([`write_v2_datagram`]).
//!
//! Absent on purpose: whom to believe. Whoever can send a header can be anybody, so it is asked
//! for only where the peer is trusted.
//!
//! Source: Willy Tarreau, "The PROXY protocol, versions 1 & 2", haproxy `doc/proxy-protocol.txt`.

mod crc32c;
mod v1;
mod v2;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

pub use v1::write_v1;
pub use v2::{write_v2, write_v2_datagram};

/// Longest header. The protocol could say 64 KiB; what senders put into one is a few hundred bytes.
pub const HEADER_BYTES_MAX: usize = 4096;

/// What a proxy says of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// Who connected to whom. `None`: the proxy itself did (LOCAL), or it does not know (UNKNOWN),
    /// or it was not by IP: the addresses of the connection itself hold.
    pub addresses: Option<Addresses>,
    /// The application protocol that was agreed on, such as `h2`.
    pub alpn: Option<Box<[u8]>>,
    /// The host name that the client asked for (SNI).
    pub authority: Option<Box<str>>,
    /// The client speaks TLS with the proxy.
    pub tls: Option<Tls>,
}

/// Both ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The client.
    pub source: SocketAddr,
    /// What it connected to.
    pub destination: SocketAddr,
}

/// What a proxy says of the TLS between the client and it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Such as `TLSv1.3`.
    pub version: Option<Box<str>>,
    /// Such as `TLS_AES_128_GCM_SHA256`.
    pub cipher: Option<Box<str>>,
    /// The client showed a certificate, and it was verified.
    pub has_verified_certificate: bool,
    /// The common name in that certificate.
    pub common_name: Option<Box<str>>,
}

/// What stands at the beginning of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// Perhaps a header; more bytes will tell.
    Partial,
    /// No header: the bytes are the client's own.
    Absent,
    /// A header.
    Whole {
        /// Its length: what follows is the client's.
        consumed: usize,
        /// What it says.
        header: Header,
    },
}

/// A header that breaks a rule. What comes behind it cannot be told from it, so its connection is
/// of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHeader {
    /// Version 1: more than 107 bytes without an end, or a word that has no place there.
    #[error("the PROXY line is malformed")]
    Line,
    /// Neither version 1 nor version 2.
    #[error("the version of the PROXY header is not supported")]
    Version,
    /// Neither LOCAL nor PROXY.
    #[error("the command of the PROXY header is unknown")]
    Command,
    /// A reserved address family or transport.
    #[error("the address family of the PROXY header is unknown")]
    Family,
    /// Longer than [`HEADER_BYTES_MAX`].
    #[error("the PROXY header is too long")]
    TooLong,
    /// Addresses, or a part behind them, that reach beyond the end of the header.
    #[error("a part of the PROXY header is longer than the header")]
    Truncated,
    /// A part that stands there twice.
    #[error("a part of the PROXY header is repeated")]
    Repeated,
    /// A name that is not UTF-8.
    #[error("a name in the PROXY header is not UTF-8")]
    Text,
    /// CRC-32C does not match.
    #[error("the checksum of the PROXY header is wrong")]
    Checksum,
}

/// Looks at all that has arrived on a connection. O(length of the header), and nothing is copied
/// before it is whole.
///
/// # Errors
/// The bytes begin like a header and break its rules.
pub fn read(bytes: &[u8]) -> Result<Read, BadHeader> {
    if let Some(rest) = bytes.strip_prefix(v1::SIGNATURE) {
        return v1::read(rest);
    }
    if let Some(rest) = bytes.strip_prefix(v2::SIGNATURE) {
        return v2::read(bytes, rest);
    }
    let may_become = |signature: &[u8]| signature.starts_with(bytes);
    if may_become(v1::SIGNATURE) || may_become(v2::SIGNATURE) {
        return Ok(Read::Partial);
    }
    Ok(Read::Absent)
}

impl Addresses {
    /// Both as IPv4 or both as IPv6, as a header can say it: where they differ, the IPv4 address is
    /// written as an IPv6 one (`::ffff:192.0.2.1`, RFC 4291 §2.5.5.2).
    fn of_one_family(self) -> Self {
        let canonical =
            |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let (source, destination) = (canonical(self.source), canonical(self.destination));
        if source.is_ipv4() == destination.is_ipv4() {
            return Self {
                source,
                destination,
            };
        }
        let mapped = |address: SocketAddr| match address.ip() {
            IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
            IpAddr::V6(_) => address,
        };
        Self {
            source: mapped(source),
            destination: mapped(destination),
        }
    }
}
