//! Handshakes and bytes over loopback sockets, with certificates made on the spot.

use std::future::poll_fn;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SignatureAlgorithm,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;

use super::*;
use crate::Buffer;

mod bytes;
mod clients;
mod endpoints;
mod handshakes;

/// An authority, and what it issues.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        Self::named("an authority")
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    fn issue(&self, names: &[&str]) -> CertificatePem {
        self.issue_for(names, &rcgen::PKCS_ECDSA_P256_SHA256)
    }

    fn issue_for(&self, names: &[&str], algorithm: &'static SignatureAlgorithm) -> CertificatePem {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).unwrap();
        self.sign(&params, &key)
    }

    fn sign(&self, params: &CertificateParams, key: &KeyPair) -> CertificatePem {
        let certificate = params.signed_by(key, &self.0).unwrap();
        CertificatePem {
            cert: certificate.pem().into_bytes(),
            key: key.serialize_pem().into_bytes(),
        }
    }
}

fn server_settings(certificates: Vec<CertificatePem>) -> TlsServerSettings {
    TlsServerSettings {
        certificates,
        is_modern: false,
        client: None,
        http2: true,
        http1: true,
    }
}

fn server(settings: &TlsServerSettings) -> Arc<TlsServer> {
    Arc::new(TlsServer::new(settings).unwrap())
}

fn client(ca: &Authority) -> Arc<TlsClient> {
    Arc::new(TlsClient::new(&client_settings(ca)).unwrap())
}

fn client_settings(ca: &Authority) -> TlsClientSettings {
    TlsClientSettings {
        ca: Some(ca.pem()),
        http1: true,
        ..TlsClientSettings::default()
    }
}

/// Two ends of a TCP connection.
async fn sockets() -> (Stream, Stream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    // The kernel completes it before it is accepted.
    let near = TcpStream::connect(address).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    (Stream::Tcp(near), Stream::Tcp(far))
}

/// What each side's handshake came to: the client's, and the server's.
async fn shake_hands(
    client: &Arc<TlsClient>,
    server: &Arc<TlsServer>,
    name: &str,
) -> (io::Result<Stream>, io::Result<Stream>) {
    let (near, far) = sockets().await;
    let server = server.clone();
    let accepted = spawn_local(async move {
        let mut stream = accept_tls(far, Buffer::default(), &server).await?;
        assert_eq!(read_exactly(&mut stream, 1).await, b"!");
        Ok(stream)
    });
    let connected = async {
        let mut stream = connect_tls(near, client, name).await?;
        // The client's last flight leaves with its first bytes.
        write_all(&mut stream, b"!").await?;
        Ok(stream)
    };
    (connected.await, accepted.await.unwrap())
}

/// As [`shake_hands`], where both succeed.
async fn pair(client: &Arc<TlsClient>, server: &Arc<TlsServer>, name: &str) -> (Stream, Stream) {
    let (near, far) = shake_hands(client, server, name).await;
    (near.unwrap(), far.unwrap())
}

async fn write_all(stream: &mut Stream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = poll_fn(|cx| stream.poll_write(cx, bytes)).await?;
        bytes = &bytes[count..];
    }
    Ok(())
}

async fn read_exactly(stream: &mut Stream, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = Buffer::default();
    while bytes.len() < count {
        let read = poll_fn(|cx| stream.poll_read(cx, &mut buffer)).await;
        assert_ne!(read.unwrap(), 0, "ended after {} bytes", bytes.len());
        bytes.extend_from_slice(buffer.filled());
        buffer.consume(buffer.filled().len());
    }
    bytes
}

/// Runs as a worker does.
fn run<F: Future>(test: F) -> F::Output {
    crate::run_worker(async {
        tokio::time::timeout(std::time::Duration::from_secs(60), test)
            .await
            .expect("the test hangs")
    })
    .unwrap()
}
