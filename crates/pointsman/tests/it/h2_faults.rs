//! What goes wrong on connections of HTTP/2 and of TLS: peers that lie about their messages, do
//! not read, stop in the middle, or freeze.

use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use testkit::{
    Client, End, Endpoint, Frame, FrameEndpoint, Frames, Gate, H2Client, H2Request, Pki, Protocol,
    Reply, Step, TlsClient, filler, hash, poll_until,
};

use crate::harness::{Proxy, SOON, Setup};

/// The streams that a client opens: odd numbers, from 1.
fn stream(number: u32) -> u32 {
    2 * number + 1
}

/// What follows an extended CONNECT is no body: an endpoint that is told of one and does not
/// switch would take the next request on its connection for it.
#[test]
fn an_extended_connect_with_a_content_length_is_no_way_to_smuggle() {
    let endpoint = Endpoint::start(|_| Reply::status(404));
    let proxy = Setup::to(&[&endpoint]).listener("h2c = true").start();
    let client = H2Client::connect(proxy.peer());
    let request = H2Request::websocket("/chat").field("content-length", "30");
    let refused = client.open(&request).try_read_response();
    assert!(
        !matches!(&refused, Ok(response) if response.status == 404),
        "{refused:?}"
    );
    assert_eq!(endpoint.request_count(), 0);
}

/// To a client of HTTP/2 every 2xx begins the tunnel (RFC 8441 §5).
#[test]
fn an_endpoint_that_does_not_switch_is_not_taken_for_one_that_does() {
    let endpoint = Endpoint::start(|_| Reply::ok("a page"));
    let proxy = Setup::to(&[&endpoint]).listener("h2c = true").start();
    let client = H2Client::connect(proxy.peer());
    let response = client.open(&H2Request::websocket("/chat")).read_response();
    assert_eq!(response.status, 502, "{}", response.text());
    assert_eq!(proxy.get("/").text(), "a page");
}

/// HTTP/2 can begin a WebSocket and nothing else: a 200 to what went out as a plain GET is none.
#[test]
fn an_upgrade_that_http_2_does_not_have_is_not_pretended() {
    let endpoint = Endpoint::speaking(Protocol::h2().extended_connect(), |_| Reply::ok("a page"));
    let proxy = Setup::to(&[&endpoint])
        .pool("protocol = \"h2\"")
        .route("upgrades = [\"other\"]")
        .start();
    let mut client = proxy.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: test.example\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n",
    );
    assert_eq!(client.read_response().status, 502);
}

/// Heads have no windows: a client that reads nothing must not make us keep them without end.
#[test]
fn a_client_that_reads_nothing_is_not_read_from_without_end() {
    let endpoint = Endpoint::start(|_| Reply::ok("").field("X-Filler", &"x".repeat(4000)));
    let proxy = Setup::to(&[&endpoint])
        .workers(1)
        .listener("h2c = true")
        .start();
    let mut frames = Frames::open(proxy.peer(), &[]);
    let head = Frame::block(&[
        (":method", "HEAD"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "test.example"),
    ]);
    for number in 0..6000 {
        frames.send(&Frame::request(stream(number), head.clone()));
        if number % 50 == 49 {
            let asked = Instant::now();
            // It is served as fast as it asks, as long as it is served.
            while endpoint.request_count() <= number as usize
                && asked.elapsed() < Duration::from_millis(500)
            {
                std::thread::yield_now();
            }
            if endpoint.request_count() <= number as usize {
                break;
            }
        }
    }
    let served = endpoint.request_count();
    assert!(served < 5000, "{served} heads wait for the client");
    // Whoever reads on is served on.
    frames
        .read_until(|frame| frame.kind == Frame::HEADERS && frame.stream == stream(served as u32));
}

/// Nor have interim heads.
#[test]
fn interim_responses_wait_for_a_client_that_reads_nothing() {
    const HINT: &[u8] = b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n";
    // Far more than the kernel and we hold for a client.
    let endpoint = Endpoint::start(|_| {
        let mut reply = Reply::raw(Vec::new());
        for _ in 0..40 {
            reply = reply.then(Step::Send(HINT.repeat(50_000)));
        }
        reply.then(Step::Close)
    });
    let proxy = Setup::to(&[&endpoint])
        .workers(1)
        .listener("h2c = true\ntimeouts = { body = \"1s\" }")
        .start();
    let mut frames = Frames::open(proxy.peer(), &[]);
    let head = Frame::block(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "test.example"),
    ]);
    frames.send(&Frame::request(stream(0), head));
    proxy.wait_for_in_flight(1);
    proxy.wait_for_in_flight(0);
    let log = &proxy.log(1)[0];
    assert_eq!(log["ended_by"], "client", "{log}");
    let sent = log["bytes_sent"].as_u64().expect("a number");
    assert!(sent < 20_000_000, "{sent} bytes of heads for nobody");
}

