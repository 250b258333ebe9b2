//! Gives the keys their meaning and their defaults: `Raw*` to [`Snapshot`].
//!
//! Whatever is wrong is reported, a default takes its place and the work goes on, so that the
//! next mistake is found too. `text` keeps a snapshot with errors from leaving the crate.

mod address;
mod check;
mod cookies;
mod leads;
mod listener;
mod policy;
mod pool;
mod protocol;
mod relay;
mod resilience;
mod route;
mod socket;
mod tls;

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use ::balance::Address;

use crate::problem::Problems;
use crate::raw::{DurationText, RawAccessLog, RawAdmin, RawConfig, RawSecret, SizeText};
use crate::spanned::{At, Place, StringOr};
use crate::{AccessLog, AccessLogSink, Admin, Secret, Snapshot, units};

use listener::Transport;
use pool::NamedPool;

pub(crate) use policy::policies;

/// What a config refers to and does not contain. An argument, so that all else is pure; the real
/// one is [`Outside::system`].
#[derive(Clone, Copy)]
pub struct Outside<'a> {
    /// Looks up `host:port`, a name and not an address.
    pub resolve: Resolve<'a>,
    /// Reads a file.
    pub read: &'a dyn Fn(&Path) -> io::Result<Contents>,
    /// Looks into what only TLS can read.
    pub check_tls: CheckTls<'a>,
}

/// What is wrong with files is the error, in one sentence; what will soon be wrong, such as a
/// certificate that is about to expire, is a warning.
pub type CheckTls<'a> = &'a dyn Fn(TlsFiles<'_>) -> Result<Option<String>, String>;

/// What is in PEM files.
#[derive(Clone, Copy)]
pub enum TlsFiles<'a> {
    /// A certificate chain and its key, which belong together.
    Certificate {
        /// The chain, leaf first.
        cert: &'a [u8],
        /// The private key.
        key: &'a [u8],
    },
    /// Who issues the certificates of others.
    Authorities {
        /// Their own certificates.
        ca: &'a [u8],
        /// Lists of what they revoked.
        crl: Option<&'a [u8]>,
    },
}

/// A file that a config refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Nobody but its owner may read or change it.
    pub is_private: bool,
}

type Resolve<'a> = &'a dyn Fn(&str) -> io::Result<Vec<SocketAddr>>;

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
    outside: Outside<'a>,
    problems: &'a mut Problems,
    /// The zone that the process runs in.
    zone: Option<At<Box<str>>>,
    /// The first endpoint of a zone, and whether one is of the process's own.
    zoned_endpoint: Option<Place>,
    has_near_endpoint: bool,
    /// What does not fit its type was left out before.
    has_gaps: bool,
}

pub(crate) fn compile(
    raw: RawConfig,
    names: &Names,
    outside: Outside<'_>,
    problems: &mut Problems,
) -> Snapshot {
    let has_gaps = problems.has_errors();
    let mut compiler = Compiler {
        names,
        outside,
        problems,
        zone: None,
        zoned_endpoint: None,
        has_near_endpoint: false,
        has_gaps,
    };
    compiler.zone = raw.zone.map(|zone| compiler.zone_name(zone));
    let secret = raw.secret.and_then(|secret| compiler.secret(secret.value));
    let mut taken = listener::Taken::default();
    let admin = compiler.admin(raw.admin, &mut taken);
    let access_log = compiler.access_log(raw.access_log);
    let mut listeners = compiler.listeners(raw.listeners, &mut taken);
    let mut pools = compiler.pools(raw.pools);
    let routes = compiler.routes(raw.routes, &mut listeners, &mut pools);
    // With errors, what is missing may be in what is broken.
    if !compiler.problems.has_errors() {
        compiler.warn_of_zones();
        compiler.warn_of_restarts(secret.as_ref(), &pools);
    }
    Snapshot {
        workers: raw
            .workers
            .and_then(|workers| NonZeroUsize::new(workers.value as usize)),
        secret,
        admin,
        access_log,
        listeners: listeners.into_iter().map(|named| named.listener).collect(),
        pools: pools.into_iter().map(|named| named.pool).collect(),
        routes,
    }
}

