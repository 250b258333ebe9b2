//! A view as text: the picture for a terminal, and lines for everything else.

use std::fmt::Write;

use super::endpoint::Mode;
use super::traffic::REQUESTS_PER_SECOND;
use super::view::{EndpointView, View};

/// Columns of a bar that is all of the traffic.
const BAR: usize = 15;

/// The picture, a line an item, 80 columns but for long events. With `color`, states stand out; without, nothing is lost.
pub(crate) fn screen(view: &View, color: bool) -> Vec<String> {
    let paint = Paint { color };
    let mut lines = vec![paint.bold("Pointsman demo"), String::new()];
    lines.extend(addresses(view).map(|line| format!("  {line}")));
    lines.push(String::new());
    lines.push(paint.dim(HEAD));
    for (index, endpoint) in view.endpoints.iter().enumerate() {
        lines.push(row(index + 1, endpoint, &paint));
    }
    lines.push(String::new());
    let failed = format!("{} failed", grouped(view.failed));
    lines.push(format!(
        "  {} requests   {}   {} moved to another endpoint",
        grouped(view.requests),
        match view.failed {
            0 => paint.green(&failed),
            _ => paint.red(&failed),
        },
        grouped(view.retries),
    ));
    lines.push(String::new());
    lines.push(paint.dim("  events"));
    // There is one pool only.
    let events = view.last_events.iter();
    lines.extend(events.map(|line| format!("  {}", line.replace("endpoint app/", ""))));
    lines.push(String::new());
    lines.push(paint.dim("  1 2 3 kill or revive   f freeze or thaw three   q quit"));
    lines.push(paint.dim(&format!("  or {}", curl(view))));
    lines
}

const HEAD: &str = "     name    port  process  state       req/s  in flight  requests  share";

fn row(number: usize, endpoint: &EndpointView, paint: &Paint) -> String {
    let EndpointView {
        name,
        in_flight,
        share,
        ..
    } = endpoint;
    let process = format!("{:<7}", endpoint.mode.as_str());
    let process = match endpoint.mode {
        Mode::Running => process,
        Mode::Frozen | Mode::Killed => paint.bold(&process),
    };
    let state = format!("{:<10}", endpoint.state);
    let state = match endpoint.state.as_str() {
        "up" => paint.green(&state),
        "down" | "ejected" => paint.red(&state),
        _ => paint.yellow(&state),
    };
    let bar = "█".repeat((share * BAR as f64).round() as usize);
    format!(
        "  {number}  {name:<5}  {:>5}  {process}  {state}  {:>5.1}  {in_flight:>9}  {:>8}  {bar:<BAR$} {:>3.0} %",
        endpoint.address.port(),
        endpoint.requests_per_second,
        grouped(endpoint.requests),
        share * 100.0,
    )
}

/// What to open, for where there is no terminal.
pub(crate) fn introduction(view: &View) -> String {
    let mut text = String::from("Pointsman demo\n");
    // Writing to a String cannot fail.
    for line in addresses(view) {
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(text, "kill       {}", curl(view));
    text
}

/// The new events and a line of numbers.
pub(crate) fn line(view: &View) -> String {
    let mut text = String::new();
    for event in &view.new_events {
        let _ = writeln!(text, "{event}");
    }
    let _ = write!(
        text,
        "{} requests, {} failed, {} retried",
        view.requests, view.failed, view.retries
    );
    for endpoint in &view.endpoints {
        let EndpointView {
            name,
            state,
            requests_per_second: rate,
            ..
        } = endpoint;
        let _ = write!(text, " | {name} {state} {rate:.0}/s");
    }
    text.push('\n');
    text
}

fn addresses(view: &View) -> impl Iterator<Item = String> {
    let View { listen, admin, .. } = view;
    [
        format!("balancer   http://{listen}/  gets {REQUESTS_PER_SECOND} requests a second"),
        format!("status     http://{admin}/status"),
        format!("metrics    http://{admin}/metrics"),
    ]
    .into_iter()
}

fn curl(view: &View) -> String {
    format!(
        "curl -X POST http://{}/demo/endpoints/1/kill  (revive, freeze)",
        view.admin
    )
}

/// `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Colours of the terminal's own palette, or none.
struct Paint {
    color: bool,
}

impl Paint {
    fn with(&self, code: &str, text: &str) -> String {
        if self.color {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn bold(&self, text: &str) -> String {
        self.with("1", text)
    }

    fn dim(&self, text: &str) -> String {
        self.with("2", text)
    }

    fn red(&self, text: &str) -> String {
        self.with("31", text)
    }

    fn green(&self, text: &str) -> String {
        self.with("32", text)
    }

    fn yellow(&self, text: &str) -> String {
        self.with("33", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        let endpoint = |name, mode, state: &str, share| EndpointView {
            name,
            address: ([127, 0, 0, 1], 40_001).into(),
            mode,
            state: state.into(),
            requests_per_second: share * 50.0,
            in_flight: 1,
            requests: 1234,
            share,
        };
        View {
            listen: ([127, 0, 0, 1], 8080).into(),
            admin: ([127, 0, 0, 1], 9090).into(),
            endpoints: vec![
                endpoint("one", Mode::Running, "up", 0.75),
                endpoint("three", Mode::Killed, "recovering", 0.25),
            ],
            requests: 1_234_567,
            failed: 0,
            retries: 12,
            new_events: vec!["10:00:01 you: three is killed".into()],
            last_events: vec!["10:00:01 you: three is killed".into()],
        }
    }

    #[test]
    fn the_picture_is_aligned_and_says_everything_without_colour() {
        let expected = "\
Pointsman demo

  balancer   http://127.0.0.1:8080/  gets 50 requests a second
  status     http://127.0.0.1:9090/status
  metrics    http://127.0.0.1:9090/metrics

     name    port  process  state       req/s  in flight  requests  share
  1  one    40001  running  up           37.5          1     1,234  ███████████      75 %
  2  three  40001  killed   recovering   12.5          1     1,234  ████             25 %

  1,234,567 requests   0 failed   12 moved to another endpoint

  events
  10:00:01 you: three is killed

  1 2 3 kill or revive   f freeze or thaw three   q quit
  or curl -X POST http://127.0.0.1:9090/demo/endpoints/1/kill  (revive, freeze)";
        assert_eq!(screen(&view(), false).join("\n"), expected);
    }

    #[test]
    fn colour_adds_escape_sequences_and_nothing_else() {
        let mut plain = String::new();
        let colored = screen(&view(), true).join("\n");
        let mut pieces = colored.split("\x1b[");
        plain += pieces.next().unwrap_or_default();
        for piece in pieces {
            plain += piece.split_once('m').expect("a sequence ends").1;
        }
        assert_eq!(plain, screen(&view(), false).join("\n"));
    }

    #[test]
    fn without_a_terminal_a_view_is_its_events_and_a_line() {
        assert_eq!(
            line(&view()),
            "10:00:01 you: three is killed\n\
             1234567 requests, 0 failed, 12 retried | one up 38/s | three recovering 12/s\n"
        );
        assert!(introduction(&view()).contains("curl -X POST http://127.0.0.1:9090/demo"));
    }
}
