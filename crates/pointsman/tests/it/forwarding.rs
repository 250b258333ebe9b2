//! Messages go through whole, in order, and over kept connections.

use std::time::Duration;

use testkit::{Client, End, Endpoint, Gate, Reply, Step, filler, hash, poll_until};

use crate::harness::{SOON, Setup, named, proxy_to};

#[test]
fn connections_are_kept_on_both_sides() {
    let endpoint = named("a");
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "a");
    }
    assert_eq!(endpoint.connection_count(), 1);
}

#[test]
fn clients_share_kept_connections_to_the_endpoint() {
    let endpoint = named("a");
    let proxy = Setup::to(&[&endpoint]).workers(1).start();
    for _ in 0..5 {
        assert_eq!(proxy.get("/").text(), "a");
    }
    assert_eq!(endpoint.connection_count(), 1);
}

#[test]
fn an_endpoint_that_says_close_is_not_reused_and_the_client_is_kept() {
    let endpoint = Endpoint::start(|_| Reply::ok("a").close());
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    for _ in 0..3 {
        let response = client.get("/");
        assert_eq!(response.text(), "a");
        assert!(!response.head.connection_has("close"));
    }
    assert_eq!(endpoint.connection_count(), 3);
}

#[test]
fn a_connection_is_not_reused_past_its_announced_time_out() {
    // Four seconds less than announced is nothing: it may close while a request is on its way.
    let endpoint = Endpoint::start(|_| Reply::ok("a").field("Keep-Alive", "timeout=4"));
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    for _ in 0..3 {
        let response = client.get("/");
        assert_eq!(response.field("keep-alive"), None);
    }
    assert_eq!(endpoint.connection_count(), 3);
}

