//! Calls: how they pass, how they fail, and what is made of how they went.

use testkit::{
    Client, End, Endpoint, Gate, H2Client, H2Request, Protocol, Reply, Response, Step, poll_until,
};

use crate::harness::{Proxy, SOON, Setup};

/// RST_STREAM with this code is a cancellation (RFC 9113 §7).
const CANCEL: u32 = 8;

/// A balancer for calls, with clients and endpoints that speak HTTP/2 without TLS.
fn setup(endpoints: &[&Endpoint]) -> Setup {
    let setup = Setup::to(endpoints).listener("h2c = true");
    setup.pool("protocol = \"h2\"")
}

fn server(on_request: impl Fn(&testkit::Request) -> Reply + Send + Sync + 'static) -> Endpoint {
    Endpoint::speaking(Protocol::h2(), on_request)
}

/// `message` as it stands in the content of a call.
fn frame(message: &str) -> String {
    let length = u8::try_from(message.len()).ok().filter(u8::is_ascii);
    let length = length.expect("messages of tests are short");
    format!("\0\0\0\0{}{message}", char::from(length))
}

/// The response to a call: messages, and how it went behind them.
fn messages(messages: &[&str], code: &str) -> Reply {
    let content: String = messages.iter().map(|message| frame(message)).collect();
    Reply::chunked(&[&content])
        .field("content-type", "application/grpc")
        .trailer("grpc-status", code)
}

/// The response to a call that has nothing but how it went.
fn trailers_only(code: &str) -> Reply {
    Reply::chunked(&[])
        .field("content-type", "application/grpc")
        .field("grpc-status", code)
}

fn call() -> H2Request {
    H2Request::post("/shop.Cart/Add")
        .field("content-type", "application/grpc")
        .field("te", "trailers")
}

/// One message there, the whole response back.
#[track_caller]
fn unary(client: &H2Client, request: &H2Request) -> Response {
    let mut stream = client.open(request);
    // A call that fails with us may be over before its message is there.
    let _ = stream.try_send_data(frame("question").as_bytes());
    stream.finish();
    stream.read_response()
}

/// How a call went: from its trailers, or from its head where it has no content.
#[track_caller]
fn code(response: &Response) -> String {
    assert_eq!(response.status, 200);
    let mut trailers = response.body.trailers.iter();
    let behind = trailers.find(|(name, _)| name == "grpc-status");
    match (behind, response.field("grpc-status")) {
        (Some((_, code)), None) => code.clone(),
        (None, Some(code)) => {
            assert_eq!(response.body.bytes, 0, "content behind how it went");
            code.to_owned()
        }
        both => panic!("one of the two: {both:?}"),
    }
}

/// The reply of our own to a call that has failed.
#[track_caller]
fn assert_failed(response: &Response, expected_code: &str, word: &str) {
    assert_eq!(code(response), expected_code);
    assert_eq!(response.field("content-type"), Some("application/grpc"));
    let status = response.field("proxy-status").unwrap_or_default();
    assert!(status.ends_with(&format!("error={word}")), "{status}");
    let message = response.field("grpc-message").unwrap_or_default();
    assert!(message.ends_with('.'), "{message}");
}

fn calls(proxy: &Proxy, word: &str) -> f64 {
    let code = format!("code=\"{word}\"");
    proxy.metric("pointsman_route_grpc_calls_total", &[&code])
}

#[test]
fn a_call_passes_with_its_trailers_and_is_known_by_how_it_went() {
    let endpoint = server(|_| messages(&["answer"], "0").trailer("x-more", "1"));
    let proxy = setup(&[&endpoint]).start();
    let client = H2Client::connect(proxy.peer());
    let response = unary(&client, &call());
    assert_eq!(code(&response), "0");
    assert_eq!(response.text(), frame("answer"));
    assert!(
        response
            .body
            .trailers
            .contains(&("x-more".into(), "1".into()))
    );

    let request = endpoint.request();
    assert_eq!(request.method(), "POST");
    assert_eq!(request.head.field("te"), Some("trailers"));
    assert_eq!(request.head.field("content-type"), Some("application/grpc"));
    assert_eq!(request.body().kept, frame("question").as_bytes());

    endpoint.set_script(|_| messages(&["answer"], "5"));
    assert_eq!(code(&unary(&client, &call())), "5");
    let log = proxy.log(2);
    assert_eq!(log[0]["grpc_status"], "ok");
    assert_eq!(log[1]["grpc_status"], "not_found");
    assert_eq!(log[1]["status"], 200);
    assert_eq!(log[1]["attempts"][0]["outcome"], "ok");
    assert_eq!(
        (calls(&proxy, "ok"), calls(&proxy, "not_found")),
        (1.0, 1.0)
    );
    assert_eq!(calls(&proxy, "unavailable"), 0.0);
}

