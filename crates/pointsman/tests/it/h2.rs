//! Streams of HTTP/2 that do not stand in each other's way, ends of them that are seen for what they
//! are, and what moves to another endpoint.

use std::sync::Arc;
use std::time::{Duration, Instant};

use testkit::{
    Client, End, Endpoint, Frame, FrameEndpoint, Gate, H2Client, H2Request, H2Windows, Pki,
    Protocol, ReadError, Reply, Step, TlsClient, filler, poll_until,
};

use crate::harness::{SOON, Setup};
use crate::mix::{Mix, SPEECHES, Speech, number_in};

#[test]
fn an_early_response_reaches_a_client_that_still_sends() {
    for down in [Speech::H2c, Speech::H2Tls] {
        for up in SPEECHES {
            let gate = Gate::new();
            let mix = Mix::start(down, up, {
                let gate = gate.clone();
                move |_| {
                    let early = Reply::ok("early").unread().wait(&gate);
                    early.then(Step::ReadBody)
                }
            });
            let client = mix.h2_client();
            let mut stream = client.open(&H2Request::post("/"));
            stream.send_data(b"the beginning");
            // Whoever has all of its answer may find its stream over (RFC 9113 §8.1).
            gate.open();
            let response = stream.read_response();
            assert_eq!(response.text(), "early", "{down:?} to {up:?}");
            assert_eq!(response.body.end, End::Clean, "{down:?} to {up:?}");
            // The connection lives on.
            assert_eq!(client.get("/").text(), "early", "{down:?} to {up:?}");
        }
    }
}

#[test]
fn a_client_that_resets_a_stream_cancels_its_request() {
    for up in SPEECHES {
        let mix = Mix::start(Speech::H2c, up, |_| Reply::hang());
        let client = mix.h2_client();
        let stream = client.open(&H2Request::post("/"));
        poll_until("the request arrives", SOON, || {
            mix.endpoint.request_count() == 1
        });
        stream.reset(8);
        poll_until(&format!("{up:?}: the cancel arrives"), SOON, || {
            if up.is_h2() {
                mix.endpoint.request().cancelled.is_some()
            } else {
                mix.endpoint.open_count() == 0
            }
        });
        mix.proxy.wait_for_in_flight(0);
        let log = &mix.proxy.log(1)[0];
        assert_eq!(log["ended_by"], "client", "{up:?}: {log}");
    }
}

#[test]
fn a_stream_that_an_endpoint_resets_has_no_clean_end() {
    for down in SPEECHES {
        for up in [Speech::H2c, Speech::H2Tls] {
            let mix = Mix::start(down, up, |request| match request.target() {
                "/within" => Reply::chunked(&["half"]).then(Step::ResetStream(2)),
                _ => Reply::steps(vec![Step::ReadBody, Step::ResetStream(2)]),
            });
            let what = format!("{down:?} to {up:?}");
            let response = mix.client().exchange("GET", "/within", None, &[]);
            assert_eq!(response.status, 200, "{what}");
            match response.body.end {
                End::StreamReset(_) if down.is_h2() => {}
                End::Cut | End::Reset if !down.is_h2() => {}
                end => panic!("{what}: {end:?}"),
            }
            // Before the head there is still something to say.
            let response = mix.client().exchange("POST", "/before", Some(b"x"), &[]);
            assert_eq!(response.status, 502, "{what}");
        }
    }
}

#[test]
fn a_response_that_is_cut_has_no_clean_end() {
    for up in SPEECHES {
        for down in [Speech::H2c, Speech::H2Tls] {
            let mix = Mix::start(down, up, |_| {
                Reply::ok(filler(100_000)).cut_at(50_000).then(Step::Close)
            });
            let client = mix.h2_client();
            let body = client.get("/").body;
            let is_reset = matches!(body.end, End::StreamReset(_));
            assert!(
                is_reset && body.bytes > 0,
                "{down:?} to {up:?}: {:?}",
                body.end
            );
            let log = &mix.proxy.log(1)[0];
            assert_eq!(log["ended_by"], "endpoint", "{down:?} to {up:?}: {log}");
        }
    }
}