/// Clients that take nothing hold their own responses, not those of others from the same endpoint.
#[test]
fn slow_readers_do_not_stop_others_on_the_same_upstream_connection() {
    let endpoint = Endpoint::speaking(Protocol::h2(), |request| match request.target() {
        "/" => Reply::filler(600_000),
        _ => Reply::filler(1024 * 1024),
    });
    let proxy = Setup::to(&[&endpoint])
        .workers(1)
        .listener("h2c = true")
        .pool("protocol = \"h2\"")
        .start();
    let mut frames = Frames::open(proxy.peer(), &[(4, 0)]);
    for number in 0..90 {
        frames.send(&Frame::request(stream(number), Frame::get_block("/large")));
    }
    poll_until("all have come", SOON, || endpoint.request_count() == 90);
    let sent = || {
        endpoint
            .requests()
            .iter()
            .map(|request| request.sent)
            .sum::<u64>()
    };
    let mut before = 0;
    poll_until("nothing moves any more", SOON, || {
        std::thread::sleep(Duration::from_millis(200));
        std::mem::replace(&mut before, sent()) == before
    });
    let response = H2Client::connect(proxy.peer()).get("/");
    assert_eq!(response.body.hash, hash(&filler(600_000)));
    assert_eq!(endpoint.connection_count(), 1);
}

/// Clients that ask, and read nothing, for responses of very different length: of one of them, no
/// more is left than TLS has taken to encrypt.
fn ask_for_every_length(proxy: &Proxy, tls: &TlsClient, behind: &str) -> Vec<(u64, Client)> {
    let steps = (1..=60).map(|step| {
        let mut client = Client::connect_tls(proxy.peer(), tls);
        let bytes = step * 100_000;
        client.send(format!(
            "GET /{bytes} HTTP/1.1\r\nHost: test.example\r\nConnection: close\r\n\r\n{behind}"
        ));
        (bytes, client)
    });
    steps.collect()
}

/// An endpoint whose responses are as long as their target says.
fn endpoint_of_lengths() -> Endpoint {
    Endpoint::start(|request| {
        let bytes = request.target().trim_start_matches('/').parse();
        Reply::filler(bytes.expect("the target is a number"))
    })
}

/// What TLS has taken to encrypt has not left.
#[test]
fn a_last_response_over_tls_is_whole_and_ends_in_good_order() {
    let pki = Pki::new();
    let endpoint = endpoint_of_lengths();
    let leaf = pki.server(&["test.example"]);
    let proxy = Setup::to(&[&endpoint])
        .listener(&format!("tls = {}", leaf.toml()))
        .start();
    let tls = TlsClient::new(&pki, "test.example").offering(&["http/1.1"]);
    let clients = ask_for_every_length(&proxy, &tls, "");
    poll_until("all are asked", SOON, || endpoint.request_count() == 60);
    // Whatever fits somewhere on the way gets there.
    std::thread::sleep(Duration::from_millis(500));
    for (bytes, mut client) in clients {
        let body = client.read_response().body;
        assert_eq!((body.end, body.bytes), (End::Clean, bytes));
        client.expect_goodbye();
    }
}

#[test]
fn a_tls_client_that_never_reads_does_not_hold_its_connection_for_ever() {
    let pki = Pki::new();
    let endpoint = endpoint_of_lengths();
    let leaf = pki.server(&["test.example"]);
    let proxy = Setup::to(&[&endpoint])
        .listener(&format!(
            "tls = {}\ntimeouts = {{ body = \"1s\" }}",
            leaf.toml()
        ))
        .start();
    let tls = TlsClient::new(&pki, "test.example").offering(&["http/1.1"]);
    // Those with something behind the request are let go more gently.
    let clients = [
        ask_for_every_length(&proxy, &tls, ""),
        ask_for_every_length(&proxy, &tls, "GET /"),
    ];
    poll_until("all are asked", SOON, || endpoint.request_count() == 120);
    poll_until("the connections are let go", SOON, || {
        proxy.metric("pointsman_listener_connections_open", &["listener=\"web\""]) == 0.0
    });
    drop(clients);
}

