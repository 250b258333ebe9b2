//! How the end of a body is found, and of the connection: the fields that decide it, read in one
//! place for requests and responses, because every smuggling attack begins with two readers who
//! decide it differently.

use message::{BodyLength, Field, FieldName, Version};

use super::BadMessage;
use super::bytes::{is_token, tokens};

/// What the framing fields of a head say together.
#[derive(Default)]
pub(super) struct Framing {
    content_length: Option<u64>,
    is_chunked: bool,
    pub(super) connection: ConnectionOptions,
}

impl Framing {
    /// Takes one field, if it is about framing. `fields` are all fields of the head: those that
    /// `Connection` names are marked.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        fields: &mut [Field],
        field: Field,
    ) -> Result<(), BadMessage> {
        let value = field.value.of(bytes);
        match field.id {
            FieldName::ContentLength => {
                // Equal repetitions are refused too: no honest peer sends them.
                let length = read_content_length(value)?;
                set_once(&mut self.content_length, length, BadMessage::ContentLength)
            }
            FieldName::TransferEncoding => {
                if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(BadMessage::TransferEncoding);
                }
                self.is_chunked = true;
                Ok(())
            }
            FieldName::Connection => self.connection.read(bytes, fields, value),
            _ => Ok(()),
        }
    }

    /// The length of the body, `None` if no field says it.
    pub(super) fn length(&self, version: Version) -> Result<Option<BodyLength>, BadMessage> {
        match (self.is_chunked, self.content_length) {
            // Two framings at once is how requests are smuggled: the endpoint may believe the
            // other one. RFC 9112 §6.1 lets us repair or reject; no honest peer sends this.
            (true, Some(_)) => Err(BadMessage::AmbiguousFraming),
            (true, None) if version == Version::Http10 => Err(BadMessage::TransferEncoding),
            (true, None) => Ok(Some(BodyLength::Chunked)),
            (false, length) => Ok(length.map(BodyLength::Exact)),
        }
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
    /// Host, Content-Length and Expect stay: they describe the message, and a peer that names them
    /// asks for a message that means something else behind us.
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
                FieldName::Host | FieldName::ContentLength | FieldName::Expect => {}
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

/// Reads a Content-Length: one or more digits and nothing else. At most 18 of them, so that no
/// sum of it overflows.
pub(crate) fn read_content_length(value: &[u8]) -> Result<u64, BadMessage> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return Err(BadMessage::ContentLength);
    }
    Ok(value
        .iter()
        .fold(0, |length, digit| length * 10 + u64::from(digit - b'0')))
}

/// Fills `slot`, which must be empty: some fields may come once only.
pub(crate) fn set_once<T>(
    slot: &mut Option<T>,
    value: T,
    otherwise: BadMessage,
) -> Result<(), BadMessage> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(otherwise),
    }
}
