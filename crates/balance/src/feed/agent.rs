//! What agents answer: a line of words, or a figure.

use serde_json::Value;

use crate::{AdminState, LoadReport};

/// What the agent of an endpoint says by words. What it does not speak of stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AgentWords {
    /// `up`: true; `down`, `fail`, `stopped`: false.
    pub is_up: Option<bool>,
    /// `ready`, `drain`, `maint`.
    pub admin_state: Option<AdminState>,
    /// `75%`, `weight:3`.
    pub weight: Option<AgentWeight>,
    /// `maxconn:30`; 0 is the agent's way to say that there is no bound but the configured one.
    pub max_requests: Option<u32>,
}

/// A weight as an agent puts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentWeight {
    /// Of the configured one.
    Percent(u32),
    /// In place of the configured one.
    Weight(u32),
}

/// Reads a line of words: between them spaces, tabs or commas, behind a `#` a remark. Words that
/// nobody knows, and numbers that are none, are passed over; of words that contradict each other
/// the last one counts. `None` if no word is known: it is no agent that speaks there.
///
/// Source: HAProxy's configuration manual, `agent-check`; `weight:` is from here.
pub fn parse_agent_words(line: &[u8]) -> Option<AgentWords> {
    let end = line.iter().position(|byte| b"#\r\n\0".contains(byte));
    let text = std::str::from_utf8(&line[..end.unwrap_or(line.len())]).ok()?;
    let mut words = AgentWords::default();
    for word in text.split([' ', '\t', ',']) {
        words.take(word);
    }
    (words != AgentWords::default()).then_some(words)
}

/// Reads what an endpoint says of its load in the body of an answer: a number, 1.0 being all it
/// can do; a percentage, `75%`; or JSON, `{"utilization": 0.75, "in_flight": 3, "latency_us":
/// 900}`, each member optional. `None` if it says nothing of the kind.
pub fn parse_load_body(body: &[u8]) -> Option<LoadReport> {
    let text = std::str::from_utf8(body).ok()?.trim();
    let report = if text.starts_with('{') {
        let object: Value = serde_json::from_str(text).ok()?;
        let number = |name: &str| object.get(name).and_then(Value::as_f64);
        // `as` saturates.
        let whole = |name: &str| number(name).filter(|number| *number >= 0.0);
        LoadReport {
            utilization: number("utilization").and_then(utilization),
            in_flight: whole("in_flight").map(|number| number as u32),
            latency_us: whole("latency_us").map(|number| number as u32),
            ..LoadReport::default()
        }
    } else {
        let (digits, all) = match text.strip_suffix('%') {
            Some(digits) => (digits.trim_end(), 100.0),
            None => (text, 1.0),
        };
        LoadReport {
            utilization: utilization(digits.parse::<f64>().ok()? / all),
            ..LoadReport::default()
        }
    };
    (report != LoadReport::default()).then_some(report)
}

impl AgentWords {
    fn take(&mut self, word: &str) {
        match word.to_ascii_lowercase().as_str() {
            "up" => self.is_up = Some(true),
            "down" | "fail" | "stopped" => self.is_up = Some(false),
            "ready" => self.admin_state = Some(AdminState::Ready),
            "drain" => self.admin_state = Some(AdminState::Drain),
            "maint" => self.admin_state = Some(AdminState::Maintenance),
            word => {
                if let Some(percent) = word.strip_suffix('%').and_then(number) {
                    self.weight = Some(AgentWeight::Percent(percent));
                } else if let Some(weight) = word.strip_prefix("weight:").and_then(number) {
                    self.weight = Some(AgentWeight::Weight(weight));
                } else if let Some(max) = word.strip_prefix("maxconn:").and_then(number) {
                    self.max_requests = Some(max);
                }
            }
        }
    }
}

impl AgentWeight {
    /// In percent of a `configured` weight. No more than makes the greatest weight there is, and
    /// not nothing unless the agent says so. An endpoint of weight 0 stays at that.
    pub fn percent_of(self, configured: u32) -> u32 {
        let base = configured.max(1);
        let percent = match self {
            Self::Percent(percent) => percent,
            Self::Weight(0) => 0,
            Self::Weight(weight) => (weight.min(WEIGHT_MAX) * 100 / base).max(1),
        };
        percent.min(WEIGHT_MAX * 100 / base)
    }
}

fn utilization(number: f64) -> Option<f32> {
    let number = number as f32;
    (number.is_finite() && number >= 0.0).then_some(number)
}

/// Digits alone: what `parse` takes beside them (`+7`) is a typing error here.
fn number(digits: &str) -> Option<u32> {
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| digits.parse().ok()).flatten()
}

