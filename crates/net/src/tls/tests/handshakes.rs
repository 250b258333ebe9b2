//! What two sides agree on, and when they do not.

use std::cell::Cell;
use std::rc::Rc;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::{ClientConfig, HandshakeKind, SupportedProtocolVersion};

use super::super::certificate::provider;
use super::super::client::Terms;
use super::super::session::Session;
use super::*;

/// A client with these versions of TLS alone.
fn client_of(ca: &Authority, versions: &[&'static SupportedProtocolVersion]) -> Arc<TlsClient> {
    client_with(ca, (**provider()).clone(), versions)
}

fn client_with(
    ca: &Authority,
    provider: rustls::crypto::CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<TlsClient> {
    let authorities = super::super::certificate::authorities(&ca.pem()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(authorities)
        .with_no_client_auth();
    using(config)
}

fn using(config: ClientConfig) -> Arc<TlsClient> {
    let terms = Terms {
        config: Arc::new(config),
        certificate: None,
    };
    Arc::new(TlsClient {
        terms: ArcSwap::from_pointee(terms),
    })
}

/// What the server's handshake came to.
async fn info(client: &Arc<TlsClient>, server: &Arc<TlsServer>, name: &str) -> TlsInfo {
    let (_near, far) = pair(client, server, name).await;
    far.tls().unwrap().clone()
}

fn reason<T>(result: io::Result<T>) -> String {
    match result {
        Ok(_) => panic!("the handshake succeeded"),
        Err(error) => error.to_string(),
    }
}

/// Names of the certificate that the server shows.
async fn shown(client: &Arc<TlsClient>, server: &Arc<TlsServer>, name: &str) -> Vec<String> {
    let (near, _far) = pair(client, server, name).await;
    names(&near)
}

fn names(stream: &Stream) -> Vec<String> {
    let Stream::Tls(stream) = stream else {
        panic!("no TLS");
    };
    let chain = stream.session.common().peer_certificates().unwrap();
    super::super::certificate::describe(&chain[0])
        .unwrap()
        .names
}

fn kind(stream: &Stream) -> HandshakeKind {
    let Stream::Tls(stream) = stream else {
        panic!("no TLS");
    };
    stream.session.common().handshake_kind().unwrap()
}

#[test]
fn both_versions_are_spoken_and_modern_speaks_the_newer_alone() {
    run(async {
        let ca = Authority::new();
        let mut settings = server_settings(vec![ca.issue(&["a.example"])]);
        let intermediate = server(&settings);
        settings.is_modern = true;
        let modern = server(&settings);
        let old = client_of(&ca, &[&rustls::version::TLS12]);
        let new = client_of(&ca, &[&rustls::version::TLS13]);

        assert_eq!(
            info(&new, &intermediate, "a.example").await.version,
            "TLSv1.3"
        );
        let agreed = info(&old, &intermediate, "a.example").await;
        assert_eq!(agreed.version, "TLSv1.2");
        assert!(
            agreed.cipher.starts_with("TLS_ECDHE_ECDSA_WITH_"),
            "{}",
            agreed.cipher
        );
        assert_eq!(info(&new, &modern, "a.example").await.version, "TLSv1.3");
        let (near, far) = shake_hands(&old, &modern, "a.example").await;
        assert_eq!(reason(far), "the peer speaks none of our versions of TLS");
        assert_eq!(
            reason(near),
            "the peer refused: it speaks none of our versions of TLS"
        );
    });
}

#[test]
fn the_certificate_is_chosen_by_name_then_wildcard_then_the_first() {
    run(async {
        let ca = Authority::new();
        let server = server(&server_settings(vec![
            ca.issue(&["first.example"]),
            ca.issue(&["*.b.example", "b.example"]),
            ca.issue(&["exact.b.example"]),
        ]));
        let anybody = Arc::new(
            TlsClient::new(&TlsClientSettings {
                is_unverified: true,
                ..TlsClientSettings::default()
            })
            .unwrap(),
        );
        for (name, expected) in [
            ("first.example", "first.example"),
            ("EXACT.b.example", "exact.b.example"),
            ("other.b.example", "*.b.example"),
            ("b.example", "*.b.example"),
            ("two.labels.b.example", "first.example"),
            ("unknown.example", "first.example"),
            ("127.0.0.1", "first.example"), // Asks for no name.
        ] {
            assert_eq!(shown(&anybody, &server, name).await[0], expected, "{name}");
        }
    });
}

#[test]
fn ecdsa_and_rsa_stand_side_by_side() {
    run(async {
        let ca = Authority::new();
        let rsa = ca.issue_for(&["a.example"], &rcgen::PKCS_RSA_SHA256);
        let server = server(&server_settings(vec![rsa, ca.issue(&["a.example"])]));
        let mut rsa_only = (**provider()).clone();
        rsa_only
            .cipher_suites
            .retain(|suite| format!("{suite:?}").contains("ECDHE_RSA"));
        let rsa_only = client_with(&ca, rsa_only, &[&rustls::version::TLS12]);
        let any = client_of(&ca, &[&rustls::version::TLS12]);
        let cipher = info(&any, &server, "a.example").await.cipher;
        assert!(cipher.contains("ECDHE_ECDSA"), "{cipher}");
        let cipher = info(&rsa_only, &server, "a.example").await.cipher;
        assert!(cipher.contains("ECDHE_RSA"), "{cipher}");
    });
}

#[test]
fn the_protocol_is_agreed_on_in_the_servers_order() {
    run(async {
        let ca = Authority::new();
        let mut settings = server_settings(vec![ca.issue(&["a.example"])]);
        let both = server(&settings);
        settings.http2 = false;
        let http1_alone = server(&settings);
        let offering = |http2, http1| {
            let settings = TlsClientSettings {
                http2,
                http1,
                ..client_settings(&ca)
            };
            Arc::new(TlsClient::new(&settings).unwrap())
        };
        for (http2, http1, expected) in [
            (true, true, true),
            (true, false, true),
            (false, true, false),
            (false, false, false), // No ALPN at all.
        ] {
            let (near, far) = pair(&offering(http2, http1), &both, "a.example").await;
            assert_eq!(far.tls().unwrap().is_http2, expected);
            assert_eq!(near.tls().unwrap().is_http2, expected);
        }
        assert!(
            !info(&offering(true, true), &http1_alone, "a.example")
                .await
                .is_http2
        );
        let (near, far) = shake_hands(&offering(true, false), &http1_alone, "a.example").await;
        assert_eq!(
            reason(far),
            "the peer offers protocols by ALPN, but none of ours"
        );
        assert_eq!(
            reason(near),
            "the peer refused: it speaks none of our protocols"
        );
    });
}

#[test]
fn a_session_is_resumed_by_all_who_share_the_server() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        run(async {
            let ca = Authority::new();
            let server = server(&server_settings(vec![ca.issue(&["a.example"])]));
            let client = client_of(&ca, &[version]);
            first_visit(&client, &server, "a.example").await;
            let other_worker = server.clone();
            assert!(info(&client, &other_worker, "a.example").await.is_resumed);
        });
    }
}

/// A full handshake, and an answer, with which tickets come.
async fn first_visit(client: &Arc<TlsClient>, server: &Arc<TlsServer>, name: &str) {
    let (mut near, mut far) = pair(client, server, name).await;
    assert!(!far.tls().unwrap().is_resumed);
    write_all(&mut far, b"answer").await.unwrap();
    assert_eq!(read_exactly(&mut near, 6).await, b"answer");
}

#[test]
fn a_session_of_one_name_is_not_resumed_under_another() {
    // CVE-2025-23419. The client here sends the ticket that it got under the other name.
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        run(async {
            let ca = Authority::new();
            let server = server(&server_settings(vec![
                ca.issue(&["a.example", "b.example"]),
            ]));
            let client = client_of(&ca, &[version]);
            let mut config = ClientConfig::clone(&client.terms.load().config);
            config.resumption = rustls::client::Resumption::store(Arc::new(OneDrawer {
                inner: rustls::client::ClientSessionMemoryCache::new(8),
            }));
            let client = using(config);
            first_visit(&client, &server, "a.example").await;
            assert!(!info(&client, &server, "b.example").await.is_resumed);
        });
    }
}

