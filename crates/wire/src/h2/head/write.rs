//! Heads to blocks.
//!
//! The text is our own: it is whole, and keeps every rule of HTTP/1.1.

use super::outgoing::{Outgoing, Rule};
use crate::h1::{tokens, trim};
use crate::h2::hpack::{Encoder, Indexing};

/// Appends the block for the request whose HTTP/1.1 text is `text`. `scheme` is `http` or `https`.
///
/// A request to upgrade to `websocket` becomes an extended CONNECT (RFC 8441 §5), which needs no
/// Sec-WebSocket-Key. What else is about the connection is left out.
pub fn write_request(encoder: &mut Encoder, text: &[u8], scheme: &str, out: &mut Vec<u8>) {
    let (first, lines) = split_line(text);
    // `method SP target SP version`
    let (method, rest) = split(first, b' ');
    let (target, _) = split(rest, b' ');
    let front = Front::find(lines);

    encoder.begin(out);
    if front.is_websocket() {
        encoder.line(METHOD_GET, b":method", b"CONNECT", Indexing::Kept, out);
        encoder.line(0, b":protocol", b"websocket", Indexing::Kept, out);
    } else {
        match method {
            b"GET" => Encoder::indexed(METHOD_GET, out),
            b"POST" => Encoder::indexed(METHOD_POST, out),
            method => encoder.line(METHOD_GET, b":method", method, Indexing::Kept, out),
        }
    }
    // RFC 9113 §8.5: a plain CONNECT has neither.
    if method != b"CONNECT" {
        let index = if scheme == "https" {
            SCHEME_HTTPS
        } else {
            SCHEME_HTTP
        };
        Encoder::indexed(index, out);
        match target {
            b"/" => Encoder::indexed(PATH_ROOT, out),
            target => encoder.line(PATH_ROOT, b":path", target, Indexing::Not, out),
        }
    }
    if let Some(authority) = front.authority {
        encoder.line(AUTHORITY, b":authority", authority, Indexing::Kept, out);
    }
    write_lines(encoder, lines, front.is_websocket(), out);
}

/// Appends the block for the response whose HTTP/1.1 text is `text`. A 101, with which HTTP/1.1
/// begins WebSocket, becomes a 200 (RFC 8441 §5).
pub fn write_response(encoder: &mut Encoder, text: &[u8], out: &mut Vec<u8>) {
    let (first, lines) = split_line(text);
    // `version SP status SP reason`
    let (_, rest) = split(first, b' ');
    let (status, _) = split(rest, b' ');

    encoder.begin(out);
    match status {
        b"200" | b"101" => Encoder::indexed(STATUS_200, out),
        b"204" => Encoder::indexed(STATUS_200 + 1, out),
        b"206" => Encoder::indexed(STATUS_200 + 2, out),
        b"304" => Encoder::indexed(STATUS_200 + 3, out),
        b"400" => Encoder::indexed(STATUS_200 + 4, out),
        b"404" => Encoder::indexed(STATUS_200 + 5, out),
        b"500" => Encoder::indexed(STATUS_200 + 6, out),
        status => encoder.line(STATUS_200, b":status", status, Indexing::Kept, out),
    }
    write_lines(encoder, lines, status == b"101", out);
}

/// Appends the block for trailers: `lines` are lines `name: value CRLF`.
pub fn write_trailers(encoder: &mut Encoder, lines: &[u8], out: &mut Vec<u8>) {
    encoder.begin(out);
    write_lines(encoder, lines, false, out);
}

/// Appends field lines, without those that HTTP/2 does not have and those that became
/// pseudo-fields.
fn write_lines(encoder: &mut Encoder, lines: &[u8], is_websocket: bool, out: &mut Vec<u8>) {
    for (name, value) in Lines(lines) {
        let (index, rule) = match Outgoing::of(name) {
            Some(known) => (u32::from(known.index), known.rule),
            None => (0, Rule::Send(Indexing::Kept)),
        };
        let indexing = match rule {
            Rule::Send(indexing) => indexing,
            Rule::WebSocketKey if !is_websocket => Indexing::Not,
            Rule::Te if tokens(value).any(|coding| coding.eq_ignore_ascii_case(b"trailers")) => {
                encoder.line(index, name, b"trailers", Indexing::Kept, out);
                continue;
            }
            Rule::Te | Rule::Drop | Rule::Host | Rule::Upgrade | Rule::WebSocketKey => continue,
        };
        encoder.line(index, name, value, indexing, out);
    }
}

/// What stands among the fields of a request and goes to the front.
struct Front<'a> {
    authority: Option<&'a [u8]>,
    protocol: Option<&'a [u8]>,
}

impl<'a> Front<'a> {
    fn find(lines: &'a [u8]) -> Self {
        let mut front = Self {
            authority: None,
            protocol: None,
        };
        for (name, value) in Lines(lines) {
            if name.eq_ignore_ascii_case(b"host") {
                front.authority = Some(value);
            } else if name.eq_ignore_ascii_case(b"upgrade") {
                front.protocol = Some(value);
            }
        }
        front
    }

    fn is_websocket(&self) -> bool {
        self.protocol
            .is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
    }
}

/// Names and values of lines, up to an empty one.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (line, rest) = split_line(self.0);
        self.0 = rest;
        let (name, value) = split(line, b':');
        (!name.is_empty()).then(|| (name, trim(value)))
    }
}

/// The first line, without its end, and the rest.
#[inline]
fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    let (line, rest) = split(text, b'\n');
    (line.strip_suffix(b"\r").unwrap_or(line), rest)
}

/// What stands before the first `byte`, and behind it.
#[inline]
fn split(text: &[u8], byte: u8) -> (&[u8], &[u8]) {
    match memchr::memchr(byte, text) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, b""),
    }
}

// Places in the static table (RFC 7541 Appendix A).
const AUTHORITY: u32 = 1;
const METHOD_GET: u32 = 2;
const METHOD_POST: u32 = 3;
const PATH_ROOT: u32 = 4;
const SCHEME_HTTP: u32 = 6;
const SCHEME_HTTPS: u32 = 7;
const STATUS_200: u32 = 8;
