//! Round robin by weight: in turn, heavier endpoints more often, never in clumps.

use fastrand::Rng;

use super::schedule::{Schedule, Schedules};
use super::{Candidates, Policy, PolicyKind, SCAN_MAX};

pub(super) const KIND: PolicyKind = PolicyKind {
    name: "round_robin",
    summary: "Each endpoint in its turn, as often as its weight says, evenly interleaved.",
    has_key: false,
    build: |_, _| Box::new(RoundRobin::new()),
};

/// Smooth weighted round robin in small sets, by earliest deadline in large ones. Over as many
/// picks as the weights add up to, each endpoint gets exactly its weight.
pub(super) struct RoundRobin {
    /// What each endpoint of the pool has saved.
    savings: Vec<i64>,
    large: Schedules<Schedule>,
}

impl RoundRobin {
    pub(super) fn new() -> Self {
        Self {
            savings: Vec::new(),
            large: Schedules::new(),
        }
    }

    /// Each candidate gains its weight, the richest is picked and pays what all gained. More
    /// evenly interleaved than deadlines are, and O(n).
    fn richest(&mut self, candidates: &Candidates<'_>) -> Option<usize> {
        self.savings.resize(candidates.endpoints().len(), 0);
        let mut gained = 0;
        let mut richest: Option<usize> = None;
        for index in candidates.pickable() {
            let weight = i64::from(candidates.weight(index));
            self.savings[index] += weight;
            gained += weight;
            if richest.is_none_or(|best| self.savings[index] > self.savings[best]) {
                richest = Some(index);
            }
        }
        let picked = richest?;
        self.savings[picked] -= gained;
        Some(picked)
    }
}

impl Policy for RoundRobin {
    fn pick(&mut self, candidates: &Candidates<'_>, random: &mut Rng) -> Option<usize> {
        if candidates.count() <= SCAN_MAX {
            return self.richest(candidates);
        }
        let make = || Schedule::new(candidates.weights(), random.u32(..));
        self.large.of(candidates, |_| true, make).next(candidates)
    }
}
