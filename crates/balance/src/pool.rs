//! A named set of endpoints sharing one policy, as all workers share it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::endpoint::NEVER;
use crate::load_state::{LoadReport, LoadWord};
use crate::rotation::{WEIGHT_ONE, weight_now};
use crate::sticky::Sessions;
use crate::{
    AdminState, Availability, Endpoint, EndpointSettings, HashKey, HedgeBudget, PoolSettings,
    Queue, RetryBudget, policy, slow_start,
};

/// A pool: its endpoints and what all workers must agree on.
#[derive(Debug)]
pub struct Pool {
    /// What the config says.
    pub settings: PoolSettings,
    /// In the order of the config; an index into it names an endpoint.
    pub endpoints: Box<[Endpoint]>,
    /// Where requests wait while every endpoint is full.
    pub queue: Queue,
    /// Bounds the share of extra attempts.
    pub retry_budget: RetryBudget,
    /// Bounds the copies of slow requests.
    pub hedge_budget: HedgeBudget,
    /// True if the policy goes by a key.
    has_key: bool,
    /// Which endpoint has which session; `None` if the pool is not sticky.
    pub(crate) sessions: Option<Sessions>,
    /// Moment zero of this pool's time.
    epoch: Instant,
    /// True once any endpoint has a bound of its requests. If none has, nobody ever waits.
    is_limited: AtomicBool,
    /// True once any endpoint has reported requests in flight or latency.
    has_reports: AtomicBool,
    /// When the first rest of an endpoint's adaptive concurrency ends at the latest, or before.
    rest_until: AtomicU64,
    /// Moves when what is known of an endpoint does.
    generation: AtomicU64,
    /// Requests in flight at all endpoints; see [`Pool::counts_requests`].
    in_flight: AtomicU32,
    /// Requests sent so far; counted only if endpoints are probed at the pace of requests.
    picks: AtomicU64,
    /// Connections to all endpoints; counted only if the circuit bounds them.
    pub(crate) connections: AtomicU32,
    /// True from when a request found none left until a worker made room.
    pub(crate) wants_connection: AtomicBool,
}

/// A report in a response is good for so long.
const RESPONSE_VALID_MIN: Duration = Duration::from_secs(1);
const RESPONSE_VALID_MAX: Duration = Duration::from_secs(10);

impl Pool {
    /// A pool without load, for workers `0..workers`. No time that it is told later may be
    /// before `now`.
    pub fn new(
        settings: PoolSettings,
        endpoints: Vec<EndpointSettings>,
        workers: usize,
        now: Instant,
    ) -> Self {
        let endpoints = endpoints.into_iter().map(Endpoint::new);
        let endpoints: Box<[Endpoint]> = match settings.concurrency {
            Some(concurrency) => endpoints
                .map(|endpoint| endpoint.adapt_concurrency(concurrency))
                .collect(),
            None => endpoints.collect(),
        };
        let has_limit = |endpoint: &Endpoint| endpoint.in_flight_max().is_some();
        Self {
            queue: Queue::new(settings.queue.length, workers),
            retry_budget: RetryBudget::default(),
            hedge_budget: HedgeBudget::default(),
            has_key: policy::by_name(settings.policy.name).is_some_and(|kind| kind.has_key),
            sessions: settings.sticky.clone().map(Sessions::new),
            epoch: now,
            is_limited: AtomicBool::new(endpoints.iter().any(has_limit)),
            endpoints,
            settings,
            has_reports: AtomicBool::new(false),
            rest_until: AtomicU64::new(NEVER),
            generation: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            picks: AtomicU64::new(0),
            connections: AtomicU32::new(0),
            wants_connection: AtomicBool::new(false),
        }
    }

    /// Publishes a verdict: each worker's next pick goes by it.
    pub fn set_availability(&self, index: usize, availability: Availability) {
        let endpoint = &self.endpoints[index];
        if endpoint.availability() == Availability::Down && availability == Availability::Up {
            endpoint.load.forget();
        }
        endpoint.set_availability(availability);
        self.changed();
    }

    /// Publishes what is wanted of an endpoint.
    pub fn set_admin_state(&self, index: usize, state: AdminState) {
        self.endpoints[index].set_admin_state(state);
        self.changed();
    }

