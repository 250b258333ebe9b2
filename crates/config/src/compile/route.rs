//! Routes: what they match, where they lead, and whether a request can reach them.

use ::balance::RetrySettings;
use ::route::{HostMatch, PathMatch};

use super::address::is_host_name;
use super::listener::NamedListener;
use super::pool::NamedPool;
use super::{Compiler, is_token};
use crate::raw::{RawRoute, RawRouteTimeouts, Trace};
use crate::spanned::{At, Place};
use crate::{Listener, Route, RouteTimeouts, suggest};

/// What a route matches, and what the checks between routes need.
struct Matcher {
    place: Place,
    /// `None`: on every listener.
    listener: Option<At<String>>,
    /// `None`: it is wrong.
    paths: Option<(HostMatch, PathMatch)>,
}

impl Matcher {
    /// True if it names this listener.
    fn is_of(&self, listener: &Listener) -> bool {
        let name = self.listener.as_ref();
        name.is_some_and(|name| *name.value == *listener.name)
    }
}

impl Compiler<'_> {
    /// The routes; the table of each listener is filled.
    pub(super) fn routes(
        &mut self,
        raw: Vec<At<RawRoute>>,
        listeners: &mut [NamedListener],
        pools: &mut [NamedPool],
    ) -> Vec<Route> {
        let (matchers, mut routes): (Vec<_>, Vec<_>) = if self.names.has_routes {
            raw.into_iter().map(|raw| self.route(raw, pools)).unzip()
        } else {
            self.default_route(listeners, pools).into_iter().unzip()
        };
        self.check_have_requests(&matchers, listeners);
        self.fill_tables(&matchers, listeners);
        let leads = self.relays(listeners, pools, &mut routes);
        self.check_leads(&routes[..matchers.len()], &leads, pools);
        // With errors, what is unused may be used by what is broken.
        if !self.problems.has_errors() {
            self.warn_of_unused(&routes, &matchers, listeners, pools);
            let matched = matchers.iter().zip(&routes).filter_map(|(matcher, route)| {
                let (host, path) = matcher.paths.as_ref()?;
                Some((host, path, route.pool))
            });
            self.warn_of_shared_cookies(matched, pools);
        }
        routes
    }

    /// Without routes, requests go to the only pool, or to the only one that nothing else goes to.
    fn default_route(
        &mut self,
        listeners: &[NamedListener],
        pools: &[NamedPool],
    ) -> Option<(Matcher, Route)> {
        if !listeners.iter().any(|named| asks_routes(&named.listener)) {
            return None;
        }
        let is_free = |pool: &&NamedPool| {
            let mut relays = listeners.iter().map(|named| &named.relays);
            pools.len() == 1 || !relays.any(|relays| relays.lead_to(pool))
        };
        let free: Vec<&NamedPool> = pools.iter().filter(is_free).collect();
        match free[..] {
            [] => None,
            [only] => {
                let raw = RawRoute {
                    listener: None,
                    host: None,
                    path: None,
                    pool: At::new(only.place.clone(), only.pool.settings.name.to_string()),
                    timeouts: None,
                    retry: None,
                    hedge: None,
                    upgrades: None,
                    trace: None,
                };
                Some(self.route(At::new(only.place.clone(), raw), pools))
            }
            [first, ..] => {
                self.problems
                    .error(
                        first.place.clone(),
                        "with several pools, routes say which takes what",
                    )
                    .help("add [[routes]] with pool = \"…\" for each pool");
                None
            }
        }
    }

    fn route(&mut self, raw: At<RawRoute>, pools: &[NamedPool]) -> (Matcher, Route) {
        let At { place, value: raw } = raw;
        let name = name(&raw);
        let pool = self.pool_index(&raw.pool, pools);
        let matcher = Matcher {
            listener: self.listener_name(raw.listener),
            // Both are read, so that both are reported.
            paths: match (self.host(raw.host), self.path(raw.path)) {
                (Some(host), Some(path)) => Some((host, path)),
                _ => None,
            },
            place,
        };
        let named = pool.map(|pool| &pools[pool]);
        let base = named.map_or_else(RouteTimeouts::default, |named| named.timeouts);
        let retry = named.map_or_else(RetrySettings::default, |named| named.retry.clone());
        let hedge = named.and_then(|named| named.hedge);
        let route = Route {
            name: name.into(),
            // Without one, there is an error.
            pool: pool.unwrap_or_default(),
            timeouts: self.route_timeouts(raw.timeouts.unwrap_or_default(), base),
            retry: self.retry(raw.retry, retry),
            hedge: self.hedge(raw.hedge, hedge),
            upgrades: self.upgrades(raw.upgrades),
            allow_trace: matches!(raw.trace, Some(Trace::Allow)),
        };
        (matcher, route)
    }

    /// `None` where the pool is unknown or broken: there is an error then.
    pub(super) fn pool_index(&mut self, pool: &At<String>, pools: &[NamedPool]) -> Option<usize> {
        if !self.names.pools.contains(&pool.value) {
            let message = format!("there is no pool `{}`", pool.value);
            let known = self.names.pools.iter().map(String::as_str);
            self.problems.error(pool.place.clone(), message).help =
                suggest::help(&pool.value, known);
        }
        pools
            .iter()
            .position(|named| *named.pool.settings.name == *pool.value)
    }

    fn listener_name(&mut self, listener: Option<At<String>>) -> Option<At<String>> {
        let At { place, value } = listener.as_ref()?;
        if !self.names.listeners.contains(value) {
            let known = self.names.listeners.iter().map(String::as_str);
            let message = format!("there is no listener `{value}`");
            self.problems.error(place.clone(), message).help = suggest::help(value, known);
        }
        listener
    }

    /// What is relayed takes no route.
    fn check_have_requests(&mut self, matchers: &[Matcher], listeners: &[NamedListener]) {
        for matcher in matchers {
            let relaying = listeners.iter().find(|named| {
                matcher.is_of(&named.listener) && !named.listener.protocol.has_requests()
            });
            if let (Some(named), Some(listener)) = (relaying, &matcher.listener) {
                let name = &named.listener.name;
                self.problems
                    .error(
                        listener.place.clone(),
                        format!("listener `{name}` has no requests: it relays what comes"),
                    )
                    .help("`pool` of the listener says where that goes");
            }
        }
        let has_requests = |named: &NamedListener| named.listener.protocol.has_requests();
        let general = matchers.iter().find(|matcher| matcher.listener.is_none());
        // With errors, a listener with requests may be what is broken.
        if let (false, Some(matcher)) = (self.problems.has_errors(), general)
            && !listeners.iter().any(has_requests)
        {
            self.problems
                .error(
                    matcher.place.clone(),
                    "this route never matches: no listener has requests",
                )
                .help("`pool` of a listener says where what it relays goes");
        }
    }

    fn host(&mut self, host: Option<At<String>>) -> Option<HostMatch> {
        let Some(At { place, value }) = host else {
            return Some(HostMatch::Any);
        };
        let (parent, name) = match value.strip_prefix("*.") {
            Some(parent) => (true, parent),
            None => (false, value.as_str()),
        };
        let is_ip = |text: &str| match text.strip_prefix('[') {
            Some(rest) => rest
                .strip_suffix(']')
                .is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok()),
            None => text.parse::<std::net::Ipv4Addr>().is_ok(),
        };
        if is_host_name(name) || (!parent && is_ip(name)) {
            return Some(if parent {
                HostMatch::Below(name.into())
            } else {
                HostMatch::Exact(name.into())
            });
        }
        let help = if value == "*" {
            "leave `host` out to match every host"
        } else if value.contains("//") || value.contains('/') {
            "a host has neither scheme nor path; `path` matches paths"
        } else if name.contains('*') {
            "`*.` stands at the beginning, for any labels: \"*.shop.example\""
        } else if !value.is_ascii() {
            "clients send such names in their ASCII form, `xn--…`"
        } else if value
            .rsplit_once(':')
            .is_some_and(|(host, _)| is_host_name(host))
        {
            "leave the port out: a route matches the host on every port"
        } else {
            "write it as \"shop.example\" or \"*.shop.example\""
        };
        self.problems
            .error(place, format!("`{value}` is no host"))
            .help(help);
        None
    }

    fn path(&mut self, path: Option<At<String>>) -> Option<PathMatch> {
        let Some(At { place, value }) = path else {
            return Some(PathMatch::Prefix("/".into()));
        };
        let (exact, path) = match value.strip_prefix('=') {
            Some(path) => (true, path),
            None => (false, value.as_str()),
        };
        let help = if !path.starts_with('/') {
            "a path begins with `/`, an exact one with `=/`"
        } else if path.contains(['?', '#']) {
            "routes match the path alone, without the query"
        } else if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            "clients send spaces and the like percent-encoded"
        } else if !exact && path.ends_with('*') {
            "a path takes everything below it already; leave the `*` out"
        } else if exact {
            return Some(PathMatch::Exact(path.into()));
        } else {
            return Some(PathMatch::Prefix(path.into()));
        };
        self.problems
            .error(place, format!("`{value}` is no path to match"))
            .help(help);
        None
    }

    fn route_timeouts(&mut self, raw: RawRouteTimeouts, pool: RouteTimeouts) -> RouteTimeouts {
        RouteTimeouts {
            connect: self.duration(raw.connect, pool.connect),
            response: self.duration(raw.response, pool.response),
            body: self.duration(raw.body, pool.body),
            tunnel: self.duration(raw.tunnel, pool.tunnel),
            total: self.duration_or_off(raw.total, pool.total),
        }
    }

    fn upgrades(&mut self, raw: Option<Vec<At<String>>>) -> Vec<Box<str>> {
        let Some(raw) = raw else {
            return vec!["websocket".into()];
        };
        let mut upgrades = Vec::new();
        for At { place, value } in raw {
            let protocol = value.to_ascii_lowercase();
            if protocol == "h2c" {
                // An endpoint that speaks h2c would then take requests that we never see
                // (CVE-2026-2833).
                self.problems
                    .error(place, "an upgrade to `h2c` is never passed on")
                    .help("requests inside of it would escape every rule");
            } else if protocol.split('/').all(is_token) {
                upgrades.push(protocol.into());
            } else {
                self.problems
                    .error(place, format!("`{value}` is no name of a protocol"));
            }
        }
        upgrades
    }

    /// Puts each route into the tables of its listeners, and reports those that no request can
    /// reach. A route of one listener comes before one of every listener with the same host and
    /// path.
    fn fill_tables(&mut self, matchers: &[Matcher], listeners: &mut [NamedListener]) {
        let mut hidden = vec![Hidden::default(); matchers.len()];
        let serves = |named: &&mut NamedListener| asks_routes(&named.listener);
        let mut serving = 0;
        for NamedListener { listener, .. } in listeners.iter_mut().filter(serves) {
            serving += 1;
            let (mut own, mut general) = (Vec::new(), Vec::new());
            for (index, matcher) in matchers.iter().enumerate() {
                if matcher.is_of(listener) {
                    own.push((index, matcher));
                } else if matcher.listener.is_none() {
                    general.push((index, matcher));
                }
            }
            for (index, matcher) in own.into_iter().chain(general) {
                let Some((host, path)) = &matcher.paths else {
                    continue;
                };
                if let Err(duplicate) = listener.routes.insert(host, path, index) {
                    hidden[index].times += 1;
                    hidden[index].by = duplicate.existing;
                }
            }
        }
        for (matcher, hidden) in matchers.iter().zip(hidden) {
            let by = &matchers[hidden.by];
            let everywhere = match matcher.listener {
                Some(_) => 1,
                None => serving,
            };
            if hidden.times == 0 || hidden.times < everywhere {
                continue;
            }
            let message = if matcher.listener.is_some() == by.listener.is_some() {
                "two routes match the same requests"
            } else {
                "this route never matches: each listener has its own for these requests"
            };
            self.problems
                .error(matcher.place.clone(), message)
                .also(by.place.clone(), "this one takes them");
        }
    }

    fn warn_of_unused(
        &mut self,
        routes: &[Route],
        matchers: &[Matcher],
        listeners: &[NamedListener],
        pools: &[NamedPool],
    ) {
        // Where every request is redirected, the pool that a config has is for nothing.
        let is_redirected = |named: &NamedListener| named.listener.redirect_to_https.is_some();
        let unused = pools
            .iter()
            .enumerate()
            .filter(|_| !listeners.iter().all(is_redirected));
        for (index, named) in unused {
            if !routes.iter().any(|route| route.pool == index) {
                let message = format!("no route leads to pool `{}`", named.pool.settings.name);
                self.problems.warning(named.place.clone(), message);
            }
        }
        for NamedListener {
            listener, place, ..
        } in listeners
        {
            if !listener.protocol.has_requests() {
                continue;
            }
            if listener.redirect_to_https.is_some() {
                self.warn_of_redirected(listener, matchers);
                continue;
            }
            let has_route =
                |matcher: &Matcher| matcher.listener.is_none() || matcher.is_of(listener);
            if !matchers.iter().any(has_route) {
                let message = format!("no route takes requests from listener `{}`", listener.name);
                self.problems
                    .warning(place.clone(), message)
                    .help("every request is answered with 404");
            }
        }
    }

    /// A route of a listener that answers every request itself.
    fn warn_of_redirected(&mut self, listener: &Listener, matchers: &[Matcher]) {
        for matcher in matchers.iter().filter(|matcher| matcher.is_of(listener)) {
            let message = format!("listener `{}` redirects every request", listener.name);
            self.problems
                .warning(matcher.place.clone(), message)
                .help("this route never matches; leave `listener` out, or `redirect`");
        }
    }
}

/// A listener without requests asks no route, and one that redirects them all does not either.
fn asks_routes(listener: &Listener) -> bool {
    listener.protocol.has_requests() && listener.redirect_to_https.is_none()
}

/// On how many listeners another route takes all requests of a route, and the last such one.
#[derive(Clone, Default)]
struct Hidden {
    times: usize,
    by: usize,
}

/// The matchers as written, for logs and metrics.
fn name(raw: &RawRoute) -> String {
    let text = |key: &Option<At<String>>| key.as_ref().map_or("", |at| &at.value).to_owned();
    let mut name = text(&raw.host) + &text(&raw.path);
    if name.is_empty() {
        name = "default".into();
    }
    match &raw.listener {
        Some(listener) => format!("{}:{name}", listener.value),
        None => name,
    }
}
