//! Peak EWMA: the least expected latency, where a bad surprise counts at once.

use std::sync::atomic::{AtomicU64, Ordering};

use fastrand::Rng;

use super::least_request::cheapest;
use super::{Candidates, Policy, PolicyKind, Sent};
use crate::{Answer, Endpoint};

pub(super) const KIND: PolicyKind = PolicyKind {
    name: "peak_ewma",
    summary: "The endpoint with the least recent latency times requests in flight, for its \
              weight; a slow answer counts in full at once, a failure as one of 5 s.",
    has_key: false,
    build: |_, _| Box::new(PeakEwma),
};

/// Compares `cost * (in_flight + 1) / weight`; ties go to the least recently picked.
///
/// Source: the load balancer of Finagle and linkerd.
struct PeakEwma;

impl Policy for PeakEwma {
    fn pick(&mut self, candidates: &Candidates<'_>, random: &mut Rng) -> Option<usize> {
        cheapest(candidates, random, |index| {
            let in_flight = candidates.load(index);
            let cost = &candidates.endpoints()[index].load.latency_cost;
            let cost = cost.expected(in_flight, candidates.now());
            cost * (in_flight + 1) as f32 / candidates.weight(index) as f32
        })
    }

    fn learns(&self) -> bool {
        true
    }

    fn learn(&mut self, endpoint: &Endpoint, _sent: Sent, answer: &Answer, now: u64) {
        let latency = answer.latency.as_micros() as f32;
        let latency = if answer.is_success {
            latency
        } else {
            latency.max(FAILURE)
        };
        endpoint.load.latency_cost.record(latency, now);
    }
}

/// What an answer of an endpoint is expected to take: a moving average that jumps to every value
/// above it. All workers write it, and one that loses a race loses one answer.
#[derive(Debug)]
pub(crate) struct LatencyCost(AtomicU64);

/// In µs: how fast what was learnt is forgotten.
const TAU: f32 = 10e6;

/// In µs: what is expected of an endpoint that has not answered yet.
const INITIAL: f32 = 30e3;

/// In µs: a failure takes as long at least, else an endpoint that fails fast would attract.
const FAILURE: f32 = 5e6;

/// Stamps count in units of 2^10 µs, which 32 bits hold for 50 days.
const STAMP_SHIFT: u32 = 10;

impl LatencyCost {
    /// Takes an answer of `latency` µs at `now`, in µs of the pool's time.
    fn record(&self, latency: f32, now: u64) {
        let (cost, age) = self.load(now);
        let cost = if latency > cost {
            latency
        } else {
            let kept = fading(age / TAU);
            cost * kept + latency * (1.0 - kept)
        };
        self.0.store(packed(cost, now), Ordering::Relaxed);
    }

    /// Back to what is expected of an endpoint that has not answered yet.
    pub(crate) fn forget(&self) {
        self.0.store(packed(INITIAL, 0), Ordering::Relaxed);
    }

    /// What to expect, in µs, at least 1. It fades while the endpoint has nothing to do, so that
    /// it is tried again; once it has, no longer, else a whole crowd would follow the first one,
    /// and an endpoint that hangs would attract ever more.
    fn expected(&self, in_flight: u32, now: u64) -> f32 {
        let (cost, age) = self.load(now);
        let kept = if in_flight == 0 {
            fading(age / TAU)
        } else {
            1.0
        };
        (cost * kept).max(1.0)
    }

    /// The cost and its age, both in µs.
    fn load(&self, now: u64) -> (f32, f32) {
        let packed = self.0.load(Ordering::Relaxed);
        let cost = f32::from_bits((packed >> 32) as u32);
        let age = stamp(now).wrapping_sub(packed as u32);
        // Another worker may be ahead of this one's time.
        let age = (age as i32).max(0) as f32 * (1 << STAMP_SHIFT) as f32;
        (cost, age)
    }
}

impl Default for LatencyCost {
    fn default() -> Self {
        Self(AtomicU64::new(packed(INITIAL, 0)))
    }
}

/// About `exp(-x)` for an `x` of 0 or more: to 1 % up to 1, to 10 % up to 3.6. Several times as
/// fast, which counts as picks ask for every idle endpoint.
fn fading(x: f32) -> f32 {
    (1.0 - x / 64.0).max(0.0).powi(64)
}

fn packed(cost: f32, now: u64) -> u64 {
    u64::from(cost.to_bits()) << 32 | u64::from(stamp(now))
}

fn stamp(now: u64) -> u32 {
    (now >> STAMP_SHIFT) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let cost = LatencyCost::default();
        assert_eq!(cost.expected(1, 0), 30e3);
        cost.record(1e6, 0);
        assert_eq!(cost.expected(1, 0), 1e6);
        // After as long as tau, 1/e of the peak is left.
        cost.record(1e3, 10_000_000);
        let expected = 1e6 / 1f32.exp() + 1e3 * (1.0 - 1.0 / 1f32.exp());
        assert!((cost.expected(1, 10_000_000) / expected - 1.0).abs() < 1e-2);
    }

    #[test]
    fn what_is_expected_fades_only_while_nothing_is_in_flight() {
        let cost = LatencyCost::default();
        cost.record(FAILURE, 0);
        assert!(cost.expected(0, 20_000_000) < FAILURE / 7.0);
        assert_eq!(cost.expected(1, 20_000_000), FAILURE);
        assert_eq!(cost.expected(0, 3_600_000_000), 1.0);
    }

    #[test]
    fn the_time_of_a_worker_that_is_behind_does_no_harm() {
        let cost = LatencyCost::default();
        cost.record(1e6, 50_000);
        assert_eq!(cost.expected(0, 40_000), 1e6);
    }
}
