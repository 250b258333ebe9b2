//! One run: one contender, started anew, under one kind of trouble.

use anyhow::Result;
use serde::Serialize;

use super::peer::{Contender, Way};
use super::plan::{Outcome, Plan};
use super::scenario::Scenario;
use super::trouble::JOINS_AT;
use crate::bench::Cpus;
use crate::bench::peer::{Service, Setup};
use crate::role::Role;
use crate::socket;

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Run {
    pub(super) scenario: &'static str,
    pub(super) peer: String,
    /// Runs of one round had the same requests at the same moments.
    pub(super) round: usize,
    pub(super) requests_per_second: f64,
    pub(super) outcome: Outcome,
}

/// Measures `contender` once.
pub(super) fn measure(
    scenario: &'static Scenario,
    contender: &Contender,
    round: usize,
    cpus: Cpus,
    seconds: f64,
) -> Result<Run> {
    let folder = tempfile::tempdir()?;
    let trouble = serde_json::to_string(&scenario.trouble)?;
    let mut stage = Role::start(&["stage", &trouble], cpus.traffic)?;
    let endpoints = stage.addresses()?;
    let setup = Setup {
        folder: folder.path(),
        service: Service::Http,
        listen: socket::free_address()?,
        endpoints: &endpoints,
        secure: None,
        once: false,
        ready_path: "/0",
    };
    let program = match &contender.way {
        Way::Direct => None,
        Way::Through { peer, policy } => Some(peer.start_with(policy, &setup, cpus.balancer)?),
    };
    let plan = Plan {
        targets: match program {
            Some(_) => vec![setup.listen],
            None => endpoints.clone(),
        },
        requests_per_second: scenario.requests_per_second(),
        seed: SEED + round as u64,
        warm_seconds: WARM_SECONDS,
        seconds: seconds.max(scenario.seconds_min()),
        split_seconds: JOINS_AT,
        watch: program
            .as_ref()
            .map(|program| program.pids())
            .unwrap_or_default(),
        cpu: cpus.balancer,
    };
    let outcome = stage.ask(&plan)?;
    // The load balancer first, so that it does not see its endpoints go away.
    drop(program);
    drop(stage);
    Ok(Run {
        scenario: scenario.name,
        peer: contender.name.clone(),
        round,
        requests_per_second: plan.requests_per_second,
        outcome,
    })
}

impl Run {
    /// For a person who watches.
    pub(super) fn line(&self) -> String {
        let Outcome {
            p50_ms,
            p99_ms,
            p999_ms,
            failed,
            due,
            ..
        } = self.outcome;
        format!(
            "{} round {}: {}: p50 {p50_ms:.1} ms, p99 {p99_ms:.1} ms, p99.9 {p999_ms:.1} ms, \
             {failed} of {due} failed",
            self.scenario,
            self.round + 1,
            self.peer,
        )
    }
}

/// Any will do, as long as all contenders get the same.
const SEED: u64 = 0xba1a_4ce0;
const WARM_SECONDS: f64 = 2.0;
