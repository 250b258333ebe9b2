//! The two test sides against each other: what they say of a proxy holds only if they agree.

use std::time::Duration;

use super::{Frame, Frames, H2Client, H2Request};
use crate::endpoint::Endpoint;
use crate::http::End;
use crate::protocol::Protocol;
use crate::script::{Reply, Step};
use crate::wait::{Gate, poll_until};
use crate::{Client, Pki, TlsClient, TlsServer, filler, hash};

const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_request_and_its_response_pass_whole() {
    let endpoint = Endpoint::speaking(Protocol::h2(), |request| match request.target() {
        "/trailers" => Reply::chunked(&["a", "b"]).trailer("X-Sum", "2"),
        "/hints" => Reply::ok("c").interim("HTTP/1.1 103 Early Hints\r\nLink: </s>\r\n\r\n"),
        "/filler" => Reply::filler(3_000_000),
        _ => Reply::echo(),
    });
    let client = H2Client::connect(endpoint.peer());
    let body = filler(300_000);
    let mut stream = client.open(&H2Request::post("/echo").field("x-a", "1"));
    stream.send_data(&body);
    stream.send_trailers(&[("x-end", "yes")]);
    let response = stream.read_response();
    let text = response.text();
    assert_eq!(response.status, 200);
    assert!(
        text.contains(&format!("body-hash: {:016x}", hash(&body))),
        "{text}"
    );
    assert!(text.contains("field: :authority: test.example"), "{text}");
    let received = endpoint.request();
    assert_eq!(
        received.body().trailers,
        [("x-end".to_owned(), "yes".to_owned())]
    );
    assert_eq!(received.head.field("x-a"), Some("1"));

    let response = client.get("/trailers");
    assert_eq!(response.text(), "ab");
    assert_eq!(
        response.body.trailers,
        [("x-sum".to_owned(), "2".to_owned())]
    );

    let response = client.get("/hints");
    assert_eq!(response.informational[0].field("link"), Some("</s>"));
    assert_eq!(response.text(), "c");

    let response = client.get("/filler");
    assert_eq!(
        (response.body.bytes, response.body.end),
        (3_000_000, End::Clean)
    );
    assert_eq!(response.body.hash, hash(&filler(3_000_000)));
    assert_eq!(endpoint.requests()[3].sent, 3_000_000);
    assert_eq!(endpoint.connection_count(), 1);
}

#[test]
fn resets_are_seen_by_both_sides() {
    let gate = Gate::new();
    let endpoint = Endpoint::speaking(Protocol::h2(), {
        let gate = gate.clone();
        move |request| match request.target() {
            "/refused" => Reply::steps(vec![Step::ResetStream(7)]),
            "/within" => Reply::ok("half").then(Step::ResetStream(2)),
            "/cut" => Reply::ok("whole").cut_at(3),
            _ => Reply::ok("late").wait(&gate),
        }
    });
    let client = H2Client::connect(endpoint.peer());
    let mut refused = client.send(&H2Request::get("/refused"), b"");
    assert_eq!(
        refused.try_read_response(),
        Err(crate::ReadError::StreamReset(7))
    );
    assert_eq!(client.get("/within").body.end, End::StreamReset(2));
    client.open(&H2Request::post("/wait")).reset(8);
    poll_until("the reset is seen", SOON, || {
        let requests = endpoint.requests();
        requests.iter().any(|request| {
            request
                .body
                .as_ref()
                .is_some_and(|b| b.end == End::StreamReset(8))
        })
    });
    let response = client.get("/cut");
    assert_eq!(
        (response.text().as_str(), response.body.end),
        ("who", End::Cut)
    );
    gate.open();
}

#[test]
fn tls_agrees_on_the_protocol_and_shows_certificates() {
    let pki = Pki::new();
    let leaf = pki.server(&["localhost", "127.0.0.1"]);
    let h2 = Endpoint::speaking(Protocol::h2().over(&TlsServer::new(&leaf)), |_| {
        Reply::ok("2")
    });
    let server = TlsServer::demanding(&leaf, &pki);
    let h1 = Endpoint::speaking(Protocol::h1().over(&server), |_| Reply::ok("1").close());
    let client = H2Client::connect_tls(h2.peer(), &TlsClient::new(&pki, "localhost"));
    assert_eq!(client.get("/").text(), "2");
    assert_eq!(client.handshake().alpn.as_deref(), Some("h2"));

    let shown = pki.client("alice");
    let tls = TlsClient::showing(&pki, "127.0.0.1", &shown).offering(&["http/1.1"]);
    let mut client = Client::connect_tls(h1.peer(), &tls);
    assert_eq!(client.get("/").text(), "1");
    client.expect_close();
    let handshakes = h1.handshakes();
    let handshake = handshakes[0].as_ref().unwrap();
    assert_eq!(handshake.certificates.len(), 1);

    // Without a certificate TLS 1.3 fails with the first read.
    let mut client = Client::connect_tls(h1.peer(), &TlsClient::new(&pki, "localhost"));
    assert!(
        client.try_send("GET / HTTP/1.1\r\n\r\n").is_err()
            || client.try_read_response("GET", 0).is_err()
    );
    assert!(Client::try_connect_tls(h2.peer(), &TlsClient::new(&pki, "other")).is_err());
    assert!(Client::try_connect_tls(h2.peer(), &TlsClient::new(&Pki::new(), "localhost")).is_err());
}

#[test]
fn frames_are_read_and_written() {
    let endpoint = Endpoint::speaking(Protocol::h2(), |_| Reply::ok("a"));
    let mut frames = Frames::open(endpoint.peer(), &[(3, 10)]);
    frames.send(&Frame::request(
        1,
        Frame::get_block(&format!("/{}", "x".repeat(300))),
    ));
    assert_eq!(frames.expect(Frame::DATA, 1).payload, b"a");
    frames.send(&Frame::ping());
    frames.read_until(|frame| frame.kind == Frame::PING && frame.flags == Frame::ACK);
    // DATA on a stream that was never opened.
    frames.send(&Frame::new(Frame::DATA, 0, 7, *b"x"));
    assert_eq!(frames.expect_go_away(), 1);
}

#[test]
fn an_extended_connect_is_a_tunnel() {
    let protocol = Protocol::h2().extended_connect();
    let endpoint = Endpoint::speaking(protocol, |_| Reply::tunnel("websocket"));
    let client = H2Client::connect(endpoint.peer());
    poll_until("the SETTINGS are there", SOON, || {
        client.may_extend_connect()
    });
    let mut stream = client.open(&H2Request::websocket("/chat"));
    assert_eq!(stream.read_head().word(1), "200");
    stream.send_data(b"hello");
    assert_eq!(stream.read_bytes(5), b"hello");
    stream.finish();
    assert_eq!(stream.read_body().end, End::Clean);
    let request = endpoint.request();
    assert_eq!(request.head.field(":protocol"), Some("websocket"));
}
