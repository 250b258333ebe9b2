//! Values by host: the most specific host decides.

use std::collections::HashMap;

/// Which hosts a route takes. Case does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostMatch {
    /// Every host, and requests that name none.
    Any,
    /// This host alone. IPv6 addresses are in brackets.
    Exact(Box<str>),
    /// Every host below this one, any number of labels deep: `*.example` is `Below("example")`,
    /// takes `a.example` and `a.b.example`, and not `example` itself.
    Below(Box<str>),
}

/// What is known of each host. SipHash on purpose: clients choose the keys that are looked up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts<T> {
    exact: HashMap<Box<[u8]>, T>,
    below: HashMap<Box<[u8]>, T>,
    /// Length of the longest key of `below`.
    below_bytes_max: usize,
    any: T,
}

/// Longest host that is looked up: a DNS name has at most 253 bytes (RFC 1035 §2.3.4), and one
/// more for the dot at its end.
const HOST_BYTES_MAX: usize = 254;

impl<T: Default> Hosts<T> {
    /// The value of a host, a new one if it has none. A host of more than 254 bytes is never found.
    pub(crate) fn entry(&mut self, host: &HostMatch) -> &mut T {
        match host {
            HostMatch::Any => &mut self.any,
            HostMatch::Exact(name) => self.exact.entry(key(name)).or_default(),
            HostMatch::Below(name) => {
                let key = key(name);
                self.below_bytes_max = self.below_bytes_max.max(key.len());
                self.below.entry(key).or_default()
            }
        }
    }

    /// The first that `choose` finds: with the host itself, then with its parents, the longest
    /// first, then with any host.
    ///
    /// `host` is in any case, with or without a dot at its end. Does not allocate.
    pub(crate) fn find<R>(&self, host: &[u8], choose: impl Fn(&T) -> Option<R>) -> Option<R> {
        if self.exact.is_empty() && self.below.is_empty() {
            return choose(&self.any);
        }
        self.find_by_name(host, &choose)
            .or_else(|| choose(&self.any))
    }

    fn find_by_name<R>(&self, host: &[u8], choose: &impl Fn(&T) -> Option<R>) -> Option<R> {
        let mut buffer = [0; HOST_BYTES_MAX];
        let lower = buffer.get_mut(..host.len())?;
        lower.copy_from_slice(host);
        lower.make_ascii_lowercase();
        let host = lower.strip_suffix(b".").unwrap_or(lower);

        if let Some(found) = self.exact.get(host).and_then(choose) {
            return Some(found);
        }
        if self.below.is_empty() {
            return None;
        }
        // Longest parent first. The first byte is left out: a label before the dot there is.
        let from = host.len().saturating_sub(self.below_bytes_max + 1).max(1);
        (from..host.len())
            .filter(|&dot| host[dot] == b'.')
            .find_map(|dot| choose(self.below.get(&host[dot + 1..])?))
    }
}

/// A host name as the maps have it: lower case, no dot at its end.
fn key(name: &str) -> Box<[u8]> {
    name.strip_suffix('.')
        .unwrap_or(name)
        .to_ascii_lowercase()
        .into_bytes()
        .into()
}
