//! What is measured: one row for each kind of trouble, and what Pointsman must reach in it.

use super::load::WORK;
use super::station::SLOTS;
use super::trouble::{ENDPOINTS, JOINS_AT, Trouble};

/// One kind of trouble under one load.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) trouble: Trouble,
    /// Arrivals as a share of what the endpoints can do.
    pub(super) load: f64,
    pub(super) bar: Bar,
}

/// What Pointsman as configured by nobody must reach.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bar {
    /// At most this multiple of the p99 of [`BASELINE`](super::peer::BASELINE) in the same round.
    Ratio(f64),
    /// Less than this share of requests fails.
    Failures(f64),
    /// The endpoint that joins gets its first request within so many seconds, and after it joined
    /// p99 is at most this multiple of what it was before.
    Joins { seconds: f64, ratio: f64 },
}

/// Every scenario. To add one, add its row.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "even",
        title: "all endpoints alike, 0.7 of capacity",
        trouble: Trouble::None,
        load: 0.7,
        bar: Bar::Ratio(1.03),
    },
    Scenario {
        name: "even_90",
        title: "all endpoints alike, 0.9 of capacity",
        trouble: Trouble::None,
        load: 0.9,
        bar: Bar::Ratio(1.03),
    },
    Scenario {
        name: "antagonist",
        title: "30 % of the endpoints 4 times slower for a second at a time",
        trouble: Trouble::Antagonist,
        load: 0.7,
        bar: Bar::Ratio(0.65),
    },
    Scenario {
        name: "one_slow",
        title: "one endpoint 10 times slower",
        trouble: Trouble::OneSlow,
        load: 0.7,
        bar: Bar::Ratio(0.60),
    },
    Scenario {
        name: "half_slow",
        title: "half of the endpoints 2 times slower",
        trouble: Trouble::HalfSlow,
        load: 0.7,
        bar: Bar::Ratio(0.92),
    },
    Scenario {
        name: "sinkhole",
        title: "one endpoint begins to answer 500 at once",
        trouble: Trouble::Fails,
        load: 0.7,
        bar: Bar::Failures(0.005),
    },
    Scenario {
        name: "refuse",
        title: "one endpoint ends and its port refuses",
        trouble: Trouble::Refuses,
        load: 0.7,
        bar: Bar::Failures(0.005),
    },
    Scenario {
        name: "cold",
        title: "an endpoint joins after 5 s, 5 times slower and warming over 3 s",
        trouble: Trouble::Joins,
        load: 0.7,
        // An endpoint that is down is probed every 10 s at least, and up after a second success.
        bar: Bar::Joins {
            seconds: 12.0,
            ratio: 1.10,
        },
    },
];

impl Scenario {
    pub(super) fn requests_per_second(&self) -> f64 {
        self.load * self.trouble.capacity() * SLOTS as f64 / WORK.as_secs_f64()
    }

    /// Seconds of the window in which there is anything to see.
    pub(super) fn seconds_min(&self) -> f64 {
        match self.bar {
            Bar::Joins { seconds, .. } => JOINS_AT + seconds + 13.0,
            Bar::Ratio(_) | Bar::Failures(_) => 0.0,
        }
    }

    /// What requests meet if each goes to an endpoint at random, as far as theory knows: the
    /// load of one endpoint.
    pub(super) fn load_of_each(&self) -> Option<f64> {
        (self.trouble.capacity() == ENDPOINTS as f64).then_some(self.load)
    }
}
