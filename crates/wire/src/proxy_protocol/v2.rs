//! Version 2: sixteen bytes, the addresses, and parts of a type, a length and a value each (TLV).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::crc32c::crc32c;
use super::{Addresses, BadHeader, HEADER_BYTES_MAX, Header, Read, Tls};

/// How a header begins: nothing that a server of another protocol would answer.
pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and transport, length of the rest.
const FIXED_BYTES: usize = 16;

const VERSION: u8 = 0x2;
const LOCAL: u8 = 0x0;
const PROXY: u8 = 0x1;

const UNSPECIFIED: u8 = 0x0;
const IPV4: u8 = 0x1;
const IPV6: u8 = 0x2;
const UNIX: u8 = 0x3;
const STREAM: u8 = 0x1;
const DATAGRAM: u8 = 0x2;

const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
const SSL: u8 = 0x20;

/// Parts of the part [`SSL`].
const SSL_VERSION: u8 = 0x21;
const SSL_COMMON_NAME: u8 = 0x22;
const SSL_CIPHER: u8 = 0x23;

/// Bits of the first byte of [`SSL`]: there is TLS; the client showed a certificate on this
/// connection; it did so in this session.
const CLIENT_SSL: u8 = 0x01;
const CLIENT_CERT_CONNECTION: u8 = 0x02;
const CLIENT_CERT_SESSION: u8 = 0x04;

/// Longest value that is written. A longer one is left out: cut short it would be another.
const VALUE_BYTES_MAX: usize = 512;

/// `bytes` is all that has arrived, `rest` what stands behind [`SIGNATURE`].
pub(super) fn read(bytes: &[u8], rest: &[u8]) -> Result<Read, BadHeader> {
    let [
        version_and_command,
        family_and_transport,
        high,
        low,
        rest @ ..,
    ] = rest
    else {
        return Ok(Read::Partial);
    };
    if version_and_command >> 4 != VERSION {
        return Err(BadHeader::Version);
    }
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let consumed = FIXED_BYTES + length;
    if consumed > HEADER_BYTES_MAX {
        return Err(BadHeader::TooLong);
    }
    let is_local = match version_and_command & 0xf {
        LOCAL => true,
        PROXY => false,
        _ => return Err(BadHeader::Command),
    };
    let (family, transport) = (family_and_transport >> 4, family_and_transport & 0xf);
    if family > UNIX || transport > DATAGRAM {
        return Err(BadHeader::Family);
    }
    let Some(body) = rest.get(..length) else {
        return Ok(Read::Partial);
    };
    // What LOCAL or an unspecified family is followed by has no meaning.
    let header = if is_local || family == UNSPECIFIED || transport == UNSPECIFIED {
        Header::default()
    } else {
        let (addresses, parts) = read_addresses(family, body)?;
        read_parts(&bytes[..consumed], parts, addresses)?
    };
    Ok(Read::Whole { consumed, header })
}

fn read_addresses(family: u8, body: &[u8]) -> Result<(Option<Addresses>, &[u8]), BadHeader> {
    Ok(match family {
        IPV4 => {
            let (block, rest) = take::<12>(body)?;
            let [a, b, c, d, e, f, g, h, ports @ ..] = *block;
            let ips = (Ipv4Addr::new(a, b, c, d), Ipv4Addr::new(e, f, g, h));
            (Some(addresses(ips, ports)), rest)
        }
        IPV6 => {
            let (source, rest) = take::<16>(body)?;
            let (destination, rest) = take::<16>(rest)?;
            let (ports, rest) = take::<4>(rest)?;
            let ips = (Ipv6Addr::from(*source), Ipv6Addr::from(*destination));
            (Some(addresses(ips, *ports)), rest)
        }
        // Two paths of 108 bytes.
        _ => (None, take::<216>(body)?.1),
    })
}

