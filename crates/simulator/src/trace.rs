//! What befalls the endpoints of a scenario in the course of time.

use std::collections::VecDeque;

use fastrand::Rng;

use crate::machine::NEVER;
use crate::scenario::{ANTAGONIST_SHARE, Fate, SECOND, Scenario};

/// Changes of a scenario in order of time, made up a round at a time.
pub(crate) struct Trace {
    fate: Fate,
    endpoints: usize,
    random: Rng,
    /// When the next round is made up.
    round_at: u64,
    /// Those of the rounds so far that did not happen yet.
    ahead: VecDeque<(u64, Change)>,
}

/// Something happens to the endpoint of this index.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Change {
    /// It works at another speed.
    Speed(usize, f64),
    /// It gets no new requests.
    Leaves(usize),
    /// It gets requests again; slow start is for cold ones.
    Joins { index: usize, is_cold: bool },
}

impl Trace {
    pub(crate) fn new(scenario: &Scenario, random: Rng) -> Self {
        let is_eventful = !matches!(
            scenario.fate,
            Fate::Even | Fate::Slow { .. } | Fate::Sinkhole
        );
        Self {
            fate: scenario.fate,
            endpoints: scenario.endpoints,
            random,
            round_at: if is_eventful { 0 } else { NEVER },
            ahead: VecDeque::new(),
        }
    }

    /// When [`Self::next`] happens.
    pub(crate) fn next_at(&self) -> u64 {
        self.ahead.front().map_or(self.round_at, |&(at, _)| at)
    }

    /// The next change, if there is one at [`Self::next_at`].
    pub(crate) fn next(&mut self) -> Option<Change> {
        let now = self.next_at();
        if self.ahead.is_empty() {
            self.make_up_round();
        }
        let (_, change) = self.ahead.pop_front_if(|(at, _)| *at <= now)?;
        Some(change)
    }

    fn make_up_round(&mut self) {
        let at = self.round_at;
        let last = self.endpoints - 1;
        match self.fate {
            Fate::Antagonist { times } => {
                // 30 % of 8 is 2 or 3, so that the mean is right.
                let exact = ANTAGONIST_SHARE * self.endpoints as f64;
                let count = (exact + self.random.f64()) as usize;
                let mut indices: Vec<usize> = (0..self.endpoints).collect();
                self.random.shuffle(&mut indices);
                for (place, &index) in indices.iter().enumerate() {
                    let speed = if place < count { 1.0 / times } else { 1.0 };
                    self.ahead.push_back((at, Change::Speed(index, speed)));
                }
                self.round_at = at + SECOND;
            }
            Fate::Cold { times, warm_up } => {
                let join = at + AWAY_AT + 5 * SECOND;
                self.ahead.push_back((at + AWAY_AT, Change::Leaves(last)));
                let is_cold = true;
                let index = last;
                self.ahead
                    .push_back((join, Change::Joins { index, is_cold }));
                for step in 0..=WARM_UP_STEPS {
                    let part = step as f64 / WARM_UP_STEPS as f64;
                    let speed = 1.0 / (times + (1.0 - times) * part);
                    let at = join + warm_up * step / WARM_UP_STEPS;
                    self.ahead.push_back((at, Change::Speed(last, speed)));
                }
                self.round_at = at + ROUND;
            }
            Fate::Removed => {
                self.ahead.push_back((at + AWAY_AT, Change::Leaves(last)));
                let is_cold = false;
                let index = last;
                let back = (at + AWAY_AT + 10 * SECOND, Change::Joins { index, is_cold });
                self.ahead.push_back(back);
                self.round_at = at + ROUND;
            }
            Fate::Even | Fate::Slow { .. } | Fate::Sinkhole => {}
        }
    }
}

/// How long a round of coming and going takes, in ns.
const ROUND: u64 = 20 * SECOND;

/// When in a round the endpoint goes.
const AWAY_AT: u64 = 2 * SECOND;

/// A machine that warms up gets faster in so many steps.
const WARM_UP_STEPS: u64 = 30;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::SCENARIOS;

    /// The changes of the first `seconds`.
    fn changes(scenario: &str, seconds: u64) -> Vec<(u64, Change)> {
        let scenario = SCENARIOS.iter().find(|row| row.name == scenario);
        let mut trace = Trace::new(scenario.expect("it is a row"), Rng::with_seed(1));
        let mut changes = Vec::new();
        while trace.next_at() < seconds * SECOND {
            let at = trace.next_at();
            changes.extend(trace.next().map(|change| (at, change)));
        }
        changes
    }

    #[test]
    fn quiet_scenarios_have_no_changes() {
        for scenario in ["even-0.7", "half-slow", "sinkhole"] {
            assert_eq!(changes(scenario, 1000), []);
        }
    }

    #[test]
    fn an_antagonist_hits_30_percent_and_others_every_second() {
        let mut slow = [0_u32; 8];
        for (_, change) in changes("antagonist", 10_000) {
            match change {
                Change::Speed(index, 0.25) => slow[index] += 1,
                change => assert!(matches!(change, Change::Speed(_, 1.0)), "{change:?}"),
            }
        }
        for seconds in slow {
            assert!((2850..3150).contains(&seconds), "{seconds} of 10000");
        }
    }

    #[test]
    fn a_cold_endpoint_goes_joins_and_warms_up_in_order_of_time() {
        let changes = changes("cold", 40);
        assert!(changes.is_sorted_by_key(|(at, _)| *at));
        let (index, is_cold) = (7, true);
        assert_eq!(changes[0], (2 * SECOND, Change::Leaves(7)));
        assert_eq!(changes[1], (7 * SECOND, Change::Joins { index, is_cold }));
        assert_eq!(changes[2], (7 * SECOND, Change::Speed(7, 0.2)));
        let warm = changes
            .iter()
            .find(|(_, change)| *change == Change::Speed(7, 1.0));
        assert_eq!(warm.map(|(at, _)| *at), Some(10 * SECOND));
        assert_eq!(changes[changes.len() / 2], (22 * SECOND, Change::Leaves(7)));
    }
}
