//! Route tables: the same as a search through all routes.
//!
//! An input is text: lines `host path`, routes up to an empty line and requests behind it. A
//! host is `*`, `*.parent` or a name; a path with `=` in front is exact.
#![no_main]

use libfuzzer_sys::fuzz_target;
use route::{HostMatch, PathMatch, Table};

fuzz_target!(|text: &str| {
    let mut lines = text.lines().map(|line| line.split_once(' '));
    let mut table = Table::default();
    let mut routes = Vec::new();
    for (host, path) in lines.by_ref().map_while(|line| line) {
        let route = (host_match(host), path_match(path));
        if table.insert(&route.0, &route.1, routes.len()).is_ok() {
            routes.push(route);
        }
    }
    for (host, path) in lines.flatten() {
        let found = table.find(host.as_bytes(), path.as_bytes());
        assert_eq!(found, search(&routes, host, path), "{host:?} {path:?}");
    }
});

fn host_match(text: &str) -> HostMatch {
    match text.strip_prefix("*.") {
        Some(parent) => HostMatch::Below(parent.into()),
        None if text == "*" => HostMatch::Any,
        None => HostMatch::Exact(text.into()),
    }
}

fn path_match(text: &str) -> PathMatch {
    match text.strip_prefix('=') {
        Some(path) => PathMatch::Exact(path.into()),
        None => PathMatch::Prefix(text.into()),
    }
}

/// What `Table::find` promises: the most specific host, and of that the most specific path.
fn search(routes: &[(HostMatch, PathMatch)], host: &str, path: &str) -> Option<usize> {
    let rank = |(host_match, path_match): &(HostMatch, PathMatch)| {
        Some((rank_host(host_match, host)?, rank_path(path_match, path)?))
    };
    let ranked = routes.iter().enumerate();
    let ranked = ranked.filter_map(|(index, route)| Some((rank(route)?, index)));
    ranked.max().map(|(_, index)| index)
}

/// How specific a match is; `None` if it is none.
fn rank_host(host_match: &HostMatch, host: &str) -> Option<usize> {
    let is_name = host.len() <= 254;
    let host = plain(host);
    match host_match {
        HostMatch::Any => Some(0),
        HostMatch::Below(parent) => {
            let parent = plain(parent);
            let label = host.strip_suffix(&parent)?.strip_suffix('.')?;
            (is_name && !label.is_empty()).then_some(1 + parent.len())
        }
        HostMatch::Exact(name) => (is_name && host == plain(name)).then_some(usize::MAX),
    }
}

fn rank_path(path_match: &PathMatch, path: &str) -> Option<usize> {
    match path_match {
        PathMatch::Exact(exact) => (path == &**exact).then_some(usize::MAX),
        PathMatch::Prefix(prefix) => {
            let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
            let rest = path.strip_prefix(prefix)?;
            let is_border = prefix.is_empty() || rest.is_empty() || rest.starts_with('/');
            is_border.then_some(prefix.len())
        }
    }
}

/// A host as hosts are compared.
fn plain(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    host.strip_suffix('.').unwrap_or(&host).to_owned()
}
