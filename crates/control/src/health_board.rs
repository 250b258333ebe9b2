//! What is known of every endpoint, and the only place that decides whether it is in rotation.
//!
//! Each endpoint of each pool has a [`Health`] of its own: ejections and their limits are a matter
//! of the pool. What is shared is the probe. Endpoints equal in the way to them and check form one
//! [`Target`], which is probed once and whose reports reach all of its members, so their active
//! state agrees by construction.
//!
//! What nobody reports is looked at once a second: success rates, how those fare that are in slow
//! start, and what endpoints say of their load.
//!
//! Without I/O: probes are run and evidence is received elsewhere (see `control`).

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use balance::{
    AdminState, Availability, Cause, Check, CheckKind, Evidence, Health, HealthState, LiveEvidence,
    LoadWord, Pool, Tally, Transition, may_eject, outliers,
};
use observe::{Event, Events, Registry};

use crate::prober::ProbeReport;
use crate::tallies::Tallies;
use crate::transport::{Transport, Way};

/// The health of all endpoints of all pools.
#[derive(Debug)]
pub(crate) struct HealthBoard {
    pub(crate) pools: Vec<WatchedPool>,
    targets: Vec<Target>,
    /// Not later than the first deadline of any endpoint.
    deadline: Option<Instant>,
    /// When to look again at what nobody reports.
    look_at: Instant,
    registry: Arc<Registry>,
    events: Events,
}

/// A pool and the health of its endpoints.
#[derive(Debug)]
pub(crate) struct WatchedPool {
    pub(crate) pool: Arc<Pool>,
    /// By endpoint index.
    pub(crate) endpoints: Vec<Watched>,
    /// Since the last judgement by success rate.
    judged: Tallies,
    /// Since the last look.
    looked: Tallies,
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
    /// By the number of the cause among [`Cause::EJECTIONS`].
    pub(crate) ejections: [u64; Cause::EJECTIONS.len()],
    /// When it came into rotation, or the last time out of it.
    moved_at: Instant,
    /// As last told.
    load: LoadWord,
    /// What is asked for, by the endpoint's agent.
    wanted: AdminState,
    /// When draining is over and maintenance begins.
    drain_until: Option<Instant>,
    /// How many it had left when its time to drain was over.
    pub(crate) sessions_cut: u64,
}

/// A transition, dated for people.
#[derive(Debug)]
pub(crate) struct PastTransition {
    pub(crate) time: SystemTime,
    pub(crate) transition: Transition,
}

/// What is probed: one endpoint, by the way to it, by one check.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) way: Way,
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
pub(crate) struct Place {
    pub(crate) pool: usize,
    pub(crate) endpoint: usize,
}

impl HealthBoard {
    /// Nothing is known yet; endpoints without active checks count as up from now on.
    pub(crate) fn new(
        pools: &[Arc<Pool>],
        transports: &[Transport],
        registry: Arc<Registry>,
        events: Events,
    ) -> Self {
        let (time, now) = (SystemTime::now(), Instant::now());
        let mut targets = Vec::new();
        let mut target_of = HashMap::new();
        let mut watch = |place: Place, pool: &Pool| {
            let check = &pool.settings.check;
            let (endpoint, transport) = (&pool.endpoints[place.endpoint], &transports[place.pool]);
            let target = (check.kind != CheckKind::Off).then(|| {
                let way = if check.kind.is_by_udp() {
                    Way::by_udp(endpoint, check.port, transport)
                } else {
                    Way::new(endpoint, check.port, transport)
                };
                let key = (way.clone(), check.clone());
                let target = *target_of.entry(key).or_insert_with(|| {
                    targets.push(Target::new(way, check.clone()));
                    targets.len() - 1
                });
                targets[target].members.push(place);
                target
            });
            let health = Health::new(&pool.settings);
            pool.set_availability(place.endpoint, health.availability());
            Watched {
                health,
                since: time,
                target,
                past: VecDeque::new(),
                ejections: [0; _],
                moved_at: now,
                load: LoadWord::Normal,
                wanted: AdminState::Ready,
                drain_until: None,
                sessions_cut: 0,
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
                judged: Tallies::new(index, pool.endpoints.len(), now),
                looked: Tallies::new(index, pool.endpoints.len(), now),
            })
            .collect();
        Self {
            pools,
            targets,
            deadline: None,
            look_at: now + LOOK_INTERVAL,
            registry,
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
            self.settle(place, transition, now);
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
            Evidence::LiveFailures { .. } | Evidence::TrialFailed { .. } => {
                self.eject(place, seen.evidence, now);
                None
            }
            Evidence::ProbeSucceeded
            | Evidence::ProbeFailed(_)
            | Evidence::ProbeLate
            | Evidence::AgentUp
            | Evidence::AgentDown
            | Evidence::LowSuccessRate { .. } => None,
        }
    }

