//! Load and endpoints in one program with one event loop that spins.
//!
//! One program, because the load balancer would otherwise pay for waking two others, which on a
//! virtual machine is dear and differs with how busy they are. Spinning, for the same reason:
//! nobody ever has to wake it. It reads the run time of the load balancer's threads itself, so
//! the measured window and the counted requests are the same window.
//!
//! A [`Role`](crate::role::Role), with a [`Plan`] and an [`Outcome`].
//!
//! Read `plan`, then `client` (one connection that sends requests) with `tls`, `load` (all of them
//! and what they measured), `endpoint`.

pub(crate) mod client;
mod endpoint;
mod load;
mod plan;
mod tls;

use std::io::stdin;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::process;
use crate::role::{hear_plan, say};
use crate::socket::{Interest, Poller};
use endpoint::Endpoints;
use load::Load;
pub(crate) use plan::{Outcome, Pace, Plan};

/// `traffic`, with everything else on standard input.
pub(crate) fn run() -> Result<()> {
    let mut traffic = Traffic::new()?;
    say(&traffic.endpoints.addresses())?;
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
    endpoints: Endpoints,
    /// Reads land here, whoever reads.
    buffer: Vec<u8>,
}

impl Traffic {
    fn new() -> Result<Self> {
        let poller = Poller::new()?;
        poller.add(stdin(), INPUT, Interest::Read)?;
        Ok(Self {
            endpoints: Endpoints::listen(&poller)?,
            poller,
            ready: Vec::new(),
            buffer: vec![0; BUFFER_BYTES],
        })
    }

    /// Serves the endpoints until there is something to read on standard input, its end included.
    fn serve_until_input(&mut self) -> Result<()> {
        loop {
            self.poller.wait(None, &mut self.ready)?;
            let mut has_input = false;
            for &token in &self.ready {
                if token == INPUT {
                    has_input = true;
                } else {
                    self.endpoints
                        .advance(token, &self.poller, &mut self.buffer)?;
                }
            }
            if has_input {
                return Ok(());
            }
        }
    }

    /// Loads the target: first to warm it up, then for the measured window.
    fn press(&mut self, plan: &Plan) -> Result<Outcome> {
        let mut load = Load::new(plan)?;
        let start = Instant::now() + Duration::from_secs_f64(plan.warm_seconds);
        self.drive(&mut load, |_, now| now >= start)?;

        let run_before = process::run_time(&plan.watch);
        let busy_before = process::busy_time(plan.cpu);
        let seconds = Duration::from_secs_f64(plan.seconds);
        let start = Instant::now();
        let end = start + seconds;
        load.begin_window(start, end);
        self.drive(&mut load, |_, now| now >= end)?;
        let elapsed = start.elapsed();
        let run_time = process::run_time(&plan.watch).saturating_sub(run_before);
        let busy = process::busy_time(plan.cpu).saturating_sub(busy_before);

        // In the open loop what was due in the window counts, also when it is answered late.
        let deadline = Instant::now() + GRACE;
        load.end_window();
        self.drive(&mut load, |load, now| load.is_settled() || now >= deadline)?;

        let mut outcome = load.outcome();
        outcome.seconds = elapsed.as_secs_f64();
        outcome.run_seconds = run_time.as_secs_f64();
        outcome.others_share = busy.saturating_sub(run_time).as_secs_f64() / elapsed.as_secs_f64();
        outcome.endpoint_requests = self.endpoints.request_counts();
        outcome.endpoint_connections = self.endpoints.connection_count();
        Ok(outcome)
    }

    /// Opens many connections, has each make one request, and measures what they cost in memory
    /// while nothing happens on them.
    fn hold(&mut self, plan: &Plan) -> Result<Outcome> {
        // Touches every code path once, so that only the connections are counted.
        let mut first = Load::new(&Plan {
            pace: Pace::Closed,
            connections: CONCURRENT_CONNECTS,
            ..plan.clone()
        })?;
        let end = Instant::now() + WARM_UP;
        self.drive(&mut first, |_, now| now >= end)?;
        drop(first);
        self.settle()?;
        let before = process::memory_bytes(&plan.watch);

        let mut load = Load::new(plan)?;
        let deadline = Instant::now() + Duration::from_secs(60);
        self.drive(&mut load, |load, now| load.is_settled() || now >= deadline)?;
        let end = Instant::now() + SETTLE;
        self.drive(&mut load, |_, now| now >= end)?;
        let after = process::memory_bytes(&plan.watch);

        let mut outcome = load.outcome();
        outcome.memory_bytes_per_connection =
            after.saturating_sub(before) as f64 / load.open_connections().max(1) as f64;
        outcome.wrong += (plan.connections - load.open_connections()) as u64;
        Ok(outcome)
    }

    /// Turns the event loop until `done` says so.
    fn drive(&mut self, load: &mut Load, done: impl Fn(&Load, Instant) -> bool) -> Result<()> {
        loop {
            let now = Instant::now();
            if done(load, now) {
                return Ok(());
            }
            load.start_due(now, &self.poller);
            self.poller.wait(Some(Duration::ZERO), &mut self.ready)?;
            for &token in &self.ready {
                if let Some(index) = token.checked_sub(CLIENTS) {
                    load.advance(index as usize, &self.poller, &mut self.buffer);
                } else if token != INPUT {
                    self.endpoints
                        .advance(token, &self.poller, &mut self.buffer)?;
                }
            }
        }
    }

    /// Serves the endpoints for a while, so that the target can tidy up.
    fn settle(&mut self) -> Result<()> {
        let end = Instant::now() + SETTLE;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.poller.wait(Some(left), &mut self.ready)?;
            for &token in &self.ready {
                if token < INPUT {
                    self.endpoints
                        .advance(token, &self.poller, &mut self.buffer)?;
                }
            }
        }
        Ok(())
    }
}

// Tokens: endpoints have the low ones, see `endpoint`.
const INPUT: u64 = 1 << 32;
const CLIENTS: u64 = INPUT + 1;

const BUFFER_BYTES: usize = 256 * 1024;
const CONCURRENT_CONNECTS: usize = 16;
const WARM_UP: Duration = Duration::from_millis(300);
/// Long enough for allocators and pools that tidy up once a second.
const SETTLE: Duration = Duration::from_millis(1500);
/// How long after the window an answer that was due in it is still waited for.
const GRACE: Duration = Duration::from_millis(500);
