//! Whom pools ask about their endpoints: checks and agents.

use std::collections::BTreeMap;
use std::time::Duration;

use ::balance::{AgentKind, AgentSettings, Check, CheckKind, StatusRange};

use super::address::is_host_name;
use super::policy::place_of;
use super::{Compiler, is_token};
use crate::raw::{CheckWord, RawAgent, RawCheck};
use crate::spanned::{At, OneOrMany, Place, StringOr};
use crate::{suggest, units};

/// Statuses that count as a healthy answer to a check.
const EXPECT: StatusRange = StatusRange { from: 200, to: 399 };

/// From question to question, as between checks.
const AGENT_INTERVAL: Duration = Duration::from_secs(2);

/// For one answer, as for a check.
const AGENT_TIMEOUT: Duration = Duration::from_secs(1);

/// Short forms of a check, paths aside.
const WORDS: &[&str] = &[
    "tcp", "udp", "grpc", "redis", "postgres", "mysql", "smtp", "dns", "off",
];

/// Fields of a check's request that are not for the config to say, and why.
const FIELDS_TAKEN: &[(&str, &str)] = &[
    ("host", "`host` beside `http` sets it"),
    ("user-agent", "a check says that it is one"),
    ("accept", "a check takes what there is"),
    ("connection", "each check is a connection of its own"),
    ("content-length", "a check has no body"),
    ("transfer-encoding", "a check has no body"),
    ("trailer", "a check has no body"),
    ("te", "a check has no body"),
    ("expect", "a check has no body"),
    ("upgrade", "a check stays with HTTP/1.1"),
];

