//! Peak EWMA, as Finagle and linkerd have it.

use balance::Candidates;
use fastrand::Rng;

use super::{Judge, Opponent, Response, lesser_of_two};

pub(super) const OPPONENT: Opponent = Opponent {
    name: "ewma",
    summary: "the one of two drawn at random with the lower product of latency and requests in \
              flight; latency jumps to a peak and decays from it (tau 10 s)",
    is_judged: true,
    build: |_| Box::new(PeakEwma(Vec::new())),
};

/// By endpoint.
struct PeakEwma(Vec<Cost>);

#[derive(Clone, Copy)]
struct Cost {
    /// In µs.
    latency: f64,
    /// When it was learned, in µs.
    stamp: u64,
}

impl Judge for PeakEwma {
    fn pick(&mut self, candidates: &Candidates<'_>, random: &mut Rng) -> Option<usize> {
        self.grow(candidates.endpoints().len());
        let now = candidates.now();
        lesser_of_two(candidates, random, |index| {
            let Cost { latency, stamp } = self.0[index];
            let decayed = latency * decay(stamp, now);
            decayed * f64::from(candidates.load(index) + 1)
        })
    }

    fn learn(&mut self, index: usize, response: &Response) {
        self.grow(index + 1);
        let Cost { latency, stamp } = &mut self.0[index];
        let latest = response.latency.as_secs_f64() * 1e6;
        if latest > *latency {
            *latency = latest;
        } else {
            let kept = decay(*stamp, response.now);
            *latency = *latency * kept + latest * (1.0 - kept);
        }
        *stamp = response.now;
    }
}

impl PeakEwma {
    fn grow(&mut self, count: usize) {
        if self.0.len() < count {
            self.0.resize(count, UNKNOWN);
        }
    }
}

/// What is left of a latency after a while.
fn decay(stamp: u64, now: u64) -> f64 {
    (-(now.saturating_sub(stamp) as f64) / TAU_US).exp()
}

const TAU_US: f64 = 10e6;

/// Of an endpoint that has not answered yet: 30 ms.
const UNKNOWN: Cost = Cost {
    latency: 30e3,
    stamp: 0,
};
