//! The heads that leave: what we forward, what we take out, what we say ourselves.

use std::cell::RefCell;

use config::ClientCertificateHeaders;
use message::{
    BodyLength, Field, FieldName, Method, RequestHead, ResponseHead, Status, Version, cookies,
    write_cookies_without,
};
use net::ClientCertificate;
use wire::h1::{BodyWriter, write_field, write_fields, write_request_line, write_status_line};

use crate::client_address::ClientAddress;
use crate::identity::Identity;
use crate::key;

/// What the endpoint is told beside the client's own words.
pub(crate) struct RequestExtras<'a> {
    /// The other end of the client's connection.
    pub(crate) peer: &'a ClientAddress,
    pub(crate) identity: &'a Identity,
    /// What was said of the client for the request before, on the same connection.
    pub(crate) introduction: &'a RefCell<Introduction>,
    pub(crate) request_id: &'a [u8],
    /// Our own name in `Via`.
    pub(crate) pseudonym: &'a str,
    /// The pool's name, for a client that named no host.
    pub(crate) pool: &'a str,
    /// One less than what came, where `Max-Forwards` counts.
    pub(crate) max_forwards: Option<u32>,
    /// The name of a cookie that is ours alone: the endpoint does not see it.
    pub(crate) own_cookie: Option<&'a str>,
    /// The fields that tell endpoints of clients' certificates. No client may send them.
    pub(crate) certificate_fields: Option<&'a ClientCertificateHeaders>,
    /// What the client showed.
    pub(crate) certificate: Option<&'a ClientCertificate>,
    /// `Sec-WebSocket-Key` for a client that sends none, since it asks by extended CONNECT
    /// (RFC 8441 §5): 16 random bytes in base64.
    pub(crate) websocket_key: Option<&'a str>,
    /// The type of the content, where the endpoint gets it in another form than it came: that of
    /// a call of gRPC.
    pub(crate) content_type: Option<&'a [u8]>,
}

/// What endpoints are told of a client: the same for all requests of its connection to one host,
/// so that it need not be put together each time.
#[derive(Debug, Default)]
pub(crate) struct Introduction {
    /// There was a request: one that stays alone is not worth the memory.
    has_spoken: bool,
    authority: Vec<u8>,
    text: Vec<u8>,
}

/// Longest authority for which an introduction is kept: no client makes its connections dear.
const AUTHORITY_BYTES_MAX: usize = 256;

/// Writes the head of a request to an endpoint, as the text of HTTP/1.1. `head.upgrade` is set
/// only if the route allows that protocol.
///
/// What clients say about who they are is replaced, because nobody vouches for it, and what
/// trusted proxies say is appended to. Fields about the connection end here (RFC 9110 §7.6.1).
/// Ours are added after that, so `Connection: X-Forwarded-For` takes away nothing.
pub(crate) fn write_request_head(
    head: &RequestHead,
    extras: &RequestExtras<'_>,
    out: &mut Vec<u8>,
) {
    write_request_line(head, out);
    write_fields(
        &head.bytes,
        &head.fields,
        |field| is_forwarded(field, head, extras),
        out,
    );
    if let Some(name) = extras.own_cookie {
        let fields = head.fields.iter();
        for field in fields.filter(|field| !field.hop_by_hop && has_cookie(field, head, name)) {
            let begin = out.len();
            out.extend_from_slice(b"Cookie: ");
            if write_cookies_without(head.text(field.value), name.as_bytes(), out) {
                out.extend_from_slice(b"\r\n");
            } else {
                out.truncate(begin);
            }
        }
    }

    if head.field(FieldName::Host).is_none() {
        // HTTP/1.1 must name a host (RFC 9112 §3.2), HTTP/1.0 need not.
        let host = match head.text(head.authority) {
            [] => extras.pool.as_bytes(),
            authority => authority,
        };
        write_field("Host", host, out);
    }
    if let Some(content_type) = extras.content_type {
        write_field("Content-Type", content_type, out);
    }
    introduce(head, extras, out);
    write_field("X-Request-Id", extras.request_id, out);
    write_certificate(extras, out);
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
        if let Some(key) = extras.websocket_key {
            write_field("Sec-WebSocket-Key", key.as_bytes(), out);
        }
    } else if head.accepts_trailers || extras.content_type.is_some() {
        out.extend_from_slice(b"Connection: te\r\nTE: trailers\r\n");
    }
    let is_chunked = match head.body_length {
        BodyLength::Chunked => true,
        // What follows an extended CONNECT is no body.
        BodyLength::UntilEnd => !head.is_extended_connect,
        BodyLength::Empty | BodyLength::Exact(_) | BodyLength::UntilClose => false,
    };
    if is_chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// True if the endpoint gets this line as it came.
