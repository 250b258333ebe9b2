//! Endpoints that break off, talk nonsense or frame badly: a failure that the client can see,
//! and never a clean end of something that is not whole.

use std::time::{Duration, Instant};

use testkit::{End, Endpoint, Gate, ReadError, Reply, Step};

use crate::harness::{Setup, named, proxy_to};

/// Each of `responses` must become a 502 that says why.
#[track_caller]
fn assert_bad_gateway(responses: &[&[u8]]) {
    let endpoint = named("a");
    // One endpoint: a retry finds nobody better.
    let proxy = Setup::to(&[&endpoint]).pool("outlier = \"off\"").start();
    for response in responses {
        let bytes = response.to_vec();
        endpoint.set_script(move |_| Reply::raw(bytes.clone()).then(Step::Close));
        let answer = proxy.get("/");
        let text = String::from_utf8_lossy(&response[..response.len().min(200)]);
        assert_eq!(answer.status, 502, "{text:?}");
        let status = answer.field("proxy-status").unwrap_or_default();
        assert!(
            status.contains("error="),
            "{text:?}: Proxy-Status {status:?}"
        );
        assert_eq!(answer.body.end, End::Clean);
    }
}

/// Row 1, from the other side.
#[test]
fn responses_with_two_framings() {
    assert_bad_gateway(&[
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ]);
}

#[test]
fn response_heads_that_are_malformed() {
    assert_bad_gateway(&[
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: a\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\0\x01\x02\x03\r\n\r\n",
    ]);
}

#[test]
fn response_heads_beyond_the_limits() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(100_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: a\r\n".repeat(1000));
    assert_bad_gateway(&[long.as_bytes(), many.as_bytes()]);
}

#[test]
fn responses_that_never_come() {
    assert_bad_gateway(&[
        b"",
        b"HTTP/1.1 2",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
    ]);

    let endpoint = Endpoint::start(|_| Reply::reset());
    let proxy = proxy_to(&[&endpoint]);
    let answer = proxy.get("/");
    assert_eq!(answer.status, 502);
    let status = answer.field("proxy-status").expect("it says why");
    assert!(status.contains("error=connection_terminated"), "{status}");
}

#[test]
fn endless_interim_responses_end() {
    let hint = b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n".repeat(10_000);
    let endpoint = Endpoint::start(move |_| Reply::raw(hint.clone()).then(Step::Close));
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    // Interim heads may have been passed on before the patience ended.
    match client.try_read_response("GET", 100) {
        Ok(response) => assert_eq!(response.status, 502),
        Err(ReadError::Closed | ReadError::Cut | ReadError::Reset) => {}
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn interim_responses_do_not_put_off_the_time_out() {
    let endpoint = Endpoint::start(|_| {
        let mut steps = Vec::new();
        for _ in 0..100 {
            steps.push(Step::Send(
                b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n".to_vec(),
            ));
            steps.push(Step::Pause(Duration::from_millis(50)));
        }
        Reply::steps(steps).then(Step::Close)
    });
    let proxy = Setup::to(&[&endpoint])
        .pool("timeouts = { response = \"300ms\" }\nretry = \"off\"")
        .start();
    let start = Instant::now();
    let response = proxy.get("/");
    assert_eq!(response.status, 504);
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
}

/// A response cut after its head ends visibly, however it was framed and cut.
#[test]
fn a_cut_body_is_seen_to_be_cut() {
    for last in [Step::Close, Step::Reset] {
        let length = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
        let within_chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nf\r\nhello";
        let within_end = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n";
        for start in [length, chunked, within_chunk, within_end] {
            let seen = Gate::new();
            let endpoint = Endpoint::start({
                let (seen, last) = (seen.clone(), last.clone());
                move |_| {
                    Reply::raw(start)
                        .then(Step::Wait(seen.clone()))
                        .then(last.clone())
                }
            });
            let proxy = proxy_to(&[&endpoint]);
            let mut client = proxy.client();
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(client.read_head().word(1), "200");
            seen.open();
            let rest = client.read_to_end();
            assert!(!rest.ends_with(b"0\r\n\r\n"), "a clean end of {start:?}");
            assert!(rest.len() < 20, "{rest:?}");
        }
    }
}

/// A chunk that breaks off into nonsense is not repaired.
#[test]
fn nonsense_between_chunks_cuts_the_response() {
    for body in [
        "5\r\nhello\r\nxyz\r\n",
        "5\r\nhelloworld\r\n0\r\n\r\n",
        "-1\r\n",
        "5 \r\nhello\r\n",
    ] {
        let endpoint = Endpoint::start(move |_| {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            Reply::raw(format!("{head}{body}")).then(Step::Hang)
        });
        let proxy = proxy_to(&[&endpoint]);
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        match client.try_read_response("GET", 100) {
            Ok(response) if response.status == 200 => assert!(
                matches!(response.body.end, End::Cut | End::Reset),
                "{body:?}: {:?}",
                response.body.end
            ),
            Ok(response) => assert_eq!(response.status, 502, "{body:?}"),
            Err(error) => assert!(
                matches!(error, ReadError::Closed | ReadError::Reset),
                "{error:?}"
            ),
        }
    }
}

#[test]
fn a_reset_with_the_body_only_begun_is_seen_by_an_http_1_0_client() {
    // Without a length, the end of the connection is the end of the body: only a reset tells.
    let seen = Gate::new();
    let endpoint = Endpoint::start({
        let seen = seen.clone();
        move |_| {
            Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
                .then(Step::Wait(seen.clone()))
                .then(Step::Reset)
        }
    });
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    let head = client.read_head();
    assert_eq!(head.word(1), "200");
    assert_eq!(client.read_bytes(5), b"hello");
    seen.open();
    client.expect_reset();
}