impl Compiler<'_> {
    pub(super) fn check(&mut self, raw: Option<At<StringOr<RawCheck>>>) -> Check {
        let default = Check::default();
        let Some(At { place, value }) = raw else {
            return default;
        };
        let raw = match value {
            StringOr::Table(raw) => raw,
            StringOr::String(text) => {
                let kind = self.short_check(place, text);
                return Check { kind, ..default };
            }
        };
        Check {
            port: raw.port.as_ref().map(|port| port.value),
            interval: self.duration(raw.interval.clone(), default.interval),
            timeout: self.duration(raw.timeout.clone(), default.timeout),
            fall: raw.fall.unwrap_or(default.fall),
            rise: raw.rise.unwrap_or(default.rise),
            kind: self.check_kind(raw),
        }
    }

    /// The short form of a check.
    fn short_check(&mut self, place: Place, text: String) -> CheckKind {
        match text.as_str() {
            "tcp" => CheckKind::Tcp,
            "off" => CheckKind::Off,
            "grpc" => CheckKind::Grpc {
                service: "".into(),
                host: None,
            },
            "redis" => spoken(CheckWord::Redis),
            "postgres" => spoken(CheckWord::Postgres),
            "mysql" => spoken(CheckWord::Mysql),
            "smtp" => spoken(CheckWord::Smtp),
            "dns" => spoken(CheckWord::Dns),
            "udp" => spoken(CheckWord::Udp),
            path if path.starts_with('/') => CheckKind::Http {
                path: self.request_path(At::new(place, text)),
                host: None,
                headers: Vec::new(),
                expect: vec![EXPECT],
                body: None,
            },
            _ => {
                let message = format!("`{text}` is no check");
                let help = suggest::similar(&text, WORDS.iter().copied()).map_or_else(
                    || {
                        format!(
                            "there are \"/path\", \"{}\" and a table",
                            WORDS.join("\", \"")
                        )
                    },
                    |meant| format!("did you mean `{meant}`?"),
                );
                self.problems.error(place, message).help(help);
                CheckKind::Tcp
            }
        }
    }

    /// What the long form of a check does.
    fn check_kind(&mut self, raw: RawCheck) -> CheckKind {
        if let [first, second, ..] = raw.kinds()[..] {
            self.problems
                .error(
                    second.clone(),
                    "a check is one of `http`, `grpc`, `tcp`, `udp`, `dns` and `protocol`",
                )
                .also(first.clone(), "the other one");
        }
        if let Some(path) = raw.http {
            return CheckKind::Http {
                path: self.request_path(path),
                host: self.check_host(raw.host),
                headers: self.check_fields(raw.headers),
                expect: self.expect(raw.expect),
                body: raw.body.map(|body| self.text_to_find(body).into()),
            };
        }
        let host = raw.host.as_ref().map(|host| host.place.clone());
        for (key, place) in [
            ("host", host.filter(|_| raw.grpc.is_none())),
            ("headers", raw.headers.map(|headers| headers.place)),
            ("expect", raw.expect.map(|expect| expect.place)),
            ("body", raw.body.map(|body| body.place)),
        ] {
            let Some(place) = place else {
                continue;
            };
            let problem = self
                .problems
                .error(place, format!("`{key}` is for HTTP checks"));
            problem.help(if raw.grpc.is_some() {
                "`grpc` asks whether a service takes calls, and that is all"
            } else if raw.tcp.is_some() {
                "`tcp` has its own `send` and `expect`"
            } else if raw.udp.is_some() {
                "`udp` has its own `send` and `expect`"
            } else if raw.dns.is_some() || raw.protocol.is_some() {
                "what such a server is asked is known, and that is all"
            } else {
                "`http = \"/path\"` makes it one"
            });
        }
        if let Some(service) = raw.grpc {
            return CheckKind::Grpc {
                service: self.grpc_service(service),
                host: self.check_host(raw.host),
            };
        }
        if let Some(At { value: tcp, .. }) = raw.tcp {
            return CheckKind::TcpExpect {
                send: tcp.send.unwrap_or_default().into_bytes().into(),
                expect: self.text_to_find(tcp.expect).into_bytes().into(),
            };
        }
        if let Some(At { value: udp, .. }) = raw.udp {
            let expect = udp.expect.map(|expect| self.text_to_find(expect));
            return CheckKind::Udp {
                send: udp.send.unwrap_or_default().into_bytes().into(),
                expect: expect.map(|expect| expect.into_bytes().into()),
            };
        }
        if let Some(name) = raw.dns {
            return CheckKind::Dns {
                name: self.dns_name(name),
            };
        }
        raw.protocol
            .map_or(CheckKind::Tcp, |word| spoken(word.value))
    }

    /// A host, or nothing: any answer will do.
    fn dns_name(&mut self, name: At<String>) -> Option<Box<str>> {
        let At { place, value } = name;
        if value.is_empty() {
            return None;
        }
        if !is_host_name(&value) {
            self.problems
                .error(place, format!("`{value}` is no name to ask for"))
                .help("write it as \"app.example\", or \"\" for any answer of the server");
        }
        Some(value.into())
    }

    /// A name such as `shop.Cart`, or nothing: the server as a whole.
    fn grpc_service(&mut self, service: At<String>) -> Box<str> {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
        if !service.value.bytes().all(is_part) {
            self.problems
                .error(
                    service.place,
                    format!("`{}` is no gRPC service", service.value),
                )
                .help("write it as \"shop.Cart\", or \"\" for the server as a whole");
        }
        service.value.into()
    }

    /// The path goes into a request line as it is.
    pub(super) fn request_path(&mut self, path: At<String>) -> Box<str> {
        let is_visible = path.value.bytes().all(|byte| byte.is_ascii_graphic());
        if !path.value.starts_with('/') || !is_visible {
            self.problems
                .error(path.place, format!("`{}` is no path", path.value))
                .help("a path begins with `/`; spaces and the like are percent-encoded");
        }
        path.value.into()
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

    /// The fields go into a request as they are.
    fn check_fields(
        &mut self,
        raw: Option<At<BTreeMap<At<String>, At<String>>>>,
    ) -> Vec<(Box<str>, Box<str>)> {
        let mut fields = Vec::new();
        for (name, value) in raw.map(|raw| raw.value).into_iter().flatten() {
            let lower = name.value.to_ascii_lowercase();
            if let Some((_, why)) = FIELDS_TAKEN.iter().find(|(taken, _)| *taken == lower) {
                let message = format!("`{}` cannot be set for a check", name.value);
                self.problems.error(name.place, message).help(*why);
                continue;
            }
            // RFC 9110 §5.5, without the bytes beyond ASCII that it calls obsolete.
            let is_part = |byte: u8| byte.is_ascii_graphic() || byte == b' ' || byte == b'\t';
            if !value.value.bytes().all(is_part) || value.value.trim_ascii() != value.value {
                self.problems
                    .error(value.place, "this cannot be the value of a header field")
                    .help("a value is ASCII text, with no space around it and no line end");
            }
            fields.push((self.header_name(name).into(), value.value.into()));
        }
        fields
    }

    /// RFC 9110 §5.1.
    pub(super) fn header_name(&mut self, name: At<String>) -> String {
        if !is_token(&name.value) {
            let message = format!("`{}` cannot be the name of a header field", name.value);
            self.problems
                .error(name.place, message)
                .help("a name has letters, digits, `-`, `_` and `.`; no space, no colon");
        }
        name.value
    }

    /// A text that an answer must contain: no text is in every answer.
    fn text_to_find(&mut self, text: At<String>) -> String {
        if text.value.is_empty() {
            self.problems
                .error(text.place, "every answer contains an empty text")
                .help("leave the key out, or say what to look for");
        }
        text.value
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

    pub(super) fn agent(&mut self, raw: Option<At<RawAgent>>) -> Option<AgentSettings> {
        let At { place, value: raw } = raw?;
        self.check_one_of(
            &place,
            &[
                ("http", raw.http.as_ref().map(|http| &http.place)),
                ("tcp", raw.tcp.as_ref().map(|tcp| &tcp.place)),
            ],
        );
        let kind = match (raw.http, raw.tcp) {
            (Some(path), _) => AgentKind::Http {
                path: self.request_path(path),
            },
            (None, Some(send)) => {
                if raw.port.is_none() {
                    self.problems
                        .error(
                            send.place,
                            "an agent that speaks TCP has a `port` of its own",
                        )
                        .help("at the endpoint's own port, the application would answer");
                }
                AgentKind::Tcp {
                    send: send.value.into_bytes().into(),
                }
            }
            // There is an error.
            (None, None) => return None,
        };
        Some(AgentSettings {
            kind,
            port: raw.port.map(|port| port.value),
            interval: self.duration(raw.interval, AGENT_INTERVAL),
            timeout: self.duration(raw.timeout, AGENT_TIMEOUT),
        })
    }
}

/// A check that needs to be told nothing else.
fn spoken(word: CheckWord) -> CheckKind {
    match word {
        CheckWord::Redis => CheckKind::Redis,
        CheckWord::Postgres => CheckKind::Postgres,
        CheckWord::Mysql => CheckKind::Mysql,
        CheckWord::Smtp => CheckKind::Smtp,
        CheckWord::Dns => CheckKind::Dns { name: None },
        CheckWord::Udp => CheckKind::Udp {
            send: Box::default(),
            expect: None,
        },
    }
}

impl RawCheck {
    /// Where the keys stand that say what is asked; more than one is a mistake.
    pub(super) fn kinds(&self) -> Vec<&Place> {
        let kinds = [
            place_of(&self.http),
            place_of(&self.grpc),
            place_of(&self.tcp),
            place_of(&self.udp),
            place_of(&self.dns),
            place_of(&self.protocol),
        ];
        kinds.into_iter().flatten().collect()
    }
}
