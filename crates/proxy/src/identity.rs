//! Who sent a request: the peer of the connection, or whom a trusted proxy names.
//!
//! Each proxy appends to `X-Forwarded-For` who sent the request to it, so the list is read from
//! its end, for as long as it names proxies that are trusted too: what stands before the first
//! one that is not was written by somebody who may write anything. `Forwarded` (RFC 7239) is read
//! in the same way where there is no `X-Forwarded-For`.
//!
//! What is appended in turn is in `headers`.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use message::{FieldName, RequestHead};

use crate::client_address::ClientAddress;
use crate::request_id::RequestId;

/// Proxies in front of us that are followed. More are a loop, or somebody trying.
const HOPS_MAX: usize = 32;

/// Who sent a request, and by what.
#[derive(Debug)]
pub(crate) struct Identity {
    /// The client, where it is another one than the peer.
    named: Option<Box<ClientAddress>>,
    /// The peer is a trusted proxy: what it says about where the request comes from is passed on.
    pub(crate) is_trusted: bool,
    /// The client speaks TLS, be it with us or with a trusted proxy.
    pub(crate) is_https: bool,
}

impl Identity {
    /// Of a request on a connection of `peer`, by TLS if `is_https`. `peer` is whom a PROXY header
    /// names, if there was one. One branch if nobody is trusted.
    pub(crate) fn of(
        request: &RequestHead,
        peer: &ClientAddress,
        is_https: bool,
        trusted: &[IpNet],
    ) -> Self {
        let mut identity = Self {
            named: None,
            is_trusted: false,
            is_https,
        };
        if trusted.is_empty() || !peer.socket().is_some_and(|peer| covers(trusted, peer.ip())) {
            return identity;
        }
        identity.is_trusted = true;
        let mut told_https = only(request, FieldName::XForwardedProto).and_then(is_https_word);
        if request.field(FieldName::XForwardedFor).is_some() {
            let lines = lines_from_last(request, FieldName::XForwardedFor);
            let nodes = lines.flat_map(|line| line.rsplit(|byte| *byte == b','));
            let nodes = nodes.map(|node| parse_node(node.trim_ascii()));
            identity.named = first_untrusted(nodes, trusted).map(Box::new);
        } else if let Some((named, proto)) = named_by_forwarded(request, trusted) {
            identity.named = named.map(Box::new);
            told_https = told_https.or(proto);
        }
        identity.is_https = told_https.unwrap_or(is_https);
        identity
    }

    /// The client: `peer`, or who is named in its place.
    pub(crate) fn client<'a>(&'a self, peer: &'a ClientAddress) -> &'a ClientAddress {
        self.named.as_deref().unwrap_or(peer)
    }

    /// The client, if it is not the peer.
    pub(crate) fn named(&self) -> Option<&ClientAddress> {
        self.named.as_deref()
    }

    /// The id that a trusted proxy has given the request.
    pub(crate) fn request_id(&self, request: &RequestHead) -> Option<RequestId> {
        if !self.is_trusted {
            return None;
        }
        only(request, FieldName::XRequestId).and_then(RequestId::taken)
    }

    /// What the client speaks.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.is_https { "https" } else { "http" }
    }
}

/// True if `ip` is in one of `nets`.
pub(crate) fn covers(nets: &[IpNet], ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    nets.iter().any(|net| net.contains(&ip))
}

/// The values of the fields of this name, the last line first. Whether `Connection` names the
/// field does not matter: it is not the client's to take away (CVE-2022-31813).
fn lines_from_last(request: &RequestHead, id: FieldName) -> impl Iterator<Item = &[u8]> {
    let fields = request.fields.iter().rev();
    fields
        .filter(move |field| field.id == id)
        .map(|field| request.text(field.value))
}

/// The value of the field of this name, if there is one line of it.
fn only(request: &RequestHead, id: FieldName) -> Option<&[u8]> {
    let mut lines = lines_from_last(request, id);
    lines.next().filter(|_| lines.next().is_none())
}

