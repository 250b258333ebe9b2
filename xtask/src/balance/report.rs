//! Medians, ratios and verdicts, as markdown and as JSON.

use serde_json::{Value, json};

use super::load::WORK;
use super::measure::Run;
use super::peer::{BASELINE, Contender, DIRECT, JUDGED};
use super::plan::Outcome;
use super::scenario::{Bar, Scenario};
use super::station::SLOTS;
use super::theory::Theory;
use super::trouble::{ENDPOINTS, THE_ONE, Trouble};
use crate::bench::report::median;

/// Every run so far.
pub(super) struct Report {
    peers: Vec<String>,
    runs: Vec<Run>,
}

/// Whether a bar was met.
struct Verdict {
    is_met: bool,
    text: String,
}

impl Report {
    pub(super) fn new(peers: &[Contender]) -> Self {
        Self {
            peers: peers.iter().map(|peer| peer.name.clone()).collect(),
            runs: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, run: Run) {
        self.runs.push(run);
    }

    /// True if every bar that could be judged in these scenarios was met.
    pub(super) fn is_right(&self, scenarios: &[&Scenario]) -> bool {
        scenarios
            .iter()
            .filter_map(|scenario| self.verdict(scenario))
            .all(|verdict| verdict.is_met)
    }

    /// Everything, for other programs: `runs` has one entry for each scenario, peer and round.
    pub(super) fn json(&self, scenarios: &[&Scenario]) -> Value {
        let verdicts: Vec<Value> = scenarios
            .iter()
            .filter_map(|scenario| Some((scenario, self.verdict(scenario)?)))
            .map(|(scenario, verdict)| {
                json!({"scenario": scenario.name, "is_met": verdict.is_met, "text": verdict.text})
            })
            .collect();
        json!({"runs": self.runs, "verdicts": verdicts})
    }

    /// One table: a line for each peer.
    pub(super) fn table(&self, scenario: &Scenario) -> String {
        let mut text = format!(
            "### `{}`: {}, {:.0} requests/s\n\n\
             | peer | p50 ms | p99 ms | p99.9 ms | failed | p99 × {BASELINE} | notes |\n\
             |---|--:|--:|--:|--:|--:|---|\n",
            scenario.name,
            scenario.title,
            scenario.requests_per_second(),
        );
        for peer in &self.peers {
            let of = |figure: fn(&Outcome) -> f64| median(self.figures(scenario, peer, figure));
            text += &format!(
                "| {peer} | {:.1} | {:.1} | {:.1} | {:.2} % | {} | {} |\n",
                of(|run| run.p50_ms),
                of(|run| run.p99_ms),
                of(|run| run.p999_ms),
                of(failed_share) * 100.0,
                ratio_text(self.ratios(scenario, peer)),
                self.notes(scenario, peer).join("; "),
            );
        }
        if let Some(verdict) = self.verdict(scenario) {
            let word = if verdict.is_met { "pass" } else { "MISS" };
            text += &format!("\n**{word}**: {}\n", verdict.text);
        }
        text
    }

    fn outcomes(&self, scenario: &Scenario, peer: &str) -> impl Iterator<Item = &Outcome> {
        let runs = self.runs.iter();
        runs.filter(move |run| run.scenario == scenario.name && run.peer == peer)
            .map(|run| &run.outcome)
    }

    fn figures(&self, scenario: &Scenario, peer: &str, figure: fn(&Outcome) -> f64) -> Vec<f64> {
        self.outcomes(scenario, peer).map(figure).collect()
    }

    /// For each round p99 against the baseline's; empty without the baseline.
    fn ratios(&self, scenario: &Scenario, peer: &str) -> Vec<f64> {
        let own = self.outcomes(scenario, peer);
        own.zip(self.outcomes(scenario, BASELINE))
            .map(|(own, baseline)| own.p99_ms / baseline.p99_ms)
            .collect()
    }

    /// How Pointsman stands to its bar; `None` if it or the baseline was not measured.
    fn verdict(&self, scenario: &Scenario) -> Option<Verdict> {
        self.outcomes(scenario, JUDGED).next()?;
        let of = |figure: fn(&Outcome) -> f64| median(self.figures(scenario, JUDGED, figure));
        Some(match scenario.bar {
            Bar::Ratio(bar) => {
                let ratios = self.ratios(scenario, JUDGED);
                if ratios.is_empty() {
                    return None;
                }
                let ratio = median(ratios);
                Verdict {
                    is_met: ratio <= bar,
                    text: format!("p99 is {ratio:.2} of {BASELINE}'s, at most {bar:.2} is wanted"),
                }
            }
            Bar::Failures(bar) => {
                let share = of(failed_share);
                Verdict {
                    is_met: share < bar,
                    text: format!(
                        "{:.2} % of requests failed, less than {:.1} % is wanted",
                        share * 100.0,
                        bar * 100.0
                    ),
                }
            }
            Bar::Joins { seconds, ratio } => {
                let first = of(|run| run.first_request_seconds.unwrap_or(f64::INFINITY));
                let change = of(|run| run.p99_after_split_ms / run.p99_before_split_ms);
                Verdict {
                    is_met: first <= seconds && change <= ratio,
                    text: format!(
                        "first request {first:.1} s after it joined, at most {seconds:.0} is wanted; \
                         p99 then is {change:.2} of what it was, at most {ratio:.2} is wanted"
                    ),
                }
            }
        })
    }

    fn notes(&self, scenario: &Scenario, peer: &str) -> Vec<String> {
        let of = |figure: fn(&Outcome) -> f64| median(self.figures(scenario, peer, figure));
        let most = |figure: fn(&Outcome) -> f64| {
            let figures = self.figures(scenario, peer, figure);
            figures.into_iter().fold(0.0, f64::max)
        };
        let mut notes = Vec::new();
        if let (DIRECT, Some(load)) = (peer, scenario.load_of_each()) {
            let theory = Theory {
                slots: SLOTS,
                mean: WORK.as_secs_f64(),
                load,
            };
            notes.push(format!(
                "theory: p50 {:.1}, p99 {:.1}",
                theory.latency(0.5) * 1e3,
                theory.latency(0.99) * 1e3
            ));
        }
        match scenario.trouble {
            Trouble::OneSlow | Trouble::Fails | Trouble::Refuses => notes.push(format!(
                "{:.1} % of requests to that endpoint",
                of(|run| run.endpoint_shares[THE_ONE]) * 100.0
            )),
            Trouble::HalfSlow => notes.push(format!(
                "{:.1} % of requests to the slow half",
                of(|run| run.endpoint_shares.iter().step_by(2).sum()) * 100.0
            )),
            Trouble::Joins => {
                let first = of(|run| run.first_request_seconds.unwrap_or(f64::INFINITY));
                notes.push(format!(
                    "p99 {:.1} before, {:.1} after; first request after {first:.1} s; {:.1} % of \
                     requests from 10 s on, {:.1} % is fair",
                    of(|run| run.p99_before_split_ms),
                    of(|run| run.p99_after_split_ms),
                    of(|run| run.endpoint_shares_settled[THE_ONE]) * 100.0,
                    100.0 / ENDPOINTS as f64,
                ));
            }
            Trouble::None | Trouble::Antagonist => {}
        }
        let failure = self
            .outcomes(scenario, peer)
            .find_map(|run| run.first_failure.as_ref());
        notes.extend(failure.map(|what| format!("first failure: {what}")));
        if most(|run| run.lateness_p99_ms) > LATENESS_MS_MAX {
            notes.push(format!(
                "the load ran up to {:.1} ms late",
                most(|run| run.lateness_p99_ms)
            ));
        }
        if most(|run| run.others_share) > OTHERS_SHARE_MAX {
            notes.push(format!(
                "other programs took up to {:.0} % of its CPU",
                most(|run| run.others_share) * 100.0
            ));
        }
        notes
    }
}

/// The median, and from where to where it goes if there are several.
fn ratio_text(ratios: Vec<f64>) -> String {
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(0.0, f64::max);
    match ratios.len() {
        0 => "–".to_owned(),
        1 => format!("{most:.2}"),
        _ => format!("{:.2} ({least:.2}–{most:.2})", median(ratios)),
    }
}

fn failed_share(run: &Outcome) -> f64 {
    run.failed as f64 / run.due.max(1) as f64
}

/// A hundredth of what is measured.
const LATENESS_MS_MAX: f64 = 0.5;
/// Latencies here are milliseconds of waiting: a few percent of a CPU do not show.
const OTHERS_SHARE_MAX: f64 = 0.15;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::scenario::SCENARIOS;

