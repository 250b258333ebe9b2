//! A request in hand moves to another endpoint when that is safe, and only then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use testkit::{End, Endpoint, Gate, Load, Reply, Step, filler, hash, poll_until};

use crate::harness::{SOON, Setup, named, proxy_to};

/// Checks that notice soon, for tests that wait for a verdict.
const QUICK_CHECK: &str = "check = { http = \"/\", interval = \"100ms\", timeout = \"500ms\" }";

#[test]
fn an_endpoint_killed_under_load_costs_no_get() {
    let [a, b] = [slow_named("a"), slow_named("b")];
    let proxy = proxy_to(&[&a, &b]);
    // 200 requests a second.
    let mut load = Load::get(proxy.peer(), 400);
    load.threads = 4;
    load.every = Some(Duration::from_millis(20));
    let load = load.start();
    poll_until("the load is on", SOON, || load.done() > 100);
    a.kill();
    let outcomes = load.finish();
    outcomes.assert_all_ok();
    assert!(
        outcomes.bodies["a"] > 20 && outcomes.bodies["b"] > 200,
        "{:?}",
        outcomes.bodies
    );
}

/// Row 30.
#[test]
fn an_endpoint_killed_under_load_never_has_a_post_done_twice() {
    let [a, b] = [slow_named("a"), slow_named("b")];
    let proxy = proxy_to(&[&a, &b]);
    let load = Load::post(proxy.peer(), 600).start();
    poll_until("the load is on", SOON, || load.done() > 150);
    a.kill();
    let outcomes = load.finish();
    assert!(outcomes.failed.is_empty(), "{:?}", outcomes.failed);
    assert_eq!(outcomes.with_status(200) + outcomes.with_status(502), 600);
    // At most those that were at the killed endpoint, and those just on their way to it.
    assert!(outcomes.with_status(502) <= 16, "{:?}", outcomes.statuses);
    let mut executed = BTreeMap::new();
    for id in a.ids().into_iter().chain(b.ids()) {
        *executed.entry(id).or_insert(0) += 1;
    }
    let twice: Vec<_> = executed.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    for (id, status) in &outcomes.answered {
        assert!(
            *status != 200 || executed.contains_key(id),
            "{id} was answered by nobody"
        );
    }
}

/// Row 30.
#[test]
fn a_post_cut_in_mid_flight_is_a_502_that_says_why() {
    let [a, b] = [
        Endpoint::start(|_| Reply::reset()),
        Endpoint::start(|_| Reply::reset()),
    ];
    let proxy = proxy_to(&[&a, &b]);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok");
    let response = client.read_response();
    assert_eq!(response.status, 502);
    let status = response.field("proxy-status").expect("it says why");
    assert!(status.contains("error=connection_terminated"), "{status}");
    assert_eq!(a.request_count() + b.request_count(), 1);
}

#[test]
fn a_refused_connection_moves_even_a_post() {
    let [a, b] = [named("a"), named("b")];
    a.stop_listening();
    let proxy = Setup::to(&[&a, &b])
        .pool("policy = \"first\"\noutlier = \"off\"")
        .start();
    let outcomes = Load::post(proxy.peer(), 40).run();
    outcomes.assert_all_ok();
    assert_eq!(outcomes.bodies["b"], 40);
}

#[test]
fn a_get_moves_when_its_endpoint_breaks_before_its_response_has_begun() {
    // A head that announces a body is no response before the body has begun.
    let head_only = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    for broken in [
        Reply::raw(head_only).then(Step::Close),
        Reply::raw(head_only).then(Step::Reset),
        Reply::reset(),
        Reply::steps(vec![Step::ReadBody, Step::Close]),
        Reply::ok("a").cut_at(20).then(Step::Close),
        Reply::ok("a").cut_at(20).then(Step::Reset),
    ] {
        let broken_for_a = broken.clone();
        let a = Endpoint::start(move |_| broken_for_a.clone());
        let b = named("b");
        let proxy = Setup::to(&[&a, &b]).pool("policy = \"first\"").start();
        assert_eq!(proxy.get("/").text(), "b", "{broken:?}");
        assert_eq!(a.request_count(), 1);
    }
}

