//! What an operator and a client are told.

use serde_json::Value;
use testkit::{Endpoint, Reply, Step, poll_until};

use crate::harness::{SOON, Setup, greeting, named, proxy_to};

#[test]
fn the_access_log_tells_the_whole_story_of_an_exchange() {
    let endpoint = named("hello");
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send("POST /a?b=1 HTTP/1.1\r\nHost: Shop.example:81\r\nContent-Length: 3\r\n\r\nabc");
    let response = client.read_response();
    let line = &proxy.log(1)[0];
    assert_eq!(line["method"], "POST");
    assert_eq!(line["host"], "Shop.example:81");
    assert_eq!(line["path"], "/a?b=1");
    assert_eq!(line["status"], 200);
    assert_eq!(line["listener"], "web");
    assert_eq!(line["route"], "default");
    assert_eq!(line["pool"], "app");
    assert_eq!(line["endpoint"], endpoint.peer().to_string());
    assert_eq!(line["client"], client.local_address().to_string());
    assert_eq!(
        line["request_id"],
        response.field("x-request-id").unwrap_or_default()
    );
    assert!(line["bytes_received"].as_u64() >= Some(3), "{line}");
    assert!(line["bytes_sent"].as_u64() >= Some(5), "{line}");
    assert!(
        line["failure"].is_null() && line["ended_by"].is_null(),
        "{line}"
    );
    assert!(
        line["time"]
            .as_str()
            .is_some_and(|time| time.ends_with('Z')),
        "{line}"
    );

    let attempts = line["attempts"].as_array().expect("there are attempts");
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0]["endpoint"], line["endpoint"]);
    assert!(attempts[0]["why"].is_string(), "{line}");
    assert_eq!(attempts[0]["outcome"], "ok");
    for phase in ["connect", "first_byte", "total"] {
        assert!(attempts[0][phase].as_f64() >= Some(0.0), "{phase}: {line}");
    }
    let phases = &line["phases"];
    assert!(phases["first_byte"].as_f64() > Some(0.0), "{line}");
    assert!(
        phases["total"].as_f64() >= phases["first_byte"].as_f64(),
        "{line}"
    );
}

#[test]
fn the_access_log_has_every_attempt() {
    let [a, b] = [Endpoint::start(|_| Reply::reset()), named("b")];
    let proxy = Setup::to(&[&a, &b]).pool("policy = \"first\"").start();
    assert_eq!(proxy.get("/").text(), "b");
    let line = &proxy.log(1)[0];
    let attempts = line["attempts"].as_array().expect("there are attempts");
    assert_eq!(attempts.len(), 2, "{line}");
    assert_eq!(attempts[0]["endpoint"], a.peer().to_string());
    assert_ne!(attempts[0]["outcome"], "ok");
    assert_eq!(attempts[1]["endpoint"], b.peer().to_string());
    assert_eq!(line["endpoint"], b.peer().to_string());
    assert_eq!(proxy.metric("pointsman_pool_retries_total", &[]), 1.0);
}

#[test]
fn the_access_log_says_who_ended_an_exchange_and_why() {
    let endpoint = Endpoint::start(|request| match request.target() {
        "/hang" => Reply::hang(),
        "/cut" => Reply::ok("a")
            .field("Content-Length", "9")
            .then(Step::Close),
        _ => Reply::reset(),
    });
    let proxy = Setup::to(&[&endpoint]).pool("outlier = \"off\"").start();
    let mut client = proxy.client();
    client.send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n");
    poll_until("it hangs", SOON, || endpoint.in_flight() == 1);
    client.reset();
    let left = proxy.log(1)[0].clone();
    assert_eq!(left["ended_by"], "client", "{left}");
    assert!(left["ended_in"].is_string(), "{left}");

    proxy.get("/cut");
    let cut = proxy.log(2)[1].clone();
    assert_eq!(cut["ended_by"], "endpoint", "{cut}");
    assert_eq!(cut["status"], 200, "{cut}");

    proxy.get("/reset");
    let reset = proxy.log(3)[2].clone();
    assert_eq!(reset["status"], 502);
    assert_eq!(reset["failure"], "connection_terminated", "{reset}");
}

#[test]
fn a_refused_request_is_logged_too() {
    let endpoint = named("a");
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX : \"y\"\r\n\r\n");
    assert_eq!(client.read_response().status, 400);
    let line = &proxy.log(1)[0];
    assert_eq!(line["status"], 400, "{line}");
    assert!(line["failure"].is_string(), "{line}");
    assert!(
        line["attempts"].as_array().is_none_or(Vec::is_empty),
        "{line}"
    );
    assert_eq!(
        proxy.metric("pointsman_listener_requests_rejected_total", &[]),
        1.0
    );
}

