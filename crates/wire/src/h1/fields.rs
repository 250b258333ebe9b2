//! Field lines, one at a time, as they arrive.
//!
//! Bytes are judged once and in their order, and the first bad one decides, so a head gives the
//! same result wherever it was cut on the way.

use message::{Field, FieldName, Span};

use super::BadMessage;
use super::bytes::{find_control, is_blank, is_tchar};

/// Bounds of a head.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// First line and fields together, in bytes.
    pub head_bytes: usize,
    /// Field lines.
    pub fields: usize,
    /// The first line alone, in bytes.
    pub line_bytes: usize,
}

/// What stands at a place of a head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<T> {
    /// A whole line, line end included.
    Whole(T),
    /// The empty line that ends the head.
    End,
    /// More bytes are needed.
    Partial,
}

/// How far a head has been read.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Where the line begins that is next.
    pub(super) at: usize,
    /// Up to where its bytes were judged, if that is behind `at`.
    pub(super) judged: usize,
    /// Where its name ends, once that is known.
    colon: Option<usize>,
}

impl Progress {
    /// Where to go on reading.
    pub(super) fn resume_at(&self) -> usize {
        self.judged.max(self.at)
    }

    /// The line that ended before `next` is done with.
    pub(super) fn pass_line(&mut self, next: usize) {
        *self = Self {
            at: next,
            judged: next,
            colon: None,
        };
    }
}

/// Judges the control byte at `at`: the place behind CR LF, or `None` if the LF has not arrived.
/// Any byte but these is `otherwise` wrong.
pub(super) fn read_line_end(
    bytes: &[u8],
    at: usize,
    otherwise: BadMessage,
) -> Result<Option<usize>, BadMessage> {
    match (bytes[at], bytes.get(at + 1)) {
        (b'\r', None) => Ok(None),
        (b'\r', Some(b'\n')) => Ok(Some(at + 2)),
        (b'\r' | b'\n', _) => Err(BadMessage::BareLineEnd),
        _ => Err(otherwise),
    }
}

/// Looks for the end of the first line of a head, which may hold no control byte. Returns where
/// the next line begins.
pub(super) fn find_line_end(
    bytes: &[u8],
    progress: &mut Progress,
    otherwise: BadMessage,
) -> Result<Option<usize>, BadMessage> {
    let from = progress.resume_at();
    let end = find_control(&bytes[from..]).map(|length| from + length);
    progress.judged = end.unwrap_or(bytes.len());
    let next = match end {
        Some(end) => read_line_end(bytes, end, otherwise)?,
        None => None,
    };
    if let Some(next) = next {
        progress.pass_line(next);
    }
    Ok(next)
}

/// Reads on in the field lines and appends the whole ones to `fields`, up to `fields_max`. True
/// once the head has ended; it ends at `progress.at`. `base` is subtracted from every offset.
pub(super) fn read_fields(
    bytes: &[u8],
    progress: &mut Progress,
    base: usize,
    fields: &mut Vec<Field>,
    fields_max: usize,
) -> Result<bool, BadMessage> {
    loop {
        match read_field(bytes, progress, base)? {
            Line::Whole(_) if fields.len() == fields_max => return Err(BadMessage::FieldsTooLarge),
            Line::Whole(field) => fields.push(field),
            Line::End => return Ok(true),
            Line::Partial => return Ok(false),
        }
    }
}

/// Reads on in the field line that is next. `base` is subtracted from every offset of the result.
#[inline]
pub(super) fn read_field(
    bytes: &[u8],
    progress: &mut Progress,
    base: usize,
) -> Result<Line<Field>, BadMessage> {
    let start = progress.at;
    let (colon, value_from) = match progress.colon {
        Some(colon) => (colon, progress.judged),
        None => {
            let from = progress.resume_at();
            let Some(length) = bytes[from..].iter().position(|&byte| !is_tchar(byte)) else {
                progress.judged = bytes.len();
                return Ok(Line::Partial);
            };
            let colon = from + length;
            if bytes[colon] != b':' || colon == start {
                if colon == start && matches!(bytes[start], b'\r' | b'\n') {
                    return Ok(match read_line_end(bytes, start, BadMessage::FieldName)? {
                        None => Line::Partial,
                        Some(end) => {
                            progress.pass_line(end);
                            Line::End
                        }
                    });
                }
                // An empty name would end the list for a careless reader (CVE-2023-25725); a
                // blank before the colon or first in the line hides a name from one and not
                // from another.
                return Err(BadMessage::FieldName);
            }
            (colon, colon + 1)
        }
    };
    let line_end = find_control(&bytes[value_from..]).map(|length| value_from + length);
    let next = match line_end {
        Some(line_end) => read_line_end(bytes, line_end, BadMessage::FieldValue)?,
        None => None,
    };
    let (Some(line_end), Some(next)) = (line_end, next) else {
        progress.colon = Some(colon);
        progress.judged = line_end.unwrap_or(bytes.len());
        return Ok(Line::Partial);
    };
    progress.pass_line(next);

    let mut value = colon + 1..line_end;
    while !value.is_empty() && is_blank(bytes[value.start]) {
        value.start += 1;
    }
    while !value.is_empty() && is_blank(bytes[value.end - 1]) {
        value.end -= 1;
    }
    let id = FieldName::from_bytes(&bytes[start..colon]);
    Ok(Line::Whole(Field {
        name: Span::new(start - base, colon - base),
        value: Span::new(value.start - base, value.end - base),
        end: (next - base) as u32,
        id,
        hop_by_hop: id.is_hop_by_hop(),
    }))
}

/// False for fields that must not come in trailers: framing, routing and what we set ourselves
/// (RFC 9110 §6.5.1).
pub(crate) fn may_come_late(id: FieldName) -> bool {
    !id.is_hop_by_hop()
        && !matches!(
            id,
            FieldName::ContentLength
                | FieldName::Host
                | FieldName::Trailer
                | FieldName::Expect
                | FieldName::MaxForwards
                | FieldName::Forwarded
                | FieldName::Via
                | FieldName::XForwardedFor
                | FieldName::XForwardedHost
                | FieldName::XForwardedProto
                | FieldName::XRequestId
        )
}
