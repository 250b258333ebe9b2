//! Who gets requests and how many: tiers, zones, busy endpoints, slow start, outliers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use testkit::{Endpoint, Load, Outcomes, Reply, poll_until};

use crate::harness::{Proxy, SOON, Setup, named};

/// Checks that notice soon.
const QUICK_CHECK: &str = "check = { http = \"/healthz\", interval = \"50ms\", fall = 2 }";

#[track_caller]
fn answers(proxy: &Proxy, requests: usize) -> BTreeMap<String, usize> {
    let outcomes = Load::get(proxy.peer(), requests).run();
    outcomes.assert_all_ok();
    outcomes.bodies
}

/// What `/status` says about an endpoint of the pool.
fn status(proxy: &Proxy, index: usize) -> Value {
    proxy.status()["pools"][0]["endpoints"][index].take()
}

#[track_caller]
fn wait_for_up(proxy: &Proxy, count: usize) {
    poll_until(&format!("{count} up"), SOON, || {
        let status = proxy.status();
        let endpoints = status["pools"][0]["endpoints"].as_array();
        let up = |endpoint: &&Value| endpoint["availability"] == "up";
        endpoints.into_iter().flatten().filter(up).count() == count
    });
}

#[test]
fn a_backup_serves_only_when_its_primaries_are_down() {
    let [a, b, backup] = ["a", "b", "backup"].map(named);
    let proxy = Setup::to_tables(&[(&a, "tier = 0"), (&b, "tier = 0"), (&backup, "tier = 1")])
        .pool(QUICK_CHECK)
        .pool("policy = \"round_robin\"\nslow_start = \"off\"")
        .start();
    wait_for_up(&proxy, 3);
    let bodies = answers(&proxy, 200);
    assert!(!bodies.contains_key("backup"), "{bodies:?}");

    // One of two bears 0.7 of the requests.
    a.kill();
    proxy.wait_for_down(1);
    let bodies = answers(&proxy, 500);
    assert!(!bodies.contains_key("a"), "{bodies:?}");
    assert!((100..200).contains(&bodies["backup"]), "{bodies:?}");

    b.kill();
    proxy.wait_for_down(2);
    let bodies = answers(&proxy, 100);
    assert_eq!(bodies["backup"], 100);
    assert_eq!(proxy.metric("pointsman_pool_fail_open_total", &[]), 0.0);

    a.listen_again();
    b.listen_again();
    wait_for_up(&proxy, 3);
    let bodies = answers(&proxy, 200);
    assert!(!bodies.contains_key("backup"), "{bodies:?}");
}

#[test]
fn a_backup_takes_what_finds_the_primary_full() {
    let gate = testkit::Gate::new();
    let primary = Endpoint::start({
        let gate = gate.clone();
        move |_| Reply::ok("primary").wait(&gate)
    });
    let backup = named("backup");
    let primary_keys = "tier = 0, max_requests = 1";
    let proxy = Setup::to_tables(&[(&primary, primary_keys), (&backup, "tier = 1")]).start();
    let mut held = proxy.client();
    held.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    proxy.wait_for_in_flight(1);
    assert_eq!(proxy.get("/").text(), "backup");
    gate.open();
    assert_eq!(held.read_response().text(), "primary");
    assert_eq!(proxy.get("/").text(), "primary");
}

#[test]
fn the_own_zone_is_preferred_and_shown() {
    let [near, far] = ["near", "far"].map(named);
    let proxy = Setup::to_tables(&[(&far, "zone = \"far\""), (&near, "zone = \"near\"")])
        .top("zone = \"near\"")
        .pool(QUICK_CHECK)
        .start();
    wait_for_up(&proxy, 2);
    assert_eq!(answers(&proxy, 100)["near"], 100);
    assert_eq!(status(&proxy, 0)["zone"], "far");
    near.kill();
    proxy.wait_for_down(1);
    assert_eq!(answers(&proxy, 100)["far"], 100);
}

#[test]
fn below_the_panic_threshold_endpoints_that_are_down_get_requests_and_the_log_says_so() {
    let unhealthy = |name: &'static str| {
        Endpoint::start(move |request| match request.target() {
            "/healthz" => Reply::status(500),
            _ => Reply::ok(name),
        })
    };
    let [a, b, c] = [unhealthy("a"), unhealthy("b"), named("c")];
    let proxy = Setup::to(&[&a, &b, &c])
        .pool(QUICK_CHECK)
        .pool("panic = \"50%\"\npolicy = \"round_robin\"")
        .start();
    wait_for_up(&proxy, 1);
    proxy.wait_for_down(2);
    let bodies = answers(&proxy, 30);
    assert_eq!(bodies.len(), 3, "{bodies:?}");
    let fail_open = proxy.metric("pointsman_pool_fail_open_total", &[]);
    assert!((15.0..=25.0).contains(&fail_open), "{fail_open}");
}

