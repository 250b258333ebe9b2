//! How slow an endpoint is beside its peers, and how often it fails. Shared by all workers.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::policy::Mark;

/// What is known of one endpoint. Updates are a load and a store: of two workers in the same
/// moment, one loses its sample.
#[derive(Debug)]
pub(crate) struct Slowness {
    /// Answers, each as a multiple of what was to be expected: the sum, and how many; both fade.
    /// Two `f32`.
    answers: AtomicU64,
    /// Share of failures among the last requests as `f32`, and when that was in [`stamp`]s.
    failures: AtomicU64,
    /// For each request that has no answer yet, the time when it was sent plus [`OFFSET`], times
    /// its weight; all together. See [`Self::waited`].
    unanswered: AtomicU64,
    /// When `answers` was written, in [`stamp`]s.
    answered_at: AtomicU32,
}

/// Answers that an endpoint without answers is taken to have had, all ordinary ones.
const ASSUMED: f32 = 5.0;

/// The last so many answers count for most of the estimate.
const ANSWERS: f32 = 64.0;

/// How much the time counts that requests wait for an answer already, beside that of answers. It
/// tells of trouble before the first answer is late.
const WAITING: f32 = 2.0;

/// Of each request that waits, so many ordinary answers are counted at most, on average. One that
/// takes a hundred times as long as others is heavy more often than its endpoint is slow.
const WAIT_MAX: f32 = 4.0;

/// How much more is assumed where answers take long: they tell of the moment in which their
/// requests were sent. Once that is as long ago as is remembered at all, they hardly count.
const LATE: f32 = 40.0;

/// The last so many requests count for most of the share of failures.
const OUTCOMES: f32 = 32.0;

/// In µs: how fast failures are forgotten.
const FAILURE_MEMORY: f32 = 10e6;

/// The weight of a request of ordinary length among those without an answer.
pub(super) const WEIGHT_ONE: f32 = 16.0;

/// In µs: longer than all requests without an answer have waited, together and weighted.
const OFFSET: u64 = 1 << 42;

/// Marks hold the weight above this many bits of time.
const TIME_BITS: u32 = 57;

impl Default for Slowness {
    fn default() -> Self {
        Self {
            answers: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            answered_at: AtomicU32::new(0),
        }
    }
}

impl Slowness {
    /// A request goes to the endpoint. Its weight is the less the longer its kind takes: a report
    /// that takes an hour must not make its endpoint look slow.
    pub(super) fn send(&self, weight: u32, now: u64) -> Mark {
        let weight = u64::from(weight);
        self.unanswered
            .fetch_add(weight * (now + OFFSET), Ordering::Relaxed);
        Mark(weight << TIME_BITS | now)
    }

    /// The request no longer waits for its answer.
    pub(super) fn receive(&self, mark: Mark) {
        let weight = mark.0 >> TIME_BITS;
        let sent_at = mark.0 & ((1 << TIME_BITS) - 1);
        self.unanswered
            .fetch_sub(weight * (sent_at + OFFSET), Ordering::Relaxed);
    }

    /// Takes an answer that took `multiple` of what was to be expected.
    pub(super) fn record_success(&self, multiple: f32, memory: f32, now: u64) {
        let (sum, count) = unpack(self.answers.load(Ordering::Relaxed));
        let kept = (1.0 - 1.0 / ANSWERS) / faded(self.age(now) / memory);
        self.answers.store(
            pack(sum * kept + multiple, count * kept + 1.0),
            Ordering::Relaxed,
        );
        self.answered_at.store(stamp(now), Ordering::Relaxed);
        let failures = self.failures.load(Ordering::Relaxed);
        if failures != 0 {
            let share = self.errors(now) * (1.0 - 1.0 / OUTCOMES);
            // So little that it decides nothing: the line is left alone from then on.
            let packed = if share < 1e-4 { 0 } else { mark(share, now) };
            self.failures.store(packed, Ordering::Relaxed);
        }
    }

    /// The endpoint failed. How fast it did says nothing of its speed.
    pub(super) fn record_failure(&self, now: u64) {
        let share = self.errors(now);
        let share = share + (1.0 - share) / OUTCOMES;
        self.failures.store(mark(share, now), Ordering::Relaxed);
    }

    /// Forgets answers and failures; requests that wait for an answer still do.
    pub(crate) fn forget(&self) {
        self.answers.store(0, Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
    }

    /// How many times longer than at an ordinary endpoint with as many requests in flight an
    /// answer takes. `ordinary` is the length of an answer, `memory` how long answers count, both
    /// in µs. What is known fades towards 1, so that an endpoint gets its chance again.
    pub(super) fn multiple(&self, ordinary: f32, memory: f32, now: u64) -> f32 {
        let (sum, count) = unpack(self.answers.load(Ordering::Relaxed));
        let faded = faded(self.age(now) / memory);
        let (waited, requests) = self.waited(now);
        let waited = WAITING * (waited / ordinary).min(requests * WAIT_MAX);
        let assumed = ASSUMED * (1.0 + LATE * ordinary / memory);
        (sum + (assumed + waited) * faded) / (count + assumed * faded)
    }

    /// Share of failures among the last requests, fading with time.
    pub(super) fn errors(&self, now: u64) -> f32 {
        let failures = self.failures.load(Ordering::Relaxed);
        if failures == 0 {
            return 0.0;
        }
        let share = f32::from_bits((failures >> 32) as u32);
        share / faded(since(failures as u32, now) / FAILURE_MEMORY)
    }

    /// How long ago the last answer came, in µs.
    pub(super) fn age(&self, now: u64) -> f32 {
        since(self.answered_at.load(Ordering::Relaxed), now)
    }

    /// How long all requests without an answer have waited, together, in µs of an ordinary one; and
    /// how many there are.
    ///
    /// The sum is W * (OFFSET + now) - waited for a total weight of W, and `waited` is less than
    /// half of OFFSET. So the sum tells both: one word, which no reader sees half updated.
    fn waited(&self, now: u64) -> (f32, f32) {
        let sum = self.unanswered.load(Ordering::Relaxed);
        let one = OFFSET + now;
        let weight = (sum as f64 / one as f64 + 0.5) as u64;
        // Less than nothing if another worker is a little ahead.
        let waited = weight.wrapping_mul(one).wrapping_sub(sum) as i64;
        let waited = waited.max(0) as f32 / WEIGHT_ONE;
        (waited, weight as f32 / WEIGHT_ONE)
    }
}

/// What something has to be divided by that is as old as this many memories. About `exp(age)`, and
/// much faster.
fn faded(age: f32) -> f32 {
    let quarter = 1.0 + age / 4.0;
    let half = quarter * quarter;
    half * half
}

fn pack(a: f32, b: f32) -> u64 {
    u64::from(a.to_bits()) << 32 | u64::from(b.to_bits())
}

fn unpack(packed: u64) -> (f32, f32) {
    let half = |bits: u64| f32::from_bits(bits as u32);
    (half(packed >> 32), half(packed))
}

fn mark(share: f32, now: u64) -> u64 {
    u64::from(share.to_bits()) << 32 | u64::from(stamp(now))
}

/// Stamps count in units of 2^6 µs; 32 bits of them come round after three days.
const STAMP_SHIFT: u32 = 6;

fn stamp(now: u64) -> u32 {
    (now >> STAMP_SHIFT) as u32
}

/// In µs. Another worker may be ahead of this one's time.
fn since(then: u32, now: u64) -> f32 {
    let age = stamp(now).wrapping_sub(then) as i32;
    age.max(0) as f32 * (1 << STAMP_SHIFT) as f32
}