#[test]
fn a_get_does_not_move_once_its_response_has_begun() {
    let seen = Gate::new();
    let a = Endpoint::start({
        let seen = seen.clone();
        move |_| {
            let reply = Reply::ok("hello").field("Content-Length", "10");
            reply.then(Step::Wait(seen.clone())).then(Step::Reset)
        }
    });
    let b = named("b");
    let proxy = Setup::to(&[&a, &b]).pool("policy = \"first\"").start();
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_head().word(1), "200");
    seen.open();
    assert_eq!(client.read_to_end(), b"hello");
    assert_eq!(b.request_count(), 0);
}

#[test]
fn a_response_is_given_up_for_and_moves_when_idempotent() {
    let [a, b] = [Endpoint::start(|_| Reply::hang()), named("b")];
    let pool = "policy = \"first\"\ntimeouts = { response = \"200ms\" }\noutlier = \"off\"";
    let proxy = Setup::to(&[&a, &b]).pool(pool).start();
    assert_eq!(proxy.get("/").text(), "b");
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.read_response().status, 504);
    assert_eq!(b.request_count(), 1);
}

#[test]
fn statuses_move_only_by_choice() {
    let [a, b] = [Endpoint::start(|_| Reply::status(503)), named("b")];
    let proxy = Setup::to(&[&a, &b])
        .pool("policy = \"first\"\noutlier = \"off\"")
        .start();
    assert_eq!(proxy.get("/").status, 503);

    let chosen = "policy = \"first\"\noutlier = \"off\"\nretry = { on = [\"503\"] }";
    let proxy = Setup::to(&[&a, &b]).pool(chosen).start();
    assert_eq!(proxy.get("/").text(), "b");
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.read_response().status, 503);
}

#[test]
fn retries_can_be_switched_off() {
    let [a, b] = [Endpoint::start(|_| Reply::reset()), named("b")];
    let proxy = Setup::to(&[&a, &b])
        .pool("policy = \"first\"\nretry = \"off\"")
        .start();
    assert_eq!(proxy.get("/").status, 502);
    assert_eq!(b.request_count(), 0);
}

#[test]
fn a_body_up_to_64_kib_is_sent_again_and_a_longer_one_is_not() {
    let [a, b] = [Endpoint::start(|_| Reply::reset()), named("b")];
    let proxy = Setup::to(&[&a, &b])
        .pool("policy = \"first\"\noutlier = \"off\"")
        .start();
    let put = |bytes: usize| {
        let mut client = proxy.client();
        client.send(format!(
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n"
        ));
        client.send_filler(bytes as u64);
        client.read_response()
    };
    assert_eq!(put(64 * 1024).text(), "b");
    let body = b.request().body().clone();
    assert_eq!((body.bytes, body.hash), (65_536, hash(&filler(65_536))));

    assert_eq!(put(100_000).status, 502);
    assert_eq!(b.request_count(), 1);

    let mut client = proxy.client();
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("3\r\nabc\r\n3\r\ndef\r\n0\r\nT: 1\r\n\r\n");
    assert_eq!(client.read_response().text(), "b");
    let request = b.requests().pop().expect("two requests came");
    assert_eq!(request.body().text(), "abcdef");
}

/// As many times as the retry budget of a new pool allows.
#[test]
fn a_kept_connection_that_closes_on_a_request_costs_no_get() {
    let endpoint = Endpoint::start(|request| match request.index {
        0 => Reply::ok("a"),
        _ => Reply::steps(vec![Step::ReadBody, Step::Close]),
    });
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    for connections in 1..=4 {
        assert_eq!(client.get("/").text(), "a");
        assert_eq!(endpoint.connection_count(), connections);
    }
}

#[test]
fn a_kept_connection_that_closed_is_not_used() {
    let endpoint = Endpoint::start(|_| Reply::ok("a").then(Step::Close));
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "a");
        // The endpoint waits for our close before it lets go.
        poll_until("we have noticed", SOON, || endpoint.open_count() == 0);
    }
    assert_eq!(endpoint.request_count(), 10);
    assert_eq!(proxy.metric("pointsman_pool_retries_total", &[]), 0.0);
}

/// A POST is not repeated, so it must not go out on a connection that is known to be closed.
#[test]
fn a_post_goes_out_only_on_a_connection_that_still_lives() {
    let endpoint = named("a");
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "a");
        endpoint.cut_connections();
        poll_until("the connection is closed", SOON, || {
            endpoint.open_count() == 0
        });
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(client.read_response().text(), "a");
    }
}