/// Keeps sessions of all names in one place.
#[derive(Debug)]
struct OneDrawer {
    inner: rustls::client::ClientSessionMemoryCache,
}

fn drawer() -> rustls::pki_types::ServerName<'static> {
    "drawer.example".try_into().unwrap()
}

impl rustls::client::ClientSessionStore for OneDrawer {
    fn set_kx_hint(&self, _: rustls::pki_types::ServerName<'static>, group: rustls::NamedGroup) {
        self.inner.set_kx_hint(drawer(), group);
    }

    fn kx_hint(&self, _: &rustls::pki_types::ServerName<'_>) -> Option<rustls::NamedGroup> {
        self.inner.kx_hint(&drawer())
    }

    fn set_tls12_session(
        &self,
        _: rustls::pki_types::ServerName<'static>,
        value: rustls::client::Tls12ClientSessionValue,
    ) {
        self.inner.set_tls12_session(drawer(), value);
    }

    fn tls12_session(
        &self,
        _: &rustls::pki_types::ServerName<'_>,
    ) -> Option<rustls::client::Tls12ClientSessionValue> {
        self.inner.tls12_session(&drawer())
    }

    fn remove_tls12_session(&self, _: &rustls::pki_types::ServerName<'static>) {
        self.inner.remove_tls12_session(&drawer());
    }