    /// From `now` on the endpoint's share grows from little to all. For endpoints that join or
    /// recover while another one is warm.
    pub fn begin_slow_start(&self, index: usize, now: Instant) {
        let since = self.micros(now);
        self.endpoints[index]
            .ramp_since
            .store(since, Ordering::Relaxed);
        self.changed();
    }

    /// Keeps the endpoint's share where it was `by` ago, if it is in slow start.
    pub fn hold_slow_start(&self, index: usize, by: Duration) {
        let since = &self.endpoints[index].ramp_since;
        let later = |since: u64| (since != NEVER).then(|| since + by.as_micros() as u64);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        if since.fetch_update(set, fetch, later).is_ok() {
            self.changed();
        }
    }

    /// The part of its share that slow start leaves the endpoint; `None` if it has all.
    pub fn slow_start(&self, index: usize, now: Instant) -> Option<f64> {
        let settings = self.settings.slow_start.as_ref()?;
        let since = self.endpoints[index].ramp_since.load(Ordering::Relaxed);
        slow_start::factor(settings, since, self.micros(now)).map(|(factor, _)| factor)
    }

    /// The endpoint's weight as it counts now, slow start and its agent's percentage included.
    pub fn weight(&self, index: usize, now: Instant) -> f64 {
        let (weight, _) = weight_now(&self.endpoints[index], self, self.micros(now));
        f64::from(weight) / f64::from(WEIGHT_ONE)
    }

    /// Only this part of the endpoint's weight counts from now on, in percent.
    pub fn set_weight_percent(&self, index: usize, percent: u32) {
        self.endpoints[index]
            .weight_percent
            .store(percent, Ordering::Relaxed);
        self.changed();
    }

    /// Bounds the endpoint's requests in flight from now on; `None`: as configured.
    pub fn set_max_requests(&self, index: usize, max: Option<u32>) {
        let endpoint = &self.endpoints[index];
        let configured = endpoint
            .max_requests
            .map_or(u32::MAX, std::num::NonZeroU32::get);
        let max = max.map_or(configured, |max| max.min(configured));
        endpoint.max_allowed.store(max, Ordering::Relaxed);
        endpoint.settle_in_flight_max();
        if max != u32::MAX {
            self.is_limited.store(true, Ordering::Relaxed);
        }
        self.changed();
    }

    /// Takes what an endpoint says of itself, good for `valid`.
    pub fn report_load(&self, index: usize, report: &LoadReport, valid: Duration, now: Instant) {
        let endpoint = &self.endpoints[index];
        let now = self.micros(now);
        let until = now + valid.as_micros() as u64;
        if let Some(utilization) = report.utilization {
            let before = endpoint.load_state.word(now);
            endpoint.load_state.report_utilization(utilization, until);
            if endpoint.load_state.word(now) != before {
                self.changed();
            }
        }
        endpoint.reported_weight.report(report, now);
        let ours = endpoint.load.in_flight.load(Ordering::Relaxed);
        if endpoint.reported.report(report, ours, until) {
            self.has_reports.store(true, Ordering::Relaxed);
        }
    }

    /// Takes what an endpoint says of itself in a response. That is good for three times as long
    /// as it had said nothing, within bounds: reports come as often as requests do, and one that
    /// turns requests away must end by itself.
    pub fn report_load_of_response(&self, index: usize, report: &LoadReport, now: Instant) {
        let silence = self.endpoints[index].load_state.silence(self.micros(now));
        let valid = silence.map_or(RESPONSE_VALID_MAX, |silence| 3 * silence);
        let valid = valid.clamp(RESPONSE_VALID_MIN, RESPONSE_VALID_MAX);
        self.report_load(index, report, valid, now);
    }

    /// Takes how long a request took that went well: adaptive concurrency goes by it. `in_flight`
    /// were at the endpoint as it was sent, itself included; `now` is in µs.
    pub(crate) fn observe_latency(
        &self,
        index: usize,
        in_flight: u32,
        latency: Duration,
        now: u64,
    ) {
        let endpoint = &self.endpoints[index];
        // No change of generation: workers go by the bound itself, and it moves all the time.
        if let Some(concurrency) = &endpoint.concurrency
            && concurrency.observe(in_flight, latency, now)
        {
            let until = concurrency.rest_until();
            self.rest_until.fetch_min(until, Ordering::Relaxed);
            if endpoint.settle_in_flight_max() {
                self.queue.wake_next();
            }
        }
    }

