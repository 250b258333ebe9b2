//! Request heads: the request line, then what the fields mean together.

use message::{BodyLength, FieldName, Method, RequestHead, Span, TargetForm, Version};

use super::BadMessage;
use super::bytes::{has_dot_segment, is_authority, is_target, is_token, tokens};
use super::fields::{Limits, Progress, find_line_end, read_fields, read_line_end};
use super::framing::{Framing, set_once};

/// Reads one request head from a buffer that grows.
#[derive(Debug, Default)]
pub struct RequestReader {
    progress: Progress,
    stage: Stage,
    /// Bytes of an empty line before the request line, which is tolerated once (RFC 9112 §2.2).
    skipped: usize,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    ExpectRequestLine,
    ExpectFields,
}

impl RequestReader {
    /// Looks at `bytes`, all that has arrived since the end of the message before. Returns how
    /// many of them the head took, once it is whole; `head` is then filled in. Until then, and
    /// after an error, its `fields` may point into `bytes` that are not there. Give the same `head` and a longer `bytes` at the next call.
    ///
    /// # Errors
    /// The first rule broken, in the order of the bytes.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        head: &mut RequestHead,
    ) -> Result<Option<usize>, BadMessage> {
        if let Stage::ExpectRequestLine = self.stage {
            let within = &bytes[..bytes.len().min(limits.line_bytes)];
            if self.skipped == 0 && within.first() == Some(&b'\r') {
                let Some(next) = read_line_end(within, 0, BadMessage::RequestLine)? else {
                    return self.wait(bytes, limits);
                };
                self.skipped = next;
                self.progress.pass_line(next);
            }
            if !read_request_line(within, &mut self.progress, head)? {
                return self.wait(bytes, limits);
            }
            self.stage = Stage::ExpectFields;
        }
        let within = &bytes[..bytes.len().min(limits.head_bytes)];
        let (progress, base) = (&mut self.progress, self.skipped);
        if !read_fields(within, progress, base, &mut head.fields, limits.fields)? {
            return self.wait(bytes, limits);
        }
        let end = self.progress.at;
        head.bytes.extend_from_slice(&bytes[self.skipped..end]);
        interpret(head)?;
        Ok(Some(end))
    }

    /// The next line is not whole: fine, unless it is too long already.
    fn wait(&self, bytes: &[u8], limits: &Limits) -> Result<Option<usize>, BadMessage> {
        match self.stage {
            Stage::ExpectRequestLine if bytes.len() >= limits.line_bytes => {
                Err(BadMessage::LineTooLong)
            }
            Stage::ExpectFields if bytes.len() >= limits.head_bytes => {
                Err(BadMessage::FieldsTooLarge)
            }
            _ => Ok(None),
        }
    }
}

/// Reads `method SP target SP version`, each separated by exactly one space (RFC 9112 §3). False
/// if it is not whole yet.
fn read_request_line(
    bytes: &[u8],
    progress: &mut Progress,
    head: &mut RequestHead,
) -> Result<bool, BadMessage> {
    let start = progress.at;
    let Some(next) = find_line_end(bytes, progress, BadMessage::RequestLine)? else {
        return Ok(false);
    };
    let line = &bytes[start..next - 2];
    let first = memchr::memchr(b' ', line).ok_or(BadMessage::RequestLine)?;
    let last = memchr::memrchr(b' ', line).ok_or(BadMessage::RequestLine)?;
    if first == last || !is_token(&line[..first]) {
        return Err(BadMessage::RequestLine);
    }
    let target = &line[first + 1..last];
    if !is_target(target) {
        return Err(BadMessage::Target);
    }
    head.version = match &line[last + 1..] {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(BadMessage::Version);
        }
        _ => return Err(BadMessage::RequestLine),
    };
    head.method = Method::from_token(&line[..first]);
    head.method_text = Span::new(0, first);
    read_target(target, first + 1, head)?;
    Ok(true)
}

