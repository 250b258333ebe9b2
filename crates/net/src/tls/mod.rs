//! TLS on both sides of a connection: what a listener shows and demands ([`TlsServer`]), how
//! endpoints are verified ([`TlsClient`]), and the handshakes.
//!
//! Once a handshake is over its connection is a [`Stream`] like any other.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use crate::Stream;

/// What a listener speaks by TLS. Shared by all workers.
#[derive(Debug)]
pub struct TlsServer {}

/// How endpoints of a pool are spoken to by TLS. Shared by all workers.
#[derive(Debug)]
pub struct TlsClient {}

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
#[derive(Debug, Clone)]
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
#[derive(Debug, Clone)]
pub struct ShownCertificate {
    /// Its names.
    pub names: Vec<String>,
    /// Until when it is valid.
    pub not_after: SystemTime,
}

#[expect(
    unused_variables,
    clippy::unimplemented,
    clippy::missing_errors_doc,
    reason = "a skeleton"
)]
impl TlsServer {
    /// What is wrong with `settings`, in one sentence, is the error.
    pub fn new(settings: &TlsServerSettings) -> Result<Self, String> {
        unimplemented!()
    }

    /// Shows other certificates from the next handshake on.
    pub fn replace(&self, settings: &TlsServerSettings) -> Result<(), String> {
        unimplemented!()
    }

    /// The certificates that are shown now.
    pub fn certificates(&self) -> Vec<ShownCertificate> {
        unimplemented!()
    }
}

#[expect(
    unused_variables,
    clippy::unimplemented,
    clippy::missing_errors_doc,
    reason = "a skeleton"
)]
impl TlsClient {
    /// What is wrong with `settings`, in one sentence, is the error.
    pub fn new(settings: &TlsClientSettings) -> Result<Self, String> {
        unimplemented!()
    }
}

/// The server's part of a handshake on `stream`. There is no time limit here.
///
/// # Errors
/// The client closed, or the two could not agree; the message says on what.
#[expect(unused_variables, clippy::unimplemented, reason = "a skeleton")]
pub async fn accept_tls(stream: Stream, server: &Arc<TlsServer>) -> io::Result<Stream> {
    unimplemented!()
}

/// The client's part of a handshake with an endpoint whose certificate is for `name`, a host name
/// or an IP address.
///
/// # Errors
/// The endpoint closed, or its certificate is not one to believe; the message says why.
#[expect(unused_variables, clippy::unimplemented, reason = "a skeleton")]
pub async fn connect_tls(
    stream: Stream,
    client: &Arc<TlsClient>,
    name: &str,
) -> io::Result<Stream> {
    unimplemented!()
}

impl Stream {
    /// What the TLS handshake came to; `None` without TLS.
    pub fn tls(&self) -> Option<&TlsInfo> {
        None
    }
}