#[test]
fn what_is_no_call_has_no_code() {
    let endpoint = server(|_| Reply::ok("hello").field("grpc-status", "13"));
    let proxy = setup(&[&endpoint]).start();
    H2Client::connect(proxy.peer()).get("/");
    assert!(proxy.log(1)[0].get("grpc_status").is_none());
    assert!(!proxy.admin("/metrics").contains("grpc_calls_total{"));
}

#[test]
fn both_sides_of_a_call_speak_in_turn() {
    let endpoint = server(|_| messages(&[], "0").unread().then(Step::Tunnel));
    let proxy = setup(&[&endpoint]).start();
    let client = H2Client::connect(proxy.peer());
    let mut stream = client.open(&call());
    stream.read_head();
    for message in ["one", "two", "three"] {
        stream.send_data(frame(message).as_bytes());
        let answer = stream.read_bytes(frame(message).len());
        assert_eq!(String::from_utf8_lossy(&answer), frame(message));
    }
    stream.finish();
    let rest = stream.read_body();
    assert_eq!(rest.trailers, [("grpc-status".into(), "0".into())]);
    assert_eq!(proxy.log(1)[0]["grpc_status"], "ok");
}

#[test]
fn messages_of_a_stream_arrive_as_they_are_sent() {
    let gate = Gate::new();
    let endpoint = {
        let gate = gate.clone();
        server(move |_| {
            messages(&["one"], "0")
                .then(Step::Wait(gate.clone()))
                .then(Step::Send(frame("two").into_bytes()))
        })
    };
    let proxy = setup(&[&endpoint]).start();
    let client = H2Client::connect(proxy.peer());
    let mut stream = client.send(&call(), frame("watch").as_bytes());
    stream.read_head();
    assert_eq!(stream.read_bytes(8), frame("one").as_bytes());
    gate.open();
    assert_eq!(stream.read_bytes(8), frame("two").as_bytes());
    assert_eq!(stream.read_body().trailers.len(), 1);
}

#[test]
fn calls_of_one_connection_are_balanced_one_by_one() {
    let endpoints = [(); 2].map(|()| server(|_| messages(&["answer"], "0")));
    let proxy = setup(&[&endpoints[0], &endpoints[1]])
        .pool("policy = \"round_robin\"")
        .workers(1)
        .start();
    let client = H2Client::connect(proxy.peer());
    for _ in 0..10 {
        assert_eq!(code(&unary(&client, &call())), "0");
    }
    for endpoint in &endpoints {
        assert_eq!(endpoint.request_count(), 5);
    }
}

/// Waits until the endpoint has seen a cancellation of its only request.
#[track_caller]
fn await_cancel(endpoint: &Endpoint) {
    poll_until("the endpoint is told", SOON, || {
        endpoint.requests().first().and_then(|call| call.cancelled) == Some(CANCEL)
    });
}

#[test]
fn a_cancelled_call_is_cancelled_at_its_endpoint() {
    let endpoint = server(|_| messages(&["one"], "0").then(Step::Hang));
    let proxy = setup(&[&endpoint]).start();
    let client = H2Client::connect(proxy.peer());
    let mut stream = client.send(&call(), frame("watch").as_bytes());
    stream.read_head();
    stream.read_bytes(8);
    stream.reset(CANCEL);
    await_cancel(&endpoint);
    let log = &proxy.log(1)[0];
    assert_eq!(log["ended_by"], "client");
    assert_eq!(log["attempts"][0]["outcome"], "abandoned");
}

#[test]
fn a_deadline_that_passes_ends_the_call_on_both_sides() {
    let endpoint = server(|_| Reply::hang());
    let proxy = setup(&[&endpoint]).start();
    let client = H2Client::connect(proxy.peer());
    let response = unary(&client, &call().field("grpc-timeout", "150m"));
    assert_failed(&response, "4", "http_response_timeout");
    await_cancel(&endpoint);
    assert_eq!(endpoint.request().head.field("grpc-timeout"), Some("150m"));
    let log = &proxy.log(1)[0];
    assert_eq!(log["grpc_status"], "deadline_exceeded");
    // How long a call may take is the client's word, and says nothing of the endpoint.
    assert_eq!(log["attempts"][0]["outcome"], "abandoned");
}

