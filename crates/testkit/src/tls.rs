//! TLS for the test sides: what a client believes and shows, what an endpoint shows and demands.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::ServerName;
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, CommonState, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};
use socket2::Socket;

use crate::pki::{Leaf, Pki};

/// How a client speaks TLS. Clones share the sessions that they may resume.
#[derive(Clone)]
pub struct TlsClient {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
    /// Bytes of one write during the handshake.
    piece: usize,
}

/// How an endpoint speaks TLS.
#[derive(Clone)]
pub struct TlsServer {
    pub(crate) config: Arc<ServerConfig>,
}

/// What a handshake came to, as one side saw it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Handshake {
    /// The protocol agreed on by ALPN.
    pub alpn: Option<String>,
    /// `TLSv1_3`.
    pub version: String,
    /// The name that was asked for; endpoints know it only.
    pub sni: Option<String>,
    /// The other side's certificates, leaf first, in DER.
    pub certificates: Vec<Vec<u8>>,
    /// A session was resumed.
    pub is_resumed: bool,
}

impl TlsClient {
    /// Believes what `pki` has issued, and asks for `name`.
    #[track_caller]
    pub fn new(pki: &Pki, name: &str) -> Self {
        Self::with(pki, name, None, rustls::ALL_VERSIONS)
    }

    /// As [`TlsClient::new`], and shows `leaf`.
    #[track_caller]
    pub fn showing(pki: &Pki, name: &str, leaf: &Leaf) -> Self {
        Self::with(pki, name, Some(leaf), rustls::ALL_VERSIONS)
    }

    /// As [`TlsClient::new`], and knows TLS 1.2 only.
    #[track_caller]
    pub fn old(pki: &Pki, name: &str) -> Self {
        Self::with(pki, name, None, &[&rustls::version::TLS12])
    }

    #[track_caller]
    fn with(
        pki: &Pki,
        name: &str,
        leaf: Option<&Leaf>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .expect("the provider knows them");
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots(pki), Arc::new(default_provider()))
                .build()
                .expect("there is an authority");
        let builder = builder.with_webpki_verifier(verifier);
        let config = match leaf {
            None => builder.with_no_client_auth(),
            Some(leaf) => builder
                .with_client_auth_cert(leaf.chain.clone(), leaf.key_der.clone_key())
                .expect("the key belongs to the certificate"),
        };
        let name = ServerName::try_from(name.to_owned()).expect("a host name or an address");
        Self {
            config: Arc::new(config),
            name,
            piece: usize::MAX,
        }
    }

    /// The same with records of at most so many bytes, header included; no fewer than 32.
    #[must_use]
    pub fn in_records(mut self, bytes: usize) -> Self {
        Arc::make_mut(&mut self.config).max_fragment_size = Some(bytes);
        self
    }

    /// The same with at most so many bytes in each write of the handshake.
    #[must_use]
    pub fn in_pieces(mut self, bytes: usize) -> Self {
        self.piece = bytes;
        self
    }

    /// The same with these protocols offered by ALPN.
    #[must_use]
    pub fn offering(mut self, protocols: &[&str]) -> Self {
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
        Arc::make_mut(&mut self.config).alpn_protocols = protocols.collect();
        self
    }

    /// The handshake, over a blocking socket.
    pub(crate) fn connect(&self, socket: &Socket) -> io::Result<ClientConnection> {
        let mut connection = ClientConnection::new(Arc::clone(&self.config), self.name.clone())
            .map_err(io::Error::other)?;
        let piece = self.piece;
        while connection.is_handshaking() {
            connection.complete_io(&mut Pieces { socket, piece })?;
        }
        Ok(connection)
    }
}

/// A socket that is written to in pieces.
struct Pieces<'a> {
    socket: &'a Socket,
    /// Bytes of one write.
    piece: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&mut &*self.socket).read(buffer)
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&mut &*self.socket).write(&bytes[..bytes.len().min(self.piece)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TlsServer {
    /// Shows `leaf`.
    pub fn new(leaf: &Leaf) -> Self {
        let builder = server_builder().with_no_client_auth();
        let config = builder.with_single_cert(leaf.chain.clone(), leaf.key_der.clone_key());
        Self {
            config: Arc::new(config.expect("the key belongs to the certificate")),
        }
    }

    /// Shows `leaf` and demands a certificate that `pki` has issued.
    pub fn demanding(leaf: &Leaf, pki: &Pki) -> Self {
        let provider = Arc::new(default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots(pki), provider)
            .build()
            .expect("there is an authority");
        let builder = server_builder().with_client_cert_verifier(verifier);
        let config = builder.with_single_cert(leaf.chain.clone(), leaf.key_der.clone_key());
        Self {
            config: Arc::new(config.expect("the key belongs to the certificate")),
        }
    }

    pub(crate) fn offering(&self, protocol: &str) -> Arc<ServerConfig> {
        let mut config = ServerConfig::clone(&self.config);
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Arc::new(config)
    }
}

impl Handshake {
    pub(crate) fn of(connection: &CommonState, sni: Option<&str>) -> Self {
        let alpn = connection.alpn_protocol();
        let version = connection.protocol_version();
        let certificates = connection.peer_certificates().into_iter().flatten();
        Self {
            alpn: alpn.map(|name| String::from_utf8_lossy(name).into_owned()),
            version: version.map_or_else(String::new, |version| format!("{version:?}")),
            sni: sni.map(str::to_owned),
            certificates: certificates.map(|cert| cert.to_vec()).collect(),
            is_resumed: connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        }
    }
}

/// The handshake of an endpoint, over a blocking socket.
pub(crate) fn accept(config: Arc<ServerConfig>, socket: &Socket) -> io::Result<ServerConnection> {
    let mut connection = ServerConnection::new(config).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut &*socket)?;
    }
    Ok(connection)
}

fn roots(pki: &Pki) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(pki.ca_der()).expect("it is a certificate");
    Arc::new(roots)
}

fn server_builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows them")
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer").finish_non_exhaustive()
    }
}
