//! The kit against itself: a client talks to an endpoint with no proxy between them.

use std::time::{Duration, Instant};

use testkit::{
    Client, End, Endpoint, Gate, ID_FIELD, Load, Pki, ReadError, Reply, Script, Step, TlsClient,
    TlsServer, filler, get, hash, poll_until,
};

const SOON: Duration = Duration::from_secs(5);

#[test]
fn requests_are_answered_and_recorded() {
    let endpoint = Endpoint::start(|request| Reply::ok(request.target().to_owned()));
    let mut client = Client::connect(endpoint.address());
    assert_eq!(client.get("/a").text(), "/a");
    client.send("POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("3\r\nabc\r\n0\r\nSum: 6\r\n\r\n");
    assert_eq!(client.read_response().text(), "/b");

    let requests = endpoint.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].method(), "GET");
    assert_eq!(requests[1].body().text(), "abc");
    assert_eq!(
        requests[1].body().trailers,
        [("Sum".to_owned(), "6".to_owned())]
    );
    assert_eq!(endpoint.connection_count(), 1);
    assert!(endpoint.received()[0].ends_with(b"Sum: 6\r\n\r\n"));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let endpoint = Endpoint::start(|request| Reply::ok(request.target().to_owned()));
    let mut client = Client::connect(endpoint.address());
    client.send_in_pieces("GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n", 3);
    assert_eq!(client.read_response().text(), "/1");
    assert_eq!(client.read_response().text(), "/2");
}

