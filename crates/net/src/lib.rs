//! Sockets, buffers and timers of one core. The only crate that knows the runtime's sockets.
//!
//! A [`Stream`] is a connection, by TLS or not: [`bind`] and [`Acceptor`] take those of clients,
//! [`connect()`] makes those to endpoints, [`accept_tls`] and [`connect_tls`] turn either into one
//! by TLS. A [`Pipe`] takes the bulk of one to another. [`IdleConnections`] wait without a task. A
//! [`UdpSocket`] moves datagrams, in batches. A [`Buffer`] has memory while there are bytes in it, a
//! [`Deadline`] is one timer for all time-outs of a connection, and [`run_worker`] is the runtime
//! that all of it lives in.
//!
//! Everything here belongs to one worker and is `!Send` in use: no lock, no sharing.

mod buffer;
mod connect;
mod deadline;
mod idle;
mod listener;
mod options;
mod pipe;
mod runtime;
mod stream;
mod tls;
mod udp;

pub use buffer::{Buffer, LARGE, SMALL};
pub use connect::{check_connect, connect};
pub use deadline::Deadline;
pub use idle::IdleConnections;
pub use listener::{Acceptor, Listening, bind};
pub use options::{ConnectOptions, ConnectionOptions, ListenerOptions};
pub use pipe::Pipe;
pub use runtime::{available_workers, is_shortage, open_files_max, run_worker};
pub use stream::Stream;
pub use tls::{
    CertificatePem, ClientCertificate, ClientVerification, ShownCertificate, TlsClient,
    TlsClientSettings, TlsFault, TlsInfo, TlsServer, TlsServerSettings, TlsStream, accept_tls,
    check_certificate, connect_tls,
};
pub use udp::{Datagram, Inbox, Outbox, UdpSocket, bind_udp};
