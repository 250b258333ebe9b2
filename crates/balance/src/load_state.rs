//! Busy is not down: what an endpoint says of its own load, as one score.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::endpoint::NEVER;

/// A report of an endpoint about itself, from a response header or from its agent.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LoadReport {
    /// 1.0 is all it can do; the application's own figure if there is one, else the processor's.
    pub utilization: Option<f32>,
    /// Requests in flight there, those of other clients included.
    pub in_flight: Option<u32>,
    /// What a request that comes now will take, in µs.
    pub latency_us: Option<u32>,
    /// Requests per second that it completes.
    pub requests_per_second: Option<f32>,
    /// Errors per second among them.
    pub errors_per_second: Option<f32>,
}

/// What picks make of the reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadWord {
    /// Below all it can do, or nothing is known.
    Normal,
    /// Does all it can: gets no new work while another endpoint is below.
    Busy,
    /// Said that it takes no more until a certain time.
    Full,
}

/// The latest reports. Utilisation is good for a while, as is each refusal.
#[derive(Debug)]
pub(crate) struct LoadState {
    /// `f32` bits.
    utilization: AtomicU32,
    /// In µs of the pool's time, like all moments here.
    utilization_until: AtomicU64,
    full_until: AtomicU64,
    /// When the last report in a response came.
    reported_at: AtomicU64,
}

impl Default for LoadState {
    fn default() -> Self {
        Self {
            utilization: AtomicU32::new(0),
            utilization_until: AtomicU64::new(0),
            full_until: AtomicU64::new(0),
            reported_at: AtomicU64::new(NEVER),
        }
    }
}

impl LoadState {
    /// Takes a utilisation, good until `until`.
    pub(crate) fn report_utilization(&self, utilization: f32, until: u64) {
        self.utilization
            .store(utilization.to_bits(), Ordering::Relaxed);
        self.utilization_until.store(until, Ordering::Relaxed);
    }

    /// Takes a refusal of work until `until`. A later one may be shorter.
    pub(crate) fn report_full(&self, until: u64) {
        self.full_until.store(until, Ordering::Relaxed);
    }

    /// A response brings a report: how long there was none. `None` for the first.
    pub(crate) fn silence(&self, now: u64) -> Option<Duration> {
        let before = self.reported_at.load(Ordering::Relaxed);
        self.reported_at.store(now, Ordering::Relaxed);
        (before != NEVER).then(|| Duration::from_micros(now.saturating_sub(before)))
    }

    /// The score, if there is one that is still good.
    pub(crate) fn utilization(&self, now: u64) -> Option<f32> {
        (now < self.utilization_until.load(Ordering::Relaxed))
            .then(|| f32::from_bits(self.utilization.load(Ordering::Relaxed)))
    }

    pub(crate) fn word(&self, now: u64) -> LoadWord {
        if now < self.full_until.load(Ordering::Relaxed) {
            LoadWord::Full
        } else if self.utilization(now).is_some_and(|score| score >= 1.0) {
            LoadWord::Busy
        } else {
            LoadWord::Normal
        }
    }

    /// When [`Self::word`] may return to normal by itself.
    pub(crate) fn until(&self, now: u64) -> u64 {
        let full_until = self.full_until.load(Ordering::Relaxed);
        let until = self.utilization_until.load(Ordering::Relaxed);
        [full_until, until]
            .into_iter()
            .filter(|&until| until > now)
            .min()
            .unwrap_or(NEVER)
    }
}

impl LoadWord {
    /// The word in status, log and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Busy => "busy",
            Self::Full => "full",
        }
    }
}
