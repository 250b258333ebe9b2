//! Field lines, one at a time, as they arrive.
//!
//! A head is cut into lines at LF, wherever its bytes were cut on the way; each line is
//! validated once it is whole. So a head gives the same result however it arrives, and a byte is
//! never looked at twice but for the search of the line end.

use memchr::memchr;
use message::{Field, FieldName, Span, Version};

use super::BadMessage;
use super::bytes::{is_field_value, is_tchar, is_token, tokens};

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

/// Finds the lines of a head in a growing buffer.
#[derive(Debug, Default)]
pub(super) struct LineReader {
    /// Where the line that is being received begins.
    line_start: usize,
    /// Up to where no LF was found.
    scanned: usize,
}

impl LineReader {
    /// The next whole line of `bytes` as `start..end` without CR LF, or `None` if it has not
    /// arrived. `bytes` begins where it began at the last call.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Result<Option<(usize, usize)>, BadMessage> {
        let Some(offset) = memchr(b'\n', &bytes[self.scanned..]) else {
            self.scanned = bytes.len();
            return Ok(None);
        };
        let line_feed = self.scanned + offset;
        let start = self.line_start;
        if line_feed == start || bytes[line_feed - 1] != b'\r' {
            return Err(BadMessage::BareLineEnd);
        }
        self.line_start = line_feed + 1;
        self.scanned = self.line_start;
        Ok(Some((start, line_feed - 1)))
    }

    /// Bytes used by whole lines so far.
    pub(super) fn consumed(&self) -> usize {
        self.line_start
    }
}

/// Reads the field line `bytes[start..end]`, which lies behind a CR LF and before one.
/// `base` is subtracted from every offset of the result.
pub(super) fn read_field(
    bytes: &[u8],
    start: usize,
    end: usize,
    base: usize,
) -> Result<Field, BadMessage> {
    let line = &bytes[start..end];
    let name_length = line
        .iter()
        .position(|&byte| !is_tchar(byte))
        .unwrap_or(line.len());
    // An empty name would end the list for a careless reader (CVE-2023-25725); a blank before
    // the colon or first in the line hides a name from one and not from another.
    if name_length == 0 || line.get(name_length) != Some(&b':') {
        return Err(BadMessage::FieldName);
    }
    let raw_value = &line[name_length + 1..];
    if !is_field_value(raw_value) {
        // A CR in the middle of a line is a line end to some.
        return Err(if raw_value.contains(&b'\r') {
            BadMessage::BareLineEnd
        } else {
            BadMessage::FieldValue
        });
    }
    let is_blank = |at: usize| line[at] == b' ' || line[at] == b'\t';
    let mut value = name_length + 1..line.len();
    while !value.is_empty() && is_blank(value.start) {
        value.start += 1;
    }
    while !value.is_empty() && is_blank(value.end - 1) {
        value.end -= 1;
    }
    let id = FieldName::from_bytes(&line[..name_length]);
    Ok(Field {
        name: Span::new(start - base, start + name_length - base),
        value: Span::new(start + value.start - base, start + value.end - base),
        end: (end + 2 - base) as u32,
        id,
        hop_by_hop: id.is_hop_by_hop(),
    })
}

/// Reads a Content-Length: one or more digits and nothing else. At most 18 of them, so that no
/// sum of it overflows.
pub(super) fn read_content_length(value: &[u8]) -> Result<u64, BadMessage> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return Err(BadMessage::ContentLength);
    }
    Ok(value
        .iter()
        .fold(0, |length, digit| length * 10 + u64::from(digit - b'0')))
}

/// Fills `slot`, which must be empty: some fields may come once only.
pub(super) fn set_once<T>(
    slot: &mut Option<T>,
    value: T,
    otherwise: BadMessage,
) -> Result<(), BadMessage> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(otherwise),
    }
}

/// Connection options in one head. Each is compared with every field, so there is a bound.
const CONNECTION_OPTIONS_MAX: u32 = 32;

/// What the `Connection` fields of a head say (RFC 9110 §7.6.1).
#[derive(Default)]
pub(super) struct ConnectionOptions {
    close: bool,
    keep_alive: bool,
    pub(super) upgrade: bool,
    count: u32,
}

impl ConnectionOptions {
    /// Reads one `Connection` value and marks the fields that it names as hop-by-hop.
    ///
    /// Host and Content-Length stay: they describe the message, and a peer that names them asks
    /// for a message that means something else behind us.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        fields: &mut [Field],
        value: &[u8],
    ) -> Result<(), BadMessage> {
        for option in tokens(value) {
            self.count += 1;
            if self.count > CONNECTION_OPTIONS_MAX {
                return Err(BadMessage::FieldsTooLarge);
            }
            if !is_token(option) {
                return Err(BadMessage::FieldValue);
            }
            match FieldName::from_bytes(option) {
                FieldName::Upgrade => self.upgrade = true,
                FieldName::KeepAlive => self.keep_alive = true,
                FieldName::Host | FieldName::ContentLength => {}
                _ if option.eq_ignore_ascii_case(b"close") => self.close = true,
                _ => {
                    for field in fields.iter_mut() {
                        field.hop_by_hop |= field.name.of(bytes).eq_ignore_ascii_case(option);
                    }
                }
            }
        }
        Ok(())
    }

    /// True if the sender lets the connection live on (RFC 9112 §9.3).
    pub(super) fn keep_alive(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}
