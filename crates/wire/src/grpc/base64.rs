//! Base64 (RFC 4648 §4) of content that comes in pieces.

use crate::h1::BadMessage;

/// Appends `bytes` in base64, padded to whole groups: more may follow.
pub fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len().div_ceil(3) * 4);
    let digit = |bits: u32| DIGITS[(bits & 63) as usize];
    let (groups, rest) = bytes.as_chunks::<3>();
    for &[a, b, c] in groups {
        let bits = u32::from_be_bytes([0, a, b, c]);
        out.extend_from_slice(&[18, 12, 6, 0].map(|shift| digit(bits >> shift)));
    }
    match *rest {
        [a] => {
            let bits = u32::from(a);
            out.extend_from_slice(&[digit(bits >> 2), digit(bits << 4), b'=', b'=']);
        }
        [a, b] => {
            let bits = u32::from_be_bytes([0, 0, a, b]);
            let digits = [10, 4].map(|shift| digit(bits >> shift));
            out.extend_from_slice(&digits);
            out.extend_from_slice(&[digit(bits << 2), b'=']);
        }
        _ => {}
    }
}

/// Reads base64. Padding may stand within it: senders write it wherever they send what they have.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The group that is being read, four digits of six bits.
    bits: u32,
    /// How many of its digits are there, padding included.
    digits: u8,
    /// How many of those are padding.
    padding: u8,
}

impl Decoder {
    /// Appends the bytes that `text` stands for, as far as their groups are whole.
    pub(super) fn receive(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BadMessage> {
        out.reserve(text.len() / 4 * 3 + 3);
        for &byte in text {
            let digit = VALUES[usize::from(byte)];
            if byte == b'=' && self.digits >= 2 {
                self.padding += 1;
            } else if digit == NO_DIGIT || self.padding > 0 {
                return Err(BadMessage::Base64);
            }
            self.bits = self.bits << 6 | u32::from(digit & 63);
            self.digits += 1;
            if self.digits == 4 {
                self.end_group(out)?;
            }
        }
        Ok(())
    }

    /// There is no more text.
    pub(super) fn finish(&self) -> Result<(), BadMessage> {
        if self.digits == 0 {
            Ok(())
        } else {
            Err(BadMessage::Base64)
        }
    }

    fn end_group(&mut self, out: &mut Vec<u8>) -> Result<(), BadMessage> {
        let Self { bits, padding, .. } = std::mem::take(self);
        let [_, bytes @ ..] = bits.to_be_bytes();
        let (bytes, unused) = bytes.split_at(3 - usize::from(padding));
        // Bits that stand for nothing are zero (RFC 4648 §3.5): one text for the same bytes.
        if unused.iter().any(|&byte| byte != 0) {
            return Err(BadMessage::Base64);
        }
        out.extend_from_slice(bytes);
        Ok(())
    }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What a byte that is no digit stands for. Its low six bits are zero, as padding counts.
const NO_DIGIT: u8 = 64;

const VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < 64 {
        values[DIGITS[digit] as usize] = digit as u8;
        digit += 1;
    }
    values
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(text: &[u8]) -> Result<Vec<u8>, BadMessage> {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        decoder.receive(text, &mut out)?;
        decoder.finish()?;
        Ok(out)
    }

    #[test]
    fn the_examples_of_rfc_4648_hold() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut out = Vec::new();
            encode(bytes.as_bytes(), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), text);
            assert_eq!(decode(text.as_bytes()), Ok(bytes.into()));
        }
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        for text in [
            "Z", "Zg", "Zg=", "Zg==x", "Z===", "====", "=g==", "Zg=v", "Zm9v\n", "Zm 9", "Zm9-",
            "Zh==", "Zm9=",
        ] {
            assert_eq!(decode(text.as_bytes()), Err(BadMessage::Base64), "{text}");
        }
    }

    proptest! {
        #[test]
        fn bytes_encoded_in_pieces_are_decoded_in_other_pieces(
            pieces in prop::collection::vec(any::<Vec<u8>>(), 0..5),
            cut in 1usize..9,
        ) {
            let mut text = Vec::new();
            for piece in &pieces {
                encode(piece, &mut text);
            }
            let (mut decoder, mut out) = (Decoder::default(), Vec::new());
            for piece in text.chunks(cut) {
                decoder.receive(piece, &mut out).unwrap();
            }
            prop_assert_eq!(decoder.finish(), Ok(()));
            prop_assert_eq!(out, pieces.concat());
        }
    }
}
