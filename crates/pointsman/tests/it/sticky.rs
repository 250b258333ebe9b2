//! A session's requests go where the session is.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use testkit::{Endpoint, Gate, Load, Reply, Response, Script, Step, poll_until};

use crate::harness::{Proxy, SOON, Setup, named};

const COOKIE: &str = "sticky = { cookie = \"route\" }";

/// Sessions by a cookie of the application.
const KEY: &str = "sticky = { key = { cookie = \"id\" } }";

/// How long a request stays in the queue at least.
const QUEUED: Duration = Duration::from_millis(600);

/// GETs `/` with these field lines.
#[track_caller]
fn get(proxy: &Proxy, fields: &str) -> Response {
    let mut client = proxy.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    client.read_response()
}

/// The cookie that the response sets, as a field of the next request.
#[track_caller]
fn cookie(response: &Response) -> String {
    let set = response.field("set-cookie").expect("a cookie is set");
    format!("Cookie: {}\r\n", set.split(';').next().unwrap_or_default())
}

/// Clients until every endpoint has one: the cookie of each, by the endpoint's name.
#[track_caller]
fn cookies(proxy: &Proxy, endpoints: usize) -> BTreeMap<String, String> {
    let mut cookies = BTreeMap::new();
    for _ in 0..1000 {
        let response = get(proxy, "");
        cookies.insert(response.text(), cookie(&response));
        if cookies.len() == endpoints {
            return cookies;
        }
    }
    panic!("only {:?} get clients", cookies.keys());
}

/// A file with a secret, and the key that names it.
fn secret(directory: &Path) -> String {
    let file = directory.join("secret");
    std::fs::write(&file, "0123456789abcdef0123456789abcdef").expect("a file can be written");
    format!("secret = {{ file = \"{}\" }}", file.display())
}

#[test]
fn a_client_stays_with_the_endpoint_that_its_cookie_names() {
    let endpoints = ["a", "b", "c"].map(named);
    let proxy = Setup::to(&endpoints.each_ref())
        .pool(COOKIE)
        .pool("policy = \"round_robin\"")
        .workers(1)
        .start();
    let cookies = cookies(&proxy, 3);
    for (endpoint, cookie) in &cookies {
        for _ in 0..5 {
            let response = get(&proxy, cookie);
            assert_eq!(response.text(), *endpoint);
            assert_eq!(response.field("set-cookie"), None, "it knows");
        }
    }
    assert_eq!(proxy.metric("pointsman_pool_sticky_hits_total", &[]), 15.0);
    for (number, line) in proxy.log(18).iter().enumerate() {
        let why = if number < 3 { "policy" } else { "sticky" };
        assert_eq!(line["attempts"][0]["why"], why);
    }
}

#[test]
fn the_cookie_is_for_the_client_alone_and_names_nobody() {
    let a = Endpoint::start(|_| Reply::ok("a"));
    let address = a.address();
    let proxy = Setup::to_tables(&[(&a, "name = \"blue\"")])
        .pool(COOKIE)
        .start();
    let response = get(&proxy, "");
    let set = response.field("set-cookie").expect("a cookie is set");
    let (pair, attributes) = set.split_once("; ").expect("it has attributes");
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
    let value = pair.strip_prefix("route=").expect("it has the name");
    assert_eq!(value.len(), 64);
    for readable in ["blue", "app", &address.port().to_string(), "127"] {
        assert!(!value.contains(readable), "{value}");
    }

    get(&proxy, &cookie(&response));
    get(
        &proxy,
        &format!("Cookie: x=1; {pair}; y=\"2\"\r\nCookie: z=3\r\n"),
    );
    let requests = a.requests();
    assert_eq!(requests[1].head.fields("cookie"), [""; 0]);
    let mut others = requests[2].head.fields("cookie");
    others.sort_unstable();
    assert_eq!(others, ["x=1; y=\"2\"", "z=3"]);
}

#[test]
fn clients_stay_through_a_restart_with_the_same_secret_and_another_order() {
    let [a, b] = ["a", "b"].map(named);
    let directory = tempfile::tempdir().expect("a directory can be made");
    let secret = secret(directory.path());
    let start = |endpoints: &[&Endpoint]| Setup::to(endpoints).top(&secret).pool(COOKIE).start();
    let before = start(&[&a, &b]);
    let cookies = cookies(&before, 2);
    before.stop();
    let after = start(&[&b, &a]);
    for (endpoint, cookie) in cookies {
        for _ in 0..3 {
            let response = get(&after, &cookie);
            assert_eq!(response.text(), endpoint);
            assert_eq!(response.field("set-cookie"), None);
        }
    }
}

