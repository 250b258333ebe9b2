//! Policies and sessions: how an endpoint is chosen, and which requests stay at one.

use std::time::Duration;

use ::balance::{
    DEFAULT_POLICY, HashKey, LoadProbeSettings, POLICIES, PolicySettings, StickyBy, StickySettings,
};

use super::{Compiler, is_token};
use crate::raw::{
    KeyWord, PolicyName, RawAdaptive, RawHashKey, RawHashing, RawLearn, RawLoadProbe, RawPolicy,
    RawSticky, StickyMode,
};
use crate::spanned::{At, Place, StringOr, WordOr};

/// Probes for each request: the load of an endpoint is then as old as its share of requests.
const PROBES_PER_REQUEST: f64 = 1.0;

/// For one probe: a report that takes longer is out of date when it comes.
const PROBE_TIMEOUT: Duration = Duration::from_millis(20);

/// The names of the policies.
pub(crate) fn policies() -> impl Iterator<Item = &'static str> {
    POLICIES.iter().map(|kind| kind.name)
}

impl Compiler<'_> {
    pub(super) fn policy(
        &mut self,
        raw: Option<At<WordOr<PolicyName, RawPolicy>>>,
    ) -> PolicySettings {
        let Some(At { place, value }) = raw else {
            return PolicySettings::default();
        };
        let raw = match value {
            // The schema has the names: it is one of them.
            WordOr::Word(PolicyName(name)) => return named(&name),
            WordOr::Table(raw) => raw,
        };
        self.check_one_of(
            &place,
            &[
                ("adaptive", place_of(&raw.adaptive)),
                ("maglev", place_of(&raw.maglev)),
                ("rendezvous", place_of(&raw.rendezvous)),
            ],
        );
        match raw {
            RawPolicy {
                adaptive: Some(raw),
                ..
            } => self.adaptive(raw.value),
            RawPolicy {
                maglev: Some(raw), ..
            } => self.hashing("maglev", raw.value),
            RawPolicy {
                rendezvous: Some(raw),
                ..
            } => self.hashing("rendezvous", raw.value),
            _ => PolicySettings::default(),
        }
    }

    fn adaptive(&mut self, raw: RawAdaptive) -> PolicySettings {
        PolicySettings {
            load_probe: raw.probe.map(|probe| self.load_probe(probe)),
            ..named("adaptive")
        }
    }

    fn load_probe(&mut self, raw: At<StringOr<RawLoadProbe>>) -> LoadProbeSettings {
        let raw = match raw.value {
            StringOr::Table(raw) => raw,
            StringOr::String(path) => RawLoadProbe {
                path: At::new(raw.place, path),
                per_request: None,
                timeout: None,
            },
        };
        LoadProbeSettings {
            path: self.request_path(raw.path),
            per_request: raw.per_request.unwrap_or(PROBES_PER_REQUEST),
            timeout: self.duration_within(raw.timeout, "3ms", "100ms", PROBE_TIMEOUT),
        }
    }

    fn hashing(&mut self, name: &str, raw: RawHashing) -> PolicySettings {
        let default = named(name);
        PolicySettings {
            key: match raw.key {
                None => default.key,
                Some(key) => self.hash_key(key),
            },
            bounded_load: raw.bounded_load,
            ..default
        }
    }

    fn hash_key(&mut self, raw: RawHashKey) -> HashKey {
        let key = match raw.value {
            WordOr::Word(KeyWord::ClientIp) => return HashKey::ClientIp,
            WordOr::Word(KeyWord::Client) => return HashKey::ClientAddress,
            WordOr::Word(KeyWord::Path) => return HashKey::Path,
            WordOr::Table(key) => key,
        };
        self.check_one_of(
            &raw.place,
            &[
                ("header", place_of(&key.header)),
                ("cookie", place_of(&key.cookie)),
                ("query", place_of(&key.query)),
            ],
        );
        match (key.header, key.cookie, key.query) {
            (Some(name), ..) => self.header_key(name),
            (_, Some(name), _) => HashKey::Cookie(self.cookie_name(name)),
            (.., Some(name)) => HashKey::Query(self.query_name(name)),
            _ => HashKey::ClientIp,
        }
    }

    fn header_key(&mut self, name: At<String>) -> HashKey {
        HashKey::Header(self.header_name(name).to_ascii_lowercase().into())
    }

    /// RFC 6265 §4.1.1: the name is a token.
    fn cookie_name(&mut self, name: At<String>) -> Box<str> {
        if !is_token(&name.value) {
            let message = format!("`{}` cannot be the name of a cookie", name.value);
            self.problems
                .error(name.place, message)
                .help("a name has letters, digits, `-`, `_` and `.`; no space, no `=`");
        }
        name.value.into()
    }

    /// Compared with what stands in the request, which has nothing else in a name.
    fn query_name(&mut self, name: At<String>) -> Box<str> {
        let is_part = |byte: u8| byte.is_ascii_graphic() && !b"&=#?".contains(&byte);
        if name.value.is_empty() || !name.value.bytes().all(is_part) {
            let message = format!("`{}` cannot be the name of a parameter", name.value);
            self.problems
                .error(name.place, message)
                .help("write it as it stands in a URL, between `?` or `&` and `=`");
        }
        name.value.into()
    }

    pub(super) fn sticky(&mut self, raw: Option<At<RawSticky>>) -> Option<StickySettings> {
        let At { place, value: raw } = raw?;
        self.check_one_of(
            &place,
            &[
                ("cookie", place_of(&raw.cookie)),
                ("key", place_of(&raw.key)),
                ("learn", place_of(&raw.learn)),
            ],
        );
        let by = match (raw.cookie, raw.key, raw.learn) {
            (Some(name), ..) => StickyBy::Cookie(self.cookie_name(name)),
            (_, Some(key), _) => StickyBy::Key(self.hash_key(key)),
            (.., Some(learn)) => StickyBy::Learned(self.learned(learn)),
            // There is an error.
            _ => return None,
        };
        let default = StickySettings::by(by);
        Some(StickySettings {
            is_strict: matches!(raw.mode, Some(StickyMode::Strict)),
            idle: self.duration(raw.idle, default.idle),
            sessions_max: raw
                .sessions
                .map_or(default.sessions_max, |sessions| sessions as usize),
            bounded_load: raw.bounded_load,
            ..default
        })
    }

    fn learned(&mut self, raw: At<RawLearn>) -> HashKey {
        let At { place, value: raw } = raw;
        self.check_one_of(
            &place,
            &[
                ("header", place_of(&raw.header)),
                ("cookie", place_of(&raw.cookie)),
            ],
        );
        match (raw.header, raw.cookie) {
            (Some(name), _) => self.header_key(name),
            (None, Some(name)) => HashKey::Cookie(self.cookie_name(name)),
            // There is an error.
            (None, None) => HashKey::ClientIp,
        }
    }
}

/// A policy of the table without settings; the default one if it is not there.
fn named(name: &str) -> PolicySettings {
    let name = policies().find(|policy| *policy == name);
    PolicySettings::named(name.unwrap_or(DEFAULT_POLICY))
}

pub(super) fn place_of<T>(key: &Option<At<T>>) -> Option<&Place> {
    key.as_ref().map(|at| &at.place)
}
