//! Adaptive: the endpoint that will answer first, among those that are not the most loaded.
//!
//! Three things are known of each endpoint: the requests in flight, which count at once; how slow
//! it is beside its peers ([`Slowness`], shared by all workers); and what it reports of itself
//! ([`Reported`]). What a request may expect of an endpoint of ordinary speed with so many
//! requests in flight is learnt by each worker ([`Expectation`]).

mod expectation;
mod reported;
mod slowness;
#[cfg(test)]
mod tests;

use fastrand::Rng;

use super::least_request::least_request;
use super::{Candidates, Mark, Policy, PolicyKind, Sent};
use crate::endpoint::NEVER;
use crate::{Answer, Endpoint};

use expectation::Expectation;
pub(crate) use reported::Reported;
pub(crate) use slowness::Slowness;

pub(super) const KIND: PolicyKind = PolicyKind {
    name: "adaptive",
    summary: "The endpoint that is expected to answer first, by requests in flight, by how fast \
              it answers now and how often it fails.",
    has_key: false,
    build: |_, endpoints| {
        Box::new(Adaptive {
            expectation: Expectation::default(),
            known: vec![
                Known {
                    multiple: 1.0,
                    at: NEVER
                };
                endpoints.len()
            ],
        })
    },
};

/// Hot-cold lexicographic choice: an endpoint is hot if it has more requests in flight than
/// [`QUANTILE_PERCENT`] of the candidates. Of the cold ones the one with the least expected latency is
/// picked, and there always is a cold one: the quantile itself.
///
/// Source: Wydrowski, Kleinberg, Rumble, Archer, "Load is Not What You Should Balance: Introducing
/// Prequal", NSDI 2024. Unlike there, all signals are local, so they are fresh and cover every
/// endpoint; and latency is not the median of a few samples per number in flight but the product
/// of two estimates, which needs far fewer samples: how slow is this endpoint, and how long do
/// requests take at this number in flight.
struct Adaptive {
    expectation: Expectation,
    /// By endpoint: what was worked out of its [`Slowness`], and when.
    known: Vec<Known>,
}

/// How long answers of an endpoint take now, errors counted in, in multiples of what is ordinary.
#[derive(Clone, Copy)]
struct Known {
    multiple: f32,
    /// In µs of the pool's time; [`NEVER`]: not worked out yet.
    at: u64,
}

/// In µs: how long a [`Known`] is good enough. Shorter than answers of servers, and a busy worker
/// picks many times meanwhile.
const KNOWN_FOR: u64 = 1000;

/// Q_RIF of the paper: 2^-0.25.
const QUANTILE_PERCENT: usize = 84;

/// Up to this many endpoints are all looked at.
const SCAN_MAX: usize = 64;

/// Of more, this many are drawn.
const DRAWS: usize = 16;

/// What one more request in flight counts where latency does not show it yet, as a share of an
/// ordinary answer. It spreads requests over endpoints with room, and keeps noise in the
/// estimates from deciding.
const SPREAD: f32 = 0.1;

/// Expected latencies within this share of the least are as good as equal: the estimates are no
/// better. Of equals, the one that has waited longest for its turn is picked.
const EQUAL: f32 = 0.08;

/// In µs: where answers take no longer than this, their differences say half as much.
const NOISE: f32 = 500.0;

/// How much slower an endpoint counts that always fails. Failing fast must never attract.
const ERROR_AVERSION: f32 = 30.0;

impl Policy for Adaptive {
    fn pick(&mut self, candidates: &Candidates<'_>, random: &mut Rng) -> Option<usize> {
        let count = candidates.count();
        if count <= DRAWS {
            self.best::<DRAWS>(candidates, 0..count, random)
        } else if count <= SCAN_MAX {
            self.best::<SCAN_MAX>(candidates, 0..count, random)
        } else {
            let drawn = draw(candidates, random);
            self.best::<DRAWS>(candidates, drawn.into_iter(), random)
                // The few that were drawn may all be full, and others not.
                .or_else(|| least_request(candidates, random))
        }
    }

    fn send(&mut self, endpoint: &Endpoint, class: usize, now: u64) -> Mark {
        endpoint
            .load
            .slowness
            .send(self.expectation.weight(class), now)
    }

    fn learns(&self) -> bool {
        true
    }

    fn learn(&mut self, endpoint: &Endpoint, sent: Sent, answer: &Answer, now: u64) {
        let slowness = &endpoint.load.slowness;
        slowness.receive(sent.mark);
        if answer.is_success {
            let latency = answer.latency.as_micros() as f32;
            let in_flight = sent.in_flight.saturating_add(endpoint.reported.others(now));
            let gap = slowness.age(now);
            let multiple = self
                .expectation
                .learn(answer.class, latency, in_flight, gap);
            slowness.record_success(multiple, self.expectation.memory(), now);
        } else {
            slowness.record_failure(now);
        }
    }

    fn forget(&mut self, endpoint: &Endpoint, sent: Sent) {
        endpoint.load.slowness.receive(sent.mark);
    }
}

