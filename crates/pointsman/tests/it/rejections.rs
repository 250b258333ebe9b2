//! Requests that could be read in two ways are refused: an answer, a close, and nothing of them
//! at an endpoint. Tests are named after the mechanism; numbers are rows of `threats.md`.

use testkit::{Client, End, Endpoint, Gate, ReadError, Reply, Step, poll_until};

use crate::harness::{Proxy, SOON, named, proxy_to};

/// Sends each of `requests` on a connection of its own; it must be refused with `status`, the
/// connection closed, and the endpoint left alone.
#[track_caller]
fn assert_rejected(status: u16, requests: &[&[u8]]) {
    let endpoint = named("a");
    let proxy = proxy_to(&[&endpoint]);
    for request in requests {
        let text = String::from_utf8_lossy(&request[..request.len().min(200)]);
        let mut client = proxy.client();
        // What follows would be taken for the next request by a reader that misjudged the end.
        let follower = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
        // The proxy may close before it has read everything.
        let _ = client.try_send([*request, follower].concat());
        let response = match client.try_read_response("GET", 4096) {
            Ok(response) => response,
            Err(error) => panic!("{error:?} for {text:?}"),
        };
        assert_eq!(response.status, status, "{text:?}");
        assert!(response.head.connection_has("close"), "{text:?}");
        client.expect_close();
        let received = endpoint.received().concat();
        assert!(received.is_empty(), "{text:?} reached the endpoint");
    }
    assert_eq!(proxy.get("/").text(), "a");
}

fn with_fields(fields: &[&str]) -> Vec<Vec<u8>> {
    let requests = fields
        .iter()
        .map(|fields| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n").into_bytes());
    requests.collect()
}

#[track_caller]
fn assert_fields_rejected(fields: &[&str]) {
    let requests = with_fields(fields);
    let requests: Vec<&[u8]> = requests.iter().map(Vec::as_slice).collect();
    assert_rejected(400, &requests);
}

/// Row 1.
#[test]
fn content_length_and_transfer_encoding_together() {
    assert_fields_rejected(&[
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: identity",
    ]);
}

/// Row 2.
#[test]
fn transfer_encoding_in_disguise() {
    assert_fields_rejected(&[
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: chunked\x0c",
        "Transfer-Encoding: \0chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: chunke",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding:",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding : chunked",
        " Transfer-Encoding: chunked",
        "Transfer-Encoding\0: chunked",
        "Transfer_Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
    ]);
}

/// Row 2: a name that is almost the field is another field, and frames nothing. One that differs
/// by `_` is the same to CGI, and is refused.
#[test]
fn transfer_encoding_under_another_name() {
    let endpoint = Endpoint::start(|_| Reply::echo());
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nXTransfer-Encoding: chunked\r\n\
         Content-Length: 2\r\n\r\nok",
    );
    assert_eq!(client.read_response().status, 200);
    assert_eq!(endpoint.request().body().text(), "ok");
}

#[test]
fn transfer_encoding_in_http_1_0() {
    assert_rejected(
        400,
        &[b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    );
}

/// CGI and what came after it take `_` for `-`: the endpoint would believe the client's field.
#[test]
fn names_that_differ_from_ours_by_underscores() {
    assert_fields_rejected(&[
        "X_Forwarded_For: 6.6.6.6",
        "x_forwarded-for: 6.6.6.6",
        "X-Forwarded_Proto: https",
        "Content_Length: 5",
        "Content_Length: 5\r\nContent-Length: 0",
    ]);
}

/// Row 3: no length of a name or value wraps, so that it hides what follows it.
#[test]
fn field_lengths_that_wrap_an_integer() {
    let name = |bytes: usize| format!("Content-Length0{}", "a".repeat(bytes - 15));
    // 8 bits hold no such length, and nothing comes of it.
    let endpoint = named("a");
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    let long = name(256 + 14);
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\n{long}:\r\nContent-Length: 2\r\n\r\nok"
    ));
    assert_eq!(client.read_response().status, 200);
    let request = endpoint.request();
    assert_eq!(request.head.field(&long), Some(""));
    assert_eq!(request.body().text(), "ok");

    // 16 bits hold no such length, and it is beyond the limit.
    let longer = format!(
        "POST / HTTP/1.1\r\nHost: a\r\n{}:\r\nContent-Length: 2\r\n\r\nok",
        name(65_536 + 14)
    );
    assert_rejected(431, &[longer.as_bytes()]);
}

