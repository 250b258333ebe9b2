//! What came of contests, as tables in Markdown.

use std::fmt::Write;

use crate::contest::{CANDIDATE, Contest};
use crate::scenario::Bar;

/// A table for each contest.
pub(crate) fn results<'a>(contests: impl IntoIterator<Item = &'a Contest>) -> String {
    let mut text = String::new();
    for contest in contests {
        let Contest {
            scenario, setup, ..
        } = contest;
        let head = [
            "policy",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "failed",
            "at deadline",
            "most in flight",
            "p99 / best of three",
        ];
        let rows = contest.results.iter().map(|(contestant, result)| {
            let ratio = contest.ratio(contestant.name());
            vec![
                contestant.name().to_owned(),
                format!("{:.1}", result.p50),
                format!("{:.1}", result.p99),
                format!("{:.1}", result.p999),
                format!("{:.2} %", result.failed * 100.0),
                result.deadlines.to_string(),
                result.in_flight_max.to_string(),
                ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")),
            ]
        });
        let _ = writeln!(
            text,
            "### {}: {} ({})\n",
            scenario.name, scenario.summary, setup.summary
        );
        text.push_str(&table(&head.map(str::to_owned), rows));
        text.push('\n');
    }
    text
}

/// One table: a row for each scenario, a column for each setup, and in it what [`CANDIDATE`]
/// reached there. Empty if it did not run.
pub(crate) fn verdicts(contests: &[Contest]) -> String {
    if contests.iter().all(|contest| contest.is_passed().is_none()) {
        return String::new();
    }
    let of_one_scenario: Vec<&[Contest]> = contests
        .chunk_by(|a, b| a.scenario.name == b.scenario.name)
        .collect();
    let mut head = vec!["scenario".to_owned(), "bar".to_owned()];
    let setups = of_one_scenario[0].iter();
    head.extend(setups.map(|contest| contest.setup.name.to_owned()));
    head.push("oracle".to_owned());
    let rows = of_one_scenario.iter().map(|contests| {
        let bar = match contests[0].scenario.bar {
            Bar::Ratio(bar) => format!("≤ {bar:.2}"),
            Bar::Failures(bar) => format!("≤ {} %", bar * 100.0),
        };
        let mut row = vec![contests[0].scenario.name.to_owned(), bar];
        row.extend(contests.iter().map(verdict));
        row.push(contests[0].reached("oracle").unwrap_or_default());
        row
    });
    table(&head, rows)
}

fn verdict(contest: &Contest) -> String {
    let reached = contest.reached(CANDIDATE).unwrap_or_default();
    match contest.is_passed() {
        Some(true) if contest.setup.has_bar => format!("{reached} pass"),
        Some(false) if contest.setup.has_bar => format!("**{reached} miss**"),
        _ => reached,
    }
}

/// The first column is words, the others are numbers.
fn table(head: &[String], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = format!("| {} |\n|---|", head.join(" | "));
    text.push_str(&"---:|".repeat(head.len() - 1));
    text.push('\n');
    for mut row in rows {
        if row[0] == CANDIDATE {
            row[0] = format!("**{CANDIDATE}**");
        }
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}
