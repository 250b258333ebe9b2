//! Medians, spread and ratios, as markdown and as JSON.

use serde_json::{Value, json};

use super::measure::Run;
use super::peer::{FLOOR, Peer};
use super::scenario::{Figure, Scenario};

/// Every run so far.
pub(crate) struct Report {
    peers: Vec<&'static str>,
    rounds: usize,
    seconds: f64,
    runs: Vec<(&'static str, &'static str, Run)>,
}

impl Report {
    pub(crate) fn new(peers: &[Peer], rounds: usize, seconds: f64) -> Self {
        Self {
            peers: peers.iter().map(|peer| peer.kind.name).collect(),
            rounds,
            seconds,
            runs: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, scenario: &Scenario, peer: &Peer, run: Run) {
        self.runs.push((scenario.name, peer.kind.name, run));
    }

    /// True if no answer was wrong.
    pub(crate) fn is_right(&self) -> bool {
        self.runs.iter().all(|(_, _, run)| run.wrong == 0)
    }

    /// Everything, for other programs: `runs` has one entry for each scenario, peer and round.
    pub(crate) fn json(&self) -> Value {
        let runs: Vec<Value> = self
            .runs
            .iter()
            .map(|(scenario, peer, run)| json!({"scenario": scenario, "peer": peer, "run": run}))
            .collect();
        json!({"rounds": self.rounds, "seconds": self.seconds, "runs": runs})
    }

    /// One table: a line for each peer, and a column of ratios to each.
    pub(crate) fn table(&self, scenario: &Scenario) -> String {
        let main = |run: &Run| run.main_figure(scenario.figure);
        let columns = columns(scenario.figure);
        let took_part = |peer: &&&str| !self.runs_of(scenario, peer).is_empty();
        let peers: Vec<&str> = self.peers.iter().filter(took_part).copied().collect();
        let mut text = format!("### `{}`: {}\n\n| peer |", scenario.name, scenario.title);
        for (title, _) in columns {
            text += &format!(" {title} |");
        }
        for &peer in &peers {
            let name = if peer == FLOOR { "floor" } else { peer };
            text += &format!(" × {name} |");
        }
        text += " spread | notes |\n|---|";
        text += &"--:|".repeat(columns.len() + peers.len() + 1);
        text += "---|\n";
        for &peer in &peers {
            let runs = self.runs_of(scenario, peer);
            text += &format!("| {peer} |");
            for (_, figure) in columns {
                text += &format!(" {} |", number(median_of(&runs, figure)));
            }
            for &other in &peers {
                let others = median_of(&self.runs_of(scenario, other), &main);
                text += &format!(" {:.2} |", median_of(&runs, &main) / others);
            }
            text += &format!(
                " ±{:.1} % | {} |\n",
                spread(&runs, &main) * 100.0,
                notes(&runs, scenario.figure)
            );
        }
        text
    }

    fn runs_of(&self, scenario: &Scenario, peer: &str) -> Vec<&Run> {
        let matching = self
            .runs
            .iter()
            .filter(|(of, by, _)| *of == scenario.name && *by == peer);
        matching.map(|(_, _, run)| run).collect()
    }
}

type Column = (&'static str, fn(&Run) -> f64);

/// The columns of a table; the ratios are of the first but in the open loop, where they are of p99.
fn columns(figure: Figure) -> &'static [Column] {
    match figure {
        Figure::RunTime => &[
            ("CPU µs/request", |run| run.cpu_us_per_request),
            ("requests/s", |run| run.requests_per_second),
            ("CPU %", |run| run.cpu_share * 100.0),
        ],
        Figure::Latency => &[
            ("p50 µs", |run| run.p50_us),
            ("p99 µs", |run| run.p99_us),
            ("p99.9 µs", |run| run.p999_us),
            ("CPU µs/request", |run| run.cpu_us_per_request),
        ],
        Figure::Memory => &[("KiB/connection", |run| run.memory_kib_per_connection)],
        Figure::SystemCalls => &[("calls/request", |run| run.system_calls_per_request)],
    }
}

/// The value in the middle; not a number if there is none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

fn median_of(runs: &[&Run], figure: &dyn Fn(&Run) -> f64) -> f64 {
    median(runs.iter().map(|run| figure(run)).collect())
}

/// Half of what lies between the least and the most, as a share of the median.
fn spread(runs: &[&Run], figure: &dyn Fn(&Run) -> f64) -> f64 {
    let values = runs.iter().map(|run| figure(run));
    let most = values.clone().fold(f64::MIN, f64::max);
    let least = values.fold(f64::MAX, f64::min);
    (most - least) / 2.0 / median_of(runs, figure)
}

/// What makes the figures doubtful: the flags of all rounds, each once, and other programs.
fn notes(runs: &[&Run], figure: Figure) -> String {
    let mut notes: Vec<String> = runs.iter().flat_map(|run| run.flags.clone()).collect();
    notes.sort_unstable();
    notes.dedup();
    let others = runs.iter().map(|run| run.others_share).fold(0.0, f64::max);
    // Counts and sizes do not depend on who else runs, and strace itself is another program.
    let disturbs = matches!(figure, Figure::RunTime | Figure::Latency);
    if disturbs && others > OTHERS_SHARE_MAX {
        notes.push(format!(
            "other programs took up to {:.0} % of its CPU",
            others * 100.0
        ));
    }
    notes.join("; ")
}

fn number(value: f64) -> String {
    if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

/// Clock ticks are coarse, and the kernel's own threads run too.
const OTHERS_SHARE_MAX: f64 = 0.08;
