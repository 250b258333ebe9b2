//! Response heads. Endpoints are held to the same rules as clients: a response that could be
//! read in two ways poisons the next one.

use message::{BodyLength, FieldName, Method, ResponseHead, Span, Status, Version};

use super::BadMessage;
use super::bytes::tokens;
use super::fields::{Limits, Progress, find_line_end, read_fields};
use super::framing::Framing;

/// Reads one response head from a buffer that grows.
#[derive(Debug, Default)]
pub struct ResponseReader {
    progress: Progress,
}

impl ResponseReader {
    /// Looks at `bytes`, all that has arrived of the response to a `method` request. Returns how many of them the
    /// head took, once it is whole; see [`super::RequestReader::receive`].
    ///
    /// # Errors
    /// The first rule broken, in the order of the bytes.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        method: Method,
        head: &mut ResponseHead,
    ) -> Result<Option<usize>, BadMessage> {
        let within = &bytes[..bytes.len().min(limits.head_bytes)];
        if self.progress.at == 0 && !read_status_line(within, &mut self.progress, head)? {
            return wait(bytes, limits);
        }
        if !read_fields(
            within,
            &mut self.progress,
            0,
            &mut head.fields,
            limits.fields,
        )? {
            return wait(bytes, limits);
        }
        let end = self.progress.at;
        head.bytes.extend_from_slice(&bytes[..end]);
        interpret(method, head)?;
        Ok(Some(end))
    }
}

/// The next line is not whole: fine, unless the head is too long already.
fn wait(bytes: &[u8], limits: &Limits) -> Result<Option<usize>, BadMessage> {
    if bytes.len() >= limits.head_bytes {
        return Err(BadMessage::FieldsTooLarge);
    }
    Ok(None)
}

/// Reads `version SP 3DIGIT [SP reason]`; false if it is not whole yet. The space before an empty
/// reason is often left out, and nothing can be smuggled in its absence.
fn read_status_line(
    bytes: &[u8],
    progress: &mut Progress,
    head: &mut ResponseHead,
) -> Result<bool, BadMessage> {
    let Some(next) = find_line_end(bytes, progress, BadMessage::StatusLine)? else {
        return Ok(false);
    };
    let length = next - 2;
    let (version, rest) = bytes[..length]
        .split_at_checked(9)
        .ok_or(BadMessage::StatusLine)?;
    head.version = match version {
        b"HTTP/1.1 " => Version::Http11,
        b"HTTP/1.0 " => Version::Http10,
        _ => return Err(BadMessage::StatusLine),
    };
    let (digits, reason) = rest.split_at_checked(3).ok_or(BadMessage::StatusLine)?;
    if !digits.iter().all(u8::is_ascii_digit) || !matches!(reason.first(), None | Some(b' ')) {
        return Err(BadMessage::StatusLine);
    }
    let code = digits
        .iter()
        .fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    head.status = Status::from_code(code).ok_or(BadMessage::StatusLine)?;
    head.reason = Span::new(13.min(length), length);
    Ok(true)
}

/// Decides framing and reuse.
///
/// The rules of RFC 9112 §6.3 in order: 1. HEAD, 1xx, 204, 304: no body, whatever the fields
/// say. 2. CONNECT: never sent by us. 3. both framings: reject. 4. Transfer-Encoding: must be
/// `chunked` alone. 5. bad Content-Length: reject. 6. Content-Length. 8. neither: until close.
fn interpret(method: Method, head: &mut ResponseHead) -> Result<(), BadMessage> {
    let ResponseHead { bytes, fields, .. } = head;
    let mut framing = Framing::default();
    let mut keep_alive_seconds = None;
    let mut upgrade = None;
    let mut has_feedback = false;
    for index in 0..fields.len() {
        let field = fields[index];
        let value = field.value.of(bytes);
        match field.id {
            FieldName::ContentLength | FieldName::TransferEncoding | FieldName::Connection => {
                framing.read(bytes, fields, field)?;
            }
            FieldName::KeepAlive => keep_alive_seconds = read_keep_alive_timeout(value),
            FieldName::Upgrade => upgrade = Some(field.value),
            id => has_feedback |= id.is_feedback(),
        }
    }

    let length = framing.length(head.version)?;
    head.body_length = match length {
        _ if has_no_body(method, head.status) => BodyLength::Empty,
        Some(length) => length,
        None => BodyLength::UntilClose,
    };
    head.keep_alive =
        framing.connection.keep_alive(head.version) && head.body_length != BodyLength::UntilClose;
    head.keep_alive_seconds = keep_alive_seconds;
    head.upgrade = upgrade;
    head.has_feedback = has_feedback;
    Ok(())
}

/// True where no body follows, whatever the fields say.
pub(crate) fn has_no_body(method: Method, status: Status) -> bool {
    method == Method::Head
        || status.is_informational()
        || status == Status::NO_CONTENT
        || status == Status::NOT_MODIFIED
}

/// The `timeout` parameter of a Keep-Alive field, in seconds.
fn read_keep_alive_timeout(value: &[u8]) -> Option<u32> {
    tokens(value).find_map(|parameter| {
        let (name, seconds) = parameter.split_at_checked(8)?;
        if !name.eq_ignore_ascii_case(b"timeout=") {
            return None;
        }
        std::str::from_utf8(seconds).ok()?.parse().ok()
    })
}
