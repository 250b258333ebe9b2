//! What a policy chooses among.

use std::sync::atomic::Ordering;

use fastrand::Rng;

use crate::rotation::Group;
use crate::{Endpoint, Tried};

/// Endpoints of equal standing. Some may be full or excluded: ask [`Self::may_pick`].
///
/// Indices are those of the pool's endpoints.
pub struct Candidates<'a> {
    endpoints: &'a [Endpoint],
    group: &'a Group,
    excluded: &'a Tried,
}

impl<'a> Candidates<'a> {
    pub(crate) fn new(endpoints: &'a [Endpoint], group: &'a Group, excluded: &'a Tried) -> Self {
        Self {
            endpoints,
            group,
            excluded,
        }
    }

    /// Candidates, the full and excluded ones included.
    pub fn count(&self) -> usize {
        self.group.indices.len()
    }

    /// Endpoints of the pool, candidates or not: one more than the largest index.
    pub fn endpoint_count(&self) -> usize {
        self.endpoints.len()
    }

    /// Those that may be picked at this moment, in ascending order.
    pub fn pickable(&self) -> impl Iterator<Item = usize> {
        let indices = self.group.indices.iter().map(|&index| index as usize);
        indices.filter(|&index| self.may_pick(index))
    }

    /// True if the endpoint has room and is not excluded.
    pub fn may_pick(&self, index: usize) -> bool {
        self.endpoints[index].has_room() && !self.excluded.contains(index)
    }

    /// Requests in flight.
    pub fn load(&self, index: usize) -> u32 {
        self.endpoints[index].load.in_flight.load(Ordering::Relaxed)
    }

    /// Never 0: endpoints of weight 0 come only among themselves, and count as 1 each.
    pub fn weight(&self, index: usize) -> u32 {
        self.endpoints[index].weight.max(1)
    }

    /// The pool's pick number when the endpoint was picked last; 0: never.
    pub fn last_pick(&self, index: usize) -> u64 {
        self.endpoints[index].load.last_pick.load(Ordering::Relaxed)
    }

    /// Draws a candidate by weight, full and excluded ones included. O(log n). There must be one.
    pub fn draw(&self, random: &mut Rng) -> usize {
        let position = self.position(random.u32(..self.weight_sum()));
        self.group.indices[position] as usize
    }

    /// Draws two different candidates by weight, full and excluded ones included. O(log n).
    /// There must be two.
    pub fn draw_two(&self, random: &mut Rng) -> (usize, usize) {
        let Group { indices, shares } = self.group;
        let first = self.position(random.u32(..self.weight_sum()));
        let before = if first == 0 { 0 } else { shares[first - 1] };
        let weight = shares[first] - before;
        // The second draw is from what the first one leaves: points at or after the first one's
        // share move up by it.
        let mut point = random.u32(..self.weight_sum() - weight);
        if point >= before {
            point += weight;
        }
        let second = self.position(point);
        (indices[first] as usize, indices[second] as usize)
    }

    fn weight_sum(&self) -> u32 {
        self.group.shares.last().copied().unwrap_or(0)
    }

    /// Where in the group the share holding `point` is.
    fn position(&self, point: u32) -> usize {
        self.group.shares.partition_point(|&share| share <= point)
    }
}
