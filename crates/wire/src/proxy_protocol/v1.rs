//! Version 1: `PROXY TCP4 192.0.2.1 198.51.100.1 4711 443 CRLF`.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Addresses, BadHeader, Header, Read};

/// How a header begins.
pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// Longest line, its end included: two IPv6 addresses written in full.
const LINE_BYTES_MAX: usize = 107;

/// `rest` is what stands behind [`SIGNATURE`].
pub(super) fn read(rest: &[u8]) -> Result<Read, BadHeader> {
    let window = &rest[..rest.len().min(LINE_BYTES_MAX - SIGNATURE.len())];
    let Some(end) = window.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return if rest.len() < LINE_BYTES_MAX - SIGNATURE.len() {
            Ok(Read::Partial)
        } else {
            Err(BadHeader::Line)
        };
    };
    match &window[end..] {
        [b'\r', b'\n', ..] => {}
        [b'\r']
            if rest.len() == window.len() && window.len() < LINE_BYTES_MAX - SIGNATURE.len() =>
        {
            return Ok(Read::Partial);
        }
        _ => return Err(BadHeader::Line),
    }
    Ok(Read::Whole {
        consumed: SIGNATURE.len() + end + 2,
        header: Header {
            addresses: parse(&window[..end])?,
            ..Header::default()
        },
    })
}

/// What stands between `PROXY ` and the line end.
fn parse(line: &[u8]) -> Result<Option<Addresses>, BadHeader> {
    let line = str::from_utf8(line).map_err(|_| BadHeader::Line)?;
    let mut words = line.split(' ');
    let family = words.next();
    if family == Some("UNKNOWN") {
        // Whatever follows is to be ignored.
        return Ok(None);
    }
    let mut ip = || {
        let word = words.next()?;
        match family? {
            "TCP4" => word.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => word.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let ips = (ip(), ip());
    let ports = (words.next().and_then(port), words.next().and_then(port));
    match (ips, ports, words.next()) {
        ((Some(source), Some(destination)), (Some(from), Some(to)), None) => Ok(Some(Addresses {
            source: SocketAddr::new(source, from),
            destination: SocketAddr::new(destination, to),
        })),
        _ => Err(BadHeader::Line),
    }
}

/// A decimal number without sign and without leading zeros.
fn port(word: &str) -> Option<u16> {
    let is_plain = word == "0" || word.starts_with(|digit: char| matches!(digit, '1'..='9'));
    word.parse().ok().filter(|_| is_plain)
}

/// Appends a header of version 1. Of what `header` says only the addresses can be told.
pub fn write_v1(header: &Header, out: &mut Vec<u8>) {
    let Some(addresses) = header.addresses else {
        out.extend_from_slice(b"PROXY UNKNOWN\r\n");
        return;
    };
    let Addresses {
        source,
        destination,
    } = addresses.of_one_family();
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    let (from_port, to_port) = (source.port(), destination.port());
    write!(out, "PROXY {family} {from} {to} {from_port} {to_port}\r\n")
        .expect("a vector takes all that is written");
}