/// Nothing of the request left, so nobody can have executed it.
#[test]
fn a_post_that_a_kept_connection_does_not_take_moves_to_a_new_one() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let endpoint = Endpoint::start_unix(&directory.path().join("endpoint.sock"), |request| {
        let reply = Reply::ok(request.method().to_owned());
        match request.connection {
            0 => reply.first(Step::StopReading).then(Step::Wait(Gate::new())),
            _ => reply,
        }
    });
    let proxy = Setup::to(&[&endpoint]).workers(1).start();
    assert_eq!(proxy.get("/").text(), "GET");
    let body = filler(10_000);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n");
    client.send(&body);
    assert_eq!(client.read_response().text(), "POST");
    let requests = endpoint.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].body().hash, hash(&body));
    let attempts = &proxy.log(2)[1]["attempts"];
    assert_eq!(attempts[0]["outcome"], "stale");
    assert_eq!(attempts[1]["outcome"], "ok");
}

/// Row 30: the endpoint read the request and then closed; it may have done the work.
#[test]
fn a_post_on_a_kept_connection_that_closes_is_not_repeated() {
    let [a, b] = [(); 2].map(|()| {
        Endpoint::start(|request| match request.index {
            0 => Reply::ok("first"),
            _ => Reply::steps(vec![Step::ReadBody, Step::Close]),
        })
    });
    let proxy = Setup::to(&[&a, &b])
        .pool("policy = \"first\"")
        .workers(1)
        .start();
    assert_eq!(proxy.get("/").text(), "first");
    let mut client = proxy.client();
    client.send("POST /once HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.read_response().status, 502);
    let all = [a.requests(), b.requests()].concat();
    let posts = all
        .iter()
        .filter(|request| request.method() == "POST")
        .count();
    assert_eq!(posts, 1);
}

#[test]
fn a_frozen_endpoint_costs_its_time_out_and_is_soon_out() {
    const TIMEOUT: Duration = Duration::from_millis(300);
    let [a, b] = [named("a"), named("b")];
    let pool = "policy = \"round_robin\"\ntimeouts = { response = \"300ms\" }";
    // The default check connects, which a frozen process still accepts.
    let proxy = Setup::to(&[&a, &b])
        .pool(pool)
        .pool("check = { interval = \"100ms\", timeout = \"500ms\" }")
        .workers(1)
        .start();
    proxy.get("/");
    a.freeze();
    let mut slow = 0;
    let mut client = proxy.client();
    for _ in 0..60 {
        let start = Instant::now();
        assert_eq!(client.get("/").text(), "b");
        let took = start.elapsed();
        assert!(took < TIMEOUT * 3, "{took:?}");
        slow += u32::from(took > TIMEOUT / 2);
    }
    // Five in a row eject it; later each end of an ejection costs one request.
    assert!((1..=8).contains(&slow), "{slow} slow requests");
}

#[test]
fn a_restarted_endpoint_gets_traffic_again() {
    let [a, b] = [named("a"), named("b")];
    let proxy = Setup::to(&[&a, &b])
        .pool(QUICK_CHECK)
        .pool("policy = \"round_robin\"")
        .start();
    poll_until("both are used", SOON, || proxy.get("/").text() == "a");
    a.kill();
    proxy.wait_for_down(1);
    let count = a.request_count();
    Load::get(proxy.peer(), 50).run().assert_all_ok();
    assert_eq!(a.request_count(), count);
    a.listen_again();
    poll_until("a is used again", SOON, || proxy.get("/").text() == "a");
}

#[test]
fn a_refusal_takes_an_endpoint_out_within_a_second() {
    let [a, b] = [named("a"), named("b")];
    // The default check, every two seconds: the live refusal has to bring it forward.
    let proxy = Setup::to(&[&a, &b])
        .pool("check = \"tcp\"\npolicy = \"round_robin\"")
        .start();
    Load::get(proxy.peer(), 20).run().assert_all_ok();
    a.kill();
    let killed = Instant::now();
    poll_until("a is down", SOON, || {
        proxy.get("/");
        proxy.count_down() == 1
    });
    assert!(
        killed.elapsed() < Duration::from_secs(1),
        "{:?}",
        killed.elapsed()
    );
}

#[test]
fn an_endpoint_that_fails_its_check_gets_no_traffic() {
    let a = Endpoint::start(|request| match request.target() {
        "/healthz" => Reply::status(500),
        _ => Reply::ok("a"),
    });
    let b = named("b");
    let check = "check = { http = \"/healthz\", interval = \"50ms\", fall = 2 }";
    let proxy = Setup::to(&[&a, &b])
        .pool(check)
        .pool("policy = \"round_robin\"")
        .start();
    proxy.wait_for_down(1);
    let outcomes = Load::get(proxy.peer(), 40).run();
    outcomes.assert_all_ok();
    assert_eq!(outcomes.bodies["b"], 40);
    let probes = a.requests();
    assert_eq!(probes[0].target(), "/healthz");
    let agent = probes[0].head.field("user-agent").unwrap_or_default();
    assert!(
        agent.starts_with("pointsman/") && agent.ends_with("health-check"),
        "{agent}"
    );
}

#[test]
fn with_every_endpoint_down_all_are_tried() {
    let unhealthy = |name: &'static str| {
        Endpoint::start(move |request| match request.target() {
            "/healthz" => Reply::status(500),
            _ => Reply::ok(name),
        })
    };
    let [a, b] = [unhealthy("a"), unhealthy("b")];
    let check = "check = { http = \"/healthz\", interval = \"50ms\", fall = 2 }";
    let proxy = Setup::to(&[&a, &b]).pool(check).start();
    proxy.wait_for_down(2);
    let outcomes = Load::get(proxy.peer(), 20).run();
    outcomes.assert_all_ok();
    assert_eq!(outcomes.bodies.len(), 2, "{:?}", outcomes.bodies);
    assert!(proxy.metric("pointsman_pool_fail_open_total", &[]) >= 20.0);
    let told = proxy.get("/");
    assert_eq!(
        told.field("proxy-status"),
        Some("pointsman; details=\"fail_open\"")
    );

    let proxy = Setup::to(&[&a, &b])
        .pool(check)
        .pool("fail = \"closed\"")
        .start();
    proxy.wait_for_down(2);
    let response = proxy.get("/");
    assert_eq!(response.status, 503);
    assert!(response.field("retry-after").is_some());
}

