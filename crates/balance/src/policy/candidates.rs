//! What a policy chooses among.

use std::sync::atomic::Ordering;

use fastrand::Rng;

use super::SCAN_MAX;
use crate::rotation::{Group, WEIGHT_ONE};
use crate::{Endpoint, Pool, Tried, Wanted};

/// Endpoints of equal standing. Some may be full or excluded: ask [`Self::may_pick`].
///
/// Indices are those of the pool's endpoints.
pub struct Candidates<'a> {
    pool: &'a Pool,
    group: &'a Group,
    weights: &'a [u32],
    /// `None` if nothing is: asked for each endpoint of each pick.
    excluded: Option<&'a Tried>,
    wanted: &'a Wanted<'a>,
    now: u64,
    build: u64,
}

impl<'a> Candidates<'a> {
    pub(crate) fn new(
        pool: &'a Pool,
        group: &'a Group,
        weights: &'a [u32],
        excluded: &'a Tried,
        wanted: &'a Wanted<'a>,
        now: u64,
        build: u64,
    ) -> Self {
        Self {
            pool,
            group,
            weights,
            excluded: (!excluded.is_empty()).then_some(excluded),
            wanted,
            now,
            build,
        }
    }

    /// Candidates, the full and excluded ones included.
    pub fn count(&self) -> usize {
        self.group.indices.len()
    }

    /// Their indices, ascending, the full and excluded ones included.
    pub fn indices(&self) -> &[u32] {
        &self.group.indices
    }

    /// True if the endpoint is among them, full and excluded or not.
    pub fn contains(&self, index: usize) -> bool {
        let indices = self.indices();
        // As they ascend, each is at most as far from its own place as endpoints are missing:
        // mostly a few, or none.
        let missing = self.endpoints().len() - indices.len();
        let range = index.saturating_sub(missing)..(index + 1).min(indices.len());
        let around = indices.get(range).unwrap_or_default();
        around
            .binary_search_by_key(&index, |&index| index as usize)
            .is_ok()
    }

    /// Equal as long as the candidates and their weights are: what a policy has worked out for
    /// one set is good for the next pick.
    pub fn set(&self) -> (u64, u32) {
        // A build has each endpoint in one group.
        (self.build, self.group.indices.first().copied().unwrap_or(0))
    }

    /// All endpoints of the pool, candidates or not.
    pub fn endpoints(&self) -> &'a [Endpoint] {
        &self.pool.endpoints
    }

    /// What the request asks for.
    pub fn wanted(&self) -> &Wanted<'a> {
        self.wanted
    }

    /// The time, in µs since the pool was made.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Those that may be picked at this moment, in ascending order.
    pub fn pickable(&self) -> impl Iterator<Item = usize> {
        let indices = self.group.indices.iter().map(|&index| index as usize);
        indices.filter(|&index| self.may_pick(index))
    }

    /// True if the endpoint has room and is not excluded.
    pub fn may_pick(&self, index: usize) -> bool {
        self.pool.endpoints[index].has_room() && !self.excludes(index)
    }

    #[inline]
    fn excludes(&self, index: usize) -> bool {
        self.excluded
            .is_some_and(|excluded| excluded.contains(index))
    }

    /// Requests in flight, if the endpoint may be picked.
    #[inline]
    pub fn open_load(&self, index: usize) -> Option<u32> {
        let load = &self.pool.endpoints[index].load;
        let in_flight = load.in_flight.load(Ordering::Relaxed);
        let has_room = in_flight < load.in_flight_max.load(Ordering::Relaxed);
        (has_room && !self.excludes(index)).then_some(in_flight)
    }

    /// True once any endpoint of the pool has reported requests in flight or latency.
    pub fn has_reports(&self) -> bool {
        self.pool.has_reports()
    }

    /// Requests in flight.
    pub fn load(&self, index: usize) -> u32 {
        let load = &self.pool.endpoints[index].load;
        load.in_flight.load(Ordering::Relaxed)
    }

    /// In 256ths of what the config says, slow start and agents counted in. Never 0: endpoints
    /// of weight 0 come only among themselves, and count the same.
    pub fn weight(&self, index: usize) -> u32 {
        self.weights[index].max(1)
    }

    /// Their indices and weights, the full and excluded ones included.
    pub fn weights(&self) -> impl Iterator<Item = (usize, u32)> {
        let indices = self.group.indices.iter().map(|&index| index as usize);
        indices.map(|index| (index, self.weight(index)))
    }

    /// The part of its weight that slow start and agents leave an endpoint, 0.0 to 1.0.
    pub fn ramp(&self, index: usize) -> f32 {
        let full = (self.pool.endpoints[index].weight * WEIGHT_ONE).max(1);
        self.weight(index) as f32 / full as f32
    }

    /// By position in [`Self::indices`]: the weight without slow start, 1.0 being the mean of the
    /// candidates, and the part of it that slow start leaves.
    pub fn steady(&self) -> &[(f32, f32)] {
        &self.group.steady
    }

    /// True if all weigh the same, and none is in slow start.
    pub fn are_even(&self) -> bool {
        self.group.is_even
    }

    /// When the endpoint was picked last, in µs since the pool was made; 0: never.
    pub fn picked_at(&self, index: usize) -> u64 {
        let load = &self.pool.endpoints[index].load;
        load.picked_at.load(Ordering::Relaxed)
    }

    /// Draws a candidate by weight, full and excluded ones included. There must be one.
    pub fn draw(&self, random: &mut Rng) -> usize {
        self.group.indices[self.draw_position(random)] as usize
    }

    /// As [`Self::draw`], as a position in [`Self::indices`].
    pub fn draw_position(&self, random: &mut Rng) -> usize {
        self.group.position(random.u64(..self.weight_sum()))
    }

    /// Draws two different candidates by weight, full and excluded ones included.
    /// There must be two.
    pub fn draw_two(&self, random: &mut Rng) -> (usize, usize) {
        let Group {
            indices, shares, ..
        } = self.group;
        let first = self.draw_position(random);
        let before = if first == 0 { 0 } else { shares[first - 1] };
        let weight = shares[first] - before;
        // The second draw is from what the first one leaves: points at or after the first one's
        // share move up by it.
        let mut point = random.u64(..self.weight_sum() - weight);
        if point >= before {
            point += weight;
        }
        let second = self.group.position(point);
        (indices[first] as usize, indices[second] as usize)
    }

    /// Requests in flight at all candidates, if the policy bounds loads; in large sets at all
    /// endpoints of the pool, as it is the pool that counts them.
    pub(super) fn in_flight(&self) -> u64 {
        if self.count() <= SCAN_MAX {
            let indices = self.group.indices.iter();
            indices
                .map(|&index| u64::from(self.load(index as usize)))
                .sum()
        } else {
            u64::from(self.pool.in_flight())
        }
    }

    /// The weight of all candidates.
    pub(super) fn weight_sum(&self) -> u64 {
        self.group.weight_sum()
    }
}
