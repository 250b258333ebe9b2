//! WebSockets over TLS and HTTP/2, and between versions of HTTP (RFC 6455, RFC 8441).
//!
//! `upgrades` has them over HTTP/1.1 in the clear; real WebSocket programs talk in
//! `cargo xtask interop`.

use testkit::{
    Client, End, Endpoint, Frame, Frames, H2Client, H2Request, Pki, Protocol, Reply, TlsClient,
    TlsServer, poll_until,
};

use crate::harness::{SOON, Setup};

const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nHost: test.example\r\nConnection: Upgrade\r\n\
                         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Protocol: chat\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// What RFC 6455 §1.3 says to that key.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// An endpoint that grants every upgrade and sends back what comes.
fn echoing(protocol: Protocol) -> Endpoint {
    Endpoint::speaking(protocol, |_| {
        Reply::tunnel("websocket").field("Sec-WebSocket-Protocol", "chat")
    })
}

fn extended_connect() -> H2Request {
    H2Request::websocket("/chat").field("sec-websocket-protocol", "chat")
}

#[test]
fn an_upgrade_works_inside_tls_on_both_sides() {
    let pki = Pki::new();
    let server = TlsServer::new(&pki.server(&["app.internal"]));
    let endpoint = echoing(Protocol::h1().over(&server));
    let ca = pki.ca();
    let leaf = pki.server(&["test.example"]);
    let proxy = Setup::to(&[&endpoint])
        .listener(&format!("tls = {}", leaf.toml()))
        .pool(&format!(
            "tls = {{ ca = \"{}\", name = \"app.internal\" }}",
            ca.display()
        ))
        .start();
    let tls = TlsClient::new(&pki, "test.example").offering(&["http/1.1"]);
    let mut client = Client::connect_tls(proxy.peer(), &tls);
    client.send(HANDSHAKE);
    assert_eq!(client.read_response().status, 101);
    let large = "x".repeat(100_000);
    for text in ["hello", "GET / HTTP/1.1\r\n\r\n", &large] {
        client.send(text);
        assert_eq!(client.read_bytes(text.len()), text.as_bytes());
    }
    client.finish();
    client.expect_close();
    poll_until("the endpoint is let go", SOON, || {
        endpoint.open_count() == 0
    });
}

#[test]
fn an_extended_connect_becomes_an_upgrade_for_http_1() {
    let endpoint = echoing(Protocol::h1());
    let proxy = Setup::to(&[&endpoint]).listener("h2c = true").start();
    let client = H2Client::connect(proxy.peer());
    let mut stream = client.open(&extended_connect());
    let head = stream.read_head();
    assert_eq!(head.word(1), "200");
    assert_eq!(head.field("sec-websocket-protocol"), Some("chat"));
    for name in ["connection", "upgrade", "sec-websocket-accept"] {
        assert_eq!(head.field(name), None, "{name}");
    }
    assert!(
        client.may_extend_connect(),
        "the listener does not say that it may"
    );
    for text in ["hello", "GET / HTTP/1.1\r\n\r\n", "\u{0}\u{1}"] {
        stream.send_data(text.as_bytes());
        assert_eq!(stream.read_bytes(text.len()), text.as_bytes());
    }
    let request = endpoint.request();
    assert_eq!((request.method(), request.target()), ("GET", "/chat"));
    assert_eq!(request.authority(), "test.example");
    assert!(request.head.connection_has("upgrade"));
    assert_eq!(request.head.field("upgrade"), Some("websocket"));
    assert_eq!(request.head.field("sec-websocket-version"), Some("13"));
    assert_eq!(request.head.field("sec-websocket-protocol"), Some("chat"));
    let key = request.head.field("sec-websocket-key").expect("it has one");
    assert!(key.len() == 24 && key.ends_with("=="), "{key}");
    // The end of one side travels to the other, and back.
    stream.finish();
    assert_eq!(stream.read_body().end, End::Clean);
    poll_until("the endpoint is let go", SOON, || {
        endpoint.open_count() == 0
    });
}

#[test]
fn the_end_of_one_side_of_a_tunnel_ends_the_other() {
    let endpoint = echoing(Protocol::h1());
    let proxy = Setup::to(&[&endpoint]).listener("h2c = true").start();
    let client = H2Client::connect(proxy.peer());
    let mut stream = client.open(&extended_connect());
    stream.read_head();
    stream.reset(8);
    poll_until("the endpoint is let go", SOON, || {
        endpoint.open_count() == 0
    });

    let mut stream = client.open(&extended_connect());
    stream.read_head();
    endpoint.cut_connections();
    assert_ne!(stream.read_body().end, End::TimedOut);
}

