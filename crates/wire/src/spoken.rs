//! Which protocol a client speaks, by its first bytes.

/// What the first bytes of a connection say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// A TLS handshake.
    Tls,
    /// HTTP/1 or HTTP/2.
    Http,
    /// Anything else.
    Other,
}

/// `None`: more bytes will tell; never with 32 bytes or more.
pub fn spoken(_bytes: &[u8]) -> Option<Spoken> {
    unimplemented!("a skeleton")
}
