//! Heads: the first line and the fields of a request or a response.

use std::borrow::Cow;

use crate::{Field, FieldName, Method, Status};

/// A piece of a head, as offsets into its bytes.
///
/// Offsets are 32 bits wide: a head is bounded to far less (32 KiB by default), so no length
/// that a peer can send wraps one (CVE-2021-40346).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset behind the last byte.
    pub end: u32,
}

impl Span {
    /// A span over `start..end` of a head.
    pub fn new(start: usize, end: usize) -> Self {
        debug_assert!(
            start <= end && end <= u32::MAX as usize,
            "a head is bounded"
        );
        Self {
            start: start as u32,
            end: end as u32,
        }
    }

    /// The bytes of `head` that this span covers.
    pub fn of(self, head: &[u8]) -> &[u8] {
        &head[self.start as usize..self.end as usize]
    }

    /// True if it covers nothing.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// Version of the protocol that a message arrived in. It belongs to one hop (RFC 9110 §2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Version {
    /// HTTP/1.0: no chunked coding, closes by default.
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
    /// HTTP/2: frames and streams; a head is decoded into the text that HTTP/1.1 would have sent.
    Http2,
}

impl Version {
    /// As it stands in a first line, in logs and, behind the slash, in `Via`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
        }
    }
}

/// How the end of a body is found (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyLength {
    /// There is no body, whatever the fields say.
    #[default]
    Empty,
    /// Exactly this many bytes; zero too, when the sender said so.
    Exact(u64),
    /// Chunked coding, ended by a zero chunk and trailers.
    Chunked,
    /// Everything until the connection closes; responses of HTTP/1 only.
    UntilClose,
    /// Everything until the end of the stream, and perhaps trailers; HTTP/2 only.
    UntilEnd,
}

/// The four shapes of a request target (RFC 9112 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TargetForm {
    /// `/path?query`
    #[default]
    Origin,
    /// `http://host/path?query`
    Absolute,
    /// `host:port`, of CONNECT only.
    Authority,
    /// `*`, of OPTIONS only.
    Asterisk,
}

/// The head of a request that kept every rule of `wire`.
#[derive(Debug, Clone, Default)]
pub struct RequestHead {
    /// The head as received, first line to empty line.
    pub bytes: Vec<u8>,
    /// Its field lines in order.
    pub fields: Vec<Field>,
    /// The method; its text is `method_text`.
    pub method: Method,
    /// The method as sent.
    pub method_text: Span,
    /// The shape of the target.
    pub form: TargetForm,
    /// Path and query, as the endpoint is asked for them: empty for `http://host`, `*` for the
    /// asterisk form, the whole target for the authority form.
    pub path_and_query: Span,
    /// The path alone.
    pub path: Span,
    /// Host and port, from the target or the Host field, which agree. May be empty.
    pub authority: Span,
    /// Version of the sender.
    pub version: Version,
    /// How the end of the body is found.
    pub body_length: BodyLength,
    /// True if the client lets the connection live on.
    pub keep_alive: bool,
    /// True if the client waits for 100 Continue before it sends the body.
    pub expects_continue: bool,
    /// The protocol of a valid Upgrade request (RFC 9110 §7.8), if there is one.
    pub upgrade: Option<Span>,
    /// True if `TE` has `trailers`.
    pub accepts_trailers: bool,
    /// True for an extended CONNECT (RFC 8441): `upgrade` is its `:protocol`, and the text is that
    /// of the GET with which HTTP/1.1 asks for the same.
    pub is_extended_connect: bool,
}

/// The head of a response that kept every rule of `wire`.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    /// The head as received, first line to empty line.
    pub bytes: Vec<u8>,
    /// Its field lines in order.
    pub fields: Vec<Field>,
    /// The status.
    pub status: Status,
    /// The reason phrase as sent, perhaps empty.
    pub reason: Span,
    /// Version of the sender.
    pub version: Version,
    /// How the end of the body is found; what the request was is taken into account.
    pub body_length: BodyLength,
    /// True if the endpoint lets the connection live on.
    pub keep_alive: bool,
    /// Seconds of `Keep-Alive: timeout=`, if announced.
    pub keep_alive_seconds: Option<u32>,
    /// The protocol named in `Upgrade`, for a 101.
    pub upgrade: Option<Span>,
    /// True if any field says how busy the endpoint is: see [`FieldName::is_feedback`].
    pub has_feedback: bool,
}

impl Default for ResponseHead {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            fields: Vec::new(),
            status: Status::OK,
            reason: Span::default(),
            version: Version::default(),
            body_length: BodyLength::default(),
            keep_alive: true,
            keep_alive_seconds: None,
            upgrade: None,
            has_feedback: false,
        }
    }
}

