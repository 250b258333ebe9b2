//! Adaptive concurrency: how many requests at once an endpoint takes well, found from how long
//! they take.
//!
//! An endpoint with room to spare answers as fast with ten requests as with one. Past its knee
//! each further request only makes all of them wait there, where nobody can send them elsewhere.
//! So while responses take as long as they do without load the limit goes up, and once they take
//! much longer it comes down. What is over waits in our queue.
//!
//! Source: Gradient2 of Netflix's concurrency-limits, <https://github.com/Netflix/concurrency-limits>,
//! but for what the latency is held against. There it is the average of the latest latencies, and
//! under load that lasts this average learns the queue that the limit should prevent: then the
//! limit has no end. Here the average takes only
//! - requests that were sent when less than half of the limit was in flight, and
//! - what is shorter than it is.
//!
//! If few of the first kind came for long, a *rest* makes some: for a few requests a quarter of
//! the limit applies. An endpoint that became slower for good is so found out, too. A rest has an
//! end in time: requests that take for ever, as large downloads do, must not keep all others away.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::ConcurrencySettings;
use crate::endpoint::NEVER;

/// What was found of one endpoint. Workers write it side by side; a write that is lost in a race
/// is one sample of many.
#[derive(Debug)]
pub(crate) struct Concurrency {
    settings: ConcurrencySettings,
    /// The limit, as bits of an `f32`.
    limit: AtomicU32,
    /// Mean latency without load in µs, as bits of an `f32`.
    long: AtomicU32,
    /// Samples in `long`, up to [`LONG_SAMPLES`]; 0: `long` says nothing.
    long_samples: AtomicU32,
    /// Latencies since the last step: how many from [`COUNT_SHIFT`] on, below that their sum in µs.
    short: AtomicU64,
    /// Samples without load since `rest_at` was set.
    rest_samples: AtomicU32,
    /// When it is time for a rest, unless [`REST_SAMPLES`] come before; in µs of the pool's time,
    /// like all moments here.
    rest_at: AtomicU64,
    /// When a rest ends at the latest; [`NEVER`]: there is none.
    rest_until: AtomicU64,
}

/// Between too little and too much for most endpoints.
const INITIAL: f32 = 20.0;

/// The average of `long` goes over about so many samples.
const LONG_SAMPLES: u32 = 600;

/// A step is taken after so many responses, or after as many as the limit if that is more: by
/// then the last step shows, and one slow request says nothing.
const STEP_SAMPLES: u32 = 10;

/// Latency may be so much longer than without load before the limit comes down.
const TOLERANCE: f32 = 1.5;

/// Requests that may wait at the endpoint, so that it is never without work; also how fast the
/// limit goes up.
const SPARE: f32 = 4.0;

/// The part of a step that is taken at once.
const SMOOTHING: f32 = 0.2;

/// With fewer than [`REST_SAMPLES`] without load in so long an endpoint rests, in µs, and not before
/// so many latencies passed: a rest takes some of them.
const REST_AFTER: (u64, f32) = (30_000_000, 1_000.0);

/// How long a rest takes at most, likewise.
const REST_MAX: (u64, f32) = (1_000_000, 100.0);

/// An average of fewer samples says little: latencies differ by as much as they are long.
const REST_SAMPLES: u32 = 50;

/// In a rest this part of the limit applies. At its highest the limit is at [`TOLERANCE`] times
/// the knee and [`SPARE`]: a quarter of that is no load.
const REST_PART: f32 = 0.25;

/// Where the count begins in `short`: so many sums of [`LATENCY_US_MAX`] fit below.
const COUNT_SHIFT: u32 = 44;
const STEP_SAMPLES_MAX: u32 = 1_000;

/// More than an hour counts as an hour.
const LATENCY_US_MAX: u128 = 1 << 32;

impl Concurrency {
    pub(crate) fn new(settings: ConcurrencySettings) -> Self {
        let zero = || AtomicU32::new(0);
        let concurrency = Self {
            settings,
            limit: zero(),
            long: zero(),
            long_samples: zero(),
            short: AtomicU64::new(0),
            rest_samples: zero(),
            rest_at: AtomicU64::new(0),
            rest_until: AtomicU64::new(NEVER),
        };
        store(&concurrency.limit, concurrency.within_bounds(INITIAL));
        concurrency
    }

    /// Most requests in flight at this moment.
    pub(crate) fn max(&self) -> u32 {
        let limit = load(&self.limit);
        if self.is_resting() {
            (limit * REST_PART).max(1.0) as u32
        } else {
            limit as u32
        }
    }

