//! Blocks to requests.

use message::{BodyLength, Field, FieldName, Method, RequestHead, Span, Version};

use super::block::{Budget, HeadError, check_hop_by_hop, field, read_block, value_span};
use crate::h1::{
    BadMessage, Limits, is_authority, is_target, is_token, read_content_length, read_target,
    set_once,
};
use crate::h2::hpack::{Decoder, Line, Name};

/// Reads a request from a whole block, HEADERS and CONTINUATION already joined, into the empty
/// `head`.
///
/// The text begins with the request line and a Host field made of the pseudo-fields, and ends with
/// a Cookie field that joins all crumbs. `body_length` holds unless the stream ends with the head:
/// see [`super::end_with_head`].
///
/// With `connect_protocol`, extended CONNECT (RFC 8441) is allowed. It becomes a GET with an
/// Upgrade field. Like CONNECT it has an empty body: what follows on the stream is a tunnel.
///
/// # Errors
/// The block or the message broke a rule. `head` is then of no use.
pub fn read_request(
    decoder: &mut Decoder,
    block: &[u8],
    limits: &Limits,
    connect_protocol: bool,
    head: &mut RequestHead,
) -> Result<(), HeadError> {
    read_block(decoder, block, |block, scratch| {
        let mut budget = Budget::new(limits);
        let mut pseudo = PseudoFields::default();
        let first = loop {
            let start = scratch.len();
            let Some(line) = block.next(scratch)? else {
                break None;
            };
            budget.spend(&line)?;
            if !line.name.is_pseudo() {
                break Some((line, start));
            }
            pseudo.read(&line, start)?;
        };
        if pseudo.line_bytes() > limits.line_bytes {
            return Err(HeadError::TooLarge);
        }
        pseudo.write(scratch, connect_protocol, head)?;

        let start = head.bytes.len();
        if let Some((_, at)) = first {
            head.bytes.extend_from_slice(&scratch[at..]);
        }
        // From here on it holds the crumbs of cookies.
        scratch.clear();
        let mut meaning = Meaning::default();
        if let Some((line, _)) = first {
            meaning.read(&line, start, scratch, head)?;
        }
        loop {
            let start = head.bytes.len();
            let Some(line) = block.next(&mut head.bytes)? else {
                break;
            };
            budget.spend(&line)?;
            meaning.read(&line, start, scratch, head)?;
        }
        meaning.conclude(scratch, head)?;
        Ok(())
    })
}

/// Values of pseudo-fields, in a text beside the head: their order is the sender's.
#[derive(Default)]
struct PseudoFields {
    method: Option<Span>,
    scheme: Option<Span>,
    authority: Option<Span>,
    path: Option<Span>,
    protocol: Option<Span>,
}

impl PseudoFields {
    fn read(&mut self, line: &Line, start: usize) -> Result<(), BadMessage> {
        let slot = match line.name {
            Name::Method => &mut self.method,
            Name::Scheme => &mut self.scheme,
            Name::Authority => &mut self.authority,
            Name::Path => &mut self.path,
            Name::Protocol => &mut self.protocol,
            _ => return Err(BadMessage::RequestLine),
        };
        set_once(slot, value_span(line, start), BadMessage::RequestLine)
    }

    /// Bytes of the request line that they make.
    fn line_bytes(&self) -> usize {
        let length = |span: Option<Span>| span.map_or(0, |span| (span.end - span.start) as usize);
        length(self.method) + length(self.path) + "  HTTP/1.1\r\n".len()
    }

    /// Begins `head` with the lines that say the same in HTTP/1.1.
    fn write(
        self,
        text: &[u8],
        connect_protocol: bool,
        head: &mut RequestHead,
    ) -> Result<(), BadMessage> {
        let method = self.method.ok_or(BadMessage::RequestLine)?.of(text);
        if !is_token(method) {
            return Err(BadMessage::RequestLine);
        }
        head.method = Method::from_token(method);
        let is_connect = head.method == Method::Connect;
        let target = match (self.scheme, self.path, self.authority, self.protocol) {
            // RFC 9113 §8.5.
            (None, None, Some(authority), None) if is_connect => authority,
            // RFC 8441 §4.
            (Some(_), Some(path), Some(_), Some(_)) if is_connect && connect_protocol => {
                head.method = Method::Get;
                head.is_extended_connect = true;
                path
            }
            // RFC 9113 §8.3.1.
            (Some(_), Some(path), _, None) if !is_connect => path,
            _ => return Err(BadMessage::RequestLine),
        };
        let target = target.of(text);
        if let Some(scheme) = self.scheme
            && !matches!(scheme.of(text), b"http" | b"https")
        {
            return Err(BadMessage::RequestLine);
        }
        let is_path = matches!(target.first(), Some(b'/' | b'*'));
        if !is_target(target) || !(is_path || head.method == Method::Connect) {
            return Err(BadMessage::Target);
        }

        let method = if head.is_extended_connect {
            b"GET"
        } else {
            method
        };
        for part in [method, b" ", target, b" HTTP/1.1\r\n"] {
            head.bytes.extend_from_slice(part);
        }
        head.method_text = Span::new(0, method.len());
        read_target(target, method.len() + 1, head)?;
        if let Some(authority) = self.authority {
            let authority = authority.of(text);
            if !is_authority(authority) {
                return Err(BadMessage::Host);
            }
            head.authority = push_field("host", authority, FieldName::Host, head);
        }
        if let Some(protocol) = self.protocol {
            let protocol = protocol.of(text);
            if !is_token(protocol) {
                return Err(BadMessage::RequestLine);
            }
            head.upgrade = Some(push_field("upgrade", protocol, FieldName::Upgrade, head));
        }
        Ok(())
    }
}