#[test]
fn metrics_count_requests_and_connections() {
    let endpoint = named("a");
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    for _ in 0..3 {
        client.get("/");
    }
    let name = format!("endpoint=\"{}\"", endpoint.peer());
    poll_until("they are counted", SOON, || {
        proxy.metric("pointsman_route_requests_total", &["code=\"2xx\""]) == 3.0
    });
    let endpoint_metric = |metric: &str| proxy.metric(metric, &["pool=\"app\"", &name]);
    assert_eq!(endpoint_metric("pointsman_endpoint_requests_total"), 3.0);
    assert_eq!(
        endpoint_metric("pointsman_endpoint_connections_opened_total"),
        1.0
    );
    assert_eq!(
        endpoint_metric("pointsman_endpoint_connections_reused_total"),
        2.0
    );
    assert_eq!(
        proxy.metric("pointsman_listener_connections_open", &["web"]),
        1.0
    );
    let first_bytes = proxy.metric("pointsman_route_first_byte_seconds_count", &[]);
    assert_eq!(first_bytes, 3.0);
    drop(client);
    poll_until("the client is gone", SOON, || {
        proxy.metric("pointsman_listener_connections_open", &["web"]) == 0.0
    });
}

#[test]
fn what_is_relayed_is_counted_where_requests_are() {
    let endpoint = greeting("a");
    let proxy = Setup::to(&[&endpoint]).relaying("tcp").start();
    for _ in 0..3 {
        assert_eq!(proxy.client().read_bytes(1), b"a");
    }
    let relayed = proxy.metric("pointsman_endpoint_relayed_total", &["pool=\"app\""]);
    assert_eq!(relayed, 3.0);
    assert_eq!(proxy.status()["pools"][0]["endpoints"][0]["requests"], 3);
}

#[test]
fn status_shows_pools_and_endpoints() {
    let [a, b] = [named("a"), named("b")];
    let proxy = Setup::to_tables(&[
        (&a, "name = \"blue\""),
        (&b, "name = \"green\", weight = 2"),
    ])
    .pool("check = { interval = \"100ms\" }")
    .start();
    b.kill();
    poll_until("green is down", SOON, || {
        proxy.get("/");
        proxy.count_down() == 1
    });
    let status = proxy.status();
    let pool = find(&status["pools"], "app");
    let green = find(&pool["endpoints"], "green");
    assert_eq!(green["address"], b.peer().to_string());
    assert_eq!(green["weight"], 2);
    assert!(green["requests_in_flight"].as_u64() == Some(0), "{green}");
    assert!(
        green.to_string().contains("\"cause\""),
        "no events: {green}"
    );
    let blue = find(&pool["endpoints"], "blue");
    assert!(!blue.to_string().contains("\"to\":\"down\""), "{blue}");
}

#[test]
fn a_failure_is_problem_details_with_the_request_id() {
    let endpoint = named("a");
    endpoint.stop_listening();
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n");
    let response = client.read_response();
    assert!(matches!(response.status, 502 | 503), "{}", response.status);
    assert_eq!(
        response.field("content-type"),
        Some("application/problem+json")
    );
    let problem: Value = serde_json::from_str(&response.text()).expect("it is JSON");
    assert_eq!(problem["status"], response.status);
    assert!(problem["title"].is_string(), "{problem}");
    let id = response.field("x-request-id").expect("it has an id");
    assert!(problem.to_string().contains(id), "{problem}");
    let status = response.field("proxy-status").expect("it says why");
    assert!(status.contains("error=connection_refused"), "{status}");
    // The connection survives: the request was fine.
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_response();
}

#[test]
fn a_browser_gets_its_failure_as_html() {
    let endpoint = named("a");
    endpoint.stop_listening();
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send(
        "GET /<script> HTTP/1.1\r\nHost: a\r\n\
         Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n\r\n",
    );
    let response = client.read_response();
    let content_type = response.field("content-type").unwrap_or_default();
    assert!(content_type.starts_with("text/html"), "{content_type}");
    let text = response.text();
    assert!(
        text.contains("<html") && !text.contains("<script>"),
        "{text}"
    );
    assert!(text.contains(response.field("x-request-id").expect("it has an id")));
}

/// Nothing of a head that is not whole may be looked up in it.
#[test]
fn a_browser_that_sends_half_a_head_or_a_bad_one_is_answered() {
    let endpoint = named("a");
    let proxy = Setup::to(&[&endpoint])
        .listener("timeouts = { head = \"200ms\" }")
        .start();
    for (rest, status) in [("Bad Name: x\r\n\r\n", 400), ("", 408)] {
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n");
        client.send(rest);
        assert_eq!(client.read_response().status, status);
        client.expect_close();
    }
    assert_eq!(endpoint.request_count(), 0);
}

#[test]
fn a_failure_of_head_has_no_body() {
    let endpoint = named("a");
    endpoint.stop_listening();
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(client.read_response_to("HEAD").status >= 502);
    }
}

/// The element of a JSON array or object with this name.
fn find<'a>(values: &'a Value, name: &str) -> &'a Value {
    let found = match values {
        Value::Array(values) => values.iter().find(|value| value["name"] == name),
        values => values.get(name),
    };
    found.unwrap_or_else(|| panic!("no {name} in {values}"))
}
