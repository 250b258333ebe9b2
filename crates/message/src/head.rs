//! Heads: the first line and the fields of a request or a response.

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

/// Version of an HTTP/1 message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Version {
    /// HTTP/1.0: no chunked coding, closes by default.
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
}

impl Version {
    /// As it stands in a first line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
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
    /// Everything until the connection closes; responses only.
    UntilClose,
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

    /// The path to route by; `/` where the target left it out.
    pub fn route_path(&self) -> &[u8] {
        if self.path.is_empty() {
            b"/"
        } else {
            self.text(self.path)
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

fn first(fields: &[Field], id: FieldName) -> Option<&Field> {
    fields.iter().find(|field| field.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

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