#[test]
fn an_upgrade_becomes_an_extended_connect_for_http_2() {
    let endpoint = echoing(Protocol::h2().extended_connect());
    let proxy = Setup::to(&[&endpoint]).pool("protocol = \"h2\"").start();
    let mut client = proxy.client();
    client.send(HANDSHAKE);
    let response = client.read_response();
    assert_eq!(response.status, 101, "{:?}", response.head);
    assert!(response.head.connection_has("upgrade"));
    assert_eq!(response.field("upgrade"), Some("websocket"));
    assert_eq!(response.field("sec-websocket-accept"), Some(ACCEPT));
    assert_eq!(response.field("sec-websocket-protocol"), Some("chat"));
    for text in ["hello", "\u{0}\u{1}"] {
        client.send(text);
        assert_eq!(client.read_bytes(text.len()), text.as_bytes());
    }
    let request = endpoint.request();
    assert_eq!((request.method(), request.target()), ("CONNECT", "/chat"));
    assert_eq!(request.head.field(":protocol"), Some("websocket"));
    assert_eq!(request.head.field("sec-websocket-key"), None);
    client.finish();
    client.expect_close();
}

#[test]
fn an_extended_connect_passes_from_http_2_to_http_2() {
    let endpoint = echoing(Protocol::h2().extended_connect());
    let proxy = Setup::to(&[&endpoint])
        .listener("h2c = true")
        .pool("protocol = \"h2\"")
        .start();
    let client = H2Client::connect(proxy.peer());
    let mut stream = client.open(&extended_connect());
    assert_eq!(stream.read_head().word(1), "200");
    let text = "x".repeat(200_000);
    stream.send_data(text.as_bytes());
    assert_eq!(stream.read_bytes(text.len()), text.as_bytes());
    stream.finish();
    assert_eq!(stream.read_body().end, End::Clean);
}

/// It cannot be asked for what it does not offer (RFC 8441 §3).
#[test]
fn an_http_2_endpoint_without_extended_connect_gets_no_websocket() {
    let endpoint = echoing(Protocol::h2());
    let proxy = Setup::to(&[&endpoint]).pool("protocol = \"h2\"").start();
    let mut client = proxy.client();
    client.send(HANDSHAKE);
    let status = client.read_response().status;
    assert!((500..=504).contains(&status), "{status}");
    assert_eq!(endpoint.request_count(), 0);
}

#[test]
fn an_endpoint_may_decline_an_extended_connect() {
    let endpoint = Endpoint::start(|_| Reply::status(403).body("no"));
    let proxy = Setup::to(&[&endpoint]).listener("h2c = true").start();
    let client = H2Client::connect(proxy.peer());
    let mut stream = client.open(&extended_connect());
    let response = stream.read_response();
    assert_eq!((response.status, response.text().as_str()), (403, "no"));
}

#[test]
fn a_route_without_upgrades_takes_no_extended_connect() {
    let endpoint = echoing(Protocol::h1());
    let proxy = Setup::to(&[&endpoint])
        .listener("h2c = true")
        .route("upgrades = []")
        .start();
    let client = H2Client::connect(proxy.peer());
    let mut stream = client.open(&extended_connect());
    let status: u16 = stream.read_head().word(1).parse().expect("a status");
    assert!(status >= 400, "{status}");
    let mut requests = endpoint.requests().into_iter();
    assert!(requests.all(|request| request.head.field("upgrade").is_none()));
}

/// A plain CONNECT asks for a tunnel to anywhere.
#[test]
fn a_plain_connect_is_refused() {
    let endpoint = echoing(Protocol::h1());
    let proxy = Setup::to(&[&endpoint]).listener("h2c = true").start();
    let mut frames = Frames::open(proxy.peer(), &[]);
    let block = Frame::block(&[(":method", "CONNECT"), (":authority", "db.internal:5432")]);
    frames.send(&Frame::open(1, block));
    let answer = frames.read_until(|frame| frame.stream == 1);
    let is_granted = answer.kind == Frame::HEADERS && answer.payload.first() == Some(&0x88);
    assert!(!is_granted, "{answer:?}");
    assert_eq!(endpoint.request_count(), 0);
}