/// Takes the target apart (RFC 9112 §3.2). `at` is its offset in the head.
pub(crate) fn read_target(
    target: &[u8],
    at: usize,
    head: &mut RequestHead,
) -> Result<(), BadMessage> {
    let whole = Span::new(at, at + target.len());
    if head.method == Method::Connect {
        if !is_authority(target) {
            return Err(BadMessage::Target);
        }
        head.form = TargetForm::Authority;
        head.authority = whole;
        head.path_and_query = whole;
        return Ok(());
    }
    if target == b"*" {
        if head.method != Method::Options {
            return Err(BadMessage::Target);
        }
        head.form = TargetForm::Asterisk;
        head.path_and_query = whole;
        return Ok(());
    }
    let path_at = if target[0] == b'/' {
        head.form = TargetForm::Origin;
        0
    } else {
        let scheme = scheme_length(target).ok_or(BadMessage::Target)?;
        let rest = &target[scheme..];
        let authority = rest
            .iter()
            .position(|byte| matches!(byte, b'/' | b'?'))
            .unwrap_or(rest.len());
        if !is_authority(&rest[..authority]) {
            return Err(BadMessage::Target);
        }
        head.form = TargetForm::Absolute;
        head.authority = Span::new(at + scheme, at + scheme + authority);
        scheme + authority
    };
    let path = &target[path_at..];
    let path = &path[..memchr::memchr(b'?', path).unwrap_or(path.len())];
    if memchr::memchr2(b'.', b'%', path).is_some() && has_dot_segment(path) {
        return Err(BadMessage::DotSegment);
    }
    head.path = Span::new(at + path_at, at + path_at + path.len());
    head.path_and_query = Span::new(at + path_at, at + target.len());
    Ok(())
}

/// Length of `http://` or `https://` in front of `target`.
fn scheme_length(target: &[u8]) -> Option<usize> {
    [&b"http://"[..], b"https://"]
        .iter()
        .find(|scheme| {
            target
                .get(..scheme.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        })
        .map(|scheme| scheme.len())
}

/// Decides framing, host and connection options, and refuses what could be read in two ways.
///
/// The rules of RFC 9112 §6.3 in order, with those that do not apply to requests left out:
/// 3. both framings: reject. 4. Transfer-Encoding: must be `chunked` alone. 5. bad
///    Content-Length: reject. 6. Content-Length. 7. neither: no body.
fn interpret(head: &mut RequestHead) -> Result<(), BadMessage> {
    let RequestHead { bytes, fields, .. } = head;
    let mut framing = Framing::default();
    let mut host = None;
    let mut upgrade = None;
    let mut expects_continue = false;
    let mut accepts_trailers = false;
    for index in 0..fields.len() {
        let field = fields[index];
        let value = field.value.of(bytes);
        match field.id {
            FieldName::ContentLength | FieldName::TransferEncoding | FieldName::Connection => {
                framing.read(bytes, fields, field)?;
            }
            FieldName::Host => {
                if !is_authority(value) {
                    return Err(BadMessage::Host);
                }
                set_once(&mut host, field.value, BadMessage::Host)?;
            }
            FieldName::Upgrade => {
                // Two fields could name two protocols: no upgrade then.
                upgrade = match upgrade {
                    None => Some(field.value),
                    Some(_) => Some(Span::default()),
                };
            }
            FieldName::Expect => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(BadMessage::Expectation);
                }
                expects_continue = true;
            }
            FieldName::Te => {
                accepts_trailers |=
                    tokens(value).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
            }
            FieldName::Other => {
                // `Content_Length`, `X_Forwarded_For`: ours is one name with these to some
                // endpoints, so both must not arrive.
                let name = field.name.of(bytes);
                let dashed = FieldName::from_bytes_with_underscores(name);
                // What only responses have means nothing here.
                if dashed != FieldName::Other && !dashed.is_feedback() {
                    return Err(BadMessage::FieldName);
                }
            }
            _ => {}
        }
    }

    head.body_length = framing.length(head.version)?.unwrap_or(BodyLength::Empty);
    let host = match host {
        Some(host) => host,
        None if head.version == Version::Http10 => head.authority,
        None => return Err(BadMessage::Host),
    };
    if head.authority.is_empty() {
        head.authority = host;
    } else if !head
        .authority
        .of(&head.bytes)
        .eq_ignore_ascii_case(host.of(&head.bytes))
    {
        return Err(BadMessage::Host);
    }
    head.keep_alive = framing.connection.keep_alive(head.version);
    head.expects_continue = expects_continue && head.version == Version::Http11;
    head.accepts_trailers = accepts_trailers;
    head.upgrade = upgrade.filter(|protocol| {
        framing.connection.upgrade
            && head.version == Version::Http11
            && head.body_length == BodyLength::Empty
            && is_token(protocol.of(&head.bytes))
    });
    Ok(())
}
