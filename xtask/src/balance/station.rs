//! An endpoint as the theory of queues draws it: slots that work, and a queue before them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// [`SLOTS`] slots and a queue that is served in order. Nothing here looks at the clock.
pub(super) struct Station<Job> {
    slots: [Option<Work<Job>>; SLOTS],
    queue: VecDeque<Waiting<Job>>,
    /// Work takes this many times as long.
    slowness: f64,
}

struct Work<Job> {
    job: Job,
    ends: Instant,
}

struct Waiting<Job> {
    job: Job,
    arrived: Instant,
    work: Duration,
}

impl<Job> Station<Job> {
    pub(super) fn new() -> Self {
        Self {
            slots: std::array::from_fn(|_| None),
            queue: VecDeque::new(),
            slowness: 1.0,
        }
    }

    /// Takes a job. `work` is how long it takes at slowness 1.
    pub(super) fn arrive(&mut self, job: Job, work: Duration, now: Instant) {
        match self.slots.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => {
                let ends = now + work.mul_f64(self.slowness);
                *slot = Some(Work { job, ends });
            }
            None => self.queue.push_back(Waiting {
                job,
                arrived: now,
                work,
            }),
        }
    }

    /// The next job that ends at `now` or ended before. Call until `None`.
    ///
    /// Its slot goes on with the queue from the moment of its end, not from `now`: a caller that
    /// comes a little late slows nothing down.
    pub(super) fn poll_done(&mut self, now: Instant) -> Option<Job> {
        let slot = self
            .slots
            .iter_mut()
            .filter(|slot| slot.as_ref().is_some_and(|work| work.ends <= now))
            .min_by_key(|slot| slot.as_ref().map(|work| work.ends))?;
        let done = slot.take()?;
        *slot = self.queue.pop_front().map(|next| Work {
            ends: done.ends.max(next.arrived) + next.work.mul_f64(self.slowness),
            job: next.job,
        });
        Some(done.job)
    }

    /// From `now` on everything takes this many times as long, also what is left of the work in
    /// hand.
    pub(super) fn set_slowness(&mut self, slowness: f64, now: Instant) {
        let change = slowness / self.slowness;
        self.slowness = slowness;
        for work in self.slots.iter_mut().flatten() {
            let left = work.ends.saturating_duration_since(now);
            work.ends = work.ends.min(now) + left.mul_f64(change);
        }
    }
}

/// Requests that an endpoint works on at a time.
pub(super) const SLOTS: usize = 4;

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;
    use crate::balance::theory::Theory;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn slots_work_at_once_and_the_queue_in_order() {
        let start = Instant::now();
        let mut station = Station::new();
        for (job, work) in [10, 20, 30, 40, 5, 5].into_iter().enumerate() {
            station.arrive(job, MS * work, start);
        }
        let mut done_at = |ms| station.poll_done(start + MS * ms);
        assert_eq!(done_at(9), None);
        assert_eq!(done_at(10), Some(0));
        assert_eq!(done_at(14), None);
        assert_eq!(done_at(15), Some(4));
        // Looked at late: the last one began at 15 and ends at 20, with the second.
        assert_eq!(done_at(25), Some(5));
        assert_eq!(done_at(25), Some(1));
        assert_eq!(done_at(25), None);
        assert_eq!(done_at(60), Some(2));
        assert_eq!(done_at(60), Some(3));
        assert_eq!(done_at(600), None);
    }

    #[test]
    fn a_change_of_speed_counts_for_what_is_left() {
        let start = Instant::now();
        let mut station = Station::new();
        station.arrive((), MS * 10, start);
        station.set_slowness(4.0, start + MS * 5);
        station.set_slowness(1.0, start + MS * 9);
        // Half of it in 5 ms, a tenth in 4 ms, the rest in 4 ms.
        assert_eq!(station.poll_done(start + MS * 12), None);
        assert_eq!(station.poll_done(start + MS * 13), Some(()));
    }

    #[test]
    fn waits_are_those_of_theory() {
        let mut random = Rng::with_seed(1);
        let mut exponential =
            |mean: f64| Duration::from_secs_f64(-mean * (1.0 - random.f64()).ln());
        for load in [0.5, 0.7] {
            let (mean, gap) = (0.010, 0.010 / (SLOTS as f64 * load));
            let mut station: Station<Instant> = Station::new();
            let mut now = Instant::now();
            let mut tick = now;
            let mut latencies: Vec<f64> = Vec::new();
            for _ in 0..200_000 {
                now += exponential(gap);
                while tick < now {
                    tick += MS / 4;
                    while let Some(arrived) = station.poll_done(tick) {
                        latencies.push((tick - arrived).as_secs_f64());
                    }
                }
                station.arrive(now, exponential(mean), now);
            }
            latencies.sort_by(f64::total_cmp);
            let theory = Theory {
                slots: SLOTS,
                mean,
                load,
            };
            for quantile in [0.5, 0.99] {
                let seen = latencies[(latencies.len() as f64 * quantile) as usize];
                let expected = theory.latency(quantile);
                assert!(
                    (seen / expected - 1.0).abs() < 0.05,
                    "load {load}, quantile {quantile}: {seen} and not {expected}"
                );
            }
        }
    }
}
