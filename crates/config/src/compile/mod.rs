//! Gives the keys their meaning and their defaults: `Raw*` to [`Snapshot`].
//!
//! Whatever is wrong is reported, a default takes its place and the work goes on, so that the
//! next mistake is found too. `text` keeps a snapshot with errors from leaving the crate.

mod address;
mod listener;
mod pool;
mod route;

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use ::balance::Address;

use crate::problem::Problems;
use crate::raw::{DurationText, RawAccessLog, RawAdmin, RawConfig, SizeText};
use crate::spanned::{At, StringOr};
use crate::{AccessLog, AccessLogSink, Admin, Snapshot, units};

pub(crate) use pool::policies;

/// Looks up `host:port`, a name and not an address. An argument, so that all but the lookup is
/// pure; see [`crate::resolve`] for the real one.
pub type Resolve<'a> = &'a dyn Fn(&str) -> io::Result<Vec<SocketAddr>>;

/// Names in the files, those included whose definition is broken: a route that refers to one is
/// not a second mistake.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) pools: BTreeSet<String>,
    pub(crate) listeners: BTreeSet<String>,
    /// There is a route, perhaps a broken one.
    pub(crate) has_routes: bool,
}

/// What every part of the work needs.
struct Compiler<'a> {
    names: &'a Names,
    resolve: Resolve<'a>,
    problems: &'a mut Problems,
}

pub(crate) fn compile(
    raw: RawConfig,
    names: &Names,
    resolve: Resolve<'_>,
    problems: &mut Problems,
) -> Snapshot {
    let mut compiler = Compiler {
        names,
        resolve,
        problems,
    };
    let mut taken = listener::Taken::default();
    let admin = compiler.admin(raw.admin, &mut taken);
    let access_log = compiler.access_log(raw.access_log);
    let mut listeners = compiler.listeners(raw.listeners, &mut taken);
    let pools = compiler.pools(raw.pools);
    let routes = compiler.routes(raw.routes, &mut listeners, &pools);
    Snapshot {
        workers: raw
            .workers
            .and_then(|workers| NonZeroUsize::new(workers.value as usize)),
        admin,
        access_log,
        listeners: listeners.into_iter().map(|named| named.listener).collect(),
        pools: pools.into_iter().map(|named| named.pool).collect(),
        routes,
    }
}

impl Compiler<'_> {
    fn admin(&mut self, raw: Option<At<RawAdmin>>, taken: &mut listener::Taken) -> Admin {
        // Loopback, because what is shown there is for the operator.
        let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 9090));
        let Some(bind) = raw.and_then(|admin| admin.value.bind) else {
            return Admin {
                bind: Some(default),
            };
        };
        if bind.value == "off" {
            return Admin { bind: None };
        }
        let mut address = default;
        if let Ok(parsed) = bind.value.parse() {
            address = parsed;
            taken.claim(&Address::Tcp(address), &bind.place, self.problems);
        } else {
            let message = format!("`{}` is no address and port", bind.value);
            self.problems
                .error(bind.place, message)
                .help("write it as \"127.0.0.1:9090\", or \"off\"");
        }
        Admin {
            bind: Some(address),
        }
    }

    fn access_log(&mut self, raw: Option<At<RawAccessLog>>) -> AccessLog {
        let sink = match raw.and_then(|log| log.value.sink) {
            None => AccessLogSink::Stdout,
            Some(At { place, value }) => match value {
                StringOr::String(text) if text == "stdout" => AccessLogSink::Stdout,
                StringOr::String(text) if text == "off" => AccessLogSink::Off,
                StringOr::String(text) => {
                    self.problems
                        .error(place, format!("`{text}` is no place for a log"))
                        .help("there are \"stdout\", \"off\" and { file = \"/path\" }");
                    AccessLogSink::Off
                }
                StringOr::Table(log) => {
                    if log.file.value.is_empty() {
                        self.problems
                            .error(log.file.place, "the path of the log is empty");
                    }
                    AccessLogSink::File(log.file.value.into())
                }
            },
        };
        AccessLog { sink }
    }

    /// What a text means, or `default` where there is none or a wrong one.
    fn meaning<T>(
        &mut self,
        text: Option<At<String>>,
        read: impl FnOnce(&str) -> Result<T, String>,
        default: T,
    ) -> T {
        let Some(At { place, value }) = text else {
            return default;
        };
        read(&value).unwrap_or_else(|message| {
            self.problems.error(place, message);
            default
        })
    }

    fn duration(&mut self, text: Option<At<DurationText>>, default: Duration) -> Duration {
        let text = text.map(|text| At::new(text.place, text.value.0));
        self.meaning(text, units::duration, default)
    }

    fn size(&mut self, text: Option<At<SizeText>>, min: &str, max: &str, default: usize) -> usize {
        let text = text.map(|text| At::new(text.place, text.value.0));
        let read = |text: &str| {
            let bytes = units::size(text)?;
            let bound = |text| units::size(text).expect("a size of our own");
            if (bound(min)..=bound(max)).contains(&bytes) {
                Ok(bytes)
            } else {
                Err(format!("`{text}` is out of range, {min} to {max}"))
            }
        };
        self.meaning(text, read, default)
    }

    /// Names stand in logs, in metrics and on command lines: no space, no quoting.
    fn check_name(&mut self, kind: &str, name: &At<String>) {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if name.value.is_empty() || name.value.len() > 64 || !name.value.chars().all(plain) {
            let message = format!("`{}` cannot be the name of {kind}", name.value);
            self.problems
                .error(name.place.clone(), message)
                .help("a name has 1 to 64 letters, digits, `-`, `_` and `.`");
        }
    }
}
