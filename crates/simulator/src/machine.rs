//! What stands behind an endpoint: requests that take up slots and get done.
//!
//! All requests in service at one machine advance at the same pace, whatever the discipline. So
//! each needs one number only: how far the machine's progress must be for it to be done. A change
//! of pace moves no numbers.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Which of the requests at a machine are in service, and how fast they advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Discipline {
    /// First come, first served: one request a slot at full pace, the others wait.
    Fcfs,
    /// Processor sharing: all at once. With more requests than slots each gets an equal part.
    Ps,
    /// Every request fails after this many ns, however many there are: a fast-failing sinkhole.
    FailsAfter(u32),
}

/// A machine and the requests at it. Time and work are in ns; at speed 1.0 a slot does one ns of
/// work in one ns.
#[derive(Debug)]
pub(crate) struct Machine {
    discipline: Discipline,
    slots: usize,
    speed: f64,
    /// Work that a request in service all the time would have got.
    progress: f64,
    /// When `progress` was brought up to date.
    updated: u64,
    in_service: BinaryHeap<Reverse<InService>>,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct InService {
    /// Bits of the `f64` of the progress at which it is done: positive ones sort as numbers do.
    done_at: u64,
    id: u64,
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    work: f64,
}

/// No moment.
pub(crate) const NEVER: u64 = u64::MAX;

impl Machine {
    pub(crate) fn new(discipline: Discipline, slots: usize, speed: f64) -> Self {
        Self {
            discipline,
            slots,
            speed,
            progress: 0.0,
            updated: 0,
            in_service: BinaryHeap::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Requests in service and waiting.
    pub(crate) fn count(&self) -> usize {
        self.in_service.len() + self.waiting.len()
    }

    /// Work of a slot per time.
    pub(crate) fn speed(&self) -> f64 {
        self.speed
    }

    /// True if requests come to no good here.
    pub(crate) fn is_failing(&self) -> bool {
        matches!(self.discipline, Discipline::FailsAfter(_))
    }

    /// What a request of `work` that comes now has to expect, in ns. In the queue, if the work of
    /// those before it is exponential with that mean; sharing, if as many stay as there are now.
    pub(crate) fn expected(&self, work: f64) -> f64 {
        let (slots, after) = (self.slots as f64, self.count() as f64 + 1.0);
        let rounds = match self.discipline {
            // One request leaves every `work / slots`, and a free slot costs no wait.
            Discipline::Fcfs => 1.0 + (after - slots).max(0.0) / slots,
            Discipline::Ps => (after / slots).max(1.0),
            Discipline::FailsAfter(_) => return f64::INFINITY,
        };
        rounds * work / self.speed
    }

    /// Takes a request with so much work to do.
    pub(crate) fn accept(&mut self, id: u64, work: f64, now: u64) {
        self.advance(now);
        match self.discipline {
            Discipline::Fcfs if self.in_service.len() >= self.slots => {
                self.waiting.push_back(Waiting { id, work });
            }
            Discipline::Fcfs | Discipline::Ps => self.serve(id, work),
            Discipline::FailsAfter(time) => self.serve(id, f64::from(time)),
        }
    }

    /// When the next request is done, unless something happens before.
    pub(crate) fn next_done(&self) -> u64 {
        let Some(Reverse(next)) = self.in_service.peek() else {
            return NEVER;
        };
        let left = (f64::from_bits(next.done_at) - self.progress).max(0.0);
        self.updated + (left / self.pace()).ceil() as u64
    }

    /// Takes out the request that is done at `now`, which is [`Self::next_done`].
    pub(crate) fn finish(&mut self, now: u64) -> u64 {
        self.advance(now);
        let Reverse(done) = self.in_service.pop().expect("the caller waited for it");
        self.serve_next();
        done.id
    }

    /// Takes out a request whose client gave up.
    pub(crate) fn abandon(&mut self, id: u64, now: u64) {
        self.advance(now);
        if let Some(place) = self.waiting.iter().position(|waiting| waiting.id == id) {
            self.waiting.remove(place);
        } else {
            self.in_service.retain(|Reverse(request)| request.id != id);
            self.serve_next();
        }
    }

    /// From now on it works at another speed, more than 0.
    pub(crate) fn set_speed(&mut self, speed: f64, now: u64) {
        self.advance(now);
        self.speed = speed;
    }

    fn serve(&mut self, id: u64, work: f64) {
        let done_at = (self.progress + work).to_bits();
        self.in_service.push(Reverse(InService { done_at, id }));
    }

    fn serve_next(&mut self) {
        if let Some(Waiting { id, work }) = self.waiting.pop_front() {
            self.serve(id, work);
        }
    }

    fn advance(&mut self, now: u64) {
        if !self.in_service.is_empty() {
            self.progress += (now - self.updated) as f64 * self.pace();
        }
        self.updated = now;
    }

    /// How fast each request in service advances.
    fn pace(&self) -> f64 {
        match self.discipline {
            Discipline::Fcfs => self.speed,
            Discipline::Ps => {
                self.speed * (self.slots as f64 / self.in_service.len() as f64).min(1.0)
            }
            Discipline::FailsAfter(_) => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accepts works at moment 0, and tells when each is done, by id.
    fn done_at(machine: &mut Machine, works: &[f64]) -> Vec<u64> {
        for (id, &work) in (0..).zip(works) {
            machine.accept(id, work, 0);
        }
        finish_all(machine, works.len())
    }

    fn finish_all(machine: &mut Machine, count: usize) -> Vec<u64> {
        let mut done = vec![0; count];
        while machine.next_done() != NEVER {
            let now = machine.next_done();
            done[machine.finish(now) as usize] = now;
        }
        done
    }

    #[test]
    fn the_first_are_served_and_the_others_wait() {
        let mut machine = Machine::new(Discipline::Fcfs, 2, 1.0);
        assert_eq!(machine.expected(10.0), 10.0);
        let done = done_at(&mut machine, &[10.0, 30.0, 10.0, 10.0]);
        assert_eq!(done, [10, 30, 20, 30]);
    }

    #[test]
    fn all_share_and_get_faster_as_others_go() {
        let mut machine = Machine::new(Discipline::Ps, 2, 1.0);
        // Four at half pace until the short ones are done, then two at full pace.
        let done = done_at(&mut machine, &[10.0, 30.0, 10.0, 30.0]);
        assert_eq!(done, [20, 40, 20, 40]);
    }

    #[test]
    fn a_change_of_speed_counts_from_then_on() {
        for discipline in [Discipline::Fcfs, Discipline::Ps] {
            let mut machine = Machine::new(discipline, 1, 0.5);
            machine.accept(0, 100.0, 0);
            machine.set_speed(2.0, 100);
            assert_eq!(machine.next_done(), 125);
            assert_eq!(machine.expected(10.0), 10.0);
        }
    }

    #[test]
    fn a_sinkhole_fails_all_at_once() {
        let mut machine = Machine::new(Discipline::FailsAfter(7), 1, 1.0);
        assert!(machine.is_failing());
        assert_eq!(done_at(&mut machine, &[100.0, 200.0]), [7, 7]);
    }

    #[test]
    fn an_abandoned_request_makes_room() {
        let mut machine = Machine::new(Discipline::Fcfs, 1, 1.0);
        for id in 0..4 {
            machine.accept(id, 10.0, 0);
        }
        machine.abandon(0, 5);
        machine.abandon(2, 5);
        assert_eq!(machine.count(), 2);
        assert_eq!(finish_all(&mut machine, 4), [0, 15, 0, 25]);
    }
}
