//! What is left over of one message is never taken for another: the rest of a body for a request,
//! the surplus of an endpoint for a response. Numbers are rows of `threats.md`.

use std::time::Duration;

use testkit::{Client, Endpoint, Gate, Reply, Response, Step, poll_until};

use crate::harness::{SOON, Setup};

/// A request of 64 bytes, so that a body may consist of many.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\nX-Fill: yyyyyyyyyyyyyyyyy\r\n\r\n";

/// For the listener; a route has these and `response`.
const BODY_TIMEOUT: &str = "timeouts = { body = \"500ms\" }";
const TIMEOUTS: &str = "timeouts = { body = \"500ms\", response = \"500ms\" }";

/// After `response`, the connection is over or answers the next request.
#[track_caller]
fn assert_in_step(mut client: Client, response: &Response) {
    if response.head.connection_has("close") {
        client.expect_close();
    } else {
        assert_eq!(client.get("/next").text(), "/next");
    }
}

/// Row 9 (CL.0): the body was read and cannot be sent on.
#[test]
fn a_body_that_the_endpoint_does_not_take_is_not_the_next_request() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let path = directory.path().join("endpoint.sock");
    let endpoint = Endpoint::start_unix(&path, |request| match request.method() {
        // The hint tells the client that from now on the proxy's writes fail.
        "POST" => Reply::steps(vec![
            Step::StopReading,
            Step::Send(b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec()),
            Step::Wait(Gate::new()),
        ]),
        _ => Reply::ok(request.target().to_owned()),
    });
    let proxy = Setup::to(&[&endpoint])
        .listener(BODY_TIMEOUT)
        .route(TIMEOUTS)
        .start();
    let mut client = proxy.client();
    let bytes = SMUGGLED.len();
    client.send(format!(
        "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n"
    ));
    assert_eq!(client.read_head().word(1), "103");
    client.send(SMUGGLED);
    let response = client.read_response();
    assert_eq!(response.status, 504);
    assert_in_step(client, &response);
    let log = proxy.stop().log();
    assert!(!log.contains("/smuggled"), "{log}");
}

/// Row 9 (CL.0): of a body a little longer than what the kernel takes for a frozen endpoint, the
/// end waits here when the time is over. Some of these lengths are such ones.
#[test]
fn the_end_of_a_body_for_a_frozen_endpoint_is_not_the_next_request() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    // The kernel takes less for a Unix socket than for TCP, and always about the same.
    let path = directory.path().join("endpoint.sock");
    let endpoint = Endpoint::start_unix(&path, |request| Reply::ok(request.target().to_owned()));
    endpoint.freeze();
    let proxy = Setup::to(&[&endpoint])
        .pool("outlier = \"off\"")
        .route(TIMEOUTS)
        .start();
    let start = |kib: usize| {
        let body = SMUGGLED.repeat(kib * 1024 / 64);
        let bytes = body.len();
        let mut client = proxy.client();
        client.send(format!(
            "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n{body}"
        ));
        client
    };
    let mut clients: Vec<Client> = (32..512).step_by(16).map(start).collect();
    let responses: Vec<Response> = clients.iter_mut().map(Client::read_response).collect();
    endpoint.thaw();
    for (client, response) in clients.into_iter().zip(&responses) {
        assert_eq!(response.status, 504);
        assert_in_step(client, response);
    }
    let log = proxy.stop().log();
    assert!(!log.contains("/smuggled"), "{log}");
}

/// Row 14: the runtime interrupts a task after 128 steps by telling it that nothing has arrived,
/// also on a connection that is looked at before its reuse.
#[test]
fn bytes_on_an_idle_connection_answer_nobody_behind_a_long_pipeline() {
    let poison = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let endpoint = Endpoint::start(|request| match request.target() {
        "/evil" => Reply::ok("mine")
            .then(Step::Pause(Duration::from_millis(5)))
            .then(Step::Send(poison.to_vec())),
        _ => Reply::ok("yours"),
    });
    let proxy = Setup::to(&[&endpoint])
        .route("host = \"test.example\"")
        .workers(1)
        .start();
    let unrouted = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    // Twice around the limit: a connection may be looked through at the right moment by chance.
    for count in (110..=135).chain(122..=130) {
        assert_eq!(proxy.client().get("/evil").text(), "mine");
        poll_until("the poison is sent", SOON, || endpoint.in_flight() == 0);
        let mut client = proxy.client();
        client.send(unrouted.repeat(count) + "GET / HTTP/1.1\r\nHost: test.example\r\n\r\n");
        for _ in 0..count {
            assert_eq!(client.read_response().status, 404);
        }
        assert_eq!(client.read_response().text(), "yours", "behind {count}");
    }
}
