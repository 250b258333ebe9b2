//! HTTP/1 as the test sides read it: small, strict and independent of the proxy's parser.
//!
//! A proxy that keeps the rules sends nothing that this parser dislikes, so whatever it dislikes
//! is a finding and is reported in words.

use std::io;

use crate::filler::{HASH_START, extend_hash};
use crate::source::Source;

/// The head of a request or a response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// The head as received, empty line included.
    pub bytes: Vec<u8>,
    /// The first line.
    pub line: String,
    /// Names as sent and values without white space around them; each byte one character.
    pub fields: Vec<(String, String)>,
}

/// A body, as far as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// The content, as far as it was kept: bodies of tests that measure memory are not.
    pub kept: Vec<u8>,
    /// Length of the content.
    pub bytes: u64,
    /// Hash of the content, see [`crate::hash`].
    pub hash: u64,
    /// Trailer fields of a chunked body.
    pub trailers: Vec<(String, String)>,
    /// How it ended.
    pub end: End,
}

/// How a message ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Where its framing says.
    Clean,
    /// The connection was closed before that.
    Cut,
    /// The connection was reset before that.
    Reset,
    /// The stream was reset before that, with this code. HTTP/2 only.
    StreamReset(u32),
    /// Nothing came for the time-out of the reader.
    TimedOut,
    /// The framing was wrong, in words.
    Malformed(String),
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The final head.
    pub head: Head,
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Body,
    /// The 1xx heads before it.
    pub informational: Vec<Head>,
}

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Exact(u64),
    Chunked,
    UntilClose,
}

impl Head {
    /// Parses `bytes`, which end with an empty line.
    pub(crate) fn parse(bytes: Vec<u8>) -> Result<Self, String> {
        let text = latin1(&bytes);
        let lines = text
            .strip_suffix("\r\n\r\n")
            .ok_or("a head without an end")?;
        let mut lines = lines.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let fields = parse_fields(lines)?;
        if line.contains(['\r', '\n', '\0']) {
            return Err(format!("control character in {line:?}"));
        }
        Ok(Self {
            bytes,
            line,
            fields,
        })
    }

    /// The value of the field `name`; `None` if there is none. Panics if there are several: ask
    /// [`Head::fields`] for them.
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<&str> {
        let values = self.fields(name);
        assert!(values.len() < 2, "{name} is repeated: {values:?}");
        values.first().copied()
    }

    /// The values of all fields with this name, in order.
    pub fn fields(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The `index`th word of the first line.
    pub fn word(&self, index: usize) -> &str {
        self.line.split(' ').nth(index).unwrap_or_default()
    }

    /// True if the `Connection` field has `option`.
    pub fn connection_has(&self, option: &str) -> bool {
        self.fields("connection")
            .iter()
            .flat_map(|value| value.split(','))
            .any(|value| value.trim().eq_ignore_ascii_case(option))
    }

    /// Framing of a request with this head.
    pub(crate) fn request_framing(&self) -> Result<Framing, String> {
        Ok(self.announced()?.unwrap_or(Framing::None))
    }

    /// Framing of a response with this head to a request with `method`.
    pub(crate) fn response_framing(&self, method: &str) -> Result<Framing, String> {
        let announced = self.announced()?;
        match self.status()? {
            100..=199 | 204 | 304 => Ok(Framing::None),
            _ if method == "HEAD" => Ok(Framing::None),
            _ => Ok(announced.unwrap_or(Framing::UntilClose)),
        }
    }

    /// The status of a response.
    pub(crate) fn status(&self) -> Result<u16, String> {
        let digits = self.word(1);
        match digits.parse() {
            Ok(status) if digits.len() == 3 && self.word(0).starts_with("HTTP/1.") => Ok(status),
            _ => Err(format!("not a status line: {:?}", self.line)),
        }
    }

    fn announced(&self) -> Result<Option<Framing>, String> {
        let codings = self.fields("transfer-encoding");
        let lengths = self.fields("content-length");
        match (codings.as_slice(), lengths.as_slice()) {
            ([], []) => Ok(None),
            ([], [length]) if length.bytes().all(|byte| byte.is_ascii_digit()) => length
                .parse()
                .map(|length| Some(Framing::Exact(length)))
                .map_err(|error| format!("Content-Length {length:?}: {error}")),
            ([coding], []) if coding.eq_ignore_ascii_case("chunked") => Ok(Some(Framing::Chunked)),
            _ => Err(format!(
                "Transfer-Encoding {codings:?}, Content-Length {lengths:?}"
            )),
        }
    }
}

/// Reads a head. `Ok(None)`: the connection was closed where a message may end. An error of kind
/// `UnexpectedEof`: it was closed within a head.
pub(crate) fn read_head(source: &mut Source) -> io::Result<Option<Result<Head, String>>> {
    match source.take_through(b"\r\n\r\n")? {
        Some(bytes) => Ok(Some(Head::parse(bytes))),
        None if source.pending().is_empty() => Ok(None),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

impl Default for Body {
    fn default() -> Self {
        Self {
            kept: Vec::new(),
            bytes: 0,
            hash: HASH_START,
            trailers: Vec::new(),
            end: End::Clean,
        }
    }
}

impl Body {
    /// The kept content as text.
    pub fn text(&self) -> String {
        latin1(&self.kept)
    }

    /// Reads a body and keeps its first `kept_max` bytes.
    pub(crate) fn read(source: &mut Source, framing: Framing, kept_max: usize) -> Self {
        let mut body = Self::default();
        let result = match framing {
            Framing::None => Ok(()),
            Framing::Exact(bytes) => body.read_exact(source, bytes, kept_max),
            Framing::Chunked => body.read_chunks(source, kept_max),
            Framing::UntilClose => match body.read_exact(source, u64::MAX, kept_max) {
                Err(End::Cut) => Ok(()),
                other => other,
            },
        };
        body.end = result.err().unwrap_or(End::Clean);
        body
    }

    fn read_exact(&mut self, source: &mut Source, bytes: u64, kept_max: usize) -> Result<(), End> {
        let mut left = bytes;
        while left > 0 {
            if source.pending().is_empty() && source.fill().map_err(|e| End::from_io(&e))? == 0 {
                return Err(End::Cut);
            }
            let pending = source.pending();
            let piece = &pending[..pending
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX))];
            let keep = piece.len().min(kept_max.saturating_sub(self.kept.len()));
            self.kept.extend_from_slice(&piece[..keep]);
            self.hash = extend_hash(self.hash, piece);
            self.bytes += piece.len() as u64;
            left -= piece.len() as u64;
            let used = piece.len();
            source.consume(used);
        }
        Ok(())
    }

    fn read_chunks(&mut self, source: &mut Source, kept_max: usize) -> Result<(), End> {
        loop {
            let line = read_line(source)?;
            let digits = line.split(';').next().unwrap_or_default();
            let size = match u64::from_str_radix(digits, 16) {
                Ok(size) if !digits.starts_with('+') => size,
                _ => return Err(End::Malformed(format!("chunk size line {line:?}"))),
            };
            if size == 0 {
                break;
            }
            self.read_exact(source, size, kept_max)?;
            let end = read_line(source)?;
            if !end.is_empty() {
                return Err(End::Malformed(format!("{end:?} behind a chunk")));
            }
        }
        let mut lines = Vec::new();
        loop {
            let line = read_line(source)?;
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        self.trailers = parse_fields(lines.iter().map(String::as_str)).map_err(End::Malformed)?;
        Ok(())
    }
}

impl End {
    pub(crate) fn from_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut,
            // TLS without a goodbye.
            io::ErrorKind::UnexpectedEof => Self::Cut,
            _ => Self::Reset,
        }
    }
}