#[test]
fn a_deadline_passes_in_the_queue_too() {
    let endpoint = server(|_| Reply::hang());
    let proxy = Setup::to_tables(&[(&endpoint, "max_requests = 1")])
        .listener("h2c = true")
        .pool("protocol = \"h2\"")
        .start();
    let client = H2Client::connect(proxy.peer());
    let _first = client.send(&call(), frame("question").as_bytes());
    proxy.wait_for_in_flight(1);
    let response = unary(&client, &call().field("grpc-timeout", "150m"));
    assert_failed(&response, "4", "connection_limit_reached");
}

#[test]
fn a_deadline_within_a_stream_ends_it_too() {
    let endpoint = server(|_| messages(&["one"], "0").then(Step::Hang));
    let proxy = setup(&[&endpoint]).start();
    let client = H2Client::connect(proxy.peer());
    let request = call().field("grpc-timeout", "150m");
    let mut stream = client.send(&request, frame("watch").as_bytes());
    stream.read_head();
    stream.read_bytes(8);
    let rest = stream.read_body();
    assert!(rest.trailers.is_empty(), "{rest:?}");
    assert_ne!(rest.end, End::Clean);
    await_cancel(&endpoint);
    assert_eq!(proxy.log(1)[0]["attempts"][0]["outcome"], "abandoned");
}

#[test]
fn an_endpoint_that_the_route_finds_too_slow_is_to_blame_whatever_the_client_allows() {
    let endpoint = server(|_| Reply::hang());
    let proxy = setup(&[&endpoint])
        .pool("timeouts = { response = \"150ms\" }")
        .start();
    let client = H2Client::connect(proxy.peer());
    let response = unary(&client, &call().field("grpc-timeout", "20S"));
    assert_failed(&response, "4", "http_response_timeout");
    assert_eq!(proxy.log(1)[0]["attempts"][0]["outcome"], "timeout");
}

#[test]
fn a_timeout_that_is_none_bounds_nothing() {
    let endpoint = server(|_| messages(&["answer"], "0"));
    let proxy = setup(&[&endpoint]).start();
    let client = H2Client::connect(proxy.peer());
    for timeout in ["0", "soon", "-1S", "99999999H"] {
        let response = unary(&client, &call().field("grpc-timeout", timeout));
        assert_eq!(code(&response), "0", "{timeout}");
    }
}

#[test]
fn our_own_failures_are_told_as_codes() {
    let endpoint = server(|_| messages(&["answer"], "0"));
    let proxy = setup(&[&endpoint]).route("path = \"/shop.Cart/\"").start();
    let client = H2Client::connect(proxy.peer());
    let elsewhere =
        H2Request::post("/other.Service/Call").field("content-type", "application/grpc+proto");
    let response = unary(&client, &elsewhere);
    assert_failed(&response, "12", "destination_not_found");

    endpoint.kill();
    let response = unary(&client, &call());
    assert_failed(&response, "14", "connection_refused");
    assert_eq!(
        response.field("grpc-message"),
        Some("The server refused the connection.")
    );
    let log = proxy.log(2);
    assert_eq!(log[0]["grpc_status"], "unimplemented");
    assert_eq!(log[1]["grpc_status"], "unavailable");
    assert_eq!(log[1]["failure"], "connection_refused");
    assert_eq!(calls(&proxy, "unavailable"), 1.0);

    // Others are told as ever.
    let response = client
        .send(&H2Request::post("/shop.Cart/Add"), b"")
        .read_response();
    assert_eq!(response.status, 502);
}

#[test]
fn a_code_that_the_config_names_moves_a_call_to_another_endpoint() {
    // A length of zero is no content either.
    let busy = server(|_| trailers_only("14").field("content-length", "0"));
    let well = server(|_| messages(&["answer"], "0"));
    let proxy = setup(&[&busy, &well])
        .pool("policy = \"first\"\nretry = { on = [\"grpc-unavailable\"] }\noutlier = \"off\"")
        .start();
    let client = H2Client::connect(proxy.peer());
    let response = unary(&client, &call());
    assert_eq!(code(&response), "0");
    assert_eq!(busy.request_count(), 1);
    assert_eq!(well.request().body().kept, frame("question").as_bytes());
    let log = &proxy.log(1)[0];
    assert_eq!(log["attempts"][0]["outcome"], "server_error");
    assert_eq!(log["attempts"][1]["outcome"], "ok");
    assert_eq!(log["grpc_status"], "ok");

    // A code that is not named, and one behind a message.
    for (reply, expected) in [
        (trailers_only("13"), "13"),
        (messages(&["half"], "14"), "14"),
    ] {
        busy.set_script(move |_| reply.clone());
        assert_eq!(code(&unary(&client, &call())), expected);
    }
    assert_eq!(well.request_count(), 1);
}