/// Of what comes behind a request nothing is taken, whenever it comes.
#[test]
fn a_request_that_comes_as_the_response_leaves_is_whole() {
    let endpoint = Endpoint::start(|_| Reply::ok("x"));
    let proxy = Setup::to(&[&endpoint]).workers(1).start();
    let request = "GET / HTTP/1.1\r\nHost: test.example\r\n\r\n";
    // Several, so that the worker finds more than one thing to do when it looks.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let peer = proxy.peer();
            scope.spawn(move || {
                let mut client = Client::connect(peer);
                for round in 0..500_u32 {
                    client.send(request);
                    let until = Instant::now() + Duration::from_micros(u64::from(round) * 2);
                    while Instant::now() < until {
                        std::thread::yield_now();
                    }
                    client.send(request);
                    for _ in 0..2 {
                        assert_eq!(client.read_response().status, 200, "round {round}");
                    }
                }
            });
        }
    });
    let requests = endpoint.requests();
    assert!(requests.iter().all(|request| request.method() == "GET"));
}

/// What comes before an endpoint has said how many streams it takes is a guess.
#[test]
fn requests_that_come_at_once_are_not_refused_by_an_endpoint_with_few_streams() {
    let gate = Gate::new();
    let endpoint = Endpoint::speaking(Protocol::h2().streams_max(3), {
        let gate = gate.clone();
        move |_| Reply::ok("x").wait(&gate)
    });
    let proxy = Setup::to(&[&endpoint])
        .workers(1)
        .listener("h2c = true")
        .pool("protocol = \"h2\"\nretry = \"off\"")
        .start();
    let client = H2Client::connect(proxy.peer());
    let mut streams: Vec<_> = (0..60)
        .map(|_| client.send(&H2Request::post("/"), b"once"))
        .collect();
    poll_until("all are there", SOON, || endpoint.in_flight() == 60);
    assert_eq!(endpoint.connection_count(), 20);
    gate.open();
    for stream in &mut streams {
        assert_eq!(stream.read_response().text(), "x");
    }
}

#[test]
fn connections_that_take_no_stream_do_not_pile_up() {
    let endpoint = Endpoint::speaking(Protocol::h2().streams_max(0), |_| Reply::ok("x"));
    let proxy = Setup::to(&[&endpoint])
        .pool("protocol = \"h2\"\noutlier = \"off\"")
        .start();
    let mut client = proxy.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").status, 502);
    }
    poll_until("they are closed", SOON, || endpoint.open_count() == 0);
}

/// A connection whose other end is gone without a word, as behind a firewall that has forgotten
/// it: TCP takes a quarter of an hour to notice.
#[test]
fn requests_do_not_pile_up_on_a_connection_that_is_silent() {
    let endpoint = FrameEndpoint::start(|frames, number| {
        frames.send(&Frame::settings(&[]));
        if number == 0 {
            // Answers nothing, not even whether it is there.
            frames.read_until(|frame| frame.kind == Frame::GOAWAY);
        }
        while let Ok(Some(frame)) = frames.try_read() {
            if frame.kind == Frame::HEADERS {
                let block = Frame::block(&[(":status", "204")]);
                frames.send(&Frame::request(frame.stream, block));
            }
        }
    });
    let proxy = Setup::to(&[])
        .and_to(endpoint.address())
        .workers(1)
        .listener("h2c = true")
        .pool("protocol = \"h2\"\noutlier = \"off\"")
        .start();
    let mut client = H2Client::connect(proxy.peer());
    client.set_timeout(Duration::from_secs(20));
    let mut get = client.send(&H2Request::get("/"), b"");
    let mut post = client.send(&H2Request::post("/"), b"once");
    let mut late = Vec::new();
    for _ in 0..13 {
        std::thread::sleep(Duration::from_millis(500));
        late.push(client.send(&H2Request::post("/"), b"late"));
    }
    // The last of them came when the silence was long enough.
    let last = late.last_mut().expect("there are some");
    assert_eq!(last.read_response().status, 204);
    // What waits there may move, or it may not.
    assert_eq!(get.read_response().status, 204);
    assert_eq!(post.read_response().status, 502);
}

