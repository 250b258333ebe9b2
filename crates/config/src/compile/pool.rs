//! Pools: endpoints, policy, checks, retries, queue.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::time::Duration;

use ::balance::{
    Address, Check, CheckKind, DEFAULT_POLICY, EndpointSettings, OutlierSettings, POLICIES,
    PolicySettings, PoolSettings, QueueSettings, RetryOn, RetrySettings, StatusRange,
};

use super::{Compiler, address};
use crate::raw::{
    Fail, RawCheck, RawEndpoint, RawOutlier, RawPool, RawPoolTimeouts, RawQueue, RawRetry,
};
use crate::spanned::{At, OffOr, OneOrMany, Place, StringOr};
use crate::{Pool, RouteTimeouts, suggest, units};

/// How long an unused connection to an endpoint is kept: less than the 60 s and more after which
/// most servers close, so that we are first and no request meets a closing connection.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(30);

/// Statuses that count as a healthy answer to a check.
const EXPECT: StatusRange = StatusRange { from: 200, to: 399 };

/// The names of the policies.
pub(crate) fn policies() -> impl Iterator<Item = &'static str> {
    POLICIES.iter().map(|kind| kind.name)
}

/// A pool, and what only its routes need.
pub(super) struct NamedPool {
    pub(super) pool: Pool,
    /// Where its name stands.
    pub(super) place: Place,
    /// What its routes start from.
    pub(super) timeouts: RouteTimeouts,
    pub(super) retry: RetrySettings,
}

