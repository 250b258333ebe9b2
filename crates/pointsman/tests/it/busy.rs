//! Busy is not down: what endpoints say of their load in responses.

use std::time::Duration;

use testkit::{Endpoint, Gate, Load, Reply, poll_until};

use crate::harness::{Proxy, SOON, Setup, named};

/// Binary form of `application_utilization` 1.5, field 9.
const BIN: &str = "BIN SQAAAAAAAPg/";

fn saying(name: &'static str, field: &'static str, value: &'static str) -> Endpoint {
    Endpoint::start(move |_| Reply::ok(name).field(field, value))
}

/// The load word of the endpoint of this number.
fn load_word(proxy: &Proxy, index: usize) -> String {
    let status = proxy.status();
    let endpoint = &status["pools"][0]["endpoints"][index];
    endpoint["load"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn an_endpoint_that_says_it_does_all_it_can_gets_nothing_while_another_does_less() {
    for metrics in [
        "TEXT application_utilization=1.0",
        "cpu_utilization:0.2,mem_utilization:1.0",
        r#"JSON {"cpu_utilization": 1.25, "named_metrics": {"queue": 3}}"#,
        BIN,
    ] {
        let a = saying("a", "Endpoint-Load-Metrics", metrics);
        let b = named("b");
        let proxy = Setup::to(&[&a, &b]).pool("policy = \"first\"").start();
        assert_eq!(proxy.get("/").text(), "a", "{metrics}");
        for _ in 0..5 {
            assert_eq!(proxy.get("/").text(), "b", "{metrics}");
        }
        assert_eq!(proxy.count_down(), 0);
        assert_eq!(load_word(&proxy, 0), "busy", "{metrics}");
    }
}

#[test]
fn a_report_below_all_it_can_do_changes_nothing_and_is_passed_on() {
    let a = saying("a", "Endpoint-Load-Metrics", "TEXT cpu_utilization=0.9");
    let b = named("b");
    let proxy = Setup::to(&[&a, &b]).pool("policy = \"first\"").start();
    for _ in 0..5 {
        let response = proxy.get("/");
        assert_eq!(response.text(), "a");
        let passed = response.field("endpoint-load-metrics");
        assert_eq!(passed, Some("TEXT cpu_utilization=0.9"));
    }
}

#[test]
fn reports_can_be_ignored() {
    let a = saying("a", "Endpoint-Load-Metrics", "TEXT cpu_utilization=2");
    let b = named("b");
    let pool = "policy = \"first\"\nfeedback = { headers = \"ignore\" }";
    let proxy = Setup::to(&[&a, &b]).pool(pool).start();
    for _ in 0..5 {
        assert_eq!(proxy.get("/").text(), "a");
    }
}

#[test]
fn a_busy_endpoint_is_asked_again_when_its_report_is_old() {
    let a = saying("a", "Endpoint-Load-Metrics", "TEXT cpu_utilization=1");
    let b = named("b");
    let proxy = Setup::to(&[&a, &b]).pool("policy = \"first\"").start();
    // Two reports a moment apart: the second is good for a second.
    let gate = Gate::new();
    a.set_script({
        let gate = gate.clone();
        move |_| {
            Reply::ok("a")
                .field("Endpoint-Load-Metrics", "TEXT cpu_utilization=1")
                .wait(&gate)
        }
    });
    let load = {
        let mut load = Load::get(proxy.peer(), 2);
        load.threads = 2;
        load.start()
    };
    poll_until("both at a", SOON, || a.in_flight() == 2);
    gate.open();
    load.finish().assert_all_ok();
    assert_eq!(proxy.get("/").text(), "b");
    poll_until("a is asked again", SOON, || proxy.get("/").text() == "a");
}

#[test]
fn who_answers_503_with_retry_after_is_full_until_then_and_never_down() {
    let a = Endpoint::start(|_| Reply::status(503).field("Retry-After", "100"));
    let b = named("b");
    let pool = "policy = \"first\"\noutlier = { consecutive = 1 }";
    let proxy = Setup::to(&[&a, &b]).pool(pool).workers(1).start();
    assert_eq!(proxy.get("/").status, 503);
    for _ in 0..5 {
        assert_eq!(proxy.get("/").text(), "b");
    }
    assert_eq!(proxy.count_down(), 0);
    assert_eq!(load_word(&proxy, 0), "full");
    let entry = &proxy.log(1)[0];
    assert_eq!(entry["attempts"][0]["outcome"], "full");
    let full = proxy.metric("pointsman_endpoint_attempts_total", &["outcome=\"full\""]);
    assert_eq!(full, 1.0);
}

#[test]
fn when_all_are_full_they_are_asked_all_the_same() {
    let a = Endpoint::start(|_| Reply::status(503).field("Retry-After", "100"));
    let proxy = Setup::to(&[&a]).workers(1).start();
    for _ in 0..3 {
        assert_eq!(proxy.get("/").status, 503);
    }
    assert_eq!(a.request_count(), 3);
    assert_eq!(proxy.log(3)[2]["attempts"][0]["why"], "busy");
}

#[test]
fn a_503_without_retry_after_is_a_failure_and_a_429_is_one_clients() {
    let a = Endpoint::start(|_| Reply::status(429).field("Retry-After", "100"));
    let b = named("b");
    let proxy = Setup::to(&[&a, &b])
        .pool("policy = \"first\"\noutlier = { consecutive = 3 }")
        .start();
    for _ in 0..5 {
        assert_eq!(proxy.get("/").status, 429);
    }
    a.set_script(|_| Reply::status(503));
    for _ in 0..3 {
        assert_eq!(proxy.get("/").status, 503);
    }
    proxy.wait_for_down(1);
    assert_eq!(proxy.get("/").text(), "b");

    let chosen = "policy = \"first\"\nfeedback = { full_on = [\"429\"] }";
    a.set_script(|_| Reply::status(429).field("Retry-After", "100"));
    let proxy = Setup::to(&[&a, &b]).pool(chosen).start();
    assert_eq!(proxy.get("/").status, 429);
    assert_eq!(proxy.get("/").text(), "b");
}

#[test]
fn who_says_come_at_once_is_not_full() {
    let a = Endpoint::start(|_| Reply::status(503).field("Retry-After", "0"));
    let proxy = Setup::to(&[&a]).start();
    assert_eq!(proxy.get("/").status, 503);
    let outcome = &proxy.log(1)[0]["attempts"][0]["outcome"];
    assert_eq!(outcome, "server_error");
    assert_eq!(load_word(&proxy, 0), "normal");
}

/// The adaptive policy hears of them; here it matters that they are read at all.
#[test]
fn requests_in_flight_and_latency_in_fields_of_their_own_are_no_trouble() {
    let a = Endpoint::start(|_| {
        Reply::ok("a")
            .field("X-Rif", "7")
            .field("X-Latency-Us", "1500")
    });
    let proxy = Setup::to(&[&a]).start();
    let mut load = Load::get(proxy.peer(), 50);
    load.timeout = Duration::from_secs(5);
    load.run().assert_all_ok();
}