    /// A report of these rounds: p99 of Pointsman, and of the baseline where it was measured.
    fn report(scenario: &Scenario, rounds: &[(f64, Option<f64>)]) -> Report {
        let mut report = Report {
            peers: vec![JUDGED.to_owned(), BASELINE.to_owned()],
            runs: Vec::new(),
        };
        for (round, &(judged, baseline)) in rounds.iter().enumerate() {
            let peers = [(JUDGED, Some(judged)), (BASELINE, baseline)];
            for (peer, p99_ms) in peers.into_iter().filter_map(|(peer, ms)| Some((peer, ms?))) {
                report.add(Run {
                    scenario: scenario.name,
                    peer: peer.to_owned(),
                    round,
                    requests_per_second: 0.0,
                    outcome: Outcome {
                        p99_ms,
                        due: 1000,
                        failed: 5,
                        endpoint_shares: vec![0.125; ENDPOINTS],
                        ..Outcome::default()
                    },
                });
            }
        }
        report
    }

    fn named(name: &str) -> &'static Scenario {
        let mut scenarios = SCENARIOS.iter();
        scenarios.find(|scenario| scenario.name == name).unwrap()
    }

    #[test]
    fn a_ratio_is_taken_within_rounds_and_must_not_exceed_its_bar() {
        let scenario = named("antagonist");
        // The ratio of the medians would be 0.6.
        let rounds = [
            (50.0, Some(100.0)),
            (60.0, Some(50.0)),
            (100.0, Some(200.0)),
        ];
        assert_eq!(
            median(report(scenario, &rounds).ratios(scenario, JUDGED)),
            0.5
        );
        for (p99_ms, is_met) in [(65.0, true), (66.0, false)] {
            let report = report(scenario, &[(p99_ms, Some(100.0))]);
            assert_eq!(report.is_right(&[scenario]), is_met);
            assert_eq!(report.table(scenario).contains("MISS"), !is_met);
        }
    }

    #[test]
    fn without_the_baseline_only_what_does_not_need_it_is_judged() {
        let scenario = named("antagonist");
        assert!(report(scenario, &[(1e3, None)]).verdict(scenario).is_none());
        // 5 of 1000 are not less than 0.5 %.
        let scenario = named("sinkhole");
        assert!(!report(scenario, &[(1.0, None)]).is_right(&[scenario]));
    }
}
