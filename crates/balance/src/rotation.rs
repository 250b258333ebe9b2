//! The endpoints of a pool in order of preference, as one worker last saw them.

#[cfg(test)]
mod tests;

use std::sync::atomic::Ordering;

use fastrand::Rng;

use crate::balancer::Why;
use crate::endpoint::NEVER;
use crate::load_state::LoadWord;
use crate::{AdminState, Availability, Endpoint, Pool, slow_start};

/// Endpoints in groups of equal standing. Rebuilt only when the pool's generation moves or a
/// moment is reached (a ramp goes on, a busy endpoint's report gets old), so that a pick need not
/// look at every endpoint.
#[derive(Debug, Default)]
pub(crate) struct Rotation {
    generation: u64,
    stale_at: u64,
    /// Counts rebuilds.
    build: u64,
    /// The most preferred first.
    groups: Vec<Group>,
    /// How many of `groups` are levels: primary before backup, own zone before others.
    levels: usize,
    /// By endpoint: see [`weight_now`].
    pub(crate) weights: Vec<u32>,
    /// True if any endpoint is up.
    pub(crate) has_up: bool,
    /// True if any endpoint is up or unknown.
    pub(crate) has_open: bool,
    /// True if any endpoint is down.
    pub(crate) has_down: bool,
    /// True if so few endpoints are up that health is ignored.
    pub(crate) is_panic: bool,
    /// Those that are up and on trial, or were; see [`Self::forget_trials`].
    pub(crate) trials: Vec<usize>,
}

/// Endpoints that a policy chooses among.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) standing: Standing,
    /// Indices into the pool's endpoints, ascending.
    pub(crate) indices: Vec<u32>,
    /// `shares[i]` is the sum of the weights of `indices[..=i]`, for draws by weight.
    pub(crate) shares: Vec<u64>,
    /// Where in `shares` to begin looking, for each of as many equal parts of their sum as there
    /// are endpoints.
    guide: Vec<u32>,
    /// By position: the weight without slow start, 1.0 being the mean of the group; and the part
    /// of it that slow start leaves.
    pub(crate) steady: Vec<(f32, f32)>,
    /// True if all of `steady` are `(1.0, 1.0)`.
    pub(crate) is_even: bool,
    /// Share of the requests that begin here or in a group before, of [`ALL`]. Levels only.
    begin_before: u32,
}

/// What the endpoints of a group have in common. In order of preference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// Up, and not busy.
    #[default]
    Open,
    /// Up and busy.
    Busy,
    /// Up, but said that it takes no more for a while.
    Full,
    /// Up, of weight 0.
    Weightless,
    /// Without a verdict.
    Unknown,
    /// Without a verdict, of weight 0.
    UnknownWeightless,
    /// Down.
    Down,
    /// Down, of weight 0.
    DownWeightless,
}

/// Weights are kept in parts of this, so that a tenth of weight 1 is not nothing.
pub(crate) const WEIGHT_ONE: u32 = 256;

/// The whole of `Group::begin_before`.
const ALL: u32 = 1 << 16;

/// A level keeps all of its requests while this share of its endpoints is up: a few are always
/// being restarted, and the others take their part. Source: the overprovisioning factor 1.4 of
/// Envoy's priority levels.
const LEVEL_SPARE: f64 = 1.4;

impl Rotation {
    /// Catches up with the pool, if anything changed.
    pub(crate) fn refresh(&mut self, pool: &Pool, now: u64) {
        if pool.generation() != self.generation || now >= self.stale_at {
            self.rebuild(pool, now);
        }
    }

