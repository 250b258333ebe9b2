//! One rustls connection, of either side, driven on buffers that are lent to it.
//!
//! rustls has two interfaces. The buffered one keeps 4 KiB of every idle connection and reads
//! 4 KiB at a time; the *unbuffered* one, used here, decrypts in place in memory that belongs to
//! the caller, so that a connection that waits has none, and a read takes as many records as there
//! are. Its price: it hands out one state at a time, each with duties. [`Session::step`] does them
//! and says what is left.
//!
//! Keys stay inside rustls. Taking them out, to write records ourselves, would save a copy of each
//! record, and would make counters, key updates and alerts our business.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, Error, ServerConfig};

use crate::Buffer;

/// The state of one TLS connection: keys, and the handshake as long as it lasts.
pub(super) enum Session {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// What a step came to.
pub(super) struct Step {
    /// The first so many bytes of the records are done with.
    pub(super) consumed: usize,
    pub(super) outcome: Result<Outcome, Error>,
}

/// What there is to do after a step.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Another step.
    StepOn,
    /// The peer has said that nothing more comes (close_notify).
    PeerClosed,
    /// Nothing before more bytes arrive.
    Idle,
}

/// What is encrypted.
#[derive(Clone, Copy)]
pub(super) enum Plaintext<'a> {
    Data(&'a [u8]),
    CloseNotify,
}

impl Session {
    pub(super) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, Error> {
        UnbufferedClientConnection::new(config, name).map(Self::Client)
    }

    pub(super) fn server(config: Arc<ServerConfig>) -> Result<Self, Error> {
        UnbufferedServerConnection::new(config).map(Self::Server)
    }

    /// What was agreed on so far.
    pub(super) fn common(&self) -> &CommonState {
        match self {
            Self::Client(connection) => connection,
            Self::Server(connection) => connection,
        }
    }

    /// Works on `records`, which begins with what the step before did not consume. Gives `take`
    /// the plaintext of one record at most; appends to `out` what is owed to the peer.
    pub(super) fn step(
        &mut self,
        records: &mut [u8],
        out: &mut Buffer,
        take: &mut dyn FnMut(&[u8]),
    ) -> Step {
        match self {
            Self::Client(connection) => step(connection.process_tls_records(records), out, take),
            Self::Server(connection) => step(connection.process_tls_records(records), out, take),
        }
    }

    /// Appends to `out` the alert that says what the peer did wrong, after a step that failed.
    pub(super) fn encode_alert(&mut self, out: &mut Buffer) {
        // What is queued comes before any other state, so that no bytes are looked at.
        while self.common().wants_write() {
            let step = self.step(&mut [], out, &mut |_| {});
            if step.outcome.is_err() {
                break;
            }
        }
    }

    /// Encrypts to the front of `out`, and returns the number of bytes there. `rest` is what no
    /// step has consumed, the beginning of a record.
    ///
    /// # Errors
    /// The keys are used up (2^24 records of TLS 1.2), or `out` has no [`SEAL_ROOM`].
    pub(super) fn seal(
        &mut self,
        rest: &mut [u8],
        plaintext: Plaintext<'_>,
        out: &mut [u8],
    ) -> Result<usize, Error> {
        match self {
            Self::Client(connection) => seal(connection.process_tls_records(rest), plaintext, out),
            Self::Server(connection) => seal(connection.process_tls_records(rest), plaintext, out),
        }
    }
}

/// Room that [`Session::seal`] needs beyond the plaintext and [`RECORD_OVERHEAD`] of each record:
/// for a key update that goes first.
pub(super) const SEAL_ROOM: usize = 256;

/// A bound of what a record is longer than its plaintext: 29 with AES-GCM in TLS 1.2, else less.
pub(super) const RECORD_OVERHEAD: usize = 32;

/// Most plaintext that a record takes (RFC 8446 §5.1).
pub(super) const RECORD_PLAINTEXT_MAX: usize = 16 * 1024;

fn step<D>(
    status: UnbufferedStatus<'_, '_, D>,
    out: &mut Buffer,
    take: &mut dyn FnMut(&[u8]),
) -> Step {
    let UnbufferedStatus { mut discard, state } = status;
    let outcome = state.and_then(|state| match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                let record = record?;
                discard += record.discard;
                take(record.payload);
            }
            Ok(Outcome::StepOn)
        }
        ConnectionState::EncodeTlsData(record) => encode(record, out).map(|()| Outcome::StepOn),
        ConnectionState::TransmitTlsData(sent) => {
            sent.done();
            Ok(Outcome::StepOn)
        }
        ConnectionState::PeerClosed | ConnectionState::Closed => Ok(Outcome::PeerClosed),
        // Early data is never agreed to.
        ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) => Ok(Outcome::Idle),
        other => Err(Error::General(format!("unexpected state: {other:?}"))),
    });
    Step {
        consumed: discard,
        outcome,
    }
}

fn encode<D>(mut record: EncodeTlsData<'_, D>, out: &mut Buffer) -> Result<(), Error> {
    let mut encoded = record.encode(out.spare());
    if matches!(encoded, Err(EncodeError::InsufficientSize(_))) {
        out.enlarge();
        encoded = record.encode(out.spare());
    }
    let count = encoded.map_err(|error| Error::General(error.to_string()))?;
    out.fill(count);
    Ok(())
}

fn seal<D>(
    status: UnbufferedStatus<'_, '_, D>,
    plaintext: Plaintext<'_>,
    out: &mut [u8],
) -> Result<usize, Error> {
    match status.state? {
        ConnectionState::WriteTraffic(mut traffic) => match plaintext {
            Plaintext::Data(bytes) => traffic.encrypt(bytes, out),
            Plaintext::CloseNotify => traffic.queue_close_notify(out),
        }
        .map_err(|error| Error::General(error.to_string())),
        other => Err(Error::General(format!("not ready to write: {other:?}"))),
    }
}
