//! Upgraded connections are tunnels; upgrades that no route allows do not happen.

use testkit::{Endpoint, Gate, Reply, Step, poll_until};

use crate::harness::{SOON, Setup, named, proxy_to};

const WEBSOCKET: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
                         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[test]
fn a_websocket_is_a_tunnel_in_both_directions() {
    let endpoint = Endpoint::start(|_| Reply::tunnel("websocket"));
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send(WEBSOCKET);
    let response = client.read_response();
    assert_eq!(response.status, 101);
    assert_eq!(response.field("upgrade"), Some("websocket"));
    assert!(response.head.connection_has("upgrade"));
    for text in ["hello", "GET / HTTP/1.1\r\n\r\n", "\0\x01"] {
        client.send(text);
        assert_eq!(client.read_bytes(text.len()), text.as_bytes());
    }
    let request = endpoint.request();
    assert_eq!(request.head.field("upgrade"), Some("websocket"));
    assert!(request.head.connection_has("upgrade"));
    // The end of one side travels to the other, and back.
    client.finish();
    client.expect_close();
    poll_until("the endpoint is let go", SOON, || {
        endpoint.open_count() == 0
    });
}

#[test]
fn an_endpoint_that_ends_a_tunnel_ends_the_client() {
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                   Upgrade: websocket\r\n\r\nbye";
    let endpoint = Endpoint::start(move |_| Reply::raw(*switch).then(Step::Close));
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send(WEBSOCKET);
    assert_eq!(client.read_response().status, 101);
    // Bytes right behind the 101 belong to the new protocol.
    assert_eq!(client.read_to_end(), b"bye");
}

#[test]
fn an_endpoint_may_decline_an_upgrade() {
    let endpoint = named("plain");
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send(WEBSOCKET);
    assert_eq!(client.read_response().text(), "plain");
    assert_eq!(client.get("/").text(), "plain");
}

/// Threat 10.
#[test]
fn bytes_sent_before_the_101_do_not_reach_the_endpoint_early() {
    let gate = Gate::new();
    let endpoint = Endpoint::start({
        let gate = gate.clone();
        move |_| Reply::status(403).wait(&gate)
    });
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send(format!(
        "{WEBSOCKET}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    ));
    poll_until("the request arrives", SOON, || {
        endpoint.request_count() == 1
    });
    gate.open();
    assert_eq!(client.read_response().status, 403);
    // The endpoint declined, so what follows is a request of its own, and seen as one by us.
    assert_eq!(client.read_response().status, 403);
    let requests = endpoint.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests[1].head.field("x-forwarded-for").is_some());
}

/// Threat 10.
#[test]
fn h2c_is_never_passed_on() {
    let endpoint = named("a");
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    );
    assert_eq!(client.read_response().status, 200);
    let head = endpoint.request().head;
    for name in ["upgrade", "http2-settings"] {
        assert!(head.fields(name).is_empty(), "{name}: {:?}", head.fields);
    }
    assert!(!head.connection_has("upgrade"));
}

#[test]
fn a_route_may_allow_other_protocols() {
    let endpoint = Endpoint::start(|_| Reply::tunnel("echo"));
    let proxy = Setup::to(&[&endpoint])
        .route("upgrades = [\"echo\"]")
        .start();
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    assert_eq!(client.read_response().status, 101);
    client.send("hello");
    assert_eq!(client.read_bytes(5), b"hello");
}

#[test]
fn a_101_that_nobody_asked_for_is_a_bad_gateway() {
    let endpoint = Endpoint::start(|_| Reply::tunnel("websocket"));
    let proxy = proxy_to(&[&endpoint]);
    assert_eq!(proxy.get("/").status, 502);

    // Nor is a switch to something else than was asked for.
    endpoint.set_script(|_| Reply::tunnel("other"));
    let mut client = proxy.client();
    client.send(WEBSOCKET);
    assert_eq!(client.read_response().status, 502);
}