    fn insert_tls13_ticket(
        &self,
        _: rustls::pki_types::ServerName<'static>,
        value: rustls::client::Tls13ClientSessionValue,
    ) {
        self.inner.insert_tls13_ticket(drawer(), value);
    }

    fn take_tls13_ticket(
        &self,
        _: &rustls::pki_types::ServerName<'static>,
    ) -> Option<rustls::client::Tls13ClientSessionValue> {
        self.inner.take_tls13_ticket(&drawer())
    }
}

#[test]
fn sessions_outlive_certificates_but_not_what_clients_are_asked_for() {
    run(async {
        let ca = Authority::new();
        let mut settings = server_settings(vec![ca.issue(&["a.example"])]);
        let server = server(&settings);
        let client = client(&ca);
        first_visit(&client, &server, "a.example").await;
        settings.certificates = vec![ca.issue(&["a.example"])];
        server.replace(&settings).unwrap();
        assert!(info(&client, &server, "a.example").await.is_resumed);

        first_visit_again(&client, &server).await;
        settings.client = Some(ClientVerification {
            ca: ca.pem(),
            crl: None,
            required: false,
        });
        server.replace(&settings).unwrap();
        assert!(!info(&client, &server, "a.example").await.is_resumed);
    });
}

/// Any handshake, and an answer, with which tickets come.
async fn first_visit_again(client: &Arc<TlsClient>, server: &Arc<TlsServer>) {
    let (mut near, mut far) = pair(client, server, "a.example").await;
    write_all(&mut far, b"answer").await.unwrap();
    read_exactly(&mut near, 6).await;
}

#[test]
fn post_quantum_key_exchange_is_offered_and_costs_others_no_round_trip() {
    run(async {
        let ca = Authority::new();
        let server = server(&server_settings(vec![ca.issue(&["a.example"])]));
        for (groups, expected) in [
            (vec![kx_group::X25519], "X25519"),
            (vec![kx_group::SECP256R1], "secp256r1"),
            (vec![kx_group::X25519MLKEM768], "X25519MLKEM768"),
            (
                vec![kx_group::X25519MLKEM768, kx_group::X25519],
                "X25519MLKEM768",
            ),
        ] {
            let mut provider = (**provider()).clone();
            provider.kx_groups = groups;
            let client = client_with(&ca, provider, &[&rustls::version::TLS13]);
            let (near, _far) = pair(&client, &server, "a.example").await;
            assert_eq!(kind(&near), HandshakeKind::Full, "{expected}");
            let Stream::Tls(near) = near else {
                unreachable!()
            };
            let group = near
                .session
                .common()
                .negotiated_key_exchange_group()
                .unwrap();
            assert_eq!(format!("{:?}", group.name()), expected);
        }
    });
}

#[test]
fn no_handshake_fails_while_certificates_are_replaced_all_the_time() {
    let ca = Authority::new();
    let certificates: Vec<CertificatePem> = (0..4).map(|_| ca.issue(&["a.example"])).collect();
    let server = server(&server_settings(vec![certificates[0].clone()]));
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let replacing = {
        let (server, stop) = (server.clone(), stop.clone());
        std::thread::spawn(move || {
            let mut count = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let next = certificates[count % certificates.len()].clone();
                server.replace(&server_settings(vec![next])).unwrap();
                count += 1;
            }
            count
        })
    };
    run(async {
        let client = client(&ca);
        for _ in 0..200 {
            pair(&client, &server, "a.example").await;
        }
    });
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(replacing.join().unwrap() > 200);
}

#[test]
fn certificates_that_cannot_be_used_change_nothing() {
    run(async {
        let ca = Authority::new();
        let server = server(&server_settings(vec![ca.issue(&["a.example"])]));
        let before = server.certificates();
        let mut wrong = ca.issue(&["b.example"]);
        wrong.key = ca.issue(&["b.example"]).key;
        let error = server.replace(&server_settings(vec![wrong])).unwrap_err();
        assert_eq!(error, "the key does not belong to the certificate");
        assert_eq!(server.certificates(), before);
        pair(&client(&ca), &server, "a.example").await;
    });
}