fn is_forwarded(field: &Field, head: &RequestHead, extras: &RequestExtras<'_>) -> bool {
    let is_ours = match field.id {
        FieldName::Forwarded
        | FieldName::XForwardedFor
        | FieldName::XForwardedHost
        | FieldName::XForwardedProto
        | FieldName::XRequestId => true,
        FieldName::MaxForwards => extras.max_forwards.is_some(),
        FieldName::ContentLength => extras.content_type.is_some(),
        FieldName::Other => {
            extras
                .own_cookie
                .is_some_and(|name| has_cookie(field, head, name))
                || extras
                    .certificate_fields
                    .is_some_and(|names| tells_certificate(field.name.of(&head.bytes), names))
                || extras.websocket_key.is_some()
                    && key::is_named(field, &head.bytes, "sec-websocket-key")
                || extras.content_type.is_some()
                    && key::is_named(field, &head.bytes, "content-type")
        }
        _ => false,
    };
    !field.hop_by_hop && !is_ours
}

/// True if it is a `Cookie` field with a cookie of this name.
fn has_cookie(field: &Field, head: &RequestHead, name: &str) -> bool {
    let is_it = |(found, _): (&[u8], &[u8])| found == name.as_bytes();
    key::is_named(field, &head.bytes, "cookie") && cookies(head.text(field.value)).any(is_it)
}

/// True if `name` is one of `names` to anybody: CGI and what came after it take `_` for `-`.
fn tells_certificate(name: &[u8], names: &ClientCertificateHeaders) -> bool {
    let plain = |byte: u8| match byte {
        b'_' => b'-',
        byte => byte.to_ascii_lowercase(),
    };
    let is_name = |ours: &str| {
        ours.len() == name.len() && ours.bytes().map(plain).eq(name.iter().copied().map(plain))
    };
    let names = [&names.subject, &names.san, &names.fingerprint];
    names.into_iter().flatten().any(|ours| is_name(ours))
}

/// Writes who the client is, and how it reached us: as before, if nothing else may have been said.
fn introduce(head: &RequestHead, extras: &RequestExtras<'_>, out: &mut Vec<u8>) {
    let authority = head.text(head.authority);
    let mut kept = extras.introduction.borrow_mut();
    let is_kept = !kept.text.is_empty() && kept.authority == authority;
    let may_keep = kept.has_spoken && authority.len() <= AUTHORITY_BYTES_MAX;
    // What a trusted proxy says is another thing each time.
    if extras.identity.is_trusted || !(is_kept || may_keep) {
        kept.has_spoken = true;
        return write_identity(head, extras, out);
    }
    if !is_kept {
        kept.text.clear();
        write_identity(head, extras, &mut kept.text);
        kept.authority.clear();
        kept.authority.extend_from_slice(authority);
    }
    out.extend_from_slice(&kept.text);
}

