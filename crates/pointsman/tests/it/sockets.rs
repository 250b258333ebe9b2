//! Socket options, as far as the other side sees them.

use testkit::{Endpoint, Reply, get, poll_until};

use crate::harness::{SOON, Setup, named};

#[test]
fn ipv6_with_dual_stack_takes_clients_of_both_families() {
    let endpoint = named("hello");
    let proxy = Setup::to(&[&endpoint])
        .listener("bind = \"[::]:0\"\nsocket = { dual_stack = true }")
        .start();
    let testkit::Peer::Tcp(bound) = proxy.peer() else {
        panic!("a TCP address was bound");
    };
    for (number, ip) in ["127.0.0.1", "[::1]"].iter().enumerate() {
        let address: std::net::SocketAddr = format!("{ip}:{}", bound.port())
            .parse()
            .expect("an address");
        assert_eq!(get(address, "/").text(), "hello");
        let line = &proxy.log(number + 1)[number];
        let client = line["client"].as_str().unwrap_or_default();
        // Not `[::ffff:127.0.0.1]`.
        assert!(client.starts_with(&format!("{ip}:")), "{client}");
    }
}

#[test]
fn requests_and_checks_leave_from_the_address_of_the_pool() {
    let endpoint = Endpoint::start(|_| Reply::ok("hello"));
    let back = Setup::to(&[&endpoint]).start();
    let front = Setup::default()
        .and_to(back.peer())
        .pool("socket = { source = \"127.0.0.2\", interface = \"lo\" }\ncheck = \"/healthz\"")
        .start();
    assert_eq!(front.get("/").text(), "hello");
    poll_until("a check has succeeded", SOON, || {
        front.status()["pools"][0]["endpoints"][0]["state"] == "up"
    });
    let log = back.stop().log();
    for line in log.lines() {
        assert!(line.contains("\"client\":\"127.0.0.2:"), "{line}");
    }
    for path in ["/", "/healthz"] {
        assert!(log.contains(&format!("\"path\":\"{path}\"")), "{log}");
    }
}

#[test]
fn all_options_together_hinder_nobody() {
    let endpoint = named("hello");
    let options = "nodelay = false, keep_alive = \"60s\", user_timeout = \"30s\"";
    let proxy = Setup::to(&[&endpoint])
        .listener(&format!(
            "socket = {{ interface = \"lo\", backlog = 8, fast_open = 16, {options} }}"
        ))
        .pool(&format!("socket = {{ fast_open = true, {options} }}"))
        .start();
    for _ in 0..3 {
        // Each on a connection of its own; the endpoint's is kept.
        assert_eq!(proxy.get("/").text(), "hello");
    }
}

#[test]
fn fast_open_to_nobody_moves_a_request_like_any_refused_connection() {
    let dead = named("dead");
    let alive = named("alive");
    let proxy = Setup::to(&[&dead, &alive])
        .pool("policy = \"first\"\nsocket = { fast_open = true }")
        .start();
    dead.kill();
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.read_response().text(), "alive");
}
