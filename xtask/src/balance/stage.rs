//! Load and endpoints in one program with one event loop that spins, as in
//! [`traffic`](crate::traffic), and for the same reasons.

use std::io::stdin;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::endpoints::Endpoints;
use super::load::Load;
use super::plan::{Outcome, Plan, SETTLED_SECONDS};
use super::trouble::{ENDPOINTS, THE_ONE, Trouble};
use crate::process;
use crate::role::{hear_plan, say};
use crate::socket::{Interest, Poller};

/// `stage TROUBLE`, a [`Role`](crate::role::Role).
pub(crate) fn run_stage(arguments: &[String]) -> Result<()> {
    let [trouble] = arguments else {
        bail!("stage TROUBLE");
    };
    let trouble = serde_json::from_str(trouble).context("reading the trouble")?;
    let mut stage = Stage::new(trouble)?;
    say(&stage.endpoints.addresses())?;
    stage.serve_until_input()?;
    let plan = hear_plan()?;
    let outcome = stage.play(&plan)?;
    say(&outcome)?;
    stage.serve_until_input()
}

struct Stage {
    trouble: Trouble,
    endpoints: Endpoints,
    poller: Poller,
    ready: Vec<u64>,
    /// Reads land here, whoever reads.
    buffer: Vec<u8>,
    /// When conditions are looked at next.
    next_tick: Instant,
    has_input: bool,
}

impl Stage {
    fn new(trouble: Trouble) -> Result<Self> {
        let poller = Poller::new()?;
        poller.add(stdin(), INPUT, Interest::Read)?;
        Ok(Self {
            trouble,
            endpoints: Endpoints::listen(trouble, &poller)?,
            poller,
            ready: Vec::new(),
            buffer: vec![0; BUFFER_BYTES],
            next_tick: Instant::now(),
            has_input: false,
        })
    }

    /// Serves the endpoints until there is something to read on standard input, its end included.
    fn serve_until_input(&mut self) -> Result<()> {
        self.has_input = false;
        while !self.has_input {
            self.turn(Instant::now(), None)?;
        }
        Ok(())
    }

    /// Loads the targets: first to warm them up, then for the measured window.
    fn play(&mut self, plan: &Plan) -> Result<Outcome> {
        let start = Instant::now();
        let begin = start + Duration::from_secs_f64(plan.warm_seconds);
        let end = begin + Duration::from_secs_f64(plan.seconds);
        let split = begin + Duration::from_secs_f64(plan.split_seconds);
        let settled = (split + Duration::from_secs_f64(SETTLED_SECONDS)).min(end);
        let mut load = Load::new(plan, begin, end, split);

        self.drive(&mut load, plan, begin, begin)?;
        let counts_at_begin = self.endpoints.request_counts();
        let run_before = process::run_time(&plan.watch);
        let busy_before = process::busy_time(plan.cpu);
        self.drive(&mut load, plan, begin, settled)?;
        let counts_at_settled = self.endpoints.request_counts();
        self.drive(&mut load, plan, begin, end)?;
        let counts_at_end = self.endpoints.request_counts();
        let run_time = process::run_time(&plan.watch).saturating_sub(run_before);
        let busy_time = process::busy_time(plan.cpu).saturating_sub(busy_before);

        let deadline = Instant::now() + PATIENCE;
        while !load.is_settled() && Instant::now() < deadline {
            self.drive(&mut load, plan, begin, Instant::now() + TICK)?;
        }

        let mut outcome = load.outcome();
        let unanswered = outcome.due - outcome.answered - outcome.failed;
        if unanswered > 0 {
            outcome.failed += unanswered;
            outcome
                .first_failure
                .get_or_insert_with(|| format!("{unanswered} never answered"));
        }
        outcome.cpu_share = run_time.as_secs_f64() / plan.seconds;
        outcome.others_share = busy_time.saturating_sub(run_time).as_secs_f64() / plan.seconds;
        outcome.endpoint_shares = shares(&counts_at_begin, &counts_at_end);
        outcome.endpoint_shares_settled = shares(&counts_at_settled, &counts_at_end);
        outcome.first_request_seconds = self
            .endpoints
            .first_request(THE_ONE)
            .and_then(|first| first.checked_duration_since(split))
            .map(|after| after.as_secs_f64());
        Ok(outcome)
    }

    /// Turns the event loop until `until`.
    fn drive(
        &mut self,
        load: &mut Load,
        plan: &Plan,
        begin: Instant,
        until: Instant,
    ) -> Result<()> {
        loop {
            let now = Instant::now();
            if now >= until {
                return Ok(());
            }
            if now >= self.next_tick {
                self.next_tick = now + TICK;
                self.set_conditions(plan, begin, now)?;
            }
            load.start_due(now, &self.poller);
            self.turn(now, Some(load))?;
        }
    }

    /// One turn of the event loop: answers what is done, and serves what is ready.
    fn turn(&mut self, now: Instant, mut load: Option<&mut Load>) -> Result<()> {
        self.endpoints.answer_done(now);
        self.poller.wait(Some(Duration::ZERO), &mut self.ready)?;
        for &token in &self.ready {
            if token == INPUT {
                self.has_input = true;
            } else if let Some(index) = token.checked_sub(CLIENTS) {
                if let Some(load) = &mut load {
                    load.advance(index as usize, &self.poller, &mut self.buffer);
                }
            } else {
                let now = Instant::now();
                self.endpoints
                    .advance(token, now, &self.poller, &mut self.buffer)?;
            }
        }
        Ok(())
    }

    fn set_conditions(&mut self, plan: &Plan, begin: Instant, now: Instant) -> Result<()> {
        let at = match now.checked_duration_since(begin) {
            Some(after) => after.as_secs_f64(),
            None => -(begin - now).as_secs_f64(),
        };
        for index in 0..ENDPOINTS {
            let condition = self.trouble.condition(index, at, plan.seed);
            self.endpoints
                .set_condition(index, condition, now, &self.poller)?;
        }
        Ok(())
    }
}

/// What part of all requests between two counts each endpoint got.
fn shares(before: &[u64], after: &[u64]) -> Vec<f64> {
    let counts: Vec<u64> = after.iter().zip(before).map(|(a, b)| a - b).collect();
    let all = counts.iter().sum::<u64>().max(1);
    let shares = counts.iter().map(|&count| count as f64 / all as f64);
    shares.collect()
}

// Tokens: endpoints have the low ones, see `endpoints`.
const INPUT: u64 = 1 << 32;
pub(super) const CLIENTS: u64 = INPUT + 1;

const BUFFER_BYTES: usize = 64 * 1024;
/// From look to look at what is wrong with whom. A whole second is a multiple of it only by and
/// large: a change comes up to this much late, the same for all.
const TICK: Duration = Duration::from_millis(10);
/// How long after the window an answer is still waited for.
const PATIENCE: Duration = Duration::from_secs(10);
