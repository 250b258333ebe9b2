//! The keys of a WebSocket handshake, where we translate one: HTTP/2 asks for a WebSocket without
//! them (RFC 8441 §5), HTTP/1.1 with.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use wire::grpc::write_base64;

/// What every `Sec-WebSocket-Accept` is made with (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A `Sec-WebSocket-Key`: 16 random bytes, which need not be secret (RFC 6455 §4.1).
pub(crate) fn new_key(random: &mut fastrand::Rng) -> String {
    base64(&random.u128(..).to_ne_bytes())
}

/// The `Sec-WebSocket-Accept` that answers `key`.
pub(crate) fn accept(key: &[u8]) -> String {
    base64(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat()).as_ref())
}

fn base64(bytes: &[u8]) -> String {
    let mut text = Vec::new();
    write_base64(bytes, &mut text);
    String::from_utf8(text).expect("base64 is ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_of_the_example_in_the_rfc_is_right() {
        let accepted = accept(b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accepted, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_key_has_sixteen_bytes() {
        assert_eq!(new_key(&mut fastrand::Rng::with_seed(1)).len(), 24);
    }
}