    /// For the pool's first pick.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Groups in the order in which they come into question for one pick: the level where it
    /// begins, then all from the first.
    pub(crate) fn groups(&self, random: &mut Rng) -> impl Iterator<Item = &Group> + use<'_> {
        let begin = self.begin(random);
        let first = self.groups.get(begin).into_iter();
        let rest = self.groups.iter().enumerate();
        first.chain(
            rest.filter(move |(index, _)| *index != begin)
                .map(|(_, group)| group),
        )
    }

    /// Forgets the trials that are over. Their end is no news for the pool.
    pub(crate) fn forget_trials(&mut self, pool: &Pool) {
        self.trials
            .retain(|&index| pool.endpoints[index].load.is_on_trial());
    }

    /// The number of the rebuild that made the groups.
    pub(crate) fn build(&self) -> u64 {
        self.build
    }

    fn begin(&self, random: &mut Rng) -> usize {
        let levels = &self.groups[..self.levels];
        match levels.first() {
            Some(first) if first.begin_before < ALL => {
                let point = random.u32(..ALL);
                levels.partition_point(|level| level.begin_before <= point)
            }
            _ => 0,
        }
    }

    fn rebuild(&mut self, pool: &Pool, now: u64) {
        // Read before the endpoints: a change in between costs another rebuild, and is never
        // missed.
        self.generation = pool.generation();
        self.stale_at = NEVER;
        self.build += 1;
        self.weights.clear();
        self.trials.clear();
        let mut places: Vec<(Standing, u8, bool, usize)> = Vec::new();
        let mut up = 0;
        for (index, endpoint) in pool.endpoints.iter().enumerate() {
            let (weight, changes_at) = weight_now(endpoint, pool, now);
            self.weights.push(weight);
            self.stale_at = self.stale_at.min(changes_at);
            if endpoint.admin_state() != AdminState::Ready {
                continue;
            }
            let load = endpoint.load_state.word(now);
            if load != LoadWord::Normal {
                self.stale_at = self.stale_at.min(endpoint.load_state.until(now));
            }
            if endpoint.availability() == Availability::Up {
                up += 1;
                if endpoint.load.is_on_trial() {
                    self.trials.push(index);
                }
            }
            let standing = match (endpoint.availability(), weight) {
                (Availability::Up, 0) => Standing::Weightless,
                (Availability::Up, _) => match load {
                    LoadWord::Normal => Standing::Open,
                    LoadWord::Busy => Standing::Busy,
                    LoadWord::Full => Standing::Full,
                },
                (Availability::Unknown, 0) => Standing::UnknownWeightless,
                (Availability::Unknown, _) => Standing::Unknown,
                (Availability::Down, 0) => Standing::DownWeightless,
                (Availability::Down, _) => Standing::Down,
            };
            let is_far = endpoint.zone != pool.settings.zone && pool.settings.zone.is_some();
            places.push((standing, endpoint.tier, is_far, index));
        }
        // To fail closed is to ask for no guesses when nothing is up.
        self.is_panic = (up > 0 || !pool.settings.fail_closed)
            && up * 100 < places.len() * usize::from(pool.settings.panic_percent);
        if self.is_panic {
            for (standing, ..) in &mut places {
                *standing = match *standing {
                    Standing::Down | Standing::Unknown => Standing::Open,
                    Standing::DownWeightless | Standing::UnknownWeightless => Standing::Weightless,
                    other => other,
                };
            }
        }
        // The sort is stable, so indices stay ascending.
        places.sort_by_key(|&(standing, tier, is_far, _)| (standing, tier, is_far));
        self.has_up = places.iter().any(|place| place.0 < Standing::Unknown);
        self.has_open = places.iter().any(|place| place.0 < Standing::Down);
        self.has_down = places.iter().any(|place| place.0 >= Standing::Down);
        self.groups.clear();
        for level in places.chunk_by(|a, b| (a.0, a.1, a.2) == (b.0, b.1, b.2)) {
            let (standing, tier, is_far, _) = level[0];
            let mut group = Group {
                standing,
                ..Group::default()
            };
            for &(_, _, _, index) in level {
                group.push(index, self.weights[index].max(1));
            }
            group.settle(pool, &self.weights);
            if standing == Standing::Open {
                let of_level = |endpoint: &&Endpoint| {
                    let endpoint_is_far =
                        pool.settings.zone.is_some() && endpoint.zone != pool.settings.zone;
                    (endpoint.tier, endpoint_is_far) == (tier, is_far) && endpoint.weight > 0
                };
                let all = pool.endpoints.iter().filter(of_level).count().max(1);
                let open = group.indices.len() as f64 / all as f64;
                let share = ((open * LEVEL_SPARE).min(1.0) * f64::from(ALL)) as u32;
                let before = self.groups.last().map_or(0, |level| level.begin_before);
                group.begin_before = (before + share).min(ALL);
            }
            self.groups.push(group);
        }
        self.levels = self
            .groups
            .iter()
            .filter(|group| group.standing == Standing::Open)
            .count();
        // If there is not enough of all levels together, each bears its part of the want.
        let levels = &mut self.groups[..self.levels];
        let sum = levels.last().map_or(ALL, |level| level.begin_before);
        for level in levels {
            let scaled = u64::from(level.begin_before) * u64::from(ALL) / u64::from(sum);
            level.begin_before = scaled as u32;
        }
    }
}