impl RequestHead {
    /// Forgets everything but the memory it holds, for the next request.
    pub fn clear(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut fields = std::mem::take(&mut self.fields);
        bytes.clear();
        fields.clear();
        *self = Self {
            bytes,
            fields,
            ..Self::default()
        };
    }

    /// The bytes that `span` covers.
    pub fn text(&self, span: Span) -> &[u8] {
        span.of(&self.bytes)
    }

    /// The value of the first field with this name.
    pub fn field(&self, id: FieldName) -> Option<&[u8]> {
        first(&self.fields, id).map(|field| field.value.of(&self.bytes))
    }

    /// The path to route by, as the most lenient endpoint reads it: `/` where the target left it
    /// out, `//` as `/`, and `%61` and `%2f` as the bytes they stand for. So a route cannot be
    /// walked around by another spelling of its path (CVE-2019-9901, CVE-2021-29492). The endpoint
    /// gets the path as it came.
    pub fn route_path(&self) -> Cow<'_, [u8]> {
        let path = self.text(self.path);
        let is_plain = |pair: &[u8]| pair[1] != b'%' && pair != b"//";
        match path {
            [] => Cow::Borrowed(b"/"),
            path if path.windows(2).all(is_plain) => Cow::Borrowed(path),
            path => Cow::Owned(lenient_path(path)),
        }
    }

    /// The host to route by: the authority without its port. IPv6 literals keep their brackets.
    pub fn route_host(&self) -> &[u8] {
        let authority = self.text(self.authority);
        match authority.iter().rposition(|&byte| byte == b':') {
            Some(colon) if authority[colon..].iter().all(|&byte| byte != b']') => {
                &authority[..colon]
            }
            _ => authority,
        }
    }
}

impl ResponseHead {
    /// Forgets everything but the memory it holds, for the next response.
    pub fn clear(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut fields = std::mem::take(&mut self.fields);
        bytes.clear();
        fields.clear();
        *self = Self {
            bytes,
            fields,
            ..Self::default()
        };
    }

    /// The bytes that `span` covers.
    pub fn text(&self, span: Span) -> &[u8] {
        span.of(&self.bytes)
    }

    /// The value of the first field with this name.
    pub fn field(&self, id: FieldName) -> Option<&[u8]> {
        first(&self.fields, id).map(|field| field.value.of(&self.bytes))
    }
}

/// `path` with encoded bytes decoded where that cannot be undone by a second reading, and without
/// empty segments.
fn lenient_path(mut path: &[u8]) -> Vec<u8> {
    let mut lenient = Vec::with_capacity(path.len());
    while let [byte, rest @ ..] = path {
        let (byte, rest) = match rest {
            [high, low, behind @ ..] if *byte == b'%' => match decode(*high, *low) {
                Some(decoded) if decoded.is_ascii_graphic() && decoded != b'%' => (decoded, behind),
                _ => (*byte, rest),
            },
            _ => (*byte, rest),
        };
        if byte != b'/' || lenient.last() != Some(&b'/') {
            lenient.push(byte);
        }
        path = rest;
    }
    lenient
}

/// The byte that two hexadecimal digits stand for.
fn decode(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(high)? * 16 + digit(low)?) as u8)
}

fn first(fields: &[Field], id: FieldName) -> Option<&Field> {
    fields.iter().find(|field| field.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_routed_by_as_the_most_lenient_endpoint_reads_it() {
        for (path, routed) in [
            ("", "/"),
            ("/", "/"),
            ("/api/x", "/api/x"),
            ("//api///x", "/api/x"),
            ("/%61pi/x", "/api/x"),
            ("/api%2Fx", "/api/x"),
            ("/%2fapi", "/api"),
            ("/a%25%36%31", "/a%2561"),
            ("/a%zz%", "/a%zz%"),
            ("/a%00%20", "/a%00%20"),
            ("*", "*"),
        ] {
            let head = RequestHead {
                bytes: path.as_bytes().to_vec(),
                path: Span::new(0, path.len()),
                ..RequestHead::default()
            };
            let found = head.route_path();
            assert_eq!(String::from_utf8_lossy(&found), routed, "{path}");
        }
    }

    #[test]
    fn the_route_host_has_no_port() {
        for (authority, host) in [
            ("shop.example", "shop.example"),
            ("shop.example:8080", "shop.example"),
            ("[::1]", "[::1]"),
            ("[::1]:80", "[::1]"),
            ("", ""),
        ] {
            let head = RequestHead {
                bytes: authority.as_bytes().to_vec(),
                authority: Span::new(0, authority.len()),
                ..RequestHead::default()
            };
            assert_eq!(head.route_host(), host.as_bytes(), "{authority}");
        }
    }
}