/// The retry budget: every request earns a fifth of a retry, and there are three to begin with.
#[test]
fn retries_do_not_multiply_an_outage() {
    const CLIENTS: usize = 40;
    const RETRIES: usize = CLIENTS / 5 + 3;
    let (outage, recovery) = (Gate::new(), Gate::new());
    let received = Arc::new(AtomicUsize::new(0));
    let endpoints = [(); 2].map(|()| {
        let (outage, recovery) = (outage.clone(), recovery.clone());
        let received = Arc::clone(&received);
        Endpoint::start(move |_| match received.fetch_add(1, Ordering::Relaxed) {
            ..CLIENTS => Reply::reset().wait(&outage),
            _ => Reply::ok("").wait(&recovery),
        })
    });
    let [a, b] = &endpoints;
    let proxy = Setup::to(&[a, b]).pool("outlier = \"off\"").start();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = proxy.client();
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            client
        })
        .collect();
    poll_until("all are at an endpoint", SOON, || {
        received.load(Ordering::Relaxed) == CLIENTS
    });
    outage.open();
    poll_until("the first ones are over", SOON, || {
        proxy.metric("pointsman_pool_retries_denied_total", &[]) == (CLIENTS - RETRIES) as f64
    });
    recovery.open();
    let statuses: Vec<u16> = clients
        .into_iter()
        .map(|mut client| client.read_response().status)
        .collect();
    let saved = statuses.iter().filter(|&&status| status == 200).count();
    assert_eq!(saved, RETRIES, "{statuses:?}");
    assert_eq!(received.load(Ordering::Relaxed), CLIENTS + RETRIES);
}

#[test]
fn a_cut_upload_is_not_a_finished_one() {
    let endpoint = Endpoint::start(|_| Reply::ok("a"));
    let proxy = proxy_to(&[&endpoint]);
    for head in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let mut client = proxy.client();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n3\r\nabc"
        ));
        poll_until("the upload begins", SOON, || endpoint.in_flight() == 1);
        client.reset();
        poll_until("the upload is over", SOON, || endpoint.in_flight() == 0);
    }
    assert_eq!(endpoint.request_count(), 2);
    for request in endpoint.requests() {
        assert_ne!(request.body().end, End::Clean);
    }
}

/// An endpoint that takes a moment, so that a kill finds requests in flight.
fn slow_named(name: &'static str) -> Endpoint {
    Endpoint::start(move |_| Reply::ok(name).first(Step::Pause(Duration::from_millis(5))))
}
