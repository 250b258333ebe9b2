//! PostgreSQL and what speaks as it: a login, as far as the server lets us in.
//!
//! Most servers ask for a password, and that is far enough. One that lets us in without may still
//! say that it has no room, which it does behind its word that we are who we are.
//!
//! Source: PostgreSQL manual, "Frontend/Backend Protocol" (Message Flow, Message Formats) and
//! "PostgreSQL Error Codes", whose condition names are the words here.

use super::Step;

/// Where the conversation stands.
#[derive(Debug, Clone, Copy)]
pub(super) enum Postgres {
    Connected,
    ExpectAuthentication,
    ExpectReady,
}

impl Postgres {
    pub(super) fn poll(&mut self, rest: &mut &[u8]) -> Option<Step> {
        if let Self::Connected = self {
            *self = Self::ExpectAuthentication;
            return Some(Step::Send(STARTUP));
        }
        loop {
            let (kind, body) = match take_message(rest)? {
                Ok(message) => message,
                Err(verdict) => return Some(verdict),
            };
            match (*self, kind) {
                (_, b'E') => return Some(judge_error(body)),
                (Self::ExpectAuthentication, b'R') => match body.first_chunk() {
                    None => return Some(Step::Garbage),
                    Some([0, 0, 0, 0]) => *self = Self::ExpectReady,
                    // It expects a password. Who closes instead is no news to it, who says
                    // anything else is.
                    Some(_) => return Some(Step::Healthy { goodbye: b"" }),
                },
                (Self::ExpectReady, b'Z') => return Some(Step::Healthy { goodbye: TERMINATE }),
                // ParameterStatus and BackendKeyData.
                (Self::ExpectReady, b'S' | b'K') => {}
                // NoticeResponse and NegotiateProtocolVersion.
                (_, b'N' | b'v') => {}
                _ => return Some(Step::Garbage),
            }
        }
    }
}

/// Takes the first message, its type and its body; `None` if it is not whole. `Err` is a verdict on
/// what cannot be a message.
fn take_message<'a>(rest: &mut &'a [u8]) -> Option<Result<(u8, &'a [u8]), Step>> {
    let (kind, behind) = rest.split_first()?;
    if !b"RENvSKZ".contains(kind) {
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
