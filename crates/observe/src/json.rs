//! Writing JSON objects into a byte buffer, without a tree in between.

use std::io::Write;
use std::time::Duration;

/// An object being written. Members go out in the order of the calls; keys are ours and need no
/// escaping.
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Object<'a> {
    pub(crate) fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self {
            out,
            is_empty: true,
        }
    }

    pub(crate) fn end(self) {
        self.out.push(b'}');
    }

    /// Writes the key and returns the place for its value.
    pub(crate) fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    pub(crate) fn string(&mut self, key: &str, value: impl AsRef<[u8]>) {
        push_string(self.key(key), value.as_ref());
    }

    /// A string of ours that needs no escaping.
    pub(crate) fn text(&mut self, key: &str, value: &[u8]) {
        let out = self.key(key);
        out.push(b'"');
        out.extend_from_slice(value);
        out.push(b'"');
    }

    pub(crate) fn number(&mut self, key: &str, value: u64) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(value);
        self.key(key).extend_from_slice(digits.as_bytes());
    }

    /// A ratio with two decimals. It must be finite: JSON has no other numbers.
    pub(crate) fn ratio(&mut self, key: &str, value: f32) {
        debug_assert!(value.is_finite(), "{value} is no JSON number");
        // Writing to a Vec cannot fail.
        let _ = write!(self.key(key), "{value:.2}");
    }

    /// Seconds with six decimals.
    pub(crate) fn seconds(&mut self, key: &str, value: Duration) {
        let out = self.key(key);
        let mut digits = itoa::Buffer::new();
        out.extend_from_slice(digits.format(value.as_secs()).as_bytes());
        out.push(b'.');
        // A leading one keeps the zeros, and is skipped.
        let digits = digits.format(1_000_000 + value.subsec_micros()).as_bytes();
        out.extend_from_slice(&digits[1..]);
    }
}

/// Writes any bytes as a JSON string.
///
/// Valid UTF-8 stays as it is; control characters (C0, DEL, C1: a log is read on terminals) are
/// escaped; a byte that is not part of valid UTF-8 is written as `\u00XX` with its value, which
/// keeps it visible though no longer told apart from that character.
pub(crate) fn push_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    // Looks at all bytes even if the first is odd: the loop without an exit is vectorised.
    if bytes
        .iter()
        .fold(true, |plain, &byte| plain & is_plain(byte))
    {
        out.extend_from_slice(bytes);
    } else {
        for chunk in bytes.utf8_chunks() {
            for character in chunk.valid().chars() {
                push_character(out, character);
            }
            for &byte in chunk.invalid() {
                push_code(out, byte);
            }
        }
    }
    out.push(b'"');
}

/// Printable ASCII that a JSON string may hold as it is.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

fn push_character(out: &mut Vec<u8>, character: char) {
    match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        control if control.is_control() => push_code(out, control as u8),
        other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Every control character is below U+00A0, so two hexadecimal digits do.
fn push_code(out: &mut Vec<u8>, code: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\u00");
    out.push(DIGITS[usize::from(code >> 4)]);
    out.push(DIGITS[usize::from(code & 0xf)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_become_one_line_of_json_that_shows_them(bytes: Vec<u8>) {
            let mut out = Vec::new();
            push_string(&mut out, &bytes);
            let text = String::from_utf8(out).expect("JSON is UTF-8");
            prop_assert!(!text.contains(char::is_control));
            let parsed: String = serde_json::from_str(&text).expect("valid JSON");
            let mut expected = String::new();
            for chunk in bytes.utf8_chunks() {
                expected.push_str(chunk.valid());
                expected.extend(chunk.invalid().iter().map(|&byte| char::from(byte)));
            }
            prop_assert_eq!(parsed, expected);
        }
    }

    #[test]
    fn seconds_keep_their_zeros() {
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        object.seconds("a", Duration::from_micros(7));
        object.seconds("b", Duration::new(61, 999_999_999));
        object.end();
        assert_eq!(out, br#"{"a":0.000007,"b":61.999999}"#);
    }
}
