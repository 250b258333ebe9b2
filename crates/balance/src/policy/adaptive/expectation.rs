//! What a request may expect of an ordinary endpoint. Learnt by each worker for itself.

use super::slowness::WEIGHT_ONE;

/// How long requests take, by class and by the number in flight at their endpoint.
#[derive(Debug)]
pub(super) struct Expectation {
    classes: Vec<Class>,
    /// Mean latency of all, in µs.
    all: Mean,
    /// Mean latency by number in flight, as a multiple of the class's mean.
    measured: [Mean; BUCKETS],
    /// What is made of it: see [`Self::smooth`].
    curve: [f32; BUCKETS],
    /// Mean time between two answers of one endpoint, in µs.
    gap: Mean,
    /// Answers until `curve` is made anew.
    answers_left: u32,
}

/// What is known of the requests of one class.
#[derive(Debug, Clone, Copy)]
struct Class {
    /// Mean latency, in µs.
    latency: Mean,
    /// See [`Expectation::weight`].
    weight: u32,
}

/// A moving average: of all values at first, then of the last `N` or so.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    value: f32,
    count: f32,
}

/// Values that means of a class, and of a number in flight, are made of.
const VALUES: f32 = 256.0;

/// Numbers in flight are exact below this, and come in quarters of a doubling from there on.
const EXACT: u32 = 32;

const BUCKETS: usize = bucket(u32::MAX) + 1;

/// From one [`Expectation::smooth`] to the next.
const SMOOTH_EVERY: u32 = 64;

/// With fewer answers than this, a bucket is less trusted than its neighbour.
const TRUSTED: f32 = 16.0;

/// An answer counts at most as this multiple: one request that hung must not decide for all.
const MULTIPLE_MAX: f32 = 20.0;

/// For how many answers an endpoint's slowness is remembered, as a time. It changes on its own
/// scale, which is not known; but with fewer answers there is nothing to tell it by.
const MEMORY_ANSWERS: f32 = 112.0;

/// In µs.
const MEMORY_MIN: f32 = 0.25e6;
const MEMORY_MAX: f32 = 30e6;

impl Default for Expectation {
    /// As long as nothing is known, latency is taken to grow with the number in flight: the
    /// least loaded is picked.
    fn default() -> Self {
        Self {
            classes: Vec::new(),
            all: Mean::default(),
            measured: [Mean::default(); BUCKETS],
            curve: std::array::from_fn(|bucket| middle(bucket).max(1.0)),
            gap: Mean::default(),
            answers_left: SMOOTH_EVERY,
        }
    }
}

impl Expectation {
    /// Takes an answer after `latency` µs, with so many in flight as it was sent, itself included.
    /// `gap` is the time since the endpoint's last answer, in µs. Returns the latency as a multiple
    /// of what was to be expected.
    pub(super) fn learn(&mut self, class: usize, latency: f32, in_flight: u32, gap: f32) -> f32 {
        if self.classes.len() <= class {
            let unknown = Class {
                latency: Mean::default(),
                weight: WEIGHT_ONE as u32,
            };
            self.classes.resize(class + 1, unknown);
        }
        let latency = latency.max(1.0);
        self.all.add(latency);
        self.gap.add(gap.min(MEMORY_MAX));
        let class = &mut self.classes[class];
        let usual = class.latency.value_or(latency);
        class.latency.add(latency.min(usual * MULTIPLE_MAX));
        let multiple = (latency / class.latency.value).min(MULTIPLE_MAX);
        let weight = WEIGHT_ONE * self.all.value / class.latency.value;
        class.weight = weight.clamp(1.0, 4.0 * WEIGHT_ONE) as u32;
        let bucket = bucket(in_flight);
        self.measured[bucket].add(multiple);
        self.answers_left -= 1;
        if self.answers_left == 0 {
            self.answers_left = SMOOTH_EVERY;
            self.smooth();
        }
        // As long as the curve is a guess, an answer says nothing about its endpoint.
        if self.measured[bucket].count < TRUSTED {
            return 1.0;
        }
        (multiple / self.curve[bucket]).min(MULTIPLE_MAX)
    }

    /// What an answer takes with `in_flight` in flight, the request itself included, as a multiple
    /// of [`Self::latency`].
    pub(super) fn at(&self, in_flight: f32) -> f32 {
        let below = in_flight as u32;
        let at = self.curve[bucket(below)];
        if below >= EXACT {
            return at;
        }
        let rest = in_flight - below as f32;
        at + (self.curve[below as usize + 1] - at) * rest
    }

    /// As [`Self::at`], for a whole number.
    #[inline]
    pub(super) fn at_count(&self, in_flight: u32) -> f32 {
        self.curve[bucket(in_flight)]
    }

    /// What an answer takes, in µs; `None` before the first.
    pub(super) fn latency(&self) -> Option<f32> {
        (self.all.count > 0.0).then_some(self.all.value)
    }

    /// How long an answer says something about its endpoint, in µs.
    pub(super) fn memory(&self) -> f32 {
        (self.gap.value * MEMORY_ANSWERS).clamp(MEMORY_MIN, MEMORY_MAX)
    }

    /// What a request of this class weighs among those without an answer: the less the longer its
    /// kind takes.
    pub(super) fn weight(&self, class: usize) -> u32 {
        self.classes
            .get(class)
            .map_or(WEIGHT_ONE as u32, |class| class.weight)
    }

    /// Makes a curve of what was measured: it never falls, and where little was measured it goes
    /// on in proportion to the number in flight, which is what a full endpoint does.
    fn smooth(&mut self) {
        let first = self.measured.iter().position(|mean| mean.count >= TRUSTED);
        let Some(first) = first else { return };
        let mut last = self.measured[first].value;
        self.curve[..=first].fill(last);
        for bucket in first + 1..BUCKETS {
            let guess = last * middle(bucket) / middle(bucket - 1);
            let Mean { value, count } = self.measured[bucket];
            let mixed = (value * count + guess * TRUSTED) / (count + TRUSTED);
            last = mixed.max(last);
            self.curve[bucket] = last;
        }
    }
}

impl Mean {
    fn add(&mut self, value: f32) {
        self.count = (self.count + 1.0).min(VALUES);
        self.value += (value - self.value) / self.count;
    }

    fn value_or(&self, other: f32) -> f32 {
        if self.count > 0.0 { self.value } else { other }
    }
}

/// Where a number in flight is kept.
const fn bucket(in_flight: u32) -> usize {
    if in_flight < EXACT {
        return in_flight as usize;
    }
    let doublings = 31 - in_flight.leading_zeros();
    let quarter = (in_flight >> (doublings - 2)) & 3;
    let of_exact = EXACT.ilog2();
    (EXACT + (doublings - of_exact) * 4 + quarter) as usize
}

/// The least number in flight that is kept there.
fn middle(bucket: usize) -> f32 {
    let Some(above) = bucket.checked_sub(EXACT as usize) else {
        return bucket as f32;
    };
    let doubled = EXACT as f32 * (above as f32 / 4.0).floor().exp2();
    doubled * (1.0 + (above % 4) as f32 / 4.0)
}