    /// Takes the latency of a request that went well, at `now` in µs of the pool's time.
    /// `in_flight` were at the endpoint as it was sent, itself included. True if [`Self::max`] may
    /// have moved.
    pub(crate) fn observe(&self, in_flight: u32, latency: Duration, now: u64) -> bool {
        let latency_us = latency.as_micros().clamp(1, LATENCY_US_MAX) as u64;
        let is_resting = self.is_resting();
        if in_flight as f32 * 2.0 < load(&self.limit) || (is_resting && in_flight <= self.max()) {
            self.learn_long(latency_us as f32);
            let samples = self.rest_samples.fetch_add(1, Ordering::Relaxed) + 1;
            if samples >= REST_SAMPLES {
                self.end_rest(now);
            }
            return is_resting && !self.is_resting();
        }
        let Some(short) = self.learn_short(latency_us) else {
            return false;
        };
        if is_resting {
            return false; // Sent before the rest began.
        }
        if now >= self.rest_at.load(Ordering::Relaxed) {
            // What the average was counts no more than a sample.
            self.long_samples.fetch_min(1, Ordering::Relaxed);
            self.rest_samples.store(0, Ordering::Relaxed);
            let until = now + self.at_least(REST_MAX);
            self.rest_until.store(until, Ordering::Relaxed);
        } else {
            self.step(short);
        }
        true
    }

    /// Takes a latency without load into the average.
    fn learn_long(&self, latency_us: f32) {
        let samples = self.long_samples.load(Ordering::Relaxed) + 1;
        self.long_samples
            .store(samples.min(LONG_SAMPLES), Ordering::Relaxed);
        let long = load(&self.long);
        store(&self.long, long + (latency_us - long) / samples as f32);
    }

    /// Takes a latency under load. Returns the mean of those since the last step, if they are
    /// enough for the next.
    fn learn_short(&self, latency_us: u64) -> Option<f32> {
        let one = (1 << COUNT_SHIFT) | latency_us;
        let sum = self.short.fetch_add(one, Ordering::Relaxed) + one;
        let count = (sum >> COUNT_SHIFT) as u32;
        if count < (load(&self.limit) as u32).clamp(STEP_SAMPLES, STEP_SAMPLES_MAX) {
            return None;
        }
        // If another worker adds a sample at this moment, the step is that worker's.
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        self.short.compare_exchange(sum, 0, set, fetch).ok()?;
        let sum_us = sum & ((1 << COUNT_SHIFT) - 1);
        Some(sum_us as f32 / count as f32)
    }

    fn step(&self, short: f32) {
        if self.long_samples.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut long = load(&self.long);
        if short < long {
            // As many samples as are in it.
            let samples = STEP_SAMPLES as f32;
            long += (short - long) * samples / LONG_SAMPLES as f32;
        }
        if long / short > 2.0 {
            // It was much slower before: not to be learned from one sample at a time.
            long *= 0.95;
        }
        store(&self.long, long);
        let limit = load(&self.limit);
        store(
            &self.limit,
            self.within_bounds(next_limit(limit, long, short)),
        );
    }

    /// When a rest ends at the latest; [`NEVER`]: there is none.
    pub(crate) fn rest_until(&self) -> u64 {
        self.rest_until.load(Ordering::Relaxed)
    }

    fn is_resting(&self) -> bool {
        self.rest_until() != NEVER
    }

    /// Ends the rest, if there is one, and has the next one wait for its time.
    pub(crate) fn end_rest(&self, now: u64) {
        self.rest_samples.store(0, Ordering::Relaxed);
        let rest_at = now + self.at_least(REST_AFTER);
        self.rest_at.store(rest_at, Ordering::Relaxed);
        if self.is_resting() {
            self.short.store(0, Ordering::Relaxed);
            self.rest_until.store(NEVER, Ordering::Relaxed);
        }
    }

    /// So many µs, or so many latencies if that is longer.
    fn at_least(&self, (micros, latencies): (u64, f32)) -> u64 {
        micros.max((load(&self.long) * latencies) as u64)
    }

    fn within_bounds(&self, limit: f32) -> f32 {
        // The config lets no `min` above `max` through.
        let ConcurrencySettings { min, max } = self.settings;
        limit.clamp(min.get() as f32, max.get() as f32)
    }
}

/// The limit after a step: `long` and `short` are latencies without load and now, above 0.
fn next_limit(limit: f32, long: f32, short: f32) -> f32 {
    let gradient = (TOLERANCE * long / short).clamp(0.5, 1.0);
    let new = limit * gradient + SPARE;
    limit * (1.0 - SMOOTHING) + new * SMOOTHING
}

fn load(bits: &AtomicU32) -> f32 {
    f32::from_bits(bits.load(Ordering::Relaxed))
}

fn store(bits: &AtomicU32, value: f32) {
    bits.store(value.to_bits(), Ordering::Relaxed);
}
