//! What an endpoint reports of its requests, where it does: needed when several balancers share
//! it, as none of them sees the others' requests.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::LoadReport;

/// The last report, good for a while.
#[derive(Debug, Default)]
pub(crate) struct Reported {
    /// In µs of the pool's time; 0: there never was one.
    until: AtomicU64,
    /// Requests in flight there that are not ours.
    others: AtomicU32,
    /// All requests in flight at the time of the report.
    in_flight: AtomicU32,
    /// What a request took at that time, in µs; 0: not reported.
    latency_us: AtomicU32,
}

impl Reported {
    /// Takes a report that is good until `until`. `ours` is what we have in flight there. Returns
    /// false if it says nothing of requests.
    pub(crate) fn report(&self, report: &LoadReport, ours: u32, until: u64) -> bool {
        if report.in_flight.is_none() && report.latency_us.is_none() {
            return false;
        }
        let in_flight = report.in_flight.unwrap_or(ours);
        self.others
            .store(in_flight.saturating_sub(ours), Ordering::Relaxed);
        self.in_flight.store(in_flight, Ordering::Relaxed);
        self.latency_us
            .store(report.latency_us.unwrap_or(0), Ordering::Relaxed);
        self.until.store(until, Ordering::Relaxed);
        true
    }

    /// Requests in flight there that are not ours; 0 if nothing is known.
    pub(crate) fn others(&self, now: u64) -> u32 {
        if now < self.until.load(Ordering::Relaxed) {
            self.others.load(Ordering::Relaxed)
        } else {
            0
        }
    }

    /// What a request took, in µs, and how many were in flight then.
    pub(crate) fn latency(&self, now: u64) -> Option<(f32, u32)> {
        let latency = self.latency_us.load(Ordering::Relaxed);
        let is_good = latency > 0 && now < self.until.load(Ordering::Relaxed);
        is_good.then(|| (latency as f32, self.in_flight.load(Ordering::Relaxed)))
    }
}
