//! Whom the control thread asks about endpoints, from the config to the requests: agents, load
//! probes, checks that look into answers.

use std::sync::{Arc, Mutex};

use testkit::{Endpoint, Reply, Script, Step, poll_until};

use crate::harness::{SOON, Setup, named};

/// Answers requests with its name, and `/load` with what it is told to.
fn telling(name: &'static str) -> (Endpoint, Arc<Mutex<&'static str>>) {
    let load = Arc::new(Mutex::new("0"));
    let told = Arc::clone(&load);
    let endpoint = Endpoint::start(move |request| match request.target() {
        "/load" => Reply::ok(*told.lock().expect("no holder panics")),
        _ => Reply::ok(name),
    });
    (endpoint, load)
}

#[test]
fn an_endpoint_whose_agent_says_full_is_relieved_and_stays_healthy() {
    let ((a, load), b) = (telling("a"), named("b"));
    let keys = "policy = \"first\"\nagent = { http = \"/load\", interval = \"100ms\" }";
    let proxy = Setup::to(&[&a, &b]).pool(keys).start();
    assert_eq!(proxy.get("/").text(), "a");
    *load.lock().unwrap() = "100%";
    poll_until("a is relieved", SOON, || proxy.get("/").text() == "b");
    assert_eq!(proxy.count_down(), 0);
    *load.lock().unwrap() = "99%";
    poll_until("a is back", SOON, || proxy.get("/").text() == "a");
}

#[test]
fn an_agent_drains_takes_out_and_gives_back() {
    let words = Arc::new(Mutex::new("ready up\n"));
    let said = Arc::clone(&words);
    let agent = Endpoint::with_script(Script::new(|_| Reply::hang()).on_connect(move |_| {
        let words = *said.lock().expect("no holder panics");
        vec![Step::Send(words.into()), Step::Close]
    }));
    let a = named("a");
    let port = agent.address().port();
    let keys = format!("agent = {{ tcp = \"\", port = {port}, interval = \"100ms\" }}");
    let proxy = Setup::to(&[&a]).pool(&keys).start();
    for (word, status) in [
        ("drain\n", 503),
        ("ready\n", 200),
        ("maint\n", 503),
        ("ready\n", 200),
    ] {
        *words.lock().unwrap() = word;
        poll_until(word, SOON, || proxy.get("/").status == status);
    }
    *words.lock().unwrap() = "down # for the night\n";
    poll_until("it is down", SOON, || proxy.count_down() == 1);
    // The only endpoint of its pool: requests go there all the same.
    assert_eq!(proxy.get("/").status, 200);
    *words.lock().unwrap() = "up\n";
    poll_until("it is up", SOON, || proxy.count_down() == 0);
}

#[test]
fn load_probes_are_made_while_requests_come() {
    let (a, load) = telling("a");
    *load.lock().unwrap() = r#"{"utilization": 0.5, "in_flight": 3, "latency_us": 900}"#;
    let keys = "policy = { adaptive = { probe = { path = \"/load\", per_request = 1.0 } } }";
    let proxy = Setup::to(&[&a]).pool(keys).start();
    let probes = || {
        let is_probe = |request: &testkit::Received| request.head.word(1) == "/load";
        a.requests()
            .iter()
            .filter(|request| is_probe(request))
            .count()
    };
    for count in 1..=5 {
        proxy.get("/");
        poll_until("a probe", SOON, || probes() >= count);
        assert_eq!(probes(), count, "at most one for each request");
    }
    let utilization = proxy.status()["pools"][0]["endpoints"][0]["utilization"].as_f64();
    assert_eq!(utilization, Some(0.5));
}

#[test]
fn an_endpoint_that_answers_without_being_ready_is_out() {
    let answering = |body: &'static str| {
        Endpoint::start(move |request| match request.target() {
            "/ready" => Reply::ok(body),
            _ => Reply::ok(body).field("X-Endpoint", body),
        })
    };
    let (starting, ready) = (answering("starting"), answering("ready"));
    let keys = "check = { http = \"/ready\", body = \"ready\", headers = { X-Check = \"1\" }, \
                interval = \"100ms\" }\npolicy = \"first\"";
    let proxy = Setup::to(&[&starting, &ready]).pool(keys).start();
    poll_until("one is out", SOON, || proxy.count_down() == 1);
    for _ in 0..5 {
        assert_eq!(proxy.get("/").text(), "ready");
    }
    let probe = starting.requests().remove(0);
    assert_eq!(probe.head.field("x-check"), Some("1"));
}