#[test]
fn content_that_is_not_as_long_as_announced_is_an_error() {
    let endpoint = Endpoint::speaking(Protocol::h2(), |request| match request.target() {
        "/short" => Reply::ok("four").field("Content-Length", "10"),
        "/long" => Reply::ok("four").field("Content-Length", "2"),
        _ => Reply::echo(),
    });
    let proxy = Setup::to(&[&endpoint])
        .listener("h2c = true")
        .pool("protocol = \"h2\"")
        .start();
    let client = H2Client::connect(proxy.peer());
    for target in ["/short", "/long"] {
        match client
            .send(&H2Request::get(target), b"")
            .try_read_response()
        {
            Ok(response) if response.status == 502 => {}
            Ok(response) => {
                assert_ne!(response.body.end, End::Clean, "{target}: {response:?}");
            }
            Err(error) => assert!(
                matches!(error, ReadError::StreamReset(_)),
                "{target}: {error:?}"
            ),
        }
    }
    for length in ["10", "2"] {
        let request = H2Request::post("/mine").field("content-length", length);
        let mut stream = client.send(&request, b"four");
        assert_eq!(
            stream.try_read_response(),
            Err(ReadError::StreamReset(1)),
            "{length}"
        );
    }
    for request in endpoint.requests() {
        let clean = request.body.is_some_and(|body| body.end == End::Clean);
        assert!(
            request.head.word(1) != "/mine" || !clean,
            "the endpoint believes it"
        );
    }
    // What was wrong with a stream is not the connection's fault.
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn what_an_endpoint_refuses_moves_to_another_one() {
    let refusing = Endpoint::speaking(Protocol::h2(), |_| Reply::steps(vec![Step::ResetStream(7)]));
    let taking = Endpoint::speaking(Protocol::h2(), |_| Reply::ok("taken"));
    let proxy = Setup::to(&[&refusing, &taking])
        .listener("h2c = true")
        .pool("protocol = \"h2\"\npolicy = \"round_robin\"\noutlier = \"off\"")
        .start();
    let client = H2Client::connect(proxy.peer());
    for _ in 0..8 {
        let mut stream = client.send(&H2Request::post("/order"), b"one of each");
        assert_eq!(stream.read_response().text(), "taken");
    }
    assert!(refusing.request_count() > 0, "it was never asked");
    let bodies = taking
        .requests()
        .into_iter()
        .map(|request| request.body().text());
    assert_eq!(bodies.collect::<Vec<_>>(), ["one of each"; 8]);
}

#[test]
fn what_an_endpoint_leaves_undone_when_it_goes_away_moves_to_another_one() {
    // Takes no request: at each it goes away and says that it has not begun.
    let leaving = FrameEndpoint::start(|frames, _| {
        frames.send(&Frame::settings(&[]));
        frames.read_until(|frame| frame.kind == Frame::HEADERS);
        frames.send(&Frame::go_away(0, 0));
        // Keeps the connection until the other side has let go of it.
        while let Ok(Some(_)) = frames.try_read() {}
    });
    let taking = Endpoint::speaking(Protocol::h2(), |_| Reply::ok("taken"));
    let proxy = Setup::to(&[&taking])
        .and_to(leaving.address())
        .listener("h2c = true")
        .pool("protocol = \"h2\"\npolicy = \"round_robin\"\noutlier = \"off\"")
        .start();
    let client = H2Client::connect(proxy.peer());
    for _ in 0..8 {
        let mut stream = client.send(&H2Request::post("/order"), b"one of each");
        assert_eq!(stream.read_response().text(), "taken");
    }
    let moved = proxy.log(8);
    let moved = moved
        .iter()
        .filter(|line| line["attempts"].as_array().map_or(0, Vec::len) > 1);
    assert!(moved.count() > 0, "the one that leaves was never asked");
}

#[test]
fn streams_share_connections_to_an_endpoint_until_they_are_full() {
    let gate = Gate::new();
    let endpoint = Endpoint::speaking(Protocol::h2().streams_max(2), {
        let gate = gate.clone();
        move |request| match request.target() {
            "/first" => Reply::ok("first"),
            _ => Reply::ok("x").wait(&gate),
        }
    });
    let proxy = Setup::to(&[&endpoint])
        .workers(1)
        .listener("h2c = true")
        .pool("protocol = \"h2\"")
        .start();
    let client = H2Client::connect(proxy.peer());
    assert_eq!(client.get("/first").text(), "first");
    let mut streams: Vec<_> = (0..10)
        .map(|_| client.send(&H2Request::get("/"), b""))
        .collect();
    poll_until("all are at the endpoint", SOON, || {
        endpoint.in_flight() == 10
    });
    let connections = endpoint.connection_count();
    assert!((5..=10).contains(&connections), "{connections} connections");
    gate.open();
    for stream in &mut streams {
        assert_eq!(stream.read_response().text(), "x");
    }
    assert_eq!(client.get("/").text(), "x");
    assert_eq!(
        endpoint.connection_count(),
        connections,
        "kept ones serve again"
    );
}

#[test]
fn a_pool_with_few_connections_closes_idle_ones_for_others() {
    let endpoint = || Endpoint::speaking(Protocol::h2(), |_| Reply::ok("x"));
    let [a, b] = [endpoint(), endpoint()];
    let proxy = Setup::to(&[&a, &b])
        .workers(1)
        .pool("protocol = \"h2\"\npolicy = \"round_robin\"\ncircuit = { connections = 1 }")
        .start();
    let mut client = proxy.client();
    for _ in 0..6 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!((a.request_count(), b.request_count()), (3, 3));
    poll_until("one is left", SOON, || a.open_count() + b.open_count() == 1);
}

#[test]
fn many_streams_need_one_connection_to_an_endpoint() {
    let gate = Gate::new();
    let endpoint = Endpoint::speaking(Protocol::h2(), {
        let gate = gate.clone();
        move |request| match request.target() {
            "/first" => Reply::ok("first"),
            target => Reply::ok(target.to_owned()).wait(&gate),
        }
    });
    let proxy = Setup::to(&[&endpoint])
        .workers(1)
        .listener("h2c = true")
        .pool("protocol = \"h2\"")
        .start();
    let client = H2Client::connect(proxy.peer());
    assert_eq!(client.get("/first").text(), "first");
    let mut streams: Vec<_> = (0..100)
        .map(|number| client.send(&H2Request::get(&format!("/{number}")), b""))
        .collect();
    poll_until("all are at the endpoint", SOON, || {
        endpoint.in_flight() == 100
    });
    assert_eq!(endpoint.connection_count(), 1);
    gate.open();
    for (number, stream) in streams.iter_mut().enumerate() {
        assert_eq!(stream.read_response().text(), format!("/{number}"));
    }
}

#[test]
fn a_drain_says_goaway_and_lets_streams_in_flight_end_well() {
    let gate = Gate::new();
    let endpoint = Endpoint::start({
        let gate = gate.clone();
        move |_| Reply::ok("whole").wait(&gate)
    });
    let proxy = Setup::to(&[&endpoint]).listener("h2c = true").start();
    let client = H2Client::connect(proxy.peer());
    let mut stream = client.send(&H2Request::get("/"), b"");
    poll_until("the request arrives", SOON, || {
        endpoint.request_count() == 1
    });
    let idle = H2Client::connect(proxy.peer());
    let stopping = std::thread::spawn(move || proxy.stop());
    assert_eq!(idle.wait_for_end(), 0);
    // Until the client has read of the drain it may open streams, and those are served.
    let mut taken = 0;
    poll_until("no stream is taken any more", SOON, || {
        match client.try_open(&H2Request::get("/late"), true) {
            Ok(_) => {
                taken += 1;
                false
            }
            Err(_) => true,
        }
    });
    gate.open();
    assert_eq!(stream.read_response().text(), "whole");
    assert_eq!(client.wait_for_end(), 0);
    stopping.join().expect("the stop ends");
    let late = endpoint
        .requests()
        .into_iter()
        .filter(|request| request.target() == "/late");
    assert!(
        late.count() <= taken,
        "a stream behind the GOAWAY was served"
    );
}

/// Threat 20.
#[test]
fn a_slow_reader_holds_little_and_slows_nobody() {
    const SLOW_BYTES: u64 = 256 * 1024 * 1024;
    // What may lie between the endpoint and a client that does not read: windows and buffers,
    // and with HTTP/1.1 the kernel's on both sides of a connection.
    for (up, held_max) in [
        (Speech::H2c, 2 * 1024 * 1024),
        (Speech::H1, 24 * 1024 * 1024),
    ] {
        let mix = Mix::start(Speech::H2c, up, |request| match request.target() {
            "/slow" => Reply::filler(SLOW_BYTES),
            _ => Reply::filler(200_000),
        });
        let windows = H2Windows {
            stream: 64 * 1024,
            connection: 16 * 1024 * 1024,
        };
        let client = H2Client::connect_with(mix.proxy.peer(), windows);
        let mut slow = client.send(&H2Request::get("/slow"), b"");
        slow.read_head();
        let begun = Instant::now();
        let mut streams: Vec<_> = (0..99)
            .map(|_| client.send(&H2Request::get("/fast"), b""))
            .collect();
        for stream in &mut streams {
            let body = stream.read_response().body;
            assert_eq!((body.bytes, body.end), (200_000, End::Clean), "{up:?}");
        }
        assert!(begun.elapsed() < SOON, "{up:?}: {:?}", begun.elapsed());
        let sent = || mix.endpoint.requests()[0].sent;
        assert!(
            sent() < held_max,
            "{up:?}: the endpoint could send {}",
            sent()
        );
        assert!(
            sent() > 64 * 1024,
            "{up:?}: not even the window is full: {}",
            sent()
        );
        // Who reads again gets the rest.
        assert_eq!(slow.read_bytes(64 * 1024).len(), 64 * 1024);
        slow.reset(8);
    }
}

/// Threat 20, the other way.
#[test]
fn an_endpoint_that_does_not_read_stops_the_client() {
    for up in [Speech::H2c, Speech::H1] {
        let gate = Gate::new();
        let mix = Mix::start(Speech::H2c, up, {
            let gate = gate.clone();
            move |_| {
                Reply::echo()
                    .unread()
                    .first(Step::Wait(gate.clone()))
                    .first(Step::ReadBody)
            }
        });
        let mut client = H2Client::connect(mix.proxy.peer());
        client.set_timeout(Duration::from_secs(1));
        let mut stream = client.open(&H2Request::post("/"));
        let piece = filler(16 * 1024);
        let mut pieces: u64 = 0;
        while stream.try_send_data(&piece).is_ok() {
            pieces += 1;
            assert!(pieces < 4096, "{up:?}: 64 MiB without anybody to read them");
        }
        gate.open();
        stream.finish();
        let response = stream.read_response();
        let received = mix.endpoint.request();
        assert_eq!(response.status, 200, "{up:?}");
        assert_eq!(received.body().end, End::Clean, "{up:?}");
        let bytes = pieces * 16 * 1024;
        assert!(
            (bytes..bytes + 16 * 1024).contains(&received.body().bytes),
            "{up:?}"
        );
    }
}

/// RFC 9113 §8.2.3.
#[test]
fn cookie_crumbs_are_put_together_for_http_1() {
    let endpoint = Endpoint::start(|_| Reply::ok("x"));
    let proxy = Setup::to(&[&endpoint]).listener("h2c = true").start();
    let request = H2Request::get("/")
        .field("cookie", "a=1")
        .field("cookie", "b=2")
        .field("cookie", "c=3");
    let client = H2Client::connect(proxy.peer());
    assert_eq!(client.send(&request, b"").read_response().text(), "x");
    assert_eq!(
        endpoint.request().head.field("cookie"),
        Some("a=1; b=2; c=3")
    );
}

/// Threat 24: RFC 9110 §15.5.20.
#[test]
fn a_strict_listener_answers_only_for_the_name_that_was_asked_for() {
    let pki = Pki::new();
    let endpoint = Endpoint::start(|_| Reply::ok("x"));
    let leaf = pki.server(&["a.example", "b.example"]);
    let start = |sni: &str| {
        let (cert, key) = (leaf.cert().display(), leaf.key().display());
        let tls = format!("tls = {{ cert = \"{cert}\", key = \"{key}\", sni = \"{sni}\" }}");
        Setup::to(&[&endpoint]).listener(&tls).start()
    };
    for (sni, other) in [("strict", 421), ("lenient", 200)] {
        let proxy = start(sni);
        let tls = TlsClient::new(&pki, "a.example");
        let client = H2Client::connect_tls(proxy.peer(), &tls);
        let status = |authority: &str| {
            let request = H2Request::get("/").authority(authority);
            client.send(&request, b"").read_response().status
        };
        assert_eq!(status("a.example"), 200, "{sni}");
        assert_eq!(status("A.Example:8443"), 200, "{sni}");
        assert_eq!(status("b.example"), other, "{sni}");
        let mut client = Client::connect_tls(proxy.peer(), &tls);
        client.send("GET / HTTP/1.1\r\nHost: b.example\r\n\r\n");
        assert_eq!(client.read_response().status, other, "{sni}");
    }
}

#[test]
fn what_we_answer_ourselves_is_a_whole_response() {
    let endpoint = Endpoint::start(|_| Reply::ok("x"));
    endpoint.stop_listening();
    let proxy = Setup::to(&[&endpoint]).listener("h2c = true").start();
    let client = H2Client::connect(proxy.peer());
    let response = client.get("/");
    assert!(
        (500..=504).contains(&response.status),
        "{}",
        response.status
    );
    assert_eq!(response.body.end, End::Clean);
    assert!(
        response.field("proxy-status").is_some(),
        "{:?}",
        response.head
    );
    let cookie = "c".repeat(60_000);
    let large = H2Request::get("/").field("x-large", &cookie);
    assert_eq!(client.send(&large, b"").read_response().status, 431);
    endpoint.listen_again();
    poll_until("the endpoint is back", SOON, || {
        client.get("/").status == 200
    });
}

#[test]
fn a_connection_of_http_2_serves_many_requests_at_once_and_in_any_order() {
    let gates: Arc<Vec<Gate>> = Arc::new((0..20).map(|_| Gate::new()).collect());
    let mix = Mix::start(Speech::H2Tls, Speech::H1, {
        let gates = Arc::clone(&gates);
        move |request| {
            let number = number_in(request.target());
            Reply::ok(number.to_string()).wait(&gates[number as usize])
        }
    });
    let client = mix.h2_client();
    let mut streams: Vec<_> = (0..20)
        .map(|number| client.send(&H2Request::get(&format!("/{number}")), b""))
        .collect();
    poll_until("all are at the endpoint", SOON, || {
        mix.endpoint.in_flight() == 20
    });
    for number in (0..20).rev() {
        gates[number].open();
        assert_eq!(streams[number].read_response().text(), number.to_string());
    }
}