impl Response {
    /// The value of a field of the head, see [`Head::field`].
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    /// The content as text.
    pub fn text(&self) -> String {
        self.body.text()
    }
}

fn read_line(source: &mut Source) -> Result<String, End> {
    let line = source
        .take_through(b"\r\n")
        .map_err(|error| End::from_io(&error))?
        .ok_or(End::Cut)?;
    Ok(latin1(&line[..line.len() - 2]))
}

fn parse_fields<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<(String, String)>, String> {
    lines
        .map(|line| {
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| format!("a field line without colon: {line:?}"))?;
            let name_is_token = !name.is_empty()
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
            if !name_is_token {
                return Err(format!("a field name that is no token: {line:?}"));
            }
            if value.chars().any(|c| c != '\t' && (c < ' ' || c == '\x7f')) {
                return Err(format!("control character in a field value: {line:?}"));
            }
            Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
        })
        .collect()
}

/// Text with one character for each byte.
pub(crate) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Head, String> {
        Head::parse(text.as_bytes().to_vec())
    }

    #[test]
    fn a_head_has_a_line_and_fields() {
        let head = head("GET /a HTTP/1.1\r\nHost: x\r\nA: 1\r\na:\t2 \r\n\r\n").unwrap();
        assert_eq!(head.word(1), "/a");
        assert_eq!(head.field("host"), Some("x"));
        assert_eq!(head.fields("a"), ["1", "2"]);
        assert_eq!(head.field("b"), None);
        assert_eq!(head.request_framing(), Ok(Framing::None));
    }

    #[test]
    fn a_head_that_breaks_a_rule_is_refused() {
        for text in [
            "GET / HTTP/1.1\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\ny\r\n\r\n",
            "GET / HTTP/1.1\r\nHost\r\n\r\n",
        ] {
            assert!(head(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn two_framings_are_a_fault() {
        for fields in [
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Content-Length: 1\r\nContent-Length: 1",
            "Content-Length: +1",
            "Transfer-Encoding: gzip, chunked",
        ] {
            let head = head(&format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n")).unwrap();
            assert!(head.request_framing().is_err(), "{fields}");
        }
    }

    #[test]
    fn a_response_to_head_has_no_body() {
        let head = head("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").unwrap();
        assert_eq!(head.response_framing("GET"), Ok(Framing::Exact(5)));
        assert_eq!(head.response_framing("HEAD"), Ok(Framing::None));
    }
}
