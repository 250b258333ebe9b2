//! Round robin by weight: in turn, heavier endpoints more often, never in clumps.

use fastrand::Rng;

use super::{Candidates, Policy, PolicyKind, learn_nothing};

pub(super) const KIND: PolicyKind = PolicyKind {
    name: "round_robin",
    summary: "Each endpoint in its turn, as often as its weight says, evenly interleaved.",
    has_key: false,
    build: |_, _| Box::new(RoundRobin::default()),
    learn: learn_nothing,
};

/// Smooth weighted round robin: each candidate gains its weight, the richest is picked and pays
/// what all gained. Over as many picks as the weights add up to, each gets exactly its weight.
#[derive(Default)]
struct RoundRobin {
    /// What each endpoint of the pool has saved.
    savings: Vec<i64>,
}

impl Policy for RoundRobin {
    fn pick(&mut self, candidates: &Candidates<'_>, _random: &mut Rng) -> Option<usize> {
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
