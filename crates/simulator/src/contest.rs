//! Who runs against whom, in what setup.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use balance::{POLICIES, PolicyKind};

use crate::machine::Discipline;
use crate::opponent::{OPPONENTS, Opponent};
use crate::outcome::{Outcome, Summary};
use crate::run::run;
use crate::scenario::{Bar, Scenario};

/// A policy of ours or an opponent.
#[derive(Clone, Copy)]
pub(crate) enum Contestant {
    /// A row of [`POLICIES`].
    Row(&'static PolicyKind),
    /// A row of [`OPPONENTS`].
    Opponent(&'static Opponent),
}

/// How many programs of how many workers share the endpoints.
#[derive(Debug)]
pub(crate) struct Setup {
    /// As written on the command line.
    pub(crate) name: &'static str,
    /// For the docs.
    pub(crate) summary: &'static str,
    /// Programs, each of which knows its own requests only.
    pub(crate) balancers: usize,
    /// Workers of each. Which one gets a request is chance.
    pub(crate) workers: usize,
    /// Endpoints tell with each answer how many requests they have.
    pub(crate) has_reports: bool,
    /// The bars of the scenarios hold here. Otherwise it is there to be looked at.
    pub(crate) has_bar: bool,
}

const ONE: Setup = Setup {
    name: "1x1",
    summary: "one balancer of one worker",
    balancers: 1,
    workers: 1,
    has_reports: false,
    has_bar: true,
};

/// Every setup.
pub(crate) const SETUPS: &[Setup] = &[
    ONE,
    Setup {
        name: "1x4",
        summary: "one balancer of four workers",
        workers: 4,
        ..ONE
    },
    Setup {
        name: "1x16",
        summary: "one balancer of sixteen workers",
        workers: 16,
        has_bar: false,
        ..ONE
    },
    Setup {
        name: "2x1",
        summary: "two balancers of one worker each",
        balancers: 2,
        has_bar: false,
        ..ONE
    },
    Setup {
        name: "3x1",
        summary: "three balancers of one worker each",
        balancers: 3,
        ..ONE
    },
    Setup {
        name: "3x1+reports",
        summary: "three balancers, and endpoints report their requests in flight",
        balancers: 3,
        has_reports: true,
        has_bar: false,
        ..ONE
    },
    Setup {
        name: "4x1",
        summary: "four balancers of one worker each",
        balancers: 4,
        has_bar: false,
        ..ONE
    },
];

/// The policy that the bars are for.
pub(crate) const CANDIDATE: &str = "adaptive";

/// Policies that are not held against others unless asked for by name, because they do not mean
/// to spread load by how endpoints do: `first` fills one after the other, the others go by keys
/// or by reports, which no request and no endpoint here has.
const NOT_COMPARED: &[&str] = &["first", "maglev", "rendezvous", "utilization"];

impl Contestant {
    /// All there are.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let rows = POLICIES.iter().map(Self::Row);
        rows.chain(OPPONENTS.iter().map(Self::Opponent))
    }

    /// As written on the command line.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Row(kind) => kind.name,
            Self::Opponent(opponent) => opponent.name,
        }
    }

    /// For the docs.
    pub(crate) fn summary(&self) -> &'static str {
        match self {
            Self::Row(kind) => kind.summary,
            Self::Opponent(opponent) => opponent.summary,
        }
    }

    /// True if it runs without being asked for.
    pub(crate) fn is_compared(&self) -> bool {
        !NOT_COMPARED.contains(&self.name())
    }

    /// True if bars are multiples of what the best of these reaches.
    pub(crate) fn is_judged(&self) -> bool {
        matches!(self, Self::Opponent(opponent) if opponent.is_judged)
    }
}

/// What to run.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) scenarios: Vec<&'static Scenario>,
    pub(crate) setups: Vec<&'static Setup>,
    pub(crate) contestants: Vec<Contestant>,
    /// Of the endpoints that are well.
    pub(crate) discipline: Discipline,
    /// In each run.
    pub(crate) requests: usize,
    /// Runs of each.
    pub(crate) seeds: u64,
    /// The docs are written anew.
    pub(crate) is_for_docs: bool,
}

/// One scenario in one setup, and what came of each contestant.
pub(crate) struct Contest {
    pub(crate) scenario: &'static Scenario,
    pub(crate) setup: &'static Setup,
    pub(crate) results: Vec<(Contestant, Summary)>,
}

/// Runs all of a plan on all cores.
pub(crate) fn hold(plan: &Plan) -> Vec<Contest> {
    let mut contests: Vec<Contest> = Vec::new();
    for &scenario in &plan.scenarios {
        for &setup in &plan.setups {
            contests.push(Contest {
                scenario,
                setup,
                results: Vec::new(),
            });
        }
    }
    let jobs: Vec<(usize, Contestant)> = (0..contests.len())
        .flat_map(|contest| plan.contestants.iter().map(move |&who| (contest, who)))
        .collect();
    let next_job = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let number = next_job.fetch_add(1, Ordering::Relaxed);
            let Some((contest, contestant)) = jobs.get(number) else {
                return done;
            };
            let Contest {
                scenario, setup, ..
            } = &contests[*contest];
            done.push((number, summary(plan, scenario, setup, contestant)));
        }
    };
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let mut done: Vec<(usize, Summary)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("a run panicked"))
            .collect()
    });
    done.sort_unstable_by_key(|&(number, _)| number);
    for (number, summary) in done {
        let (contest, contestant) = jobs[number];
        contests[contest].results.push((contestant, summary));
    }
    contests
}

/// What comes of one contestant with all seeds together.
fn summary(plan: &Plan, scenario: &Scenario, setup: &Setup, contestant: &Contestant) -> Summary {
    let mut outcome = Outcome::default();
    for seed in 0..plan.seeds {
        let (discipline, requests) = (plan.discipline, plan.requests);
        outcome.merge(&run(
            scenario, setup, contestant, discipline, requests, seed,
        ));
    }
    outcome.summary()
}

impl Contest {
    /// What came of a contestant, if it ran.
    pub(crate) fn result(&self, name: &str) -> Option<&Summary> {
        let (_, result) = self.results.iter().find(|(who, _)| who.name() == name)?;
        Some(result)
    }

    /// p99 of a contestant over the best p99 of those that are judged, if both ran.
    pub(crate) fn ratio(&self, name: &str) -> Option<f64> {
        let judged = self.results.iter().filter(|(who, _)| who.is_judged());
        let best = judged.map(|(_, result)| result.p99).reduce(f64::min)?;
        Some(self.result(name)?.p99 / best)
    }

    /// What a contestant reached of what the bar is about, in words. `None` if it did not run,
    /// or none to hold it against.
    pub(crate) fn reached(&self, name: &str) -> Option<String> {
        Some(match self.scenario.bar {
            Bar::Ratio(_) => format!("{:.3}", self.ratio(name)?),
            Bar::Failures(_) => format!("{:.2} %", self.result(name)?.failed * 100.0),
        })
    }

    /// True if [`CANDIDATE`] reached the bar, and gave up no request without need. `None` as for
    /// [`Self::reached`].
    pub(crate) fn is_passed(&self) -> Option<bool> {
        let result = self.result(CANDIDATE)?;
        let in_time = result.deadlines == 0 || self.scenario.is_overloaded();
        Some(match self.scenario.bar {
            Bar::Ratio(bar) => self.ratio(CANDIDATE)? <= bar && in_time,
            Bar::Failures(bar) => result.failed <= bar && in_time,
        })
    }
}
