//! A slow request gets a second copy, within its budget, and only if that harms nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use testkit::{Clogged, Endpoint, Gate, Load, Reply, Step, poll_until};

use crate::harness::{Proxy, SOON, Setup, named};

/// The first of two endpoints has all requests but copies. One worker, because each learns for
/// itself how long requests take.
const FIRST: &str = "policy = \"first\"\nhedge = { min = \"100ms\", budget = \"5%\" }";

fn setup(endpoints: &[&Endpoint]) -> Setup {
    Setup::to(endpoints).pool(FIRST).workers(1)
}

/// As many quick requests as it takes to know the route and to have saved up for a few copies.
fn teach(proxy: &Proxy) {
    Load::get(proxy.peer(), 150).run().assert_all_ok();
    assert_eq!(proxy.metric("pointsman_pool_hedges_total", &[]), 0.0);
}

/// Lets requests wait for the gate from now on.
fn hang(endpoint: &Endpoint, name: &'static str, gate: &Gate) {
    let gate = gate.clone();
    endpoint.set_script(move |_| Reply::ok(name).wait(&gate));
}

#[test]
fn the_copy_of_a_request_that_hangs_is_answered_by_another_endpoint() {
    let (a, b) = (named("a"), named("b"));
    let gate = Gate::new();
    let proxy = setup(&[&a, &b]).start();
    teach(&proxy);
    hang(&a, "a", &gate);
    assert_eq!(proxy.get("/").text(), "b");
    // The loser is cancelled: its connection is closed, its place is free.
    poll_until("the loser is over", SOON, || {
        proxy.status()["pools"][0]["endpoints"][0]["requests_in_flight"] == 0
    });
    gate.open();
    let entry = &proxy.log(151)[150];
    let attempts = entry["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 2, "{entry}");
    assert_eq!(attempts[0]["outcome"], "abandoned");
    assert_eq!(attempts[1]["why"], "hedge");
    assert_eq!(attempts[1]["outcome"], "ok");
    assert_eq!(entry["endpoint"], b.peer().to_string());
    assert_eq!(entry["status"], 200);
    assert_eq!(proxy.metric("pointsman_pool_hedges_total", &[]), 1.0);
    assert_eq!(proxy.metric("pointsman_pool_hedges_won_total", &[]), 1.0);
    assert_eq!(proxy.metric("pointsman_pool_retries_total", &[]), 0.0);
}

#[test]
fn the_first_copy_still_wins_if_it_answers_first() {
    let (a, b) = (named("a"), named("b"));
    let [gate_a, gate_b] = [Gate::new(), Gate::new()];
    let proxy = setup(&[&a, &b]).start();
    teach(&proxy);
    hang(&a, "a", &gate_a);
    hang(&b, "b", &gate_b);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    poll_until("there is a copy", SOON, || b.in_flight() == 1);
    gate_a.open();
    assert_eq!(client.read_response().text(), "a");
    gate_b.open();
    a.set_script(|_| Reply::ok("a"));
    // The connection goes on, and so does the one to the endpoint.
    assert_eq!(client.get("/").text(), "a");
    let entry = &proxy.log(151)[150];
    assert_eq!(entry["endpoint"], a.peer().to_string());
    assert_eq!(entry["attempts"][0]["outcome"], "ok");
    assert_eq!(entry["attempts"][1]["outcome"], "abandoned");
    assert_eq!(proxy.metric("pointsman_pool_hedges_won_total", &[]), 0.0);
}

#[test]
fn a_bad_answer_waits_for_a_better_one_and_counts_if_none_comes() {
    for (reply, status) in [
        (Reply::ok("b"), 200),
        (Reply::status(500), 500),
        (Reply::reset(), 503),
    ] {
        let (a, b) = (named("a"), named("b"));
        let [gate_a, gate_b] = [Gate::new(), Gate::new()];
        let proxy = setup(&[&a, &b]).start();
        teach(&proxy);
        {
            let gate = gate_a.clone();
            a.set_script(move |_| Reply::status(503).wait(&gate));
            let (gate, reply) = (gate_b.clone(), reply.clone());
            b.set_script(move |_| reply.clone().first(Step::Wait(gate.clone())));
        }
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        poll_until("there is a copy", SOON, || b.in_flight() == 1);
        gate_a.open();
        let answered = "pointsman_endpoint_requests_total";
        poll_until("the bad answer came", SOON, || {
            proxy.metric(answered, &["code=\"5xx\""]) == 1.0
        });
        gate_b.open();
        assert_eq!(client.read_response().status, status, "{reply:?}");
    }
}

#[test]
fn a_bad_answer_waits_for_a_connection_no_longer_than_that_may_take() {
    let (a, clogged) = (named("a"), Clogged::start());
    let gate = Gate::new();
    let proxy = setup(&[&a])
        .and_to(&clogged)
        .pool("timeouts = { connect = \"300ms\", response = \"60s\" }")
        .start();
    teach(&proxy);
    {
        let gate = gate.clone();
        a.set_script(move |_| Reply::status(503).wait(&gate));
    }
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    poll_until("there is a copy", SOON, || {
        proxy.metric("pointsman_pool_hedges_total", &[]) == 1.0
    });
    gate.open();
    assert_eq!(client.read_response().status, 503);
    let entry = &proxy.log(151)[150];
    assert_eq!(entry["attempts"][0]["outcome"], "server_error");
    assert_eq!(entry["attempts"][1]["outcome"], "connect_failed");
}

#[test]
fn who_lets_time_run_out_is_to_blame_although_the_other_copy_has_an_answer() {
    let (a, b) = (named("a"), named("b"));
    let gate = Gate::new();
    let proxy = setup(&[&a, &b])
        .pool("timeouts = { response = \"500ms\" }")
        .start();
    teach(&proxy);
    hang(&a, "a", &gate);
    b.set_script(|_| Reply::status(503));
    assert_eq!(proxy.get("/").status, 503);
    gate.open();
    let entry = &proxy.log(151)[150];
    assert_eq!(entry["attempts"][0]["outcome"], "timeout");
    assert_eq!(entry["attempts"][1]["outcome"], "server_error");
}

#[test]
fn an_endpoint_that_says_it_is_full_does_not_win() {
    let (a, b) = (named("a"), named("b"));
    let gate = Gate::new();
    let proxy = setup(&[&a, &b])
        .pool("feedback = { full_on = [\"429\"] }")
        .start();
    teach(&proxy);
    hang(&a, "a", &gate);
    b.set_script(|_| Reply::status(429).field("Retry-After", "100"));
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let answered = "pointsman_endpoint_requests_total";
    poll_until("it says so", SOON, || {
        proxy.metric(answered, &["code=\"4xx\""]) == 1.0
    });
    gate.open();
    assert_eq!(client.read_response().text(), "a");
}

#[test]
fn an_endpoint_that_stands_behind_the_first_one_gets_no_copy() {
    for behind in ["tier = 1", "weight = 0"] {
        let (a, b) = (named("a"), named("b"));
        let endpoints = [(&a, "tier = 0"), (&b, behind)];
        let proxy = Setup::to_tables(&endpoints).pool(FIRST).workers(1).start();
        teach(&proxy);
        a.set_script(|_| Reply::ok("a").first(Step::Pause(Duration::from_millis(300))));
        assert_eq!(proxy.get("/").text(), "a", "{behind}");
        assert_eq!(b.request_count(), 0, "{behind}");
    }
}

#[test]
fn when_both_answers_are_bad_the_request_is_repeated_where_statuses_are() {
    let endpoints = [named("a"), named("b"), named("c")];
    let [a, b, c] = &endpoints;
    let gates = [Gate::new(), Gate::new()];
    let proxy = setup(&[a, b, c]).pool("retry = { on = [\"503\"] }").start();
    teach(&proxy);
    for (endpoint, gate) in [a, b].into_iter().zip(&gates) {
        let gate = gate.clone();
        endpoint.set_script(move |_| Reply::status(503).wait(&gate));
    }
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    poll_until("there is a copy", SOON, || b.in_flight() == 1);
    gates.iter().for_each(Gate::open);
    assert_eq!(client.read_response().text(), "c");
    let entry = &proxy.log(151)[150];
    let attempts = entry["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 3, "{entry}");
    assert_eq!(entry["endpoint"], c.peer().to_string());
}

#[test]
fn when_one_copy_breaks_the_other_one_answers() {
    let (a, b) = (named("a"), named("b"));
    let [gate_a, gate_b] = [Gate::new(), Gate::new()];
    let proxy = setup(&[&a, &b]).start();
    teach(&proxy);
    {
        let gate = gate_a.clone();
        a.set_script(move |_| Reply::reset().first(Step::Wait(gate.clone())));
    }
    hang(&b, "b", &gate_b);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    poll_until("there is a copy", SOON, || b.in_flight() == 1);
    gate_a.open();
    let resets = "pointsman_endpoint_attempts_total";
    poll_until("the first copy broke", SOON, || {
        proxy.metric(resets, &["outcome=\"reset\""]) == 1.0
    });
    gate_b.open();
    assert_eq!(client.read_response().text(), "b");
    assert_eq!(proxy.metric("pointsman_pool_retries_total", &[]), 0.0);
}

#[test]
fn early_hints_pass_in_a_race() {
    let (a, b) = (named("a"), named("b"));
    let gate = Gate::new();
    let proxy = setup(&[&a, &b]).start();
    teach(&proxy);
    hang(&a, "a", &gate);
    b.set_script(|_| {
        Reply::ok("b").interim("HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n")
    });
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_head().word(1), "103");
    assert_eq!(client.read_response().text(), "b");
    gate.open();
}

#[test]
fn a_client_that_leaves_ends_both_copies() {
    let (a, b) = (named("a"), named("b"));
    let gate = Gate::new();
    let proxy = setup(&[&a, &b]).start();
    teach(&proxy);
    hang(&a, "a", &gate);
    hang(&b, "b", &gate);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    poll_until("there is a copy", SOON, || b.in_flight() == 1);
    client.reset();
    proxy.wait_for_in_flight(0);
    gate.open();
    let entry = &proxy.log(151)[150];
    assert_eq!(entry["ended_by"], "client");
    assert_eq!(entry["attempts"][1]["outcome"], "abandoned");
}

#[test]
fn what_must_not_be_done_twice_gets_no_copy() {
    let (a, b) = (named("a"), named("b"));
    let proxy = setup(&[&a, &b]).start();
    teach(&proxy);
    a.set_script(|_| Reply::ok("a").first(Step::Pause(Duration::from_millis(300))));
    for request in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        // A body would be sent twice.
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let mut client = proxy.client();
        client.send(request);
        assert_eq!(client.read_response().text(), "a", "{request}");
    }
    assert_eq!(b.request_count(), 0);
    assert_eq!(proxy.metric("pointsman_pool_hedges_total", &[]), 0.0);
}

