//! What came of contests, as one picture in SVG.
//!
//! A row for each scenario, a panel for each setup of [`PANELS`], and in it a dot for each policy
//! of [`INKS`]: how its p99 stands to that of the best of the judged opponents. The axis is
//! logarithmic, so that twice as good is as far to the left as twice as bad to the right.

use std::fmt::Write;

use crate::contest::{CANDIDATE, Contest};
use crate::scenario::Bar;

/// The setups that are drawn.
const PANELS: &[&str] = &["1x1", "3x1"];

/// The policies that are drawn, and their colours: those of Okabe and Ito, which colour-blind
/// readers tell apart.
const INKS: &[(&str, &str)] = &[
    (CANDIDATE, "#d55e00"),
    ("oracle", "#000000"),
    ("leastconn", "#0072b2"),
    ("p2c", "#56b4e9"),
    ("ewma", "#009e73"),
    ("least_time", "#cc79a7"),
    ("c3", "#e69f00"),
    ("round_robin", "#999999"),
];

/// The picture. Contests of other setups are left out, as are scenarios without a p99 to reach.
pub(crate) fn plot(contests: &[Contest]) -> String {
    let panels: Vec<Vec<&Contest>> = PANELS
        .iter()
        .map(|name| {
            let is_drawn = |contest: &&Contest| {
                contest.setup.name == *name && matches!(contest.scenario.bar, Bar::Ratio(_))
            };
            contests.iter().filter(is_drawn).collect()
        })
        .filter(|panel: &Vec<&Contest>| !panel.is_empty())
        .collect();
    let rows = panels.iter().map(Vec::len).max().unwrap_or(0) as f64;
    let width = LABELS_WIDTH + panels.len() as f64 * (PANEL_WIDTH + PANEL_GAP);
    let height = TOP + rows * ROW_HEIGHT + BOTTOM;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\" \
         fill=\"#222222\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    text(&mut svg, 14.0, 26.0, "start", TITLE);
    legend(&mut svg);
    for (place, contests) in panels.iter().enumerate() {
        panel(&mut svg, contests, place);
    }
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String) {
    let mut x = 20.0;
    for (name, ink) in INKS {
        dot(svg, x, 46.0, name, ink);
        text(svg, x + 10.0, 50.5, "start", name);
        x += 32.0 + 7.6 * name.len() as f64;
    }
    let _ = writeln!(
        svg,
        "<path d=\"M{x} 38v16\" stroke=\"{BAR_INK}\" stroke-width=\"2\"/>"
    );
    text(svg, x + 8.0, 50.5, "start", "what adaptive must reach");
}

fn panel(svg: &mut String, contests: &[&Contest], place: usize) {
    let left = LABELS_WIDTH + place as f64 * (PANEL_WIDTH + PANEL_GAP);
    let bottom = TOP + contests.len() as f64 * ROW_HEIGHT;
    text(svg, left, TOP - 12.0, "start", contests[0].setup.summary);
    for tick in TICKS {
        let x = left + across(*tick);
        let ink = if *tick == 1.0 { "#777777" } else { "#dddddd" };
        let _ = writeln!(svg, "<path d=\"M{x:.1} {TOP}V{bottom}\" stroke=\"{ink}\"/>");
        text(svg, x, bottom + 18.0, "middle", &format!("{tick}×"));
    }
    for (row, contest) in contests.iter().enumerate() {
        let top = TOP + row as f64 * ROW_HEIGHT;
        let _ = writeln!(
            svg,
            "<path d=\"M{left} {top}h{PANEL_WIDTH}\" stroke=\"#eeeeee\"/>"
        );
        if place == 0 {
            let middle = top + ROW_HEIGHT / 2.0 + 4.5;
            text(svg, left - 12.0, middle, "end", contest.scenario.name);
        }
        if let Bar::Ratio(bar) = contest.scenario.bar {
            let x = left + across(bar);
            let _ = writeln!(
                svg,
                "<path d=\"M{x:.1} {top}v{ROW_HEIGHT}\" stroke=\"{BAR_INK}\" stroke-width=\"2\"/>"
            );
        }
        for (line, (name, ink)) in INKS.iter().enumerate() {
            if let Some(ratio) = contest.ratio(name) {
                let y = top + ROW_HEIGHT * (line as f64 + 1.0) / (INKS.len() as f64 + 1.0);
                dot(svg, left + across(ratio), y, name, ink);
            }
        }
    }
}

/// How far to the right of a panel's left border a ratio stands. Those that are off the axis
/// stand at its ends.
fn across(ratio: f64) -> f64 {
    let (low, high) = (TICKS[0].ln(), TICKS[TICKS.len() - 1].ln());
    (ratio.ln().clamp(low, high) - low) / (high - low) * PANEL_WIDTH
}

fn dot(svg: &mut String, x: f64, y: f64, name: &str, ink: &str) {
    let radius = if name == CANDIDATE { 5.0 } else { 3.5 };
    let _ = writeln!(
        svg,
        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{ink}\"/>"
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
    );
}

const TITLE: &str = "Simulated p99 latency, as a multiple of the best of p2c, leastconn and ewma. \
                     Left is better; dots at an edge are beyond it.";

const TICKS: &[f64] = &[0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0];

const BAR_INK: &str = "#7a4fbf";

// In pixels.
const LABELS_WIDTH: f64 = 120.0;
const PANEL_WIDTH: f64 = 400.0;
const PANEL_GAP: f64 = 40.0;
const ROW_HEIGHT: f64 = 54.0;
const TOP: f64 = 100.0;
const BOTTOM: f64 = 36.0;
