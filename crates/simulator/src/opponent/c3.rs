//! C3: cubic replica selection.

use balance::Candidates;
use fastrand::Rng;

use super::{Judge, Opponent, Response, least};

pub(super) const OPPONENT: Opponent = Opponent {
    name: "c3",
    summary: "the lowest sum of latency and the cube of the queue, which servers report with \
              their service time",
    is_judged: false,
    build: |world| {
        Box::new(C3 {
            balancers: world.balancers as f64,
            endpoints: Vec::new(),
        })
    },
};

/// Replica ranking of Suresh, Canini, Schmid and Feldmann, "C3: Cutting Tail Latency in Cloud
/// Data Stores via Adaptive Replica Selection", NSDI 2015, §3.1. Without its rate control, which
/// holds requests back.
struct C3 {
    balancers: f64,
    endpoints: Vec<Known>,
}

/// Moving averages.
#[derive(Clone, Copy, Default)]
struct Known {
    /// In µs.
    latency: f64,
    /// In µs.
    service: f64,
    /// Requests at the endpoint.
    queue: f64,
}

impl Judge for C3 {
    fn pick(&mut self, candidates: &Candidates<'_>, _random: &mut Rng) -> Option<usize> {
        least(candidates, |index| {
            let known = self.endpoints.get(index).copied().unwrap_or_default();
            let in_flight = f64::from(candidates.load(index));
            let queue = 1.0 + in_flight * self.balancers + known.queue;
            known.latency - known.service + queue.powi(3) * known.service
        })
    }

    fn learn(&mut self, index: usize, response: &Response) {
        if self.endpoints.len() <= index {
            self.endpoints.resize(index + 1, Known::default());
        }
        let known = &mut self.endpoints[index];
        let average = |mean: &mut f64, latest: f64| *mean += (latest - *mean) * LATEST_PART;
        average(&mut known.latency, response.latency.as_secs_f64() * 1e6);
        average(&mut known.service, response.service.as_secs_f64() * 1e6);
        average(&mut known.queue, response.queue as f64);
    }
}

/// What the latest answer counts in an average. The authors' program has 0.9, which does worse
/// here.
const LATEST_PART: f64 = 0.1;
