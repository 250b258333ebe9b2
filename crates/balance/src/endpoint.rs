//! One endpoint of a pool, as all workers share it.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::Address;

/// An endpoint and what is known of it at this moment. Shared by every worker and by the health
/// board; everything that changes is atomic.
#[derive(Debug)]
pub struct Endpoint {
    /// Unique in its pool; the address as written unless the config gives a name.
    pub name: Box<str>,
    /// Where to connect.
    pub address: Address,
    /// Share of the traffic, 0 to 256. 0: only picked when no endpoint with a weight may be.
    pub weight: u32,
    /// Most requests in flight at once, over all workers.
    pub max_requests: Option<NonZeroU32>,
    /// Load, written by the workers with every request.
    pub load: LoadLine,
    availability: AtomicU8,
}

/// What every request writes: one cache line an endpoint, so that two endpoints never share one.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct LoadLine {
    /// Requests in flight, those waiting for a connection included: leaving these out sends
    /// everything to the endpoint that accepts slowly.
    pub in_flight: AtomicU32,
    /// Failures since the last success.
    failures_in_row: AtomicU32,
    /// Those of them that came after a connection was there.
    connected_failures_in_row: AtomicU32,
    /// The pool's pick number at the last pick; breaks ties.
    pub last_pick: AtomicU64,
}

/// Whether an endpoint should be picked, as the health board sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Availability {
    /// No verdict yet: used only if none is up.
    Unknown = 0,
    /// Up, suspect or recovering: in rotation.
    Up = 1,
    /// Down or ejected: out of rotation, used only when everything is (fail open).
    Down = 2,
    /// Taken out by an operator: never used.
    Maintenance = 3,
}

impl Endpoint {
    /// An endpoint without load and without a verdict.
    pub fn new(
        name: impl Into<Box<str>>,
        address: Address,
        weight: u32,
        max_requests: Option<NonZeroU32>,
    ) -> Self {
        Self {
            name: name.into(),
            address,
            weight,
            max_requests,
            load: LoadLine::default(),
            availability: AtomicU8::new(Availability::Unknown as u8),
        }
    }

    /// The last verdict.
    pub fn availability(&self) -> Availability {
        match self.availability.load(Ordering::Relaxed) {
            0 => Availability::Unknown,
            1 => Availability::Up,
            2 => Availability::Down,
            _ => Availability::Maintenance,
        }
    }

    /// Pools go through [`crate::Pool::set_availability`], so that no worker misses it.
    pub(crate) fn set_availability(&self, availability: Availability) {
        self.availability
            .store(availability as u8, Ordering::Relaxed);
    }

    /// True while one more request keeps within `max_requests`.
    pub(crate) fn has_room(&self) -> bool {
        self.max_requests
            .is_none_or(|max| self.load.in_flight.load(Ordering::Relaxed) < max.get())
    }

    /// Counts one more request in flight, unless that would exceed `max_requests`. Exact over
    /// all workers: whoever loses the race is told so.
    pub(crate) fn reserve(&self) -> bool {
        let in_flight = &self.load.in_flight;
        let Some(max) = self.max_requests else {
            in_flight.fetch_add(1, Ordering::Relaxed);
            return true;
        };
        in_flight
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                (count < max.get()).then_some(count + 1)
            })
            .is_ok()
    }

    /// Takes back one `reserve`.
    pub(crate) fn release(&self) {
        let before = self.load.in_flight.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "released more often than reserved");
    }
}

/// Outlier detection by consecutive failures: the workers count here, the health board judges.
impl LoadLine {
    /// An exchange went well. Writes only if there is something to forget: in good times the
    /// line is left alone.
    pub fn record_success(&self) {
        if self.failures_in_row.load(Ordering::Relaxed) != 0 {
            self.failures_in_row.store(0, Ordering::Relaxed);
            self.connected_failures_in_row.store(0, Ordering::Relaxed);
        }
    }

    /// An exchange failed after a connection was there: a reset, a time-out, a 5xx. Returns the
    /// failures in a row, this one included.
    pub fn record_failure(&self) -> u32 {
        self.connected_failures_in_row
            .fetch_add(1, Ordering::Relaxed);
        self.record_connect_failure()
    }

    /// No connection could be made. Returns the failures in a row, this one included.
    pub fn record_connect_failure(&self) -> u32 {
        self.failures_in_row.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Failures since the last success.
    pub fn failures_in_row(&self) -> u32 {
        self.failures_in_row.load(Ordering::Relaxed)
    }

    /// True while each failure in the row was a connect failure.
    pub fn only_connect_failures(&self) -> bool {
        self.connected_failures_in_row.load(Ordering::Relaxed) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_ends_the_row_of_failures() {
        let load = LoadLine::default();
        assert_eq!(load.record_connect_failure(), 1);
        assert!(load.only_connect_failures());
        assert_eq!(load.record_failure(), 2);
        assert_eq!(load.record_connect_failure(), 3);
        assert!(!load.only_connect_failures());
        load.record_success();
        assert_eq!(load.failures_in_row(), 0);
        assert_eq!(load.record_connect_failure(), 1);
        assert!(load.only_connect_failures());
    }

    #[test]
    fn a_load_line_fills_one_cache_line() {
        assert_eq!(size_of::<LoadLine>(), 64);
    }
}
