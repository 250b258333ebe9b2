//! Our own cookie: what it says, under a seal that only we can make and open.
//!
//! AES-256-GCM-SIV (RFC 8452) with a random nonce. The key lives as long as the secret in the
//! config and may be shared by several processes, and with GCM itself one repeated nonce would
//! give the key away; here a repeated nonce shows that two cookies are equal, and no more. The
//! name of the pool is authenticated with each cookie, so a cookie of one pool is nothing to
//! another.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::rand;

/// Seals and opens cookies.
pub(crate) struct Seal {
    key: LessSafeKey,
}

/// What a cookie says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    /// Hash of the endpoint's name: places in the config may change.
    pub(crate) endpoint: u64,
    /// Drawn at random when the cookie was first given out.
    pub(crate) session: u64,
    /// When it was given out, in seconds since 1970; good until 2106.
    pub(crate) issued: u32,
}

/// A cookie's value: unpadded base64 of the sealed bytes with the alphabet for URLs (RFC 4648
/// §5), which is made of characters that a cookie may hold.
pub(crate) type Text = [u8; TEXT_BYTES];

const TOKEN_BYTES: usize = 8 + 8 + 4;
const TAG_BYTES: usize = 16;
const SEALED_BYTES: usize = NONCE_LEN + TOKEN_BYTES + TAG_BYTES;
/// Three bytes make four characters. No bits are left over, so a value has one spelling.
const TEXT_BYTES: usize = SEALED_BYTES / 3 * 4;

/// Tells this key from others that may one day be derived from the same secret.
const KEY_PURPOSE: &[u8] = b"pointsman sticky cookie, version 1";

impl Seal {
    /// With a key derived from `secret` by HKDF (RFC 5869), or with one that ends with the
    /// process.
    pub(crate) fn new(secret: Option<&[u8]>) -> Self {
        let mut random = [0; 32];
        let secret = secret.unwrap_or_else(|| {
            rand::fill(&mut random).expect("the system has random bytes, or nothing here is safe");
            &random
        });
        let key = Salt::new(HKDF_SHA256, &[]).extract(secret);
        let key = key
            .expand(&[KEY_PURPOSE], &AES_256_GCM_SIV)
            .expect("a key is far shorter than HKDF's longest output");
        Self {
            key: LessSafeKey::new(UnboundKey::from(key)),
        }
    }

    /// The cookie that says `token` in `pool`.
    pub(crate) fn close(&self, token: Token, pool: &str) -> Text {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).expect("as in `new`");
        let mut bytes = [0; TOKEN_BYTES];
        bytes[..8].copy_from_slice(&token.endpoint.to_be_bytes());
        bytes[8..16].copy_from_slice(&token.session.to_be_bytes());
        bytes[16..].copy_from_slice(&token.issued.to_be_bytes());
        let aad = Aad::from(pool.as_bytes());
        let tag = self
            .key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad, &mut bytes)
            .expect("a few bytes are not too many to seal");
        let mut sealed = [0; SEALED_BYTES];
        let (head, rest) = sealed.split_at_mut(NONCE_LEN);
        head.copy_from_slice(&nonce);
        rest[..TOKEN_BYTES].copy_from_slice(&bytes);
        rest[TOKEN_BYTES..].copy_from_slice(tag.as_ref());
        encode(&sealed)
    }

    /// What a cookie says, if it is one that we gave out for `pool`.
    pub(crate) fn open(&self, text: &[u8], pool: &str) -> Option<Token> {
        let mut sealed = decode(text.try_into().ok()?)?;
        let (nonce, rest) = sealed.split_first_chunk_mut::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self
            .key
            .open_in_place(nonce, Aad::from(pool.as_bytes()), rest)
            .ok()?;
        let (endpoint, rest) = opened.split_first_chunk()?;
        let (session, issued) = rest.split_first_chunk()?;
        Some(Token {
            endpoint: u64::from_be_bytes(*endpoint),
            session: u64::from_be_bytes(*session),
            issued: u32::from_be_bytes(issued.try_into().ok()?),
        })
    }
}

