//! The first message of a TLS client, read without ending TLS: which name it asks for and which
//! protocols it offers (RFC 8446 §4.1.2, RFC 6066 §3, RFC 7301 §3.1).
//!
//! [`read`] looks at the beginning of a connection. `records` finds the message in the records
//! that it came in, `extensions` what it says.
//!
//! Whoever ends the TLS reads the same bytes again, and must not find another name in them than we
//! did. So all that could be read in two ways is refused, and all that two names could come from.
//!
//! Absent on purpose: the inner hello of Encrypted Client Hello (RFC 9849). It is for whoever has
//! its key; the outer one, which anybody may read, names the server that has.

mod extensions;
mod records;

#[cfg(test)]
mod tests;

/// Longest ClientHello that is read, record headers included. Those of today's browsers, with
/// post-quantum keys, have 2 KiB.
pub const HELLO_BYTES_MAX: usize = 16 * 1024;

/// Most protocols that a hello may offer. Clients offer two or three.
pub const PROTOCOLS_MAX: usize = 64;

/// What stands at the beginning of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// Perhaps a hello; more bytes will tell.
    Partial,
    /// No TLS. So is the hello of SSL 2.0, which could ask for no name.
    Absent,
    /// A whole hello.
    Whole(ClientHello),
}

/// What a client says first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientHello {
    /// The name that it asks for, in lower case; where it encrypts its hello, the outer one.
    pub sni: Option<Box<str>>,
    /// Protocols that it offers, the best first; among them may be some that do not exist (GREASE,
    /// RFC 8701).
    pub alpn: Vec<Box<[u8]>>,
}

/// Bytes that begin like TLS and break its rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHello {
    /// Longer than [`HELLO_BYTES_MAX`].
    #[error("the ClientHello is too long")]
    TooLong,
    /// A record that is empty, or longer than 2^14 bytes (RFC 8446 §5.1).
    #[error("a record of the ClientHello is empty or too long")]
    RecordLength,
    /// A record of another type or protocol between those of the hello (RFC 8446 §5.1).
    #[error("the ClientHello is interrupted by another record")]
    Interrupted,
    /// A handshake that begins with another message.
    #[error("the first message of the handshake is no ClientHello")]
    Message,
    /// More in its last record, where keys may change (RFC 8446 §5.1).
    #[error("the ClientHello does not end with its record")]
    Trailing,
    /// SSL 3.0 or before (RFC 7568).
    #[error("the ClientHello is of SSL, not of TLS")]
    Version,
    /// A part that is longer or shorter than what holds it, or than it may be.
    #[error("a part of the ClientHello has the wrong length")]
    Length,
    /// An extension that stands there twice (RFC 8446 §4.2).
    #[error("an extension of the ClientHello is repeated")]
    Repeated,
    /// Not exactly one name, or one that is no host name (RFC 6066 §3).
    #[error("the server name of the ClientHello is no single host name")]
    ServerName,
    /// No protocol, one without a name, or more than [`PROTOCOLS_MAX`].
    #[error("the protocols of the ClientHello are none, nameless or too many")]
    Protocols,
}

/// Looks at all that has arrived on a connection. O(length of the hello), and nothing is copied
/// before it is whole. Once it says anything but [`Read::Partial`], more bytes change nothing.
///
/// # Errors
/// The bytes begin like a hello and break its rules.
pub fn read(bytes: &[u8]) -> Result<Read, BadHello> {
    let signature = &bytes[..bytes.len().min(records::SIGNATURE.len())];
    if !records::SIGNATURE.starts_with(signature) {
        return Ok(Read::Absent);
    }
    let bytes = &bytes[..bytes.len().min(HELLO_BYTES_MAX)];
    match records::message(bytes)? {
        Some(message) => extensions::read(&message).map(Read::Whole),
        None if bytes.len() == HELLO_BYTES_MAX => Err(BadHello::TooLong),
        None => Ok(Read::Partial),
    }
}
