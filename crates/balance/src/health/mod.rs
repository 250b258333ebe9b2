//! The health of an endpoint: what probes and live traffic say, turned into a verdict.
//!
//! [`Health`] is a state machine without a clock: evidence and time in, transitions out. Whoever
//! owns it probes when [`Health::next_probe_in`] says so, calls [`Health::expire`] at
//! [`Health::deadline`], and publishes [`Health::availability`] after each transition.
//!
//! Three judges sit beside each other. Active checks move the [`HealthState`]; live failures eject,
//! for a time, whatever the state; an agent says up or down until it says otherwise. Only an
//! endpoint that none of them keeps out is in rotation. Maintenance and draining are not known
//! here: they are wishes, not findings.

mod ejection;
mod evidence;
mod success_rate;
#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "an `Instant` comes from nowhere else; from there on time is counted"
)]
mod tests;

use std::time::{Duration, Instant};

use ejection::Ejection;

use crate::{Availability, Check, CheckKind, PoolSettings, SlowStartSettings};

pub use ejection::may_eject;
pub use evidence::{Cause, Evidence, LiveEvidence, ProbeFailure, Transition};
pub use success_rate::{Outlier, Tally, outliers};

/// What active checks say.
///
/// ```text
///            first success          failure
///  unknown ────────────────▶ up ────────────────▶ suspect
///     │                      ▲  ◀────────────────    │
///     │                      │       success         │
///     │ fall                 │ window                │ fall
///     │ failures             │                       │ failures
///     │                  recovering                  │
///     │                   │      ▲                   │
///     │           failure │      │ rise successes    │
///     │                   ▼      │                   │
///     └──────────────────▶  down  ◀──────────────────┘
/// ```
///
/// The window is that of slow start. Failures and successes are counted in a row. From every state but down, a refused live connect
/// together with a failed probe leads to down at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthState {
    /// No verdict yet.
    Unknown,
    /// In rotation.
    Up,
    /// In rotation, but the last probes failed.
    Suspect,
    /// Out of rotation.
    Down,
    /// In rotation again, on trial: one failure is enough.
    Recovering,
}

/// The health of one endpoint of one pool.
#[derive(Debug)]
pub struct Health {
    check: Check,
    state: HealthState,
    failures_in_row: u32,
    successes_in_row: u32,
    /// Failed probes since the endpoint went down or last answered.
    failures_while_down: u32,
    last_failure: Option<ProbeFailure>,
    /// When the last probe failed; `None` if it did not.
    probe_failed_at: Option<Instant>,
    /// When a live connect was refused; `None` if a probe succeeded since.
    live_refused_at: Option<Instant>,
    /// How long recovering takes.
    trial: Duration,
    /// When recovering is over.
    recovered_at: Option<Instant>,
    is_agent_down: bool,
    ejection: Ejection,
}

/// From probe to probe while the verdict is open, unless the check's own interval is shorter. Also
/// how close a refused live connect and a failed probe must be to count together.
const UNDECIDED_INTERVAL: Duration = Duration::from_millis(500);
/// From probe to probe of an endpoint long down, unless the check's own interval is longer. With
/// jitter and a confirming probe it still gets traffic within 10 s of coming back.
const DOWN_INTERVAL_MAX: Duration = Duration::from_secs(8);
/// How long an endpoint is on trial after it was down, where slow start does not say.
const RECOVERING_WINDOW: Duration = Duration::from_secs(10);

impl Health {
    /// Of an endpoint, in a pool of these settings, that nothing is known of. Without active
    /// checks it counts as up.
    pub fn new(settings: &PoolSettings) -> Self {
        let check = settings.check.clone();
        let window = |slow_start: &SlowStartSettings| slow_start.window;
        let state = match check.kind {
            CheckKind::Off => HealthState::Up,
            _ => HealthState::Unknown,
        };
        Self {
            check,
            state,
            failures_in_row: 0,
            successes_in_row: 0,
            failures_while_down: 0,
            last_failure: None,
            probe_failed_at: None,
            live_refused_at: None,
            trial: settings
                .slow_start
                .as_ref()
                .map_or(RECOVERING_WINDOW, window),
            recovered_at: None,
            is_agent_down: false,
            ejection: Ejection::new(settings.outlier.clone()),
        }
    }