/// By value.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn encode(sealed: &[u8; SEALED_BYTES]) -> Text {
    let mut text = [0; TEXT_BYTES];
    for (bytes, characters) in sealed.chunks_exact(3).zip(text.chunks_exact_mut(4)) {
        let bits = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
        for (place, character) in characters.iter_mut().enumerate() {
            *character = ALPHABET[(bits >> (18 - 6 * place)) as usize % 64];
        }
    }
    text
}

fn decode(text: &Text) -> Option<[u8; SEALED_BYTES]> {
    let mut sealed = [0; SEALED_BYTES];
    for (characters, bytes) in text.chunks_exact(4).zip(sealed.chunks_exact_mut(3)) {
        let mut bits = 0;
        for character in characters {
            bits = bits << 6 | value(*character)?;
        }
        bytes.copy_from_slice(&bits.to_be_bytes()[1..]);
    }
    Some(sealed)
}

fn value(character: u8) -> Option<u32> {
    let value = match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    };
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, prop_assume, proptest};

    use super::*;

    const SECRET: &[u8] = b"a secret of thirty-two bytes or more";
    const TOKEN: Token = Token {
        endpoint: 0x0102_0304_0506_0708,
        session: 7,
        issued: 1_800_000_000,
    };

    #[test]
    fn a_cookie_opens_with_the_same_secret_and_for_the_same_pool_only() {
        let text = Seal::new(Some(SECRET)).close(TOKEN, "app");
        assert_eq!(Seal::new(Some(SECRET)).open(&text, "app"), Some(TOKEN));
        assert_eq!(Seal::new(Some(SECRET)).open(&text, "api"), None);
        assert_eq!(Seal::new(Some(b"another secret")).open(&text, "app"), None);
        assert_eq!(Seal::new(None).open(&text, "app"), None);
    }

    #[test]
    fn without_a_secret_no_two_processes_share_a_key() {
        let text = Seal::new(None).close(TOKEN, "app");
        assert_eq!(Seal::new(None).open(&text, "app"), None);
    }

    #[test]
    fn two_cookies_that_say_the_same_have_nothing_in_common() {
        let seal = Seal::new(Some(SECRET));
        let (one, other) = (seal.close(TOKEN, "app"), seal.close(TOKEN, "app"));
        let equal = one.iter().zip(&other).filter(|(a, b)| a == b).count();
        assert!(equal < TEXT_BYTES / 4, "{equal} of {TEXT_BYTES}");
    }

    /// Clients lose their sessions if this changes.
    #[test]
    fn a_cookie_of_an_earlier_version_opens() {
        let text = b"hGMEkTogK8ynwZwy-MGeuHDVFN0VFidNEJjwZhll7OWpTNxwsXuSXC_PDWcp-vcY";
        assert_eq!(Seal::new(Some(SECRET)).open(text, "app"), Some(TOKEN));
    }

    proptest! {
        #[test]
        fn a_cookie_says_what_was_sealed(endpoint: u64, session: u64, issued: u32) {
            let seal = Seal::new(Some(SECRET));
            let token = Token { endpoint, session, issued };
            prop_assert_eq!(seal.open(&seal.close(token, "app"), "app"), Some(token));
        }

        #[test]
        fn a_cookie_with_any_character_changed_does_not_open(
            place in 0..TEXT_BYTES,
            character: u8,
        ) {
            let seal = Seal::new(Some(SECRET));
            let mut text = seal.close(TOKEN, "app");
            prop_assume!(text[place] != character);
            text[place] = character;
            prop_assert_eq!(seal.open(&text, "app"), None);
        }

        #[test]
        fn what_is_not_ours_does_not_open(text in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(Seal::new(Some(SECRET)).open(&text, "app"), None);
        }

        #[test]
        fn text_of_the_alphabet_is_read_as_it_is_written(bytes: [u8; SEALED_BYTES]) {
            let text = encode(&bytes);
            prop_assert!(text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)));
            prop_assert_eq!(decode(&text), Some(bytes));
        }
    }
}
