//! Checks that speak the protocols of databases and the like, and those by datagrams.

use std::net::UdpSocket;

use balance::{Availability, CheckKind};
use control::Transport;
use testkit::{Endpoint, Reply, Script, Step};

use crate::setup::{Setup, pool};

#[test]
fn a_server_that_reads_its_data_is_up_when_it_says_so() {
    let loads_for = 4;
    let script = Script::new(|_| Reply::hang()).on_connect(move |connection| {
        let answer = if connection < loads_for {
            "-LOADING Redis is loading the dataset in memory\r\n"
        } else {
            "+PONG\r\n"
        };
        vec![Step::Send(answer.into()), Step::ReadToEnd, Step::Close]
    });
    let endpoint = Endpoint::with_script(script);
    let setup = Setup::start(vec![pool("app", CheckKind::Redis, &[endpoint.address()])]);
    setup.await_event("→ down: probes failed (probe failed: the server says LOADING)");
    setup.await_availability(0, 0, Availability::Up);
}

#[test]
fn datagrams_are_checked_whatever_connections_begin_with() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("ports are left");
    let address = socket.local_addr().expect("it is bound");
    let transport = Transport {
        preface: (*b"PROXY UNKNOWN\r\n").into(),
        ..Transport::default()
    };
    let echo = move || {
        let mut datagram = [0; 64];
        let (length, peer) = socket.recv_from(&mut datagram).expect("one comes");
        let _ = socket.send_to(&datagram[..length], peer);
        datagram[..length].to_vec()
    };
    let echoing = std::thread::spawn(echo);
    let kind = CheckKind::Udp {
        send: (*b"ping").into(),
        expect: Some((*b"ping").into()),
    };
    let setup = Setup::start_over(vec![(pool("app", kind, &[address]), transport)]);
    setup.await_availability(0, 0, Availability::Up);
    assert_eq!(echoing.join().expect("it was asked"), b"ping");
    // Its socket is gone now.
    setup.await_event("→ down: probes failed (probe failed: connection refused)");
}
