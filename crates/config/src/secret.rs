//! What only one deployment knows.

use std::fmt;

/// A secret of at least 32 bytes. Keys are derived from it, it is none itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

/// Least length: as many bytes as the keys that are derived have.
const BYTES_MIN: usize = 32;

/// Longest file that is taken for a secret.
const BYTES_MAX: usize = 4096;

impl Secret {
    /// The secret in a file: its bytes or, if it holds text, the text without white space around
    /// it. Or what is wrong with it.
    pub(crate) fn read(file: &[u8]) -> Result<Self, String> {
        let is_text = file
            .iter()
            .all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
        let secret = if is_text { file.trim_ascii() } else { file };
        match secret.len() {
            length if length < BYTES_MIN => Err(format!(
                "the secret is too short to be one: {length} bytes, not {BYTES_MIN}"
            )),
            length if length > BYTES_MAX => Err(format!(
                "a file of more than {BYTES_MAX} bytes is no secret"
            )),
            _ => Ok(Self(secret.into())),
        }
    }

    /// At least 32 bytes. Not to be shown.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Without the bytes: a snapshot may end up in a log.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_taken_without_the_line_end_and_bytes_as_they_are() {
        let text = b"0123456789abcdef0123456789abcdef";
        let read = Secret::read(&[b" ", &text[..], b"\r\n"].concat()).unwrap();
        assert_eq!(read.bytes(), text);
        let bytes = [&[0x80; 31][..], b"\n"].concat();
        assert_eq!(Secret::read(&bytes).unwrap().bytes(), bytes);
    }

    #[test]
    fn what_is_too_short_or_too_long_is_refused() {
        assert!(Secret::read(b"").is_err());
        assert!(Secret::read(&[b"x".repeat(31), vec![b'\n'; 10]].concat()).is_err());
        assert!(Secret::read(&[0; 31]).is_err());
        assert!(Secret::read(&[0; 4097]).is_err());
    }

    #[test]
    fn it_is_not_shown() {
        let secret = Secret::read(b"correct horse battery staple, twice over").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret");
    }
}