#[test]
fn a_certificate_is_made_once_if_there_is_none() {
    run(async {
        let settings = server_settings(Vec::new());
        let server = server(&settings);
        let before = server.certificates();
        assert!(before[0].names.contains(&"localhost".to_owned()));
        assert!(before[0].names.contains(&"127.0.0.1".to_owned()));
        server.replace(&settings).unwrap();
        assert_eq!(server.certificates(), before);
    });
}

/// The first bytes of a client.
fn client_hello(ca: &Authority) -> Vec<u8> {
    let mut session: Session = client(ca).session("a.example").unwrap();
    let mut out = Buffer::default();
    while session
        .step(&mut [], &mut out, &mut |_| {})
        .outcome
        .unwrap()
        != super::super::session::Outcome::Idle
    {}
    out.filled().to_vec()
}

#[test]
fn a_client_that_leaves_at_any_byte_of_its_hello_is_told_from_one_that_errs() {
    run(async {
        let ca = Authority::new();
        let server = server(&server_settings(vec![ca.issue(&["a.example"])]));
        let hello = client_hello(&ca);
        assert!(hello.len() > 1000, "has the post-quantum share");
        for cut in (0..hello.len()).step_by(7) {
            let (mut near, far) = sockets().await;
            write_all(&mut near, &hello[..cut]).await.unwrap();
            drop(near);
            let error = accept_tls(far, Buffer::default(), &server)
                .await
                .unwrap_err();
            assert_eq!(
                error.kind(),
                io::ErrorKind::UnexpectedEof,
                "cut at byte {cut}"
            );
        }
    });
}

#[test]
fn a_handshake_whose_bytes_arrive_one_by_one_succeeds() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        run(async {
            let ca = Authority::new();
            let server = server(&server_settings(vec![ca.issue(&["a.example"])]));
            let client = client_of(&ca, &[version]);
            let (near, left) = sockets().await;
            let (right, far) = sockets().await;
            let count = Rc::new(Cell::new(0));
            let (Stream::Tcp(left), Stream::Tcp(right)) = (left, right) else {
                unreachable!()
            };
            let (left, right) = (Rc::new(left), Rc::new(right));
            spawn_local(drip(left.clone(), right.clone(), count.clone()));
            spawn_local(drip(right, left, count.clone()));
            let accepted = spawn_local(async move {
                let mut stream = accept_tls(far, Buffer::default(), &server).await.unwrap();
                assert_eq!(read_exactly(&mut stream, 4).await, b"ping");
                write_all(&mut stream, b"pong").await.unwrap();
            });
            let mut stream = connect_tls(near, &client, "a.example").await.unwrap();
            write_all(&mut stream, b"ping").await.unwrap();
            assert_eq!(read_exactly(&mut stream, 4).await, b"pong");
            accepted.await.unwrap();
            assert!(count.get() > 1000, "{} bytes one by one", count.get());
        });
    }
}

/// Passes bytes on one by one.
async fn drip(from: Rc<TcpStream>, to: Rc<TcpStream>, count: Rc<Cell<usize>>) {
    to.set_nodelay(true).unwrap();
    let mut byte = [0];
    loop {
        from.readable().await.unwrap();
        match from.try_read(&mut byte) {
            Ok(1) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            _ => return,
        }
        to.writable().await.unwrap();
        if to.try_write(&byte).is_err() {
            return;
        }
        count.set(count.get() + 1);
        tokio::task::yield_now().await;
    }
}

#[test]
fn what_is_not_tls_is_called_so_and_answered_with_an_alert() {
    run(async {
        let ca = Authority::new();
        let server = server(&server_settings(vec![ca.issue(&["a.example"])]));
        let oversized = [b"\x16\x03\x01\xff\xff".as_slice(), &[0; 100]].concat();
        for garbage in [
            b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n".as_slice(),
            b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
            &oversized,
            &[0; 100],
        ] {
            let (mut near, far) = sockets().await;
            write_all(&mut near, garbage).await.unwrap();
            let error = accept_tls(far, Buffer::default(), &server)
                .await
                .unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
            if garbage.starts_with(b"GET") {
                assert_eq!(error.to_string(), "what arrived is not TLS");
            }
            let alert = read_exactly(&mut near, 7).await;
            assert_eq!((alert[0], alert[5]), (21, 2), "{error}");
        }
    });
}
