//! Checks of endpoints that speak TLS, HTTP/2 and gRPC.

use std::sync::Arc;

use balance::{Availability, CheckKind};
use control::{EndpointTls, Transport};
use net::{TlsClient, TlsClientSettings};
use testkit::{Endpoint, Pki, Protocol, Reply, TlsServer, poll_until};

use crate::setup::{LIMIT, Setup, http, pool, pool_with};

/// HTTP/2 with prior knowledge.
fn h2c() -> Transport {
    Transport {
        http2: true,
        ..Transport::default()
    }
}

/// TLS with endpoints that `pki` has certified as `name`.
fn tls(pki: &Pki, name: Option<&str>, http2: bool) -> Transport {
    let settings = TlsClientSettings {
        ca: Some(std::fs::read(pki.ca()).expect("it is there")),
        http2,
        http1: !http2,
        ..TlsClientSettings::default()
    };
    Transport {
        tls: Some(EndpointTls {
            client: Arc::new(TlsClient::new(&settings).expect("they fit")),
            name: name.map(Into::into),
        }),
        http2,
        ..Transport::default()
    }
}

fn grpc(service: &str) -> CheckKind {
    CheckKind::Grpc {
        service: service.into(),
        host: None,
    }
}

/// A response of a call: a message and how it went.
fn call(message: &str, code: &str) -> Reply {
    let frame = format!("\0\0\0\0{}{message}", char::from(message.len() as u8));
    Reply::chunked(&[&frame])
        .field("content-type", "application/grpc")
        .trailer("grpc-status", code)
}

fn start(kind: CheckKind, endpoint: &Endpoint, transport: Transport) -> Setup {
    let pool = pool("app", kind, &[endpoint.address()]);
    Setup::start_over(vec![(pool, transport)])
}

#[test]
fn a_grpc_check_asks_for_the_health_of_its_service() {
    let endpoint = Endpoint::speaking(Protocol::h2(), |_| call("\x08\x01", "0"));
    let setup = start(grpc("shop.Cart"), &endpoint, Transport::default());
    setup.await_availability(0, 0, Availability::Up);
    let request = endpoint.request();
    assert_eq!(
        (request.method(), request.target()),
        ("POST", "/grpc.health.v1.Health/Check")
    );
    assert_eq!(request.authority(), endpoint.address().to_string());
    for (name, value) in [
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        (
            "user-agent",
            concat!("pointsman/", env!("CARGO_PKG_VERSION"), " health-check"),
        ),
    ] {
        assert_eq!(request.head.field(name), Some(value), "{name}");
    }
    assert_eq!(request.body().kept, b"\0\0\0\0\x0b\x0a\x09shop.Cart");
}

#[test]
fn each_bad_answer_to_a_grpc_check_is_told_by_its_name() {
    let grpc_field = |reply: Reply| reply.field("content-type", "application/grpc");
    for (reply, evidence) in [
        (call("\x08\x02", "0"), "the service says not_serving"),
        (call("\x08\x03", "0"), "the service says service_unknown"),
        (call("", "0"), "the service says unknown"),
        (call("\x08", "0"), "answer lacks what is expected"),
        (
            grpc_field(Reply::status(200)).field("grpc-status", "5"),
            "gRPC status not_found",
        ),
        (call("\x08\x01", "12"), "gRPC status unimplemented"),
        (call("\x08\x01", "99"), "gRPC status unknown"),
        (
            grpc_field(Reply::ok("\0\0\0\0\x02\x08\x01")),
            "answer lacks what is expected",
        ),
        (
            Reply::ok("").field("grpc-status", "0"),
            "answer lacks what is expected",
        ),
        (
            grpc_field(Reply::chunked(&["\0\0\0\x08\0", &"x".repeat(2048)])),
            "answer lacks what is expected",
        ),
        (Reply::status(404), "unexpected status 404"),
        (Reply::reset(), "connection reset"),
    ] {
        let shown = format!("{reply:.80?}");
        let endpoint = Endpoint::speaking(Protocol::h2(), move |_| reply.clone());
        let setup = start(grpc(""), &endpoint, h2c());
        setup.await_event(&format!("(probe failed: {evidence})"));
        assert_eq!(setup.availability(0, 0), Availability::Down, "{shown}");
    }
}

#[test]
fn a_server_that_speaks_http_1_only_fails_a_grpc_check() {
    let endpoint = Endpoint::start(|_| Reply::ok(""));
    let setup = start(grpc(""), &endpoint, Transport::default());
    setup.await_event("(probe failed: answer is not HTTP)");
    assert_eq!(setup.availability(0, 0), Availability::Down);
}

#[test]
fn an_http_check_speaks_http_2_where_requests_do() {
    let endpoint = Endpoint::speaking(Protocol::h2(), |_| Reply::ok("all fine").field("x", "y"));
    let mut kind = http();
    if let CheckKind::Http { body, .. } = &mut kind {
        *body = Some("fine".into());
    }
    let setup = start(kind, &endpoint, h2c());
    setup.await_availability(0, 0, Availability::Up);
    assert_eq!(endpoint.request().target(), "/healthz");
    endpoint.set_script(|_| Reply::status(503));
    setup.await_event("(probe failed: unexpected status 503)");
}