#[test]
fn no_code_moves_a_call_unless_the_config_says_so() {
    let busy = server(|_| trailers_only("14"));
    let well = server(|_| messages(&["answer"], "0"));
    let proxy = setup(&[&busy, &well]).pool("policy = \"first\"").start();
    let client = H2Client::connect(proxy.peer());
    assert_eq!(code(&unary(&client, &call())), "14");
    assert_eq!(well.request_count(), 0);
}

#[test]
fn codes_that_tell_of_a_broken_endpoint_eject_it() {
    for (code_sent, reply) in [
        ("13", messages(&["half"], "13")),
        ("14", trailers_only("14")),
        ("2", messages(&[], "2")),
    ] {
        let broken = server(move |_| reply.clone());
        let well = server(|_| messages(&["answer"], "0"));
        let proxy = setup(&[&broken, &well]).pool("policy = \"first\"").start();
        let client = H2Client::connect(proxy.peer());
        for _ in 0..5 {
            assert_eq!(code(&unary(&client, &call())), code_sent);
        }
        proxy.wait_for_down(1);
        assert_eq!(code(&unary(&client, &call())), "0");
    }
}

#[test]
fn codes_that_a_client_brings_about_eject_nobody() {
    for code_sent in ["1", "3", "4", "5", "8", "12", "16"] {
        let endpoint = server(move |_| messages(&[], code_sent));
        let other = server(|_| messages(&["answer"], "0"));
        let proxy = setup(&[&endpoint, &other])
            .pool("policy = \"first\"")
            .start();
        let client = H2Client::connect(proxy.peer());
        for _ in 0..8 {
            assert_eq!(code(&unary(&client, &call())), code_sent);
        }
        assert_eq!(other.request_count(), 0, "{code_sent}");
    }
}

/// A call of gRPC-Web as a browser makes it, over HTTP/1.1.
fn web_call(client: &mut Client, content_type: &str, content: &str) -> Response {
    client.send(format!(
        "POST /shop.Cart/Add HTTP/1.1\r\nHost: shop.example\r\nContent-Type: {content_type}\r\n\
         X-Grpc-Web: 1\r\nContent-Length: {}\r\n\r\n{content}",
        content.len()
    ));
    client.read_response_to("POST")
}

/// The frame with the trailers at the end of a gRPC-Web response.
fn trailers_frame(lines: &str) -> Vec<u8> {
    let mut frame = vec![0x80, 0, 0, 0, lines.len() as u8];
    frame.extend_from_slice(lines.as_bytes());
    frame
}

#[test]
fn a_browser_calls_a_server_that_knows_plain_grpc() {
    let endpoint = server(|_| messages(&["answer"], "0"));
    let proxy = setup(&[&endpoint]).start();
    let mut client = proxy.client();
    for _ in 0..2 {
        let content = frame("question");
        let response = web_call(&mut client, "application/grpc-web+proto", &content);
        assert_eq!(response.status, 200);
        assert_eq!(response.field("content-type"), Some("application/grpc-web"));
        let expected = [
            frame("answer").into_bytes(),
            trailers_frame("grpc-status: 0\r\n"),
        ];
        assert_eq!(response.body.kept, expected.concat());
        assert!(response.body.trailers.is_empty());
    }
    let request = &endpoint.requests()[0];
    assert_eq!(
        request.head.fields("content-type"),
        ["application/grpc+proto"]
    );
    assert_eq!(request.head.field("te"), Some("trailers"));
    assert_eq!(request.head.field("content-length"), None);
    assert_eq!(request.body().kept, frame("question").as_bytes());
    assert_eq!(proxy.log(1)[0]["grpc_status"], "ok");
}