#[test]
fn what_is_not_our_cookie_is_replaced_and_does_no_harm() {
    let [a, b] = ["a", "b"].map(named);
    let directory = tempfile::tempdir().expect("a directory can be made");
    let secret = secret(directory.path());
    let proxy = Setup::to(&[&a, &b])
        .top(&secret)
        .pool(COOKIE)
        .route("path = \"/\"")
        .more(&format!(
            "[pools.other]\nendpoints = [\"{}\"]\ncheck = \"off\"\n{COOKIE}\n\
             [[routes]]\npath = \"/other\"\npool = \"other\"",
            a.peer()
        ))
        .start();
    let good = cookie(&get(&proxy, ""));
    assert_eq!(get(&proxy, &good).field("set-cookie"), None);

    // Another process, with a key of its own.
    let stranger = Setup::to(&[&a, &b]).pool(COOKIE).start();
    let foreign = cookie(&get(&stranger, ""));
    let mut tampered = good.clone().into_bytes();
    let place = tampered.len() - 10;
    tampered[place] = if tampered[place] == b'A' { b'B' } else { b'A' };
    let tampered = String::from_utf8(tampered).expect("it was ASCII");
    let mut client = proxy.client();
    let of_other = cookie(&client.get("/other"));
    for bad in [
        foreign.as_str(),
        &tampered,
        &of_other,
        "Cookie: route=\r\n",
        "Cookie: route\r\n",
        "Cookie: route=127.0.0.1:80\r\n",
    ] {
        let response = get(&proxy, bad);
        assert_eq!(response.status, 200);
        let given = cookie(&response);
        assert_ne!(given, bad);
        assert_eq!(get(&proxy, &given).text(), response.text());
    }
}

#[test]
fn a_client_moves_within_one_request_when_its_endpoint_dies() {
    let [a, b] = ["a", "b"].map(named);
    let proxy = Setup::to(&[&a, &b]).pool(COOKIE).start();
    let cookies = cookies(&proxy, 2);
    // The endpoint's kept connections are open until the moment it dies.
    get(&proxy, &cookies["a"]);
    a.kill();
    let moved = get(&proxy, &cookies["a"]);
    assert_eq!((moved.status, moved.text().as_str()), (200, "b"));
    let given = cookie(&moved);
    a.listen_again();
    for _ in 0..5 {
        let response = get(&proxy, &given);
        assert_eq!(response.text(), "b", "its session is there now");
        assert_eq!(response.field("set-cookie"), None);
    }
    assert_eq!(proxy.metric("pointsman_pool_sticky_misses_total", &[]), 1.0);
}

#[test]
fn a_kept_connection_that_has_closed_does_not_move_a_session() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    // Over a Unix socket the race can be staged: the proxy learns by its write, and not before,
    // that the endpoint takes nothing more on a connection.
    let endpoints = ["a", "b"].map(|name| {
        Endpoint::start_unix(&directory.path().join(name), move |_| {
            let reply = Reply::ok(name).first(Step::StopReading);
            reply.then(Step::Wait(Gate::new()))
        })
    });
    let proxy = Setup::to(&endpoints.each_ref())
        .pool(KEY)
        .workers(1)
        .start();
    let first = get(&proxy, "Cookie: id=1\r\n").text();
    for _ in 0..5 {
        let response = get(&proxy, "Cookie: id=1\r\n");
        assert_eq!((response.status, response.text()), (200, first.clone()));
    }
    let log = proxy.log(2);
    let outcomes = log[1]["attempts"].as_array().into_iter().flatten();
    let outcomes: Vec<_> = outcomes.map(|attempt| &attempt["outcome"]).collect();
    assert_eq!(outcomes, ["stale", "ok"]);
}

#[test]
fn the_second_try_on_a_new_connection_begins_when_it_begins() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let gate = Gate::new();
    let a = Endpoint::start_unix(&directory.path().join("a"), {
        let gate = gate.clone();
        move |_| {
            let reply = Reply::ok("a").first(Step::Pause(QUEUED));
            let reply = reply.first(Step::Wait(gate.clone()));
            let reply = reply.first(Step::StopReading);
            reply.then(Step::Wait(Gate::new()))
        }
    });
    let proxy = Setup::to_tables(&[(&a, "max_requests = 1")])
        .pool(KEY)
        .workers(1)
        .start();
    let mut clients = [proxy.client(), proxy.client()];
    for (number, client) in clients.iter_mut().enumerate() {
        client.send("GET / HTTP/1.1\r\nHost: a\r\nCookie: id=1\r\n\r\n");
        poll_until("it is there", SOON, || {
            let queued = proxy.metric("pointsman_pool_queue_length", &[]);
            a.in_flight() + queued as usize == number + 1
        });
    }
    gate.open();
    for client in &mut clients {
        assert_eq!(client.read_response().status, 200);
    }
    let log = proxy.log(2);
    let attempts = &log[1]["attempts"];
    assert_eq!(attempts[0]["outcome"], "stale", "{attempts}");
    assert_eq!(attempts[1]["outcome"], "ok", "{attempts}");
    let connect = attempts[1]["connect"].as_f64().expect("it is a new one");
    assert!(connect < QUEUED.as_secs_f64() / 2.0, "{attempts}");
}

