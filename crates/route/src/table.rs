//! The routes of one listener.

use crate::hosts::Hosts;
use crate::paths::Paths;
use crate::{HostMatch, PathMatch};

/// A route with the same host and path is in the table already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duplicate {
    /// The value of the route that is there.
    pub existing: usize,
}

/// The routes of one listener.
///
/// The most specific host decides: exact, then the longest wildcard, then any. Among the routes
/// of one host it is the exact path, then the longest prefix. A host without a route for the path
/// leaves the request to the next less specific host.
///
/// The cost of a lookup grows with the labels of the host and the segments of the path, not with
/// the number of routes.
#[derive(Debug, Clone, Default)]
pub struct Table(Hosts<Paths>);

impl Table {
    /// Adds a route. A host of more than 254 bytes never matches.
    pub fn insert(
        &mut self,
        host: &HostMatch,
        path: &PathMatch,
        value: usize,
    ) -> Result<(), Duplicate> {
        self.0
            .entry(host)
            .insert(path, value)
            .map_err(|existing| Duplicate { existing })
    }

    /// The value of the most specific route for a request, or `None`.
    ///
    /// `host` is the authority without a port, in any case, with or without a dot at its end;
    /// `path` is the target without a query. Does not allocate.
    pub fn find(&self, host: &[u8], path: &[u8]) -> Option<usize> {
        self.0.find(host, |paths| paths.find(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exact(path: &str) -> PathMatch {
        PathMatch::Exact(path.into())
    }

    fn prefix(path: &str) -> PathMatch {
        PathMatch::Prefix(path.into())
    }

    fn host(text: &str) -> HostMatch {
        match text.strip_prefix("*.") {
            Some(parent) => HostMatch::Below(parent.into()),
            None if text == "*" => HostMatch::Any,
            None => HostMatch::Exact(text.into()),
        }
    }

    fn table(routes: &[(&str, PathMatch)]) -> Table {
        let mut table = Table::default();
        for (index, (name, path)) in routes.iter().enumerate() {
            table.insert(&host(name), path, index).unwrap();
        }
        table
    }

    #[test]
    fn an_empty_table_finds_nothing() {
        assert_eq!(Table::default().find(b"a.example", b"/"), None);
    }

    #[test]
    fn a_default_route_takes_everything() {
        let table = table(&[("*", prefix("/"))]);
        for (host, path) in [("", "/"), ("a.example", "/x/y"), ("a", "*"), ("a", "")] {
            assert_eq!(table.find(host.as_bytes(), path.as_bytes()), Some(0));
        }
    }

    #[test]
    fn the_most_specific_host_wins() {
        let table = table(&[
            ("*", prefix("/")),
            ("*.example", prefix("/")),
            ("*.shop.example", prefix("/")),
            ("www.shop.example", prefix("/")),
        ]);
        for (host, value) in [
            ("other", 0),
            ("example", 0),
            (".example", 0),
            ("a.example", 1),
            ("a.b.example", 1),
            ("shop.example", 1),
            ("a.shop.example", 2),
            ("a.b.shop.example", 2),
            ("www.shop.example", 3),
            ("WWW.Shop.Example.", 3),
            ("xshop.example", 1),
        ] {
            assert_eq!(table.find(host.as_bytes(), b"/"), Some(value), "{host}");
        }
    }

    #[test]
    fn prefixes_end_on_segment_borders() {
        for written in ["/api", "/api/"] {
            let table = table(&[("*", prefix(written))]);
            for (path, found) in [
                ("/api", true),
                ("/api/", true),
                ("/api/x", true),
                ("/api//", true),
                ("/apix", false),
                ("/ap", false),
                ("/", false),
                ("/x/api", false),
            ] {
                let value = table.find(b"a", path.as_bytes());
                assert_eq!(value.is_some(), found, "{written} {path}");
            }
        }
    }

    #[test]
    fn the_exact_path_wins_over_the_longest_prefix() {
        let table = table(&[
            ("*", prefix("/api")),
            ("*", prefix("/api/v2")),
            ("*", exact("/api/v2/health")),
            ("*", exact("/api")),
        ]);
        for (path, value) in [
            ("/api/v1", 0),
            ("/api/v20", 0),
            ("/api/v2", 1),
            ("/api/v2/x", 1),
            ("/api/v2/health", 2),
            ("/api/v2/health/", 1),
            ("/api", 3),
            ("/api/", 0),
        ] {
            assert_eq!(table.find(b"a", path.as_bytes()), Some(value), "{path}");
        }
    }

    #[test]
    fn a_host_without_the_path_leaves_it_to_the_less_specific_host() {
        let table = table(&[
            ("a.example", prefix("/a")),
            ("*.example", prefix("/b")),
            ("*", prefix("/c")),
        ]);
        assert_eq!(table.find(b"a.example", b"/a"), Some(0));
        assert_eq!(table.find(b"a.example", b"/b"), Some(1));
        assert_eq!(table.find(b"a.example", b"/c"), Some(2));
        assert_eq!(table.find(b"a.example", b"/d"), None);
    }

    #[test]
    fn a_second_route_for_the_same_host_and_path_is_refused() {
        let mut table = table(&[("a.example", prefix("/api")), ("*", prefix("/"))]);
        let again = table.insert(&host("A.Example."), &prefix("/api/"), 2);
        assert_eq!(again, Err(Duplicate { existing: 0 }));
        let again = table.insert(&HostMatch::Any, &prefix("/"), 2);
        assert_eq!(again, Err(Duplicate { existing: 1 }));
        assert_eq!(table.find(b"a.example", b"/api"), Some(0));
        assert_eq!(table.insert(&host("a.example"), &exact("/api"), 2), Ok(()));
    }

    #[test]
    fn a_host_longer_than_any_name_takes_the_default_route() {
        let table = table(&[("*.example", prefix("/")), ("*", prefix("/"))]);
        let long = format!("{}.example", "a".repeat(300));
        assert_eq!(table.find(long.as_bytes(), b"/"), Some(1));
    }

    /// What `Table` promises, as a search through all routes.
    fn naive(routes: &[(HostMatch, PathMatch)], host: &str, path: &str) -> Option<usize> {
        let host = host.to_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        routes
            .iter()
            .enumerate()
            .filter_map(|(index, (host_match, path_match))| {
                let by_host = match host_match {
                    HostMatch::Any => 0,
                    HostMatch::Below(parent) => {
                        let label = host.strip_suffix(&**parent)?.strip_suffix('.')?;
                        if label.is_empty() {
                            return None;
                        }
                        1 + parent.len()
                    }
                    HostMatch::Exact(name) => {
                        (host == &**name).then_some(())?;
                        usize::MAX
                    }
                };
                let by_path = match path_match {
                    PathMatch::Exact(exact) => {
                        (path == &**exact).then_some(())?;
                        usize::MAX
                    }
                    PathMatch::Prefix(prefix) => {
                        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
                        let rest = path.strip_prefix(prefix)?;
                        let whole = prefix.is_empty() || rest.is_empty() || rest.starts_with('/');
                        whole.then_some(())?;
                        prefix.len()
                    }
                };
                Some(((by_host, by_path), index))
            })
            .max()
            .map(|(_, index)| index)
    }

    fn any_host() -> impl Strategy<Value = String> {
        proptest::collection::vec("[ab]", 1..4).prop_map(|labels| labels.join("."))
    }

    fn any_path() -> impl Strategy<Value = String> {
        "(/[ab]{0,2}){1,4}"
    }

    fn any_route() -> impl Strategy<Value = (HostMatch, PathMatch)> {
        let host = prop_oneof![
            Just(HostMatch::Any),
            any_host().prop_map(|name| HostMatch::Exact(name.into())),
            any_host().prop_map(|name| HostMatch::Below(name.into())),
        ];
        let path = prop_oneof![
            any_path().prop_map(|path| PathMatch::Exact(path.into())),
            any_path().prop_map(|path| PathMatch::Prefix(path.into())),
            Just(PathMatch::Prefix("/".into())),
        ];
        (host, path)
    }

    proptest! {
        #[test]
        fn a_table_finds_what_a_search_through_all_routes_finds(
            routes in proptest::collection::vec(any_route(), 0..24),
            requests in proptest::collection::vec((any_host(), "\\.?", any_path()), 1..16),
        ) {
            let mut table = Table::default();
            let mut kept = Vec::new();
            for (host, path) in routes {
                if table.insert(&host, &path, kept.len()).is_ok() {
                    kept.push((host, path));
                }
            }
            for (name, dot, path) in requests {
                let name = name.to_uppercase() + &dot;
                let found = table.find(name.as_bytes(), path.as_bytes());
                prop_assert_eq!(found, naive(&kept, &name, &path), "{} {}", name, path);
            }
        }

        #[test]
        fn any_bytes_are_looked_up_without_a_panic(host: Vec<u8>, path: Vec<u8>) {
            let table = table(&[("*.a", prefix("/a/b")), ("a", exact("/a"))]);
            table.find(&host, &path);
        }
    }
}
