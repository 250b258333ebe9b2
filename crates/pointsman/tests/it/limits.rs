//! Bounds on what an endpoint, a client and a request may take.

use std::time::{Duration, Instant};

use testkit::{Client, Clogged, End, Endpoint, Gate, Reply, Step, poll_until};

use crate::harness::{Proxy, SOON, Setup, named};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// An endpoint that answers with the target once the gate is open.
fn gated(gate: &Gate) -> Endpoint {
    let gate = gate.clone();
    Endpoint::start(move |request| Reply::ok(request.target().to_owned()).wait(&gate))
}

/// A client whose GET of `target` is on its way.
fn asking(proxy: &Proxy, target: &str) -> Client {
    let mut client = proxy.client();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client
}

#[test]
fn beyond_max_requests_others_take_over_and_then_requests_wait() {
    let gate = Gate::new();
    let [a, b] = [gated(&gate), gated(&gate)];
    let proxy = Setup::to_tables(&[(&a, "max_requests = 2"), (&b, "max_requests = 1")])
        .pool("policy = \"first\"")
        .start();
    let mut clients = Vec::new();
    for (number, (at_a, at_b)) in [(1, 0), (2, 0), (2, 1)].into_iter().enumerate() {
        clients.push(asking(&proxy, &format!("/{number}")));
        poll_until("it is at its endpoint", SOON, || {
            (a.in_flight(), b.in_flight()) == (at_a, at_b)
        });
    }
    clients.push(asking(&proxy, "/3"));
    clients.push(asking(&proxy, "/4"));
    proxy.wait_for_queued(2);
    gate.open();
    for (number, mut client) in clients.into_iter().enumerate() {
        assert_eq!(client.read_response().text(), format!("/{number}"));
    }
    assert_eq!(a.in_flight_max(), 2);
    assert_eq!(b.in_flight_max(), 1);
    proxy.wait_for_queued(0);
}

#[test]
fn the_queue_is_first_in_first_out_over_all_workers() {
    let gate = Gate::new();
    let endpoint = gated(&gate);
    let proxy = Setup::to_tables(&[(&endpoint, "max_requests = 1")]).start();
    let mut clients = vec![asking(&proxy, "/0")];
    poll_until("the endpoint is full", SOON, || endpoint.in_flight() == 1);
    for number in 1..8 {
        clients.push(asking(&proxy, &format!("/{number}")));
        proxy.wait_for_queued(number);
    }
    gate.open();
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.read_response().text(), format!("/{number}"));
    }
    let requests = endpoint.requests();
    let order: Vec<&str> = requests.iter().map(|request| request.target()).collect();
    assert_eq!(order, ["/0", "/1", "/2", "/3", "/4", "/5", "/6", "/7"]);
    assert_eq!(endpoint.in_flight_max(), 1);
}

#[test]
fn a_wait_that_takes_too_long_is_a_503_with_retry_after() {
    let endpoint = Endpoint::start(|_| Reply::hang());
    let proxy = Setup::to_tables(&[(&endpoint, "max_requests = 1")])
        .pool("queue = { length = 1, timeout = \"300ms\" }")
        .start();
    let _holder = asking(&proxy, "/");
    poll_until("the endpoint is full", SOON, || endpoint.in_flight() == 1);
    let start = Instant::now();
    let mut waiting = asking(&proxy, "/");
    proxy.wait_for_queued(1);
    // The waiting room is full as well.
    let turned_away = proxy.get("/");
    assert_eq!(turned_away.status, 503);
    assert!(turned_away.field("retry-after").is_some());
    assert!(start.elapsed() < Duration::from_millis(300));

    let response = waiting.read_response();
    assert_eq!(response.status, 503);
    assert!(response.field("retry-after").is_some());
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert_eq!(endpoint.request_count(), 1);
}

#[test]
fn without_a_queue_the_answer_is_a_503_at_once() {
    let endpoint = Endpoint::start(|_| Reply::hang());
    let proxy = Setup::to_tables(&[(&endpoint, "max_requests = 1")])
        .pool("queue = \"off\"")
        .start();
    let _holder = asking(&proxy, "/");
    poll_until("the endpoint is full", SOON, || endpoint.in_flight() == 1);
    assert_eq!(proxy.get("/").status, 503);
}

#[test]
fn a_client_that_leaves_leaves_the_queue() {
    let gate = Gate::new();
    let endpoint = gated(&gate);
    let proxy = Setup::to_tables(&[(&endpoint, "max_requests = 1")]).start();
    let mut holder = asking(&proxy, "/holder");
    poll_until("the endpoint is full", SOON, || endpoint.in_flight() == 1);
    let leaver = asking(&proxy, "/leaver");
    proxy.wait_for_queued(1);
    let mut stayer = asking(&proxy, "/stayer");
    proxy.wait_for_queued(2);
    drop(leaver);
    proxy.wait_for_queued(1);
    gate.open();
    assert_eq!(holder.read_response().text(), "/holder");
    assert_eq!(stayer.read_response().text(), "/stayer");
    assert_eq!(endpoint.request_count(), 2);
}

