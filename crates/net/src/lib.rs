//! Sockets, buffers and timers of one core. The only crate that knows the runtime's sockets.
//!
//! Everything here belongs to one worker and is `!Send` in use: no lock, no sharing.

mod buffer;
mod deadline;
mod idle;
mod listener;
mod runtime;
mod stream;
mod tls;

pub use buffer::{Buffer, LARGE, SMALL};
pub use deadline::Deadline;
pub use idle::IdleConnections;
pub use listener::{Acceptor, Listening, bind};
pub use runtime::{available_workers, run_worker};
pub use stream::{Stream, connect};
pub use tls::{
    CertificatePem, ClientCertificate, ClientVerification, ShownCertificate, TlsClient,
    TlsClientSettings, TlsInfo, TlsServer, TlsServerSettings, TlsStream, accept_tls,
    check_certificate, connect_tls,
};