impl Compiler<'_> {
    /// Zones stand in logs and metrics, as names do.
    fn zone_name(&mut self, zone: At<String>) -> At<Box<str>> {
        self.check_name("a zone", &zone);
        At::new(zone.place, zone.value.into())
    }

    fn secret(&mut self, raw: RawSecret) -> Option<Secret> {
        let At { place, value: file } = raw.file;
        let Contents { bytes, is_private } = match (self.outside.read)(Path::new(&file)) {
            Ok(contents) => contents,
            Err(error) => {
                let message = format!("cannot read {file}: {error}");
                self.problems
                    .error(place, message)
                    .help(how_to_make_a_secret(&file));
                return None;
            }
        };
        match Secret::read(&bytes) {
            Ok(secret) => {
                if !is_private {
                    self.warn_of_readers(&At::new(place, file));
                }
                Some(secret)
            }
            Err(message) => {
                self.problems
                    .error(place, message)
                    .help(how_to_make_a_secret(&file));
                None
            }
        }
    }

    /// Others may read or change what is for the owner of `file` alone.
    fn warn_of_readers(&mut self, file: &At<String>) {
        let At { place, value: file } = file;
        self.problems
            .warning(
                place.clone(),
                format!("others than its owner may read or change {file}"),
            )
            .help(format!("take that from them: chmod 600 {file}"));
    }

    fn warn_of_zones(&mut self) {
        match (&self.zone, &self.zoned_endpoint) {
            (Some(zone), _) if !self.has_near_endpoint => {
                let message = format!("no endpoint is in zone `{}`", zone.value);
                self.problems
                    .warning(zone.place.clone(), message)
                    .help("`zone` of an endpoint says where it stands");
            }
            (None, Some(place)) => {
                self.problems
                    .warning(place.clone(), "a zone is preferred by nobody")
                    .help("`zone = \"…\"` at the top says where this process runs");
            }
            _ => {}
        }
    }

    fn warn_of_restarts(&mut self, secret: Option<&Secret>, pools: &[NamedPool]) {
        let cookie = pools.iter().find_map(|named| named.cookie.as_ref());
        if let (Some(place), None) = (cookie, secret) {
            self.problems
                .warning(
                    place.clone(),
                    "without a `secret`, sessions move when Pointsman is restarted",
                )
                .help(format!(
                    "add `secret = {{ file = \"secret\" }}` at the top, and {}",
                    how_to_make_a_secret("secret")
                ));
        }
    }

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
            let address = Address::Tcp(address);
            taken.claim(Transport::Tcp, &address, &bind.place, self.problems);
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
        self.meaning(text.map(At::text), units::duration, default)
    }

    fn duration_within(
        &mut self,
        text: Option<At<DurationText>>,
        min: &str,
        max: &str,
        default: Duration,
    ) -> Duration {
        let read = |text: &str| {
            let duration = units::duration(text)?;
            let bound = |text| units::duration(text).expect("a duration of our own");
            if (bound(min)..=bound(max)).contains(&duration) {
                Ok(duration)
            } else {
                Err(format!("`{text}` is out of range, {min} to {max}"))
            }
        };
        self.meaning(text.map(At::text), read, default)
    }

    /// A bound, or `off`.
    fn duration_or_off(
        &mut self,
        text: Option<At<DurationText>>,
        default: Option<Duration>,
    ) -> Option<Duration> {
        let read = |text: &str| match text {
            "off" => Ok(None),
            text => units::duration(text).map(Some),
        };
        self.meaning(text.map(At::text), read, default)
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

    /// Of keys that exclude each other, a table has one.
    fn check_one_of(&mut self, table: &Place, keys: &[(&str, Option<&Place>)]) {
        let mut present = keys
            .iter()
            .filter_map(|(key, place)| Some((key, (*place)?.clone())));
        match (present.next(), present.next()) {
            // One that is wrong was left out before.
            (None, _) if self.problems.has_errors_in(table) => {}
            (None, _) => {
                let names: Vec<String> = keys.iter().map(|(key, _)| format!("`{key}`")).collect();
                let message = format!("one of {} is missing", names.join(", "));
                self.problems.error(table.clone(), message);
            }
            (Some((first, first_place)), Some((second, second_place))) => {
                self.problems
                    .error(
                        second_place,
                        format!("`{first}` and `{second}` exclude each other"),
                    )
                    .also(first_place, "the other one");
            }
            _ => {}
        }
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

/// A token, as names of header fields and cookies are (RFC 9110 §5.6.2).
fn is_token(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_part)
}

fn how_to_make_a_secret(file: &str) -> String {
    format!("make one: (umask 077; head -c 32 /dev/urandom | base64 > {file})")
}