/// Row 29: a head that comes byte by byte makes progress and is out of time all the same.
#[test]
fn a_slow_head_is_a_408() {
    let endpoint = named("a");
    let proxy = Setup::to(&[&endpoint])
        .listener("timeouts = { head = \"300ms\", idle = \"60s\" }")
        .start();
    let start = Instant::now();
    let mut client = proxy.client();
    client.set_timeout(Duration::from_millis(30));
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX: ");
    let response = loop {
        assert!(start.elapsed() < SOON, "the head may take for ever");
        // A byte each time nothing came for a while.
        if let Ok(response) = client.try_read_response("GET", 1000) {
            break response;
        }
        let _ = client.try_send("y");
    };
    assert_eq!(response.status, 408);
    assert!(start.elapsed() >= Duration::from_millis(300));
    client.set_timeout(SOON);
    client.expect_close();
    assert_eq!(endpoint.request_count(), 0);
}

#[test]
fn an_idle_client_is_closed_without_a_word() {
    let endpoint = named("a");
    let proxy = Setup::to(&[&endpoint])
        .listener("timeouts = { head = \"60s\", idle = \"200ms\" }")
        .start();
    let mut used = proxy.client();
    used.get("/");
    let mut unused = proxy.client();
    used.expect_close();
    unused.expect_close();
}

/// The runtime interrupts a task that does much at a time; that must not cost it its timer.
#[test]
fn a_client_that_idles_behind_a_long_pipeline_is_closed_too() {
    let endpoint = named("a");
    let proxy = Setup::to(&[&endpoint])
        .route("host = \"routed.example\"")
        .listener("timeouts = { body = \"100ms\", idle = \"500ms\" }")
        .start();
    let clients = [1, 100, 125, 126, 127, 128, 129, 150, 200].map(|requests| {
        let mut client = proxy.client();
        client.send(GET.repeat(requests));
        (requests, client)
    });
    for (requests, mut client) in clients {
        for _ in 0..requests {
            assert_eq!(client.read_response().status, 404);
        }
        client.expect_close();
    }
}

/// Row 29.
#[test]
fn a_slow_body_is_given_up() {
    let endpoint = named("a");
    let proxy = Setup::to(&[&endpoint])
        .listener("timeouts = { body = \"300ms\" }")
        .start();
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    let response = client.read_response();
    assert_eq!(response.status, 408);
    client.expect_close();
    poll_until("the endpoint is let go", SOON, || {
        endpoint.open_count() == 0
    });
    assert_ne!(endpoint.request().body().end, End::Clean);
}

/// Row 29.
#[test]
fn a_client_that_does_not_read_is_given_up() {
    let endpoint = Endpoint::start(|_| Reply::filler(1 << 30));
    let proxy = Setup::to(&[&endpoint])
        .listener("timeouts = { body = \"300ms\" }")
        .start();
    let mut client = asking(&proxy, "/");
    poll_until("the response begins", SOON, || endpoint.in_flight() == 1);
    poll_until("the endpoint is let go", SOON, || endpoint.in_flight() == 0);
    let response = client.read_response();
    assert!(response.body.bytes < 1 << 30);
    assert_ne!(response.body.end, End::Clean);
}

#[test]
fn a_connection_that_is_never_made_moves_even_a_post() {
    let clogged = Clogged::start();
    let endpoint = named("a");
    let proxy = Setup::default()
        .and_to(&clogged)
        .and_to(endpoint.peer())
        .pool("policy = \"first\"\ntimeouts = { connect = \"200ms\" }")
        .start();
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.read_response().text(), "a");
    assert_eq!(endpoint.request().body().text(), "ok");
}

#[test]
fn a_connection_that_is_never_made_is_a_504() {
    let clogged = Clogged::start();
    let pool = "timeouts = { connect = \"200ms\" }";
    let proxy = Setup::default().and_to(&clogged).pool(pool).start();
    let response = proxy.get("/");
    assert_eq!(response.status, 504);
    let status = response.field("proxy-status").expect("it says why");
    assert!(status.contains("error=connection_timeout"), "{status}");
}

#[test]
fn a_response_that_does_not_begin_is_a_504() {
    let endpoint = Endpoint::start(|_| Reply::hang());
    let proxy = Setup::to(&[&endpoint])
        .route("timeouts = { response = \"200ms\" }")
        .pool("retry = \"off\"")
        .start();
    let start = Instant::now();
    let response = proxy.get("/");
    assert_eq!(response.status, 504);
    let status = response.field("proxy-status").expect("it says why");
    assert!(status.contains("error=http_response_timeout"), "{status}");
    assert!(start.elapsed() >= Duration::from_millis(200));
}

