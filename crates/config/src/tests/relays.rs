//! TCP, UDP and TLS passthrough: what configs mean, and what is said of mistakes.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use balance::{Check, CheckKind, HashKey, StickyBy};
use insta::assert_snapshot;

use super::{loaded, parse_text};
use crate::{Listener, ListenerProtocol, Loaded, Pool, Route, Snapshot, UdpSettings, from_flags};

/// A config without a warning.
fn snapshot(text: &str) -> Snapshot {
    let Loaded { snapshot, warnings } = loaded(text);
    assert!(warnings.is_empty(), "{warnings}");
    snapshot
}

fn mistakes(text: &str) -> String {
    parse_text(text)
        .expect_err("the config has mistakes")
        .render(false)
}

fn warnings(text: &str) -> String {
    loaded(text).warnings.render(false)
}

fn listener<'a>(snapshot: &'a Snapshot, name: &str) -> &'a Listener {
    let mut listeners = snapshot.listeners.iter();
    let found = listeners.find(|listener| *listener.name == *name);
    found.expect("there is such a listener")
}

/// The names of routes and of the pools where they lead.
fn led(snapshot: &Snapshot) -> Vec<String> {
    let led = |route: &Route| {
        let pool = &snapshot.pools[route.pool].settings.name;
        format!("{} to {pool}", route.name)
    };
    snapshot.routes.iter().map(led).collect()
}

/// A listener of this protocol with these keys, and the pool `app` with those.
fn relay(protocol: &str, listener: &str, pool: &str) -> String {
    format!(
        "[listeners.any]\nbind = ':5000'\nprotocol = '{protocol}'\npool = 'app'\n{listener}\n\
         [pools.app]\nendpoints = ['10.0.0.1:5000']\n{pool}"
    )
}

fn udp_pool(keys: &str) -> Pool {
    snapshot(&relay("udp", "", keys)).pools.remove(0)
}

const EMPTY_DATAGRAM: fn() -> CheckKind = || CheckKind::Udp {
    send: Box::default(),
    expect: None,
};

#[test]
fn a_relay_is_a_route_behind_those_of_the_file() {
    let snapshot = snapshot(
        r#"
        [listeners.database]
        bind = ":5432"
        protocol = "tcp"
        pool = "database"
        [listeners.names]
        bind = ":53"
        protocol = "udp"
        pool = "names"
        udp = { replies = 1, flows = 1000 }
        [listeners.web]
        bind = ":8080"
        [pools.app]
        endpoints = ["10.0.0.1:80"]
        [pools.database]
        endpoints = [{ address = "10.0.0.2:5432", max_connections = 100 }]
        retry = { attempts = 3 }
        timeouts = { connect = "1s", tunnel = "8h" }
        [pools.names]
        endpoints = ["10.0.0.3:53"]
        timeouts = { tunnel = "8h" }
        [[routes]]
        pool = "app"
        "#,
    );
    assert_eq!(
        led(&snapshot),
        ["default to app", "database to database", "names to names"]
    );
    let database = listener(&snapshot, "database");
    assert_eq!(database.protocol, ListenerProtocol::Tcp);
    assert_eq!(database.relay, Some(1));
    assert!(database.passthrough.is_empty());
    assert!(!database.http2);
    assert_eq!(database.routes.find(b"any", b"/"), None);
    let route = &snapshot.routes[1];
    assert_eq!(route.timeouts.connect, Duration::from_secs(1));
    assert_eq!(route.timeouts.tunnel, Duration::from_secs(8 * 3600));
    assert_eq!(route.retry.attempts, 3);
    assert!(route.hedge.is_none() && route.upgrades.is_empty());
    let bound = snapshot.pools[1].endpoints[0].max_requests;
    assert_eq!(bound, NonZeroU32::new(100));

    let names = listener(&snapshot, "names");
    assert_eq!(
        names.protocol,
        ListenerProtocol::Udp(UdpSettings {
            replies: NonZeroU32::new(1),
            flows_max: NonZeroUsize::new(1000).unwrap(),
        })
    );
    assert_eq!(names.relay, Some(2));
    // What a pool says of tunnels is about connections.
    assert_eq!(snapshot.routes[2].timeouts.tunnel, Duration::from_secs(30));

    let web = listener(&snapshot, "web");
    assert_eq!(web.protocol, ListenerProtocol::Http);
    assert_eq!(web.relay, None);
    assert_eq!(web.routes.find(b"any", b"/"), Some(0));
}

#[test]
fn flows_have_defaults() {
    for keys in ["", "udp = {}"] {
        let snapshot = snapshot(&relay("udp", keys, ""));
        let settings = UdpSettings {
            replies: None,
            flows_max: NonZeroUsize::new(65_536).unwrap(),
        };
        assert_eq!(
            snapshot.listeners[0].protocol,
            ListenerProtocol::Udp(settings)
        );
    }
}

#[test]
fn what_is_relayed_has_an_idle_time_of_its_listener() {
    for (protocol, keys, seconds) in [
        ("tcp", "", 3600),
        ("tcp", "timeouts.idle = '5m'", 300),
        ("udp", "", 30),
        ("udp", "timeouts.idle = '5m'", 300),
        // Between two requests.
        ("detect", "timeouts.idle = '5m'", 3600),
    ] {
        let snapshot = snapshot(&relay(protocol, keys, ""));
        let relay = snapshot.listeners[0].relay.expect("it relays");
        let tunnel = snapshot.routes[relay].timeouts.tunnel;
        assert_eq!(tunnel, Duration::from_secs(seconds), "{protocol} {keys}");
    }
}

#[test]
fn a_listener_that_detects_has_requests_and_a_relay() {
    for (keys, patience) in [
        ("", Duration::from_secs(1)),
        ("timeouts.detect = '300ms'", Duration::from_millis(300)),
    ] {
        let snapshot = snapshot(&relay("detect", keys, ""));
        let listener = &snapshot.listeners[0];
        assert_eq!(listener.protocol, ListenerProtocol::Detect { patience });
        assert_eq!(listener.routes.find(b"any", b"/"), Some(0));
        assert_eq!(led(&snapshot), ["default to app", "any to app"]);
    }
    // HTTP and HTTPS on one port, and nothing else.
    let snapshot = snapshot(
        "listeners.web = { bind = ':8080', protocol = 'detect', tls = 'self-signed' }\n\
         pools.app.endpoints = ['10.0.0.1:80']",
    );
    assert_eq!(snapshot.listeners[0].relay, None);
    assert_eq!(led(&snapshot), ["default to app"]);
}