#[test]
fn sessions_of_a_load_never_move_and_none_is_lost_when_an_endpoint_dies() {
    let [a, b] = ["a", "b"].map(named);
    let proxy = Setup::to(&[&a, &b])
        .pool("sticky = { key = \"client_ip\" }")
        .start();
    // All of them are one session.
    let outcomes = Load::get(proxy.peer(), 100).run();
    outcomes.assert_all_ok();
    assert_eq!(outcomes.bodies.len(), 1, "{:?}", outcomes.bodies);
    let load = Load::get(proxy.peer(), 2000).start();
    poll_until("the load is on", SOON, || load.done() > 100);
    let owner = if outcomes.bodies.contains_key("a") {
        &a
    } else {
        &b
    };
    owner.kill();
    load.finish().assert_all_ok();
}

#[test]
fn a_strict_session_is_refused_until_its_endpoint_is_back() {
    let [a, b] = ["a", "b"].map(named);
    let proxy = Setup::to(&[&a, &b])
        .pool("sticky = { key = { header = \"x-user\" }, mode = \"strict\" }")
        .pool("check = { http = \"/\", interval = \"100ms\", timeout = \"500ms\" }")
        .start();
    poll_until("both are up", SOON, || {
        proxy.status()["pools"][0]["endpoints"]
            .as_array()
            .is_some_and(|endpoints| endpoints.iter().all(|one| one["availability"] == "up"))
    });
    let owner = get(&proxy, "X-User: ann\r\n").text();
    let (dead, other) = if owner == "a" { (&a, "b") } else { (&b, "a") };
    dead.kill();
    proxy.wait_for_down(1);
    let refused = get(&proxy, "X-User: ann\r\n");
    assert_eq!(refused.status, 503);
    let proxy_status = refused.field("proxy-status").unwrap_or_default();
    assert!(
        proxy_status.contains("destination_unavailable"),
        "{proxy_status}"
    );
    assert_eq!(get(&proxy, "").text(), other, "others are served");
    dead.listen_again();
    proxy.wait_for_down(0);
    assert_eq!(get(&proxy, "X-User: ann\r\n").text(), owner);
}

#[test]
fn a_session_belongs_to_the_endpoint_that_set_it() {
    let setter = |name: &'static str| {
        Endpoint::start(move |request| match request.target() {
            "/login" => Reply::ok(name)
                .field("Set-Cookie", "lang=en; Path=/")
                .field("Set-Cookie", &format!("id={name}7; Path=/; Secure")),
            _ => Reply::ok(name),
        })
    };
    let [a, b] = ["a", "b"].map(setter);
    let proxy = Setup::to(&[&a, &b])
        .pool("sticky = { learn = { cookie = \"id\" } }")
        .pool("policy = \"round_robin\"")
        .start();
    let mut logins = BTreeMap::new();
    while logins.len() < 2 {
        let login = proxy.client().get("/login");
        logins.insert(login.text(), ());
    }
    for name in logins.keys() {
        for _ in 0..6 {
            let response = get(&proxy, &format!("Cookie: lang=en; id={name}7\r\n"));
            assert_eq!(response.text(), *name);
        }
    }
    // Nobody set this one.
    let unknown = (0..10).map(|_| get(&proxy, "Cookie: id=c7\r\n").text());
    let unknown: std::collections::BTreeSet<String> = unknown.collect();
    assert_eq!(unknown.len(), 2, "{unknown:?}");
}

#[test]
fn a_client_that_begins_with_a_websocket_gets_its_cookie() {
    let a = Endpoint::start(|_| Reply::tunnel("websocket"));
    let proxy = Setup::to(&[&a]).pool(COOKIE).start();
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let switched = get(&proxy, upgrade);
    assert_eq!(switched.status, 101);
    assert_eq!(switched.field("upgrade"), Some("websocket"));
    let again = get(&proxy, &(cookie(&switched) + upgrade));
    assert_eq!((again.status, again.field("set-cookie")), (101, None));
}

