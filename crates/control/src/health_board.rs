//! What is known of every endpoint, and the only place that decides whether it is in rotation.
//!
//! Each endpoint of each pool has a [`Health`] of its own: ejections and their limits are a matter
//! of the pool. What is shared is the probe. Endpoints equal in address and check form one
//! [`Target`], which is probed once and whose reports reach all of its members, so their active
//! state agrees by construction.
//!
//! Without I/O: probes are run and evidence is received elsewhere (see `control`).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use balance::{
    Address, Availability, Check, CheckKind, Evidence, Health, HealthState, LiveEvidence, Pool,
    Transition, may_eject,
};
use observe::{Event, Events};

use crate::prober::ProbeReport;

/// The health of all endpoints of all pools.
#[derive(Debug)]
pub(crate) struct HealthBoard {
    pub(crate) pools: Vec<WatchedPool>,
    targets: Vec<Target>,
    /// Not later than the first deadline of any health.
    deadline: Option<Instant>,
    events: Events,
}

/// A pool and the health of its endpoints.
#[derive(Debug)]
pub(crate) struct WatchedPool {
    pub(crate) pool: Arc<Pool>,
    /// By endpoint index.
    pub(crate) endpoints: Vec<Watched>,
}

/// An endpoint's health and past.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) health: Health,
    /// When the present state began.
    pub(crate) since: SystemTime,
    /// `None` without active checks.
    target: Option<usize>,
    /// The latest transitions, oldest first.
    pub(crate) past: VecDeque<PastTransition>,
    pub(crate) ejections: u64,
}

/// A transition, dated for people.
#[derive(Debug)]
pub(crate) struct PastTransition {
    pub(crate) time: SystemTime,
    pub(crate) transition: Transition,
}

/// What is probed: one address by one check.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) address: Address,
    pub(crate) check: Check,
    members: Vec<Place>,
    pub(crate) last: Option<LastProbe>,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) discarded: u64,
}

/// The latest probe of a target.
#[derive(Debug)]
pub(crate) struct LastProbe {
    pub(crate) time: SystemTime,
    pub(crate) latency: Duration,
    pub(crate) outcome: Evidence,
}

/// An endpoint by its indices.
#[derive(Debug, Clone, Copy)]
struct Place {
    pool: usize,
    endpoint: usize,
}

impl HealthBoard {
    /// Nothing is known yet; endpoints without active checks count as up from now on.
    pub(crate) fn new(pools: &[Arc<Pool>], events: Events) -> Self {
        let now = SystemTime::now();
        let mut targets = Vec::new();
        let mut target_of = HashMap::new();
        let mut watch = |place: Place, pool: &Pool| {
            let check = &pool.settings.check;
            let address = &pool.endpoints[place.endpoint].address;
            let target = (check.kind != CheckKind::Off).then(|| {
                let key = (address.clone(), check.clone());
                let target = *target_of.entry(key).or_insert_with(|| {
                    targets.push(Target::new(address.clone(), check.clone()));
                    targets.len() - 1
                });
                targets[target].members.push(place);
                target
            });
            let health = Health::new(&pool.settings);
            pool.set_availability(place.endpoint, health.availability());
            Watched {
                health,
                since: now,
                target,
                past: VecDeque::new(),
                ejections: 0,
            }
        };
        let pools = pools
            .iter()
            .enumerate()
            .map(|(index, pool)| WatchedPool {
                pool: Arc::clone(pool),
                endpoints: (0..pool.endpoints.len())
                    .map(|endpoint| {
                        watch(
                            Place {
                                pool: index,
                                endpoint,
                            },
                            pool,
                        )
                    })
                    .collect(),
            })
            .collect();
        Self {
            pools,
            targets,
            deadline: None,
            events,
        }
    }

    /// All that is to be probed. An index names a target from now on.
    pub(crate) fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// What is probed for an endpoint; `None` without active checks.
    pub(crate) fn target_of(&self, watched: &Watched) -> Option<&Target> {
        watched.target.map(|target| &self.targets[target])
    }

    /// Takes the report of a probe. Returns how long after its begin the next one should begin.
    pub(crate) fn probed(&mut self, target: usize, report: &ProbeReport, now: Instant) -> Duration {
        self.targets[target].note(report);
        let mut waits = Vec::new();
        for place in self.targets[target].members.clone() {
            let health = &mut self.watched_mut(place).health;
            let transition = health.receive(report.evidence, now);
            waits.extend(health.next_probe_in());
            self.settle(place, transition);
        }
        // The most curious of the members decides.
        waits
            .into_iter()
            .min()
            .unwrap_or(self.targets[target].check.interval)
    }

