//! The first message of a TLS client, read without ending TLS: which name it asks for and which
//! protocols it offers (RFC 8446 §4.1.2, RFC 6066 §3, RFC 7301 §3.1).

/// Longest ClientHello that is read, record headers included. Those of today's browsers, with
/// post-quantum keys, have 2 KiB.
pub const HELLO_BYTES_MAX: usize = 16 * 1024;

/// What stands at the beginning of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// Perhaps a hello; more bytes will tell.
    Partial,
    /// No TLS.
    Absent,
    /// A whole hello.
    Whole(ClientHello),
}

/// What a client says first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientHello {
    /// The name that it asks for, in lower case; where it encrypts its hello, the outer one.
    pub sni: Option<Box<str>>,
    /// Protocols that it offers, the best first.
    pub alpn: Vec<Box<[u8]>>,
}

/// Bytes that begin like TLS and break its rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHello {
    /// Longer than [`HELLO_BYTES_MAX`].
    #[error("the ClientHello is too long")]
    TooLong,
}

/// Looks at all that has arrived on a connection. O(length of the hello).
///
/// # Errors
/// The bytes begin like a hello and break its rules.
pub fn read(_bytes: &[u8]) -> Result<Read, BadHello> {
    unimplemented!("a skeleton")
}
