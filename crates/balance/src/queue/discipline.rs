//! Who goes first: the oldest waiter, or under standing overload the newest.
//!
//! A queue that evens out a burst is empty again soon, and serving it in order is fair. One that
//! stands makes every request late: with twice as much work as can be done all of them wait until
//! their time-out is near, and half of them past it. Served newest first, those that are served
//! are served at once, and only the rest wait for nothing.
//!
//! Source: target and interval of Nichols and Jacobson, "Controlling Queue Delay", ACM Queue
//! 10(5), 2012. Those who are late are not dropped, but stay until their time-out: the overload
//! may end first.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::endpoint::NEVER;

/// Whose turn it is, as all workers see it.
#[derive(Debug)]
pub(super) struct Discipline {
    is_newest_first: AtomicBool,
    /// Since when the oldest waiter has waited longer than [`TARGET`] whenever one was served, in
    /// µs of the pool's time; [`NEVER`]: it has not.
    late_since: AtomicU64,
}

/// A waiter that waited less is no sign of overload, in µs.
const TARGET: u64 = 5_000;

/// A queue that was late for so long stands, in µs.
const INTERVAL: u64 = 100_000;

impl Discipline {
    pub(super) fn new() -> Self {
        Self {
            is_newest_first: AtomicBool::new(false),
            late_since: AtomicU64::new(NEVER),
        }
    }

    pub(super) fn is_newest_first(&self) -> bool {
        self.is_newest_first.load(Ordering::Relaxed)
    }

    /// A waiter is served at `now`, when the oldest of all has waited for `delay`; in order, that
    /// is the one who is served. Whoever calls this wakes the next, as it may be another now.
    ///
    /// Not the delay of the one who is served: newest first that is short while the overload
    /// lasts.
    pub(super) fn observe(&self, delay: u64, now: u64) {
        if delay < TARGET {
            return self.rest();
        }
        let since = self.late_since.load(Ordering::Relaxed);
        if since == NEVER {
            self.late_since.store(now, Ordering::Relaxed);
        } else if now.saturating_sub(since) >= INTERVAL {
            self.is_newest_first.store(true, Ordering::Relaxed);
        }
    }

    /// Nobody waits, or not for long.
    pub(super) fn rest(&self) {
        self.late_since.store(NEVER, Ordering::Relaxed);
        self.is_newest_first.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_is_served_in_order_and_a_standing_queue_newest_first() {
        let discipline = Discipline::new();
        for (delay, now, is_newest_first) in [
            (TARGET, 0, false),
            (10 * TARGET, INTERVAL - 1, false),
            (TARGET, INTERVAL, true),
            (TARGET, 2 * INTERVAL, true),
            (TARGET - 1, 2 * INTERVAL + 1, false),
            // It must stand for a whole interval again.
            (TARGET, 2 * INTERVAL + 2, false),
            (TARGET, 3 * INTERVAL + 1, false),
            (TARGET, 3 * INTERVAL + 2, true),
        ] {
            discipline.observe(delay, now);
            assert_eq!(discipline.is_newest_first(), is_newest_first, "at {now}");
        }
        discipline.rest();
        assert!(!discipline.is_newest_first());
    }

    proptest! {
        /// Newest first if and only if all of a whole interval's waiters were late.
        #[test]
        fn the_order_turns_exactly_when_every_delay_of_an_interval_was_long(
            served in proptest::collection::vec((0..2 * TARGET, 0..INTERVAL), 1..100),
        ) {
            let discipline = Discipline::new();
            let mut past = Vec::new();
            let mut now = 0;
            for (delay, pause) in served {
                now += pause;
                discipline.observe(delay, now);
                past.push((delay, now));
                let late = past.iter().rev().take_while(|(delay, _)| *delay >= TARGET);
                let stands = late.last().is_some_and(|(_, since)| now - since >= INTERVAL);
                prop_assert_eq!(discipline.is_newest_first(), stands);
            }
        }
    }
}
