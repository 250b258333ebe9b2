//! What a hello says (RFC 8446 §4.1.2 and §4.2; RFC 5246 §7.4.1.2 has the same shape).

use std::net::IpAddr;

use super::{BadHello, ClientHello, PROTOCOLS_MAX};

/// The version of TLS 1.0, and the lowest there is.
const TLS_1_0: u16 = 0x0301;

const RANDOM_BYTES: usize = 32;
const SESSION_ID_BYTES_MAX: usize = 32;

/// Extensions that are read. Others are skipped, those of GREASE (RFC 8701) among them, and
/// `encrypted_client_hello`: beside it stands the outer name.
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

/// The one type of server names.
const HOST_NAME: u8 = 0;

/// Longest name, and longest part between its dots (RFC 1035 §2.3.4).
const NAME_BYTES_MAX: usize = 255;
const LABEL_BYTES_MAX: usize = 63;

/// `message` is a whole hello without the header of its message.
pub(super) fn read(message: &[u8]) -> Result<ClientHello, BadHello> {
    let mut rest = message;
    // A version that is not known yet is none to refuse: the server answers with one of its own
    // (RFC 5246 appendix E.1).
    if take_u16(&mut rest)? < TLS_1_0 {
        return Err(BadHello::Version);
    }
    take(&mut rest, RANDOM_BYTES)?;
    let session_id = take_vector8(&mut rest)?;
    let suites = take_vector16(&mut rest)?;
    let compressions = take_vector8(&mut rest)?;
    let are_suites = !suites.is_empty() && suites.len().is_multiple_of(2);
    if session_id.len() > SESSION_ID_BYTES_MAX || !are_suites || compressions.is_empty() {
        return Err(BadHello::Length);
    }
    let mut hello = ClientHello::default();
    if rest.is_empty() {
        return Ok(hello); // TLS 1.2 and before may have no extensions at all.
    }
    let mut extensions = take_vector16(&mut rest)?;
    if !rest.is_empty() {
        return Err(BadHello::Length);
    }
    let mut seen = Seen::default();
    while !extensions.is_empty() {
        let kind = take_u16(&mut extensions)?;
        let content = take_vector16(&mut extensions)?;
        seen.insert(kind)?;
        match kind {
            SERVER_NAME => hello.sni = read_names(content)?,
            ALPN => hello.alpn = read_protocols(content)?,
            _ => {}
        }
    }
    Ok(hello)
}

/// The types of extensions that a hello has, a bit each: thousands fit into one.
struct Seen([u64; 1024]);

impl Default for Seen {
    fn default() -> Self {
        Self([0; 1024])
    }
}

impl Seen {
    fn insert(&mut self, kind: u16) -> Result<(), BadHello> {
        let word = &mut self.0[usize::from(kind / 64)];
        let bit = 1 << (kind % 64);
        if *word & bit != 0 {
            return Err(BadHello::Repeated);
        }
        *word |= bit;
        Ok(())
    }
}

/// The name in a list of exactly one. Another type of name has never been defined, and two of one
/// type are forbidden.
fn read_names(mut content: &[u8]) -> Result<Option<Box<str>>, BadHello> {
    let names = take_vector16(&mut content)?;
    if !content.is_empty() {
        return Err(BadHello::Length);
    }
    let [HOST_NAME, rest @ ..] = names else {
        return Err(BadHello::ServerName);
    };
    let mut rest = rest;
    let name = take_vector16(&mut rest)?;
    if !rest.is_empty() {
        return Err(BadHello::ServerName);
    }
    host_name(name)
}

/// The name in lower case and without a dot at its end. `None` for an IP address, which RFC 6066 §3
/// forbids and clients send all the same: those that keep the rule would have asked for no name,
/// and so servers take it.
fn host_name(name: &[u8]) -> Result<Option<Box<str>>, BadHello> {
    let name = name.strip_suffix(b".").unwrap_or(name);
    if name.len() > NAME_BYTES_MAX {
        return Err(BadHello::ServerName);
    }
    let Ok(text) = str::from_utf8(name) else {
        return Err(BadHello::ServerName);
    };
    if text.parse::<IpAddr>().is_ok() {
        return Ok(None);
    }
    // An underscore is in no host name, and in some that are served.
    let is_label = |label: &[u8]| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if !name.split(|byte| *byte == b'.').all(is_label) {
        return Err(BadHello::ServerName);
    }
    Ok(Some(text.to_ascii_lowercase().into()))
}

fn read_protocols(mut content: &[u8]) -> Result<Vec<Box<[u8]>>, BadHello> {
    let mut list = take_vector16(&mut content)?;
    if !content.is_empty() {
        return Err(BadHello::Length);
    }
    let mut protocols = Vec::new();
    while !list.is_empty() {
        let protocol = take_vector8(&mut list)?;
        if protocol.is_empty() || protocols.len() == PROTOCOLS_MAX {
            return Err(BadHello::Protocols);
        }
        protocols.push(protocol.into());
    }
    if protocols.is_empty() {
        return Err(BadHello::Protocols);
    }
    Ok(protocols)
}

/// Bytes behind their length, which takes one byte (RFC 8446 §3.4).
fn take_vector8<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], BadHello> {
    let length = take(rest, 1)?[0];
    take(rest, usize::from(length))
}

/// Bytes behind their length, which takes two bytes.
fn take_vector16<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], BadHello> {
    let length = take_u16(rest)?;
    take(rest, usize::from(length))
}

fn take_u16(rest: &mut &[u8]) -> Result<u16, BadHello> {
    let bytes = rest.split_off(..2).ok_or(BadHello::Length)?;
    Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], BadHello> {
    rest.split_off(..count).ok_or(BadHello::Length)
}
