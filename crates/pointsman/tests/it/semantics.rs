//! What a gateway adds to a message, takes from it and answers itself (RFC 9110 §7).

use testkit::{Client, Endpoint, Received, Reply};

use crate::harness::{Proxy, Setup, named, proxy_to};

/// The request that the endpoint receives for `request`.
#[track_caller]
fn forwarded(request: &str) -> Received {
    let endpoint = named("a");
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send(request);
    let response = client.read_response();
    assert_eq!(response.status, 200, "{}", response.text());
    endpoint.request()
}

#[test]
fn other_fields_pass_unchanged_and_in_order() {
    let endpoint = Endpoint::start(|_| {
        Reply::ok("a")
            .field("X-Odd-CaSe", "1, 2")
            .field("Set-Cookie", "a=1")
            .field("Set-Cookie", "b=2")
            .field("Server", "scripted")
    });
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send(
        "GET /a?b=%20&c HTTP/1.1\r\nHost: test.example:81\r\nx-OnE: 1\r\nX-Two:  two words \r\n\
         x-one: again\r\nCookie: a=1; b=2\r\n\r\n",
    );
    let response = client.read_response();
    let odd = ("X-Odd-CaSe".to_owned(), "1, 2".to_owned());
    assert!(
        response.head.fields.contains(&odd),
        "{:?}",
        response.head.fields
    );
    assert_eq!(response.head.fields("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(response.field("server"), Some("scripted"));
    let request = endpoint.request();
    assert_eq!(request.target(), "/a?b=%20&c");
    assert_eq!(request.head.word(2), "HTTP/1.1");
    assert_eq!(request.head.field("host"), Some("test.example:81"));
    assert_eq!(request.head.fields("x-one"), ["1", "again"]);
    assert_eq!(request.head.field("x-two"), Some("two words"));
    assert_eq!(request.head.field("cookie"), Some("a=1; b=2"));
}

#[test]
fn an_absolute_target_becomes_a_path() {
    let request = forwarded("GET http://test.example/a?b HTTP/1.1\r\nHost: test.example\r\n\r\n");
    assert_eq!(request.target(), "/a?b");
    assert_eq!(request.head.field("host"), Some("test.example"));
    let request = forwarded("GET http://test.example?b HTTP/1.1\r\nHost: test.example\r\n\r\n");
    assert_eq!(request.target(), "/?b");
    let request = forwarded("OPTIONS * HTTP/1.1\r\nHost: test.example\r\n\r\n");
    assert_eq!(request.target(), "*");
    // RFC 9112 §3.2.4: the last proxy turns an empty path of OPTIONS into the asterisk.
    let request = forwarded("OPTIONS http://test.example HTTP/1.1\r\nHost: test.example\r\n\r\n");
    assert_eq!(request.target(), "*");
}

/// RFC 9112 §3.2: the request leaves as HTTP/1.1, which has to name a host.
#[test]
fn an_http_1_0_request_without_host_gets_that_of_its_target() {
    let request = forwarded("GET http://victim.example:81/x HTTP/1.0\r\n\r\n");
    assert_eq!(request.head.line, "GET /x HTTP/1.1");
    assert_eq!(request.head.field("host"), Some("victim.example:81"));
}

#[test]
fn the_endpoint_learns_who_asked_and_how() {
    let endpoint = named("a");
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: test.example:81\r\n\r\n");
    client.read_response();
    let head = endpoint.request().head;
    assert_eq!(head.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(head.field("x-forwarded-proto"), Some("http"));
    assert_eq!(head.field("x-forwarded-host"), Some("test.example:81"));
    let forwarded = head.field("forwarded").expect("Forwarded is set");
    let lower = forwarded.to_ascii_lowercase();
    assert!(lower.contains("for=127.0.0.1"), "{forwarded}");
    assert!(lower.contains("host=\"test.example:81\""), "{forwarded}");
    assert!(lower.contains("proto=http"), "{forwarded}");
}

#[test]
fn a_client_of_a_unix_socket_has_no_address_to_forward() {
    let endpoint = named("a");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("listener.sock");
    let bind = format!("bind = [\"127.0.0.1:0\", \"unix:{}\"]", path.display());
    let _proxy = Setup::to(&[&endpoint]).listener(&bind).start();
    assert_eq!(Client::connect(path).get("/").text(), "a");
    // RFC 7239 §6: an address, `unknown`, or a made-up name that begins with `_`.
    let head = endpoint.request().head;
    let forwarded = head.field("forwarded").expect("Forwarded is set");
    assert!(
        forwarded.contains("for=unknown") || forwarded.contains("for=_"),
        "{forwarded}"
    );
}

#[test]
fn what_a_client_claims_about_itself_is_replaced() {
    let request = forwarded(
        "GET / HTTP/1.1\r\nHost: test.example\r\nX-Forwarded-For: 6.6.6.6\r\n\
         x-forwarded-for: 7.7.7.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\n\
         Forwarded: for=6.6.6.6;host=evil.example\r\nX-Request-Id: chosen\r\n\r\n",
    );
    assert_eq!(request.head.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.head.field("x-forwarded-proto"), Some("http"));
    assert_eq!(request.head.field("x-forwarded-host"), Some("test.example"));
    let forwarded = request.head.field("forwarded").expect("Forwarded is set");
    assert!(
        !forwarded.contains("6.6.6.6") && !forwarded.contains("evil"),
        "{forwarded}"
    );
    assert_ne!(request.head.field("x-request-id"), Some("chosen"));
}

/// Threat 12: what `Connection` names is removed, but never what we set.
#[test]
fn connection_cannot_strip_what_we_set() {
    let request = forwarded(
        "GET / HTTP/1.1\r\nHost: test.example\r\n\
         Connection: x-forwarded-for, X-Forwarded-Proto, x-forwarded-host, forwarded\r\n\
         Connection: via, x-request-id, host, content-length, close\r\n\r\n",
    );
    let head = &request.head;
    assert_eq!(head.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(head.field("x-forwarded-proto"), Some("http"));
    assert_eq!(head.field("x-forwarded-host"), Some("test.example"));
    assert_eq!(head.field("host"), Some("test.example"));
    for name in ["forwarded", "via", "x-request-id"] {
        assert!(head.field(name).is_some(), "{name}: {:?}", head.fields);
    }
}

#[test]
fn connection_cannot_strip_the_framing() {
    let request = forwarded(
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\nContent-Length: 2\r\n\r\nok",
    );
    assert_eq!(request.body().text(), "ok");
    let request = forwarded(
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: transfer-encoding\r\n\
         Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    );
    assert_eq!(request.body().text(), "ok");
}

/// Row 11: an endpoint that does not know that the client waits would answer at another time.
#[test]
fn connection_cannot_strip_the_expectation() {
    let request = forwarded(
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: expect\r\nExpect: 100-continue\r\n\
         Content-Length: 2\r\n\r\nok",
    );
    assert_eq!(request.head.field("expect"), Some("100-continue"));
    assert_eq!(request.body().text(), "ok");
}

#[test]
fn hop_by_hop_fields_end_here() {
    let endpoint = Endpoint::start(|_| {
        Reply::ok("a")
            .field("Connection", "x-hop, keep-alive")
            .field("X-Hop", "1")
            .field("Keep-Alive", "timeout=60")
            .field("Proxy-Connection", "keep-alive")
            .field("X-End", "2")
    });
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive , x-hop\r\nX-Hop: 1\r\n\
         Keep-Alive: timeout=60\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\nX-End: 2\r\n\r\n",
    );
    let response = client.read_response().head;
    let request = endpoint.request().head;
    for head in [&request, &response] {
        for name in ["x-hop", "keep-alive", "proxy-connection", "te"] {
            assert!(head.fields(name).is_empty(), "{name}: {:?}", head.fields);
        }
        assert!(!head.connection_has("x-hop"));
        assert_eq!(head.field("x-end"), Some("2"));
    }
}

#[test]
fn a_request_id_is_made_passed_on_and_returned() {
    let endpoint = named("a");
    let proxy = proxy_to(&[&endpoint]);
    let mut ids = Vec::new();
    for _ in 0..2 {
        let response = proxy.get("/");
        ids.push(
            response
                .field("x-request-id")
                .expect("it is returned")
                .to_owned(),
        );
    }
    assert_ne!(ids[0], ids[1]);
    for (id, request) in ids.iter().zip(endpoint.requests()) {
        assert_eq!(request.head.field("x-request-id"), Some(id.as_str()));
        let groups: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12], "{id}");
        assert_eq!(id.as_bytes()[14], b'7', "{id} is no UUIDv7");
    }
}

#[test]
fn via_is_added_behind_that_of_others() {
    let request = forwarded("GET / HTTP/1.0\r\nHost: a\r\nVia: 1.1 first\r\n\r\n");
    let via = request.head.fields("via").join(", ");
    let hops: Vec<&str> = via.split(',').map(str::trim).collect();
    assert_eq!(hops.len(), 2, "{via}");
    assert_eq!(hops[0], "1.1 first");
    // The version received, not the one sent (RFC 9110 §7.6.3).
    assert!(hops[1].starts_with("1.0 "), "{via}");
}

#[test]
fn a_request_that_comes_back_to_us_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("loop.sock");
    // The endpoint's socket is our own listener's.
    let placeholder = Endpoint::start_unix(&path, |_| Reply::ok("never"));
    let setup = Setup::to(&[&placeholder]).listener(&format!(
        "bind = [\"127.0.0.1:0\", \"unix:{}\"]",
        path.display()
    ));
    drop(placeholder);
    std::fs::remove_file(&path).unwrap();
    let proxy = setup.start();
    assert_eq!(proxy.get("/").status, 508);
}

