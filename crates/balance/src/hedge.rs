//! Hedging: when a slow request gets a second copy, and how many copies there may be.
//!
//! A copy goes out once the first one has taken longer than most requests of its route. That pays
//! as long as slowness is the endpoint's and not the request's, and as long as there is room: so
//! copies have a budget, and a pool that is well loaded gets none. Source: Dean and Barroso, "The
//! Tail at Scale", CACM 56(2), 2013.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::{Availability, HedgeSettings, Pool};

/// The copies that one pool may still make, over all workers.
///
/// A balance like that of [`crate::RetryBudget`], but one that begins with nothing: over all its
/// life, copies are at most their share of the requests.
#[derive(Debug, Default)]
pub struct HedgeBudget {
    /// In hundredths of a copy.
    credit: AtomicU32,
}

/// What a copy costs.
const COPY: u32 = 100;

/// Copies that can be saved up: the requests that one endpoint holds up as it stalls. More would
/// double the load of a pool that stalls as a whole.
const COPIES_MAX: u32 = 20;

impl HedgeBudget {
    /// A request begins that might get a copy. A full budget is only read.
    pub fn earn(&self, settings: &HedgeSettings) {
        // Workers that see the last free place at once may all fill it: one copy too much.
        if self.credit.load(Ordering::Relaxed) < COPIES_MAX * COPY {
            let percent = u32::from(settings.budget_percent);
            self.credit.fetch_add(percent, Ordering::Relaxed);
        }
    }

    /// Pays for one copy. False if the budget is spent.
    #[must_use]
    pub fn try_hedge(&self) -> bool {
        self.credit
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |credit| {
                credit.checked_sub(COPY)
            })
            .is_ok()
    }
}

/// Share of what a pool can do above which it gets no copies: they would make all slower.
const UTILIZATION_MAX: f64 = 0.7;

impl Pool {
    /// True unless more than 70 % of what the pool can do is in use, by the bounds of its
    /// endpoints' requests in flight or by what they say of themselves. Where neither is known
    /// the budget alone is the bound. O(endpoints).
    pub fn has_room_for_copies(&self, now: Instant) -> bool {
        let (mut in_flight, mut in_flight_max) = (0.0, 0.0);
        let (mut utilization, mut reports) = (0.0, 0.0);
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            if endpoint.availability() == Availability::Down {
                continue;
            }
            if let Some(max) = endpoint.in_flight_max() {
                in_flight += f64::from(endpoint.load.in_flight.load(Ordering::Relaxed));
                in_flight_max += f64::from(max);
            }
            if let Some(score) = self.utilization(index, now) {
                utilization += f64::from(score);
                reports += 1.0;
            }
        }
        in_flight <= UTILIZATION_MAX * in_flight_max && utilization <= UTILIZATION_MAX * reports
    }
}

/// How long requests of one route take to their response head, as one worker sees it: recent ones
/// count more.
///
/// A histogram with buckets that grow by an eighth of their octave, so a quantile is at most an
/// eighth too great and never too small.
#[derive(Debug)]
pub struct RecentLatency {
    counts: Box<[u32; BUCKETS]>,
    total: u32,
    /// Until the quantile is looked up again.
    lookup_in: u32,
    /// What it was then.
    delay: Option<Duration>,
}

/// Each octave of µs is cut into so many buckets.
const PARTS: u32 = 8;

/// From 0 µs to above 2 minutes; what is longer counts there.
const BUCKETS: usize = 8 * 26;

/// With fewer requests a quantile says too little.
const SAMPLES_MIN: u32 = 100;

/// With so many all counts are halved: what is older than a few thousand requests fades.
const SAMPLES_MAX: u32 = 4096;

/// A lookup reads the whole histogram, so it is not made for every request.
const LOOKUP_EVERY: u32 = 64;

impl Default for RecentLatency {
    fn default() -> Self {
        Self {
            counts: Box::new([0; BUCKETS]),
            total: 0,
            lookup_in: SAMPLES_MIN,
            delay: None,
        }
    }
}

impl RecentLatency {
    /// After how long a request should get a copy; `None` while too little is known.
    pub fn hedge_delay(&self, settings: &HedgeSettings) -> Option<Duration> {
        self.delay.map(|delay| delay.max(settings.delay_min))
    }

    /// Takes the latency of a request; of one that was given up, how long it had taken by then.
    pub fn observe(&mut self, latency: Duration, settings: &HedgeSettings) {
        self.counts[bucket(latency)] += 1;
        self.total += 1;
        self.lookup_in -= 1;
        if self.lookup_in == 0 {
            self.lookup_in = LOOKUP_EVERY;
            self.delay = Some(self.quantile(settings.quantile));
            if self.total >= SAMPLES_MAX {
                self.counts.iter_mut().for_each(|count| *count /= 2);
                self.total = self.counts.iter().sum();
            }
        }
    }

    /// The least upper bound of a bucket up to which this share of the requests is.
    fn quantile(&self, share: f64) -> Duration {
        let wanted = f64::from(self.total) * share;
        let mut sum = 0;
        let index = self.counts.iter().position(|count| {
            sum += count;
            f64::from(sum) >= wanted
        });
        upper_bound(index.unwrap_or(BUCKETS - 1))
    }
}

