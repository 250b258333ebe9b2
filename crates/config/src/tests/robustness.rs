//! No input makes it panic, and what it accepts keeps the promises of `Snapshot`.

use std::collections::HashSet;

use balance::Address;
use proptest::prelude::*;

use super::{parse_files, parse_text};
use crate::{Certificates, ListenerProtocol, Loaded, Problems, ProxyVersion, UpstreamProtocol};

const VALID: &str = r#"
workers = 4
admin = { bind = "127.0.0.1:9090" }
access_log.sink = "stdout"
zone = "eu-1a"
secret = { file = "/etc/pointsman/secret" }

[listeners.web]
bind = ["0.0.0.0:8080", "unix:/run/app.sock"]
limits = { head = "32KiB", fields = 100, streams = 100, stream_window = "64KiB" }
h2c = true
proxy_protocol = { from = ["10.0.0.0/8"], header = "optional" }
trusted_proxies = ["10.0.0.0/8", "192.0.2.7"]
socket = { interface = "eth0", backlog = 4096, fast_open = 256, keep_alive = "60s" }

[listeners.plain]
bind = "[::]:8081"
redirect = { https = 8443 }
socket = { dual_stack = true, nodelay = true, user_timeout = "off" }

[listeners.secure]
bind = "0.0.0.0:8443"
http2 = "on"
proxy_protocol = "10.0.0.0/8"
passthrough = [{ sni = ["db.example", "*.db.example"], alpn = "h2", pool = "cache" }]

[listeners.secure.tls]
certificates = [{ cert = "shop.pem", key = "shop.key" }]
policy = "modern"
sni = "strict"
hsts = "365d"
client = { ca = "ca.pem", crl = "crl.pem", certificate = "optional", headers = { san = "x-san" } }

[listeners.database]
bind = "0.0.0.0:5432"
protocol = "tcp"
pool = "database"
timeouts = { idle = "2h", head = "5s" }

[listeners.names]
bind = ["0.0.0.0:53", "[::]:53"]
protocol = "udp"
pool = "names"
udp = { replies = 1, flows = 1000 }

[listeners.any]
bind = "0.0.0.0:9000"
protocol = "detect"
pool = "database"
timeouts = { detect = "300ms" }

[pools.app]
policy = "least_request"
endpoints = ["10.0.0.11:3000", { address = "two.internal:3000", weight = 2 }]
tls = { ca = "ca.pem", name = "app.internal", cert = "own.pem", key = "own.key", verify = "on" }
protocol = "auto"
socket = { source = "10.0.0.5", interface = "eth1", fast_open = true }
check = { http = "/healthz", expect = ["200", "300-399"], interval = "2s" }
outlier = { ejected_max = "50%" }
retry = { attempts = 1, on = ["connect", "502"], body = "64KiB" }
queue = "off"
agent = { tcp = "", port = 9000 }
slow_start = { window = "10s", aggression = 1.5 }
feedback = { headers = "believe", full_on = ["503"] }
concurrency = "adaptive"
circuit = { requests = 5000 }
sticky = { cookie = "route", mode = "strict", bounded_load = 2 }
hedge = { after = "p95", budget = "5%" }
drain = "300s"
panic = "50%"

[pools.cache]
policy = { maglev = { key = { header = "x-user" }, bounded_load = 1.25 } }
endpoints = [{ address = "10.0.0.21:3000", tier = 1, zone = "eu-1a" }]
tls = "off"
proxy_protocol = "v2"
check = { tcp = { send = "PING", expect = "PONG" }, port = 81 }
sticky = { learn = { cookie = "owner" } }

[pools.database]
policy = { rendezvous = { key = "client" } }
endpoints = [{ address = "10.0.0.31:5432", max_connections = 100 }]
check = { protocol = "postgres", interval = "5s" }

[pools.names]
endpoints = ["10.0.0.41:53"]
check = { dns = "app.example", timeout = "500ms" }
proxy_protocol = "v2"

[pools.game]
endpoints = ["10.0.0.51:27015"]
check = { udp = { send = "ping", expect = "pong" } }

[[routes]]
path = "/game/"
pool = "game"

[[routes]]
path = "/static/"
pool = "cache"
retry = "off"
hedge = "on"

[[routes]]
listener = "web"
host = "*.shop.example"
path = "/api/"
pool = "app"
timeouts = { response = "10s", total = "off" }
"#;

