//! Sticky cookies that replace each other.
//!
//! A browser keeps cookies by host and name; neither port nor path of ours tells two apart. Where
//! the routes of one host lead to two pools whose cookies have one name, each change between the
//! pools costs the client its session.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use ::balance::StickyBy;
use ::route::{HostMatch, PathMatch};

use super::Compiler;
use super::pool::NamedPool;

/// What the routes of one host say.
#[derive(Default)]
struct Host {
    /// Where they lead, as far as there are cookies.
    pools: BTreeSet<usize>,
    /// One of them takes every path: less specific hosts get nothing.
    is_whole: bool,
}

impl Compiler<'_> {
    /// `routes`: what each matches, and the index of its pool.
    pub(super) fn warn_of_shared_cookies<'a>(
        &mut self,
        routes: impl Iterator<Item = (&'a HostMatch, &'a PathMatch, usize)>,
        pools: &[NamedPool],
    ) {
        let mut hosts: BTreeMap<String, Host> = BTreeMap::new();
        for (host, path, pool) in routes {
            let host = hosts.entry(key(host)).or_default();
            host.is_whole |= *path == PathMatch::Prefix("/".into());
            if cookie(pools, pool).is_some() {
                host.pools.insert(pool);
            }
        }
        // By the later one, so that a cookie is told of once.
        let mut shared: BTreeMap<usize, usize> = BTreeMap::new();
        for name in hosts.keys() {
            let mut holders: HashMap<&str, usize> = HashMap::new();
            for host in lineage(name).filter_map(|key| hosts.get(&key)) {
                for &pool in &host.pools {
                    match cookie(pools, pool).map(|cookie| holders.entry(cookie)) {
                        Some(Entry::Occupied(holder)) if *holder.get() != pool => {
                            let holder = *holder.get();
                            shared.entry(holder.max(pool)).or_insert(holder.min(pool));
                        }
                        Some(Entry::Vacant(vacant)) => {
                            vacant.insert(pool);
                        }
                        _ => {}
                    }
                }
                if host.is_whole {
                    break;
                }
            }
        }
        for (second, first) in shared {
            let [first, second] = [first, second].map(|index| &pools[index]);
            let [first_name, second_name] = [first, second].map(|named| &named.pool.settings.name);
            let message = format!(
                "pools `{first_name}` and `{second_name}` set a cookie of the same name for one host"
            );
            let problem = self.problems.warning(second.cookie.clone(), message);
            problem.help("give each its own name, or each replaces the session of the other");
            if let Some(place) = &first.cookie {
                problem.also(place.clone(), "the other one");
            }
        }
    }
}

fn cookie(pools: &[NamedPool], pool: usize) -> Option<&str> {
    match &pools[pool].pool.settings.sticky.as_ref()?.by {
        StickyBy::Cookie(name) => Some(name),
        StickyBy::Key(_) | StickyBy::Learned(_) => None,
    }
}

/// A host as it is looked up here: lower case, without a dot at its end, and empty for any.
fn key(host: &HostMatch) -> String {
    let plain = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
    match host {
        HostMatch::Any => String::new(),
        HostMatch::Exact(name) => plain(name),
        HostMatch::Below(name) => format!("*.{}", plain(name)),
    }
}

/// The hosts whose routes are asked for a request, the most specific first.
fn lineage(key: &str) -> impl Iterator<Item = String> {
    let name = key.strip_prefix("*.").unwrap_or(key);
    let parents = name.match_indices('.').map(|(dot, _)| &name[dot + 1..]);
    let below = parents.map(|parent| format!("*.{parent}"));
    let any = (!key.is_empty()).then(String::new);
    std::iter::once(key.to_owned()).chain(below).chain(any)
}
