//! What the admin API answers, and to whom.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::post;
use balance::{
    AdminState, Availability, CheckKind, Evidence, HashKey, LoadReport, StickyBy, StickySettings,
};
use serde_json::{Value, json};
use testkit::{Endpoint, Reply};

use crate::exposition;
use crate::setup::{Setup, http, pool, pool_with};

/// Two pools on one endpoint that is up.
fn setup() -> (Endpoint, Setup) {
    let endpoint = Endpoint::start(|_| Reply::ok(""));
    let setup = Setup::start(vec![
        pool("app", http(), &[endpoint.address()]),
        pool("unchecked", CheckKind::Off, &[endpoint.address()]),
    ]);
    setup.await_availability(0, 0, Availability::Up);
    (endpoint, setup)
}

#[test]
fn status_shows_every_endpoint_with_its_health_and_its_past() {
    let (endpoint, setup) = setup();
    setup.worker.pools[0].endpoints[0].requests.count(200);
    setup.worker.pools[0].endpoints[0].requests.count(503);

    let response = setup.get("/status");
    assert_eq!(response.status, 200);
    assert_eq!(response.field("content-type"), Some("application/json"));
    let mut status: Value = serde_json::from_str(&response.text()).unwrap();
    let address = endpoint.address().to_string();

    let checked = &mut status["pools"][0]["endpoints"][0];
    // What depends on the time of day or on chance is taken out, and has to be there.
    let since = checked["since"].take();
    assert!(since.as_str().unwrap().ends_with('Z'), "{since}");
    assert!(checked["probe_successes_in_row"].take().as_u64().unwrap() >= 1);
    let mut probe = checked["last_probe"].take();
    assert!(probe["time"].take().is_string());
    assert!(probe["latency_seconds"].take().as_f64().unwrap() > 0.0);
    assert_eq!(probe["outcome"], "probe succeeded");
    let mut transition = checked["transitions"].take();
    assert_eq!(transition[0]["time"].take(), since);
    assert_eq!(
        transition,
        json!([{"time": null, "from": "unknown", "to": "up", "cause": "first_probe",
                "evidence": "probe succeeded"}])
    );
    assert_eq!(
        *checked,
        json!({
            "name": address,
            "address": address,
            "tier": 0,
            "weight": 1,
            "effective_weight": 1.0,
            "max_requests": 100,
            "requests_in_flight": 0,
            "requests": 2,
            "admin_state": "ready",
            "availability": "up",
            "state": "up",
            "ejected": false,
            "agent_down": false,
            "load": "normal",
            "since": null,
            "probe_successes_in_row": null,
            "probe_failures_in_row": 0,
            "request_failures_in_row": 0,
            "last_probe": null,
            "transitions": null,
        })
    );

    assert_eq!(status["pools"][0]["name"], "app");
    assert_eq!(status["pools"][0]["policy"], balance::DEFAULT_POLICY);
    assert_eq!(status["pools"][0]["requests_queued"], 0);
    assert_eq!(
        status["pools"][1]["endpoints"][0]["last_probe"],
        Value::Null
    );
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["workers"], 1);
    assert!(status["uptime_seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(
        status["listeners"],
        json!([{"name": "web", "addresses": ["127.0.0.1:8080"]}])
    );
}