/// Renders problems, checks what a snapshot promises.
fn check(result: Result<Loaded, Problems>) {
    let loaded = match result {
        Ok(loaded) => loaded,
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            assert!(!problems.render(false).is_empty() && !problems.render(true).is_empty());
            return;
        }
    };
    let snapshot = loaded.snapshot;
    assert!(!snapshot.listeners.is_empty());
    for listener in &snapshot.listeners {
        assert!(!listener.bind.is_empty());
        assert!(listener.limits.line_bytes <= listener.limits.head_bytes);
        let http2 = &listener.http2_limits;
        assert!(http2.streams > 0 && http2.stream_window <= http2.connection_window);
        assert!(http2.connection_window >= 64 << 10);
        if let Some(tls) = &listener.tls {
            assert!(!matches!(&tls.certificates, Certificates::Files(list) if list.is_empty()));
            assert!(tls.strict_sni || tls.client.is_none());
            assert!(listener.redirect_to_https.is_none());
        }
        assert!(!matches!(&listener.proxy_protocol, Some(header) if header.from.is_empty()));
        assert!(
            listener
                .relay
                .is_none_or(|relay| relay < snapshot.routes.len())
        );
        match listener.protocol {
            ListenerProtocol::Http => assert!(listener.relay.is_none()),
            ListenerProtocol::Tcp => {
                assert!(listener.relay.is_some() || !listener.passthrough.is_empty());
                assert!(!listener.http2);
            }
            ListenerProtocol::Detect { patience } => assert!(!patience.is_zero()),
            ListenerProtocol::Udp(_) => {
                let relay = listener.relay.expect("datagrams go somewhere");
                let pool = &snapshot.pools[snapshot.routes[relay].pool];
                assert!(pool.tls.is_none());
                assert_ne!(pool.proxy_protocol, Some(ProxyVersion::V1));
                assert!(listener.tls.is_none() && listener.passthrough.is_empty());
                let endpoints = pool.endpoints.iter().map(|endpoint| &endpoint.address);
                let mut addresses = listener.bind.iter().chain(endpoints);
                assert!(addresses.all(|address| matches!(address, Address::Tcp(_))));
            }
        }
    }
    for pool in &snapshot.pools {
        let names: HashSet<_> = pool
            .endpoints
            .iter()
            .map(|endpoint| &endpoint.name)
            .collect();
        assert!(!names.is_empty());
        assert_eq!(names.len(), pool.endpoints.len());
        assert!(pool.proxy_protocol.is_none() || pool.protocol == UpstreamProtocol::H1);
    }
    for relay in snapshot
        .listeners
        .iter()
        .filter_map(|listener| listener.relay)
    {
        let pool = &snapshot.pools[snapshot.routes[relay].pool];
        assert_eq!(pool.protocol, UpstreamProtocol::H1);
    }
    for route in &snapshot.routes {
        assert!(route.pool < snapshot.pools.len());
    }
}

/// Pieces that a config is made of.
fn token() -> impl Strategy<Value = &'static str> {
    let mut tokens: Vec<&str> = VALID
        .split_inclusive(['=', ' ', ',', '"', '[', ']'])
        .collect();
    tokens.extend([
        "\n",
        "=",
        ".",
        "'",
        "\"\"\"",
        "{",
        "}",
        "-1",
        "1e9",
        "é",
        "\u{0}",
        "2026-01-01",
    ]);
    proptest::sample::select(tokens)
}

proptest! {
    #[test]
    fn any_text_is_compiled_or_refused(text in "\\PC{0,200}") {
        check(parse_text(&text));
    }

    #[test]
    fn any_sequence_of_tokens_is_compiled_or_refused(
        tokens in proptest::collection::vec(token(), 0..60),
    ) {
        check(parse_text(&tokens.concat()));
    }

    #[test]
    fn a_damaged_config_is_compiled_or_refused(
        cuts in proptest::collection::vec((0..VALID.len(), 0..12_usize, token()), 1..4),
    ) {
        let mut text = VALID.to_owned();
        for (start, length, token) in cuts {
            let start = start.min(text.len());
            let end = (start + length).min(text.len());
            if text.is_char_boundary(start) && text.is_char_boundary(end) {
                text.replace_range(start..end, token);
            }
        }
        check(parse_text(&text));
        check(parse_files(&[("a.toml", &text), ("b.toml", VALID)]));
    }
}

#[test]
fn the_config_that_is_damaged_is_valid() {
    check(Ok(parse_text(VALID).unwrap()));
}

#[test]
fn what_is_left_of_a_file_with_mistakes_always_fits_its_type() {
    // Each value of the file becomes each other kind of value in turn. Were a wrong one left for
    // serde, its own message would show.
    let values = [
        "1",
        "-1",
        "99999999999",
        "1.5",
        "true",
        "'x'",
        "[]",
        "[[]]",
        "{}",
        "{ x = 1 }",
    ];
    let lines: Vec<&str> = VALID.lines().collect();
    let mut tried = 0;
    for index in 0..lines.len() {
        let Some((key, _)) = lines[index].split_once(" = ") else {
            continue;
        };
        for value in values {
            let replaced = format!("{key} = {value}");
            let mut lines = lines.clone();
            lines[index] = &replaced;
            if let Err(problems) = parse_text(&lines.join("\n")) {
                for by_serde in [
                    "invalid ",
                    "missing field",
                    "unknown field",
                    "unknown variant",
                ] {
                    let rendered = problems.render(false);
                    assert!(!rendered.contains(by_serde), "{rendered}");
                }
            }
            tried += 1;
        }
    }
    assert!(tried > 100);
}

#[test]
fn depth_is_bounded() {
    for text in [
        "a.".repeat(100_000) + "a = 1",
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}", "{a=".repeat(100_000)),
        format!("[{}a]", "a.".repeat(100_000)),
    ] {
        check(parse_text(&text));
    }
}