/// Puts together who the client is, and how it reached us.
fn write_identity(head: &RequestHead, extras: &RequestExtras<'_>, out: &mut Vec<u8>) {
    let RequestExtras { peer, identity, .. } = extras;
    let authority = head.text(head.authority);
    let scheme = identity.scheme();

    out.extend_from_slice(b"X-Forwarded-For: ");
    if identity.is_trusted && !write_values(head, FieldName::XForwardedFor, out) {
        // Told by `Forwarded` alone: who reads only this field is to know as well.
        if let Some(named) = identity.named() {
            out.extend_from_slice(named.ip());
            out.extend_from_slice(b", ");
        }
    }
    out.extend_from_slice(peer.ip());
    out.extend_from_slice(b"\r\n");

    write_field("X-Forwarded-Proto", scheme.as_bytes(), out);

    out.extend_from_slice(b"Forwarded: ");
    if identity.is_trusted && !write_values(head, FieldName::Forwarded, out) {
        // The other way round.
        if let Some(named) = identity.named() {
            write_node(named, out);
            out.extend_from_slice(b";proto=");
            out.extend_from_slice(scheme.as_bytes());
            out.extend_from_slice(b", ");
        }
    }
    write_node(peer, out);
    if !authority.is_empty() {
        // An authority holds no quote and no backslash: `wire` refuses them.
        out.extend_from_slice(b";host=\"");
        out.extend_from_slice(authority);
        out.push(b'"');
    }
    out.extend_from_slice(b";proto=");
    out.extend_from_slice(scheme.as_bytes());
    out.extend_from_slice(b"\r\n");

    let told_host = head
        .field(FieldName::XForwardedHost)
        .filter(|host| identity.is_trusted && !host.is_empty());
    let host = told_host.unwrap_or(authority);
    if !host.is_empty() {
        write_field("X-Forwarded-Host", host, out);
    }
}

/// Writes the values of all fields of this name, a comma behind each. False if there are none.
fn write_values(head: &RequestHead, id: FieldName, out: &mut Vec<u8>) -> bool {
    let begin = out.len();
    for field in head.fields.iter().filter(|field| field.id == id) {
        let value = head.text(field.value);
        if !value.is_empty() {
            out.extend_from_slice(value);
            out.extend_from_slice(b", ");
        }
    }
    out.len() > begin
}

/// `for=` and the address, as RFC 7239 §6 writes it.
fn write_node(address: &ClientAddress, out: &mut Vec<u8>) {
    out.extend_from_slice(b"for=");
    if address.is_ipv6() {
        out.extend_from_slice(b"\"[");
        out.extend_from_slice(address.ip());
        out.extend_from_slice(b"]\"");
    } else {
        out.extend_from_slice(address.ip());
    }
}

/// Tells of the certificate that the client showed.
fn write_certificate(extras: &RequestExtras<'_>, out: &mut Vec<u8>) {
    let (Some(names), Some(certificate)) = (extras.certificate_fields, extras.certificate) else {
        return;
    };
    for (name, value) in [
        (&names.subject, &certificate.subject),
        (&names.san, &certificate.san),
        (&names.fingerprint, &certificate.fingerprint),
    ] {
        if let Some(name) = name {
            write_field(name, value.as_bytes(), out);
        }
    }
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
    /// What was asked.
    pub(crate) method: Method,
    /// The client's version.
    pub(crate) version: Version,
    pub(crate) keep_alive: bool,
    pub(crate) request_id: &'a [u8],
    /// The endpoint was picked although all were down.
    pub(crate) is_fail_open: bool,
    /// Tells the client of its session.
    pub(crate) set_cookie: Option<&'a str>,
    /// For so long the client is to come by TLS alone.
    pub(crate) hsts_seconds: Option<u64>,
    /// The type of the content, where the client gets it in another form than it came.
    pub(crate) content_type: Option<&'a [u8]>,
}