#[test]
fn max_forwards_is_counted_down_and_ends_here() {
    let endpoint = named("a");
    let proxy = Setup::to(&[&endpoint]).route("trace = \"allow\"").start();
    let mut client = proxy.client();
    client.send("OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 3\r\n\r\n");
    client.read_response();
    assert_eq!(endpoint.request().head.field("max-forwards"), Some("2"));

    client.send("OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n");
    let response = client.read_response();
    assert!((200..300).contains(&response.status), "{}", response.status);
    client.send("TRACE /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n");
    let response = client.read_response();
    assert!(matches!(response.status, 200 | 405), "{}", response.status);
    assert_eq!(endpoint.request_count(), 1);

    // It means nothing for other methods (RFC 9110 §7.6.2).
    client.send("GET / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n");
    assert_eq!(client.read_response().text(), "a");
}

#[test]
fn trace_and_connect_are_refused_by_default() {
    let endpoint = named("a");
    let proxy = proxy_to(&[&endpoint]);
    let refused = |request: &str| {
        let mut client: Client = proxy.client();
        client.send(request);
        client.read_response().status
    };
    assert_eq!(refused("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"), 405);
    let status = refused("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n");
    assert!(matches!(status, 405 | 501), "{status}");
    assert_eq!(endpoint.request_count(), 0);
}