#[test]
fn a_session_may_be_learned_from_a_header() {
    let setter = |name: &'static str| {
        Endpoint::start(move |_| Reply::ok(name).field("X-Session-Owner", &format!("s-{name}")))
    };
    let [a, b] = ["a", "b"].map(setter);
    let proxy = Setup::to(&[&a, &b])
        .pool("sticky = { learn = { header = \"X-Session-Owner\" } }")
        .start();
    let mut seen = BTreeMap::new();
    poll_until("both have answered", SOON, || {
        seen.insert(get(&proxy, "").text(), ());
        seen.len() == 2
    });
    for name in ["a", "b", "a", "b"] {
        let response = get(&proxy, &format!("x-session-owner: s-{name}\r\n"));
        assert_eq!(response.text(), name);
    }
}

/// An agent, and whether it says `drain`; else it says `ready`.
fn agent() -> (Endpoint, Arc<AtomicBool>) {
    let is_draining = Arc::new(AtomicBool::new(false));
    let agent = Endpoint::with_script(Script::new(|_| Reply::hang()).on_connect({
        let is_draining = Arc::clone(&is_draining);
        move |_| {
            let word = match is_draining.load(Ordering::Relaxed) {
                true => "drain\n",
                false => "ready\n",
            };
            vec![Step::Send(word.into()), Step::Close]
        }
    }));
    (agent, is_draining)
}

/// Answers `b` for as long as the process lives, at an address where no agent is.
fn start_without_agent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.2:0").expect("all of 127.0.0.0/8 is loopback");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        while let Ok((mut client, _)) = listener.accept() {
            let mut request = [0; 4096];
            let _ = client.read(&mut request);
            let _ = client
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nb");
        }
    });
    address
}

#[test]
fn when_the_time_to_drain_is_over_sessions_move_unless_they_may_not() {
    for (mode, status) in [("fall_back", 200), ("strict", 503)] {
        let (agent, is_draining) = agent();
        let a = named("a");
        let port = agent.address().port();
        let proxy = Setup::to(&[&a])
            .and_to(start_without_agent())
            .pool("policy = \"first\"\ndrain = \"2s\"")
            .pool(&format!(
                "sticky = {{ key = {{ cookie = \"id\" }}, mode = \"{mode}\" }}"
            ))
            .pool(&format!(
                "agent = {{ tcp = \"\", port = {port}, interval = \"100ms\" }}"
            ))
            .start();
        let of_session = || get(&proxy, "Cookie: id=1\r\n");
        let admin_state = || proxy.status()["pools"][0]["endpoints"][0]["admin_state"].clone();
        assert_eq!(of_session().text(), "a");
        is_draining.store(true, Ordering::Relaxed);
        poll_until("others go to b", SOON, || proxy.get("/").text() == "b");
        let kept = of_session();
        poll_until("the end of the drain", SOON, || admin_state() == "maint");
        assert_eq!(kept.text(), "a", "before its end");
        let response = of_session();
        assert_eq!(response.status, status, "{mode}");
        if status == 200 {
            assert_eq!(response.text(), "b");
        }
        assert_eq!(
            proxy.metric("pointsman_endpoint_sessions_cut_total", &[]),
            1.0
        );
    }
}

#[test]
fn a_draining_endpoint_keeps_its_sessions_and_says_how_many_are_left() {
    let (agent, is_draining) = agent();
    let [a, b] = ["a", "b"].map(named);
    let port = agent.address().port();
    let proxy = Setup::to(&[&a, &b])
        .pool(KEY)
        .pool(&format!(
            "agent = {{ tcp = \"\", port = {port}, interval = \"100ms\" }}"
        ))
        .start();
    let of = |id: &str| get(&proxy, &format!("Cookie: id={id}\r\n"));
    let before = ["1", "2", "3"].map(|id| of(id).text());
    is_draining.store(true, Ordering::Relaxed);
    let mut number = 100;
    let mut of_new = || {
        number += 1;
        of(&number.to_string()).status
    };
    poll_until("nobody takes a new session", SOON, || of_new() == 503);
    assert_eq!(["1", "2", "3"].map(|id| of(id).text()), before);
    assert_eq!(get(&proxy, "").status, 503);
    let endpoints = proxy.status()["pools"][0]["endpoints"].clone();
    let left = endpoints.as_array().into_iter().flatten();
    let left = left.filter_map(|endpoint| endpoint["sessions"].as_u64());
    let left = left.sum::<u64>();
    assert!(left >= 3, "{endpoints}");
    assert_eq!(
        proxy.metric("pointsman_endpoint_sessions", &[]),
        left as f64
    );
    is_draining.store(false, Ordering::Relaxed);
    poll_until("new sessions are taken", SOON, || of_new() == 200);
}