#[test]
fn a_client_that_says_close_is_closed_after_its_response() {
    let endpoint = named("a");
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let response = client.read_response();
    assert!(response.head.connection_has("close"));
    client.expect_close();
    // That was the client's connection; the endpoint's is another matter.
    assert_eq!(proxy.get("/").text(), "a");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let endpoint = Endpoint::start(|request| {
        let reply = Reply::ok(request.target().to_owned());
        match request.target() {
            "/0" => reply.first(Step::Pause(Duration::from_millis(100))),
            _ => reply,
        }
    });
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    let requests = (0..20).map(|number| format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client.send(requests.collect::<String>());
    for number in 0..20 {
        assert_eq!(client.read_response().text(), format!("/{number}"));
    }
}

#[test]
fn a_pipeline_may_be_longer_than_any_buffer() {
    const REQUESTS: usize = 500;
    let endpoint = Endpoint::start(|request| Reply::ok(request.target().to_owned()));
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    let padding = "x".repeat(400);
    let requests =
        (0..REQUESTS).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\nX: {padding}\r\n\r\n"));
    client.send(requests.collect::<String>());
    for number in 0..REQUESTS {
        assert_eq!(client.read_response().text(), format!("/{number}"));
    }
}

#[test]
fn a_large_response_head_passes() {
    let cookie = "c".repeat(20_000);
    let endpoint = Endpoint::start({
        let cookie = cookie.clone();
        move |_| Reply::ok("a").field("Set-Cookie", &cookie)
    });
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    for _ in 0..2 {
        let response = client.get("/");
        assert_eq!(response.field("set-cookie"), Some(cookie.as_str()));
        assert_eq!(response.text(), "a");
    }
}

#[test]
fn pipelined_bodies_do_not_run_into_each_other() {
    let endpoint = Endpoint::start(|_| Reply::echo());
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send(
        "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
         POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\n\
         GET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    for _ in 0..3 {
        assert_eq!(client.read_response().status, 200);
    }
    let requests = endpoint.requests();
    let seen: Vec<_> = requests
        .iter()
        .map(|request| (request.target(), request.body().text()))
        .collect();
    let expected = [("/1", "abc"), ("/2", "def"), ("/3", "")];
    assert_eq!(
        seen,
        expected.map(|(target, body)| (target, body.to_owned()))
    );
}

#[test]
fn a_request_may_arrive_byte_by_byte() {
    let endpoint = Endpoint::start(|_| Reply::ok("a"));
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    let request = "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                   2\r\nok\r\n0\r\nT: 1\r\n\r\n";
    client.send_in_pieces(request, 1);
    assert_eq!(client.read_response().status, 200);
    assert_eq!(endpoint.request().body().text(), "ok");
}

#[test]
fn chunked_bodies_and_trailers_pass_in_both_directions() {
    let endpoint = Endpoint::start(|_| Reply::chunked(&["ab", "c"]).trailer("Grpc-Status", "0"));
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send(
            "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nX-Sum: 15\r\n\r\n",
        );
        let response = client.read_response();
        assert_eq!(response.text(), "abc");
        assert_eq!(
            response.body.trailers,
            [("Grpc-Status".to_owned(), "0".to_owned())]
        );
    }
    let requests = endpoint.requests();
    let request = &requests[1];
    assert_eq!(request.body().text(), "abcde");
    assert_eq!(
        request.body().trailers,
        [("X-Sum".to_owned(), "15".to_owned())]
    );
    assert_eq!(request.head.field("te"), Some("trailers"));
    assert_eq!(endpoint.connection_count(), 1);
}

#[test]
fn chunks_are_delivered_as_they_come() {
    let gate = Gate::new();
    let endpoint = Endpoint::start({
        let gate = gate.clone();
        move |_| {
            let start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
            Reply::raw(start)
                .then(Step::Wait(gate.clone()))
                .then(Step::Send(b"6\r\nsecond\r\n0\r\n\r\n".to_vec()))
        }
    });
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_head();
    assert_eq!(client.read_bytes(10), b"5\r\nfirst\r\n");
    gate.open();
    assert_eq!(client.read_bytes(16), b"6\r\nsecond\r\n0\r\n\r\n");
}

#[test]
fn a_response_that_ends_with_the_connection_is_whole() {
    let endpoint = Endpoint::start(|_| Reply::until_close("hello"));
    let proxy = proxy_to(&[&endpoint]);
    let response = proxy.get("/");
    assert_eq!(response.text(), "hello");
    assert_eq!(response.body.end, End::Clean);

    endpoint.set_script(|_| Reply::raw("HTTP/1.0 200 OK\r\n\r\nold").then(Step::Close));
    assert_eq!(proxy.get("/").text(), "old");
}

#[test]
fn large_bodies_arrive_unchanged() {
    const BYTES: usize = 5_000_000;
    let endpoint = Endpoint::start(|_| Reply::filler(BYTES as u64));
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    let sent = std::thread::spawn(move || {
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {BYTES}\r\n\r\n"
        ));
        client.send_filler(BYTES as u64);
        client.read_response()
    });
    let response = sent.join().expect("the client gets its response");
    let expected = hash(&filler(BYTES));
    assert_eq!(
        (response.body.bytes, response.body.hash),
        (BYTES as u64, expected)
    );
    let request = endpoint.request();
    assert_eq!(
        (request.body().bytes, request.body().hash),
        (BYTES as u64, expected)
    );
}

#[test]
fn responses_without_a_body_leave_the_connection_usable() {
    let endpoint = Endpoint::start(|request| match request.target() {
        "/204" => Reply::status(204).field("Content-Length", "5"),
        "/304" => Reply::status(304).field("Content-Length", "5"),
        _ => Reply::ok("hello"),
    });
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.read_response_to("HEAD");
    assert_eq!(head.field("content-length"), Some("5"));
    assert_eq!(client.get("/204").status, 204);
    assert_eq!(client.get("/304").status, 304);
    assert_eq!(client.get("/").text(), "hello");
    assert_eq!(endpoint.connection_count(), 1);
}

#[test]
fn early_hints_pass_before_the_response() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
    let endpoint = Endpoint::start(move |_| Reply::ok("a").interim(hints).interim(hints));
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    let response = client.get("/");
    assert_eq!(response.informational.len(), 2);
    assert_eq!(
        response.informational[0].field("link"),
        Some("</a.css>; rel=preload")
    );
    assert_eq!(response.text(), "a");
    assert_eq!(client.get("/").text(), "a");
}

