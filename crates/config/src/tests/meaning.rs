//! What valid configs mean.

use std::num::NonZeroU32;
use std::time::Duration;

use balance::{CheckKind, StatusRange};

use super::{loaded, parse_files, with_basics};
use crate::{AccessLogSink, Pool, Snapshot, from_flags, load};

fn snapshot(text: &str) -> Snapshot {
    let loaded = loaded(text);
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    loaded.snapshot
}

/// The pool of a config with one listener, one pool, and these keys in the pool.
fn pool(keys: &str) -> Pool {
    snapshot(&with_basics(keys)).pools.remove(0)
}

fn addresses(pool: &Pool) -> Vec<String> {
    pool.endpoints
        .iter()
        .map(|endpoint| format!("{} = {}", endpoint.name, endpoint.address))
        .collect()
}

#[test]
fn two_endpoints_are_enough() {
    let snapshot = snapshot(
        "listeners.web.bind = \"0.0.0.0:8080\"\n\
         pools.app.endpoints = [\"10.0.0.11:3000\", \"10.0.0.12:3000\"]",
    );
    assert_eq!(snapshot.workers, None);
    assert_eq!(snapshot.admin.bind, Some("127.0.0.1:9090".parse().unwrap()));
    assert_eq!(snapshot.access_log.sink, AccessLogSink::Stdout);
    let listener = &snapshot.listeners[0];
    assert_eq!(
        (&*listener.name, listener.bind[0].to_string()),
        ("web", "0.0.0.0:8080".into())
    );
    assert_eq!(listener.routes.find(b"any.example", b"/any"), Some(0));
    let route = &snapshot.routes[0];
    assert_eq!((&*route.name, route.pool), ("default", 0));
    assert_eq!(*route.upgrades, ["websocket".into()]);
    assert!(!route.allow_trace);
    let pool = &snapshot.pools[0];
    assert_eq!(pool.settings.policy.name, balance::DEFAULT_POLICY);
    assert_eq!(pool.settings.check.kind, CheckKind::Tcp);
    assert_eq!(pool.keep_alive_idle, Duration::from_secs(30));
    assert_eq!(pool.endpoints[1].weight, 1);
    assert_eq!(pool.endpoints[1].max_requests, None);
}

#[test]
fn endpoints_have_a_short_and_a_long_form() {
    let pool = snapshot(
        r#"
        listeners.web.bind = ":8080"
        [pools.app]
        endpoints = [
            "10.0.0.1:80",
            { address = "10.0.0.2:80", name = "blue", weight = 0, max_requests = 100 },
            "[::1]:80", "unix:/run/app.sock", "3001", ":3002",
        ]"#,
    )
    .pools
    .remove(0);
    assert_eq!(
        addresses(&pool),
        [
            "10.0.0.1:80 = 10.0.0.1:80",
            "blue = 10.0.0.2:80",
            "[::1]:80 = [::1]:80",
            "unix:/run/app.sock = unix:/run/app.sock",
            "3001 = 127.0.0.1:3001",
            ":3002 = 127.0.0.1:3002",
        ]
    );
    assert_eq!(pool.endpoints[1].weight, 0);
    assert_eq!(pool.endpoints[1].max_requests, NonZeroU32::new(100));
}

#[test]
fn a_name_with_several_addresses_becomes_an_endpoint_for_each() {
    let text = r#"
        listeners.web.bind = ["one.internal:8080", "[::]:0", "[::]:0"]
        pools.app.endpoints = ["one.internal:80", { address = "two.internal:80", name = "two" }]"#;
    let snapshot = snapshot(text);
    assert_eq!(snapshot.listeners[0].bind.len(), 3);
    assert_eq!(
        addresses(&snapshot.pools[0]),
        [
            "one.internal:80 = 10.0.1.1:80",
            "two (10.0.2.1:80) = 10.0.2.1:80",
            "two (10.0.2.2:80) = 10.0.2.2:80",
        ]
    );
}

#[test]
fn an_endpoint_with_addresses_of_both_families_is_its_ipv4_addresses() {
    let text = r#"
        listeners.web.bind = "both.internal:8080"
        pools.app.endpoints = ["both.internal:80", "six.internal:80"]"#;
    let snapshot = snapshot(text);
    assert_eq!(snapshot.listeners[0].bind.len(), 4);
    assert_eq!(
        addresses(&snapshot.pools[0]),
        [
            "both.internal:80 (10.0.3.1:80) = 10.0.3.1:80",
            "both.internal:80 (10.0.3.2:80) = 10.0.3.2:80",
            "six.internal:80 ([fd00::1]:80) = [fd00::1]:80",
            "six.internal:80 ([fd00::2]:80) = [fd00::2]:80",
        ]
    );
}

