//! What a connection begins with, where that decides what becomes of it: TLS for one of several
//! owners, or one of several protocols.

use std::future::poll_fn;
use std::time::Instant;

use config::{Listener, ListenerProtocol};
use net::{Buffer, SMALL, Stream};
use tokio::time::timeout_at;
use wire::client_hello::{self, ClientHello, HELLO_BYTES_MAX};
use wire::spoken::{Spoken, spoken};

/// What a connection begins with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// TLS, whose first message is here.
    Tls(ClientHello),
    /// HTTP/1 or HTTP/2.
    Http,
    /// Something else, or nothing: a client that waits for the server to speak.
    Other,
}

/// A connection that is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoBeginning {
    /// The client has closed it, or was silent.
    Gone,
    /// It began like TLS, and broke its rules or did not go on.
    BadHello,
}

/// True if connections of `listener` differ by what they begin with.
pub(crate) fn matter(listener: &Listener) -> bool {
    let detects = matches!(listener.protocol, ListenerProtocol::Detect { .. });
    detects || !listener.passthrough.is_empty()
}

/// Reads until it is clear what `stream` begins with; `buffer` has what has arrived, and gets more.
/// That may take as long as a request head; a silent client is waited for as `listener` says.
pub(crate) async fn receive(
    listener: &Listener,
    stream: &mut Stream,
    buffer: &mut Buffer,
) -> Result<Beginning, NoBeginning> {
    let began = Instant::now();
    let until = began + listener.timeouts.head;
    let silent_until = match listener.protocol {
        ListenerProtocol::Detect { patience } => Some((began + patience).min(until)),
        _ => None,
    };
    loop {
        if let Some(beginning) = look(buffer.filled())? {
            return Ok(beginning);
        }
        let silent_until = silent_until.filter(|_| buffer.is_empty());
        let read = poll_fn(|cx| stream.poll_read(cx, buffer));
        match timeout_at(silent_until.unwrap_or(until).into(), read).await {
            Ok(Ok(1..)) => {}
            Err(_) if silent_until.is_some() => return Ok(Beginning::Other),
            Ok(Err(_)) => return Err(NoBeginning::Gone),
            // It has ended, or the time has.
            Ok(Ok(0)) | Err(_) => {
                return match buffer.filled().first() {
                    None => Err(NoBeginning::Gone),
                    Some(&TLS_HANDSHAKE) => Err(NoBeginning::BadHello),
                    Some(_) => Ok(Beginning::Other),
                };
            }
        }
    }
}

/// What `arrived` says; `None`: nothing yet.
fn look(arrived: &[u8]) -> Result<Option<Beginning>, NoBeginning> {
    if arrived.is_empty() {
        return Ok(None);
    }
    Ok(match spoken(arrived) {
        None => None,
        Some(Spoken::Http) => Some(Beginning::Http),
        Some(Spoken::Other) => Some(Beginning::Other),
        Some(Spoken::Tls) => match client_hello::read(arrived) {
            Ok(client_hello::Read::Whole(hello)) => Some(Beginning::Tls(hello)),
            Ok(client_hello::Read::Absent) => Some(Beginning::Other),
            Ok(client_hello::Read::Partial) if arrived.len() < HELLO_BYTES_MAX => None,
            Ok(client_hello::Read::Partial) | Err(_) => return Err(NoBeginning::BadHello),
        },
    })
}

/// The first byte of a record with a handshake in it (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 22;

/// There is room for one more byte as long as a hello may go on.
const _: () = assert!(HELLO_BYTES_MAX <= SMALL);