/// Writes the head of a final response.
pub(crate) fn write_response_head(
    head: &ResponseHead,
    extras: &ResponseExtras<'_>,
    out: &mut Vec<u8>,
) {
    write_endpoint_fields(head, extras.content_type, out);
    if extras.framing.writer == BodyWriter::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if ends_silently(head, extras) {
        out.extend_from_slice(b"Content-Length: 0\r\n");
    }
    write_field("X-Request-Id", extras.request_id, out);
    if extras.is_fail_open {
        // RFC 9209 §2.3.6: why this answer may not be a good one.
        write_field("Proxy-Status", b"pointsman; details=\"fail_open\"", out);
    }
    if let Some(cookie) = extras.set_cookie {
        write_field("Set-Cookie", cookie.as_bytes(), out);
    }
    if let Some(seconds) = extras.hsts_seconds {
        let name = "strict-transport-security";
        // What the endpoint says of itself holds; browsers heed the first one (RFC 6797 §8.1).
        if key::fields(&head.fields, &head.bytes, name)
            .next()
            .is_none()
        {
            let value = format!("max-age={seconds}");
            write_field("Strict-Transport-Security", value.as_bytes(), out);
        }
    }
    match (extras.keep_alive, extras.version) {
        (false, _) => out.extend_from_slice(b"Connection: close\r\n"),
        (true, Version::Http10) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (true, Version::Http11 | Version::Http2) => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// True for a response whose stream ended with its head, without a word about its length: a client
/// that speaks HTTP/1 would wait for content.
fn ends_silently(head: &ResponseHead, extras: &ResponseExtras<'_>) -> bool {
    let may_have_content = extras.method != Method::Head
        && !matches!(head.status, Status::NO_CONTENT | Status::NOT_MODIFIED);
    head.body_length == BodyLength::Empty
        && may_have_content
        && extras.version != Version::Http2
        && head.field(FieldName::ContentLength).is_none()
}

/// Writes the head of an interim response (1xx).
pub(crate) fn write_interim_head(head: &ResponseHead, out: &mut Vec<u8>) {
    write_endpoint_fields(head, None, out);
    out.extend_from_slice(b"\r\n");
}

/// Writes the head of the switch to another protocol (101). `accept` is our own answer to the
/// client's WebSocket key, where the endpoint got none.
pub(crate) fn write_switch_head(
    head: &ResponseHead,
    set_cookie: Option<&str>,
    accept: Option<&str>,
    out: &mut Vec<u8>,
) {
    write_endpoint_fields(head, None, out);
    if let Some(protocol) = head.upgrade {
        out.extend_from_slice(b"Connection: upgrade\r\n");
        write_field("Upgrade", head.text(protocol), out);
    }
    if let Some(accept) = accept {
        write_field("Sec-WebSocket-Accept", accept.as_bytes(), out);
    }
    if let Some(cookie) = set_cookie {
        write_field("Set-Cookie", cookie.as_bytes(), out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the status line and those of the endpoint's fields that go on to the client.
/// `content_type` replaces what it says of its content.
fn write_endpoint_fields(head: &ResponseHead, content_type: Option<&[u8]>, out: &mut Vec<u8>) {
    write_status_line(head, out);
    // RFC 9110 §8.6: no Content-Length with 1xx and 204.
    let forbids_length = head.status.is_informational() || head.status == Status::NO_CONTENT;
    let is_forwarded = |field: &Field| {
        !field.hop_by_hop
            && match field.id {
                FieldName::XRequestId => false,
                FieldName::ContentLength if forbids_length => false,
                // What is written in another form is longer, but for nothing at all.
                FieldName::ContentLength => {
                    content_type.is_none() || head.body_length == BodyLength::Exact(0)
                }
                FieldName::Other => {
                    content_type.is_none() || !key::is_named(field, &head.bytes, "content-type")
                }
                _ => true,
            }
    };
    write_fields(&head.bytes, &head.fields, is_forwarded, out);
    if let Some(content_type) = content_type {
        write_field("Content-Type", content_type, out);
    }
}

#[cfg(test)]
mod tests;