/// All that a client is owed as we stop is what it gets, however slowly it reads.
#[test]
fn a_slow_reader_gets_its_last_response_although_we_stop() {
    let pki = Pki::new();
    let endpoint = endpoint_of_lengths();
    let leaf = pki.server(&["test.example"]);
    let proxy = Setup::to(&[&endpoint])
        .listener(&format!("tls = {}", leaf.toml()))
        .start();
    let tls = TlsClient::new(&pki, "test.example");
    let windows = Frame::settings(&[(4, 1 << 30)]);
    let more = Frame::window_update(0, 1 << 30);
    let head = Frame::PREFACE.to_vec();
    let clients: Vec<_> = (1..=60)
        .map(|step| {
            let bytes = step * 100_000;
            let offering = tls.clone().offering(&["h2"]);
            let mut client = Client::connect_tls(proxy.peer(), &offering);
            let block = Frame::get_block(&format!("/{bytes}"));
            let begin = [
                head.clone(),
                windows.bytes(),
                more.bytes(),
                Frame::request(1, block).bytes(),
            ];
            client.send(begin.concat());
            (bytes, client)
        })
        .collect();
    poll_until("all are asked", SOON, || endpoint.request_count() == 60);
    // The slow readers themselves: nothing is read before the stop, nor for some time of it.
    std::thread::sleep(Duration::from_millis(500));
    let stopping = std::thread::spawn(move || proxy.stop_within(Duration::from_secs(30)));
    std::thread::sleep(Duration::from_millis(1000));
    for (bytes, mut client) in clients {
        let received = client.read_to_end();
        let mut rest = &received[..];
        let (mut content, mut has_ended) = (0, false);
        while let [a, b, c, kind, flags, _, _, _, _, behind @ ..] = rest {
            let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            if *kind == Frame::DATA {
                content += length;
                has_ended |= flags & Frame::END_STREAM != 0;
            }
            rest = behind.get(length..).unwrap_or_default();
        }
        assert!(has_ended && content == bytes, "{content} of {bytes}");
    }
    stopping.join().expect("it stops");
}

/// An endpoint that has said its last word may still take it back.
#[test]
fn a_tunnel_that_is_half_closed_ends_when_the_client_resets_it() {
    let gate = Gate::new();
    let endpoint = Endpoint::start({
        let gate = gate.clone();
        let switch = "HTTP/1.1 101 Switching Protocols\r\n\
                      Connection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        // It says nothing more, not even that it closes.
        move |_| Reply::steps(vec![Step::Send(switch.into()), Step::Wait(gate.clone())])
    });
    let proxy = Setup::to(&[&endpoint]).listener("h2c = true").start();
    let client = H2Client::connect(proxy.peer());
    let mut stream = client.open(&H2Request::websocket("/"));
    stream.read_head();
    stream.finish();
    stream.reset(8);
    proxy.wait_for_in_flight(0);
    gate.open();
}

/// What waits to be sent as a connection ends was seen by nobody: it may be sent again, whatever
/// it is.
#[test]
fn a_request_that_was_not_sent_moves_when_its_connection_ends() {
    let end = Arc::new(Barrier::new(2));
    let endpoint = FrameEndpoint::start({
        let end = Arc::clone(&end);
        move |frames, number| {
            frames.send(&Frame::settings(&[(4, 1 << 30)]));
            frames.send(&Frame::window_update(0, 1 << 30));
            if number == 0 {
                frames.read_until(|frame| frame.kind == Frame::HEADERS);
                end.wait();
                return;
            }
            while let Ok(Some(frame)) = frames.try_read() {
                if frame.kind == Frame::HEADERS {
                    let block = Frame::block(&[(":status", "204")]);
                    frames.send(&Frame::request(frame.stream, block));
                }
            }
        }
    });
    let proxy = Setup::to(&[])
        .and_to(endpoint.address())
        .workers(1)
        .listener("h2c = true")
        .pool("protocol = \"h2\"\noutlier = \"off\"")
        .start();
    let client = H2Client::connect(proxy.peer());
    let mut upload = client.open(&H2Request::post("/upload"));
    let uploading = std::thread::spawn(move || {
        // Until nothing more is taken.
        while upload.try_send_data(&[0; 100_000]).is_ok() {}
        upload
    });
    // The upload goes on meanwhile, until all that holds bytes on its way is full.
    std::thread::sleep(Duration::from_millis(1500));
    let other = H2Client::connect(proxy.peer());
    let mut post = other.send(&H2Request::post("/order"), b"");
    std::thread::sleep(Duration::from_millis(500));
    end.wait();
    assert_eq!(post.read_response().status, 204);
    // That one was seen.
    let mut upload = uploading.join().expect("it ends");
    assert_eq!(upload.read_response().status, 502);
}