/// The greatest weight.
const WEIGHT_MAX: u32 = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_word_says_one_thing_and_leaves_the_rest_alone() {
        let nothing = AgentWords::default();
        for (line, said) in [
            (
                "up",
                AgentWords {
                    is_up: Some(true),
                    ..nothing
                },
            ),
            (
                "down",
                AgentWords {
                    is_up: Some(false),
                    ..nothing
                },
            ),
            (
                "fail",
                AgentWords {
                    is_up: Some(false),
                    ..nothing
                },
            ),
            (
                "stopped",
                AgentWords {
                    is_up: Some(false),
                    ..nothing
                },
            ),
            (
                "ready",
                AgentWords {
                    admin_state: Some(AdminState::Ready),
                    ..nothing
                },
            ),
            (
                "drain",
                AgentWords {
                    admin_state: Some(AdminState::Drain),
                    ..nothing
                },
            ),
            (
                "maint",
                AgentWords {
                    admin_state: Some(AdminState::Maintenance),
                    ..nothing
                },
            ),
            (
                "75%",
                AgentWords {
                    weight: Some(AgentWeight::Percent(75)),
                    ..nothing
                },
            ),
            (
                "weight:3",
                AgentWords {
                    weight: Some(AgentWeight::Weight(3)),
                    ..nothing
                },
            ),
            (
                "maxconn:30",
                AgentWords {
                    max_requests: Some(30),
                    ..nothing
                },
            ),
        ] {
            assert_eq!(parse_agent_words(line.as_bytes()), Some(said), "{line}");
        }
    }

    #[test]
    fn a_line_has_many_words_and_ends_with_a_remark() {
        let said = AgentWords {
            is_up: Some(true),
            admin_state: Some(AdminState::Ready),
            weight: Some(AgentWeight::Percent(50)),
            max_requests: Some(7),
        };
        for line in [
            "up ready 50% maxconn:7\n",
            "UP,Ready,\t50%  maxconn:7 what,is:this +8%\r\nmaint",
            "down up drain ready 9% 50% maxconn:7 #maint: the disk is full",
        ] {
            assert_eq!(parse_agent_words(line.as_bytes()), Some(said), "{line}");
        }
    }

    #[test]
    fn a_line_without_a_known_word_is_no_answer() {
        for line in [
            "",
            "\n",
            "#up",
            "HTTP/1.1 400 Bad Request",
            "%",
            "-5%",
            "\u{ff}",
            "maxconn:",
        ] {
            assert_eq!(parse_agent_words(line.as_bytes()), None, "{line}");
        }
        assert_eq!(parse_agent_words(b"up \xff"), None);
    }

    #[test]
    fn weights_are_percentages_of_what_is_configured() {
        for (weight, configured, percent) in [
            (AgentWeight::Percent(75), 4, 75),
            (AgentWeight::Percent(0), 4, 0),
            (AgentWeight::Percent(u32::MAX), 256, 100),
            (AgentWeight::Percent(u32::MAX), 1, 25_600),
            (AgentWeight::Weight(3), 2, 150),
            (AgentWeight::Weight(1), 256, 1),
            (AgentWeight::Weight(0), 256, 0),
            (AgentWeight::Weight(u32::MAX), 2, 12_800),
        ] {
            assert_eq!(
                weight.percent_of(configured),
                percent,
                "{weight:?} of {configured}"
            );
        }
    }

    #[test]
    fn a_figure_comes_plain_as_a_percentage_or_as_json() {
        for (body, utilization) in [
            ("0.75", 0.75),
            (" 1\n", 1.0),
            ("75%", 0.75),
            ("12.5 %\r\n", 0.125),
            (r#"{"utilization": 0.75}"#, 0.75),
            (r#"{"name": "a", "utilization": 2, "more": [{}]}"#, 2.0),
        ] {
            let report = parse_load_body(body.as_bytes()).expect(body);
            assert_eq!(report.utilization, Some(utilization), "{body}");
        }
        let report = parse_load_body(br#"{"in_flight": 3, "latency_us": 1e12}"#);
        assert_eq!(
            report,
            Some(LoadReport {
                in_flight: Some(3),
                latency_us: Some(u32::MAX),
                ..LoadReport::default()
            })
        );
    }

    #[test]
    fn what_is_no_figure_reports_nothing() {
        for body in [
            "",
            "fine",
            "-1",
            "-5%",
            "NaN",
            "inf",
            "1e300",
            "{}",
            "{",
            "[0.5]",
            r#"{"utilization": "high"}"#,
            r#"{"utilization": -0.5, "in_flight": -1}"#,
        ] {
            assert_eq!(parse_load_body(body.as_bytes()), None, "{body}");
        }
        assert_eq!(parse_load_body(b"0.5\xff"), None);
    }

    proptest! {
        #[test]
        fn an_effective_weight_is_never_above_the_greatest(
            line in "[a-z0-9:%#, ]{0,40}",
            configured in 0u32..=256,
        ) {
            if let Some(weight) = parse_agent_words(line.as_bytes()).and_then(|words| words.weight) {
                prop_assert!(configured * weight.percent_of(configured) <= WEIGHT_MAX * 100);
            }
        }
    }
}
