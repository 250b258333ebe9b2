//! Outlier detection by success rate: who fails much more than the others do.

use crate::SuccessRateSettings;

use super::Evidence;

/// What came of requests to one endpoint, over all workers. Those that say nothing about it, such
/// as a client that went away, are not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answered well.
    pub successes: u64,
    /// Failed by the endpoint.
    pub failures: u64,
}

/// An endpoint that stands out, by index, and why.
pub type Outlier = (usize, Evidence);

/// Judges the endpoints of a pool by what each did since the last judgement; the worst comes first.
///
/// An outlier is below `min(percent_max, mean - deviations × stdev)` of the success rates of all
/// that had enough requests. Arithmetic wants at least five of those for one to stand out by 1.9
/// deviations, however bad it is: in a smaller crowd nobody can say who is the odd one.
///
/// Source: the success rate ejection of Envoy's outlier detection.
pub fn outliers(settings: &SuccessRateSettings, tallies: &[Tally]) -> Vec<Outlier> {
    let rates: Vec<(usize, f64)> = tallies
        .iter()
        .enumerate()
        .filter(|(_, tally)| tally.requests() >= settings.requests_min.into())
        .filter_map(|(index, tally)| Some((index, tally.success_rate()?)))
        .collect();
    let count = rates.len() as f64;
    let mean = rates.iter().map(|(_, rate)| rate).sum::<f64>() / count;
    let square = |(_, rate): &(usize, f64)| (rate - mean).powi(2);
    let variance = rates.iter().map(square).sum::<f64>() / count;
    let bound =
        (mean - settings.deviations * variance.sqrt()).min(f64::from(settings.percent_max) / 100.0);

    let mut outliers: Vec<(usize, f64)> = rates
        .into_iter()
        .filter(|&(_, rate)| rate < bound)
        .collect();
    outliers.sort_by(|a, b| a.1.total_cmp(&b.1));
    let percent = |rate: f64| (rate * 100.0) as u8;
    let evidence = |rate, index: usize| Evidence::LowSuccessRate {
        requests: u32::try_from(tallies[index].requests()).unwrap_or(u32::MAX),
        percent: percent(rate),
        mean_percent: percent(mean),
    };
    outliers
        .into_iter()
        .map(|(index, rate)| (index, evidence(rate, index)))
        .collect()
}

impl Tally {
    /// Requests that were judged.
    pub fn requests(self) -> u64 {
        self.successes + self.failures
    }

    /// From 0.0 to 1.0; `None` without requests.
    pub fn success_rate(self) -> Option<f64> {
        let requests = self.requests();
        (requests > 0).then(|| self.successes as f64 / requests as f64)
    }

    /// What came on top of `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            successes: self.successes.saturating_sub(earlier.successes),
            failures: self.failures.saturating_sub(earlier.failures),
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            successes: self.successes + other.successes,
            failures: self.failures + other.failures,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{Strategy, prop, prop_assert, proptest};

    fn tally(successes: u64, failures: u64) -> Tally {
        Tally {
            successes,
            failures,
        }
    }

    fn indices(tallies: &[Tally]) -> Vec<usize> {
        let found = outliers(&SuccessRateSettings::default(), tallies);
        found.into_iter().map(|(index, _)| index).collect()
    }

    #[test]
    fn an_endpoint_far_below_the_others_stands_out() {
        let mut tallies = vec![tally(100, 0); 5];
        assert!(indices(&tallies).is_empty());
        tallies[3] = tally(79, 21);
        assert_eq!(indices(&tallies), [3]);
        let (_, evidence) = outliers(&SuccessRateSettings::default(), &tallies)[0];
        assert_eq!(
            evidence.to_string(),
            "79 % of 100 requests succeeded, 95 % at the average endpoint"
        );
        // Standing out is not enough.
        tallies[3] = tally(81, 19);
        assert!(indices(&tallies).is_empty());
    }

    #[test]
    fn what_all_do_is_nobodys_fault() {
        let tallies = [50, 52, 48, 55, 45, 51].map(|percent| tally(percent, 100 - percent));
        assert!(indices(&tallies).is_empty());
    }

    #[test]
    fn the_worst_comes_first() {
        let mut tallies = vec![tally(100, 0); 20];
        tallies[4] = tally(40, 60);
        tallies[11] = tally(10, 90);
        assert_eq!(indices(&tallies), [11, 4]);
    }

    #[test]
    fn few_requests_are_no_reason_and_no_measure() {
        let mut tallies = vec![tally(100, 0); 5];
        tallies[0] = tally(0, 19);
        assert!(indices(&tallies).is_empty());
        tallies[0] = tally(0, 20);
        assert_eq!(indices(&tallies), [0]);
        // The same, with one less to compare to.
        tallies[1] = tally(19, 0);
        assert!(indices(&tallies).is_empty());
        assert!(indices(&[]).is_empty());
    }

    #[test]
    fn a_tally_since_itself_is_empty() {
        assert_eq!(tally(7, 2).since(tally(7, 2)), Tally::default());
        assert_eq!(tally(7, 2).since(tally(4, 2)).and(tally(1, 1)), tally(4, 1));
        assert_eq!(Tally::default().success_rate(), None);
    }

    proptest! {
        #[test]
        fn outliers_had_enough_requests_and_are_below_both_bounds(
            tallies in prop::collection::vec(
                (0u64..200, 0u64..200).prop_map(|(good, bad)| tally(good, bad)),
                0..30,
            ),
        ) {
            let settings = SuccessRateSettings::default();
            let judged: Vec<f64> = tallies
                .iter()
                .filter(|tally| tally.requests() >= 20)
                .filter_map(|tally| tally.success_rate())
                .collect();
            let count = judged.len() as f64;
            let mean = judged.iter().sum::<f64>() / count;
            let variance = judged.iter().map(|rate| (rate - mean) * (rate - mean)).sum::<f64>() / count;
            for (index, _) in outliers(&settings, &tallies) {
                let rate = tallies[index].success_rate().unwrap();
                prop_assert!(tallies[index].requests() >= 20);
                prop_assert!(rate < 0.8);
                prop_assert!(rate < mean - 1.9 * variance.sqrt() + 1e-9);
            }
        }
    }
}
