//! TLS as cheap as a client can have it: whoever answers is believed, nothing is resumed.
//!
//! One version, cipher and group, which every load balancer has: so all of them do the same work.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

use crate::socket::Transfer;

/// What every handshake of a load offers.
pub(crate) fn offer() -> Result<Arc<ClientConfig>> {
    let provider = CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![kx_group::X25519],
        ..default_provider()
    };
    let anybody = Anybody(provider.signature_verification_algorithms);
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .context("TLS 1.3 has this cipher")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(anybody))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The session on one connection. The handshake happens beside the first write and reads.
pub(super) struct Session(ClientConnection);

impl Session {
    /// A session that begins with the first write.
    pub(super) fn new(offer: &Arc<ClientConfig>) -> io::Result<Self> {
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let session = ClientConnection::new(Arc::clone(offer), name).map_err(io::Error::other)?;
        Ok(Self(session))
    }

    /// Takes `bytes` to be sent as soon as the handshake allows it.
    pub(super) fn write(&mut self, mut stream: &TcpStream, bytes: &[u8]) -> Transfer {
        match self.0.writer().write(bytes) {
            Ok(count) if self.flush(&mut stream).is_ok() => Transfer::Moved(count),
            _ => Transfer::Ended,
        }
    }

    /// Reads until there is something in `buffer`, or nothing to read.
    pub(super) fn read(&mut self, mut stream: &TcpStream, buffer: &mut [u8]) -> Transfer {
        loop {
            match self.0.reader().read(buffer) {
                Ok(0) => return Transfer::Ended,
                Ok(count) => return Transfer::Moved(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Transfer::Ended,
            }
            match self.0.read_tls(&mut stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Transfer::Blocked;
                }
                // Zero is the end: the reader says next whether it is a clean one.
                Ok(_) if self.0.process_new_packets().is_ok() => {}
                _ => return Transfer::Ended,
            }
            if self.flush(&mut stream).is_err() {
                return Transfer::Ended;
            }
        }
    }

    /// Sends what is owed. Requests are small: a socket that does not take one at once is broken.
    fn flush(&mut self, stream: &mut &TcpStream) -> io::Result<()> {
        while self.0.wants_write() {
            self.0.write_tls(stream)?;
        }
        Ok(())
    }
}

/// Believes every certificate, and pays nothing for it.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