#[test]
fn a_response_body_that_stops_is_cut() {
    let endpoint = Endpoint::start(|_| {
        Reply::ok("hello")
            .field("Content-Length", "10")
            .then(Step::Hang)
    });
    let proxy = Setup::to(&[&endpoint])
        .route("timeouts = { body = \"200ms\" }")
        .start();
    let response = proxy.get("/");
    assert_eq!(response.text(), "hello");
    assert!(
        matches!(response.body.end, End::Cut | End::Reset),
        "{:?}",
        response.body.end
    );
}

#[test]
fn a_whole_exchange_can_be_bounded() {
    let endpoint = Endpoint::start(|_| Reply::hang());
    let proxy = Setup::to(&[&endpoint])
        .route("timeouts = { total = \"200ms\" }")
        .start();
    assert_eq!(proxy.get("/").status, 504);
}

#[test]
fn a_request_out_of_time_goes_to_nobody_else() {
    let endpoints = [named("a"), named("b")];
    let [a, b] = &endpoints;
    // A kept connection to each, so that a request could leave without waiting for one.
    let proxy = Setup::to(&[a, b])
        .pool("policy = \"round_robin\"")
        .route("timeouts = { total = \"200ms\" }")
        .workers(1)
        .start();
    let names = [proxy.get("/").text(), proxy.get("/").text()];
    assert_ne!(names[0], names[1]);
    for endpoint in &endpoints {
        endpoint.set_script(|_| Reply::hang());
    }
    assert_eq!(proxy.get("/slow").status, 504);
    proxy.stop();
    for endpoint in &endpoints {
        poll_until("all that was sent is read", SOON, || {
            endpoint.open_count() == 0
        });
    }
    let requests = [a.requests(), b.requests()].concat();
    let slow = requests
        .iter()
        .filter(|request| request.target() == "/slow");
    assert_eq!(slow.count(), 1);
}

#[test]
fn an_idle_tunnel_is_closed() {
    let endpoint = Endpoint::start(|_| Reply::tunnel("websocket"));
    let proxy = Setup::to(&[&endpoint])
        .route("timeouts = { tunnel = \"300ms\" }")
        .start();
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.read_response().status, 101);
    client.send("hello");
    assert_eq!(client.read_bytes(5), b"hello");
    client.expect_close();
    poll_until("the endpoint is let go", SOON, || {
        endpoint.open_count() == 0
    });
}

#[test]
fn an_unused_endpoint_connection_is_closed() {
    let endpoint = named("a");
    let proxy = Setup::to(&[&endpoint])
        .pool("timeouts = { idle = \"200ms\" }")
        .start();
    assert_eq!(proxy.get("/").text(), "a");
    poll_until("the endpoint is let go", SOON, || {
        endpoint.open_count() == 0
    });
}

#[test]
fn heads_beyond_their_limits_are_refused() {
    let endpoint = named("a");
    let proxy = Setup::to(&[&endpoint]).start();
    let status = |request: String| {
        let mut client = proxy.client();
        let _ = client.try_send(request);
        let response = client.read_response();
        if response.status != 200 {
            client.expect_close();
        }
        response.status
    };
    let with_field = |bytes: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
            "x".repeat(bytes)
        )
    };
    let with_fields = |count: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "X: y\r\n".repeat(count - 1)
        )
    };
    let with_target =
        |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(bytes));
    assert_eq!(status(with_field(32_000)), 200);
    assert_eq!(status(with_field(33_000)), 431);
    assert_eq!(status(with_field(1_000_000)), 431);
    assert_eq!(status(with_fields(100)), 200);
    assert_eq!(status(with_fields(101)), 431);
    assert_eq!(status(with_target(8_000)), 200);
    assert_eq!(status(with_target(9_000)), 414);
    assert_eq!(status(with_target(1_000_000)), 414);
    assert_eq!(endpoint.request_count(), 3);
}

#[test]
fn head_limits_can_be_set() {
    let endpoint = named("a");
    let proxy = Setup::to(&[&endpoint])
        .listener("limits = { head = \"1KiB\", fields = 3, line = \"256B\" }")
        .start();
    let status = |request: String| {
        let mut client = proxy.client();
        client.send(request);
        client.read_response().status
    };
    assert_eq!(status(GET.to_owned()), 200);
    assert_eq!(
        status(format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX: {:x<1024}\r\n\r\n",
            ""
        )),
        431
    );
    assert_eq!(
        status(format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "X: y\r\n".repeat(3)
        )),
        431
    );
    assert_eq!(
        status(format!("GET /{:x<256} HTTP/1.1\r\nHost: a\r\n\r\n", "")),
        414
    );
}
