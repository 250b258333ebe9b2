//! Which endpoint gets a request.

use std::time::Duration;

use testkit::{Endpoint, Gate, Load, Reply, Step, poll_until};

use crate::harness::{SOON, Setup, named};

#[test]
fn weights_are_honoured_exactly_by_round_robin() {
    let [a, b] = [named("a"), named("b")];
    let proxy = Setup::to_tables(&[(&a, "weight = 3"), (&b, "weight = 1")])
        .pool("policy = \"round_robin\"")
        .workers(1)
        .start();
    let outcomes = Load::get(proxy.peer(), 80).run();
    outcomes.assert_all_ok();
    assert_eq!((outcomes.bodies["a"], outcomes.bodies["b"]), (60, 20));
}

#[test]
fn an_endpoint_of_weight_zero_is_a_last_resort() {
    let [a, b] = [named("a"), named("b")];
    let proxy = Setup::to_tables(&[(&a, "weight = 0"), (&b, "weight = 1")])
        .pool("outlier = \"off\"")
        .start();
    let outcomes = Load::get(proxy.peer(), 40).run();
    assert_eq!(outcomes.bodies["b"], 40);
    b.kill();
    assert_eq!(proxy.get("/").text(), "a");
}

#[test]
fn every_policy_uses_what_it_should() {
    for (policy, endpoints_used) in [
        ("least_request", 2),
        ("least_connections", 2),
        ("utilization", 2),
        ("round_robin", 2),
        ("random", 2),
        ("first", 1),
        // The key is the client's address, and there is one client.
        ("maglev", 1),
        ("rendezvous", 1),
    ] {
        let [a, b] = [named("a"), named("b")];
        let proxy = Setup::to(&[&a, &b])
            .pool(&format!("policy = \"{policy}\""))
            .start();
        let outcomes = Load::get(proxy.peer(), 80).run();
        outcomes.assert_all_ok();
        assert_eq!(
            outcomes.bodies.len(),
            endpoints_used,
            "{policy}: {:?}",
            outcomes.bodies
        );
    }
}

#[test]
fn a_busy_endpoint_is_relieved_whichever_worker_made_it_busy() {
    let gate = Gate::new();
    let gated = |name: &'static str| {
        let gate = gate.clone();
        Endpoint::start(move |request| match request.target() {
            "/slow" => Reply::ok(name).wait(&gate),
            _ => Reply::ok(name),
        })
    };
    let [a, b] = [gated("a"), gated("b")];
    let proxy = Setup::to(&[&a, &b]).workers(4).start();
    let mut slow = proxy.client();
    slow.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    poll_until("one is busy", SOON, || a.in_flight() + b.in_flight() == 1);
    let free = if a.in_flight() == 1 { "b" } else { "a" };
    for _ in 0..20 {
        // Each connection may be another worker's.
        assert_eq!(proxy.get("/").text(), free);
        // The client has its response a moment before the endpoint counts as free again.
        proxy.wait_for_in_flight(1);
    }
    gate.open();
    assert_ne!(slow.read_response().text(), free);
}

#[test]
fn requests_at_once_are_spread_evenly_by_least_request() {
    let gate = Gate::new();
    let endpoints = [(); 4].map(|()| {
        let gate = gate.clone();
        Endpoint::start(move |_| Reply::ok("").wait(&gate))
    });
    let [a, b, c, d] = &endpoints;
    let proxy = Setup::to(&[a, b, c, d]).start();
    let total = || endpoints.iter().map(Endpoint::in_flight).sum::<usize>();
    let mut clients = Vec::new();
    for number in 1..=16 {
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        poll_until("it is at an endpoint", SOON, || total() == number);
        clients.push(client);
    }
    assert_eq!(endpoints.each_ref().map(Endpoint::in_flight), [4; 4]);
    gate.open();
}

#[test]
fn peak_ewma_does_not_fall_for_fast_failures() {
    let good = named("good");
    let failing = Endpoint::start(|_| Reply::status(500));
    let proxy = Setup::to(&[&good, &failing])
        .pool("policy = \"peak_ewma\"\noutlier = \"off\"")
        .start();
    let outcomes = Load::get(proxy.peer(), 400).run();
    // At most those of the eight clients that are on their way before the first failure counts.
    assert!(outcomes.with_status(500) <= 8, "{outcomes:?}");
    assert_eq!(outcomes.bodies["good"], 400 - outcomes.with_status(500));
}

#[test]
fn slow_uploads_do_not_make_their_endpoint_look_slow() {
    // They take long enough that what a busy machine adds makes none of them look slow.
    let endpoints = ["a", "b"].map(|name| {
        let work = Step::Pause(Duration::from_millis(10));
        Endpoint::start(move |_| Reply::ok(name).first(work.clone()))
    });
    let proxy = Setup::to(&endpoints.each_ref())
        .pool("sticky = { key = { header = \"x-user\" } }")
        .workers(1)
        .start();
    for _ in 0..40 {
        proxy.get("/");
    }
    // One user, so one endpoint. Its clients take twenty times what the endpoint takes.
    let mut uploads_at = String::new();
    for _ in 0..8 {
        let mut upload = proxy.client();
        upload.send("POST / HTTP/1.1\r\nHost: a\r\nX-User: u\r\nContent-Length: 2\r\n\r\na");
        // The slow client itself, not a wait for something.
        std::thread::sleep(Duration::from_millis(200));
        upload.send("b");
        uploads_at = upload.read_response().text();
    }
    let gets = (0..20).filter(|_| proxy.get("/").text() == uploads_at);
    let share = gets.count();
    assert!(share >= 5, "{share} of 20");
}