#[test]
fn http_1_0_clients_get_no_interim_responses() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
    let endpoint = Endpoint::start(move |_| Reply::ok("a").interim(hints));
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    let response = client.read_response();
    assert!(response.informational.is_empty());
    assert_eq!(response.text(), "a");
}

#[test]
fn a_body_waits_for_100_continue() {
    let gate = Gate::new();
    let endpoint = Endpoint::start({
        let gate = gate.clone();
        move |_| {
            Reply::steps(vec![
                Step::Wait(gate.clone()),
                Step::Send(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
                Step::ReadBody,
                Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()),
            ])
        }
    });
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    poll_until("the head reaches the endpoint", SOON, || {
        endpoint.request_count() == 1
    });
    assert_eq!(
        endpoint.request().head.field("expect"),
        Some("100-continue")
    );
    gate.open();
    assert_eq!(client.read_head().word(1), "100");
    client.send("ok");
    assert_eq!(client.read_response().status, 200);
    assert_eq!(endpoint.request().body().text(), "ok");
}

#[test]
fn a_refused_expectation_is_delivered_without_the_body() {
    let endpoint = Endpoint::start(|_| Reply::status(403).unread());
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    let response = client.read_response();
    assert_eq!(response.status, 403);
    assert!(response.informational.is_empty());
    assert_eq!(proxy.get("/next").status, 403);
    // Nobody may take the first connection for clean: its body never came.
    assert_eq!(endpoint.connection_count(), 2);
}

#[test]
fn an_early_response_is_delivered_while_the_body_still_arrives() {
    let endpoint = Endpoint::start(|_| Reply::status(413).unread().close());
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegin");
    assert_eq!(client.read_response().status, 413);
}

#[test]
fn http_1_0_clients_are_closed_unless_they_ask() {
    let endpoint = named("a");
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.read_response().text(), "a");
    client.expect_close();

    let mut client = proxy.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
        let response = client.read_response();
        assert_eq!(response.text(), "a");
        assert!(response.head.connection_has("keep-alive"));
    }
}

#[test]
fn http_1_0_clients_never_see_chunks() {
    let endpoint = Endpoint::start(|_| Reply::chunked(&["ab", "c"]).trailer("T", "1"));
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
    let response = client.read_response();
    assert_eq!(response.field("transfer-encoding"), None);
    assert_eq!(response.text(), "abc");
    assert_eq!(response.body.end, End::Clean);
}

#[test]
fn unix_sockets_serve_on_both_sides() {
    let directory = tempfile::tempdir().unwrap();
    let endpoint_path = directory.path().join("endpoint.sock");
    let listener_path = directory.path().join("listener.sock");
    let endpoint = Endpoint::start_unix(&endpoint_path, |_| Reply::ok("a"));
    let proxy = Setup::to(&[&endpoint])
        .listener(&format!(
            "bind = [\"127.0.0.1:0\", \"unix:{}\"]",
            listener_path.display()
        ))
        .start();
    assert_eq!(proxy.get("/").text(), "a");
    let mut client = Client::connect(listener_path);
    assert_eq!(client.get("/").text(), "a");
    assert_eq!(client.get("/").text(), "a");
}

#[test]
fn a_client_that_leaves_ends_the_work_for_it() {
    let endpoint = Endpoint::start(|_| Reply::hang());
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    poll_until("the request arrives", SOON, || endpoint.in_flight() == 1);
    client.reset();
    poll_until("the endpoint is let go", SOON, || endpoint.in_flight() == 0);
}

#[test]
fn a_client_that_leaves_a_stream_lets_the_endpoint_go() {
    let endpoint = Endpoint::start(|_| {
        let start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
        Reply::raw(start).then(Step::Hang)
    });
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_head();
    assert_eq!(client.read_bytes(10), b"5\r\nfirst\r\n");
    drop(client);
    poll_until("the endpoint is let go", SOON, || {
        endpoint.open_count() == 0
    });
}