/// What the fields say together, as they come by.
#[derive(Default)]
struct Meaning {
    content_length: Option<u64>,
    /// A Host field that is there although the authority was known.
    host: Option<()>,
}

impl Meaning {
    /// Takes the line at the end of `head`, which begins at `start`. `crumbs` are the values of
    /// Cookie fields, joined.
    #[inline]
    fn read(
        &mut self,
        line: &Line,
        start: usize,
        crumbs: &mut Vec<u8>,
        head: &mut RequestHead,
    ) -> Result<(), BadMessage> {
        if !line.is_value_good {
            return Err(BadMessage::FieldValue);
        }
        let value = value_span(line, start);
        let id = match line.name {
            Name::Field(id) => id,
            Name::Cookie => {
                // RFC 9113 §8.2.3: many endpoints read only one Cookie field.
                let crumb = value.of(&head.bytes);
                if !crumbs.is_empty() && !crumb.is_empty() {
                    crumbs.extend_from_slice(b"; ");
                }
                crumbs.extend_from_slice(crumb);
                head.bytes.truncate(start);
                return Ok(());
            }
            Name::Disguised | Name::Malformed => return Err(BadMessage::FieldName),
            // Behind an ordinary field (RFC 9113 §8.3).
            _ => return Err(BadMessage::RequestLine),
        };
        if id != FieldName::Other && !self.read_known(id, value, head)? {
            head.bytes.truncate(start);
            return Ok(());
        }
        head.fields.push(field(line, start, id));
        Ok(())
    }

    /// False if the field says nothing new, and goes.
    fn read_known(
        &mut self,
        id: FieldName,
        span: Span,
        head: &mut RequestHead,
    ) -> Result<bool, BadMessage> {
        let value = span.of(&head.bytes);
        check_hop_by_hop(id, value)?;
        match id {
            FieldName::ContentLength => {
                let length = read_content_length(value)?;
                set_once(&mut self.content_length, length, BadMessage::ContentLength)?;
            }
            FieldName::Host => {
                set_once(&mut self.host, (), BadMessage::Host)?;
                if !head.authority.is_empty() {
                    // RFC 9113 §8.3.1: a difference is how requests go to the wrong host.
                    let authority = head.authority.of(&head.bytes);
                    if !authority.eq_ignore_ascii_case(value) {
                        return Err(BadMessage::Host);
                    }
                    return Ok(false);
                }
                if !is_authority(value) {
                    return Err(BadMessage::Host);
                }
                head.authority = span;
            }
            FieldName::Expect => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(BadMessage::Expectation);
                }
                head.expects_continue = true;
            }
            FieldName::Te => head.accepts_trailers = true,
            _ => {}
        }
        Ok(true)
    }

    /// Ends `head`.
    fn conclude(self, crumbs: &[u8], head: &mut RequestHead) -> Result<(), BadMessage> {
        if head.authority.is_empty() {
            return Err(BadMessage::Host);
        }
        let is_tunnel = head.method == Method::Connect || head.is_extended_connect;
        if is_tunnel && self.content_length.is_some() {
            // What follows is no body, and nobody is to take it, or what comes behind it, for one.
            return Err(BadMessage::ContentLength);
        }
        if !crumbs.is_empty() {
            push_field("cookie", crumbs, FieldName::Other, head);
        }
        head.bytes.extend_from_slice(b"\r\n");
        head.version = Version::Http2;
        head.keep_alive = true;
        head.body_length = match self.content_length {
            _ if is_tunnel => BodyLength::Empty,
            Some(length) => BodyLength::Exact(length),
            None => BodyLength::UntilEnd,
        };
        Ok(())
    }
}

/// Appends a field of ours. Returns where its value stands.
fn push_field(name: &str, value: &[u8], id: FieldName, head: &mut RequestHead) -> Span {
    let start = head.bytes.len();
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        head.bytes.extend_from_slice(part);
    }
    let end = head.bytes.len();
    let value = Span::new(start + name.len() + 2, end - 2);
    head.fields.push(Field {
        name: Span::new(start, start + name.len()),
        value,
        end: end as u32,
        id,
        hop_by_hop: id.is_hop_by_hop(),
    });
    value
}
