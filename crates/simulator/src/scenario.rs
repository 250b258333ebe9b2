//! What happens to the endpoints, and what is asked of `adaptive` then: the table of scenarios.

use fastrand::Rng;

use crate::machine::Discipline;

/// A row of [`SCENARIOS`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    /// As written on the command line.
    pub(crate) name: &'static str,
    /// For the docs.
    pub(crate) summary: &'static str,
    /// How many endpoints.
    pub(crate) endpoints: usize,
    /// What kind of endpoints.
    pub(crate) fate: Fate,
    /// How much comes.
    pub(crate) arrivals: Arrivals,
    /// How much work it is.
    pub(crate) work: Work,
    /// What `adaptive` must reach.
    pub(crate) bar: Bar,
}

/// What the endpoints are and become.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fate {
    /// All alike.
    Even,
    /// The first `count` are `times` slower than the others.
    Slow { count: usize, times: f64 },
    /// Every second another 30 % of them are drawn, and are `times` slower for that second.
    Antagonist { times: f64 },
    /// The first answers an error in 1 ms, always.
    Sinkhole,
    /// The last is away for 5 s every 20 s. It comes back `times` slower and is warm after
    /// `warm_up` ns; it is given slow start.
    Cold { times: f64, warm_up: u64 },
    /// The last is away for 10 s every 20 s.
    Removed,
}

/// How many requests come, as a Poisson process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Arrivals {
    /// This part of what the endpoints can do, slow ones counted as slow.
    OfCapacity(f64),
    /// Requests per second.
    PerSecond(f64),
}

/// The distribution of the work of a request. Its mean is [`WORK_MEAN`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Exponential.
    Exponential,
    /// Pareto of shape 1.5, cut off at a thousand times its least value: a hundredth of the
    /// requests is a quarter of the work.
    HeavyTailed,
}

/// What is asked of `adaptive`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bar {
    /// Its p99 is at most this multiple of the best of the judged opponents.
    Ratio(f64),
    /// At most this share of requests fails.
    Failures(f64),
}

/// Mean work of a request, in ns.
pub(crate) const WORK_MEAN: f64 = 10e6;

/// Requests that an endpoint serves at once.
pub(crate) const SLOTS: usize = 4;

/// In ns.
pub(crate) const SECOND: u64 = 1_000_000_000;

/// Part of the endpoints that an antagonist hits.
pub(crate) const ANTAGONIST_SHARE: f64 = 0.3;

/// A client waits so long, in ns.
pub(crate) const DEADLINE: u64 = 5 * SECOND;

const EVEN: Scenario = Scenario {
    name: "",
    summary: "",
    endpoints: 8,
    fate: Fate::Even,
    arrivals: Arrivals::OfCapacity(0.7),
    work: Work::Exponential,
    bar: Bar::Ratio(1.03),
};

