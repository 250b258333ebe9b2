//! Rendezvous hashing: of all endpoints the one that scores highest with the key.

use fastrand::Rng;

use super::bound::Bound;
use super::least_request::least_request;
use super::{Candidates, Policy, PolicyKind};
use crate::hash::{hash_pair, unit};
use crate::{Endpoint, PolicySettings, hash_key};

pub(super) const KIND: PolicyKind = PolicyKind {
    name: "rendezvous",
    summary: "The endpoint that the request's key belongs to; exact in its shares, and one that \
              goes moves its own keys only. Looks at every endpoint: for pools of up to some \
              hundreds.",
    has_key: true,
    build: |settings, endpoints| Box::new(Rendezvous::new(settings, endpoints)),
};

/// Weighted highest random weight: `-weight / ln(h)`, where `h` is a hash of the key and the
/// endpoint's name between 0 and 1. O(n).
///
/// A change of one weight moves keys from or to that endpoint only. So slow start needs nothing
/// of its own here: with its weight an endpoint's keys come to it little by little.
///
/// Sources: Thaler, Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", IEEE/ACM ToN
/// 6(1), 1998; the weights: Schindelhauer, Schomaker, "Weighted Distributed Hash Tables", SPAA
/// 2005.
pub(super) struct Rendezvous {
    /// Hashes of the endpoints' names, so that their order in the file does not matter.
    names: Box<[u64]>,
    bound: Bound,
}

impl Rendezvous {
    pub(super) fn new(settings: &PolicySettings, endpoints: &[Endpoint]) -> Self {
        let name = |endpoint: &Endpoint| hash_key(endpoint.name.as_bytes());
        Self {
            names: endpoints.iter().map(name).collect(),
            bound: Bound::new(settings.bounded_load),
        }
    }

    /// Hash of an endpoint's name.
    pub(super) fn name(&self, index: usize) -> u64 {
        self.names[index]
    }

    pub(super) fn bound(&self) -> Bound {
        self.bound
    }

    /// The key's first choice of those that may be picked and are within the bound; of those
    /// that may be picked if none is, as a bound on the load is no reason to wait or refuse.
    pub(super) fn of_key(&self, key: u64, candidates: &Candidates<'_>) -> Option<usize> {
        let caps = self.bound.caps(candidates);
        let may_pick = |index| candidates.may_pick(index);
        let has_room = |index| may_pick(index) && caps.has_room(candidates, index);
        let bounded = self.highest(key, candidates, has_room);
        bounded.or_else(|| self.highest(key, candidates, may_pick))
    }

    fn highest(
        &self,
        key: u64,
        candidates: &Candidates<'_>,
        may_take: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let mut highest: Option<(usize, Draw)> = None;
        for (index, weight) in candidates.weights() {
            let draw = Draw {
                weight: f64::from(weight),
                point: unit(hash_pair(key, self.names[index])),
                score: None,
            };
            // Most do not come so far that the endpoint is looked at.
            let is_highest = highest
                .as_mut()
                .is_none_or(|(_, highest)| draw.beats(highest));
            if is_highest && may_take(index) {
                highest = Some((index, draw));
            }
        }
        highest.map(|(index, _)| index)
    }
}

/// What an endpoint has to offer a key.
struct Draw {
    weight: f64,
    /// Between 0 and 1.
    point: f64,
    /// Worked out when it is first needed, as logarithms are most of the cost.
    score: Option<f64>,
}

impl Draw {
    fn beats(&self, highest: &mut Self) -> bool {
        if self.weight == highest.weight {
            return self.point > highest.point;
        }
        let score = || -highest.weight / highest.point.ln();
        let score = *highest.score.get_or_insert_with(score);
        // The first comparison settles most: -ln(x) >= 1 - x.
        self.weight > score * (1.0 - self.point) && -self.weight / self.point.ln() > score
    }
}

impl Policy for Rendezvous {
    fn pick(&mut self, candidates: &Candidates<'_>, random: &mut Rng) -> Option<usize> {
        match candidates.wanted().key {
            Some(key) => self.of_key(key, candidates),
            None => least_request(candidates, random),
        }
    }
}