    /// Takes what a worker saw. Returns the target to probe at once, if it should be.
    pub(crate) fn live(&mut self, seen: LiveEvidence, now: Instant) -> Option<usize> {
        let place = Place {
            pool: seen.pool as usize,
            endpoint: seen.endpoint as usize,
        };
        match seen.evidence {
            Evidence::LiveRefused => self.refused(place, now),
            Evidence::LiveFailures { .. } => {
                self.eject(place, seen.evidence, now);
                None
            }
            Evidence::ProbeSucceeded | Evidence::ProbeFailed(_) | Evidence::ProbeLate => None,
        }
    }

    /// When to call [`Self::expire`], if nothing happens before. `None`: never.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Acts on every deadline up to `now`.
    pub(crate) fn expire(&mut self, now: Instant) {
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        for pool in 0..self.pools.len() {
            for endpoint in 0..self.pools[pool].endpoints.len() {
                let place = Place { pool, endpoint };
                while let Some(transition) = self.watched_mut(place).health.expire(now) {
                    self.settle(place, Some(transition));
                }
            }
        }
        let endpoints = self.pools.iter().flat_map(|pool| &pool.endpoints);
        self.deadline = endpoints
            .filter_map(|watched| watched.health.deadline())
            .min();
    }

    /// A refusal is about the address, so it concerns whoever shares the target.
    fn refused(&mut self, place: Place, now: Instant) -> Option<usize> {
        let target = self.watched_mut(place).target?;
        let mut is_open = false;
        for place in self.targets[target].members.clone() {
            let health = &mut self.watched_mut(place).health;
            let transition = health.receive(Evidence::LiveRefused, now);
            is_open |= health.state() != HealthState::Down;
            self.settle(place, transition);
        }
        // What is down already is probed at its own pace, however many requests try it.
        is_open.then_some(target)
    }

    fn eject(&mut self, place: Place, evidence: Evidence, now: Instant) {
        let pool = &self.pools[place.pool];
        let total = pool.endpoints.len();
        let ejected = pool
            .endpoints
            .iter()
            .filter(|watched| watched.health.is_ejected())
            .count();
        let is_up = |watched: &&Watched| watched.health.availability() == Availability::Up;
        let live = pool.endpoints.iter().filter(is_up).count();
        let percent_max = pool.pool.settings.outlier.ejected_percent_max;
        if may_eject(ejected, live, total, percent_max) {
            let watched = self.watched_mut(place);
            let transition = watched.health.eject(evidence, now);
            watched.ejections += u64::from(transition.is_some());
            self.settle(place, transition);
        }
    }

    /// Publishes what came of an endpoint's health.
    fn settle(&mut self, place: Place, transition: Option<Transition>) {
        let pool = &mut self.pools[place.pool];
        let watched = &mut pool.endpoints[place.endpoint];
        let endpoint = &pool.pool.endpoints[place.endpoint];
        self.deadline = self
            .deadline
            .into_iter()
            .chain(watched.health.deadline())
            .min();
        let availability = watched.health.availability();
        if availability != endpoint.availability() {
            pool.pool.set_availability(place.endpoint, availability);
        }
        let Some(transition) = transition else {
            return;
        };
        self.events.emit(&Event::Endpoint {
            pool: pool.pool.settings.name.to_string(),
            endpoint: endpoint.name.to_string(),
            from: transition.from,
            to: transition.to,
            cause: transition.cause.as_str(),
            evidence: transition.evidence.map(|evidence| evidence.to_string()),
        });
        watched.since = SystemTime::now();
        if watched.past.len() == PAST_MAX {
            watched.past.pop_front();
        }
        watched.past.push_back(PastTransition {
            time: watched.since,
            transition,
        });
    }

    fn watched_mut(&mut self, place: Place) -> &mut Watched {
        &mut self.pools[place.pool].endpoints[place.endpoint]
    }
}

impl Target {
    fn new(address: Address, check: Check) -> Self {
        Self {
            address,
            check,
            members: Vec::new(),
            last: None,
            succeeded: 0,
            failed: 0,
            discarded: 0,
        }
    }

    fn note(&mut self, report: &ProbeReport) {
        match report.evidence {
            Evidence::ProbeSucceeded => self.succeeded += 1,
            Evidence::ProbeFailed(_) => self.failed += 1,
            _ => self.discarded += 1,
        }
        self.last = Some(LastProbe {
            time: SystemTime::now(),
            latency: report.latency,
            outcome: report.evidence,
        });
    }
}

/// Transitions kept of each endpoint.
const PAST_MAX: usize = 32;
