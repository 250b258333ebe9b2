//! The limits of what a pool takes upon itself: retries, attempts that take too long, circuits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use testkit::{Clogged, Endpoint, Gate, Load, Reply, Step, poll_until};

use crate::harness::{SOON, Setup, named};

/// Load at the endpoints if all requests fail may be a fifth more than what is offered, and three.
#[test]
fn with_every_endpoint_failing_the_load_is_a_fifth_more_and_three() {
    for (reply, on) in [
        (Reply::reset(), "\"reset\""),
        (Reply::status(502), "\"502\""),
    ] {
        let endpoints: Vec<Endpoint> = (0..4)
            .map(|_| {
                let reply = reply.clone();
                Endpoint::start(move |_| reply.clone())
            })
            .collect();
        let all: Vec<&Endpoint> = endpoints.iter().collect();
        let pool = format!("outlier = \"off\"\nretry = {{ attempts = 10, on = [{on}] }}");
        let proxy = Setup::to(&all).pool(&pool).start();
        let offered = 300;
        let outcomes = Load::get(proxy.peer(), offered).run();
        assert_eq!(
            outcomes.with_status(502),
            offered,
            "{:?}",
            outcomes.statuses
        );
        let upstream: usize = endpoints.iter().map(Endpoint::request_count).sum();
        assert!(upstream > offered, "nothing was retried");
        assert!(
            upstream * 10 <= offered * 12 + 30,
            "{upstream} for {offered}"
        );
    }
}

#[test]
fn with_hedges_and_retries_a_post_is_never_done_twice() {
    // Each endpoint is slow, breaks, or does well, by turns.
    let endpoint = || {
        Endpoint::start(|request| match request.index % 3 {
            0 => Reply::ok("ok").first(Step::Pause(Duration::from_millis(60))),
            1 => Reply::ok("ok"),
            _ => Reply::steps(vec![Step::ReadBody, Step::Reset]),
        })
    };
    let [a, b, c] = [endpoint(), endpoint(), endpoint()];
    let pool = "outlier = \"off\"\nhedge = { after = \"p50\", min = \"1ms\", budget = \"100%\" }\n\
                retry = { attempts = 3, timeout = \"40ms\" }";
    let proxy = Setup::to(&[&a, &b, &c]).pool(pool).start();
    // They teach the route how long requests take, and are copied and repeated.
    Load::get(proxy.peer(), 600).run();
    assert!(proxy.metric("pointsman_pool_hedges_total", &[]) > 0.0);
    let before: usize = [&a, &b, &c]
        .iter()
        .map(|endpoint| endpoint.ids().len())
        .sum();
    let outcomes = Load::post(proxy.peer(), 300).run();
    assert!(outcomes.failed.is_empty(), "{:?}", outcomes.failed);
    let mut executed = BTreeMap::new();
    for endpoint in [&a, &b, &c] {
        for request in endpoint.requests() {
            if request.method() == "POST" {
                let id = request.head.field(testkit::ID_FIELD).map(str::to_owned);
                *executed.entry(id).or_insert(0) += 1;
            }
        }
    }
    assert!(before >= 600, "{before}");
    assert!(executed.len() >= 250, "{}", executed.len());
    let twice: Vec<_> = executed.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[test]
fn an_attempt_that_takes_too_long_gives_way_to_the_next_and_the_last_one_takes_its_time() {
    let a = Endpoint::start(|_| Reply::hang());
    let b = Endpoint::start(|_| Reply::ok("b").first(Step::Pause(Duration::from_millis(300))));
    let pool = "policy = \"first\"\noutlier = \"off\"\nretry = { timeout = \"100ms\" }";
    let proxy = Setup::to(&[&a, &b]).pool(pool).start();
    let begun = Instant::now();
    assert_eq!(proxy.get("/").text(), "b");
    assert!(begun.elapsed() < Duration::from_secs(5));
    let entry = &proxy.log(1)[0];
    assert_eq!(entry["attempts"][0]["outcome"], "timeout");
    assert_eq!(entry["attempts"][1]["outcome"], "ok");
}

#[test]
fn an_attempt_that_cannot_move_is_not_cut() {
    let slow = || Reply::ok("a").first(Step::Pause(Duration::from_millis(300)));
    let a = Endpoint::start(move |_| slow());
    let b = named("b");
    // No method that may be done twice; nothing left to pay with; nowhere to go by choice.
    for (pool, request, times) in [
        ("retry = { timeout = \"50ms\" }", "POST", 1),
        ("retry = { timeout = \"50ms\", on = [\"reset\"] }", "GET", 1),
        ("retry = { timeout = \"50ms\", attempts = 0 }", "GET", 1),
    ] {
        let pool = format!("policy = \"first\"\noutlier = \"off\"\n{pool}");
        let proxy = Setup::to(&[&a, &b]).pool(&pool).start();
        for _ in 0..times {
            let mut client = proxy.client();
            client.send(format!(
                "{request} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
            ));
            assert_eq!(client.read_response().text(), "a", "{pool}");
        }
    }
    assert_eq!(b.request_count(), 0);
}

/// Not even while it connects.
#[test]
fn an_attempt_that_does_not_move_when_it_cannot_connect_is_not_cut() {
    let (clogged, b) = (Clogged::start(), named("b"));
    let pool = "policy = \"first\"\noutlier = \"off\"\ntimeouts = { connect = \"600ms\" }\n\
                retry = { timeout = \"50ms\", on = [\"reset\"] }";
    let proxy = Setup::default()
        .and_to(&clogged)
        .and_to(b.peer())
        .pool(pool)
        .start();
    let begun = Instant::now();
    assert_eq!(proxy.get("/").status, 504);
    assert!(begun.elapsed() >= Duration::from_millis(600));
}

/// The first three are repeated elsewhere; then there is nothing to pay with.
#[test]
fn an_attempt_whose_repetition_nobody_pays_for_takes_its_time() {
    let slow = || Reply::ok("slow").first(Step::Pause(Duration::from_millis(250)));
    let [a, b] = [named("a"), named("b")];
    a.set_script(move |_| slow());
    let pool = "policy = \"first\"\noutlier = \"off\"\nretry = { timeout = \"50ms\" }";
    let proxy = Setup::to(&[&a, &b]).pool(pool).start();
    let answers: Vec<String> = (0..4).map(|_| proxy.get("/").text()).collect();
    assert_eq!(answers, ["b", "b", "b", "slow"]);
    assert_eq!(
        proxy.metric("pointsman_pool_retries_denied_total", &[]),
        1.0
    );
}

#[test]
fn a_pool_takes_so_many_requests_and_answers_the_others_at_once() {
    let gate = Gate::new();
    let a = Endpoint::start({
        let gate = gate.clone();
        move |_| Reply::ok("a").wait(&gate)
    });
    let b = Endpoint::start({
        let gate = gate.clone();
        move |_| Reply::ok("b").wait(&gate)
    });
    let proxy = Setup::to(&[&a, &b])
        .pool("circuit = { requests = 2 }")
        .start();
    let mut clients = [proxy.client(), proxy.client()];
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    proxy.wait_for_in_flight(2);
    let refused = proxy.get("/");
    assert_eq!(refused.status, 503);
    let why = refused.field("proxy-status").unwrap();
    assert!(why.contains("connection_limit_reached"), "{why}");
    assert_eq!(proxy.metric("pointsman_pool_circuit_open_total", &[]), 1.0);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.read_response().status, 200);
    }
    assert_eq!(proxy.get("/").status, 200);
}

