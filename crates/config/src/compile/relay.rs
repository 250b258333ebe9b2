//! What is relayed instead of understood: where it goes, and the routes that say so.

use std::collections::HashSet;
use std::time::Duration;

use ::balance::RetrySettings;
use ::route::HostMatch;

use super::Compiler;
use super::address::is_host_name;
use super::listener::NamedListener;
use super::pool::NamedPool;
use crate::raw::{Protocol, RawListener, RawPassthrough};
use crate::spanned::{At, OneOrMany, Place};
use crate::{ListenerProtocol, Route, RouteTimeouts};

/// How long a flow of datagrams is kept without any. Nothing says that one has ended, and most are
/// a question and its answer.
const UDP_IDLE: Duration = Duration::from_secs(30);

/// Longest name of a protocol in ALPN: its length is one byte (RFC 7301 §3.1).
const ALPN_BYTES_MAX: usize = 255;

/// What a listener relays, as written.
#[derive(Default)]
pub(super) struct RawRelays {
    pool: Option<At<String>>,
    passthrough: Vec<At<RawPassthrough>>,
    /// Before what the pool says.
    idle: Option<Duration>,
}

/// A listener leads to a pool, without a route of the file.
pub(super) struct Lead {
    pub(super) pool: usize,
    pub(super) is_udp: bool,
    /// TLS is passed on as it is.
    pub(super) is_passthrough: bool,
    /// Where the pool is named.
    pub(super) place: Place,
}

/// What a rule of `passthrough` takes.
struct Rule {
    place: Place,
    name: HostMatch,
    protocol: Option<String>,
}

impl RawRelays {
    /// True if something that is relayed goes to this pool.
    pub(super) fn lead_to(&self, pool: &NamedPool) -> bool {
        let rules = self.passthrough.iter().map(|rule| &rule.value.pool);
        let mut pools = self.pool.iter().chain(rules);
        pools.any(|name| *name.value == *pool.pool.settings.name)
    }
}

