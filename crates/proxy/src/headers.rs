//! The heads that leave: what we forward, what we take out, what we say ourselves.

use message::{
    BodyLength, Field, FieldName, RequestHead, ResponseHead, Status, Version, cookies,
    write_cookies_without,
};
use wire::h1::{BodyWriter, write_field, write_fields, write_request_line, write_status_line};

use crate::client_address::ClientAddress;
use crate::key;

/// What the endpoint is told beside the client's own words.
pub(crate) struct RequestExtras<'a> {
    pub(crate) client: &'a ClientAddress,
    pub(crate) request_id: &'a [u8],
    /// Our own name in `Via`.
    pub(crate) pseudonym: &'a str,
    /// The pool's name, for a client that named no host.
    pub(crate) pool: &'a str,
    /// One less than what came, where `Max-Forwards` counts.
    pub(crate) max_forwards: Option<u32>,
    /// The name of a cookie that is ours alone: the endpoint does not see it.
    pub(crate) own_cookie: Option<&'a str>,
}

/// Writes the head of a request to an endpoint. `head.upgrade` is set only if the route allows
/// that protocol.
///
/// What clients say about who they are is replaced, because nobody vouches for it; fields about
/// the connection end here (RFC 9110 §7.6.1). Ours are added after that, so `Connection:
/// X-Forwarded-For` takes away nothing but the client's own.
pub(crate) fn write_request_head(
    head: &RequestHead,
    extras: &RequestExtras<'_>,
    out: &mut Vec<u8>,
) {
    write_request_line(head, out);
    let has_own_cookie = |field: &Field, name: &str| {
        let is_own = |(found, _): (&[u8], &[u8])| found == name.as_bytes();
        key::is_named(field, &head.bytes, "cookie") && cookies(head.text(field.value)).any(is_own)
    };
    let is_forwarded = |field: &Field| {
        !field.hop_by_hop
            && !extras
                .own_cookie
                .is_some_and(|name| has_own_cookie(field, name))
            && match field.id {
                FieldName::Forwarded
                | FieldName::XForwardedFor
                | FieldName::XForwardedHost
                | FieldName::XForwardedProto
                | FieldName::XRequestId => false,
                FieldName::MaxForwards => extras.max_forwards.is_none(),
                _ => true,
            }
    };
    write_fields(&head.bytes, &head.fields, is_forwarded, out);
    if let Some(name) = extras.own_cookie {
        let fields = head.fields.iter();
        for field in fields.filter(|field| !field.hop_by_hop && has_own_cookie(field, name)) {
            let begin = out.len();
            out.extend_from_slice(b"Cookie: ");
            if write_cookies_without(head.text(field.value), name.as_bytes(), out) {
                out.extend_from_slice(b"\r\n");
            } else {
                out.truncate(begin);
            }
        }
    }

    let authority = head.text(head.authority);
    if head.field(FieldName::Host).is_none() {
        // HTTP/1.1 must name a host (RFC 9112 §3.2), HTTP/1.0 need not.
        let host = if authority.is_empty() {
            extras.pool.as_bytes()
        } else {
            authority
        };
        write_field("Host", host, out);
    }
    let ip = extras.client.ip();
    write_field("X-Forwarded-For", ip, out);
    out.extend_from_slice(b"X-Forwarded-Proto: http\r\n");
    out.extend_from_slice(b"Forwarded: for=");
    if extras.client.is_ipv6() {
        out.extend_from_slice(b"\"[");
        out.extend_from_slice(ip);
        out.extend_from_slice(b"]\"");
    } else {
        out.extend_from_slice(ip);
    }
    if authority.is_empty() {
        out.extend_from_slice(b";proto=http\r\n");
    } else {
        // An authority holds no quote and no backslash: `wire` refuses them.
        out.extend_from_slice(b";host=\"");
        out.extend_from_slice(authority);
        out.extend_from_slice(b"\";proto=http\r\n");
        write_field("X-Forwarded-Host", authority, out);
    }
    write_field("X-Request-Id", extras.request_id, out);
    out.extend_from_slice(b"Via: ");
    out.extend_from_slice(&head.version.as_str().as_bytes()[5..]);
    out.push(b' ');
    out.extend_from_slice(extras.pseudonym.as_bytes());
    out.extend_from_slice(b"\r\n");

    if let Some(count) = extras.max_forwards {
        write_field("Max-Forwards", count.to_string().as_bytes(), out);
    }
    if let Some(protocol) = head.upgrade {
        out.extend_from_slice(b"Connection: upgrade\r\n");
        write_field("Upgrade", head.text(protocol), out);
    } else if head.accepts_trailers {
        out.extend_from_slice(b"Connection: te\r\nTE: trailers\r\n");
    }
    if head.body_length == BodyLength::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// How the body of a response leaves, and whether the connection can live on behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResponseFraming {
    /// How the body is framed.
    pub(crate) writer: BodyWriter,
    /// The end of the body is told from what comes next.
    pub(crate) is_delimited: bool,
}