    /// Takes what an endpoint's agent says of its health.
    pub(crate) fn agent_said(&mut self, place: Place, is_up: bool, now: Instant) {
        let evidence = if is_up {
            Evidence::AgentUp
        } else {
            Evidence::AgentDown
        };
        let transition = self.watched_mut(place).health.receive(evidence, now);
        self.settle(place, transition, now);
    }

    /// Takes what is wanted of an endpoint. To want the same again changes nothing: the clock of
    /// one that drains runs on.
    pub(crate) fn want(&mut self, place: Place, state: AdminState, now: Instant) {
        let pool = Arc::clone(&self.pools[place.pool].pool);
        let is_up = pool.endpoints[place.endpoint].availability() == Availability::Up;
        let watched = self.watched_mut(place);
        let before = std::mem::replace(&mut watched.wanted, state);
        if before == state {
            return;
        }
        let drain_until = (state == AdminState::Drain).then(|| now + pool.settings.drain);
        watched.drain_until = drain_until;
        self.deadline = self.deadline.into_iter().chain(drain_until).min();
        // Before it is ready, so that not one pick comes too soon.
        if state == AdminState::Ready && is_up && self.is_cold(place, false, now) {
            pool.begin_slow_start(place.endpoint, now);
        }
        pool.set_admin_state(place.endpoint, state);
        if is_up && (before == AdminState::Ready || state == AdminState::Ready) {
            self.watched_mut(place).moved_at = now;
        }
    }