/// Row 4.
#[test]
fn an_empty_field_name_hides_the_fields_behind_it() {
    assert_fields_rejected(&[
        ": empty\r\nContent-Length: 5",
        ":\r\nTransfer-Encoding: chunked",
        "Content-Length: 0\r\n:\r\nX: y",
    ]);
}

/// Row 5.
#[test]
fn content_length_that_is_not_one_plain_number() {
    assert_fields_rejected(&[
        "Content-Length:",
        "Content-Length: +2",
        "Content-Length: -2",
        "Content-Length: 0x2",
        "Content-Length: 2 2",
        "Content-Length: 2,2",
        "Content-Length: 2, 3",
        "Content-Length: 2.0",
        "Content-Length: 2e1",
        "Content-Length: two",
        "Content-Length: \x0b2",
        "Content-Length : 2",
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: 2\r\nContent-Length: 2",
        "Content-Length: 2\r\nContent-Length:",
        "Content-Length: 18446744073709551616",
        "Content-Length: 18446744073709551618",
        "Content-Length: 99999999999999999999999999",
        "Content-Length: \u{0662}",
    ]);
}

/// Row 6.
#[test]
fn a_fragment_in_the_target() {
    assert_rejected(
        400,
        &[
            b"GET /index.html#.png HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /# HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET http://a/#x HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
    );
}

/// Row 13, and the like in targets and names.
#[test]
fn control_bytes_become_new_lines_for_somebody() {
    assert_fields_rejected(&[
        "X: a\0b",
        "X: a\rb",
        "X: a\nX-Injected: b",
        "X: a\r\r\nb: c",
        "X: a\x7fb",
        "X: \x01",
        "X\r: a",
        "X\0: a",
    ]);
    assert_rejected(
        400,
        &[
            b"GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /a\x0bb HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /a\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n",
            b"G\0T / HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
    );
}

#[test]
fn bare_line_ends() {
    assert_rejected(
        400,
        &[
            b"GET / HTTP/1.1\nHost: a\n\n",
            b"GET / HTTP/1.1\r\nHost: a\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\n",
            b"GET / HTTP/1.1\rHost: a\r\r",
            b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
        ],
    );
}

#[test]
fn folded_lines_and_white_space_around_names() {
    assert_fields_rejected(&[
        "X: a\r\n b",
        "X: a\r\n\tb",
        " X: a",
        "\tX: a",
        "X : a",
        "X\t: a",
        "X Y: a",
    ]);
    assert_rejected(400, &[b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"]);
}

#[test]
fn field_names_that_are_no_tokens() {
    assert_fields_rejected(&[
        "X(Y): a",
        "X\"Y: a",
        "X/Y: a",
        "X@: a",
        "\u{e9}: a",
        "X=Y",
        "X",
    ]);
}

#[test]
fn hosts_that_are_missing_repeated_or_invalid() {
    assert_rejected(
        400,
        &[
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a:port\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a:999999\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
        ],
    );
}

#[test]
fn a_host_that_disagrees_with_the_target() {
    assert_rejected(
        400,
        &[
            b"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
            b"GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n",
        ],
    );
}

#[test]
fn request_lines_that_are_malformed() {
    assert_rejected(
        400,
        &[
            b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
            b"GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
            b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /\r\nHost: a\r\n\r\n",
            b"GET / http/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTP/11\r\nHost: a\r\n\r\n",
            b"GET / HTTPS/1.1\r\nHost: a\r\n\r\n",
            b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET path HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        ],
    );
    assert_rejected(
        505,
        &[
            b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            b"GET / HTTP/0.9\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        ],
    );
}

/// Row 22.
#[test]
fn dot_segments_that_router_and_endpoint_see_differently() {
    let targets = [
        "/..",
        "/../x",
        "/a/../b",
        "/a/./b",
        "/.",
        "/a/%2e%2e/b",
        "/a/.%2E/b",
        "/a%2f..%2fb",
        "/a%2F%2e%2e%2fb",
        "/a/..%5cb",
        "/a/..;/b",
        "/a\\..\\b",
        "/a\\b",
    ];
    let requests =
        targets.map(|target| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes());
    assert_rejected(400, &requests.each_ref().map(Vec::as_slice));
}

/// Row 22: what is no dot segment is nobody's to change.
#[test]
fn odd_but_honest_paths_pass_unchanged() {
    let endpoint = named("a");
    let proxy = proxy_to(&[&endpoint]);
    let targets = [
        "//a//b",
        "/a%2fb",
        "/...",
        "/.well-known/x",
        "/a..b",
        "/%41",
        "/a?../../b",
        "/a;x",
    ];
    let mut client = proxy.client();
    for target in targets {
        assert_eq!(client.get(target).status, 200, "{target}");
    }
    let requests = endpoint.requests();
    let seen: Vec<&str> = requests.iter().map(|request| request.target()).collect();
    assert_eq!(seen, targets);
}

#[test]
fn expectations_other_than_continue() {
    let requests = with_fields(&["Expect: 200-ok", "Expect: 100-continue, x"]);
    assert_rejected(417, &requests.iter().map(Vec::as_slice).collect::<Vec<_>>());
}

/// Sends a chunked request whose head is good. Whatever the endpoint saw of it must not look
/// whole.
#[track_caller]
fn assert_chunks_rejected(bodies: &[&[u8]]) {
    let endpoint = named("a");
    let proxy = proxy_to(&[&endpoint]);
    for body in bodies {
        let text = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let mut client = proxy.client();
        let head = b"POST /bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let follower = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
        let _ = client.try_send([head, *body, follower].concat());
        match client.try_read_response("POST", 4096) {
            Ok(response) => {
                assert_eq!(response.status, 400, "{text:?}");
                client.expect_close();
            }
            Err(ReadError::Closed | ReadError::Reset) => {}
            Err(error) => panic!("{error:?} for {text:?}"),
        }
    }
    poll_until("the cut requests are over", SOON, || {
        endpoint
            .requests()
            .iter()
            .all(|request| request.body.is_some())
    });
    for request in endpoint.requests() {
        assert_eq!(request.target(), "/bad");
        assert_ne!(request.body().end, End::Clean);
    }
    assert_eq!(proxy.get("/").text(), "a");
}

/// Row 7.
#[test]
fn chunk_sizes_that_are_no_plain_numbers() {
    assert_chunks_rejected(&[
        b"00000000000000002\r\nok\r\n0\r\n\r\n",
        b"10000000000000002\r\nok\r\n0\r\n\r\n",
        b"ffffffffffffffff\r\nok\r\n0\r\n\r\n",
        b"+2\r\nok\r\n0\r\n\r\n",
        b"-2\r\nok\r\n0\r\n\r\n",
        b"0x2\r\nok\r\n0\r\n\r\n",
        b" 2\r\nok\r\n0\r\n\r\n",
        b"2 \r\nok\r\n0\r\n\r\n",
        b"2\t\r\nok\r\n0\r\n\r\n",
        b"\r\nok\r\n0\r\n\r\n",
        b"g\r\nok\r\n0\r\n\r\n",
        b"2\nok\r\n0\r\n\r\n",
        b"2\rok\r\n0\r\n\r\n",
        b"2\r\nokay\r\n0\r\n\r\n",
        b"2\r\nok0\r\n\r\n",
        b"2\r\nok\n0\r\n\r\n",
        b"2\r\nok\r\n0\n\r\n",
        b"2\r\nok\r\n0\r\n\n",
    ]);
}

/// Row 8.
#[test]
fn chunk_extensions_that_hide_line_ends_or_never_end() {
    let endless = [
        b"2;".to_vec(),
        vec![b'x'; 100_000],
        b"\r\nok\r\n0\r\n\r\n".to_vec(),
    ]
    .concat();
    assert_chunks_rejected(&[
        b"2;a\nok\r\n0\r\n\r\n",
        b"2;a\rb\r\nok\r\n0\r\n\r\n",
        b"2;\"\n\"\r\nok\r\n0\r\n\r\n",
        b"2;a=\"\r\nok\"\n\r\n0\r\n\r\n",
        b"2;\0\r\nok\r\n0\r\n\r\n",
        &endless,
    ]);
}

#[test]
fn trailers_that_are_malformed_or_endless() {
    let endless = [
        b"0\r\n".to_vec(),
        b"X: y\r\n".repeat(20_000),
        b"\r\n".to_vec(),
    ]
    .concat();
    assert_chunks_rejected(&[
        b"0\r\nX: a\nb: c\r\n\r\n",
        b"0\r\nX\r\n\r\n",
        b"0\r\n X: y\r\n\r\n",
        b"0\r\n: y\r\n\r\n",
        b"0\r\nX: a\0\r\n\r\n",
        &endless,
    ]);
}

#[test]
fn trailers_cannot_frame_or_route() {
    let endpoint = named("a");
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\
         Content-Length: 5\r\nTransfer-Encoding: x\r\nHost: evil\r\nX-Forwarded-For: 6.6.6.6\r\n\
         X-Good: 1\r\n\r\n",
    );
    assert_eq!(client.read_response().status, 200);
    let request = endpoint.request();
    assert_eq!(
        request.body().trailers,
        [("X-Good".to_owned(), "1".to_owned())]
    );
}

/// Row 9 (CL.0): the endpoint answers without reading the body and keeps the connection.
#[test]
fn a_body_that_the_endpoint_ignored_is_not_its_next_request() {
    let endpoint = Endpoint::start(|_| Reply::ok("early").unread());
    let proxy = proxy_to(&[&endpoint]);
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut client = proxy.client();
    let bytes = smuggled.len();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n"
    ));
    assert_eq!(client.read_response().text(), "early");
    let _ = client.try_send(smuggled);
    for _ in 0..3 {
        assert_eq!(proxy.get("/next").text(), "early");
    }
    assert!(
        endpoint
            .requests()
            .iter()
            .all(|request| request.target() != "/smuggled")
    );
    // Nobody else's request went over the connection with the unread body.
    let reused = endpoint
        .requests()
        .iter()
        .filter(|request| request.connection == 0)
        .count();
    assert_eq!(reused, 1);
}

/// Row 11: the endpoint answers finally although the client waits for 100 Continue.
#[test]
fn a_body_sent_after_a_final_answer_is_not_a_request() {
    let endpoint = Endpoint::start(|_| Reply::ok("early").unread());
    let proxy = proxy_to(&[&endpoint]);
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut client = proxy.client();
    let bytes = smuggled.len();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\nExpect: 100-continue\r\n\r\n"
    ));
    assert_eq!(client.read_response().text(), "early");
    let _ = client.try_send(smuggled);
    // Either the connection is over or the bytes were discarded as the body they are.
    if client
        .try_send("GET /honest HTTP/1.1\r\nHost: a\r\n\r\n")
        .is_ok()
    {
        match client.try_read_response("GET", 100) {
            Ok(response) => assert_eq!(response.text(), "early"),
            Err(ReadError::Closed | ReadError::Reset) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(
        endpoint
            .requests()
            .iter()
            .all(|request| request.target() != "/smuggled")
    );
}

/// Row 14: an endpoint that says too much says it to the client that asked, or to nobody.
#[test]
fn surplus_bytes_after_a_response_answer_nobody() {
    let response = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let endpoint = Endpoint::start(move |request| match request.target() {
        "/evil" => Reply::raw(format!("{response}mine{poison}")),
        _ => Reply::ok("yours"),
    });
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    for _ in 0..5 {
        assert_eq!(client.get("/evil").text(), "mine");
        assert_eq!(client.get("/").text(), "yours");
        assert_eq!(proxy.get("/").text(), "yours");
    }
}

/// Row 14: the same with the surplus a moment later, on an idle connection.
#[test]
fn bytes_on_an_idle_connection_answer_nobody() {
    let gate = Gate::new();
    let endpoint = Endpoint::start({
        let gate = gate.clone();
        move |request| match request.target() {
            "/evil" => Reply::ok("mine")
                .then(Step::Wait(gate.clone()))
                .then(Step::Send(
                    b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison".to_vec(),
                )),
            _ => Reply::ok("yours"),
        }
    });
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    assert_eq!(client.get("/evil").text(), "mine");
    gate.open();
    poll_until("the poison is sent", SOON, || endpoint.in_flight() == 0);
    assert_eq!(client.get("/").text(), "yours");
}

/// Row 14, for a response that must not have a body.
#[test]
fn a_body_where_there_must_be_none_answers_nobody() {
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let endpoint = Endpoint::start(move |request| match request.target() {
        "/204" => Reply::raw(format!("HTTP/1.1 204 No Content\r\n\r\n{poison}")),
        "/304" => Reply::raw(format!("HTTP/1.1 304 Not Modified\r\n\r\n{poison}")),
        "/head" => Reply::raw(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{poison}"
        )),
        _ => Reply::ok("yours"),
    });
    let proxy = proxy_to(&[&endpoint]);
    for target in ["/204", "/304", "/head"] {
        let mut client = proxy.client();
        client.send(format!("HEAD {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client.read_response_to("HEAD");
        assert_eq!(client.get("/").text(), "yours", "{target}");
    }
}

#[test]
fn an_empty_line_before_a_request_is_tolerated_once() {
    let endpoint = named("a");
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_response().text(), "a");
    assert!(endpoint.received()[0].starts_with(b"GET"));
}

#[test]
fn a_good_request_before_a_bad_one_is_answered() {
    let endpoint = named("a");
    let proxy: Proxy = proxy_to(&[&endpoint]);
    let mut client: Client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost : a\r\n\r\n");
    assert_eq!(client.read_response().text(), "a");
    assert_eq!(client.read_response().status, 400);
    client.expect_close();
    assert_eq!(endpoint.request_count(), 1);
}