    /// Takes what was observed. What ejects is for [`Self::eject`], and changes nothing here.
    pub fn receive(&mut self, evidence: Evidence, now: Instant) -> Option<Transition> {
        let from = self.standing();
        let cause = match evidence {
            Evidence::ProbeSucceeded => self.receive_success(now),
            Evidence::ProbeFailed(failure) => self.receive_failure(failure, now),
            Evidence::LiveRefused => self.receive_refusal(now),
            Evidence::AgentUp => {
                self.is_agent_down = false;
                Some(Cause::AgentUp)
            }
            Evidence::AgentDown => {
                self.is_agent_down = true;
                Some(Cause::AgentDown)
            }
            Evidence::ProbeLate
            | Evidence::LiveFailures { .. }
            | Evidence::TrialFailed { .. }
            | Evidence::LowSuccessRate { .. } => None,
        };
        self.transition(from, cause?, Some(evidence), now)
    }

    /// Takes the endpoint out for a while, if `evidence` is enough and it is not out already. The
    /// caller knows the pool, and has asked [`may_eject`]; after the ejection it has
    /// [`crate::LoadLine::begin_trial`] called.
    pub fn eject(&mut self, evidence: Evidence, now: Instant) -> Option<Transition> {
        let from = self.standing();
        if self.state == HealthState::Down || self.is_agent_down {
            return None;
        }
        let cause = self.ejection.begin(evidence, now)?;
        self.transition(from, cause, Some(evidence), now)
    }

    /// Prolongs recovering by `by`, if the endpoint is: its slow start does not go on as planned.
    pub fn prolong_recovering(&mut self, by: Duration) {
        self.recovered_at = self.recovered_at.map(|at| at + by);
    }

    /// When to call [`Self::expire`], if nothing is received before. `None`: never.
    pub fn deadline(&self) -> Option<Instant> {
        let deadlines = [self.ejection.until(), self.recovered_at];
        deadlines.into_iter().flatten().min()
    }

    /// Acts on a deadline that `now` has reached. Call until `None`.
    pub fn expire(&mut self, now: Instant) -> Option<Transition> {
        let from = self.standing();
        if self.recovered_at.is_some_and(|at| at <= now) {
            self.recovered_at = None;
            self.state = HealthState::Up;
            // An ejected endpoint looks the same from outside: go on to the ejection.
            if let Some(transition) = self.transition(from, Cause::SlowStartOver, None, now) {
                return Some(transition);
            }
        }
        if self.ejection.until().is_some_and(|until| until <= now) {
            self.ejection.end(now);
            return self.transition(from, Cause::EjectionOver, None, now);
        }
        None
    }

    /// How picks should see the endpoint.
    pub fn availability(&self) -> Availability {
        match self.state {
            _ if self.is_ejected() || self.is_agent_down => Availability::Down,
            HealthState::Unknown => Availability::Unknown,
            HealthState::Up | HealthState::Suspect | HealthState::Recovering => Availability::Up,
            HealthState::Down => Availability::Down,
        }
    }

    /// How long after the last probe the next one is due; `None` without active checks. The caller
    /// adds jitter.
    ///
    /// While the verdict is open probes come faster. An endpoint that stays down is probed ever
    /// more rarely, up to four intervals, until it answers.
    pub fn next_probe_in(&self) -> Option<Duration> {
        let interval = self.check.interval;
        let undecided = UNDECIDED_INTERVAL.min(interval);
        let next = match self.state {
            _ if self.check.kind == CheckKind::Off => return None,
            HealthState::Unknown | HealthState::Suspect => undecided,
            HealthState::Down if self.successes_in_row > 0 => undecided,
            HealthState::Down => {
                let longest = DOWN_INTERVAL_MAX.max(interval);
                longest.min(interval.saturating_mul(1 << self.failures_while_down.min(2)))
            }
            HealthState::Up | HealthState::Recovering => interval,
        };
        Some(next)
    }

    /// What active checks say.
    pub fn state(&self) -> HealthState {
        self.state
    }

    /// True while live failures keep it out of rotation.
    pub fn is_ejected(&self) -> bool {
        self.ejection.until().is_some()
    }