/// Every scenario. To add one: add its row.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "even-0.5",
        summary: "all endpoints alike, load 0.5",
        arrivals: Arrivals::OfCapacity(0.5),
        ..EVEN
    },
    Scenario {
        name: "even-0.7",
        summary: "all alike, load 0.7",
        ..EVEN
    },
    Scenario {
        name: "even-0.9",
        summary: "all alike, load 0.9",
        arrivals: Arrivals::OfCapacity(0.9),
        ..EVEN
    },
    Scenario {
        name: "even-1.03",
        summary: "all alike, load 1.03",
        arrivals: Arrivals::OfCapacity(1.03),
        ..EVEN
    },
    Scenario {
        name: "even-1.2",
        summary: "all alike, load 1.2",
        arrivals: Arrivals::OfCapacity(1.2),
        ..EVEN
    },
    Scenario {
        name: "heavy-tailed",
        summary: "all alike, the work of a request heavy-tailed",
        work: Work::HeavyTailed,
        ..EVEN
    },
    Scenario {
        name: "half-slow",
        summary: "half of them 2× slower",
        fate: Fate::Slow {
            count: 4,
            times: 2.0,
        },
        bar: Bar::Ratio(0.70),
        ..EVEN
    },
    Scenario {
        name: "one-slow",
        summary: "one of ten 10× slower",
        endpoints: 10,
        fate: Fate::Slow {
            count: 1,
            times: 10.0,
        },
        bar: Bar::Ratio(0.70),
        ..EVEN
    },
    Scenario {
        name: "antagonist",
        summary: "30 % of them 4× slower, others every second",
        fate: Fate::Antagonist { times: 4.0 },
        bar: Bar::Ratio(0.70),
        ..EVEN
    },
    Scenario {
        name: "sinkhole",
        summary: "one of them answers an error in 1 ms",
        fate: Fate::Sinkhole,
        bar: Bar::Failures(0.005),
        ..EVEN
    },
    Scenario {
        name: "cold",
        summary: "one is away for 5 s of 20, comes back 5× slower and is warm after 3 s",
        fate: Fate::Cold {
            times: 5.0,
            warm_up: 3 * SECOND,
        },
        ..EVEN
    },
    Scenario {
        name: "removed",
        summary: "one is away for 10 s of 20",
        fate: Fate::Removed,
        ..EVEN
    },
    Scenario {
        name: "trickle",
        summary: "one of ten 10× slower, one request a second",
        endpoints: 10,
        fate: Fate::Slow {
            count: 1,
            times: 10.0,
        },
        arrivals: Arrivals::PerSecond(1.0),
        ..EVEN
    },
];

impl Scenario {
    /// Mean time between two requests, in ns.
    pub(crate) fn gap_mean(&self) -> f64 {
        match self.arrivals {
            Arrivals::OfCapacity(part) => WORK_MEAN / (part * self.capacity() * SLOTS as f64),
            Arrivals::PerSecond(rate) => SECOND as f64 / rate,
        }
    }

    /// True if there is more to do than can be done: then requests are given up, whoever chooses.
    pub(crate) fn is_overloaded(&self) -> bool {
        matches!(self.arrivals, Arrivals::OfCapacity(part) if part >= 1.0)
    }

    /// What the endpoints can do together, in endpoints of full speed; the mean over time.
    fn capacity(&self) -> f64 {
        let all = self.endpoints as f64;
        match self.fate {
            Fate::Even | Fate::Cold { .. } | Fate::Removed => all,
            Fate::Slow { count, times } => all - count as f64 * (1.0 - 1.0 / times),
            Fate::Antagonist { times } => all * (1.0 - ANTAGONIST_SHARE * (1.0 - 1.0 / times)),
            Fate::Sinkhole => all - 1.0,
        }
    }

    /// The speed of an endpoint at the start.
    pub(crate) fn speed(&self, index: usize) -> f64 {
        match self.fate {
            Fate::Slow { count, times } if index < count => 1.0 / times,
            _ => 1.0,
        }
    }

    /// How an endpoint serves, if the well ones serve like `well`.
    pub(crate) fn discipline(&self, index: usize, well: Discipline) -> Discipline {
        match self.fate {
            Fate::Sinkhole if index == 0 => Discipline::FailsAfter(1_000_000),
            _ => well,
        }
    }
}

impl Work {
    /// The work of one request, in ns.
    pub(crate) fn draw(self, random: &mut Rng) -> f64 {
        match self {
            Self::Exponential => exponential(WORK_MEAN, random),
            Self::HeavyTailed => {
                // Inverse of the distribution function F(x) = (1 - x^-a) / (1 - 1000^-a), x in
                // units of the least value, scaled to the mean of that.
                const SHAPE: f64 = 1.5;
                let cut = 1000_f64.powf(-SHAPE);
                let mean = SHAPE / (SHAPE - 1.0) * (1.0 - 1000_f64.powf(1.0 - SHAPE)) / (1.0 - cut);
                let multiple = (1.0 - random.f64() * (1.0 - cut)).powf(-1.0 / SHAPE);
                multiple * WORK_MEAN / mean
            }
        }
    }
}

/// A time between two events of a Poisson process, or work that is as forgetful.
pub(crate) fn exponential(mean: f64, random: &mut Rng) -> f64 {
    -(1.0 - random.f64()).ln() * mean
}
