//! Many clients, few connections to the endpoints, every kind of message, endpoints that close
//! and break: each client gets its own answer or sees that it got none.

use std::time::Duration;

use testkit::{
    Client, End, Endpoint, ID_FIELD, Peer, ReadError, Reply, Request, Step, filler, hash,
};

use crate::harness::proxy_to;

const CLIENTS: usize = 12;
const REQUESTS: usize = 60;

#[test]
fn no_client_ever_gets_the_answer_to_another() {
    let endpoints = [(); 2].map(|()| Endpoint::start(reply));
    let proxy = proxy_to(&[&endpoints[0], &endpoints[1]]);
    let threads: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let peer = proxy.peer();
            std::thread::spawn(move || run(&peer, client))
        })
        .collect();
    let whole: usize = threads
        .into_iter()
        .map(|thread| thread.join().expect("no answer is another's"))
        .sum();
    // One in eleven is reset, some of them after their response began.
    assert!(whole > CLIENTS * REQUESTS * 7 / 10, "{whole} whole answers");
}

/// The number of a request decides what the endpoint does with it.
fn reply(request: &Request) -> Reply {
    let id = request.head.field(ID_FIELD).unwrap_or_default().to_owned();
    let number: usize = id
        .rsplit('-')
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    let reply = match number % 4 {
        0 => Reply::chunked(&[&id, "-", &"c".repeat(number * 97)]).trailer("X-Id", &id),
        1 => Reply::ok([id.as_bytes(), &filler(number * 1013)].concat()),
        2 => Reply::ok(id.clone()).interim("HTTP/1.1 103 Early Hints\r\n\r\n"),
        _ => Reply::ok(id.clone()).first(Step::Pause(Duration::from_millis(3))),
    };
    let reply = reply.field("X-Id", &id);
    match number % 11 {
        3 => reply.then(Step::Close),
        5 => reply.close(),
        7 => reply.cut_at(60 + number).then(Step::Reset),
        9 => Reply::raw([b"HTTP/1.1 200 OK\r\nX-Id: ", id.as_bytes(), b"\r\n\r\n"].concat())
            .then(Step::Send(id.into_bytes()))
            .then(Step::Close),
        _ => reply,
    }
}

/// Sends the requests of one client; returns how many were answered in whole.
fn run(peer: &Peer, client: usize) -> usize {
    let mut connection = None;
    let mut whole = 0;
    for number in 0..REQUESTS {
        let id = format!("{client}-{number}");
        let mut stream = connection.take().unwrap_or_else(|| Client::connect(peer));
        let method = send(&mut stream, number, &id);
        match stream.try_read_response(method, usize::MAX) {
            Ok(response) if response.status == 502 => {}
            Ok(response) => {
                assert_eq!(response.status, 200, "{id}");
                assert_eq!(response.field("x-id"), Some(id.as_str()), "{id}");
                let is_whole = response.body.end == End::Clean;
                if method != "HEAD" {
                    assert!(response.text().starts_with(&id) || !is_whole, "{id}");
                }
                whole += usize::from(is_whole);
                if is_whole && !response.head.connection_has("close") {
                    connection = Some(stream);
                }
            }
            Err(ReadError::Closed | ReadError::Reset) => {}
            Err(error) => panic!("{id}: {error:?}"),
        }
    }
    whole
}

/// Sends request `number`, whose number decides what it is, and returns its method.
fn send(stream: &mut Client, number: usize, id: &str) -> &'static str {
    let head = |method: &str, fields: &str| {
        format!("{method} /{number} HTTP/1.1\r\nHost: a\r\n{ID_FIELD}: {id}\r\n{fields}\r\n")
    };
    let body = filler(number * 701);
    let (method, bytes) = match number % 5 {
        0 => ("HEAD", head("HEAD", "").into_bytes()),
        1 => {
            let length = format!("Content-Length: {}\r\n", body.len());
            ("POST", [head("POST", &length).as_bytes(), &body].concat())
        }
        2 => {
            let size = format!("{:x}\r\n", body.len());
            let head = head("PUT", "Transfer-Encoding: chunked\r\n");
            let end: &[u8] = b"\r\n0\r\n\r\n";
            (
                "PUT",
                [head.as_bytes(), size.as_bytes(), &body, end].concat(),
            )
        }
        _ => ("GET", head("GET", "").into_bytes()),
    };
    // What the proxy does not take, it has answered.
    let _ = stream.try_send(bytes);
    method
}

#[test]
fn bodies_reach_the_endpoint_that_answers() {
    let endpoint = Endpoint::start(|_| Reply::echo());
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    for bytes in [0, 1, 4095, 4096, 4097, 16_384, 65_535, 65_536, 200_000] {
        let body = filler(bytes);
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n");
        client.send([head.as_bytes(), &body].concat());
        let text = client.read_response().text();
        let expected = format!("body-bytes: {bytes}\nbody-hash: {:016x}\n", hash(&body));
        assert!(text.contains(&expected), "{bytes}: {text}");
    }
}