    /// Ends those rests of adaptive concurrency that took too long.
    pub(crate) fn end_rests(&self, now: u64) {
        if now < self.rest_until.load(Ordering::Relaxed) {
            return;
        }
        self.rest_until.store(NEVER, Ordering::Relaxed);
        for endpoint in &self.endpoints {
            let Some(concurrency) = &endpoint.concurrency else {
                continue;
            };
            let until = concurrency.rest_until();
            if now < until {
                self.rest_until.fetch_min(until, Ordering::Relaxed);
                continue;
            }
            concurrency.end_rest(now);
            if endpoint.settle_in_flight_max() {
                self.queue.wake_next();
            }
        }
    }

    /// The endpoint takes no more work until `until`, it says.
    pub fn report_full(&self, index: usize, until: Instant, now: Instant) {
        let load_state = &self.endpoints[index].load_state;
        let is_news = load_state.word(self.micros(now)) != LoadWord::Full;
        load_state.report_full(self.micros(until));
        if is_news {
            self.changed();
        }
    }

    /// What picks make of the endpoint's reports.
    pub fn load_word(&self, index: usize, now: Instant) -> LoadWord {
        self.endpoints[index].load_state.word(self.micros(now))
    }

    /// The endpoint's last report of its utilisation, while it is good; 1.0 is all it can do.
    pub fn utilization(&self, index: usize, now: Instant) -> Option<f32> {
        self.endpoints[index]
            .load_state
            .utilization(self.micros(now))
    }

    /// What the policy hashes; `None` if it hashes nothing.
    pub fn key(&self) -> Option<&HashKey> {
        self.has_key.then_some(&self.settings.policy.key)
    }

    /// The endpoint has the session of this id from now on: it said so in its response.
    pub fn learn_session(&self, id: u64, index: usize, now: Instant) {
        if let Some(sessions) = &self.sessions {
            sessions.put(id, index, self.micros(now));
        }
    }

    /// Sessions that each endpoint has, those without a request for longer than they may idle not
    /// counted; `None` where requests do not stick. Reads the whole table, once: for status,
    /// metrics and events.
    pub fn session_counts(&self, now: Instant) -> Option<Vec<usize>> {
        let sessions = self.sessions.as_ref()?;
        Some(sessions.counts(self.endpoints.len(), self.micros(now)))
    }

    /// Requests sent to endpoints so far; 0 unless [`crate::PolicySettings::load_probe`] is set.
    pub fn picks(&self) -> u64 {
        self.picks.load(Ordering::Relaxed)
    }

    /// Time as the atomics keep it: µs since the pool was made.
    pub(crate) fn micros(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_micros() as u64
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.is_limited.load(Ordering::Relaxed)
    }

    pub(crate) fn has_reports(&self) -> bool {
        self.has_reports.load(Ordering::Relaxed)
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Has every worker look anew, and the next waiter too.
    fn changed(&self) {
        self.generation.fetch_add(1, Ordering::Release);
        self.queue.wake_next();
    }

    /// True unless the pool as a whole has as much in flight as it may.
    pub(crate) fn is_closed_circuit(&self) -> bool {
        let max = self.settings.circuit.requests;
        max.is_none_or(|max| self.in_flight.load(Ordering::Relaxed) < max.get())
    }

    /// Counting them all is a write that all workers contend for: it is done if the circuit
    /// bounds them, or the policy their share at each endpoint.
    fn counts_requests(&self) -> bool {
        let PoolSettings {
            circuit, policy, ..
        } = &self.settings;
        circuit.requests.is_some() || policy.bounded_load.is_some()
    }

    /// Requests in flight at all endpoints, if they are counted.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts a request in flight at `index`, or returns `None` if the endpoint is full. The
    /// number is that of requests in flight there, this one included.
    pub(crate) fn reserve(&self, index: usize, now: u64) -> Option<u32> {
        let in_flight = self.endpoints[index].reserve(now)?;
        if self.counts_requests() {
            self.in_flight.fetch_add(1, Ordering::Relaxed);
        }
        if self.settings.policy.load_probe.is_some() {
            self.picks.fetch_add(1, Ordering::Relaxed);
        }
        Some(in_flight)
    }

    /// Takes back one `reserve`, and offers the room to the next waiter.
    pub(crate) fn release(&self, index: usize) {
        self.endpoints[index].release();
        if self.counts_requests() {
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
        if self.is_limited() {
            self.queue.wake_next();
        }
    }
}
