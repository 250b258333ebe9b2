//! What valid configs mean.

use std::fs::Permissions;
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use balance::{
    AgentKind, AgentSettings, CheckKind, CircuitSettings, ConcurrencySettings, FeedbackSettings,
    HashKey, HedgeSettings, LoadProbeSettings, PolicySettings, SlowStartSettings, StatusRange,
    StickyBy, StickySettings, SuccessRateSettings,
};

use super::{check_tls, loaded, parse_files, with_basics};
use crate::{AccessLogSink, Loaded, Pool, Problems, Snapshot, from_flags};

fn snapshot(text: &str) -> Snapshot {
    let loaded = loaded(text);
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    loaded.snapshot
}

fn load(path: &Path) -> Result<Loaded, Problems> {
    crate::load(path, &check_tls)
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
fn checks_look_into_answers_and_have_ports_of_their_own() {
    let check = pool(
        r#"check = { http = "/up", headers = { X-Check = "1", b = "" }, body = "ok", port = 81 }"#,
    )
    .settings
    .check;
    assert_eq!(check.port, Some(81));
    let CheckKind::Http { headers, body, .. } = check.kind else {
        panic!("{check:?}");
    };
    assert_eq!(
        headers,
        [("X-Check".into(), "1".into()), ("b".into(), "".into())]
    );
    assert_eq!(body.as_deref(), Some("ok"));

    let check = pool(r#"check = { tcp = { send = "PING\r\n", expect = "+PONG" }, port = 82 }"#)
        .settings
        .check;
    assert_eq!(check.port, Some(82));
    let spoken = |send: &[u8], expect: &[u8]| CheckKind::TcpExpect {
        send: send.into(),
        expect: expect.into(),
    };
    assert_eq!(check.kind, spoken(b"PING\r\n", b"+PONG"));
    let listening = pool(r#"check = { tcp = { expect = "220 " } }"#).settings;
    assert_eq!(listening.check.kind, spoken(b"", b"220 "));
}

#[test]
fn agents_speak_http_or_tcp() {
    assert_eq!(pool("").settings.agent, None);
    let agent = pool(r#"agent = { http = "/load" }"#).settings.agent;
    let expected = AgentSettings {
        kind: AgentKind::Http {
            path: "/load".into(),
        },
        port: None,
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
    };
    assert_eq!(agent, Some(expected));
    let agent = pool(r#"agent = { tcp = "", port = 9000, interval = "5s", timeout = "500ms" }"#)
        .settings
        .agent;
    let expected = AgentSettings {
        kind: AgentKind::Tcp {
            send: Box::default(),
        },
        port: Some(9000),
        interval: Duration::from_secs(5),
        timeout: Duration::from_millis(500),
    };
    assert_eq!(agent, Some(expected));
}

#[test]
fn policies_are_names_or_tables_of_one_name() {
    for kind in balance::POLICIES {
        let policy = pool(&format!("policy = '{}'", kind.name)).settings.policy;
        assert_eq!(policy, PolicySettings::named(kind.name));
    }
    let hashing = |name, key, bounded_load| PolicySettings {
        key,
        bounded_load,
        ..PolicySettings::named(name)
    };
    for (text, policy) in [
        (
            "{ maglev = {} }",
            hashing("maglev", HashKey::ClientIp, None),
        ),
        (
            r#"{ maglev = { key = { header = "X-User" }, bounded_load = 1.25 } }"#,
            hashing("maglev", HashKey::Header("x-user".into()), Some(1.25)),
        ),
        (
            r#"{ rendezvous = { key = "path", bounded_load = 2 } }"#,
            hashing("rendezvous", HashKey::Path, Some(2.0)),
        ),
        (
            r#"{ rendezvous = { key = { cookie = "Session" } } }"#,
            hashing("rendezvous", HashKey::Cookie("Session".into()), None),
        ),
        (
            r#"{ maglev = { key = { query = "q%20" } } }"#,
            hashing("maglev", HashKey::Query("q%20".into()), None),
        ),
    ] {
        assert_eq!(pool(&format!("policy = {text}")).settings.policy, policy);
    }
    let probe = |text: &str| {
        let pool = pool(&format!("policy = {{ adaptive = {{ probe = {text} }} }}"));
        let policy = pool.settings.policy;
        assert_eq!(policy.name, "adaptive");
        policy.load_probe.expect("there are probes")
    };
    let mut expected = LoadProbeSettings {
        path: "/load".into(),
        per_request: 1.0,
        timeout: Duration::from_millis(20),
    };
    assert_eq!(probe(r#""/load""#), expected);
    expected.per_request = 0.5;
    expected.timeout = Duration::from_millis(100);
    assert_eq!(
        probe(r#"{ path = "/load", per_request = 0.5, timeout = "100ms" }"#),
        expected
    );
}

#[test]
fn sessions_are_known_by_a_cookie_a_key_or_what_an_endpoint_set() {
    assert_eq!(pool("").settings.sticky, None);
    let text = with_basics("sticky = { cookie = 'route' }");
    let with_secret = "secret.file = '/etc/pointsman/secret'\n".to_owned() + &text;
    let snapshot = snapshot(&with_secret);
    assert_eq!(
        snapshot.secret.expect("it is read").bytes(),
        b"correct horse battery staple, twice over"
    );
    let by_default = StickySettings::by(StickyBy::Cookie("route".into()));
    assert_eq!(snapshot.pools[0].settings.sticky, Some(by_default));

    let sticky = |text: &str| pool(&format!("sticky = {text}")).settings.sticky;
    let key = HashKey::Cookie("JSESSIONID".into());
    assert_eq!(
        sticky("{ key = { cookie = 'JSESSIONID' } }"),
        Some(StickySettings::by(StickyBy::Key(key)))
    );
    let learned = HashKey::Header("x-session-owner".into());
    let tuned = StickySettings {
        by: StickyBy::Learned(learned),
        is_strict: true,
        idle: Duration::from_secs(1800),
        sessions_max: 1000,
        bounded_load: Some(1.5),
    };
    assert_eq!(
        sticky(
            "{ learn = { header = 'X-Session-Owner' }, mode = 'strict', idle = '30m', \
             sessions = 1000, bounded_load = 1.5 }"
        ),
        Some(tuned)
    );
}

#[test]
fn endpoints_stand_in_tiers_and_zones() {
    let snapshot = snapshot(
        r#"
        zone = "eu-1a"
        listeners.web.bind = ":8080"
        [pools.app]
        endpoints = [
            "10.0.0.1:80",
            { address = "10.0.0.2:80", zone = "eu-1a" },
            { address = "two.internal:80", zone = "eu-1b", tier = 255 },
        ]"#,
    );
    let pool = &snapshot.pools[0];
    assert_eq!(pool.settings.zone.as_deref(), Some("eu-1a"));
    let places: Vec<_> = pool
        .endpoints
        .iter()
        .map(|endpoint| (endpoint.tier, endpoint.zone.as_deref()))
        .collect();
    assert_eq!(
        places,
        [
            (0, None),
            (0, Some("eu-1a")),
            (255, Some("eu-1b")),
            (255, Some("eu-1b")),
        ]
    );
}

#[test]
fn load_is_fed_back_bounded_and_ramped() {
    let default = pool("").settings;
    assert_eq!(default.slow_start, Some(SlowStartSettings::default()));
    assert_eq!(default.feedback, FeedbackSettings::default());
    assert_eq!((default.concurrency, default.panic_percent), (None, 0));
    assert_eq!(default.circuit, CircuitSettings::default());
    assert_eq!(default.drain, Duration::from_secs(300));

    let off = pool("slow_start = 'off'\nfeedback = 'off'\nconcurrency = 'off'").settings;
    assert_eq!((off.slow_start, off.concurrency), (None, None));
    assert!(!off.feedback.headers && off.feedback.full_on.is_empty());

    let short = pool("slow_start = '30s'\nconcurrency = 'adaptive'").settings;
    let window = short.slow_start.map(|slow_start| slow_start.window);
    assert_eq!(window, Some(Duration::from_secs(30)));
    assert_eq!(short.concurrency, Some(ConcurrencySettings::default()));

    let tuned = pool(
        r#"
        slow_start = { window = "1m", aggression = 2.5 }
        feedback = { headers = "ignore", full_on = ["503", "429"] }
        concurrency = { min = 4, max = 200 }
        circuit = { connections = 1000, requests = 5000 }
        drain = "2h"
        panic = "50%""#,
    )
    .settings;
    let slow_start = tuned.slow_start.expect("it is on");
    assert_eq!(
        (slow_start.window, slow_start.aggression),
        (Duration::from_secs(60), 2.5)
    );
    assert!(!tuned.feedback.headers);
    assert_eq!(tuned.feedback.full_on, [503, 429]);
    let concurrency = tuned.concurrency.expect("it is on");
    assert_eq!((concurrency.min.get(), concurrency.max.get()), (4, 200));
    assert_eq!(tuned.circuit.connections, NonZeroU32::new(1000));
    assert_eq!(tuned.circuit.requests, NonZeroU32::new(5000));
    assert_eq!(tuned.drain, Duration::from_secs(7200));
    assert_eq!(tuned.panic_percent, 50);
}

#[test]
fn success_rates_are_judged_unless_switched_off() {
    let outlier = |text: &str| pool(&format!("outlier = {text}")).settings.outlier;
    assert_eq!(outlier("{}").success_rate, Some(Default::default()));
    assert_eq!(outlier("'off'").success_rate, None);
    let only_in_row = outlier("{ success_rate = 'off' }");
    assert_eq!(only_in_row.success_rate, None);
    assert_eq!(only_in_row.consecutive, NonZeroU32::new(5));
    let tuned = SuccessRateSettings {
        interval: Duration::from_secs(5),
        requests_min: 100,
        deviations: 3.0,
        percent_max: 90,
    };
    assert_eq!(
        outlier(
            "{ success_rate = { interval = '5s', requests_min = 100, deviations = 3, below = '90%' } }"
        )
        .success_rate,
        Some(tuned)
    );
}

#[test]
fn retries_and_hedges_of_a_route_come_before_those_of_its_pool() {
    let snapshot = snapshot(&with_basics(
        r#"
        retry = { attempts = 2, on = ["502"], timeout = "1s" }
        hedge = { after = "p99", min = "5ms", budget = "10%" }
        [[routes]]
        pool = "app"
        [[routes]]
        pool = "app"
        path = "/tuned"
        retry = { attempts = 3, timeout = "off" }
        hedge = { after = "p99.9" }
        [[routes]]
        pool = "app"
        path = "/off"
        retry = "off"
        hedge = "off"
        [[routes]]
        pool = "app"
        path = "/on"
        hedge = "on""#,
    ));
    let [plain, tuned, off, on] = [0, 1, 2, 3].map(|index| &snapshot.routes[index]);
    assert_eq!(plain.retry.timeout, Some(Duration::from_secs(1)));
    let hedge = HedgeSettings {
        quantile: 0.99,
        delay_min: Duration::from_millis(5),
        budget_percent: 10,
    };
    assert_eq!((plain.hedge, on.hedge), (Some(hedge), Some(hedge)));
    assert_eq!((tuned.retry.attempts, tuned.retry.timeout), (3, None));
    assert_eq!(tuned.retry.on.statuses, [502]);
    let hedge = HedgeSettings {
        quantile: 0.999,
        ..hedge
    };
    assert_eq!(tuned.hedge, Some(hedge));
    assert_eq!((off.retry.attempts, off.hedge), (0, None));
}

#[test]
fn what_a_route_tunes_it_has_even_if_its_pool_has_it_off() {
    let snapshot = snapshot(&with_basics(
        "retry = 'off'\n[[routes]]\npool = 'app'\nretry = { on = ['503'] }\nhedge = 'on'",
    ));
    assert_eq!(snapshot.routes[0].retry.attempts, 1);
    assert_eq!(snapshot.routes[0].hedge, Some(HedgeSettings::default()));
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
fn a_secret_is_read_from_its_file_which_should_be_private() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "0123456789abcdef0123456789abcdef\n").unwrap();
    let config = folder.path().join("pointsman.toml");
    let text = with_basics("sticky.cookie = 'route'");
    let text = format!("secret.file = '{}'\n{text}", file.display());
    std::fs::write(&config, text).unwrap();
    for (mode, warnings) in [(0o600, 0), (0o400, 0), (0o640, 1), (0o604, 1), (0o620, 1)] {
        std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let loaded = load(&config).unwrap();
        assert_eq!(loaded.warnings.len(), warnings, "{mode:o}");
        let secret = loaded.snapshot.secret.expect("there is one");
        assert_eq!(secret.bytes(), b"0123456789abcdef0123456789abcdef");
    }
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