    /// When to call [`Self::expire`], if nothing happens before.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline.into_iter().fold(self.look_at, Instant::min)
    }

    /// Acts on every deadline up to `now`.
    pub(crate) fn expire(&mut self, now: Instant) {
        if self.look_at <= now {
            self.look_at = now + LOOK_INTERVAL;
            for pool in 0..self.pools.len() {
                self.judge_success_rates(pool, now);
                self.hold_slow_starts(pool, now);
                self.tell_loads(pool, now);
            }
        }
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        for pool in 0..self.pools.len() {
            for endpoint in 0..self.pools[pool].endpoints.len() {
                let place = Place { pool, endpoint };
                while let Some(transition) = self.watched_mut(place).health.expire(now) {
                    self.settle(place, Some(transition), now);
                }
                if self.watched_mut(place).drain_left(now) == Some(Duration::ZERO) {
                    self.end_drain(place, now);
                }
            }
        }
        let endpoints = self.pools.iter().flat_map(|pool| &pool.endpoints);
        self.deadline = endpoints
            .flat_map(|watched| [watched.health.deadline(), watched.drain_until])
            .flatten()
            .min();
    }

    /// Its time is over: those of its sessions that are left move.
    fn end_drain(&mut self, place: Place, now: Instant) {
        let pool = Arc::clone(&self.pools[place.pool].pool);
        pool.set_admin_state(place.endpoint, AdminState::Maintenance);
        let counts = pool.session_counts(now);
        let sessions = counts.map_or(0, |counts| counts[place.endpoint] as u64);
        let watched = self.watched_mut(place);
        watched.drain_until = None;
        watched.sessions_cut += sessions;
        self.events.emit(&Event::EndpointDrained {
            pool: pool.settings.name.to_string(),
            endpoint: pool.endpoints[place.endpoint].name.to_string(),
            sessions,
        });
    }

    /// Ejects those that fail much more often than their peers do.
    fn judge_success_rates(&mut self, index: usize, now: Instant) {
        let pool = &mut self.pools[index];
        let Some(settings) = pool.pool.settings.outlier.success_rate else {
            return;
        };
        if let Some((tallies, _)) = pool.judged.after(settings.interval, &self.registry, now) {
            for (endpoint, evidence) in outliers(&settings, &tallies) {
                let place = Place {
                    pool: index,
                    endpoint,
                };
                self.eject(place, evidence, now);
            }
        }
    }

    /// Keeps those in slow start where they are while they fail more often than their peers: one
    /// that warms up slowly, or is not right yet, gets no more for the time that has passed.
    fn hold_slow_starts(&mut self, index: usize, now: Instant) {
        let WatchedPool {
            pool,
            endpoints,
            looked,
            ..
        } = &mut self.pools[index];
        if pool.settings.slow_start.is_none() {
            return;
        }
        let Some((tallies, time)) = looked.after(Duration::ZERO, &self.registry, now) else {
            return;
        };
        let all = tallies.iter().copied().fold(Tally::default(), Tally::and);
        for (endpoint, watched) in endpoints.iter_mut().enumerate() {
            let rates = (
                tallies[endpoint].success_rate(),
                all.since(tallies[endpoint]).success_rate(),
            );
            let fails_more = matches!(rates, (Some(own), Some(peers)) if own < peers - HOLD_MARGIN);
            if fails_more && pool.slow_start(endpoint, now).is_some() {
                pool.hold_slow_start(endpoint, time);
                watched.health.prolong_recovering(time);
            }
        }
    }

    /// Tells what endpoints say of their load, where that has changed.
    fn tell_loads(&mut self, index: usize, now: Instant) {
        let WatchedPool {
            pool, endpoints, ..
        } = &mut self.pools[index];
        for (endpoint, watched) in endpoints.iter_mut().enumerate() {
            let load = pool.load_word(endpoint, now);
            if load != watched.load {
                self.events.emit(&Event::EndpointLoad {
                    pool: pool.settings.name.to_string(),
                    endpoint: pool.endpoints[endpoint].name.to_string(),
                    from: watched.load.as_str(),
                    to: load.as_str(),
                    utilization: pool.utilization(endpoint, now),
                });
                watched.load = load;
            }
        }
    }

    /// A refusal is about the address, so it concerns whoever shares the target.
    fn refused(&mut self, place: Place, now: Instant) -> Option<usize> {
        let target = self.watched_mut(place).target?;
        let mut is_open = false;
        for place in self.targets[target].members.clone() {
            let health = &mut self.watched_mut(place).health;
            let transition = health.receive(Evidence::LiveRefused, now);
            is_open |= health.state() != HealthState::Down;
            self.settle(place, transition, now);
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
            if let Some(transition) = &transition {
                for (count, cause) in watched.ejections.iter_mut().zip(Cause::EJECTIONS) {
                    *count += u64::from(cause == transition.cause);
                }
            }
            self.settle(place, transition, now);
        }
    }

    /// Publishes what came of an endpoint's health.
    fn settle(&mut self, place: Place, transition: Option<Transition>, now: Instant) {
        let health = &self.watched_mut(place).health;
        let (availability, deadline) = (health.availability(), health.deadline());
        self.deadline = self.deadline.into_iter().chain(deadline).min();
        if availability != self.pools[place.pool].pool.endpoints[place.endpoint].availability() {
            let ended = transition.as_ref().map(|transition| transition.cause);
            self.publish(place, availability, ended, now);
        }
        let pool = &mut self.pools[place.pool];
        let watched = &mut pool.endpoints[place.endpoint];
        let endpoint = &pool.pool.endpoints[place.endpoint];
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

    /// Takes the endpoint into rotation or out of it.
    fn publish(
        &mut self,
        place: Place,
        availability: Availability,
        cause: Option<Cause>,
        now: Instant,
    ) {
        let pool = &self.pools[place.pool].pool;
        let ejection_is_over =
            matches!(cause, Some(Cause::EjectionOver | Cause::ProbeEndedEjection));
        // Both before the verdict, so that not one pick comes too soon.
        if ejection_is_over {
            pool.endpoints[place.endpoint].load.begin_trial();
        }
        if availability == Availability::Up && self.is_cold(place, ejection_is_over, now) {
            pool.begin_slow_start(place.endpoint, now);
        }
        pool.set_availability(place.endpoint, availability);
        self.watched_mut(place).moved_at = now;
    }

    /// True if the endpoint, which comes into rotation now, should start slowly: another is warm,
    /// which is to say in rotation for longer than a slow start takes. So nobody starts slowly
    /// with the process or after an outage of all: there would be nobody to take the rest.
    ///
    /// During a short ejection an endpoint has not had the time to get cold.
    fn is_cold(&self, place: Place, ejection_is_over: bool, now: Instant) -> bool {
        let WatchedPool {
            pool, endpoints, ..
        } = &self.pools[place.pool];
        let Some(settings) = &pool.settings.slow_start else {
            return false;
        };
        let time = |index: usize| now.saturating_duration_since(endpoints[index].moved_at);
        let is_warm = |index: usize| {
            let endpoint = &pool.endpoints[index];
            endpoint.availability() == Availability::Up
                && endpoint.admin_state() == AdminState::Ready
                && time(index) >= settings.window
                && pool.slow_start(index, now).is_none()
        };
        let was_out_shortly = ejection_is_over && time(place.endpoint) <= settings.window / 10;
        // The endpoint itself is not up yet, or not ready.
        !was_out_shortly && (0..endpoints.len()).any(is_warm)
    }

    fn watched_mut(&mut self, place: Place) -> &mut Watched {
        &mut self.pools[place.pool].endpoints[place.endpoint]
    }
}

impl Watched {
    /// How long it may keep its sessions; `None` if it does not drain.
    pub(crate) fn drain_left(&self, now: Instant) -> Option<Duration> {
        let until = self.drain_until?;
        Some(until.saturating_duration_since(now))
    }
}

impl Target {
    fn new(way: Way, check: Check) -> Self {
        Self {
            way,
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

/// From look to look at what nobody reports. Also keeps an endpoint whose load is at the border
/// between two words from filling the log.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// In slow start an endpoint may have a success rate lower than its peers by this and go on: equal
/// ones differ by chance.
const HOLD_MARGIN: f64 = 0.01;

/// Transitions kept of each endpoint.
const PAST_MAX: usize = 32;
