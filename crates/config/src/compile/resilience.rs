//! What keeps a pool serving while endpoints fail or fill up: ejection, slow start, retries,
//! hedges, limits, the queue.

use std::num::NonZeroU32;

use ::balance::{
    CircuitSettings, ConcurrencySettings, FeedbackSettings, HedgeSettings, OutlierSettings,
    QueueSettings, RetryOn, RetrySettings, SlowStartSettings, StatusRange, SuccessRateSettings,
};

use super::Compiler;
use crate::raw::{
    Believe, Concurrency, RawCircuit, RawConcurrency, RawFeedback, RawHedge, RawOutlier, RawQueue,
    RawRetry, RawSlowStart, RawSuccessRate, Switch,
};
use crate::spanned::{At, OffOr, StringOr, WordOr};
use crate::{suggest, units};

/// Codes of gRPC after which a call may be repeated: the endpoint did not do it, or not all of it.
/// The others are answers.
const GRPC_CODES: &[(&str, u32)] = &[
    ("grpc-cancelled", 1),
    ("grpc-deadline-exceeded", 4),
    ("grpc-resource-exhausted", 8),
    ("grpc-aborted", 10),
    ("grpc-internal", 13),
    ("grpc-unavailable", 14),
];

impl Compiler<'_> {
    pub(super) fn outlier(&mut self, raw: Option<OffOr<RawOutlier>>) -> OutlierSettings {
        let default = OutlierSettings::default();
        let raw = match raw {
            None => return default,
            Some(OffOr::Word(_)) => {
                return OutlierSettings {
                    consecutive: None,
                    success_rate: None,
                    ..default
                };
            }
            Some(OffOr::Table(raw)) => raw,
        };
        let max_place = raw.ejection_max.as_ref().map(|max| max.place.clone());
        let ejection = self.duration(raw.ejection, default.ejection);
        let settings = OutlierSettings {
            consecutive: raw.consecutive.or(default.consecutive),
            ejection,
            ejection_max: self.duration(raw.ejection_max, default.ejection_max.max(ejection)),
            ejected_percent_max: self.meaning(
                raw.ejected_max,
                units::percent,
                default.ejected_percent_max,
            ),
            success_rate: match raw.success_rate {
                None => default.success_rate,
                Some(OffOr::Word(_)) => None,
                Some(OffOr::Table(raw)) => Some(self.success_rate(raw)),
            },
        };
        if settings.ejection > settings.ejection_max {
            self.problems
                .error(max_place, "the first ejection is longer than the longest")
                .help("`ejection` is at most `ejection_max`");
        }
        settings
    }

    fn success_rate(&mut self, raw: RawSuccessRate) -> SuccessRateSettings {
        let default = SuccessRateSettings::default();
        SuccessRateSettings {
            interval: self.duration(raw.interval, default.interval),
            requests_min: raw
                .requests_min
                .map_or(default.requests_min, NonZeroU32::get),
            deviations: raw.deviations.unwrap_or(default.deviations),
            percent_max: self.meaning(raw.below, units::percent, default.percent_max),
        }
    }

    pub(super) fn slow_start(
        &mut self,
        raw: Option<At<StringOr<RawSlowStart>>>,
    ) -> Option<SlowStartSettings> {
        let default = SlowStartSettings::default();
        let Some(At { place, value }) = raw else {
            return Some(default);
        };
        let (window, aggression) = match value {
            StringOr::String(text) if text == "off" => return None,
            StringOr::String(text) => (Some(At::new(place, text)), None),
            StringOr::Table(raw) => (raw.window.map(At::text), raw.aggression),
        };
        Some(SlowStartSettings {
            window: self.meaning(window, units::duration, default.window),
            aggression: aggression.unwrap_or(default.aggression),
        })
    }

    pub(super) fn feedback(&mut self, raw: Option<OffOr<RawFeedback>>) -> FeedbackSettings {
        let default = FeedbackSettings::default();
        match raw {
            None => default,
            Some(OffOr::Word(_)) => FeedbackSettings {
                headers: false,
                full_on: Vec::new(),
            },
            Some(OffOr::Table(raw)) => FeedbackSettings {
                headers: raw
                    .headers
                    .map_or(default.headers, |word| matches!(word, Believe::Believe)),
                full_on: match raw.full_on {
                    None => default.full_on,
                    Some(statuses) => self.full_on(statuses),
                },
            },
        }
    }

    fn full_on(&mut self, statuses: Vec<At<String>>) -> Vec<u16> {
        let mut full_on = Vec::new();
        for At { place, value } in statuses {
            match refusal(&value) {
                Some(status) => full_on.push(status),
                None => {
                    self.problems
                        .error(
                            place,
                            format!("`{value}` does not say that an endpoint is full"),
                        )
                        .help("there are statuses from 400 to 599, such as \"503\"");
                }
            }
        }
        full_on
    }

    pub(super) fn concurrency(
        &mut self,
        raw: Option<At<WordOr<Concurrency, RawConcurrency>>>,
    ) -> Option<ConcurrencySettings> {
        let default = ConcurrencySettings::default();
        let At { place, value } = raw?;
        let raw = match value {
            WordOr::Word(Concurrency::Off) => return None,
            WordOr::Word(Concurrency::Adaptive) => return Some(default),
            WordOr::Table(raw) => raw,
        };
        let max_place = raw.max.as_ref().map_or(place, |max| max.place.clone());
        let settings = ConcurrencySettings {
            min: raw.min.unwrap_or(default.min),
            max: raw.max.map_or(default.max, |max| max.value),
        };
        if settings.min > settings.max {
            self.problems
                .error(max_place, "the least limit is greater than the greatest")
                .help(format!("`min` is at most `max`, which is {}", settings.max));
        }
        Some(settings)
    }

    /// What the file says of retries, before what `base` says.
    pub(super) fn retry(
        &mut self,
        raw: Option<OffOr<RawRetry>>,
        base: RetrySettings,
    ) -> RetrySettings {
        match raw {
            None => base,
            Some(OffOr::Word(_)) => RetrySettings {
                attempts: 0,
                ..base
            },
            Some(OffOr::Table(raw)) => RetrySettings {
                // Whoever tunes retries for a route wants them, off as they may be in the pool.
                attempts: raw
                    .attempts
                    .unwrap_or(base.attempts.max(RetrySettings::default().attempts)),
                on: match raw.on {
                    None => base.on,
                    Some(on) => self.retry_on(on),
                },
                timeout: self.duration_or_off(raw.timeout, base.timeout),
                body_bytes_max: self.size(raw.body, "0B", "64MiB", base.body_bytes_max),
            },
        }
    }

    fn retry_on(&mut self, conditions: Vec<At<String>>) -> RetryOn {
        let mut on = RetryOn {
            connect: false,
            reset: false,
            timeout: false,
            statuses: Vec::new(),
            grpc: 0,
        };
        for At { place, value } in conditions {
            let grpc = GRPC_CODES.iter().find(|(word, _)| *word == value);
            match (value.as_str(), refusal(&value), grpc) {
                ("connect", ..) => on.connect = true,
                ("reset", ..) => on.reset = true,
                ("timeout", ..) => on.timeout = true,
                (_, Some(status), _) => on.statuses.push(status),
                (.., Some((_, code))) => on.grpc |= 1 << code,
                (text, None, None) => {
                    let codes = GRPC_CODES.iter().map(|(word, _)| *word);
                    let words = ["connect", "reset", "timeout"]
                        .into_iter()
                        .chain(codes.clone());
                    let help = match suggest::similar(text, words) {
                        Some(meant) => format!("did you mean `{meant}`?"),
                        None => format!(
                            "there are `connect`, `reset`, `timeout`, statuses from 400 to 599, and `{}`",
                            codes.collect::<Vec<_>>().join("`, `")
                        ),
                    };
                    self.problems
                        .error(place, format!("`{text}` is no reason for a retry"))
                        .help(help);
                }
            }
        }
        on
    }

    /// What the file says of hedges, before what `base` says.
    pub(super) fn hedge(
        &mut self,
        raw: Option<WordOr<Switch, RawHedge>>,
        base: Option<HedgeSettings>,
    ) -> Option<HedgeSettings> {
        match raw {
            None => base,
            Some(WordOr::Word(Switch::Off)) => None,
            Some(WordOr::Word(Switch::On)) => Some(base.unwrap_or_default()),
            Some(WordOr::Table(raw)) => {
                let base = base.unwrap_or_default();
                let budget = |text: &str| match units::percent(text)? {
                    0 => Err("with a budget of 0% there are no copies".to_owned()),
                    percent => Ok(percent),
                };
                Some(HedgeSettings {
                    quantile: self.meaning(raw.after, units::quantile, base.quantile),
                    delay_min: self.duration(raw.min, base.delay_min),
                    budget_percent: self.meaning(raw.budget, budget, base.budget_percent),
                })
            }
        }
    }

    pub(super) fn queue(&mut self, raw: Option<OffOr<RawQueue>>) -> QueueSettings {
        let default = QueueSettings::default();
        match raw {
            None => default,
            Some(OffOr::Word(_)) => QueueSettings {
                length: 0,
                ..default
            },
            Some(OffOr::Table(raw)) => QueueSettings {
                length: raw.length.map_or(default.length, NonZeroU32::get),
                timeout: self.duration(raw.timeout, default.timeout),
            },
        }
    }
}

pub(super) fn circuit(raw: Option<RawCircuit>) -> CircuitSettings {
    raw.map_or_else(CircuitSettings::default, |raw| CircuitSettings {
        connections: raw.connections,
        requests: raw.requests,
    })
}

/// One status that refuses a request: a success or a redirect is never meant where an answer is
/// sent again or taken for a sign of load.
fn refusal(text: &str) -> Option<u16> {
    match units::statuses(text) {
        Ok(StatusRange { from, to }) if from == to && from >= 400 => Some(from),
        _ => None,
    }
}
