//! nginx's `least_time`.

use balance::Candidates;
use fastrand::Rng;

use super::{Judge, Opponent, Response, least};

pub(super) const OPPONENT: Opponent = Opponent {
    name: "least_time",
    summary: "the lowest product of mean latency, known in steps of 20 ms, and requests in \
              flight, as nginx has it",
    is_judged: false,
    build: |_| Box::new(LeastTime(Vec::new())),
};

/// Mean latency by endpoint, in µs; 0: none yet.
struct LeastTime(Vec<f64>);

impl Judge for LeastTime {
    fn pick(&mut self, candidates: &Candidates<'_>, _random: &mut Rng) -> Option<usize> {
        least(candidates, |index| {
            let mean = self.0.get(index).copied().unwrap_or(0.0);
            // Never 0, or an endpoint below 20 ms would be taken however much it has to do.
            let steps = (mean / STEP_US).floor() + 1.0;
            let load = f64::from(candidates.load(index) + 1);
            steps * load / f64::from(candidates.weight(index))
        })
    }

    fn learn(&mut self, index: usize, response: &Response) {
        if self.0.len() <= index {
            self.0.resize(index + 1, 0.0);
        }
        let latest = response.latency.as_secs_f64() * 1e6;
        let mean = &mut self.0[index];
        *mean = if *mean == 0.0 {
            latest
        } else {
            *mean + (latest - *mean) / ANSWERS
        };
    }
}

const STEP_US: f64 = 20e3;

/// A moving average over about so many answers.
const ANSWERS: f64 = 16.0;
