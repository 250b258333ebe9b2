//! TLS on both sides of a connection: what a listener shows and demands ([`TlsServer`]), how
//! endpoints are verified ([`TlsClient`]), and the handshakes.
//!
//! Once a handshake is over its connection is a [`Stream`] like any other: [`TlsStream`] moves its
//! bytes, and `session` says which interface of rustls it does that with, and why.
//!
//! Absent on purpose: files (settings hold PEM), time limits, early data, which can be replayed.

mod belief;
mod certificate;
mod client;
mod explain;
mod identity;
mod server;
mod session;
mod shown;
mod stream;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::{HandshakeKind, ProtocolVersion};

pub use certificate::check_certificate;
pub use client::TlsClient;
pub use explain::TlsFault;
pub use server::TlsServer;
pub use stream::TlsStream;

use crate::{Buffer, Stream};

/// What a [`TlsServer`] is made of.
#[derive(Debug, Clone)]
pub struct TlsServerSettings {
    /// Chains and keys in PEM. Empty: one is made up, for development.
    pub certificates: Vec<CertificatePem>,
    /// TLS 1.3 alone.
    pub is_modern: bool,
    /// Clients are asked for certificates.
    pub client: Option<ClientVerification>,
    /// `h2` is offered by ALPN, before `http/1.1`.
    pub http2: bool,
    /// `http/1.1` is offered by ALPN. With neither, whatever clients offer is left unanswered.
    pub http1: bool,
}

/// A certificate chain and its key.
#[derive(Clone)]
pub struct CertificatePem {
    /// The chain, leaf first.
    pub cert: Vec<u8>,
    /// The private key.
    pub key: Vec<u8>,
}

/// Without the key.
impl std::fmt::Debug for CertificatePem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CertificatePem")
    }
}

/// How clients' certificates are verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientVerification {
    /// Authorities, in PEM.
    pub ca: Vec<u8>,
    /// Revocation lists, in PEM.
    pub crl: Option<Vec<u8>>,
    /// A client without a certificate is refused.
    pub required: bool,
}

/// What a [`TlsClient`] is made of.
#[derive(Debug, Clone, Default)]
pub struct TlsClientSettings {
    /// Authorities in PEM; `None`: those of the system.
    pub ca: Option<Vec<u8>>,
    /// What we show.
    pub certificate: Option<CertificatePem>,
    /// Whoever answers is believed.
    pub is_unverified: bool,
    /// `h2` is offered by ALPN.
    pub http2: bool,
    /// `http/1.1` is offered by ALPN.
    pub http1: bool,
}

/// What a handshake came to.
#[derive(Debug, Clone, Default)]
pub struct TlsInfo {
    /// `h2` was agreed on.
    pub is_http2: bool,
    /// The name that the client asked for, in lower case.
    pub sni: Option<Box<str>>,
    /// `TLSv1.3`
    pub version: &'static str,
    /// `TLS13_AES_128_GCM_SHA256`
    pub cipher: &'static str,
    /// A session was resumed.
    pub is_resumed: bool,
    /// The certificate that the client showed, verified.
    pub client: Option<ClientCertificate>,
}

/// A client's certificate.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// The subject as RFC 4514 writes it; ASCII without control bytes.
    pub subject: Box<str>,
    /// The common name in it, if it has one.
    pub common_name: Option<Box<str>>,
    /// Subject alternative names: `DNS:a.example, URI:spiffe://x`; ASCII without control bytes.
    pub san: Box<str>,
    /// SHA-256 of the certificate, 64 hexadecimal digits.
    pub fingerprint: Box<str>,
}

/// A certificate that a listener shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownCertificate {
    /// Its names in lower case, and its addresses.
    pub names: Vec<String>,
    /// Until when it is valid.
    pub not_after: SystemTime,
}

/// The server's part of a handshake on `stream`, from which `arrived` was read already. There is no
/// time limit here.
///
/// # Errors
/// The client closed, or the two could not agree; the message says on what.
pub async fn accept_tls(
    stream: Stream,
    arrived: Buffer,
    server: &Arc<TlsServer>,
) -> io::Result<Stream> {
    let (session, choice) = server
        .session()
        .map_err(|error| io::Error::other(TlsFault::new(&error)))?;
    let mut stream = Box::new(TlsStream::new(stream, arrived, session));
    poll_fn(|cx| stream.poll_handshake(cx)).await?;
    stream.describe(choice.asked());
    Ok(Stream::Tls(stream))
}

/// The client's part of a handshake with an endpoint whose certificate is for `name`, a host name
/// or an IP address.
///
/// # Errors
/// The endpoint closed, or its certificate is not one to believe; the message says why.
pub async fn connect_tls(
    stream: Stream,
    client: &Arc<TlsClient>,
    name: &str,
) -> io::Result<Stream> {
    let session = client
        .session(name)
        .map_err(|reason| io::Error::new(io::ErrorKind::InvalidInput, reason))?;
    let mut stream = Box::new(TlsStream::new(stream, Buffer::default(), session));
    poll_fn(|cx| stream.poll_handshake(cx)).await?;
    stream.describe(None);
    Ok(Stream::Tls(stream))
}

impl Stream {
    /// What the TLS handshake came to; `None` without TLS.
    pub fn tls(&self) -> Option<&TlsInfo> {
        match self {
            Self::Tls(stream) => Some(stream.info()),
            Self::Tcp(_) | Self::Unix(_) => None,
        }
    }
}

impl TlsInfo {
    /// What a session agreed on, whose client asked for `sni`.
    fn of(session: &session::Session, sni: Option<&str>) -> Self {
        let common = session.common();
        let suite = common.negotiated_cipher_suite();
        // The certificate of an endpoint has been verified, and is of no more use.
        let shown = match session {
            session::Session::Server(_) => common.peer_certificates(),
            session::Session::Client(_) => None,
        };
        Self {
            is_http2: common.alpn_protocol() == Some(b"h2"),
            sni: sni.map(Into::into),
            version: match common.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                _ => "TLSv1.2",
            },
            cipher: suite
                .and_then(|suite| suite.suite().as_str())
                .unwrap_or("unknown"),
            is_resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
            client: shown
                .and_then(|chain| chain.first())
                .and_then(|leaf| identity::identify(leaf)),
        }
    }
}