impl Compiler<'_> {
    pub(super) fn pools(&mut self, raw: BTreeMap<At<String>, RawPool>) -> Vec<NamedPool> {
        if self.names.pools.is_empty() {
            self.problems
                .error(None, "there is no pool")
                .help("add one: [pools.app] with endpoints = [\"10.0.0.11:3000\"]");
        }
        raw.into_iter()
            .map(|(name, raw)| self.pool(name, raw))
            .collect()
    }

    fn pool(&mut self, name: At<String>, raw: RawPool) -> NamedPool {
        self.check_name("a pool", &name);
        let settings = PoolSettings {
            policy: PolicySettings::named(
                policies()
                    .find(|policy| Some(*policy) == raw.policy.as_deref())
                    .unwrap_or(DEFAULT_POLICY),
            ),
            check: self.check(raw.check),
            outlier: self.outlier(raw.outlier),
            queue: self.queue(raw.queue),
            fail_closed: matches!(raw.fail, Some(Fail::Closed)),
            ..PoolSettings::new(name.value)
        };
        let retry = self.retry(raw.retry);
        let (keep_alive_idle, timeouts) = self.pool_timeouts(raw.timeouts.unwrap_or_default());
        NamedPool {
            pool: Pool {
                settings,
                endpoints: self.endpoints(raw.endpoints),
                keep_alive_idle,
            },
            place: name.place,
            timeouts,
            retry,
        }
    }

    fn endpoints(&mut self, raw: At<Vec<At<StringOr<RawEndpoint>>>>) -> Vec<EndpointSettings> {
        let mut endpoints = Vec::new();
        let mut names: HashMap<Box<str>, Place> = HashMap::new();
        let mut addresses: HashMap<Address, Place> = HashMap::new();
        if raw.value.is_empty() {
            self.problems
                .error(raw.place, "a pool has at least one endpoint");
        }
        for At { place, value } in raw.value {
            for endpoint in self.endpoint(&place, value) {
                let name_before = names.insert(endpoint.name.clone(), place.clone());
                let address_before = addresses.insert(endpoint.address.clone(), place.clone());
                let (what, first) = match (address_before, name_before) {
                    (Some(first), _) => (format!("address `{}`", endpoint.address), first),
                    (None, Some(first)) => (format!("name `{}`", endpoint.name), first),
                    (None, None) => {
                        endpoints.push(endpoint);
                        continue;
                    }
                };
                self.problems
                    .error(place.clone(), format!("two endpoints have the {what}"))
                    .also(first, "the other one")
                    .help("for a larger share of the traffic use `weight`");
            }
        }
        endpoints
    }

    /// One endpoint for each address of a name.
    fn endpoint(&mut self, place: &Place, raw: StringOr<RawEndpoint>) -> Vec<EndpointSettings> {
        let raw = match raw {
            StringOr::Table(raw) => raw,
            StringOr::String(address) => RawEndpoint {
                address: At::new(place.clone(), address),
                name: None,
                weight: None,
                max_requests: None,
            },
        };
        if let Some(name) = &raw.name {
            self.check_name("an endpoint", name);
        }
        let text = raw.address.value;
        let mut addresses = match address::addresses(&text, Ipv4Addr::LOCALHOST, self.resolve) {
            Ok(addresses) => addresses,
            Err((message, help)) => {
                self.problems.error(raw.address.place, message).help = help;
                return Vec::new();
            }
        };
        // A name with both families has the same servers twice as a rule: `localhost` is one.
        if !addresses.iter().all(is_ipv6) {
            addresses.retain(|address| !is_ipv6(address));
        }
        if addresses.iter().any(address::has_no_port) {
            self.problems
                .error(raw.address.place, "nobody can connect to port 0");
        }
        let name = raw.name.map_or(text, |name| name.value);
        let is_one = addresses.len() == 1;
        addresses
            .into_iter()
            .map(|address| EndpointSettings {
                name: if is_one {
                    name.as_str().into()
                } else {
                    format!("{name} ({address})").into()
                },
                address,
                weight: raw.weight.unwrap_or(1),
                max_requests: raw.max_requests,
                tier: 0,
                zone: None,
            })
            .collect()
    }

    fn check(&mut self, raw: Option<At<StringOr<RawCheck>>>) -> Check {
        let default = Check::default();
        let Some(At { place, value }) = raw else {
            return default;
        };
        let raw = match value {
            StringOr::Table(raw) => raw,
            StringOr::String(text) => {
                let kind = self.check_kind(place, text);
                return Check { kind, ..default };
            }
        };
        let kind = match raw.http {
            Some(path) => {
                self.check_path(&path);
                CheckKind::Http {
                    path: path.value.into(),
                    host: self.check_host(raw.host),
                    headers: Vec::new(),
                    expect: self.expect(raw.expect),
                    body: None,
                }
            }
            None => {
                let host = raw.host.map(|host| ("host", host.place));
                let expect = raw.expect.map(|expect| ("expect", expect.place));
                for (key, place) in host.into_iter().chain(expect) {
                    self.problems
                        .error(place, format!("`{key}` is for HTTP checks"))
                        .help("`http = \"/path\"` makes it one");
                }
                CheckKind::Tcp
            }
        };
        Check {
            kind,
            port: None,
            interval: self.duration(raw.interval, default.interval),
            timeout: self.duration(raw.timeout, default.timeout),
            fall: raw.fall.unwrap_or(default.fall),
            rise: raw.rise.unwrap_or(default.rise),
        }
    }

    /// The short form of a check.
    fn check_kind(&mut self, place: Place, text: String) -> CheckKind {
        match text.as_str() {
            "tcp" => CheckKind::Tcp,
            "off" => CheckKind::Off,
            path if path.starts_with('/') => {
                let path = At::new(place, text);
                self.check_path(&path);
                CheckKind::Http {
                    path: path.value.into(),
                    host: None,
                    headers: Vec::new(),
                    expect: vec![EXPECT],
                    body: None,
                }
            }
            _ => {
                let message = format!("`{text}` is no check");
                let help = suggest::similar(&text, ["tcp", "off"]).map_or_else(
                    || "there are \"/path\", \"tcp\", \"off\" and a table".into(),
                    |meant| format!("did you mean `{meant}`?"),
                );
                self.problems.error(place, message).help(help);
                CheckKind::Tcp
            }
        }
    }

    /// The path goes into a request line as it is.
    fn check_path(&mut self, path: &At<String>) {
        let is_visible = path.value.bytes().all(|byte| byte.is_ascii_graphic());
        if !path.value.starts_with('/') || !is_visible {
            self.problems
                .error(path.place.clone(), format!("`{}` is no path", path.value))
                .help("a path begins with `/`; spaces and the like are percent-encoded");
        }
    }

    /// The host goes into a field as it is.
    fn check_host(&mut self, host: Option<At<String>>) -> Option<Box<str>> {
        let host = host?;
        let is_visible = host.value.bytes().all(|byte| byte.is_ascii_graphic());
        if host.value.is_empty() || !is_visible {
            let message = format!("`{}` is no host", host.value);
            self.problems.error(host.place, message);
        }
        Some(host.value.into())
    }

    fn expect(&mut self, raw: Option<OneOrMany>) -> Vec<StatusRange> {
        let Some(raw) = raw else {
            return vec![EXPECT];
        };
        if raw.list.is_empty() {
            self.problems.error(raw.place, "no status can be a success");
        }
        raw.list
            .into_iter()
            .map(|text| self.meaning(Some(text), units::statuses, EXPECT))
            .collect()
    }

    fn outlier(&mut self, raw: Option<OffOr<RawOutlier>>) -> OutlierSettings {
        let default = OutlierSettings::default();
        let raw = match raw {
            None => return default,
            Some(OffOr::Off) => {
                return OutlierSettings {
                    consecutive: None,
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
            success_rate: default.success_rate,
        };
        if settings.ejection > settings.ejection_max {
            self.problems
                .error(max_place, "the first ejection is longer than the longest")
                .help("`ejection` is at most `ejection_max`");
        }
        settings
    }

    fn retry(&mut self, raw: Option<OffOr<RawRetry>>) -> RetrySettings {
        let default = RetrySettings::default();
        match raw {
            None => default,
            Some(OffOr::Off) => RetrySettings {
                attempts: 0,
                ..default
            },
            Some(OffOr::Table(raw)) => RetrySettings {
                attempts: raw.attempts.unwrap_or(default.attempts),
                on: raw.on.map_or(default.on, |on| self.retry_on(on)),
                timeout: None,
                body_bytes_max: self.size(raw.body, "0B", "64MiB", default.body_bytes_max),
            },
        }
    }

    fn retry_on(&mut self, conditions: Vec<At<String>>) -> RetryOn {
        let mut on = RetryOn {
            connect: false,
            reset: false,
            timeout: false,
            statuses: Vec::new(),
        };
        for At { place, value } in conditions {
            match value.as_str() {
                "connect" => on.connect = true,
                "reset" => on.reset = true,
                "timeout" => on.timeout = true,
                text => match units::statuses(text) {
                    // A success that is sent again, or a redirect, is never meant.
                    Ok(StatusRange { from, to }) if from == to && from >= 400 => {
                        on.statuses.push(from);
                    }
                    _ => {
                        let words = ["connect", "reset", "timeout"];
                        let help = suggest::similar(text, words).map_or_else(
                            || "there are `connect`, `reset`, `timeout` and statuses from 400 to 599".into(),
                            |meant| format!("did you mean `{meant}`?"),
                        );
                        self.problems
                            .error(place, format!("`{text}` is no reason for a retry"))
                            .help(help);
                    }
                },
            }
        }
        on
    }

    fn queue(&mut self, raw: Option<OffOr<RawQueue>>) -> QueueSettings {
        let default = QueueSettings::default();
        match raw {
            None => default,
            Some(OffOr::Off) => QueueSettings {
                length: 0,
                ..default
            },
            Some(OffOr::Table(raw)) => QueueSettings {
                length: raw.length.map_or(default.length, NonZeroU32::get),
                timeout: self.duration(raw.timeout, default.timeout),
            },
        }
    }

    /// How long connections are kept, and what the routes start from.
    fn pool_timeouts(&mut self, raw: RawPoolTimeouts) -> (Duration, RouteTimeouts) {
        let default = RouteTimeouts::default();
        let timeouts = RouteTimeouts {
            connect: self.duration(raw.connect, default.connect),
            response: self.duration(raw.response, default.response),
            body: self.duration(raw.body, default.body),
            tunnel: self.duration(raw.tunnel, default.tunnel),
            total: self.total(raw.total, default.total),
        };
        (self.duration(raw.idle, KEEP_ALIVE_IDLE), timeouts)
    }
}

fn is_ipv6(address: &Address) -> bool {
    matches!(address, Address::Tcp(address) if address.is_ipv6())
}