/// The weight of an endpoint now, in parts of [`WEIGHT_ONE`], and when it will have changed.
pub(crate) fn weight_now(endpoint: &Endpoint, pool: &Pool, now: u64) -> (u32, u64) {
    let full = steady_weight(endpoint);
    let (Some(settings), true) = (&pool.settings.slow_start, full > 0) else {
        return (full, NEVER);
    };
    let since = endpoint.ramp_since.load(Ordering::Relaxed);
    match slow_start::factor(settings, since, now) {
        Some((factor, changes_at)) => (((f64::from(full) * factor) as u32).max(1), changes_at),
        None => (full, NEVER),
    }
}

/// The weight without slow start, in parts of [`WEIGHT_ONE`].
fn steady_weight(endpoint: &Endpoint) -> u32 {
    endpoint.weight * WEIGHT_ONE * endpoint.weight_percent.load(Ordering::Relaxed) / 100
}

impl Group {
    /// Works out `steady`, once all endpoints are in.
    fn settle(&mut self, pool: &Pool, weights: &[u32]) {
        let steady = |index: &u32| {
            let index = *index as usize;
            let steady = steady_weight(&pool.endpoints[index]).max(1);
            (steady as f32, weights[index].max(1) as f32)
        };
        let weights: Vec<(f32, f32)> = self.indices.iter().map(steady).collect();
        let sum: f32 = weights.iter().map(|(steady, _)| steady).sum();
        let mean = sum / weights.len() as f32;
        self.steady = weights
            .iter()
            .map(|(steady, now)| (steady / mean, now / steady))
            .collect();
        self.is_even = self.steady.iter().all(|steady| *steady == (1.0, 1.0));
        self.lay_guide();
    }

    /// Makes [`Self::position`] work, once all endpoints are in.
    pub(crate) fn lay_guide(&mut self) {
        let (count, sum) = (self.shares.len() as u64, self.weight_sum());
        let mut position = 0;
        for part in 0..count {
            while self.shares[position as usize] * count <= part * sum {
                position += 1;
            }
            self.guide.push(position);
        }
    }

    /// Where the share is that holds `point`, which is less than [`Self::weight_sum`]. O(1) for a
    /// random point: there are at most two shares in a part on average.
    ///
    /// Source: Chen, Asau, "On Generating Random Variates from an Empirical Distribution", AIIE
    /// Transactions 6(2), 1974.
    pub(crate) fn position(&self, point: u64) -> usize {
        let part = point * self.shares.len() as u64 / self.weight_sum();
        let mut position = self.guide[part as usize] as usize;
        while self.shares[position] <= point {
            position += 1;
        }
        position
    }

    /// The weight of all.
    pub(crate) fn weight_sum(&self) -> u64 {
        self.shares.last().copied().unwrap_or(0)
    }

    pub(crate) fn push(&mut self, index: usize, weight: u32) {
        let sum = self.weight_sum();
        let index = u32::try_from(index).expect("a pool has fewer than 2^32 endpoints");
        self.indices.push(index);
        self.shares.push(sum + u64::from(weight));
    }
}

impl Standing {
    /// Why an endpoint of this standing is picked.
    pub(crate) fn why(self) -> Why {
        match self {
            Self::Open | Self::Weightless => Why::Policy,
            Self::Busy | Self::Full => Why::Busy,
            Self::Unknown | Self::UnknownWeightless => Why::OnlyUnknown,
            Self::Down | Self::DownWeightless => Why::FailOpen,
        }
    }
}
