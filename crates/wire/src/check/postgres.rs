//! PostgreSQL and what speaks as it: the begin of a login, as far as the server's first word.
//!
//! Source: PostgreSQL manual, "Frontend/Backend Protocol" (Message Flow, Message Formats) and
//! "PostgreSQL Error Codes", whose condition names are the words here.

use super::Step;

/// Where the conversation stands.
#[derive(Debug)]
pub(super) enum Postgres {
    Connected,
    ExpectAnswer,
}

impl Postgres {
    pub(super) fn poll(&mut self, rest: &mut &[u8]) -> Option<Step> {
        match self {
            Self::Connected => {
                *self = Self::ExpectAnswer;
                return Some(Step::Send(STARTUP));
            }
            Self::ExpectAnswer => {}
        }
        loop {
            let message = match take_message(rest)? {
                Ok(message) => message,
                Err(verdict) => return Some(verdict),
            };
            match message {
                (b'R', body) => return Some(judge_authentication(body)),
                (b'E', body) => return Some(judge_error(body)),
                // NoticeResponse and NegotiateProtocolVersion come before what counts.
                (b'N' | b'v', _) => {}
                _ => return Some(Step::Garbage),
            }
        }
    }
}

/// Takes the first message, its type and its body; `None` if it is not whole. `Err` is a verdict on
/// what cannot be a message.
fn take_message<'a>(rest: &mut &'a [u8]) -> Option<Result<(u8, &'a [u8]), Step>> {
    let (kind, behind) = rest.split_first()?;
    if !matches!(kind, b'R' | b'E' | b'N' | b'v') {
        return Some(Err(Step::Garbage));
    }
    // The length counts itself.
    let (length, behind) = behind.split_first_chunk()?;
    let length = u32::from_be_bytes(*length) as usize;
    if !(4..=MESSAGE_BYTES_MAX).contains(&length) {
        // A postmaster that cannot start a process says so in plain text behind the E, which reads
        // as an enormous length.
        return Some(Err(match kind {
            b'E' => Step::Unhealthy("that it cannot start a process"),
            _ => Step::Garbage,
        }));
    }
    let (body, behind) = behind.split_at_checked(length - 4)?;
    *rest = behind;
    Some(Ok((*kind, body)))
}

/// Any of them will do: the server has come to the question who we are.
fn judge_authentication(body: &[u8]) -> Step {
    let Some(request) = body.first_chunk() else {
        return Step::Garbage;
    };
    Step::Healthy {
        goodbye: match u32::from_be_bytes(*request) {
            0 => TERMINATE,
            // It expects a password. Who closes instead is no news to it, another message is.
            _ => b"",
        },
    }
}

/// The body is fields, each a type and a text that ends with a zero byte; then a zero byte.
fn judge_error(body: &[u8]) -> Step {
    let code = body
        .split(|byte| *byte == 0)
        .find_map(|field| field.strip_prefix(b"C"));
    match code.unwrap_or_default() {
        // invalid_authorization_specification and invalid_catalog_name: it is us who have no
        // account, no entry in pg_hba.conf or no database of this name.
        [b'2', b'8', ..] | [b'3', b'D', ..] => Step::Healthy { goodbye: b"" },
        b"57P03" => Step::Unhealthy("cannot_connect_now"),
        b"57P01" => Step::Unhealthy("admin_shutdown"),
        b"57P02" => Step::Unhealthy("crash_shutdown"),
        b"53300" => Step::Unhealthy("too_many_connections"),
        [b'5', b'3', ..] => Step::Unhealthy("insufficient_resources"),
        // What poolers say of all that is wrong behind them.
        b"08P01" => Step::Unhealthy("protocol_violation"),
        _ => Step::Unhealthy("an error"),
    }
}

/// StartupMessage of version 3.0. It is the one message without a type.
const STARTUP: &[u8] = b"\0\0\0\x52\0\x03\0\0\
    user\0pointsman\0database\0postgres\0application_name\0pointsman health-check\0\0";

const TERMINATE: &[u8] = b"X\0\0\0\x04";

/// With its text in any language, an error is shorter.
const MESSAGE_BYTES_MAX: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_startup_message_says_how_long_it_is() {
        assert_eq!(STARTUP.len(), usize::from(STARTUP[3]));
    }
}
