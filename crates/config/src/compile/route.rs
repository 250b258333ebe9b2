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
    listener: Option<String>,
    /// `None`: it is wrong.
    paths: Option<(HostMatch, PathMatch)>,
}

impl Compiler<'_> {
    /// The routes; the table of each listener is filled.
    pub(super) fn routes(
        &mut self,
        raw: Vec<At<RawRoute>>,
        listeners: &mut [NamedListener],
        pools: &[NamedPool],
    ) -> Vec<Route> {
        let (matchers, routes): (Vec<_>, Vec<_>) = if self.names.has_routes {
            raw.into_iter().map(|raw| self.route(raw, pools)).unzip()
        } else {
            self.default_route(pools).into_iter().unzip()
        };
        self.fill_tables(&matchers, listeners);
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

    /// With one pool and no routes there is nothing to decide.
    fn default_route(&mut self, pools: &[NamedPool]) -> Option<(Matcher, Route)> {
        match pools {
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
        let named = pools.get(pool);
        let base = named.map_or_else(RouteTimeouts::default, |named| named.timeouts);
        let retry = named.map_or_else(RetrySettings::default, |named| named.retry.clone());
        let hedge = named.and_then(|named| named.hedge);
        let route = Route {
            name: name.into(),
            pool,
            timeouts: self.route_timeouts(raw.timeouts.unwrap_or_default(), base),
            retry: self.retry(raw.retry, retry),
            hedge: self.hedge(raw.hedge, hedge),
            upgrades: self.upgrades(raw.upgrades),
            allow_trace: matches!(raw.trace, Some(Trace::Allow)),
        };
        (matcher, route)
    }

    /// Any index where the pool is unknown or broken: there is an error then.
    fn pool_index(&mut self, pool: &At<String>, pools: &[NamedPool]) -> usize {
        if !self.names.pools.contains(&pool.value) {
            let message = format!("there is no pool `{}`", pool.value);
            let known = self.names.pools.iter().map(String::as_str);
            self.problems.error(pool.place.clone(), message).help =
                suggest::help(&pool.value, known);
        }
        pools
            .iter()
            .position(|named| *named.pool.settings.name == *pool.value)
            .unwrap_or_default()
    }

    fn listener_name(&mut self, listener: Option<At<String>>) -> Option<String> {
        let At { place, value } = listener?;
        if !self.names.listeners.contains(&value) {
            let known = self.names.listeners.iter().map(String::as_str);
            let message = format!("there is no listener `{value}`");
            self.problems.error(place, message).help = suggest::help(&value, known);
        }
        Some(value)
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
        // A listener that redirects asks no route.
        let serves = |named: &&mut NamedListener| named.listener.redirect_to_https.is_none();
        let mut serving = 0;
        for NamedListener { listener, .. } in listeners.iter_mut().filter(serves) {
            serving += 1;
            let named = |matcher: &Matcher| matcher.listener.as_deref() == Some(&*listener.name);
            let (mut own, mut general) = (Vec::new(), Vec::new());
            for (index, matcher) in matchers.iter().enumerate() {
                if named(matcher) {
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
        for (index, named) in pools.iter().enumerate() {
            if !routes.iter().any(|route| route.pool == index) {
                let message = format!("no route leads to pool `{}`", named.pool.settings.name);
                self.problems.warning(named.place.clone(), message);
            }
        }
        for NamedListener { listener, place } in listeners {
            if listener.redirect_to_https.is_some() {
                self.warn_of_redirected(listener, matchers);
                continue;
            }
            let has_route = |matcher: &Matcher| match &matcher.listener {
                None => true,
                Some(name) => **name == *listener.name,
            };
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
        let named = |matcher: &&Matcher| matcher.listener.as_deref() == Some(&*listener.name);
        for matcher in matchers.iter().filter(named) {
            let message = format!("listener `{}` redirects every request", listener.name);
            self.problems
                .warning(matcher.place.clone(), message)
                .help("this route never matches; leave `listener` out, or `redirect`");
        }
    }
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