#[test]
fn every_check_speaks_tls_where_requests_do() {
    let pki = Pki::new();
    let server = TlsServer::new(&pki.server(&["app.internal"]));
    for (kind, protocol, is_http2) in [
        (CheckKind::Tcp, Protocol::h1(), false),
        (http(), Protocol::h1(), false),
        (http(), Protocol::h2(), true),
        (grpc(""), Protocol::h2(), true),
    ] {
        let shown = format!("{kind:?} {protocol:?}");
        let is_call = matches!(kind, CheckKind::Grpc { .. });
        let endpoint = Endpoint::speaking(protocol.over(&server), move |_| match is_call {
            true => call("\x08\x01", "0"),
            false => Reply::ok(""),
        });
        let setup = start(kind, &endpoint, tls(&pki, Some("app.internal"), is_http2));
        setup.await_availability(0, 0, Availability::Up);
        poll_until("a handshake", LIMIT, || !endpoint.handshakes().is_empty());
        let handshakes = endpoint.handshakes();
        let handshake = handshakes[0].as_ref().expect(&shown);
        assert_eq!(handshake.sni.as_deref(), Some("app.internal"), "{shown}");
    }
}

#[test]
fn an_endpoint_that_cannot_be_believed_is_down() {
    let (pki, stranger) = (Pki::new(), Pki::new());
    let name = Some("app.internal");
    let own = || pki.server(&["app.internal"]);
    for (certificate, name, why) in [
        (
            stranger.server(&["app.internal"]),
            name,
            "issuer of the certificate is not trusted",
        ),
        (
            own(),
            Some("other.internal"),
            "certificate is for another name",
        ),
        // Without a name the address is what counts.
        (own(), None, "certificate is for another name"),
        (
            pki.expired_server(&["app.internal"]),
            name,
            "certificate has expired",
        ),
    ] {
        let protocol = Protocol::h1().over(&TlsServer::new(&certificate));
        let endpoint = Endpoint::speaking(protocol, |_| Reply::ok(""));
        let setup = start(CheckKind::Tcp, &endpoint, tls(&pki, name, false));
        setup.await_event(&format!("(probe failed: TLS: {why})"));
        assert_eq!(setup.availability(0, 0), Availability::Down);
    }
}

#[test]
fn an_endpoint_without_a_name_is_known_by_its_address() {
    let pki = Pki::new();
    let server = TlsServer::new(&pki.server(&["127.0.0.1"]));
    let endpoint = Endpoint::speaking(Protocol::h1().over(&server), |_| Reply::ok(""));
    let setup = start(http(), &endpoint, tls(&pki, None, false));
    setup.await_availability(0, 0, Availability::Up);
}

#[test]
fn http_2_that_is_not_agreed_on_is_not_spoken() {
    let pki = Pki::new();
    let server = TlsServer::new(&pki.server(&["app.internal"]));
    let endpoint = Endpoint::speaking(Protocol::h1().over(&server), |_| Reply::ok(""));
    let mut transport = tls(&pki, Some("app.internal"), false);
    transport.http2 = true;
    let setup = start(http(), &endpoint, transport);
    setup.await_event("(probe failed: the endpoint does not speak HTTP/2)");
    drop(setup);
    let transport = tls(&pki, Some("app.internal"), false);
    let setup = start(grpc(""), &endpoint, transport);
    setup.await_event("(probe failed: the endpoint does not speak HTTP/2)");
    assert_eq!(endpoint.request_count(), 0);
}

#[test]
fn a_preface_comes_before_tls_and_before_the_question() {
    let preface = "PROXY UNKNOWN\r\n";
    let endpoint = Endpoint::start(|_| Reply::ok(""));
    let transport = Transport {
        preface: preface.as_bytes().into(),
        ..Transport::default()
    };
    let setup = start(http(), &endpoint, transport);
    poll_until("the preface", LIMIT, || {
        let received = endpoint.received();
        let first = received.first().map(Vec::as_slice).unwrap_or_default();
        first.starts_with(b"PROXY UNKNOWN\r\nGET /healthz ")
    });
    drop(setup);
    endpoint.take_faults();
}

#[test]
fn endpoints_that_differ_in_nothing_are_probed_once() {
    let pki = Pki::new();
    let server = TlsServer::new(&pki.server(&["app.internal"]));
    let endpoint = Endpoint::speaking(Protocol::h1().over(&server), |_| Reply::ok(""));
    let shared = tls(&pki, Some("app.internal"), false);
    let pools = ["app", "other"].map(|name| {
        let pool = pool_with(name, http(), &[endpoint.address()], |settings| {
            settings.check.interval = LIMIT * 10;
        });
        (pool, shared.clone())
    });
    let setup = Setup::start_over(pools.to_vec());
    setup.await_availability(0, 0, Availability::Up);
    setup.await_availability(1, 0, Availability::Up);
    assert_eq!(endpoint.connection_count(), 1);
}
