//! Blocks to responses.

use message::{BodyLength, FieldName, Method, ResponseHead, Span, Status, Version};

use super::block::{Budget, HeadError, check_hop_by_hop, field, read_block, value_span};
use crate::h1::{BadMessage, Limits, has_no_body, read_content_length, set_once};
use crate::h2::hpack::{Decoder, Line, Name};

/// Reads a response to a `method` request from a whole block, into the empty `head`; an interim
/// one, too. `body_length` holds unless the stream ends with the head: see
/// [`super::end_with_head`]. What follows a 2xx to CONNECT is a tunnel and no body.
///
/// # Errors
/// The block or the message broke a rule. `head` is then of no use.
pub fn read_response(
    decoder: &mut Decoder,
    block: &[u8],
    limits: &Limits,
    method: Method,
    head: &mut ResponseHead,
) -> Result<(), HeadError> {
    read_block(decoder, block, |block, scratch| {
        let mut budget = Budget::new(limits);
        // `:status` is the only pseudo-field, and stands before the others (RFC 9113 §8.3.2).
        let line = block.next(scratch)?.ok_or(BadMessage::StatusLine)?;
        budget.spend(&line)?;
        write_status_line(&line, scratch, head)?;

        let mut content_length = None;
        loop {
            let start = head.bytes.len();
            let Some(line) = block.next(&mut head.bytes)? else {
                break;
            };
            budget.spend(&line)?;
            let id = response_field(&line)?;
            if id != FieldName::Other {
                let value = value_span(&line, start).of(&head.bytes);
                check_hop_by_hop(id, value)?;
                head.has_feedback |= id.is_feedback();
                if id == FieldName::ContentLength {
                    let length = read_content_length(value)?;
                    set_once(&mut content_length, length, BadMessage::ContentLength)?;
                }
            }
            head.fields.push(field(&line, start, id));
        }
        head.bytes.extend_from_slice(b"\r\n");
        head.version = Version::Http2;
        let is_tunnel = method == Method::Connect && (200..300).contains(&head.status.code());
        head.body_length = match content_length {
            _ if is_tunnel || has_no_body(method, head.status) => BodyLength::Empty,
            Some(length) => BodyLength::Exact(length),
            None => BodyLength::UntilEnd,
        };
        Ok(())
    })
}

/// Begins `head` with the line that says the same as the pseudo-field in `text`.
fn write_status_line(line: &Line, text: &[u8], head: &mut ResponseHead) -> Result<(), BadMessage> {
    let code = value_span(line, 0).of(text);
    if line.name != Name::Status || code.len() != 3 || !code.iter().all(u8::is_ascii_digit) {
        return Err(BadMessage::StatusLine);
    }
    let number = code
        .iter()
        .fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    head.status = Status::from_code(number).ok_or(BadMessage::StatusLine)?;
    if head.status == Status::SWITCHING_PROTOCOLS {
        // RFC 9113 §8.6: there is no other protocol to switch to.
        return Err(BadMessage::StatusLine);
    }
    let reason = head.status.reason().as_bytes();
    for part in [b"HTTP/1.1 ", code, b" ", reason, b"\r\n"] {
        head.bytes.extend_from_slice(part);
    }
    let end = head.bytes.len() - 2;
    head.reason = Span::new(end - reason.len(), end);
    Ok(())
}

/// The id of a field in a response.
fn response_field(line: &Line) -> Result<FieldName, BadMessage> {
    match line.name {
        _ if !line.is_value_good => Err(BadMessage::FieldValue),
        Name::Field(id) => Ok(id),
        // Both mean nothing here.
        Name::Cookie | Name::Disguised => Ok(FieldName::Other),
        Name::Malformed => Err(BadMessage::FieldName),
        _ => Err(BadMessage::StatusLine),
    }
}
