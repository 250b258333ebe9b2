//! Redis and what speaks as it: PING, PONG.
//!
//! Source: "Redis serialization protocol specification" (RESP), and the errors of its `server.c`.

use super::{Step, take_line};

/// Where the conversation stands.
#[derive(Debug)]
pub(super) enum Redis {
    Connected,
    ExpectPong,
}

impl Redis {
    pub(super) fn poll(&mut self, rest: &mut &[u8]) -> Option<Step> {
        match self {
            Self::Connected => {
                *self = Self::ExpectPong;
                Some(Step::Send(PING))
            }
            Self::ExpectPong => {
                let line = take_line(rest)?;
                Some(match line.split_first() {
                    Some((b'+', b"PONG")) => HEALTHY,
                    Some((b'-', error)) => judge(error),
                    _ => Step::Garbage,
                })
            }
        }
    }
}

/// An error begins with a word for its kind.
fn judge(error: &[u8]) -> Step {
    match error.split(|byte| *byte == b' ').next().unwrap_or_default() {
        // It wants a password, or lets nobody without a name ping it.
        b"NOAUTH" | b"NOPERM" => HEALTHY,
        // It reads its data from disk.
        b"LOADING" => Step::Unhealthy("LOADING"),
        // A replica that does not serve what may be old.
        b"MASTERDOWN" => Step::Unhealthy("MASTERDOWN"),
        // A script runs for longer than it may, and nothing else does.
        b"BUSY" => Step::Unhealthy("BUSY"),
        // It cannot write its data to disk, and so takes no writes.
        b"MISCONF" => Step::Unhealthy("MISCONF"),
        // Without a password it answers its own machine alone.
        b"DENIED" => Step::Unhealthy("DENIED"),
        _ if error == b"ERR max number of clients reached" => {
            Step::Unhealthy("max number of clients reached")
        }
        _ => Step::Unhealthy("an error"),
    }
}

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

/// QUIT is answered and the connection closed, so that nobody has to time out.
const HEALTHY: Step = Step::Healthy {
    goodbye: b"*1\r\n$4\r\nQUIT\r\n",
};
