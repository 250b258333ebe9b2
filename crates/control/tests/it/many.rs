//! Thousands of endpoints, and a thread that stands still.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use balance::Availability;
use testkit::poll_until;

use crate::setup::{Setup, http, pool};

const LISTENERS: usize = 20;
const POOLS: usize = 250;

/// A round of probes may take so long on a machine with other work.
const LIMIT: Duration = Duration::from_secs(60);

/// Longer than a probe has.
const STAND_STILL: Duration = Duration::from_millis(2500);

#[test]
fn none_of_five_thousand_endpoints_is_failed_because_we_ran_late() {
    let answered = Arc::new(AtomicUsize::new(0));
    let addresses = [(); LISTENERS].map(|()| answer_forever(Arc::clone(&answered)));
    let pools = (0..POOLS).map(|index| {
        let mut pool = pool(&format!("p{index}"), http(), &addresses);
        // Checks that differ are probes of their own.
        let interval = Duration::from_millis(500 + index as u64);
        Arc::get_mut(&mut pool).unwrap().settings.check.interval = interval;
        pool
    });
    // Handlers run on the thread that probes.
    let stall = get(async || thread::sleep(STAND_STILL));
    let setup = Setup::start_with(pools.collect(), Router::new().route("/stall", stall));
    let await_round = || {
        let awaited = answered.load(Ordering::Relaxed) + POOLS * LISTENERS;
        poll_until("a round", LIMIT, || {
            answered.load(Ordering::Relaxed) >= awaited
        });
    };
    await_round();
    assert_eq!(setup.get("/stall").status, 200);
    await_round();

    // The first probes bring all of them up, and nothing else happens.
    let events = setup.events();
    let is_first = |event: &String| event.ends_with("unknown → up: first probe (probe succeeded)");
    assert_eq!(events.iter().find(|event| !is_first(event)), None);
    for pool in &setup.pools {
        let mut endpoints = pool.endpoints.iter();
        assert!(endpoints.all(|endpoint| endpoint.availability() == Availability::Up));
    }
}

/// A port that answers and counts requests, for as long as the process lives.
fn answer_forever(answered: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("ports are left");
    let address = listener.local_addr().expect("it is bound");
    let answer = |mut stream: TcpStream| {
        let is_asked = stream.read(&mut [0; 1024])? > 0;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        Ok::<bool, std::io::Error>(is_asked)
    };
    thread::spawn(move || {
        for stream in listener.incoming() {
            // A probe that was given up has left.
            let is_answered = stream.and_then(answer).unwrap_or(false);
            answered.fetch_add(usize::from(is_answered), Ordering::Relaxed);
        }
    });
    address
}