#[test]
fn a_pool_without_hedges_makes_none() {
    let (a, b) = (named("a"), named("b"));
    let proxy = Setup::to(&[&a, &b])
        .pool("policy = \"first\"")
        .workers(1)
        .start();
    teach(&proxy);
    a.set_script(|_| Reply::ok("a").first(Step::Pause(Duration::from_millis(300))));
    assert_eq!(proxy.get("/").text(), "a");
    assert_eq!(b.request_count(), 0);
}

#[test]
fn copies_are_at_most_a_twentieth_of_the_requests() {
    // From a moment on, every third request is slow: far more than the budget has copies for.
    let is_slow = Arc::new(AtomicBool::new(false));
    let endpoint = |name: &'static str| {
        let (is_slow, count) = (Arc::clone(&is_slow), AtomicUsize::new(0));
        Endpoint::start(move |_| {
            let count = count.fetch_add(1, Ordering::Relaxed);
            if is_slow.load(Ordering::Relaxed) && count.is_multiple_of(3) {
                Reply::ok(name).first(Step::Pause(Duration::from_millis(100)))
            } else {
                Reply::ok(name)
            }
        })
    };
    let [a, b] = [endpoint("a"), endpoint("b")];
    let proxy = Setup::to(&[&a, &b])
        .pool("hedge = { min = \"5ms\" }")
        .start();
    Load::get(proxy.peer(), 400).run().assert_all_ok();
    is_slow.store(true, Ordering::Relaxed);
    Load::get(proxy.peer(), 600).run().assert_all_ok();
    let hedges = proxy.metric("pointsman_pool_hedges_total", &[]);
    assert!(hedges >= 5.0, "{hedges}");
    assert!(hedges <= 50.0, "{hedges}");
    let upstream = a.request_count() + b.request_count();
    assert!(upstream <= 1050, "{upstream}");
}

#[test]
fn a_pool_with_little_room_makes_no_copies() {
    let (a, b) = (named("a"), named("b"));
    let gate = Gate::new();
    let endpoints = [(&a, "max_requests = 2"), (&b, "max_requests = 2")];
    let proxy = Setup::to_tables(&endpoints).pool(FIRST).workers(1).start();
    let mut load = Load::get(proxy.peer(), 150);
    load.threads = 1;
    load.run().assert_all_ok();
    hang(&a, "a", &gate);
    hang(&b, "b", &gate);
    // Three of four places are taken.
    let mut clients: Vec<_> = (0..3).map(|_| proxy.client()).collect();
    for (count, client) in clients.iter_mut().enumerate() {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        poll_until("it is there", SOON, || {
            a.in_flight() + b.in_flight() == count + 1
        });
    }
    b.set_script(|_| Reply::ok("b").first(Step::Pause(Duration::from_millis(300))));
    assert_eq!(proxy.get("/").text(), "b");
    assert_eq!(proxy.metric("pointsman_pool_hedges_total", &[]), 0.0);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.read_response().status, 200);
    }
}