/// Which bucket counts a latency: up to 8 µs one for each, then eight to an octave.
fn bucket(latency: Duration) -> usize {
    let micros = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
    if micros < PARTS {
        return micros as usize;
    }
    let octave = micros.ilog2() - PARTS.ilog2();
    // Between 8 and 15.
    let part = micros >> octave;
    ((octave * PARTS + part) as usize).min(BUCKETS - 1)
}

/// The first latency above those of a bucket.
fn upper_bound(bucket: usize) -> Duration {
    let next = bucket as u64 + 1;
    let parts = u64::from(PARTS);
    let micros = if next < 2 * parts {
        next
    } else {
        (next % parts + parts) << (next / parts - 1)
    };
    Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::{endpoint, pool, settings, tick};
    use crate::{DEFAULT_POLICY, LoadReport};

    const SETTINGS: HedgeSettings = HedgeSettings {
        quantile: 0.95,
        delay_min: Duration::from_millis(1),
        budget_percent: 5,
    };

    proptest! {
        #[test]
        fn copies_are_at_most_their_share_of_the_requests(
            percent in 0u8..=100,
            wishes in proptest::collection::vec(0u32..4, 1..2000),
        ) {
            let settings = HedgeSettings { budget_percent: percent, ..SETTINGS };
            let budget = HedgeBudget::default();
            let (mut requests, mut copies) = (0u64, 0u64);
            for wanted in wishes {
                budget.earn(&settings);
                requests += 1;
                copies += (0..wanted).filter(|_| budget.try_hedge()).count() as u64;
                prop_assert!(copies * 100 <= requests * u64::from(percent));
            }
        }

        #[test]
        fn a_bucket_holds_what_is_below_its_bound_by_an_eighth_at_most(micros in 0u64..100_000_000) {
            let latency = Duration::from_micros(micros);
            let bound = upper_bound(bucket(latency)).as_micros() as u64;
            prop_assert!(micros < bound, "{micros} {bound}");
            prop_assert!(bound <= micros + micros / 8 + 1, "{micros} {bound}");
        }
    }

    #[test]
    fn saved_up_copies_are_bounded() {
        let budget = HedgeBudget::default();
        (0..100_000).for_each(|_| budget.earn(&SETTINGS));
        let copies = (0..1000).filter(|_| budget.try_hedge()).count();
        assert_eq!(copies, COPIES_MAX as usize);
    }

    #[test]
    fn a_copy_waits_for_the_quantile_and_the_quantile_for_a_hundred_requests() {
        let mut latency = RecentLatency::default();
        for number in 1..100 {
            latency.observe(Duration::from_millis(number), &SETTINGS);
            assert_eq!(latency.hedge_delay(&SETTINGS), None);
        }
        latency.observe(Duration::from_millis(100), &SETTINGS);
        let delay = latency.hedge_delay(&SETTINGS).unwrap();
        assert!(delay >= Duration::from_millis(95), "{delay:?}");
        assert!(delay <= Duration::from_millis(107), "{delay:?}");
        let patient = HedgeSettings {
            delay_min: Duration::from_secs(1),
            ..SETTINGS
        };
        assert_eq!(latency.hedge_delay(&patient), Some(patient.delay_min));
    }

    #[test]
    fn a_route_that_gets_slower_is_seen_to() {
        let mut latency = RecentLatency::default();
        (0..100_000).for_each(|_| latency.observe(Duration::from_millis(2), &SETTINGS));
        (0..10_000).for_each(|_| latency.observe(Duration::from_millis(50), &SETTINGS));
        let delay = latency.hedge_delay(&SETTINGS).unwrap();
        assert!(delay > Duration::from_millis(50), "{delay:?}");
    }

    #[test]
    fn a_pool_with_little_room_gets_no_copies() {
        let unbounded = pool(settings(DEFAULT_POLICY), vec![endpoint(1, 0); 2], 1);
        let now = tick();
        (0..100).for_each(|_| assert!(unbounded.reserve(0, 0).is_some()));
        assert!(unbounded.has_room_for_copies(now));
        let report = |utilization| LoadReport {
            utilization: Some(utilization),
            ..LoadReport::default()
        };
        let second = Duration::from_secs(1);
        unbounded.report_load(0, &report(0.9), second, now);
        assert!(!unbounded.has_room_for_copies(now));
        unbounded.report_load(1, &report(0.4), second, now);
        assert!(unbounded.has_room_for_copies(now));

        let bounded = pool(settings(DEFAULT_POLICY), vec![endpoint(1, 10); 2], 1);
        (0..10).for_each(|_| assert!(bounded.reserve(0, 0).is_some()));
        (0..4).for_each(|_| assert!(bounded.reserve(1, 0).is_some()));
        assert!(bounded.has_room_for_copies(now));
        assert!(bounded.reserve(1, 0).is_some());
        assert!(!bounded.has_room_for_copies(now));
    }
}
