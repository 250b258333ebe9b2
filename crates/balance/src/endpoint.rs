//! One endpoint of a pool, as all workers share it.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::concurrency::Concurrency;
use crate::load_state::LoadState;
use crate::policy::{LatencyCost, Reported, ReportedWeight, Slowness};
use crate::{Address, ConcurrencySettings, EndpointSettings};

/// An endpoint and what is known of it at this moment. Shared by every worker and by the health
/// board; everything that changes is atomic.
#[derive(Debug)]
pub struct Endpoint {
    /// Unique in its pool; the address as written unless the config gives a name.
    pub name: Box<str>,
    /// Where to connect.
    pub address: Address,
    /// The host that the address was written with, where that is a name; in lower case.
    pub host: Option<Box<str>>,
    /// Share of the traffic, 0 to 256. 0: only picked when no endpoint with a weight may be.
    pub weight: u32,
    /// Most requests in flight at once, over all workers, as configured.
    pub max_requests: Option<NonZeroU32>,
    /// 0 for primary endpoints, higher for those that stand in for them.
    pub tier: u8,
    /// Where it stands.
    pub zone: Option<Box<str>>,
    /// Load, written by the workers with every request.
    pub load: LoadLine,
    /// What it reports of its requests, for `adaptive`.
    pub(crate) reported: Reported,
    /// What it says of its own load.
    pub(crate) load_state: LoadState,
    /// The weight that its reports give it, for `utilization`.
    pub(crate) reported_weight: ReportedWeight,
    /// How many requests at once it takes well; `None`: not looked for.
    pub(crate) concurrency: Option<Concurrency>,
    /// Most requests in flight as configured, or as its agent says; `u32::MAX`: no bound.
    pub(crate) max_allowed: AtomicU32,
    /// When slow start began, in µs of the pool's time; [`NEVER`]: it is warm.
    pub(crate) ramp_since: AtomicU64,
    /// Part of the weight that counts, set at run time.
    pub(crate) weight_percent: AtomicU32,
    availability: AtomicU8,
    admin: AtomicU8,
}

/// No moment.
pub(crate) const NEVER: u64 = u64::MAX;

/// Set in `failures_in_row` from the end of an ejection until a request has shown whether it was
/// long enough. There because a success clears it together with the failures, at no cost.
const ON_TRIAL: u32 = 1 << 31;

/// Beside it while the request that is to show it is under way.
const TRIAL_SENT: u32 = 1 << 30;

/// What is left for the failures.
const FAILURES: u32 = TRIAL_SENT - 1;

/// What every request writes: one cache line an endpoint, so that two endpoints never share one.
#[derive(Debug)]
#[repr(align(64))]
pub struct LoadLine {
    /// Requests in flight, those waiting for a connection included: leaving these out sends
    /// everything to the endpoint that accepts slowly.
    pub in_flight: AtomicU32,
    /// Most requests in flight at this moment; `u32::MAX`: no bound.
    pub(crate) in_flight_max: AtomicU32,
    /// When the endpoint was picked last, in µs of the pool's time; breaks ties.
    pub(crate) picked_at: AtomicU64,
    /// How long it takes to answer, for `peak_ewma`.
    pub(crate) latency_cost: LatencyCost,
    /// How slow it is, for `adaptive`.
    pub(crate) slowness: Slowness,
    /// Failures since the last success, [`ON_TRIAL`] and [`TRIAL_SENT`].
    failures_in_row: AtomicU32,
    /// Those of them that came after a connection was there.
    connected_failures_in_row: AtomicU32,
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
}

/// What an operator, or the endpoint's own agent, wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum AdminState {
    /// Takes requests.
    Ready = 0,
    /// Takes requests of the sessions it has, and no others.
    Drain = 1,
    /// Takes none.
    Maintenance = 2,
}

impl AdminState {
    /// The word in status, log and metrics, and that of agents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maintenance => "maint",
        }
    }
}

impl Endpoint {
    /// An endpoint without load and without a verdict.
    pub fn new(settings: EndpointSettings) -> Self {
        let EndpointSettings {
            name,
            address,
            host,
            weight,
            max_requests,
            tier,
            zone,
        } = settings;
        Self {
            name,
            address,
            host,
            weight,
            max_requests,
            tier,
            zone,
            load: LoadLine::new(max_requests),
            reported: Reported::default(),
            load_state: LoadState::default(),
            reported_weight: ReportedWeight::default(),
            concurrency: None,
            max_allowed: AtomicU32::new(max_requests.map_or(u32::MAX, NonZeroU32::get)),
            ramp_since: AtomicU64::new(NEVER),
            weight_percent: AtomicU32::new(100),
            availability: AtomicU8::new(Availability::Unknown as u8),
            admin: AtomicU8::new(AdminState::Ready as u8),
        }
    }

    /// The last verdict.
    pub fn availability(&self) -> Availability {
        match self.availability.load(Ordering::Relaxed) {
            0 => Availability::Unknown,
            1 => Availability::Up,
            _ => Availability::Down,
        }
    }

    /// What is wanted of it.
    pub fn admin_state(&self) -> AdminState {
        match self.admin.load(Ordering::Relaxed) {
            0 => AdminState::Ready,
            1 => AdminState::Drain,
            _ => AdminState::Maintenance,
        }
    }

