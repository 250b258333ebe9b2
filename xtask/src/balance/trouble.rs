//! What is wrong with which endpoint, and when: a function of time and a seed, so that every
//! load balancer meets the same.

use fastrand::Rng;
use serde::{Deserialize, Serialize};

/// What is wrong in a scenario. It begins with the measured window, or it was always so.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) enum Trouble {
    /// Nothing.
    None,
    /// 30 % of the endpoints are 4 times slower for a second; which ones is drawn each second.
    Antagonist,
    /// One endpoint is 10 times slower.
    OneSlow,
    /// Every second endpoint is 2 times slower.
    HalfSlow,
    /// From the beginning of the window one endpoint answers 500 at once.
    Fails,
    /// At the beginning of the window one endpoint ends, and its port refuses.
    Refuses,
    /// One endpoint refuses until [`JOINS_AT`], and is 5 times slower then, warming over 3 s.
    Joins,
}

/// How an endpoint is at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Condition {
    pub(super) conduct: Conduct,
    /// Work takes this many times as long.
    pub(super) slowness: f64,
}

/// What an endpoint does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conduct {
    /// Queues it and works on it.
    Serves,
    /// Answers 500 at once.
    Fails,
    /// Takes no connection, and has none.
    Refuses,
}

impl Trouble {
    /// How `endpoint` is at `at`, in seconds from the beginning of the window.
    pub(super) fn condition(self, endpoint: usize, at: f64, seed: u64) -> Condition {
        let is_the_one = endpoint == THE_ONE;
        let slowness = match self {
            Self::Antagonist if is_hit(endpoint, at.floor() as i64, seed) => ANTAGONIST_SLOWNESS,
            Self::OneSlow if is_the_one => ONE_SLOWNESS,
            Self::HalfSlow if endpoint.is_multiple_of(2) => HALF_SLOWNESS,
            Self::Joins if is_the_one => {
                let warm = ((at - JOINS_AT) / WARMING_SECONDS).clamp(0.0, 1.0);
                COLD_SLOWNESS + (1.0 - COLD_SLOWNESS) * warm
            }
            _ => 1.0,
        };
        let conduct = match self {
            Self::Fails if is_the_one && at >= 0.0 => Conduct::Fails,
            Self::Refuses if is_the_one && at >= 0.0 => Conduct::Refuses,
            Self::Joins if is_the_one && at < JOINS_AT => Conduct::Refuses,
            _ => Conduct::Serves,
        };
        Condition { conduct, slowness }
    }

    /// What the endpoints do together, in multiples of what a healthy one does. Before the window
    /// and after a cold endpoint joins it is more.
    pub(super) fn capacity(self) -> f64 {
        let all = ENDPOINTS as f64;
        match self {
            Self::None => all,
            Self::Antagonist => all * (1.0 - HIT_SHARE + HIT_SHARE / ANTAGONIST_SLOWNESS),
            Self::OneSlow => all - 1.0 + 1.0 / ONE_SLOWNESS,
            Self::HalfSlow => all / 2.0 + all / 2.0 / HALF_SLOWNESS,
            Self::Fails | Self::Refuses | Self::Joins => all - 1.0,
        }
    }
}

/// True if the antagonist is on `endpoint` in this second. Two or three of eight are hit, 30 % in
/// the long run.
fn is_hit(endpoint: usize, second: i64, seed: u64) -> bool {
    let mut random = Rng::with_seed(seed ^ (second as u64).wrapping_mul(SPREAD));
    let wanted = HIT_SHARE * ENDPOINTS as f64;
    let count = wanted as usize + usize::from(random.f64() < wanted.fract());
    let mut endpoints: [usize; ENDPOINTS] = std::array::from_fn(|index| index);
    random.shuffle(&mut endpoints);
    endpoints[..count].contains(&endpoint)
}

/// Endpoints of every scenario.
pub(super) const ENDPOINTS: usize = 8;
/// The endpoint that is slow, fails, refuses or joins. Neither the first nor the last, which some
/// load balancers prefer when all are equal.
pub(super) const THE_ONE: usize = 3;
/// Seconds into the window.
pub(super) const JOINS_AT: f64 = 5.0;

const HIT_SHARE: f64 = 0.3;
const ANTAGONIST_SLOWNESS: f64 = 4.0;
const ONE_SLOWNESS: f64 = 10.0;
const HALF_SLOWNESS: f64 = 2.0;
const COLD_SLOWNESS: f64 = 5.0;
const WARMING_SECONDS: f64 = 3.0;
/// An odd number with bits all over, so that neighbouring seconds have unlike seeds.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_antagonist_hits_30_percent_of_the_endpoints_and_others_each_second() {
        let hits =
            |second| -> Vec<usize> { (0..ENDPOINTS).filter(|&e| is_hit(e, second, 7)).collect() };
        let seconds = 10_000;
        let mut of_each = [0; ENDPOINTS];
        let mut changes = 0;
        for second in 0..seconds {
            let now = hits(second);
            assert!((2..=3).contains(&now.len()), "{now:?}");
            changes += i64::from(now != hits(second + 1));
            now.iter().for_each(|&endpoint| of_each[endpoint] += 1);
        }
        for count in of_each {
            let share = f64::from(count) / seconds as f64;
            assert!((share - HIT_SHARE).abs() < 0.02, "{share}");
        }
        assert!(changes > seconds * 9 / 10);
    }

    #[test]
    fn the_capacity_is_what_the_endpoints_do_on_average() {
        for trouble in [
            Trouble::None,
            Trouble::Antagonist,
            Trouble::OneSlow,
            Trouble::HalfSlow,
            Trouble::Fails,
            Trouble::Refuses,
        ] {
            let seconds = 5_000;
            let sum: f64 = (0..seconds)
                .flat_map(|second| (0..ENDPOINTS).map(move |endpoint| (second, endpoint)))
                .map(|(second, endpoint)| trouble.condition(endpoint, f64::from(second), 3))
                .filter(|condition| condition.conduct == Conduct::Serves)
                .map(|condition| 1.0 / condition.slowness)
                .sum();
            let mean = sum / f64::from(seconds);
            let capacity = trouble.capacity();
            assert!(
                (mean / capacity - 1.0).abs() < 0.01,
                "{trouble:?}: {mean}, {capacity}"
            );
        }
    }

    #[test]
    fn a_cold_endpoint_refuses_then_warms() {
        let at = |at| Trouble::Joins.condition(THE_ONE, at, 0);
        assert_eq!(at(f64::NEG_INFINITY).conduct, Conduct::Refuses);
        assert_eq!(at(JOINS_AT - 0.1).conduct, Conduct::Refuses);
        assert_eq!(at(JOINS_AT).conduct, Conduct::Serves);
        assert_eq!(at(JOINS_AT).slowness, 5.0);
        assert_eq!(at(JOINS_AT + 1.5).slowness, 3.0);
        assert_eq!(at(JOINS_AT + 3.0).slowness, 1.0);
        assert_eq!(at(JOINS_AT + 60.0).slowness, 1.0);
    }
}