#[test]
fn metrics_keep_the_format_and_show_what_workers_and_checks_counted() {
    let (_endpoint, setup) = setup();
    setup.worker.listeners[0].connections_accepted.add(3);
    setup.worker.routes[1].requests.count(204);
    setup.worker.routes[1].failures[1].increment();
    setup.worker.routes[1]
        .total
        .observe(Duration::from_millis(7));
    setup.worker.pools[0].endpoints[0].attempts[0].add(5);

    let response = setup.get("/metrics");
    assert_eq!(
        response.field("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let page = exposition::parse(&response.text());
    let route = ("route", "odd \"name\"\\");
    type Labels<'a> = &'a [(&'a str, &'a str)];
    let expected: [(&str, Labels<'_>, f64); 11] = [
        (
            "pointsman_listener_connections_accepted_total",
            &[("listener", "web")],
            3.0,
        ),
        (
            "pointsman_route_requests_total",
            &[route, ("code", "2xx")],
            1.0,
        ),
        (
            "pointsman_route_failures_total",
            &[route, ("failure", "connection_timeout")],
            1.0,
        ),
        ("pointsman_route_duration_seconds_count", &[route], 1.0),
        ("pointsman_route_duration_seconds_sum", &[route], 0.007),
        (
            "pointsman_endpoint_attempts_total",
            &[("pool", "app"), ("outcome", "ok")],
            5.0,
        ),
        (
            "pointsman_endpoint_state",
            &[("pool", "app"), ("state", "up")],
            1.0,
        ),
        ("pointsman_endpoint_state", &[("pool", "app")], 1.0),
        ("pointsman_endpoint_ejected", &[("pool", "unchecked")], 0.0),
        ("pointsman_workers", &[], 1.0),
        (
            "pointsman_build_info",
            &[("version", env!("CARGO_PKG_VERSION"))],
            1.0,
        ),
    ];
    for (name, labels, value) in expected {
        assert_eq!(page.value(name, labels), value, "{name} {labels:?}");
    }
    assert!(
        page.value(
            "pointsman_endpoint_checks_total",
            &[("outcome", "succeeded")]
        ) >= 1.0
    );
    assert!(page.value("process_cpu_seconds_total", &[]) > 0.0);
    assert!(page.value("process_resident_memory_bytes", &[]) > 100_000.0);
}

#[test]
fn load_slow_start_and_sessions_show_in_status_and_metrics() {
    let endpoint = Endpoint::start(|_| Reply::ok(""));
    let sticky = StickySettings::by(StickyBy::Key(HashKey::ClientIp));
    let pool = pool_with("app", CheckKind::Off, &[endpoint.address()], |settings| {
        settings.sticky = Some(sticky);
    });
    let setup = Setup::start(vec![Arc::clone(&pool)]);
    setup.worker.pools[0].hedges.add(2);
    setup.worker.pools[0].retries.add(3);
    setup.worker.pools[0].sticky_hits.add(4);
    setup.worker.pools[0].sticky_misses.add(5);
    setup.worker.pools[0].circuit_open.add(6);
    let before = exposition::parse(&setup.get("/metrics").text());
    assert!(!before.has("pointsman_endpoint_utilization"));

    let now = Instant::now();
    let report = LoadReport {
        utilization: Some(1.5),
        ..LoadReport::default()
    };
    pool.report_load(0, &report, Duration::from_secs(60), now);
    pool.begin_slow_start(0, now + Duration::from_secs(60));
    pool.set_weight_percent(0, 50);
    pool.set_admin_state(0, AdminState::Drain);
    pool.set_max_requests(0, Some(7));
    pool.learn_session(1, 0, now);
    pool.learn_session(u64::MAX, 0, now);

    let status: Value = serde_json::from_str(&setup.get("/status").text()).unwrap();
    let pool = &status["pools"][0];
    assert_eq!(
        [&pool["retries"], &pool["hedges"], &pool["hedges_won"]],
        [3, 2, 0]
    );
    assert_eq!(
        [
            &pool["sticky_hits"],
            &pool["sticky_misses"],
            &pool["circuit_open"]
        ],
        [4, 5, 6]
    );
    let endpoint = &pool["endpoints"][0];
    assert_eq!(endpoint["load"], "busy");
    assert_eq!(endpoint["utilization"], 1.5);
    assert_eq!(endpoint["slow_start"], 0.1);
    assert_eq!(endpoint["admin_state"], "drain");
    assert_eq!(endpoint["max_requests"], 7);
    assert_eq!(endpoint["sessions"], 2);
    assert!(endpoint.get("drain_seconds_left").is_none(), "{endpoint}");
    let weight = endpoint["effective_weight"].as_f64().unwrap();
    assert!((weight - 0.05).abs() < 0.005, "{weight}");

    let page = exposition::parse(&setup.get("/metrics").text());
    let busy = [("state", "busy")];
    assert_eq!(page.value("pointsman_endpoint_load_state", &busy), 1.0);
    assert_eq!(page.value("pointsman_endpoint_load_state", &[]), 1.0);
    assert_eq!(page.value("pointsman_endpoint_utilization", &[]), 1.5);
    assert_eq!(page.value("pointsman_endpoint_weight", &[]), weight);
    assert_eq!(page.value("pointsman_endpoint_requests_max", &[]), 7.0);
    assert_eq!(page.value("pointsman_pool_queue_lifo", &[]), 0.0);
    assert_eq!(page.value("pointsman_endpoint_sessions", &[]), 2.0);
    assert_eq!(
        page.value("pointsman_endpoint_sessions_cut_total", &[]),
        0.0
    );
    assert!(!page.has("pointsman_endpoint_drain_left_seconds"));
    assert_eq!(page.value("pointsman_pool_hedges_total", &[]), 2.0);
}

#[test]
fn an_ejection_shows_in_metrics() {
    let [first, second] = [(); 2].map(|()| Endpoint::start(|_| Reply::ok("")));
    let both = [first.address(), second.address()];
    let setup = Setup::start(vec![pool("app", CheckKind::Off, &both)]);
    setup.saw(
        0,
        1,
        Evidence::LiveFailures {
            in_row: 5,
            connect_only: true,
        },
    );
    setup.await_event("up → ejected: consecutive failures (5 failed connects in a row)");
    let page = exposition::parse(&setup.get("/metrics").text());
    let name = both[1].to_string();
    let ejections = |cause| {
        let labels = [("endpoint", name.as_str()), ("cause", cause)];
        page.value("pointsman_endpoint_ejections_total", &labels)
    };
    assert_eq!(ejections("consecutive_failures"), 1.0);
    assert_eq!(ejections("success_rate"), 0.0);
}

#[test]
fn the_index_and_the_health_check_answer() {
    let (_endpoint, setup) = setup();
    assert!(setup.get("/").text().contains("/metrics"));
    assert_eq!(setup.get("/healthz").status, 200);
    assert_eq!(setup.get("/nothing").status, 404);
}

#[test]
fn nothing_but_reading_is_allowed() {
    let (_endpoint, setup) = setup();
    for path in ["/", "/healthz", "/metrics", "/status"] {
        for method in ["POST", "PUT", "DELETE"] {
            assert_eq!(
                setup.request(method, path, "localhost").status,
                405,
                "{method} {path}"
            );
        }
    }
}

#[test]
fn a_name_that_anybody_may_point_at_loopback_is_refused() {
    let (_endpoint, setup) = setup();
    let refused = setup.request("GET", "/status", "evil.example:9090");
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("localhost"), "{}", refused.text());
    assert_eq!(
        setup.request("GET", "/status", "localhost:9090").status,
        200
    );
}

#[test]
fn routes_of_others_are_served_and_guarded_too() {
    let extra = Router::new().route("/demo/kill", post(async || "killed"));
    let setup = Setup::start_with(Vec::new(), extra);
    assert_eq!(
        setup.request("POST", "/demo/kill", "127.0.0.1").text(),
        "killed"
    );
    assert_eq!(
        setup.request("POST", "/demo/kill", "evil.example").status,
        403
    );
}
