//! Utilisation: round robin by what endpoints say of their own load.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use fastrand::Rng;

use super::round_robin::RoundRobin;
use super::schedule::{Schedule, Schedules};
use super::{Candidates, Policy, PolicyKind};
use crate::LoadReport;
use crate::endpoint::NEVER;

pub(super) const KIND: PolicyKind = PolicyKind {
    name: "utilization",
    summary: "Round robin by the requests per second that an endpoint does for each unit of \
              utilisation, as it reports; by configured weights until two endpoints have.",
    has_key: false,
    build: |_, _| Box::new(Utilization::new()),
};

/// The weights are the endpoints' own: what is configured for them counts only without reports,
/// and slow start always. Who has reported nothing gets the mean of those who have.
///
/// Source: gRPC proposal A58, client-side weighted round robin.
struct Utilization {
    turns: Schedules<Turns>,
    without_reports: RoundRobin,
}

struct Turns {
    /// `None`: too few have reported.
    schedule: Option<Schedule>,
    good_until: u64,
}

/// In µs: from reading weights to reading them again.
const REFRESH: u64 = 1_000_000;

/// In µs: an endpoint's reports count from so long after its first one, as the first ones are of
/// a cold endpoint.
const BLACKOUT: u64 = 10_000_000;

/// In µs: a report is forgotten after this.
const EXPIRY: u64 = 180_000_000;

/// How much errors weigh: with 1.0, one error a request doubles what its work cost.
const ERROR_PENALTY: f32 = 1.0;

/// What the heaviest endpoint weighs in a schedule.
const WEIGHT_MAX: f32 = 65_535.0;

impl Utilization {
    fn new() -> Self {
        Self {
            turns: Schedules::new(),
            without_reports: RoundRobin::new(),
        }
    }
}

impl Policy for Utilization {
    fn pick(&mut self, candidates: &Candidates<'_>, random: &mut Rng) -> Option<usize> {
        let now = candidates.now();
        let make = || Turns {
            schedule: schedule(candidates, random),
            good_until: now + REFRESH,
        };
        let is_good = |turns: &Turns| now < turns.good_until;
        match &mut self.turns.of(candidates, is_good, make).schedule {
            Some(schedule) => schedule.next(candidates),
            None => self.without_reports.pick(candidates, random),
        }
    }
}

fn schedule(candidates: &Candidates<'_>, random: &mut Rng) -> Option<Schedule> {
    let weight = |index: usize| {
        candidates.endpoints()[index]
            .reported_weight
            .weight(candidates.now())
    };
    let weights: Vec<(usize, Option<f32>)> = candidates
        .weights()
        .map(|(index, _)| (index, weight(index)))
        .collect();
    let reported = || weights.iter().filter_map(|&(_, weight)| weight);
    let count = reported().count();
    if count < 2 {
        return None;
    }
    let mean = reported().sum::<f32>() / count as f32;
    let heaviest = reported().fold(0.0, f32::max);
    let weights = weights.into_iter().map(|(index, weight)| {
        let weight = weight.unwrap_or(mean) * candidates.ramp(index) / heaviest;
        (index, (weight * WEIGHT_MAX).clamp(1.0, WEIGHT_MAX) as u32)
    });
    Some(Schedule::new(weights, random.u32(..)))
}

/// The weight that an endpoint's reports give it, as all workers share it.
#[derive(Debug)]
pub(crate) struct ReportedWeight {
    /// `f32` bits.
    weight: AtomicU32,
    /// When it was reported, in µs of the pool's time like all moments here.
    at: AtomicU64,
    /// When reports began; [`NEVER`]: not yet.
    since: AtomicU64,
}

impl ReportedWeight {
    /// Takes a report that came at `now`. One without requests or without utilisation says
    /// nothing of how much work a request is.
    pub(crate) fn report(&self, report: &LoadReport, now: u64) {
        let (Some(requests), Some(utilization)) = (report.requests_per_second, report.utilization)
        else {
            return;
        };
        let errors = report.errors_per_second.unwrap_or(0.0);
        let weight = requests / (utilization + errors / requests * ERROR_PENALTY);
        if !(weight.is_finite() && requests > 0.0 && utilization > 0.0 && weight > 0.0) {
            return;
        }
        let (order, since) = (Ordering::Relaxed, self.since.load(Ordering::Relaxed));
        if since == NEVER || now >= self.at.load(order).saturating_add(EXPIRY) {
            self.since.store(now, order);
        }
        self.weight.store(weight.to_bits(), order);
        self.at.store(now, order);
    }

    /// The weight, if there is one that counts. In requests per second at full utilisation.
    fn weight(&self, now: u64) -> Option<f32> {
        let since = self.since.load(Ordering::Relaxed);
        let until = self.at.load(Ordering::Relaxed).saturating_add(EXPIRY);
        (since != NEVER && now >= since.saturating_add(BLACKOUT) && now < until)
            .then(|| f32::from_bits(self.weight.load(Ordering::Relaxed)))
    }
}

impl Default for ReportedWeight {
    fn default() -> Self {
        Self {
            weight: AtomicU32::new(0),
            at: AtomicU64::new(0),
            since: AtomicU64::new(NEVER),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn report(requests: f32, errors: f32, utilization: f32) -> LoadReport {
        LoadReport {
            utilization: Some(utilization),
            requests_per_second: Some(requests),
            errors_per_second: Some(errors),
            ..LoadReport::default()
        }
    }

    #[test]
    fn a_weight_is_requests_by_utilization_and_errors() {
        let reported = ReportedWeight::default();
        reported.report(&report(100.0, 0.0, 0.5), 0);
        assert_eq!(reported.weight(BLACKOUT), Some(200.0));
        reported.report(&report(100.0, 50.0, 0.5), 0);
        assert_eq!(reported.weight(BLACKOUT), Some(100.0));
    }

    #[test]
    fn reports_count_after_the_blackout_until_they_expire() {
        let reported = ReportedWeight::default();
        assert_eq!(reported.weight(SECOND), None);
        reported.report(&report(100.0, 0.0, 0.5), SECOND);
        assert_eq!(reported.weight(SECOND + BLACKOUT - 1), None);
        assert!(reported.weight(SECOND + BLACKOUT).is_some());
        assert!(reported.weight(SECOND + EXPIRY - 1).is_some());
        assert_eq!(reported.weight(SECOND + EXPIRY), None);
        // Then all begins anew.
        let again = 2 * EXPIRY;
        reported.report(&report(100.0, 0.0, 0.5), again);
        assert_eq!(reported.weight(again + BLACKOUT - 1), None);
        assert!(reported.weight(again + BLACKOUT).is_some());
    }

    #[test]
    fn a_report_that_says_nothing_changes_nothing() {
        let reported = ReportedWeight::default();
        let without = LoadReport {
            requests_per_second: None,
            ..report(1.0, 0.0, 1.0)
        };
        let nan = f32::NAN;
        for nothing in [
            without,
            report(0.0, 0.0, 0.5),
            report(100.0, 0.0, 0.0),
            report(nan, 0.0, 0.5),
            report(100.0, nan, 0.5),
            report(100.0, -90.0, 0.5),
            report(f32::INFINITY, 0.0, 0.5),
        ] {
            reported.report(&nothing, 0);
            assert_eq!(reported.weight(BLACKOUT), None, "{nothing:?}");
        }
    }
}