#[test]
fn interim_heads_chunks_and_trailers_are_read() {
    let endpoint = Endpoint::start(|_| {
        Reply::chunked(&["ab", "c"])
            .trailer("Sum", "6")
            .interim("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
    });
    let response = get(endpoint.address(), "/");
    assert_eq!(response.text(), "abc");
    assert_eq!(response.body.trailers, [("Sum".to_owned(), "6".to_owned())]);
    assert_eq!(response.informational[0].field("link"), Some("</a.css>"));
}

#[test]
fn a_cut_and_a_reset_are_told_from_an_end() {
    let endpoint = Endpoint::start(|request| {
        let last = match request.target() {
            "/cut" => Step::Close,
            _ => Step::Reset,
        };
        Reply::ok("hello").field("Content-Length", "10").then(last)
    });
    let cut = get(endpoint.address(), "/cut");
    assert_eq!((cut.text().as_str(), cut.body.end), ("hello", End::Cut));
    let reset = get(endpoint.address(), "/reset");
    assert_eq!(reset.body.end, End::Reset);

    endpoint.set_script(|_| Reply::reset());
    let mut client = Client::connect(endpoint.address());
    client.send("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(client.try_read_response("GET", 0), Err(ReadError::Reset));
}

#[test]
fn a_message_can_be_cut_within_its_head() {
    let endpoint = Endpoint::start(|_| Reply::ok("hello").cut_at(12).then(Step::Close));
    let mut client = Client::connect(endpoint.address());
    client.send("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(client.try_read_response("GET", 0), Err(ReadError::Cut));
}

#[test]
fn large_bodies_are_checked_by_their_hash() {
    let endpoint = Endpoint::start(|request| match request.method() {
        "GET" => Reply::filler(3_000_000),
        _ => Reply::echo(),
    });
    let mut client = Client::connect(endpoint.address());
    let down = client.get("/");
    assert_eq!(down.body.hash, hash(&filler(3_000_000)));
    client.send("PUT / HTTP/1.1\r\nContent-Length: 3000000\r\n\r\n");
    client.send_filler(3_000_000);
    let echo = client.read_response().text();
    let expected = format!("body-bytes: 3000000\nbody-hash: {:016x}\n", down.body.hash);
    assert!(echo.contains(&expected), "{echo}");
}

#[test]
fn a_killed_endpoint_refuses_and_comes_back_on_its_port() {
    let endpoint = Endpoint::start(|_| Reply::ok("up"));
    let mut kept = Client::connect(endpoint.address());
    kept.get("/");
    endpoint.kill();
    kept.expect_close();
    assert!(Client::try_connect(endpoint.peer()).is_err());
    endpoint.listen_again();
    assert_eq!(get(endpoint.address(), "/").text(), "up");
}

#[test]
fn without_listening_open_connections_live_on() {
    let endpoint = Endpoint::start(|_| Reply::ok("up"));
    let mut kept = Client::connect(endpoint.address());
    kept.get("/");
    endpoint.stop_listening();
    assert!(Client::try_connect(endpoint.peer()).is_err());
    assert_eq!(kept.get("/").text(), "up");
}

#[test]
fn a_frozen_endpoint_accepts_and_answers_when_thawed() {
    let endpoint = Endpoint::start(|_| Reply::ok("up"));
    endpoint.freeze();
    let mut client = Client::connect(endpoint.address());
    client.send("GET / HTTP/1.1\r\n\r\n");
    client.set_timeout(Duration::from_millis(50));
    assert_eq!(client.try_read_response("GET", 9), Err(ReadError::TimedOut));
    assert_eq!(endpoint.request_count(), 0);
    endpoint.thaw();
    client.set_timeout(SOON);
    assert_eq!(client.read_response().text(), "up");
}

#[test]
fn a_reply_waits_for_its_gate() {
    let gate = Gate::new();
    let endpoint = Endpoint::start({
        let gate = gate.clone();
        move |_| Reply::ok("late").wait(&gate)
    });
    let mut client = Client::connect(endpoint.address());
    client.send("GET / HTTP/1.1\r\n\r\n");
    poll_until("the request arrives", SOON, || endpoint.in_flight() == 1);
    gate.open();
    assert_eq!(client.read_response().text(), "late");
    poll_until("it is over", SOON, || endpoint.in_flight() == 0);
    assert_eq!(endpoint.in_flight_max(), 1);
}

#[test]
fn an_endpoint_that_hangs_or_waits_can_be_dropped() {
    let start = Instant::now();
    let endpoint = Endpoint::start(|request| match request.target() {
        "/hang" => Reply::hang(),
        "/pause" => Reply::ok("").first(Step::Pause(Duration::from_secs(60))),
        _ => Reply::ok("").wait(&Gate::new()),
    });
    let clients = ["/hang", "/pause", "/wait"].map(|target| {
        let mut client = Client::connect(endpoint.address());
        client.send(format!("GET {target} HTTP/1.1\r\n\r\n"));
        client
    });
    poll_until("all arrive", SOON, || endpoint.request_count() == 3);
    drop(endpoint);
    drop(clients);
    assert!(start.elapsed() < SOON);
}

#[test]
fn steps_on_connect_come_before_any_request() {
    let script = Script::new(|_| Reply::ok("")).on_connect(|connection| match connection {
        0 => vec![Step::Reset],
        _ => Vec::new(),
    });
    let endpoint = Endpoint::with_script(script);
    Client::connect(endpoint.address()).expect_reset();
    assert_eq!(get(endpoint.address(), "/").status, 200);
}

#[test]
fn a_tunnel_returns_every_byte() {
    let endpoint = Endpoint::start(|_| Reply::tunnel("echo"));
    let mut client = Client::connect(endpoint.address());
    client.send("GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly");
    assert_eq!(client.read_response().status, 101);
    assert_eq!(client.read_bytes(5), b"early");
    client.send("late");
    assert_eq!(client.read_bytes(4), b"late");
    client.finish();
    client.expect_close();
}

#[test]
fn a_raw_endpoint_plays_its_steps_and_writes_down_what_came() {
    let endpoint = Endpoint::raw(|connection| match connection {
        0 => vec![
            Step::Send(b"welcome".into()),
            Step::Read(4),
            Step::Send(b"bye".into()),
            Step::Finish,
            Step::ReadToEnd,
        ],
        _ => vec![Step::Tunnel],
    });
    let mut client = Client::connect(endpoint.address());
    assert_eq!(client.read_bytes(7), b"welcome");
    client.send("quit");
    assert_eq!(client.read_bytes(3), b"bye");
    client.expect_goodbye();
    client.send("still there");
    client.finish();
    poll_until("it ends", SOON, || {
        endpoint.transcripts()[0].end == Some(End::Clean)
    });
    let seen = &endpoint.transcripts()[0];
    assert_eq!(seen.received, b"quitstill there");
    assert_eq!((seen.received_bytes, seen.sent_bytes), (15, 10));

    let mut client = Client::connect(endpoint.address());
    let mut sender = client.twin();
    let sending = std::thread::spawn(move || {
        sender.send_filler(300_000);
        sender.finish();
    });
    client.read_filler(300_000);
    client.expect_goodbye();
    sending.join().unwrap();
    assert_eq!(endpoint.transcripts()[1].received_bytes, 300_000);

    endpoint.set_steps(|_| vec![Step::Hang]);
    let client = Client::connect(endpoint.address());
    poll_until("it is accepted", SOON, || endpoint.open_count() == 1);
    client.reset();
    poll_until("it is reset", SOON, || {
        endpoint.transcripts()[2].end == Some(End::Reset)
    });
}

#[test]
#[should_panic(expected = "other bytes")]
fn what_is_not_the_filler_is_noticed() {
    let endpoint = Endpoint::raw(|_| vec![Step::Send(b"filler".into())]);
    Client::connect(endpoint.address()).read_filler(6);
}

#[test]
fn a_raw_endpoint_speaks_tls_with_whatever_alpn() {
    let pki = Pki::new();
    let server = TlsServer::new(&pki.server(&["a.example"]));
    let endpoint = Endpoint::raw_over(&server, |_| vec![Step::Tunnel]);
    for offered in [&[][..], &["imap"]] {
        let tls = TlsClient::new(&pki, "a.example").offering(offered);
        let mut client = Client::connect_tls(endpoint.address(), &tls);
        client.send("ping");
        assert_eq!(client.read_bytes(4), b"ping");
        client.finish();
        client.expect_goodbye();
    }
    let ends = endpoint.transcripts().into_iter().map(|seen| seen.end);
    assert_eq!(
        ends.collect::<Vec<_>>(),
        [Some(End::Clean), Some(End::Clean)]
    );
}

#[test]
fn a_client_may_choose_its_address() {
    let endpoint = Endpoint::raw(|_| vec![Step::Tunnel]);
    let source = [127, 0, 0, 9].into();
    let client = Client::connect_from(source, endpoint.address());
    assert_eq!(client.local_address().ip(), source);
}

#[test]
fn a_malformed_request_is_a_fault_of_whoever_sent_it() {
    let endpoint = Endpoint::start(|_| Reply::ok(""));
    let mut client = Client::connect(endpoint.address());
    client.send("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.expect_close();
    assert_eq!(endpoint.take_faults().len(), 1);
    assert_eq!(endpoint.request_count(), 0);
}

#[test]
fn a_load_reports_every_request() {
    let endpoint = Endpoint::start(|request| {
        match request
            .head
            .field(ID_FIELD)
            .is_some_and(|id| id.ends_with('7'))
        {
            true => Reply::status(503).close(),
            false => Reply::ok("a"),
        }
    });
    let outcomes = Load::get(endpoint.address(), 100).run();
    assert_eq!(outcomes.with_status(200), 90);
    assert_eq!(outcomes.with_status(503), 10);
    assert_eq!(outcomes.bodies["a"], 90);
    assert_eq!(endpoint.ids().len(), 100);

    endpoint.set_script(|_| {
        Reply::ok("hello")
            .field("Content-Length", "9")
            .then(Step::Reset)
    });
    let outcomes = Load::post(endpoint.address(), 20).run();
    assert_eq!(outcomes.failed.len(), 20);
}

#[test]
fn a_unix_socket_is_as_good_as_a_port() {
    let path = std::env::temp_dir().join(format!("testkit-{}.sock", std::process::id()));
    let endpoint = Endpoint::start_unix(&path, |_| Reply::ok("here"));
    assert_eq!(get(endpoint.peer(), "/").text(), "here");
    drop(endpoint);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_tls_client_may_cut_what_it_says() {
    let pki = Pki::new();
    let endpoint = Endpoint::raw(|_| vec![Step::Read(100)]);
    let tls = TlsClient::new(&pki, "localhost")
        .in_records(32)
        .in_pieces(1);
    assert!(Client::try_connect_tls(&endpoint.address().into(), &tls).is_err());
    let received = &endpoint.received()[0];
    for header in [0, 32, 64] {
        assert_eq!(received[header], 22, "a record of the handshake");
        assert_eq!(received[header + 3..header + 5], [0, 27], "with its header");
    }
}