#[test]
fn a_pool_has_so_many_connections_and_closes_idle_ones_for_others() {
    let [a, b] = [named("a"), named("b")];
    let pool = "policy = \"round_robin\"\ncircuit = { connections = 1 }";
    let proxy = Setup::to(&[&a, &b]).pool(pool).workers(1).start();
    let mut client = proxy.client();
    for _ in 0..6 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!((a.request_count(), b.request_count()), (3, 3));
    poll_until("one is left", SOON, || a.open_count() + b.open_count() == 1);

    // One that is in use is not closed.
    let gate = Gate::new();
    for endpoint in [&a, &b] {
        let gate = gate.clone();
        endpoint.set_script(move |_| Reply::ok("late").wait(&gate));
    }
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    poll_until("it is there", SOON, || a.in_flight() + b.in_flight() == 1);
    let refused = proxy.get("/");
    assert_eq!(refused.status, 503);
    let why = refused.field("proxy-status").unwrap();
    assert!(why.contains("connection_limit_reached"), "{why}");
    assert!(proxy.metric("pointsman_pool_circuit_open_total", &[]) >= 1.0);
    gate.open();
    assert_eq!(client.read_response().text(), "late");
    assert_eq!(proxy.count_down(), 0);
}

/// Over all workers, and however connections end.
#[test]
fn after_a_load_a_pool_has_as_many_connections_as_before() {
    let endpoint = || {
        Endpoint::start(|request| match request.index % 5 {
            3 => Reply::reset(),
            4 => Reply::ok("ok").close(),
            _ => Reply::ok("ok"),
        })
    };
    let [a, b] = [endpoint(), endpoint()];
    let proxy = Setup::to(&[&a, &b])
        .pool("circuit = { connections = 4 }\noutlier = \"off\"")
        .start();
    let outcomes = Load::get(proxy.peer(), 600).run();
    assert!(outcomes.with_status(200) >= 100, "{:?}", outcomes.statuses);

    // Four at once find room, and no more.
    let gate = Gate::new();
    for endpoint in [&a, &b] {
        let gate = gate.clone();
        endpoint.set_script(move |_| Reply::ok("held").wait(&gate));
    }
    let mut held = Vec::new();
    poll_until("four are held", SOON, || {
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        // A connection that waits at one worker is not closed for another.
        client.set_timeout(Duration::from_millis(100));
        if client.try_read_response("GET", 1024).is_err() {
            held.push(client);
        }
        a.in_flight() + b.in_flight() == 4
    });
    for _ in 0..5 {
        assert_eq!(proxy.get("/").status, 503);
    }
    assert_eq!(held.len(), 4);
    gate.open();
}
