//! When to probe which target.
//!
//! Pure: time and randomness are arguments. A target is its index.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// The due times of all targets.
#[derive(Debug)]
pub(crate) struct Schedule {
    slots: Vec<Slot>,
    /// Holds each target's due time, and beside it older ones that no longer count.
    queue: BinaryHeap<Reverse<(Instant, usize)>>,
}

#[derive(Debug)]
struct Slot {
    due: Instant,
    timeout: Duration,
    began: Option<Instant>,
    is_running: bool,
    is_wanted_again: bool,
    was_spread: bool,
}

impl Schedule {
    /// Every target is due at once; `timeouts[i]` bounds a probe of target `i`.
    pub(crate) fn new(timeouts: impl IntoIterator<Item = Duration>, now: Instant) -> Self {
        let slot = |timeout| Slot {
            due: now,
            timeout,
            began: None,
            is_running: false,
            is_wanted_again: false,
            was_spread: false,
        };
        let slots: Vec<_> = timeouts.into_iter().map(slot).collect();
        let queue = (0..slots.len())
            .map(|target| Reverse((now, target)))
            .collect();
        Self { slots, queue }
    }

    /// A target whose probe is due; it counts as running from now on.
    pub(crate) fn begin_due(&mut self, now: Instant) -> Option<usize> {
        if self.deadline()? > now {
            return None;
        }
        let Reverse((_, target)) = self.queue.pop()?;
        let slot = &mut self.slots[target];
        slot.began = Some(now);
        slot.is_running = true;
        let lost = now + slot.timeout + LOST_AFTER;
        self.set_due(target, lost);
        Some(target)
    }

    /// The probe of `target` is over and the next one should follow `wait` after this one began.
    ///
    /// ±10 % jitter keeps probes from falling into step. The first time the wait is anything
    /// between none and all of it: every first probe begins at the same moment, and those that
    /// follow should not.
    pub(crate) fn finish(
        &mut self,
        target: usize,
        wait: Duration,
        now: Instant,
        random: &mut fastrand::Rng,
    ) {
        let slot = &mut self.slots[target];
        slot.is_running = false;
        let began = slot.began.unwrap_or(now);
        let share = if slot.was_spread {
            0.9 + 0.2 * random.f64()
        } else {
            random.f64()
        };
        slot.was_spread = true;
        let wait = if std::mem::take(&mut slot.is_wanted_again) {
            Duration::ZERO
        } else {
            wait.mul_f64(share)
        };
        self.set_due(target, (began + wait.max(GAP_MIN)).max(now));
    }

    /// Wants a probe of `target` as soon as may be.
    pub(crate) fn hurry(&mut self, target: usize, now: Instant) {
        let slot = &mut self.slots[target];
        if slot.is_running {
            slot.is_wanted_again = true;
            return;
        }
        let soonest = slot.began.map_or(now, |began| (began + GAP_MIN).max(now));
        if soonest < slot.due {
            self.set_due(target, soonest);
        }
    }

    /// When the next probe is due.
    pub(crate) fn deadline(&mut self) -> Option<Instant> {
        while let Some(&Reverse((due, target))) = self.queue.peek() {
            if self.slots[target].due == due {
                return Some(due);
            }
            self.queue.pop();
        }
        None
    }

    fn set_due(&mut self, target: usize, due: Instant) {
        self.slots[target].due = due;
        self.queue.push(Reverse((due, target)));
    }
}

/// Between the begins of two probes of one target. A stream of refused requests asks for a probe
/// with each of them.
const GAP_MIN: Duration = Duration::from_millis(50);

/// A probe that has not reported this long after its timeout never will (its task died).
const LOST_AFTER: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(2);
    const TIMEOUT: Duration = Duration::from_secs(1);

    fn schedule(targets: usize, now: Instant) -> (Schedule, fastrand::Rng) {
        let schedule = Schedule::new(vec![TIMEOUT; targets], now);
        (schedule, fastrand::Rng::with_seed(7))
    }

    #[test]
    fn all_begin_at_once_and_then_spread_over_the_interval() {
        let start = Instant::now();
        let (mut schedule, mut random) = schedule(1000, start);
        let mut begun: Vec<_> = std::iter::from_fn(|| schedule.begin_due(start)).collect();
        begun.sort_unstable();
        assert_eq!(begun, (0..1000).collect::<Vec<_>>());
        for target in begun {
            schedule.finish(target, INTERVAL, start, &mut random);
        }
        for tenth in 1..=10 {
            let now = start + INTERVAL * tenth / 10;
            let begun = std::iter::from_fn(|| schedule.begin_due(now)).count();
            assert!((50..=150).contains(&begun), "{begun} in tenth {tenth}");
        }
    }

    #[test]
    fn later_probes_keep_to_the_interval_within_a_tenth() {
        let mut now = Instant::now();
        let (mut schedule, mut random) = schedule(1, now);
        let mut last = None;
        for round in 0..200 {
            assert_eq!(schedule.begin_due(now), Some(0));
            if let Some(last) = last.replace(now)
                && round > 1
            {
                let gap = now - last;
                assert!(
                    gap >= INTERVAL.mul_f64(0.9) && gap <= INTERVAL.mul_f64(1.1),
                    "{gap:?}"
                );
            }
            // The time a probe takes is part of the interval.
            schedule.finish(0, INTERVAL, now + TIMEOUT / 2, &mut random);
            now = schedule.deadline().unwrap();
        }
    }

    #[test]
    fn a_hurried_target_is_due_now_but_not_again_and_again() {
        let start = Instant::now();
        let (mut schedule, mut random) = schedule(1, start);
        assert_eq!(schedule.begin_due(start), Some(0));
        schedule.finish(0, INTERVAL, start, &mut random);

        let later = start + GAP_MIN;
        schedule.hurry(0, later);
        assert_eq!(schedule.begin_due(later), Some(0));
        assert_eq!(schedule.begin_due(later), None, "it runs already");
        schedule.hurry(0, later);
        schedule.finish(0, INTERVAL, later, &mut random);
        assert_eq!(schedule.begin_due(later), None);
        assert_eq!(schedule.deadline(), Some(later + GAP_MIN));
    }

    #[test]
    fn a_probe_that_never_reports_is_begun_anew() {
        let start = Instant::now();
        let (mut schedule, _) = schedule(1, start);
        assert_eq!(schedule.begin_due(start), Some(0));
        assert_eq!(schedule.begin_due(start + TIMEOUT), None);
        assert_eq!(schedule.begin_due(start + TIMEOUT + LOST_AFTER), Some(0));
    }
}