#[test]
fn tls_is_passed_on_by_name_and_by_protocol() {
    let snapshot = snapshot(
        r#"
        [listeners.secure]
        bind = ":443"
        tls = "self-signed"
        passthrough = [
            { sni = "db.example", pool = "database" },
            { sni = ["*.git.example", "Git.example"], pool = "git" },
            { sni = "db.example", alpn = ["h2", "http/1.1"], pool = "git" },
            { alpn = "acme-tls/1", pool = "acme" },
        ]
        [pools.acme]
        endpoints = ["10.0.0.1:443"]
        [pools.app]
        endpoints = ["10.0.0.2:80"]
        [pools.database]
        endpoints = ["10.0.0.3:443"]
        [pools.git]
        endpoints = ["10.0.0.4:443"]
        timeouts = { tunnel = "10m" }
        "#,
    );
    assert_eq!(
        led(&snapshot),
        [
            "default to app",
            "secure/db.example to database",
            "secure/*.git.example to git",
            "secure/Git.example to git",
            "secure/db.example/h2 to git",
            "secure/db.example/http/1.1 to git",
            "secure/*/acme-tls/1 to acme",
        ]
    );
    let listener = &snapshot.listeners[0];
    assert_eq!(
        (&listener.protocol, listener.relay),
        (&ListenerProtocol::Http, None)
    );
    for (name, offered, route) in [
        ("db.example", "", Some(1)),
        ("a.git.example", "h2", Some(2)),
        ("git.example", "h2", Some(3)),
        ("db.example", "h2", Some(4)),
        ("db.example", "http/1.1", Some(5)),
        ("shop.example", "acme-tls/1", Some(6)),
        ("", "acme-tls/1", Some(6)),
        ("shop.example", "h2", None),
    ] {
        let found = listener
            .passthrough
            .find(name.as_bytes(), |protocol| protocol == offered.as_bytes());
        assert_eq!(found, route, "{name} {offered}");
    }
    assert_eq!(snapshot.routes[2].timeouts.tunnel, Duration::from_secs(600));
}

#[test]
fn a_listener_that_detects_demands_no_certificates() {
    let text = |certificate: &str| {
        format!(
            "[listeners.all]\nbind = ':443'\nprotocol = 'detect'\n\
             tls = {{ cert = 'shop.pem', key = 'shop.key', \
             client = {{ ca = 'ca.pem'{certificate} }} }}\n\
             [pools.app]\nendpoints = ['10.0.0.1:443']"
        )
    };
    assert!(mistakes(&text("")).contains("show no certificate"));
    assert!(mistakes(&text(", certificate = 'required'")).contains("show no certificate"));
    snapshot(&text(", certificate = 'optional'"));
}

#[test]
fn a_listener_of_tcp_may_pass_on_some_names_and_nothing_else() {
    let text = "[listeners.secure]\nbind = ':443'\nprotocol = 'tcp'\n\
                passthrough = [{ sni = 'a.example', pool = 'app' }]\ntimeouts.idle = '1m'\n\
                [pools.app]\nendpoints = ['10.0.0.1:443']";
    let snapshot = snapshot(text);
    assert_eq!(snapshot.listeners[0].relay, None);
    assert_eq!(led(&snapshot), ["secure/a.example to app"]);
    assert_eq!(snapshot.routes[0].timeouts.tunnel, Duration::from_secs(60));
}

#[test]
fn without_routes_requests_go_to_the_pool_that_is_left() {
    let tcp = "listeners.t = { bind = ':1', protocol = 'tcp', pool = 'b' }\n";
    let udp = "listeners.u = { bind = ':1', protocol = 'udp', pool = 'c' }\n";
    let web = "listeners.w.bind = ':2'\n";
    let both = "listeners.w = { bind = ':2', protocol = 'detect', pool = 'b' }\n";
    let passing = "listeners.w = { bind = ':2', tls = 'self-signed', \
                   passthrough = [{ sni = 'x', pool = 'b' }] }\n";
    for (listeners, pools, led_to) in [
        (&[web][..], "a", &["default to a"][..]),
        (&[tcp], "b", &["t to b"]),
        (&[tcp, udp], "bc", &["t to b", "u to c"]),
        (&[tcp, web], "ab", &["default to a", "t to b"]),
        (
            &[tcp, udp, web],
            "abc",
            &["default to a", "t to b", "u to c"],
        ),
        (&[both], "ab", &["default to a", "w to b"]),
        (&[passing], "ab", &["default to a", "w/x to b"]),
        // The only one takes everything.
        (&[tcp, web], "b", &["default to b", "t to b"]),
        (&[both], "b", &["default to b", "w to b"]),
        (&[passing], "b", &["default to b", "w/x to b"]),
    ] {
        let mut text = listeners.concat();
        for pool in pools.chars() {
            text += &format!("pools.{pool}.endpoints = ['10.0.0.1:80']\n");
        }
        assert_eq!(led(&snapshot(&text)), led_to, "{text}");
    }
}