    /// True while its agent's last word was that it is down.
    pub fn is_agent_down(&self) -> bool {
        self.is_agent_down
    }

    /// The state's word, `ejected` or `agent_down`.
    pub fn standing(&self) -> &'static str {
        match self.state {
            _ if self.is_ejected() => "ejected",
            HealthState::Down => HealthState::Down.as_str(),
            _ if self.is_agent_down => "agent_down",
            state => state.as_str(),
        }
    }

    /// Failed probes since the last success.
    pub fn failures_in_row(&self) -> u32 {
        self.failures_in_row
    }

    /// Successful probes since the last failure.
    pub fn successes_in_row(&self) -> u32 {
        self.successes_in_row
    }

    /// What was wrong the last time a probe failed.
    pub fn last_failure(&self) -> Option<ProbeFailure> {
        self.last_failure
    }

    fn receive_success(&mut self, now: Instant) -> Option<Cause> {
        self.successes_in_row = self.successes_in_row.saturating_add(1);
        self.failures_in_row = 0;
        self.failures_while_down = 0;
        self.probe_failed_at = None;
        self.live_refused_at = None;
        let cause = match self.state {
            HealthState::Unknown => {
                self.state = HealthState::Up;
                Some(Cause::FirstProbe)
            }
            HealthState::Suspect => {
                self.state = HealthState::Up;
                Some(Cause::ProbeSucceeded)
            }
            HealthState::Down if self.successes_in_row >= self.check.rise.get() => {
                self.state = HealthState::Recovering;
                self.recovered_at = Some(now + self.trial);
                Some(Cause::ProbesSucceeded)
            }
            HealthState::Up | HealthState::Down | HealthState::Recovering => None,
        };
        if self.is_ejected() && self.ejection.is_outdone_by(&self.check) {
            self.ejection.end(now);
            return Some(Cause::ProbeEndedEjection);
        }
        cause
    }

    fn receive_failure(&mut self, failure: ProbeFailure, now: Instant) -> Option<Cause> {
        self.failures_in_row = self.failures_in_row.saturating_add(1);
        self.successes_in_row = 0;
        self.last_failure = Some(failure);
        self.probe_failed_at = Some(now);
        let enough = self.failures_in_row >= self.check.fall.get();
        match self.state {
            HealthState::Down => {
                self.failures_while_down = self.failures_while_down.saturating_add(1);
                None
            }
            _ if is_recent(self.live_refused_at, now) => {
                Some(self.go_down(Cause::RefusedLiveAndProbe))
            }
            HealthState::Recovering => Some(self.go_down(Cause::ProbeFailed)),
            _ if enough => Some(self.go_down(Cause::ProbesFailed)),
            HealthState::Up => {
                self.state = HealthState::Suspect;
                Some(Cause::ProbeFailed)
            }
            HealthState::Unknown | HealthState::Suspect => None,
        }
    }

    fn receive_refusal(&mut self, now: Instant) -> Option<Cause> {
        self.live_refused_at = Some(now);
        let goes_down = self.state != HealthState::Down && is_recent(self.probe_failed_at, now);
        goes_down.then(|| self.go_down(Cause::RefusedLiveAndProbe))
    }

    fn go_down(&mut self, cause: Cause) -> Cause {
        self.state = HealthState::Down;
        self.recovered_at = None;
        // Active checks have taken over: what live traffic said is settled.
        self.ejection.clear();
        cause
    }

    /// `None` if nothing shows: what happens behind an ejection is not reported.
    fn transition(
        &self,
        from: &'static str,
        cause: Cause,
        evidence: Option<Evidence>,
        at: Instant,
    ) -> Option<Transition> {
        let to = self.standing();
        (from != to).then_some(Transition {
            from,
            to,
            cause,
            evidence,
            at,
        })
    }
}

impl HealthState {
    /// The word in events, metrics and the admin API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Suspect => "suspect",
            Self::Down => "down",
            Self::Recovering => "recovering",
        }
    }
}

fn is_recent(at: Option<Instant>, now: Instant) -> bool {
    at.is_some_and(|at| now.saturating_duration_since(at) <= UNDECIDED_INTERVAL)
}