#[test]
fn routes_choose_the_pool_by_host_and_path() {
    let [shop, api, other] = [named("shop"), named("api"), named("other")];
    let proxy = Setup::to(&[&other])
        .more(&format!(
            "[pools.shop]\nendpoints = [\"{}\"]\ncheck = \"off\"\n\
             [pools.api]\nendpoints = [\"{}\"]\ncheck = \"off\"\n\
             [[routes]]\nhost = \"shop.example\"\npool = \"shop\"\n\
             [[routes]]\nhost = \"shop.example\"\npath = \"/api/\"\npool = \"api\"\n",
            shop.peer(),
            api.peer()
        ))
        .start();
    for (host, path, pool) in [
        ("shop.example", "/", "shop"),
        ("SHOP.example:80", "/apix", "shop"),
        ("shop.example", "/api/x?y", "api"),
        ("else.example", "/api/x", "other"),
    ] {
        assert_eq!(
            ask(&proxy, host, path),
            (200, pool.to_owned()),
            "{host}{path}"
        );
    }
}

/// Row 22: a rule for a path cannot be walked around by another spelling of it.
#[test]
fn a_route_takes_every_spelling_of_its_path_and_the_endpoint_gets_it_as_sent() {
    let [api, other] = [named("api"), named("other")];
    let proxy = Setup::to(&[&other])
        .more(&format!(
            "[pools.api]\nendpoints = [\"{}\"]\ncheck = \"off\"\n\
             [[routes]]\npath = \"/api/\"\npool = \"api\"\n",
            api.peer()
        ))
        .start();
    let spellings = [
        "/api/x",
        "//api/x",
        "/api//x",
        "/%61pi/x",
        "/api%2fx",
        "/%2Fapi%2Fx",
    ];
    for path in spellings {
        assert_eq!(ask(&proxy, "a", path), (200, "api".to_owned()), "{path}");
    }
    let requests = api.requests();
    let paths: Vec<&str> = requests.iter().map(|request| request.target()).collect();
    assert_eq!(paths, spellings);
}

#[test]
fn what_no_route_takes_is_not_found() {
    let endpoint = named("a");
    let proxy = Setup::to(&[&endpoint])
        .route("host = \"shop.example\"")
        .start();
    assert_eq!(ask(&proxy, "shop.example", "/").0, 200);
    assert_eq!(ask(&proxy, "else.example", "/").0, 404);
    assert_eq!(endpoint.request_count(), 1);
}

fn ask(proxy: &Proxy, host: &str, path: &str) -> (u16, String) {
    let mut client = proxy.client();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    let response = client.read_response();
    (response.status, response.text())
}
