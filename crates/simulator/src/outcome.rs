//! What came of the requests of a run, or of several.

use crate::scenario::DEADLINE;

/// Latencies and counts.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Outcome {
    /// Of requests that went well, in µs.
    latencies: Vec<u32>,
    /// Requests that an endpoint failed.
    failures: usize,
    /// Requests that were given up.
    deadlines: usize,
    /// Most requests at one endpoint at once.
    in_flight_max: usize,
}

/// What the table shows of an [`Outcome`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    /// Median latency in ms, of requests that went well, like the others.
    pub(crate) p50: f64,
    /// In ms.
    pub(crate) p99: f64,
    /// In ms.
    pub(crate) p999: f64,
    /// Share of the requests that an endpoint failed.
    pub(crate) failed: f64,
    /// Requests that were given up.
    pub(crate) deadlines: usize,
    /// Most requests at one endpoint at once.
    pub(crate) in_flight_max: usize,
}

impl Outcome {
    /// A request is done after so many ns.
    pub(crate) fn record(&mut self, latency: u64, is_success: bool) {
        if is_success {
            self.latencies.push((latency / 1000) as u32);
        } else {
            self.failures += 1;
        }
    }

    /// A request was given up.
    pub(crate) fn record_deadline(&mut self) {
        self.deadlines += 1;
    }

    /// So many requests are at one endpoint.
    pub(crate) fn saw_in_flight(&mut self, count: usize) {
        self.in_flight_max = self.in_flight_max.max(count);
    }

    /// Takes in another run of the same.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.latencies.extend_from_slice(&other.latencies);
        self.failures += other.failures;
        self.deadlines += other.deadlines;
        self.in_flight_max = self.in_flight_max.max(other.in_flight_max);
    }

    /// Counts a request that was given up as one that took the deadline.
    pub(crate) fn summary(&mut self) -> Summary {
        let requests = self.latencies.len() + self.failures + self.deadlines;
        Summary {
            p50: self.quantile(0.5),
            p99: self.quantile(0.99),
            p999: self.quantile(0.999),
            failed: self.failures as f64 / requests.max(1) as f64,
            deadlines: self.deadlines,
            in_flight_max: self.in_flight_max,
        }
    }

    /// In ms.
    fn quantile(&mut self, quantile: f64) -> f64 {
        let count = self.latencies.len() + self.deadlines;
        let rank = (count as f64 * quantile) as usize;
        if rank >= self.latencies.len() {
            return DEADLINE as f64 / 1e6;
        }
        let (_, value, _) = self.latencies.select_nth_unstable(rank);
        f64::from(*value) / 1000.0
    }
}
