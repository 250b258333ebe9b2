//! The paths of one host.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Which paths a route takes. Paths are compared byte by byte, without a query.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathMatch {
    /// This path and no other.
    Exact(Box<str>),
    /// This path and everything below it: `/api` and `/api/` both take `/api`, `/api/` and
    /// `/api/x`, but not `/apix`. `/` takes everything, `*` of `OPTIONS *` too.
    Prefix(Box<str>),
}

/// The routes of one host by path. SipHash on purpose: clients choose the keys that are looked up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Paths {
    exact: HashMap<Box<[u8]>, usize>,
    /// Without the slash at their end.
    prefixes: HashMap<Box<[u8]>, usize>,
    /// Length of the longest prefix. Bounds the work for a path of thousands of slashes.
    prefix_bytes_max: usize,
    /// The route of prefix `/`, outside the map so that a table with nothing else never hashes.
    root: Option<usize>,
}

impl Paths {
    /// Adds a route, or returns the value of the one that takes the same paths already.
    pub(crate) fn insert(&mut self, path: &PathMatch, value: usize) -> Result<(), usize> {
        let (map, key) = match path {
            PathMatch::Exact(path) => (&mut self.exact, path.as_bytes()),
            PathMatch::Prefix(path) => {
                let key = path.strip_suffix('/').unwrap_or(path).as_bytes();
                if key.is_empty() {
                    if let Some(existing) = self.root {
                        return Err(existing);
                    }
                    self.root = Some(value);
                    return Ok(());
                }
                self.prefix_bytes_max = self.prefix_bytes_max.max(key.len());
                (&mut self.prefixes, key)
            }
        };
        match map.entry(key.into()) {
            Entry::Occupied(existing) => Err(*existing.get()),
            Entry::Vacant(free) => {
                free.insert(value);
                Ok(())
            }
        }
    }

    /// Exact, else the longest prefix.
    pub(crate) fn find(&self, path: &[u8]) -> Option<usize> {
        if let Some(&value) = self.exact.get(path) {
            return Some(value);
        }
        if !self.prefixes.is_empty() {
            let longest = path.len().min(self.prefix_bytes_max);
            for end in (1..=longest).rev() {
                let is_border = path.get(end).is_none_or(|&byte| byte == b'/');
                if is_border && let Some(&value) = self.prefixes.get(&path[..end]) {
                    return Some(value);
                }
            }
        }
        self.root
    }
}
