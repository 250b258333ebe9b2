//! Thousands of endpoints on a busy machine.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use balance::{Availability, CheckKind};
use testkit::poll_until;

use crate::setup::{Setup, pool};

const LISTENERS: usize = 20;
const POOLS: usize = 250;

/// Three rounds of probes may take so long where the processor is fought for.
const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn none_of_five_thousand_endpoints_is_failed_because_its_probes_run_late() {
    let accepted = Arc::new(AtomicUsize::new(0));
    let addresses = [(); LISTENERS].map(|()| accept_forever(Arc::clone(&accepted)));
    let pools = (0..POOLS).map(|index| {
        let mut pool = pool(&format!("p{index}"), CheckKind::Tcp, &addresses);
        let check = &mut Arc::get_mut(&mut pool).unwrap().settings.check;
        // Checks that differ are probes of their own.
        check.interval = Duration::from_millis(500 + index as u64);
        check.timeout = Duration::from_millis(200);
        pool
    });
    let setup = Setup::start(pools.collect());
    let _others = Busy::start();
    poll_until("three rounds", LIMIT, || {
        accepted.load(Ordering::Relaxed) >= 3 * POOLS * LISTENERS
    });
    // The first probes bring all of them up, and nothing happens after that.
    let events = setup.events();
    let is_first = |event: &String| event.ends_with("unknown → up: first probe (probe succeeded)");
    assert_eq!(events.iter().find(|event| !is_first(event)), None);
    assert_eq!(events.len(), POOLS * LISTENERS);
    for pool in &setup.pools {
        let mut endpoints = pool.endpoints.iter();
        assert!(endpoints.all(|endpoint| endpoint.availability() == Availability::Up));
    }
}

/// A port that counts connections and closes them, for as long as the process lives.
fn accept_forever(accepted: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("ports are left");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for _ in listener.incoming() {
            accepted.fetch_add(1, Ordering::Relaxed);
        }
    });
    address
}

/// Threads that want all the processor.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn start() -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        for _ in 0..4 {
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(is_over)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
