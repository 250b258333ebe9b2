//! Numbers with one writer and many readers.
//!
//! The writer is the worker that owns the cell, so an update is a load and a store and needs no
//! locked instruction (some 1 ns instead of 5 to 20). A second writer would be safe but would lose
//! counts.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `count`.
    #[inline]
    pub fn add(&self, count: u64) {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(count);
        self.0.store(sum, Ordering::Relaxed);
    }

    /// The count so far; readable from every thread.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
///
/// Signed, because what one worker opened another may close: a single worker's part can be
/// negative while the sum over workers is right.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds one.
    #[inline]
    pub fn increment(&self) {
        self.set(self.value().wrapping_add(1));
    }

    /// Takes one away.
    #[inline]
    pub fn decrement(&self) {
        self.set(self.value().wrapping_sub(1));
    }

    /// Replaces the number.
    #[inline]
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The number now; readable from every thread.
    #[inline]
    pub fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Durations, counted by size.
#[derive(Debug, Default)]
pub struct Histogram {
    /// `counts[i]`: durations above bound `i - 1` and up to bound `i`; the last has no bound.
    counts: [Counter; BOUNDS.len() + 1],
    nanoseconds: Counter,
}

impl Histogram {
    /// Counts one duration.
    #[inline]
    pub fn observe(&self, duration: Duration) {
        // 2^64 ns are 584 years.
        let nanoseconds = duration.as_nanos() as u64;
        // Most durations are short, so the search from below ends after a few steps.
        let bucket = BOUNDS.iter().position(|&(bound, _)| nanoseconds <= bound);
        self.counts[bucket.unwrap_or(BOUNDS.len())].increment();
        self.nanoseconds.add(nanoseconds);
    }
}

/// The sum of several histograms, e.g. of one route over all workers.
#[derive(Debug, Default, Clone)]
pub struct HistogramSum {
    counts: [u64; BOUNDS.len() + 1],
    nanoseconds: u64,
}

impl HistogramSum {
    /// Adds what `histogram` has counted so far.
    pub fn add(&mut self, histogram: &Histogram) {
        for (sum, count) in self.counts.iter_mut().zip(&histogram.counts) {
            *sum += count.value();
        }
        self.nanoseconds = self.nanoseconds.wrapping_add(histogram.nanoseconds.value());
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All durations together.
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds)
    }

    /// `(upper bound in seconds, durations up to it)`, ascending; the last bound is `+Inf`.
    pub fn cumulative(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let bounds = BOUNDS.iter().map(|&(_, text)| text).chain(["+Inf"]);
        let sums = self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        bounds.zip(sums)
    }
}

/// Upper bounds in nanoseconds, with the text in seconds that metrics show.
///
/// From a cache hit on the same host to the default response timeout: 1, 2.5, 5 per decade is
/// enough to read a percentile within a factor of two, at 18 cells a histogram.
const BOUNDS: [(u64, &str); 16] = [
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5"),
    (10_000_000_000, "10"),
    (30_000_000_000, "30"),
    (60_000_000_000, "60"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_texts_say_the_bounds() {
        for (nanoseconds, text) in BOUNDS {
            let seconds: f64 = text.parse().unwrap();
            assert_eq!((seconds * 1e9).round() as u64, nanoseconds);
        }
        assert!(BOUNDS.is_sorted());
    }

    #[test]
    fn a_duration_on_a_bound_counts_below_it_and_a_longer_one_above() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_millis(1));
        histogram.observe(Duration::from_millis(1) + Duration::from_nanos(1));
        histogram.observe(Duration::from_secs(3600));
        let mut sum = HistogramSum::default();
        sum.add(&histogram);
        let cumulative: Vec<_> = sum.cumulative().collect();
        assert_eq!(cumulative[0], ("0.0005", 0));
        assert_eq!(cumulative[1], ("0.001", 1));
        assert_eq!(cumulative[2], ("0.0025", 2));
        assert_eq!(cumulative[15], ("60", 2));
        assert_eq!(cumulative[16], ("+Inf", 3));
        assert_eq!(sum.count(), 3);
        assert_eq!(sum.total(), Duration::new(3600, 2_000_001));
    }

    #[test]
    fn histograms_of_two_workers_add_up() {
        let workers = [Histogram::default(), Histogram::default()];
        workers[0].observe(Duration::from_millis(3));
        workers[1].observe(Duration::from_millis(4));
        let mut sum = HistogramSum::default();
        workers.iter().for_each(|histogram| sum.add(histogram));
        assert_eq!(sum.count(), 2);
        assert_eq!(sum.total(), Duration::from_millis(7));
    }
}