#[test]
fn a_busy_endpoint_is_relieved_and_never_called_unhealthy() {
    let busy = Endpoint::start(|_| {
        Reply::ok("busy").field("endpoint-load-metrics", "TEXT application_utilization=1.2")
    });
    let idle = Endpoint::start(|_| {
        Reply::ok("idle").field("endpoint-load-metrics", "TEXT application_utilization=0.4")
    });
    let proxy = Setup::to(&[&busy, &idle])
        .pool("policy = \"round_robin\"")
        .start();
    let bodies = answers(&proxy, 200);
    // Those under way before its first report, and some after a report became old.
    assert!(bodies["busy"] <= 30, "{bodies:?}");

    let shown = status(&proxy, 0);
    assert_eq!(shown["load"], "busy");
    assert!((shown["utilization"].as_f64().unwrap_or_default() - 1.2).abs() < 0.01);
    assert_eq!(shown["state"], "up");
    assert_eq!(shown["availability"], "up");
    assert_eq!(shown["ejected"], false);
    assert_eq!(shown["transitions"], serde_json::json!([]));
    let labels = ["state=\"busy\""];
    assert_eq!(proxy.metric("pointsman_endpoint_load_state", &labels), 1.0);

    // With all others gone it still serves: busy is not down.
    idle.kill();
    assert_eq!(proxy.get("/").text(), "busy");
}

#[test]
fn one_that_comes_back_gets_its_share_little_by_little() {
    let [a, b] = ["a", "b"].map(named);
    let proxy = Setup::to(&[&a, &b])
        .pool(QUICK_CHECK)
        .pool("policy = \"round_robin\"\nslow_start = \"2s\"")
        .start();
    wait_for_up(&proxy, 2);
    assert!(status(&proxy, 0)["slow_start"].is_null());
    // `b` has to be warm: in rotation for a whole window.
    paced(&proxy, Duration::from_millis(2200)).assert_all_ok();
    a.kill();
    proxy.wait_for_down(1);
    a.listen_again();
    wait_for_up(&proxy, 2);
    let part = status(&proxy, 0)["slow_start"].as_f64().expect("it ramps");
    assert!(part < 0.9, "{part}");
    let weight = proxy.metric("pointsman_endpoint_weight", &[&format!("{}", a.peer())]);
    assert!(weight < 1.0, "{weight}");

    let before = [a.request_count(), b.request_count()];
    paced(&proxy, Duration::from_secs(1)).assert_all_ok();
    let [of_a, of_b] = [&a, &b].map(Endpoint::request_count);
    let (of_a, of_b) = (of_a - before[0], of_b - before[1]);
    // On average it has some third of what the other one has.
    assert!(of_a * 10 < of_b * 7 && of_a > 5, "{of_a} and {of_b}");

    poll_until("its slow start is over", SOON, || {
        status(&proxy, 0)["slow_start"].is_null()
    });
    let bodies = answers(&proxy, 100);
    assert!((40..=60).contains(&bodies["a"]), "{bodies:?}");
}

/// A hundred requests a second for this long.
fn paced(proxy: &Proxy, time: Duration) -> Outcomes {
    let mut load = Load::get(proxy.peer(), time.as_millis() as usize / 10);
    load.threads = 4;
    load.every = Some(Duration::from_millis(40));
    load.run()
}

#[test]
fn one_that_fails_every_other_request_is_ejected_by_its_success_rate() {
    let well: Vec<Endpoint> = (0..5).map(|_| named("well")).collect();
    let count = AtomicUsize::new(0);
    let flaky = Endpoint::start(move |_| match count.fetch_add(1, Ordering::Relaxed) % 2 {
        0 => Reply::status(500),
        _ => Reply::ok("flaky"),
    });
    let endpoints: Vec<&Endpoint> = well.iter().chain([&flaky]).collect();
    let proxy = Setup::to(&endpoints)
        .pool("policy = \"round_robin\"\noutlier = { success_rate = { interval = \"1s\" } }")
        .start();
    let flaky_name = format!("endpoint=\"{}\"", flaky.peer());
    let by_rate = [flaky_name.as_str(), "cause=\"success_rate\""];
    poll_until("the flaky one is ejected", SOON, || {
        Load::get(proxy.peer(), 120).run();
        proxy.metric("pointsman_endpoint_ejections_total", &by_rate) > 0.0
    });
    let all = proxy.metric("pointsman_endpoint_ejections_total", &[]);
    let of_flaky = proxy.metric("pointsman_endpoint_ejections_total", &[&flaky_name]);
    assert_eq!(all, of_flaky, "nobody else is");
}
