//! Load and endpoints by UDP, in one program with one event loop that spins, like `traffic` and
//! for the same reasons.
//!
//! A [`Role`](crate::role::Role), with the [`Plan`] and the [`Outcome`] of `traffic`. Endpoints
//! send every datagram back. Clients send datagrams of `answer_bytes` bytes, each with a number,
//! and want them back unchanged.
//!
//! Read `load`, then `echo`.

mod echo;
mod load;

use std::io::stdin;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::process;
use crate::role::{hear_plan, say};
use crate::socket::{Interest, Poller};
use crate::traffic::{Outcome, Pace, Plan};
use echo::Echoes;
use load::Load;

/// `datagrams`, with everything else on standard input.
pub(crate) fn run() -> Result<()> {
    let mut traffic = Traffic::new()?;
    traffic.poller.add(stdin(), INPUT, Interest::Read)?;
    say(&traffic.echoes.addresses()?)?;
    traffic.serve_until_input()?;
    let plan: Plan = hear_plan()?;
    let outcome = match plan.pace {
        Pace::Idle => traffic.hold(&plan)?,
        _ => traffic.press(&plan)?,
    };
    say(&outcome)?;
    traffic.serve_until_input()
}

struct Traffic {
    poller: Poller,
    ready: Vec<u64>,
    echoes: Echoes,
}

impl Traffic {
    fn new() -> Result<Self> {
        let poller = Poller::new()?;
        Ok(Self {
            echoes: Echoes::bind(&poller)?,
            poller,
            ready: Vec::new(),
        })
    }

    /// Serves the endpoints until there is something to read on standard input, its end included.
    fn serve_until_input(&mut self) -> Result<()> {
        loop {
            self.poller.wait(None, &mut self.ready)?;
            for &token in &self.ready {
                if token == INPUT {
                    return Ok(());
                }
                self.echoes.advance(token);
            }
        }
    }

    /// Loads the target: first to warm it up, then for the measured window.
    fn press(&mut self, plan: &Plan) -> Result<Outcome> {
        let mut load = Load::new(plan, &self.poller)?;
        self.drive(&mut load, Duration::from_secs_f64(plan.warm_seconds))?;

        let run_before = process::run_time(&plan.watch);
        let busy_before = process::busy_time(plan.cpu);
        let start = Instant::now();
        load.begin_window();
        self.drive(&mut load, Duration::from_secs_f64(plan.seconds))?;
        let seconds = start.elapsed().as_secs_f64();
        let run_time = process::run_time(&plan.watch).saturating_sub(run_before);
        let busy = process::busy_time(plan.cpu).saturating_sub(busy_before);

        Ok(Outcome {
            seconds,
            run_seconds: run_time.as_secs_f64(),
            others_share: busy.saturating_sub(run_time).as_secs_f64() / seconds,
            endpoint_requests: self.echoes.counts(),
            ..load.outcome()
        })
    }

    /// Has many clients send one datagram each, and measures what their flows cost in memory
    /// while nothing happens on them.
    fn hold(&mut self, plan: &Plan) -> Result<Outcome> {
        // Touches every code path once, so that only the flows are counted.
        let warm_up = Plan {
            connections: WARM_UP_CLIENTS,
            ..plan.clone()
        };
        drop(self.ask_once(&warm_up)?);
        let before = process::memory_bytes(&plan.watch);
        let load = self.ask_once(plan)?;
        let after = process::memory_bytes(&plan.watch);
        let outcome = load.outcome();
        Ok(Outcome {
            memory_bytes_per_connection: after.saturating_sub(before) as f64
                / outcome.requests_in_all.max(1) as f64,
            ..outcome
        })
    }

    /// Has each client of `plan` send one datagram, and waits until all are back and the target
    /// has tidied up.
    fn ask_once(&mut self, plan: &Plan) -> Result<Load> {
        let mut load = Load::new(plan, &self.poller)?;
        let deadline = Instant::now() + HOLD_PATIENCE;
        while !load.is_settled() && Instant::now() < deadline {
            self.drive(&mut load, TURN)?;
        }
        self.drive(&mut load, SETTLE)?;
        Ok(load)
    }

    /// Turns the event loop for so long.
    fn drive(&mut self, load: &mut Load, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            load.send(now);
            self.poller.wait(Some(Duration::ZERO), &mut self.ready)?;
            for &token in &self.ready {
                if let Some(client) = token.checked_sub(CLIENTS) {
                    load.receive(client as usize);
                } else if token != INPUT {
                    self.echoes.advance(token);
                }
            }
        }
    }
}

// Tokens: endpoints have the low ones, see `echo`.
const INPUT: u64 = 1 << 32;
const CLIENTS: u64 = INPUT + 1;

const WARM_UP_CLIENTS: usize = 16;
/// Long enough for allocators and pools that tidy up once a second.
const SETTLE: Duration = Duration::from_millis(1500);
const HOLD_PATIENCE: Duration = Duration::from_secs(60);
const TURN: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

    use super::{Pace, Plan, Traffic};

    fn plan(target: SocketAddr, pace: Pace) -> Plan {
        Plan {
            target,
            is_secure: false,
            path: String::new(),
            answer_bytes: 64,
            body_bytes: 0,
            connections: 10,
            pace,
            warm_seconds: 0.0,
            seconds: 1.0,
            watch: Vec::new(),
            cpu: 0,
        }
    }

    #[test]
    fn datagrams_that_come_back_are_counted() {
        let mut traffic = Traffic::new().unwrap();
        let target = traffic.echoes.addresses().unwrap()[0];
        let outcome = traffic.press(&plan(target, Pace::Closed)).unwrap();
        assert_eq!(outcome.first_wrong, None);
        assert!(outcome.requests > 100, "{}", outcome.requests);
        assert!(outcome.endpoint_requests[0] >= outcome.requests);
        assert_eq!(outcome.endpoint_requests[1], 0);
    }

    #[test]
    fn a_held_client_sends_one_datagram() {
        let mut traffic = Traffic::new().unwrap();
        let target = traffic.echoes.addresses().unwrap()[1];
        let load = traffic.ask_once(&plan(target, Pace::Idle)).unwrap();
        assert_eq!(load.outcome().requests_in_all, 10);
        assert_eq!(traffic.echoes.counts(), [0, 10]);
    }

    #[test]
    fn datagrams_that_do_not_come_back_are_wrong() {
        let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut traffic = Traffic::new().unwrap();
        let target = silent.local_addr().unwrap();
        let load = traffic.ask_once(&plan(target, Pace::Idle)).unwrap();
        assert_eq!(load.outcome().wrong, 10);
        assert_eq!(load.outcome().requests_in_all, 0);
    }
}