impl Compiler<'_> {
    /// Takes what is relayed out of a listener, whose name stands at `name`.
    pub(super) fn raw_relays(&mut self, name: &Place, raw: &mut RawListener) -> RawRelays {
        self.check_relayed(name, raw);
        let is_http = !matches!(protocol(raw), Protocol::Tcp | Protocol::Udp);
        // To HTTP, idle is between two requests.
        let timeouts = raw.timeouts.as_mut().filter(|_| !is_http);
        let idle = timeouts.and_then(|timeouts| timeouts.idle.take());
        let passthrough = raw.passthrough.take();
        RawRelays {
            pool: raw.pool.take(),
            passthrough: passthrough.map_or_else(Vec::new, |rules| rules.value),
            idle: idle.map(|idle| self.duration(Some(idle), UDP_IDLE)),
        }
    }

    /// What is not understood goes somewhere, and only that does.
    fn check_relayed(&mut self, name: &Place, raw: &RawListener) {
        let has_tls = raw.tls.is_some();
        let rules = raw.passthrough.as_ref();
        let passes_on = rules.is_some_and(|rules| !rules.value.is_empty());
        let what = match (protocol(raw), &raw.pool) {
            // What seems to be missing may be in what is broken.
            _ if self.has_gaps => return,
            (Protocol::Http, pool) => {
                if let Some(pool) = pool {
                    self.problems
                        .error(
                            pool.place.clone(),
                            "`pool` is for what is not understood, and this listener speaks HTTP",
                        )
                        .help("a route leads to a pool; or add protocol = \"tcp\"");
                }
                if let (false, Some(rules)) = (has_tls, rules) {
                    self.problems
                        .error(rules.place.clone(), "without `tls` nobody begins TLS here")
                        .help("add `tls`, or protocol = \"tcp\" or \"detect\"");
                }
                return;
            }
            (_, Some(_)) => return,
            (Protocol::Udp, None) => "datagrams",
            (Protocol::Tcp, None) if has_tls => "what is inside TLS",
            (Protocol::Tcp, None) if !passes_on => "connections",
            (Protocol::Detect, None) if !has_tls && !passes_on => "what is not HTTP",
            (Protocol::Tcp | Protocol::Detect, None) => return,
        };
        self.problems
            .error(name.clone(), "`pool` is missing")
            .help(format!("`pool` names the pool that takes {what}"));
    }

    /// Appends a route for everything that is relayed, and tells the listeners of it.
    pub(super) fn relays(
        &mut self,
        listeners: &mut [NamedListener],
        pools: &[NamedPool],
        routes: &mut Vec<Route>,
    ) -> Vec<Lead> {
        let mut names: HashSet<Box<str>> = routes.iter().map(|route| route.name.clone()).collect();
        let mut leads = Vec::new();
        for NamedListener {
            listener,
            place,
            relays,
        } in listeners
        {
            let is_udp = matches!(listener.protocol, ListenerProtocol::Udp(_));
            let idle = relays.idle.or(is_udp.then_some(UDP_IDLE));
            let mut lead = |pool: Option<usize>, to: &At<String>, is_passthrough| {
                leads.extend(pool.map(|pool| Lead {
                    pool,
                    is_udp,
                    is_passthrough,
                    place: to.place.clone(),
                }));
            };
            let first = routes.len();
            if let Some(to) = relays.pool.take() {
                let pool = self.pool_index(&to, pools);
                lead(pool, &to, false);
                listener.relay = Some(routes.len());
                routes.push(relayed(listener.name.clone(), pool, pools, idle));
            }
            let first_rule = routes.len();
            let mut places = Vec::new();
            for raw in std::mem::take(&mut relays.passthrough) {
                let pool = self.pool_index(&raw.value.pool, pools);
                lead(pool, &raw.value.pool, true);
                for rule in self.rules(raw, listener.tls.is_some()) {
                    let name = rule.route_name(&listener.name);
                    let protocol = rule.protocol.as_deref().map(str::as_bytes);
                    let value = routes.len();
                    match listener.passthrough.insert(&rule.name, protocol, value) {
                        Ok(()) => {
                            routes.push(relayed(name, pool, pools, idle));
                            places.push(rule.place);
                        }
                        Err(twice) => {
                            self.problems
                                .error(rule.place, "two rules take the same connections")
                                .also(places[twice.existing - first_rule].clone(), "the other one");
                        }
                    }
                }
            }
            for route in &routes[first..] {
                if !names.insert(route.name.clone()) {
                    let message = format!("two routes have the name `{}`", route.name);
                    self.problems
                        .error(place.clone(), message)
                        .help("what a listener relays has its name; give it another one");
                }
            }
        }
        leads
    }

    /// One for each name and protocol.
    fn rules(&mut self, raw: At<RawPassthrough>, has_tls: bool) -> Vec<Rule> {
        let At { place, value: raw } = raw;
        if has_tls && raw.sni.is_none() && raw.alpn.is_none() {
            self.problems
                .error(place.clone(), "this leaves no client for `tls`")
                .help("say which ones are passed on, by `sni` or by `alpn`");
        }
        let names = match raw.sni {
            None => vec![(place, HostMatch::Any)],
            Some(names) => self
                .filled(names)
                .filter_map(|name| Some((name.place.clone(), self.server_name(name)?)))
                .collect(),
        };
        let protocols: Vec<Option<String>> = match raw.alpn {
            None => vec![None],
            Some(protocols) => self
                .filled(protocols)
                .map(|name| Some(self.protocol_name(name)))
                .collect(),
        };
        let mut rules = Vec::new();
        for (place, name) in names {
            for protocol in &protocols {
                rules.push(Rule {
                    place: place.clone(),
                    name: name.clone(),
                    protocol: protocol.clone(),
                });
            }
        }
        rules
    }

    /// The elements of a list that says what is taken: with none, nothing would be.
    fn filled(&mut self, list: OneOrMany) -> std::vec::IntoIter<At<String>> {
        if list.list.is_empty() {
            self.problems
                .error(list.place, "an empty list takes no connection")
                .help("leave the key out to take all of them");
        }
        list.list.into_iter()
    }

    fn server_name(&mut self, name: At<String>) -> Option<HostMatch> {
        let At { place, value } = name;
        let parent = value.strip_prefix("*.");
        if is_host_name(parent.unwrap_or(&value)) {
            return Some(match parent {
                Some(parent) => HostMatch::Below(parent.into()),
                None => HostMatch::Exact(value.into()),
            });
        }
        let help = if value == "*" {
            "leave `sni` out to take every name"
        } else if value.parse::<std::net::IpAddr>().is_ok() {
            "clients ask for names, never for addresses (RFC 6066 §3)"
        } else if !value.is_ascii() {
            "clients send such names in their ASCII form, `xn--…`"
        } else {
            "write it as \"db.example\" or \"*.db.example\", without a port"
        };
        self.problems
            .error(place, format!("`{value}` is no name of a server"))
            .help(help);
        None
    }

    fn protocol_name(&mut self, name: At<String>) -> String {
        let At { place, value } = name;
        let is_visible = value.bytes().all(|byte| byte.is_ascii_graphic());
        if value.is_empty() || value.len() > ALPN_BYTES_MAX || !is_visible {
            self.problems
                .error(place, format!("`{value}` is no protocol"))
                .help("write it as ALPN does, such as \"h2\", \"http/1.1\" or \"acme-tls/1\"");
        }
        value
    }
}

impl Rule {
    fn route_name(&self, listener: &str) -> Box<str> {
        let mut text = match &self.name {
            HostMatch::Any => format!("{listener}/*"),
            HostMatch::Exact(name) => format!("{listener}/{name}"),
            HostMatch::Below(name) => format!("{listener}/*.{name}"),
        };
        if let Some(protocol) = &self.protocol {
            text += "/";
            text += protocol;
        }
        text.into()
    }
}

fn protocol(raw: &RawListener) -> Protocol {
    let word = raw.protocol.as_ref();
    word.map_or(Protocol::Http, |word| word.value)
}

fn relayed(
    name: Box<str>,
    pool: Option<usize>,
    pools: &[NamedPool],
    idle: Option<Duration>,
) -> Route {
    // Without one, there is an error.
    let named = pool.map(|pool| &pools[pool]);
    let base = named.map_or_else(RouteTimeouts::default, |named| named.timeouts);
    Route {
        name,
        pool: pool.unwrap_or_default(),
        timeouts: RouteTimeouts {
            tunnel: idle.unwrap_or(base.tunnel),
            ..base
        },
        retry: named.map_or_else(RetrySettings::default, |named| named.retry.clone()),
        hedge: None,
        upgrades: Vec::new(),
        allow_trace: false,
    }
}