#[test]
fn a_browser_that_reads_text_only_gets_base64() {
    let endpoint = server(|_| messages(&["hi!"], "0"));
    let proxy = setup(&[&endpoint]).start();
    // "\0\0\0\0\x02hi" in two pieces, each padded.
    let content = "AAAAAAI=aGk=";
    let text = "application/grpc-web-text";
    let response = web_call(&mut proxy.client(), text, content);
    assert_eq!(response.field("content-type"), Some(text));
    let message = "AAAAAANoaSE=";
    let trailers = "gAAAABBncnBjLXN0YXR1czogMA0K";
    assert_eq!(response.text(), format!("{message}{trailers}"));
    assert_eq!(endpoint.request().body().kept, b"\0\0\0\0\x02hi");

    // The same over HTTP/2.
    let client = H2Client::connect(proxy.peer());
    let request = H2Request::post("/shop.Cart/Add").field("content-type", text);
    let response = client.send(&request, content.as_bytes()).read_response();
    assert_eq!(response.text(), format!("{message}{trailers}"));
    assert!(response.body.trailers.is_empty());

    let response = web_call(&mut proxy.client(), text, "not base64!!");
    assert_eq!(response.field("grpc-status"), Some("13"));
    assert_eq!(response.field("content-type"), Some(text));
}

#[test]
fn a_browser_is_told_of_what_has_no_content_in_the_head() {
    let with_length = Reply::status(200)
        .field("content-type", "application/grpc")
        .field("grpc-status", "7");
    for reply in [trailers_only("7"), with_length] {
        let endpoint = server(move |_| reply.clone());
        let proxy = setup(&[&endpoint]).start();
        let mut client = proxy.client();
        // Twice, on one connection: the end of the response is seen.
        for _ in 0..2 {
            let response = web_call(&mut client, "application/grpc-web", &frame("question"));
            assert_eq!(response.field("grpc-status"), Some("7"));
            assert_eq!(response.field("content-type"), Some("application/grpc-web"));
            assert_eq!(response.head.fields("content-length"), ["0"]);
            assert_eq!((response.body.bytes, response.body.end), (0, End::Clean));
        }
    }
}

#[test]
fn a_browser_is_told_of_our_own_failures_in_the_head() {
    let endpoint = server(|_| messages(&["answer"], "0"));
    let proxy = setup(&[&endpoint]).start();
    endpoint.kill();
    let content = frame("question");
    let response = web_call(&mut proxy.client(), "application/grpc-web", &content);
    assert_eq!(response.field("grpc-status"), Some("14"));
    assert_eq!(response.field("content-type"), Some("application/grpc-web"));
}

#[test]
fn what_does_not_come_from_a_server_of_grpc_reaches_a_browser_as_it_is() {
    let endpoint = server(|_| {
        Reply::status(404)
            .body("nobody")
            .field("content-type", "text/html")
    });
    let proxy = setup(&[&endpoint]).start();
    let response = web_call(
        &mut proxy.client(),
        "application/grpc-web",
        &frame("question"),
    );
    assert_eq!((response.status, response.text()), (404, "nobody".into()));
    assert_eq!(response.field("content-type"), Some("text/html"));
    assert_eq!(proxy.log(1)[0]["grpc_status"], "unimplemented");
}

#[test]
fn an_endpoint_that_speaks_http_1_gets_grpc_web_as_it_is() {
    let endpoint = Endpoint::start(|_| Reply::ok("as ever"));
    let proxy = Setup::to(&[&endpoint]).start();
    let content = frame("question");
    let response = web_call(&mut proxy.client(), "application/grpc-web", &content);
    assert_eq!(response.text(), "as ever");
    let request = endpoint.request();
    assert_eq!(
        request.head.field("content-type"),
        Some("application/grpc-web")
    );
    assert_eq!(request.body().kept, content.as_bytes());
}

#[test]
fn loads_that_trailers_report_are_heeded() {
    for (name, value) in [
        ("endpoint-load-metrics", "TEXT cpu_utilization=0.9"),
        // The same in protocol buffers: field 1, a double.
        ("endpoint-load-metrics-bin", "Cc3MzMzMzOw/"),
    ] {
        let endpoint = server(move |_| messages(&["answer"], "0").trailer(name, value));
        let proxy = setup(&[&endpoint]).start();
        let client = H2Client::connect(proxy.peer());
        assert_eq!(code(&unary(&client, &call())), "0");
        let utilization = proxy.status()["pools"][0]["endpoints"][0]["utilization"].as_f64();
        assert_eq!(
            utilization.map(|part| (part * 100.0).round()),
            Some(90.0),
            "{name}"
        );
    }
}