/// The first of `nodes`, nearest first, that is not trusted. If a node cannot be read or all are
/// trusted, the last one that is known. `None`: nobody is named.
fn first_untrusted(
    nodes: impl Iterator<Item = Option<Node>>,
    trusted: &[IpNet],
) -> Option<ClientAddress> {
    let mut nearest = None;
    for node in nodes.take(HOPS_MAX).map_while(|node| node) {
        nearest = Some(node);
        if !covers(trusted, node.ip) {
            break;
        }
    }
    nearest.map(|node| match node.port {
        Some(port) => ClientAddress::new(Some(SocketAddr::new(node.ip, port))),
        None => ClientAddress::without_port(node.ip),
    })
}

/// As [`first_untrusted`], of the `Forwarded` fields, and whether that one says that the client
/// spoke TLS. `None` if there are no such fields.
fn named_by_forwarded(
    request: &RequestHead,
    trusted: &[IpNet],
) -> Option<(Option<ClientAddress>, Option<bool>)> {
    request.field(FieldName::Forwarded)?;
    let mut proto = None;
    let elements = lines_from_last(request, FieldName::Forwarded).flat_map(|line| {
        // A line whose quotes do not match names nobody.
        let elements = split(line, b',').unwrap_or_else(|| vec![b""]);
        elements.into_iter().rev()
    });
    let nodes = elements.map(|element| {
        let element = Element::parse(element)?;
        proto = element.is_https;
        Some(element.node)
    });
    let named = first_untrusted(nodes, trusted);
    Some((named, proto))
}

/// What we look at in an element of `Forwarded`.
struct Element {
    node: Node,
    is_https: Option<bool>,
}

impl Element {
    /// `None` if it does not say by whose address the request came, or says anything twice.
    fn parse(element: &[u8]) -> Option<Self> {
        let (mut node, mut proto) = (None, None);
        for pair in split(element, b';')? {
            let pair = pair.trim_ascii();
            let equals = pair.iter().position(|byte| *byte == b'=');
            let (name, value) = pair.split_at(equals.unwrap_or(pair.len()));
            let value = value.get(1..).unwrap_or_default();
            let value = value
                .strip_prefix(b"\"")
                .and_then(|value| value.strip_suffix(b"\""))
                .unwrap_or(value);
            let place = match () {
                () if name.eq_ignore_ascii_case(b"for") => &mut node,
                () if name.eq_ignore_ascii_case(b"proto") => &mut proto,
                () => continue,
            };
            if place.replace(value).is_some() {
                return None;
            }
        }
        Some(Self {
            node: parse_node(node?)?,
            is_https: proto.and_then(is_https_word),
        })
    }
}

/// `list` in pieces at each `separator` that is not in a quoted string (RFC 9110 §5.6.4). `None`
/// if a quoted string does not end.
fn split(list: &[u8], separator: u8) -> Option<Vec<&[u8]>> {
    let mut pieces = Vec::new();
    let (mut begin, mut is_quoted, mut is_escaped) = (0, false, false);
    for (at, &byte) in list.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            _ if byte == separator && !is_quoted => {
                pieces.push(&list[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&list[begin..]);
    (!is_quoted).then_some(pieces)
}

/// An address as proxies write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Node {
    ip: IpAddr,
    port: Option<u16>,
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:4711`. `None`
/// for `unknown`, for a name that hides the address (RFC 7239 §6.3) and for whatever else.
fn parse_node(node: &[u8]) -> Option<Node> {
    let node = str::from_utf8(node).ok()?;
    if let Ok(ip) = node.parse() {
        return Some(Node { ip, port: None });
    }
    if let Ok(socket) = node.parse::<SocketAddr>() {
        let (ip, port) = (socket.ip(), Some(socket.port()));
        return Some(Node { ip, port });
    }
    let ip = node.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?;
    Some(Node {
        ip: IpAddr::V6(ip),
        port: None,
    })
}

/// Whether `word` names a scheme with TLS; `None` if it is not the name of one that we speak.
fn is_https_word(word: &[u8]) -> Option<bool> {
    let is = |scheme: &str| word.eq_ignore_ascii_case(scheme.as_bytes());
    if is("https") || is("wss") {
        Some(true)
    } else if is("http") || is("ws") {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
