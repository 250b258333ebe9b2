//! The name of a request in logs, here and elsewhere.

use std::time::{SystemTime, UNIX_EPOCH};

/// Longest id that is taken from a proxy in front: it is copied into every log line.
const TAKEN_BYTES_MAX: usize = 128;

/// The id of a request: made here, or given by a proxy that is trusted.
pub(crate) enum RequestId {
    /// UUIDv7 (RFC 9562 §5.7): unique, and sorted by time.
    Made([u8; 36]),
    /// ASCII without white space.
    Taken(Box<str>),
}

impl RequestId {
    /// A new one.
    pub(crate) fn new(time: SystemTime, random: &mut fastrand::Rng) -> Self {
        let milliseconds = time
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64);
        let noise = (u128::from(random.u64(..)) << 64 | u128::from(random.u64(..))).to_ne_bytes();
        let noise = noise.first_chunk().expect("16 bytes hold 10");
        let id = uuid::Builder::from_unix_timestamp_millis(milliseconds, noise).into_uuid();
        let mut text = [0; 36];
        id.hyphenated().encode_lower(&mut text);
        Self::Made(text)
    }

    /// The one that a proxy in front has given, if it is one: a token (RFC 9110 §5.6.2), or what
    /// else such ids are written with, but nothing that means something in a log line or a page.
    pub(crate) fn taken(text: &[u8]) -> Option<Self> {
        let is_harmless =
            |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%*+-.^_|~:;/=@,".contains(byte);
        let is_taken = (1..=TAKEN_BYTES_MAX).contains(&text.len()) && text.iter().all(is_harmless);
        let text = str::from_utf8(text).ok().filter(|_| is_taken)?;
        Some(Self::Taken(text.into()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Made(text) => text,
            Self::Taken(text) => text.as_bytes(),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Made(text) => str::from_utf8(text).unwrap_or_default(),
            Self::Taken(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_a_proxy_is_taken_if_it_is_a_short_word() {
        let longest = "x".repeat(128);
        for id in [
            "1",
            "01890a5d-ac96-774b-bcce-b302099a8057",
            "1-67891233-abcdef012345678912345678",
            "Root=1-67891233;Self=1/2+3",
            &longest,
        ] {
            let taken = RequestId::taken(id.as_bytes());
            assert_eq!(taken.as_ref().map(RequestId::as_str), Some(id));
        }
        let too_long = "x".repeat(129);
        for id in [
            "", " ", "a b", "\"", "<b>", "a\\", "a\tb", "é", "a&b", &too_long,
        ] {
            assert!(RequestId::taken(id.as_bytes()).is_none(), "{id}");
        }
    }
}