#[test]
fn checks_have_short_forms_and_a_long_one() {
    let http = |path: &str, host: Option<&str>, expect: &[(u16, u16)]| CheckKind::Http {
        path: path.into(),
        host: host.map(Into::into),
        headers: Vec::new(),
        expect: expect
            .iter()
            .map(|&(from, to)| StatusRange { from, to })
            .collect(),
        body: None,
    };
    for (text, kind) in [
        (r#""tcp""#, CheckKind::Tcp),
        (r#""off""#, CheckKind::Off),
        (r#"{ fall = 1 }"#, CheckKind::Tcp),
        (r#""/up?full""#, http("/up?full", None, &[(200, 399)])),
        (r#"{ http = "/up" }"#, http("/up", None, &[(200, 399)])),
        (
            r#"{ http = "/up", host = "a.example", expect = "200" }"#,
            http("/up", Some("a.example"), &[(200, 200)]),
        ),
        (
            r#"{ http = "/up", expect = ["200-204", "404"] }"#,
            http("/up", None, &[(200, 204), (404, 404)]),
        ),
    ] {
        assert_eq!(
            pool(&format!("check = {text}")).settings.check.kind,
            kind,
            "{text}"
        );
    }
    let check = pool(r#"check = { interval = "5s", timeout = "500ms", fall = 4, rise = 1 }"#)
        .settings
        .check;
    assert_eq!(check.interval, Duration::from_secs(5));
    assert_eq!(check.timeout, Duration::from_millis(500));
    assert_eq!((check.fall.get(), check.rise.get()), (4, 1));
}

#[test]
fn outlier_retry_and_queue_can_be_switched_off_and_tuned() {
    let off = pool("outlier = 'off'\nretry = 'off'\nqueue = 'off'").settings;
    assert_eq!(off.outlier.consecutive, None);
    assert_eq!(off.queue.length, 0);
    assert!(!off.fail_closed);
    let off = snapshot(&with_basics("retry = 'off'"));
    assert_eq!(off.routes[0].retry.attempts, 0);

    let keys = r#"
        outlier = { consecutive = 3, ejection = "2s", ejection_max = "4s", ejected_max = "34%" }
        retry = { attempts = 2, on = ["connect", "timeout", "502", "503"], body = "1MiB" }
        queue = { length = 10, timeout = "1s" }
        fail = "closed"
        policy = "round_robin""#;
    let tuned = pool(keys).settings;
    assert_eq!(tuned.outlier.consecutive, NonZeroU32::new(3));
    assert_eq!(tuned.outlier.ejection, Duration::from_secs(2));
    assert_eq!(tuned.outlier.ejection_max, Duration::from_secs(4));
    assert_eq!(tuned.outlier.ejected_percent_max, 34);
    let retry = &snapshot(&with_basics(keys)).routes[0].retry;
    assert_eq!((retry.attempts, retry.body_bytes_max), (2, 1 << 20));
    let on = &retry.on;
    assert_eq!((on.connect, on.reset, on.timeout), (true, false, true));
    assert_eq!(on.statuses, [502, 503]);
    assert_eq!(
        (tuned.queue.length, tuned.queue.timeout),
        (10, Duration::from_secs(1))
    );
    assert!(tuned.fail_closed);
    assert_eq!(tuned.policy.name, "round_robin");
}

#[test]
fn timeouts_of_a_route_come_before_those_of_its_pool_and_these_before_the_defaults() {
    let snapshot = snapshot(&with_basics(
        r#"
        timeouts = { connect = "1s", response = "20s", total = "30s", idle = "5s" }
        [[routes]]
        pool = "app"
        timeouts = { response = "10s", total = "off" }
        [[routes]]
        pool = "app"
        path = "/x""#,
    ));
    let [first, second] = [0, 1].map(|index| snapshot.routes[index].timeouts);
    assert_eq!(first.connect, Duration::from_secs(1));
    assert_eq!(first.response, Duration::from_secs(10));
    assert_eq!(first.total, None);
    assert_eq!(first.tunnel, Duration::from_secs(3600));
    assert_eq!(second.response, Duration::from_secs(20));
    assert_eq!(second.total, Some(Duration::from_secs(30)));
    assert_eq!(snapshot.pools[0].keep_alive_idle, Duration::from_secs(5));
}

#[test]
fn a_route_of_one_listener_comes_before_a_route_of_all() {
    let snapshot = snapshot(
        r#"
        listeners.public.bind = ":8080"
        listeners.private.bind = ":8081"
        pools.a.endpoints = ["10.0.0.1:80"]
        pools.b.endpoints = ["10.0.0.2:80"]
        routes = [
            { pool = "a" },
            { pool = "b", listener = "private" },
            { pool = "b", host = "*.shop.example", path = "=/api" },
        ]"#,
    );
    let names: Vec<&str> = snapshot.routes.iter().map(|route| &*route.name).collect();
    assert_eq!(names, ["default", "private:default", "*.shop.example=/api"]);
    let found = |listener: &str, host: &[u8], path: &[u8]| {
        let listener = snapshot
            .listeners
            .iter()
            .find(|candidate| *candidate.name == *listener)
            .unwrap();
        listener.routes.find(host, path)
    };
    assert_eq!(found("public", b"x", b"/"), Some(0));
    assert_eq!(found("private", b"x", b"/"), Some(1));
    assert_eq!(found("private", b"a.shop.example", b"/api"), Some(2));
}

#[test]
fn limits_upgrades_trace_and_the_rest_are_read() {
    let snapshot = snapshot(
        r#"
        workers = 3
        admin.bind = "off"
        access_log = { sink = { file = "/var/log/access.log" }, format = "json" }
        [listeners.web]
        bind = "unix:/run/web.sock"
        protocol = "http"
        limits = { head = "64KiB", fields = 200, line = "16KiB" }
        timeouts = { head = "5s", idle = "15s", body = "25s" }
        [pools.app]
        endpoints = ["10.0.0.1:80"]
        [[routes]]
        pool = "app"
        upgrades = ["WebSocket", "foo/2"]
        trace = "allow""#,
    );
    assert_eq!(snapshot.workers.map(Into::into), Some(3_usize));
    assert_eq!(snapshot.admin.bind, None);
    assert_eq!(
        snapshot.access_log.sink,
        AccessLogSink::File("/var/log/access.log".into())
    );
    let listener = &snapshot.listeners[0];
    assert_eq!(listener.bind[0].to_string(), "unix:/run/web.sock");
    assert_eq!(listener.limits.head_bytes, 64 << 10);
    assert_eq!(listener.limits.fields, 200);
    assert_eq!(listener.limits.line_bytes, 16 << 10);
    assert_eq!(listener.timeouts.head, Duration::from_secs(5));
    assert_eq!(listener.timeouts.idle, Duration::from_secs(15));
    assert_eq!(listener.timeouts.body, Duration::from_secs(25));
    assert_eq!(
        *snapshot.routes[0].upgrades,
        ["websocket".into(), "foo/2".into()]
    );
    assert!(snapshot.routes[0].allow_trace);
}

#[test]
fn a_default_gives_way_to_what_is_set_beside_it() {
    let snapshot = snapshot(&with_basics(
        "outlier = { ejection = '2m' }\n[listeners.web.limits]\nhead = '4KiB'",
    ));
    let outlier = &snapshot.pools[0].settings.outlier;
    assert_eq!(outlier.ejection_max, outlier.ejection);
    assert_eq!(snapshot.listeners[0].limits.line_bytes, 4 << 10);
}

#[test]
fn files_are_one_config() {
    let loaded = parse_files(&[
        (
            "a.toml",
            "listeners.web.bind = ':8080'\n[[routes]]\npool = 'app'\nhost = 'a.example'",
        ),
        (
            "b.toml",
            "pools.app.endpoints = ['10.0.0.1:80']\n[[routes]]\npool = 'app'",
        ),
    ])
    .unwrap();
    assert_eq!(loaded.snapshot.routes.len(), 2);
}

#[test]
fn a_folder_is_read_in_the_order_of_names_and_nothing_else_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "20.toml",
        "[[routes]]\npool = 'app'\nhost = 'second.example'",
    );
    write(
        "10.toml",
        "[[routes]]\npool = 'app'\nhost = 'first.example'",
    );
    write(
        "30.toml",
        "listeners.web.bind = ':8080'\npools.app.endpoints = ['10.0.0.1:80']",
    );
    write("notes.txt", "not TOML");
    write(".hidden.toml", "not TOML");
    let snapshot = load(folder.path()).unwrap().snapshot;
    let names: Vec<&str> = snapshot.routes.iter().map(|route| &*route.name).collect();
    assert_eq!(names, ["first.example", "second.example"]);
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let empty = load(folder.path()).expect_err("the folder is empty");
    assert!(empty.to_string().contains("no config in"), "{empty}");

    let missing = load(&folder.path().join("missing.toml")).expect_err("there is no file");
    assert!(missing.to_string().contains("missing.toml"), "{missing}");

    std::fs::write(folder.path().join("a.toml"), b"\n\xff").unwrap();
    let binary = load(folder.path()).expect_err("it is not text");
    assert!(
        binary.to_string().contains("a.toml: line 2 is not UTF-8"),
        "{binary}"
    );

    let large = std::fs::File::create(folder.path().join("a.toml")).unwrap();
    large.set_len((16 << 20) + 1).unwrap();
    let large = load(folder.path()).expect_err("it is too large");
    assert!(large.to_string().contains("larger than 16 MiB"), "{large}");
}

#[test]
fn flags_are_a_config_too() {
    let words = |words: &[&str]| {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    let listen = words(&[":8080", "[::]:8080"]);
    let to = words(&["127.0.0.1:3001", ":3002", "3003"]);
    let snapshot = from_flags(&listen, &to).unwrap();
    let binds: Vec<String> = snapshot.listeners[0]
        .bind
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(binds, ["0.0.0.0:8080", "[::]:8080"]);
    assert_eq!(
        addresses(&snapshot.pools[0]),
        [
            "127.0.0.1:3001 = 127.0.0.1:3001",
            ":3002 = 127.0.0.1:3002",
            "3003 = 127.0.0.1:3003",
        ]
    );
    assert_eq!(snapshot.listeners[0].routes.find(b"", b"/"), Some(0));
}