impl ResponseFraming {
    /// The framing for a body that arrives as `length`, for a client of `version`.
    pub(crate) fn new(length: BodyLength, version: Version) -> Self {
        match (length, version) {
            (BodyLength::Empty | BodyLength::Exact(_), _) => Self {
                writer: BodyWriter::Plain,
                is_delimited: true,
            },
            (_, Version::Http2) => Self {
                writer: BodyWriter::Plain,
                is_delimited: true,
            },
            (_, Version::Http11) => Self {
                writer: BodyWriter::Chunked,
                is_delimited: true,
            },
            // HTTP/1.0 knows no chunks: the close ends the body.
            (_, Version::Http10) => Self {
                writer: BodyWriter::Plain,
                is_delimited: false,
            },
        }
    }
}

/// What the client is told beside the endpoint's own words.
pub(crate) struct ResponseExtras<'a> {
    pub(crate) framing: ResponseFraming,
    /// The client's version.
    pub(crate) version: Version,
    pub(crate) keep_alive: bool,
    pub(crate) request_id: &'a [u8],
    /// The endpoint was picked although all were down.
    pub(crate) is_fail_open: bool,
    /// Tells the client of its session.
    pub(crate) set_cookie: Option<&'a str>,
}

/// Writes the head of a final response.
pub(crate) fn write_response_head(
    head: &ResponseHead,
    extras: &ResponseExtras<'_>,
    out: &mut Vec<u8>,
) {
    write_endpoint_fields(head, out);
    if extras.framing.writer == BodyWriter::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    write_field("X-Request-Id", extras.request_id, out);
    if extras.is_fail_open {
        // RFC 9209 §2.3.6: why this answer may not be a good one.
        write_field("Proxy-Status", b"pointsman; details=\"fail_open\"", out);
    }
    if let Some(cookie) = extras.set_cookie {
        write_field("Set-Cookie", cookie.as_bytes(), out);
    }
    match (extras.keep_alive, extras.version) {
        (false, _) => out.extend_from_slice(b"Connection: close\r\n"),
        (true, Version::Http10) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (true, Version::Http11 | Version::Http2) => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the head of an interim response (1xx).
pub(crate) fn write_interim_head(head: &ResponseHead, out: &mut Vec<u8>) {
    write_endpoint_fields(head, out);
    out.extend_from_slice(b"\r\n");
}

/// Writes the head of the switch to another protocol (101).
pub(crate) fn write_switch_head(head: &ResponseHead, set_cookie: Option<&str>, out: &mut Vec<u8>) {
    write_endpoint_fields(head, out);
    if let Some(protocol) = head.upgrade {
        out.extend_from_slice(b"Connection: upgrade\r\n");
        write_field("Upgrade", head.text(protocol), out);
    }
    if let Some(cookie) = set_cookie {
        write_field("Set-Cookie", cookie.as_bytes(), out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the status line and those of the endpoint's fields that go on to the client.
fn write_endpoint_fields(head: &ResponseHead, out: &mut Vec<u8>) {
    write_status_line(head, out);
    // RFC 9110 §8.6: no Content-Length with 1xx and 204.
    let forbids_length = head.status.is_informational() || head.status == Status::NO_CONTENT;
    let is_forwarded = |field: &Field| {
        !field.hop_by_hop
            && match field.id {
                FieldName::XRequestId => false,
                FieldName::ContentLength => !forbids_length,
                _ => true,
            }
    };
    write_fields(&head.bytes, &head.fields, is_forwarded, out);
}
