//! What came of a contest, as tables.

use std::fmt::Write;

use crate::contest::Contest;
use crate::scenario::Bar;

/// A table for each contest, in Markdown.
pub(crate) fn table(contests: &[Contest]) -> String {
    let mut text = String::new();
    for contest in contests {
        let Contest {
            scenario,
            setup,
            results,
        } = contest;
        let _ = writeln!(
            text,
            "\n{} · {} · {}\n",
            scenario.name, scenario.summary, setup.summary
        );
        text.push_str("| policy | p50 ms | p99 ms | p99.9 ms | failed | at deadline | most in flight | p99 / best |\n");
        text.push_str("|---|---:|---:|---:|---:|---:|---:|---:|\n");
        for (contestant, result) in results {
            let ratio = contest.ratio(contestant.name());
            let _ = writeln!(
                text,
                "| {} | {:.1} | {:.1} | {:.1} | {:.2} % | {} | {} | {} |",
                contestant.name(),
                result.p50,
                result.p99,
                result.p999,
                result.failed * 100.0,
                result.deadlines,
                result.in_flight_max,
                ratio.map_or(String::new(), |ratio| format!("{ratio:.3}")),
            );
        }
    }
    text
}