#[test]
fn without_routes_requests_must_know_where_to_go() {
    assert_snapshot!(mistakes(r#"
listeners.web.bind = ":8080"
listeners.tcp = { bind = ":1", protocol = "tcp", pool = "database" }
pools.app.endpoints = ["10.0.0.1:80"]
pools.database.endpoints = ["10.0.0.1:80"]
pools.other.endpoints = ["10.0.0.1:80"]
"#), @r##"
    error: with several pools, routes say which takes what
     --> pointsman.toml:4:7
      |
    4 | pools.app.endpoints = ["10.0.0.1:80"]
      |       ^^^
      |
      = help: add [[routes]] with pool = "…" for each pool
    "##);
    assert_snapshot!(warnings(r#"
listeners.web.bind = ":8080"
listeners.tcp = { bind = ":1", protocol = "tcp", pool = "database" }
listeners.udp = { bind = ":1", protocol = "udp", pool = "names" }
pools.database.endpoints = ["10.0.0.1:80"]
pools.names.endpoints = ["10.0.0.1:80"]
"#), @r##"
    warning: no route takes requests from listener `web`
     --> pointsman.toml:2:11
      |
    2 | listeners.web.bind = ":8080"
      |           ^^^
      |
      = help: every request is answered with 404
    "##);
    assert_snapshot!(warnings(r#"
listeners.tcp = { bind = ":1", protocol = "tcp", pool = "database" }
pools.database.endpoints = ["10.0.0.1:80"]
pools.spare.endpoints = ["10.0.0.1:80"]
"#), @r##"
    warning: no route leads to pool `spare`
     --> pointsman.toml:4:7
      |
    4 | pools.spare.endpoints = ["10.0.0.1:80"]
      |       ^^^^^
    "##);
}

#[test]
fn tcp_and_udp_share_ports_and_others_do_not() {
    let text = r#"
listeners.a = { bind = ":53", protocol = "udp", pool = "names" }
listeners.b = { bind = ":53", protocol = "tcp", pool = "names" }
pools.names = { endpoints = ["10.0.0.1:53"], check = "dns" }
"#;
    assert_eq!(led(&snapshot(text)), ["a to names", "b to names"]);
    let more = r#"
listeners.c = { bind = ":53", protocol = "detect", pool = "names" }
listeners.d = { bind = [":53", "unix:/run/dns.sock"], protocol = "udp", pool = "names" }
"#;
    assert_snapshot!(mistakes(&format!("{text}{more}")), @r##"
    error: `0.0.0.0:53` is listened on twice
     --> pointsman.toml:6:24
      |
    3 | listeners.b = { bind = ":53", protocol = "tcp", pool = "names" }
      |                        ----- first here
    ...
    6 | listeners.c = { bind = ":53", protocol = "detect", pool = "names" }
      |                        ^^^^^

    error: `0.0.0.0:53` is listened on twice
     --> pointsman.toml:7:25
      |
    2 | listeners.a = { bind = ":53", protocol = "udp", pool = "names" }
      |                        ----- first here
    ...
    7 | listeners.d = { bind = [":53", "unix:/run/dns.sock"], protocol = "udp", pool = "names" }
      |                         ^^^^^

    error: a Unix socket takes no datagrams here
     --> pointsman.toml:7:32
      |
    7 | listeners.d = { bind = [":53", "unix:/run/dns.sock"], protocol = "udp", pool = "names" }
      |                                ^^^^^^^^^^^^^^^^^^^^
      |
      = help: write an address and a port
    "##);
}

#[test]
fn datagrams_are_checked_by_one() {
    let check = |keys: &str| udp_pool(keys).settings.check;
    assert_eq!(
        check(""),
        Check {
            kind: EMPTY_DATAGRAM(),
            ..Check::default()
        }
    );
    let slow = check("check = { interval = '10s', port = 99 }");
    assert_eq!(slow.kind, EMPTY_DATAGRAM());
    assert_eq!(slow.interval, Duration::from_secs(10));
    assert_eq!(check("check = 'off'").kind, CheckKind::Off);
    assert_eq!(
        check("check = { protocol = 'dns' }").kind,
        CheckKind::Dns { name: None }
    );
    let by_http = check("check = { http = '/up', port = 8080 }");
    assert!(matches!(by_http.kind, CheckKind::Http { .. }));

    // Where connections go too, endpoints are asked for one.
    let shared = relay("udp", "", "");
    for other in [
        "[listeners.tcp]\nbind = ':1'\nprotocol = 'tcp'\npool = 'app'",
        "[listeners.web]\nbind = ':2'",
    ] {
        let snapshot = snapshot(&format!("{shared}\n{other}"));
        assert_eq!(snapshot.pools[0].settings.check.kind, CheckKind::Tcp);
    }
}

#[test]
fn checks_speak_what_servers_speak() {
    let udp = |send: &[u8], expect: Option<&[u8]>| CheckKind::Udp {
        send: send.into(),
        expect: expect.map(Into::into),
    };
    let dns = |name: Option<&str>| CheckKind::Dns {
        name: name.map(Into::into),
    };
    for (text, kind) in [
        ("'redis'", CheckKind::Redis),
        ("'postgres'", CheckKind::Postgres),
        ("'mysql'", CheckKind::Mysql),
        ("'smtp'", CheckKind::Smtp),
        ("'dns'", dns(None)),
        ("'udp'", udp(b"", None)),
        ("{ protocol = 'redis' }", CheckKind::Redis),
        ("{ protocol = 'udp' }", udp(b"", None)),
        ("{ dns = '' }", dns(None)),
        ("{ dns = 'app.example.' }", dns(Some("app.example."))),
        ("{ udp = {} }", udp(b"", None)),
        (
            "{ udp = { send = 'ping', expect = 'pong' } }",
            udp(b"ping", Some(b"pong")),
        ),
    ] {
        // Both kinds of traffic go there, so that no kind of check is odd.
        let text = format!(
            "{}\n[listeners.tcp]\nbind = ':1'\nprotocol = 'tcp'\npool = 'app'",
            relay("udp", "", &format!("check = {text}"))
        );
        let pool = snapshot(&text).pools.remove(0);
        assert_eq!(pool.settings.check.kind, kind, "{text}");
    }
    let check = udp_pool("check = { dns = 'a', interval = '9s', fall = 1, port = 53 }");
    let check = check.settings.check;
    assert_eq!(check.interval, Duration::from_secs(9));
    assert_eq!((check.fall.get(), check.port), (1, Some(53)));
}

#[test]
fn clients_are_the_key_of_what_is_relayed() {
    let key = |keys: &str| udp_pool(keys).settings.policy.key;
    assert_eq!(
        key("policy = { maglev = { key = 'client' } }"),
        HashKey::ClientAddress
    );
    assert_eq!(
        key("policy = { maglev = { key = 'client_ip' } }"),
        HashKey::ClientIp
    );
    assert_eq!(key("policy = 'rendezvous'"), HashKey::ClientIp);
    let sticky = udp_pool("sticky = { key = 'client_ip' }").settings.sticky;
    let by = sticky.expect("it is sticky").by;
    assert_eq!(by, StickyBy::Key(HashKey::ClientIp));
}

#[test]
fn a_relay_leads_to_a_pool() {
    assert_snapshot!(mistakes(r#"
listeners.a = { bind = ":1", protocol = "tcp" }
listeners.b = { bind = ":2", protocol = "udp" }
listeners.c = { bind = ":3", protocol = "detect" }
listeners.d = { bind = ":4", pool = "app" }
listeners.e = { bind = ":5", protocol = "tcp", pool = "ap" }
listeners.f = { bind = ":6", protocol = "tcp", tls = "self-signed", passthrough = [{ sni = "a", pool = "app" }] }
listeners.g = { bind = ":7", protocol = "tcp", passthrough = [{ sni = "a", pool = "apps" }] }
listeners.h = { bind = ":8", protocol = "tcp", passthrough = [] }
pools.app.endpoints = ["10.0.0.1:80"]
"#), @r##"
    error: `pool` is missing
     --> pointsman.toml:2:11
      |
    2 | listeners.a = { bind = ":1", protocol = "tcp" }
      |           ^
      |
      = help: `pool` names the pool that takes connections

    error: `pool` is missing
     --> pointsman.toml:3:11
      |
    3 | listeners.b = { bind = ":2", protocol = "udp" }
      |           ^
      |
      = help: `pool` names the pool that takes datagrams

    error: `pool` is missing
     --> pointsman.toml:4:11
      |
    4 | listeners.c = { bind = ":3", protocol = "detect" }
      |           ^
      |
      = help: `pool` names the pool that takes what is not HTTP

    error: `pool` is for what is not understood, and this listener speaks HTTP
     --> pointsman.toml:5:37
      |
    5 | listeners.d = { bind = ":4", pool = "app" }
      |                                     ^^^^^
      |
      = help: a route leads to a pool; or add protocol = "tcp"

    error: there is no pool `ap`
     --> pointsman.toml:6:55
      |
    6 | listeners.e = { bind = ":5", protocol = "tcp", pool = "ap" }
      |                                                       ^^^^
      |
      = help: did you mean `app`?

    error: `pool` is missing
     --> pointsman.toml:7:11
      |
    7 | listeners.f = { bind = ":6", protocol = "tcp", tls = "self-signed", passthrough = [{ sni = "a", pool = "app" }] }
      |           ^
      |
      = help: `pool` names the pool that takes what is inside TLS

    error: there is no pool `apps`
     --> pointsman.toml:8:83
      |
    8 | listeners.g = { bind = ":7", protocol = "tcp", passthrough = [{ sni = "a", pool = "apps" }] }
      |                                                                                   ^^^^^^
      |
      = help: did you mean `app`?

    error: `pool` is missing
     --> pointsman.toml:9:11
      |
    9 | listeners.h = { bind = ":8", protocol = "tcp", passthrough = [] }
      |           ^
      |
      = help: `pool` names the pool that takes connections
    "##);
}

#[test]
fn what_is_missing_from_a_broken_listener_is_not_a_second_mistake() {
    assert_snapshot!(mistakes(r#"
listeners.a = { bind = ":1", protocol = "tpc", pool = "app" }
listeners.b = { bind = ":2", protocol = "udp", pol = "app" }
listeners.c = { bind = ":3", protocol = "udp", pool = "app", udp = { reply = 1, flows = 0 } }
pools.app.endpoints = ["10.0.0.1:80"]
"#), @r##"
    error: `tpc` is no value of `protocol`
     --> pointsman.toml:2:41
      |
    2 | listeners.a = { bind = ":1", protocol = "tpc", pool = "app" }
      |                                         ^^^^^
      |
      = help: did you mean `tcp`?

    error: unknown key `pol`
     --> pointsman.toml:3:48
      |
    3 | listeners.b = { bind = ":2", protocol = "udp", pol = "app" }
      |                                                ^^^
      |
      = help: did you mean `pool`?

    error: unknown key `reply`
     --> pointsman.toml:4:70
      |
    4 | listeners.c = { bind = ":3", protocol = "udp", pool = "app", udp = { reply = 1, flows = 0 } }
      |                                                                      ^^^^^
      |
      = help: did you mean `replies`?

    error: 0 is out of range, 1 to 16777216
     --> pointsman.toml:4:89
      |
    4 | listeners.c = { bind = ":3", protocol = "udp", pool = "app", udp = { reply = 1, flows = 0 } }
      |                                                                                         ^
    "##);
}

#[test]
fn keys_go_with_what_is_spoken() {
    assert_snapshot!(mistakes(r#"
[listeners.http]
bind = ":1"
udp = { replies = 1 }
timeouts = { detect = "1s" }

[listeners.tcp]
bind = ":2"
protocol = "tcp"
pool = "app"
http2 = "off"
h2c = true
limits = { head = "1KiB" }
redirect = "https"
trusted_proxies = "10.0.0.0/8"
udp = { replies = 1 }
timeouts = { body = "1s", detect = "1s" }

[listeners.tcp.tls]
cert = "a.pem"
key = "a.key"
hsts = "1d"
sni = "strict"
client = { ca = "ca.pem", headers = { san = "x-san" } }

[listeners.udp]
bind = ":3"
protocol = "udp"
pool = "app"
tls = "self-signed"
passthrough = [{ sni = "a.example", pool = "app" }]
proxy_protocol = ["10.0.0.0/8"]
timeouts = { head = "1s" }

[listeners.udp.socket]
backlog = 1
fast_open = 1
nodelay = true
keep_alive = "1m"
user_timeout = "1m"

[pools.app]
endpoints = ["10.0.0.1:80"]
"#), @r##"
    error: `udp` is for UDP
     --> pointsman.toml:4:7
      |
    4 | udp = { replies = 1 }
      |       ^^^^^^^^^^^^^^^

    error: `detect` is for protocol = "detect"
     --> pointsman.toml:5:23
      |
    5 | timeouts = { detect = "1s" }
      |                       ^^^^

    error: `http2` is for HTTP
      --> pointsman.toml:11:9
       |
     9 | protocol = "tcp"
       |            ----- what is spoken here
    10 | pool = "app"
    11 | http2 = "off"
       |         ^^^^^

    error: `h2c` is for HTTP
      --> pointsman.toml:12:7
       |
     9 | protocol = "tcp"
       |            ----- what is spoken here
    ...
    12 | h2c = true
       |       ^^^^

    error: `limits` is for HTTP
      --> pointsman.toml:13:10
       |
     9 | protocol = "tcp"
       |            ----- what is spoken here
    ...
    13 | limits = { head = "1KiB" }
       |          ^^^^^^^^^^^^^^^^^

    error: `redirect` is for HTTP
      --> pointsman.toml:14:12
       |
     9 | protocol = "tcp"
       |            ----- what is spoken here
    ...
    14 | redirect = "https"
       |            ^^^^^^^

    error: `trusted_proxies` is for HTTP
      --> pointsman.toml:15:19
       |
     9 | protocol = "tcp"
       |            ----- what is spoken here
    ...
    15 | trusted_proxies = "10.0.0.0/8"
       |                   ^^^^^^^^^^^^

    error: `udp` is for UDP
      --> pointsman.toml:16:7
       |
     9 | protocol = "tcp"
       |            ----- what is spoken here
    ...
    16 | udp = { replies = 1 }
       |       ^^^^^^^^^^^^^^^

    error: `body` is for HTTP
      --> pointsman.toml:17:21
       |
     9 | protocol = "tcp"
       |            ----- what is spoken here
    ...
    17 | timeouts = { body = "1s", detect = "1s" }
       |                     ^^^^

    error: `detect` is for protocol = "detect"
      --> pointsman.toml:17:36
       |
     9 | protocol = "tcp"
       |            ----- what is spoken here
    ...
    17 | timeouts = { body = "1s", detect = "1s" }
       |                                    ^^^^

    error: `hsts` is for HTTP
      --> pointsman.toml:22:8
       |
     9 | protocol = "tcp"
       |            ----- what is spoken here
    ...
    22 | hsts = "1d"
       |        ^^^^

    error: `sni` is for HTTP
      --> pointsman.toml:23:7
       |
     9 | protocol = "tcp"
       |            ----- what is spoken here
    ...
    23 | sni = "strict"
       |       ^^^^^^^^

    error: `headers` is for HTTP
      --> pointsman.toml:24:37
       |
     9 | protocol = "tcp"
       |            ----- what is spoken here
    ...
    24 | client = { ca = "ca.pem", headers = { san = "x-san" } }
       |                                     ^^^^^^^^^^^^^^^^^

    error: `tls` is for TCP
      --> pointsman.toml:30:7
       |
    28 | protocol = "udp"
       |            ----- what is spoken here
    29 | pool = "app"
    30 | tls = "self-signed"
       |       ^^^^^^^^^^^^^

    error: `passthrough` is for TCP
      --> pointsman.toml:31:15
       |
    28 | protocol = "udp"
       |            ----- what is spoken here
    ...
    31 | passthrough = [{ sni = "a.example", pool = "app" }]
       |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

    error: `proxy_protocol` is for TCP
      --> pointsman.toml:32:18
       |
    28 | protocol = "udp"
       |            ----- what is spoken here
    ...
    32 | proxy_protocol = ["10.0.0.0/8"]
       |                  ^^^^^^^^^^^^^^

    error: `head` is for TCP
      --> pointsman.toml:33:21
       |
    28 | protocol = "udp"
       |            ----- what is spoken here
    ...
    33 | timeouts = { head = "1s" }
       |                     ^^^^

    error: `backlog` is for TCP
      --> pointsman.toml:36:11
       |
    28 | protocol = "udp"
       |            ----- what is spoken here
    ...
    36 | backlog = 1
       |           ^

    error: `fast_open` is for TCP
      --> pointsman.toml:37:13
       |
    28 | protocol = "udp"
       |            ----- what is spoken here
    ...
    37 | fast_open = 1
       |             ^

    error: `nodelay` is for TCP
      --> pointsman.toml:38:11
       |
    28 | protocol = "udp"
       |            ----- what is spoken here
    ...
    38 | nodelay = true
       |           ^^^^

    error: `keep_alive` is for TCP
      --> pointsman.toml:39:14
       |
    28 | protocol = "udp"
       |            ----- what is spoken here
    ...
    39 | keep_alive = "1m"
       |              ^^^^

    error: `user_timeout` is for TCP
      --> pointsman.toml:40:16
       |
    28 | protocol = "udp"
       |            ----- what is spoken here
    ...
    40 | user_timeout = "1m"
       |                ^^^^
    "##);
}

#[test]
fn rules_of_passthrough_say_what_they_take() {
    assert_snapshot!(mistakes(r#"
[listeners.web]
bind = ":1"
passthrough = [{ sni = "a.example", pool = "app" }]

[listeners.secure]
bind = ":2"
tls = "self-signed"
passthrough = [
    { pool = "app" },
    { sni = "*", pool = "app" },
    { sni = ["a.example:443", "10.0.0.1", "bücher.example", "", "a.*.example"], pool = "app" },
    { sni = [], alpn = [], pool = "app" },
    { alpn = ["", "h 2"], pool = "app" },
    { sni = ["a.example", "*.a.example"], pool = "app" },
    { sni = "A.example", pool = "other" },
    { sni = "b.example", alpn = ["h2", "h2"], pool = "app" },
]

[pools.app]
endpoints = ["10.0.0.1:80"]
[pools.other]
endpoints = ["10.0.0.1:80"]
tls = "on"
[[routes]]
pool = "app"
"#), @r##"
    error: without `tls` nobody begins TLS here
     --> pointsman.toml:4:15
      |
    4 | passthrough = [{ sni = "a.example", pool = "app" }]
      |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = help: add `tls`, or protocol = "tcp" or "detect"

    error: this leaves no client for `tls`
      --> pointsman.toml:10:5
       |
    10 |     { pool = "app" },
       |     ^^^^^^^^^^^^^^^^
       |
       = help: say which ones are passed on, by `sni` or by `alpn`

    error: `*` is no name of a server
      --> pointsman.toml:11:13
       |
    11 |     { sni = "*", pool = "app" },
       |             ^^^
       |
       = help: leave `sni` out to take every name

    error: `a.example:443` is no name of a server
      --> pointsman.toml:12:14
       |
    12 |     { sni = ["a.example:443", "10.0.0.1", "bücher.example", "", "a.*.example"], pool = "app" },
       |              ^^^^^^^^^^^^^^^
       |
       = help: write it as "db.example" or "*.db.example", without a port

    error: `10.0.0.1` is no name of a server
      --> pointsman.toml:12:31
       |
    12 |     { sni = ["a.example:443", "10.0.0.1", "bücher.example", "", "a.*.example"], pool = "app" },
       |                               ^^^^^^^^^^
       |
       = help: clients ask for names, never for addresses (RFC 6066 §3)

    error: `bücher.example` is no name of a server
      --> pointsman.toml:12:43
       |
    12 |     { sni = ["a.example:443", "10.0.0.1", "bücher.example", "", "a.*.example"], pool = "app" },
       |                                           ^^^^^^^^^^^^^^^^
       |
       = help: clients send such names in their ASCII form, `xn--…`

    error: `` is no name of a server
      --> pointsman.toml:12:61
       |
    12 |     { sni = ["a.example:443", "10.0.0.1", "bücher.example", "", "a.*.example"], pool = "app" },
       |                                                             ^^
       |
       = help: write it as "db.example" or "*.db.example", without a port

    error: `a.*.example` is no name of a server
      --> pointsman.toml:12:65
       |
    12 |     { sni = ["a.example:443", "10.0.0.1", "bücher.example", "", "a.*.example"], pool = "app" },
       |                                                                 ^^^^^^^^^^^^^
       |
       = help: write it as "db.example" or "*.db.example", without a port

    error: an empty list takes no connection
      --> pointsman.toml:13:13
       |
    13 |     { sni = [], alpn = [], pool = "app" },
       |             ^^
       |
       = help: leave the key out to take all of them

    error: an empty list takes no connection
      --> pointsman.toml:13:24
       |
    13 |     { sni = [], alpn = [], pool = "app" },
       |                        ^^
       |
       = help: leave the key out to take all of them

    error: `` is no protocol
      --> pointsman.toml:14:15
       |
    14 |     { alpn = ["", "h 2"], pool = "app" },
       |               ^^
       |
       = help: write it as ALPN does, such as "h2", "http/1.1" or "acme-tls/1"

    error: `h 2` is no protocol
      --> pointsman.toml:14:19
       |
    14 |     { alpn = ["", "h 2"], pool = "app" },
       |                   ^^^^^
       |
       = help: write it as ALPN does, such as "h2", "http/1.1" or "acme-tls/1"

    error: two rules take the same connections
      --> pointsman.toml:16:13
       |
    15 |     { sni = ["a.example", "*.a.example"], pool = "app" },
       |              ----------- the other one
    16 |     { sni = "A.example", pool = "other" },
       |             ^^^^^^^^^^^

    error: endpoints would get TLS inside of TLS
      --> pointsman.toml:16:33
       |
    16 |     { sni = "A.example", pool = "other" },
       |                                 ^^^^^^^
    ...
    24 | tls = "on"
       |       ---- the pool has its own
       |
       = help: what is passed on as it is goes to a pool without `tls`

    error: two rules take the same connections
      --> pointsman.toml:17:13
       |
    17 |     { sni = "b.example", alpn = ["h2", "h2"], pool = "app" },
       |             ^^^^^^^^^^^
       |             |
       |             the other one
    "##);
}

#[test]
fn routes_are_for_requests() {
    assert_snapshot!(mistakes(r#"
listeners.database = { bind = ":1", protocol = "tcp", pool = "app" }
pools.app.endpoints = ["10.0.0.1:80"]
[[routes]]
listener = "database"
pool = "app"
"#), @r##"
    error: listener `database` has no requests: it relays what comes
     --> pointsman.toml:5:12
      |
    5 | listener = "database"
      |            ^^^^^^^^^^
      |
      = help: `pool` of the listener says where that goes
    "##);
    assert_snapshot!(mistakes(r#"
listeners.database = { bind = ":1", protocol = "tcp", pool = "app" }
pools.app.endpoints = ["10.0.0.1:80"]
[[routes]]
pool = "app"
"#), @r##"
    error: this route never matches: no listener has requests
     --> pointsman.toml:4:1
      |
    4 | [[routes]]
      | ^^^^^^^^^^
      |
      = help: `pool` of a listener says where what it relays goes
    "##);
}

#[test]
fn two_routes_have_two_names() {
    assert_snapshot!(mistakes(r#"
listeners.web.bind = ":1"
listeners.default = { bind = ":2", protocol = "tcp", pool = "app" }
pools.app.endpoints = ["10.0.0.1:80"]
"#), @r##"
    error: two routes have the name `default`
     --> pointsman.toml:3:11
      |
    3 | listeners.default = { bind = ":2", protocol = "tcp", pool = "app" }
      |           ^^^^^^^
      |
      = help: what a listener relays has its name; give it another one
    "##);
}

#[test]
fn what_is_relayed_needs_a_pool_that_takes_it() {
    assert_snapshot!(mistakes(r#"
listeners.a = { bind = ":1", protocol = "udp", pool = "a" }
listeners.b = { bind = ":2", protocol = "udp", pool = "b" }
listeners.c = { bind = ":3", protocol = "udp", pool = "c" }
listeners.d = { bind = ":4", protocol = "detect", pool = "d" }
[pools.a]
endpoints = ["10.0.0.1:80"]
tls = "on"
protocol = "auto"
[pools.b]
endpoints = ["10.0.0.1:80", "unix:/run/app.sock"]
[pools.c]
endpoints = ["10.0.0.1:80"]
proxy_protocol = "v1"
[pools.d]
endpoints = ["10.0.0.1:80", "unix:/run/app.sock"]
protocol = "h2"
"#), @r##"
    error: datagrams are not sent by TLS
     --> pointsman.toml:8:7
      |
    2 | listeners.a = { bind = ":1", protocol = "udp", pool = "a" }
      |                                                       --- datagrams go to this pool
    ...
    8 | tls = "on"
      |       ^^^^
      |
      = help: leave `tls` out, or give the datagrams a pool of their own

    error: what is relayed is never turned into HTTP/2
     --> pointsman.toml:9:12
      |
    2 | listeners.a = { bind = ":1", protocol = "udp", pool = "a" }
      |                                                       --- it goes to this pool
    ...
    9 | protocol = "auto"
      |            ^^^^^^
      |
      = help: leave `protocol` out, or give what is relayed a pool of its own

    error: endpoint `unix:/run/app.sock` takes no datagrams
      --> pointsman.toml:11:13
       |
     3 | listeners.b = { bind = ":2", protocol = "udp", pool = "b" }
       |                                                       --- datagrams go to this pool
    ...
    11 | endpoints = ["10.0.0.1:80", "unix:/run/app.sock"]
       |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = help: a Unix socket is one of connections; write an address and a port

    error: the PROXY header of datagrams has version 2
      --> pointsman.toml:14:18
       |
     4 | listeners.c = { bind = ":3", protocol = "udp", pool = "c" }
       |                                                       --- datagrams go to this pool
    ...
    14 | proxy_protocol = "v1"
       |                  ^^^^
       |
       = help: write proxy_protocol = "v2"

    error: what is relayed is never turned into HTTP/2
      --> pointsman.toml:17:12
       |
     5 | listeners.d = { bind = ":4", protocol = "detect", pool = "d" }
       |                                                          --- it goes to this pool
    ...
    17 | protocol = "h2"
       |            ^^^^
       |
       = help: leave `protocol` out, or give what is relayed a pool of its own
    "##);
    let pool = udp_pool("tls = 'off'\nprotocol = 'h1'\nproxy_protocol = 'v2'");
    assert!(pool.tls.is_none() && pool.proxy_protocol.is_some());
}

#[test]
fn what_is_relayed_has_nothing_of_a_request() {
    assert_snapshot!(mistakes(r#"
secret = { file = "/etc/pointsman/secret" }
listeners.a = { bind = ":1", protocol = "tcp", pool = "a" }
listeners.b = { bind = ":2", protocol = "udp", pool = "b" }
listeners.c = { bind = ":3", protocol = "tcp", pool = "c" }
[pools.a]
endpoints = ["10.0.0.1:80"]
sticky = { cookie = "route" }
[pools.b]
endpoints = ["10.0.0.1:80"]
policy = { maglev = { key = "path" } }
sticky = { key = { header = "x-user" } }
[pools.c]
endpoints = ["10.0.0.1:80"]
sticky = { learn = { cookie = "a" } }
"#), @r##"
    error: only a request has this
     --> pointsman.toml:8:21
      |
    3 | listeners.a = { bind = ":1", protocol = "tcp", pool = "a" }
      |                                                       --- what goes to this pool is relayed
    ...
    8 | sticky = { cookie = "route" }
      |                     ^^^^^^^
      |
      = help: of what is relayed, "client_ip" and "client" are known

    error: only a request has this
      --> pointsman.toml:11:29
       |
     4 | listeners.b = { bind = ":2", protocol = "udp", pool = "b" }
       |                                                       --- what goes to this pool is relayed
    ...
    11 | policy = { maglev = { key = "path" } }
       |                             ^^^^^^
       |
       = help: of what is relayed, "client_ip" and "client" are known

    error: only a request has this
      --> pointsman.toml:12:18
       |
     4 | listeners.b = { bind = ":2", protocol = "udp", pool = "b" }
       |                                                       --- what goes to this pool is relayed
    ...
    12 | sticky = { key = { header = "x-user" } }
       |                  ^^^^^^^^^^^^^^^^^^^^^
       |
       = help: of what is relayed, "client_ip" and "client" are known

    error: only a request has this
      --> pointsman.toml:15:20
       |
     5 | listeners.c = { bind = ":3", protocol = "tcp", pool = "c" }
       |                                                       --- what goes to this pool is relayed
    ...
    15 | sticky = { learn = { cookie = "a" } }
       |                    ^^^^^^^^^^^^^^^^
       |
       = help: of what is relayed, "client_ip" and "client" are known
    "##);
    // Requests go there too, and have them.
    let shared = relay("detect", "", "policy = { maglev = { key = 'path' } }");
    assert_eq!(led(&snapshot(&shared)), ["default to app", "any to app"]);
}

#[test]
fn bounds_of_endpoints_have_the_name_of_what_goes_there() {
    assert_snapshot!(mistakes(r#"
listeners.web.bind = ":1"
[pools.app]
endpoints = ["10.0.0.1:80", { address = "10.0.0.2:80", max_connections = 10 }]
"#), @r##"
    error: `max_connections` is of what is relayed, and requests go to this pool
     --> pointsman.toml:4:74
      |
    4 | endpoints = ["10.0.0.1:80", { address = "10.0.0.2:80", max_connections = 10 }]
      |                                                                          ^^
      |
      = help: write `max_requests`
    "##);
    let text = r#"
listeners.tcp = { bind = ":1", protocol = "tcp", pool = "app" }
[pools.app]
endpoints = [{ address = "10.0.0.2:80", max_connections = 10, max_requests = 10 }]
"#;
    assert_snapshot!(mistakes(text), @r##"
    error: `max_requests` and `max_connections` exclude each other
     --> pointsman.toml:4:59
      |
    4 | endpoints = [{ address = "10.0.0.2:80", max_connections = 10, max_requests = 10 }]
      |                                                           ^^
      |
      = help: write the one that names what goes to this pool
    "##);
}

#[test]
fn checks_ask_in_the_way_of_the_traffic() {
    assert_snapshot!(warnings(r#"
listeners.a = { bind = ":1", protocol = "udp", pool = "a" }
listeners.b = { bind = ":2", protocol = "udp", pool = "b" }
listeners.c = { bind = ":3", protocol = "tcp", pool = "c" }
[pools.a]
endpoints = ["10.0.0.1:80"]
check = "tcp"
[pools.b]
endpoints = ["10.0.0.1:80"]
check = { tcp = { expect = "220" } }
[pools.c]
endpoints = ["10.0.0.1:80"]
check = "udp"
"#), @r##"
    warning: this check connects, and only datagrams go to this pool
     --> pointsman.toml:7:9
      |
    7 | check = "tcp"
      |         ^^^^^
      |
      = help: write check = "udp", or add the `port` that takes connections

    warning: this check connects, and only datagrams go to this pool
      --> pointsman.toml:10:9
       |
    10 | check = { tcp = { expect = "220" } }
       |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = help: write check = "udp", or add the `port` that takes connections

    warning: this check sends datagrams, and none go to this pool
      --> pointsman.toml:13:9
       |
    13 | check = "udp"
       |         ^^^^^
       |
       = help: write check = "tcp", or add the `port` that takes datagrams
    "##);
}

#[test]
fn checks_of_servers_say_what_is_wrong_with_them() {
    assert_snapshot!(mistakes(r#"
listeners.a = { bind = ":1", protocol = "tcp", pool = "a" }
[pools.a]
endpoints = ["10.0.0.1:80"]
check = "redsi"
[pools.b]
endpoints = ["10.0.0.1:80"]
check = { protocol = "postgresql" }
[pools.c]
endpoints = ["10.0.0.1:80"]
check = { dns = "a b", protocol = "dns" }
[pools.d]
endpoints = ["10.0.0.1:80"]
check = { udp = { expect = "" }, expect = "200" }
[pools.e]
endpoints = ["10.0.0.1:80"]
check = { protocol = "redis", host = "a" }
[pools.f]
endpoints = ["10.0.0.1:80", "unix:/run/app.sock"]
check = "dns"
"#), @r##"
    error: `redsi` is no check
     --> pointsman.toml:5:9
      |
    5 | check = "redsi"
      |         ^^^^^^^
      |
      = help: did you mean `redis`?

    error: `postgresql` is no value of `protocol`
     --> pointsman.toml:8:22
      |
    8 | check = { protocol = "postgresql" }
      |                      ^^^^^^^^^^^^
      |
      = help: did you mean `postgres`?

    error: `a b` is no name to ask for
      --> pointsman.toml:11:17
       |
    11 | check = { dns = "a b", protocol = "dns" }
       |                 ^^^^^
       |
       = help: write it as "app.example", or "" for any answer of the server

    error: a check is one of `http`, `grpc`, `tcp`, `udp`, `dns` and `protocol`
      --> pointsman.toml:11:35
       |
    11 | check = { dns = "a b", protocol = "dns" }
       |                 -----             ^^^^^
       |                 |
       |                 the other one

    error: every answer contains an empty text
      --> pointsman.toml:14:28
       |
    14 | check = { udp = { expect = "" }, expect = "200" }
       |                            ^^
       |
       = help: leave the key out, or say what to look for

    error: `expect` is for HTTP checks
      --> pointsman.toml:14:43
       |
    14 | check = { udp = { expect = "" }, expect = "200" }
       |                                           ^^^^^
       |
       = help: `udp` has its own `send` and `expect`

    error: `host` is for HTTP checks
      --> pointsman.toml:17:38
       |
    17 | check = { protocol = "redis", host = "a" }
       |                                      ^^^
       |
       = help: what such a server is asked is known, and that is all

    error: endpoint `unix:/run/app.sock` cannot be asked by datagrams
      --> pointsman.toml:20:9
       |
    20 | check = "dns"
       |         ^^^^^
       |
       = help: write check = "tcp", which connects
    "##);
}

#[test]
fn flags_name_what_is_spoken() {
    let flags = |listen: &[&str]| {
        let listen: Vec<String> = listen.iter().map(ToString::to_string).collect();
        from_flags(&listen, &["10.0.0.1:53".into()])
    };
    let snapshot = flags(&["tcp://:53", "udp://:53", "tcp://[::1]:53"]).unwrap();
    assert_eq!(led(&snapshot), ["tcp to app", "udp to app"]);
    let tcp = listener(&snapshot, "tcp");
    assert_eq!(tcp.protocol, ListenerProtocol::Tcp);
    let bind: Vec<String> = tcp.bind.iter().map(ToString::to_string).collect();
    assert_eq!(bind, ["0.0.0.0:53", "[::1]:53"]);
    let udp = listener(&snapshot, "udp");
    assert!(matches!(udp.protocol, ListenerProtocol::Udp(_)));

    let mixed = flags(&[":8080", "tcp://:5432"]).unwrap();
    assert_eq!(led(&mixed), ["default to app", "tcp to app"]);
    let wrong = flags(&["tcp://:53", "udp://5x"]).expect_err("it is no address");
    assert_snapshot!(wrong.render(false), @r##"
    error: `5x` is no address and port
     --> command line:1:35
      |
    1 | --listen tcp://:53 --listen udp://5x --to 10.0.0.1:53
      |                                   ^^
      |
      = help: add a port: "5x:80"
    "##);
}

/// Where something goes first on every connection, or has come already, nobody waits.
#[test]
fn what_may_wait_for_the_endpoint_to_speak_has_no_fast_open() {
    let fast = |keys: &str| format!("socket = {{ fast_open = true }}\n{keys}");
    assert_snapshot!(mistakes(&relay("tcp", "", &fast(""))), @r"
    error: with `fast_open` no endpoint is connected to before a client has spoken
     --> pointsman.toml:8:24
      |
    4 | pool = 'app'
      |        ----- here, a client may wait for the endpoint to speak first
    ...
    8 | socket = { fast_open = true }
      |                        ^^^^
      |
      = help: leave `fast_open` out, or give what is relayed a pool of its own
    ");
    for keys in ["proxy_protocol = 'v2'", "tls = { name = 'a.example' }"] {
        snapshot(&relay("tcp", "", &fast(keys)));
    }
    let rule = "protocol = 'tcp'\npassthrough = [{ sni = 'a.example', pool = 'a' }]";
    let pool = fast("endpoints = ['10.0.0.1:443']");
    snapshot(&format!(
        "[listeners.a]\nbind = ':1'\n{rule}\n[pools.a]\n{pool}"
    ));
}
