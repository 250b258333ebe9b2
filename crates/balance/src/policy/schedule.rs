//! Turns in large sets of endpoints, by earliest deadline.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::Candidates;

/// Who is next, for one set of candidates: each endpoint is due `weight` times a period, at even
/// distances, and who is due first is picked. O(log n) a pick, O(n) to make.
///
/// Over as many picks as the weights add up to, each endpoint gets exactly its weight.
pub(super) struct Schedule {
    due: BinaryHeap<Reverse<Turn>>,
    /// Those passed over in one pick.
    passed_over: Vec<Reverse<Turn>>,
}

/// The next turn of an endpoint. In order of time, then of index.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    at: u64,
    index: u32,
    weight: u32,
    /// When the period began in which this turn is.
    begin: u64,
    /// Turns of the period before this one.
    taken: u32,
}

/// Time from an endpoint's first turn to the first of its next `weight` turns. Divided by the
/// greatest weight it leaves enough to tell turns apart, and 2^40 of them fit in 64 bits.
const PERIOD: u64 = 1 << 24;

impl Schedule {
    /// `start` is a random number: with each change of the candidates there is a new schedule,
    /// and the first of the list must not gain by it.
    pub(super) fn new(weights: impl Iterator<Item = (usize, u32)>, start: u32) -> Self {
        let mut part = start;
        let turn = |(index, weight): (usize, u32)| {
            // Multiples of the golden section fill a circle evenly, so that neither endpoints of
            // one weight nor those of several come in clumps.
            part = part.wrapping_add(0x9e37_79b9);
            let distance = PERIOD / u64::from(weight);
            let begin = (distance * u64::from(part)) >> 32;
            Reverse(Turn {
                at: begin,
                index: u32::try_from(index).expect("a pool has fewer than 2^32 endpoints"),
                weight,
                begin,
                taken: 0,
            })
        };
        Self {
            due: weights.map(turn).collect(),
            passed_over: Vec::new(),
        }
    }

    /// The first in turn that may be picked. Those before it that may not lose a turn: if they
    /// were owed it, they would get all at once what they missed.
    pub(super) fn next(&mut self, candidates: &Candidates<'_>) -> Option<usize> {
        let mut next = None;
        while let Some(mut first) = self.due.peek_mut() {
            let index = first.0.index as usize;
            if candidates.may_pick(index) {
                first.0.go_on();
                next = Some(index);
                break;
            }
            let mut first = PeekMut::pop(first);
            first.0.go_on();
            self.passed_over.push(first);
        }
        self.due.extend(self.passed_over.drain(..));
        next
    }
}

impl Turn {
    fn go_on(&mut self) {
        self.taken += 1;
        if self.taken == self.weight {
            self.begin += PERIOD;
            self.taken = 0;
        }
        // Always from the beginning of the period, so that no rounding adds up.
        self.at = self.begin + u64::from(self.taken) * PERIOD / u64::from(self.weight);
    }
}

/// Schedules of the sets of candidates that a pool has at present: mostly one.
pub(super) struct Schedules<T>(Vec<((u64, u32), T)>);

impl<T> Schedules<T> {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    /// What was made for these candidates; made now if there is nothing that `is_good`.
    pub(super) fn of(
        &mut self,
        candidates: &Candidates<'_>,
        is_good: impl Fn(&T) -> bool,
        make: impl FnOnce() -> T,
    ) -> &mut T {
        let set = candidates.set();
        let made = &mut self.0;
        let found = made.iter().position(|(of, it)| *of == set && is_good(it));
        let position = found.unwrap_or_else(|| {
            // Those of an earlier build are of no use to anyone.
            made.retain(|(of, _)| of.0 == set.0 && *of != set);
            made.push((set, make()));
            made.len() - 1
        });
        &mut made[position].1
    }
}