fn addresses<I: Into<IpAddr>>((source, destination): (I, I), ports: [u8; 4]) -> Addresses {
    let [a, b, c, d] = ports;
    Addresses {
        source: SocketAddr::new(source.into(), u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(destination.into(), u16::from_be_bytes([c, d])),
    }
}

/// `whole` is the header from its first byte, `rest` what stands behind the addresses.
fn read_parts(
    whole: &[u8],
    mut rest: &[u8],
    addresses: Option<Addresses>,
) -> Result<Header, BadHeader> {
    let mut header = Header {
        addresses,
        ..Header::default()
    };
    let mut has_checksum = false;
    while !rest.is_empty() {
        let (kind, value, behind) = take_part(rest)?;
        rest = behind;
        match kind {
            ALPN => set(&mut header.alpn, value.into())?,
            AUTHORITY => set(&mut header.authority, text(value)?)?,
            SSL => {
                if let Some(tls) = read_tls(value)? {
                    set(&mut header.tls, tls)?;
                }
            }
            CRC32C if has_checksum => return Err(BadHeader::Repeated),
            CRC32C => {
                has_checksum = true;
                let value: [u8; 4] = value.try_into().map_err(|_| BadHeader::Checksum)?;
                // The sum is that of the header with zeros in its place.
                let behind = &whole[whole.len() - rest.len()..];
                let before = &whole[..whole.len() - rest.len() - value.len()];
                if crc32c(&[before, &[0; 4], behind]) != u32::from_be_bytes(value) {
                    return Err(BadHeader::Checksum);
                }
            }
            // NOOP, UNIQUE_ID, NETNS, and what is not known.
            _ => {}
        }
    }
    Ok(header)
}

/// `None` if the client does not speak TLS.
fn read_tls(value: &[u8]) -> Result<Option<Tls>, BadHeader> {
    let ([client, verify @ ..], mut rest) = take::<5>(value)?;
    let is_tls = client & CLIENT_SSL != 0;
    let shows_certificate = client & (CLIENT_CERT_CONNECTION | CLIENT_CERT_SESSION) != 0;
    let mut tls = Tls {
        has_verified_certificate: shows_certificate && *verify == [0; 4],
        ..Tls::default()
    };
    while !rest.is_empty() {
        let (kind, value, behind) = take_part(rest)?;
        rest = behind;
        match kind {
            SSL_VERSION => set(&mut tls.version, text(value)?)?,
            SSL_CIPHER => set(&mut tls.cipher, text(value)?)?,
            SSL_COMMON_NAME => set(&mut tls.common_name, text(value)?)?,
            // Algorithms of the signature and of the key, and what is not known.
            _ => {}
        }
    }
    Ok(is_tls.then_some(tls))
}

/// Type, value, and what comes behind.
fn take_part(rest: &[u8]) -> Result<(u8, &[u8], &[u8]), BadHeader> {
    let ([kind, high, low], rest) = take::<3>(rest)?;
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let (value, behind) = rest.split_at_checked(length).ok_or(BadHeader::Truncated)?;
    Ok((*kind, value, behind))
}

fn take<const COUNT: usize>(bytes: &[u8]) -> Result<(&[u8; COUNT], &[u8]), BadHeader> {
    bytes.split_first_chunk().ok_or(BadHeader::Truncated)
}

/// Of two values nobody knows which one the sender meant.
fn set<T>(place: &mut Option<T>, value: T) -> Result<(), BadHeader> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(BadHeader::Repeated),
    }
}

fn text(value: &[u8]) -> Result<Box<str>, BadHeader> {
    str::from_utf8(value)
        .map(Box::from)
        .map_err(|_| BadHeader::Text)
}

/// Appends a header of version 2, for a connection. Without addresses it is LOCAL, and says nothing
/// else.
pub fn write_v2(header: &Header, out: &mut Vec<u8>) {
    write(header, STREAM, out);
}

/// As [`write_v2`], for a datagram, which comes behind it.
pub fn write_v2_datagram(header: &Header, out: &mut Vec<u8>) {
    write(header, DATAGRAM, out);
}

fn write(header: &Header, transport: u8, out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend_from_slice(SIGNATURE);
    let Some(addresses) = header.addresses else {
        out.extend_from_slice(&[VERSION << 4 | LOCAL, UNSPECIFIED, 0, 0]);
        return;
    };
    let Addresses {
        source,
        destination,
    } = addresses.of_one_family();
    let family = if source.is_ipv4() { IPV4 } else { IPV6 };
    out.extend_from_slice(&[VERSION << 4 | PROXY, family << 4 | transport, 0, 0]);
    for ip in [source.ip(), destination.ip()] {
        match ip {
            IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
        }
    }
    for port in [source.port(), destination.port()] {
        out.extend_from_slice(&port.to_be_bytes());
    }
    write_value(ALPN, header.alpn.as_deref(), out);
    write_value(AUTHORITY, bytes(&header.authority), out);
    if let Some(tls) = &header.tls {
        write_tls(tls, out);
    }
    write_length(begin + FIXED_BYTES, out);
}

fn write_tls(tls: &Tls, out: &mut Vec<u8>) {
    out.extend_from_slice(&[SSL, 0, 0]);
    let begin = out.len();
    let (client, verify) = if tls.has_verified_certificate {
        let certificate = CLIENT_CERT_CONNECTION | CLIENT_CERT_SESSION;
        (CLIENT_SSL | certificate, 0_u32)
    } else {
        // Zero would say that a certificate was verified.
        (CLIENT_SSL, 1)
    };
    out.push(client);
    out.extend_from_slice(&verify.to_be_bytes());
    write_value(SSL_VERSION, bytes(&tls.version), out);
    write_value(SSL_COMMON_NAME, bytes(&tls.common_name), out);
    write_value(SSL_CIPHER, bytes(&tls.cipher), out);
    write_length(begin, out);
}

fn bytes(text: &Option<Box<str>>) -> Option<&[u8]> {
    text.as_deref().map(str::as_bytes)
}

fn write_value(kind: u8, value: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(value) = value.filter(|value| value.len() <= VALUE_BYTES_MAX) else {
        return;
    };
    out.push(kind);
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
}

/// Writes how much stands behind `begin` into the two bytes before it.
fn write_length(begin: usize, out: &mut [u8]) {
    // At most five values, each of them bounded.
    let length = (out.len() - begin) as u16;
    out[begin - 2..begin].copy_from_slice(&length.to_be_bytes());
}