impl Adaptive {
    /// The best of those at these positions of `candidates.indices()`, of which there are at most
    /// `N`.
    fn best<const N: usize>(
        &mut self,
        candidates: &Candidates<'_>,
        positions: impl Iterator<Item = usize>,
        random: &mut Rng,
    ) -> Option<usize> {
        let mut scores = [Score::default(); N];
        let mut open = 0;
        let mut passed_over = None;
        let (indices, now) = (candidates.indices(), candidates.now());
        let is_plain = candidates.are_even() && !candidates.has_reports();
        for position in positions {
            let index = indices[position] as usize;
            let Some(in_flight) = candidates.open_load(index) else {
                continue;
            };
            let multiple = self.multiple(candidates, index);
            let waited = now.wrapping_sub(candidates.picked_at(index)) as i64 as f32;
            scores[open] = if is_plain {
                let load = in_flight as f32;
                let expected = self.expectation.at_count(in_flight + 1);
                Score {
                    index: index as u32,
                    load,
                    latency: multiple * (expected + SPREAD * load),
                    waited,
                }
            } else {
                let others = candidates.endpoints()[index].reported.others(now);
                let (weight, ramp) = candidates.steady()[position];
                // An endpoint in slow start has little to do, so it mostly is the best when it
                // comes into question.
                if ramp < 1.0 && random.f32() > ramp / candidates.count() as f32 {
                    passed_over = Some(index);
                    continue;
                }
                let load = in_flight.saturating_add(others) as f32 / weight;
                Score {
                    index: index as u32,
                    load,
                    latency: multiple * (self.expectation.at(load + 1.0) + SPREAD * load),
                    waited: waited * weight,
                }
            };
            open += 1;
        }
        choose(&scores[..open]).or(passed_over)
    }

    /// How long answers of the endpoint take, in multiples of what is ordinary.
    #[inline]
    fn multiple(&mut self, candidates: &Candidates<'_>, index: usize) -> f32 {
        let now = candidates.now();
        let Known { multiple, at } = self.known[index];
        if now.wrapping_sub(at) <= KNOWN_FOR {
            return multiple;
        }
        let endpoint = &candidates.endpoints()[index];
        let multiple = work_out(&self.expectation, endpoint, candidates.has_reports(), now);
        self.known[index] = Known { multiple, at: now };
        multiple
    }
}

/// Once in a while for each endpoint, so kept out of the way of picks.
#[inline(never)]
fn work_out(expectation: &Expectation, endpoint: &Endpoint, has_reports: bool, now: u64) -> f32 {
    let line = &endpoint.load;
    let averted = 1.0 + ERROR_AVERSION * line.slowness.errors(now);
    let Some(ordinary) = expectation.latency() else {
        return averted;
    };
    // Reports are on a cache line of their own: not looked at where nobody reports.
    let reported = has_reports.then(|| endpoint.reported.latency(now));
    let slowness = match reported.flatten() {
        Some((latency, in_flight)) => latency / ordinary / expectation.at(in_flight as f32 + 1.0),
        None => line.slowness.multiple(ordinary, expectation.memory(), now),
    };
    // Faster than this, it is the scheduling of threads that makes the difference.
    let said = ordinary / (ordinary + NOISE);
    (1.0 + (slowness - 1.0) * said) * averted
}

/// A candidate that may be picked.
#[derive(Debug, Clone, Copy, Default)]
struct Score {
    index: u32,
    /// Requests in flight for each unit of weight; those of other balancers too where the
    /// endpoint reports them.
    load: f32,
    /// What a request may expect there, in multiples of an ordinary answer.
    latency: f32,
    /// For its turn, in µs; heavier ones wait faster.
    waited: f32,
}

/// The cold one with the least latency; of equals the one that has waited longest for its turn.
fn choose(scores: &[Score]) -> Option<usize> {
    let mut below = f32::INFINITY;
    loop {
        let mut least = f32::INFINITY;
        for score in scores {
            if score.latency < least && score.load < below {
                least = score.latency;
            }
        }
        let bound = least * (1.0 + EQUAL);
        let mut longest = f32::NEG_INFINITY;
        let mut best = None;
        for score in scores {
            if score.latency <= bound && score.waited > longest && score.load < below {
                longest = score.waited;
                best = Some(score);
            }
        }
        let best = best?;
        if !is_hot(scores, best.load, QUANTILE_PERCENT) {
            return Some(best.index as usize);
        }
        // Rare, as a busier endpoint takes longer. Whoever has as much to do is as hot.
        below = best.load;
    }
}

/// True if `load` is above this quantile of all.
fn is_hot(scores: &[Score], load: f32, percent: usize) -> bool {
    let rank = (scores.len() * percent).div_ceil(100);
    scores.iter().filter(|score| score.load < load).count() >= rank
}

/// Positions of a few candidates: evenly where they weigh the same, by weight else.
fn draw(candidates: &Candidates<'_>, random: &mut Rng) -> [usize; DRAWS] {
    let count = candidates.count();
    if candidates.are_even() {
        // One of each stretch of the list, so that none is drawn twice.
        return std::array::from_fn(|draw| {
            random.usize(draw * count / DRAWS..(draw + 1) * count / DRAWS)
        });
    }
    std::array::from_fn(|_| candidates.draw_position(random))
}
