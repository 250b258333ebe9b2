//! The endpoints of a pool in order of preference, as one worker last saw them.

use crate::{Availability, Endpoint, Pool};

/// Endpoints by tier: up, before unknown, before down. Rebuilt only when the pool's generation
/// moves, so that a pick need not look at every endpoint.
#[derive(Debug, Default)]
pub(crate) struct Rotation {
    generation: u64,
    pub(crate) up: Tier,
    pub(crate) unknown: Tier,
    pub(crate) down: Tier,
}

/// Endpoints of one availability.
#[derive(Debug, Default)]
pub(crate) struct Tier {
    /// Those with a weight.
    pub(crate) weighted: Group,
    /// Those of weight 0, for when none of the others may be picked.
    pub(crate) weightless: Group,
}

/// Endpoints that a policy chooses among.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Indices into the pool's endpoints, ascending.
    pub(crate) indices: Vec<u32>,
    /// `shares[i]` is the sum of the weights of `indices[..=i]`, for draws by weight.
    pub(crate) shares: Vec<u32>,
}

impl Rotation {
    pub(crate) fn new(pool: &Pool) -> Self {
        let mut rotation = Self::default();
        rotation.rebuild(pool);
        rotation
    }

    /// Catches up with the pool, if anything changed.
    pub(crate) fn refresh(&mut self, pool: &Pool) {
        if pool.generation() != self.generation {
            self.rebuild(pool);
        }
    }

    fn rebuild(&mut self, pool: &Pool) {
        // Read before the endpoints: a change in between costs another rebuild, and is never
        // missed.
        self.generation = pool.generation();
        for tier in [&mut self.up, &mut self.unknown, &mut self.down] {
            tier.weighted.clear();
            tier.weightless.clear();
        }
        for (index, endpoint) in pool.endpoints.iter().enumerate() {
            let tier = match endpoint.availability() {
                Availability::Up => &mut self.up,
                Availability::Unknown => &mut self.unknown,
                Availability::Down => &mut self.down,
                Availability::Maintenance => continue,
            };
            tier.push(index, endpoint);
        }
    }
}

impl Tier {
    pub(crate) fn is_empty(&self) -> bool {
        self.weighted.indices.is_empty() && self.weightless.indices.is_empty()
    }

    fn push(&mut self, index: usize, endpoint: &Endpoint) {
        match endpoint.weight {
            0 => self.weightless.push(index, 1),
            weight => self.weighted.push(index, weight),
        }
    }
}

impl Group {
    pub(crate) fn push(&mut self, index: usize, weight: u32) {
        let sum = self.shares.last().copied().unwrap_or(0);
        let index = u32::try_from(index).expect("a pool has fewer than 2^32 endpoints");
        self.indices.push(index);
        self.shares.push(sum + weight);
    }

    fn clear(&mut self) {
        self.indices.clear();
        self.shares.clear();
    }
}