    /// Most requests in flight at this moment: the least of what is configured, what its agent
    /// says and what adaptive concurrency found. `None`: no bound.
    pub fn in_flight_max(&self) -> Option<u32> {
        let max = self.load.in_flight_max.load(Ordering::Relaxed);
        (max != u32::MAX).then_some(max)
    }

    /// Looks for the most requests at once that it takes well, from now on.
    pub(crate) fn adapt_concurrency(mut self, settings: ConcurrencySettings) -> Self {
        self.concurrency = Some(Concurrency::new(settings));
        self.settle_in_flight_max();
        self
    }

    /// Works out [`Self::in_flight_max`] after a part of it changed. True if it went up.
    pub(crate) fn settle_in_flight_max(&self) -> bool {
        let allowed = self.max_allowed.load(Ordering::Relaxed);
        let found = self.concurrency.as_ref().map_or(u32::MAX, Concurrency::max);
        let max = allowed.min(found);
        self.load.in_flight_max.swap(max, Ordering::Relaxed) < max
    }

    /// Pools go through [`crate::Pool::set_availability`], so that no worker misses it.
    pub(crate) fn set_availability(&self, availability: Availability) {
        self.availability
            .store(availability as u8, Ordering::Relaxed);
    }

    /// Pools go through [`crate::Pool::set_admin_state`].
    pub(crate) fn set_admin_state(&self, state: AdminState) {
        self.admin.store(state as u8, Ordering::Relaxed);
    }

    /// True while one more request keeps within the bound.
    pub(crate) fn has_room(&self) -> bool {
        let LoadLine {
            in_flight,
            in_flight_max,
            ..
        } = &self.load;
        in_flight.load(Ordering::Relaxed) < in_flight_max.load(Ordering::Relaxed)
    }

    /// Counts one more request in flight, unless that would exceed the bound. Exact over all
    /// workers: whoever loses the race is told so. Returns the requests in flight, this one
    /// included.
    pub(crate) fn reserve(&self, now: u64) -> Option<u32> {
        let load = &self.load;
        let max = load.in_flight_max.load(Ordering::Relaxed);
        let before = if max == u32::MAX {
            load.in_flight.fetch_add(1, Ordering::Relaxed)
        } else {
            let one_more = |count| (count < max).then_some(count + 1);
            let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
            load.in_flight.fetch_update(set, fetch, one_more).ok()?
        };
        load.picked_at.store(now, Ordering::Relaxed);
        Some(before + 1)
    }

    /// Takes back one `reserve`.
    pub(crate) fn release(&self) {
        let before = self.load.in_flight.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "released more often than reserved");
    }
}

/// Outlier detection by consecutive failures: the workers count here, the health board judges.
impl LoadLine {
    fn new(max_requests: Option<NonZeroU32>) -> Self {
        Self {
            in_flight: AtomicU32::new(0),
            in_flight_max: AtomicU32::new(max_requests.map_or(u32::MAX, NonZeroU32::get)),
            picked_at: AtomicU64::new(0),
            latency_cost: LatencyCost::default(),
            slowness: Slowness::default(),
            failures_in_row: AtomicU32::new(0),
            connected_failures_in_row: AtomicU32::new(0),
        }
    }

    /// The endpoint is back: what policies knew of it is about the time before. Without this its
    /// last failures would keep it from work for half a minute more.
    pub(crate) fn forget(&self) {
        self.slowness.forget();
        self.latency_cost.forget();
    }

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
        (self.failures_in_row.fetch_add(1, Ordering::Relaxed) + 1) & FAILURES
    }

    /// The next request shows whether the endpoint works again: until one has succeeded
    /// [`Self::is_on_trial`].
    pub fn begin_trial(&self) {
        self.failures_in_row.fetch_or(ON_TRIAL, Ordering::Relaxed);
    }

    /// True if an ejection is over and no request has succeeded since.
    pub fn is_on_trial(&self) -> bool {
        self.failures_in_row.load(Ordering::Relaxed) & ON_TRIAL != 0
    }

    /// True while the request that is to show it is under way.
    pub(crate) fn has_sent_trial(&self) -> bool {
        self.failures_in_row.load(Ordering::Relaxed) & TRIAL_SENT != 0
    }

    /// Notes that the request which is to show it is sent. False if another one is under way: of several
    /// workers one is told true.
    pub(crate) fn send_trial(&self) -> bool {
        let before = self.failures_in_row.fetch_or(TRIAL_SENT, Ordering::Relaxed);
        before & TRIAL_SENT == 0
    }

    /// The request has shown it, or will not.
    pub(crate) fn end_sent_trial(&self) {
        self.failures_in_row
            .fetch_and(!TRIAL_SENT, Ordering::Relaxed);
    }

    /// Failures since the last success.
    pub fn failures_in_row(&self) -> u32 {
        self.failures_in_row.load(Ordering::Relaxed) & FAILURES
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
        let load = LoadLine::new(None);
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
    fn a_trial_lasts_until_a_success_and_is_no_failure() {
        let load = LoadLine::new(None);
        assert!(!load.is_on_trial());
        load.begin_trial();
        assert!(load.is_on_trial());
        assert_eq!(load.failures_in_row(), 0);
        assert_eq!(load.record_failure(), 1);
        assert!(load.is_on_trial());
        load.record_success();
        assert!(!load.is_on_trial());
        assert_eq!(load.failures_in_row(), 0);
    }

    #[test]
    fn a_load_line_fills_one_cache_line() {
        assert_eq!(size_of::<LoadLine>(), 64);
    }
}
