//! Mail servers: greeting, EHLO, QUIT. No mail is begun.
//!
//! Source: RFC 5321 §3.1 to §3.3 and §4.2; RFC 7504 for servers that take no mail at all.

use super::{Step, take_line};

/// Where the conversation stands.
#[derive(Debug, Clone, Copy)]
pub(super) enum Smtp {
    ExpectGreeting,
    ExpectWelcome,
}

impl Smtp {
    pub(super) fn poll(&mut self, rest: &mut &[u8]) -> Option<Step> {
        let code = match take_reply(rest)? {
            Ok(code) => code,
            Err(NoReply) => return Some(Step::Garbage),
        };
        Some(match (*self, &code) {
            (Self::ExpectGreeting, b"220") => {
                *self = Self::ExpectWelcome;
                Step::Send(EHLO)
            }
            (Self::ExpectWelcome, b"250") => Step::Healthy {
                goodbye: b"QUIT\r\n",
            },
            (_, b"421") => Step::Unhealthy("421, service not available"),
            (_, b"521") => Step::Unhealthy("521, no mail is accepted"),
            (_, b"554") => Step::Unhealthy("554, no service here"),
            (_, [b'4', ..]) => Step::Unhealthy("4xx, not now"),
            (_, [b'5', ..]) => Step::Unhealthy("5xx, no"),
            _ => Step::Garbage,
        })
    }
}

/// Takes a reply and returns its code; `None` if it is not whole. Of its lines all but the last
/// have `-` behind the code.
fn take_reply(rest: &mut &[u8]) -> Option<Result<[u8; 3], NoReply>> {
    let mut lines = *rest;
    let mut first = None;
    loop {
        let line = take_line(&mut lines)?;
        let Some((code, text)) = line.split_first_chunk::<3>() else {
            return Some(Err(NoReply));
        };
        let is_code = code.iter().all(u8::is_ascii_digit);
        if !is_code || *first.get_or_insert(*code) != *code {
            return Some(Err(NoReply));
        }
        match text.first() {
            Some(b'-') => {}
            Some(b' ') | None => {
                *rest = lines;
                return Some(Ok(*code));
            }
            Some(_) => return Some(Err(NoReply)),
        }
    }
}

/// These lines are of something else.
struct NoReply;

/// A name is asked for, and a machine has no better one for itself.
const EHLO: &[u8] = b"EHLO localhost\r\n";
