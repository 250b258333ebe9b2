//! Sessions: how a request shows which one it belongs to, and how a client gets to know.
//!
//! Where a session is, and whether it may stay there, `balance` decides. Here it is read from the
//! request ([`Stickiness::visit`]), given to the client in a cookie of our own
//! ([`Stickiness::cookie`], sealed in `seal`), or learned from what endpoints set
//! ([`Stickiness::learn`]).

mod seal;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant, SystemTime};

use balance::{HashKey, Pool, Session, StickyBy, hash_key};
use fastrand::Rng;
use message::{RequestHead, ResponseHead, set_cookie};

use crate::client_address::ClientAddress;
use crate::key;

use seal::{Seal, Token};

/// What it takes to know sessions again, for all pools of a [`crate::Plan`].
pub struct Stickiness {
    /// Where any pool gives out cookies: the first use of the cipher gathers randomness for a
    /// tenth of a second.
    seal: Option<Seal>,
    /// Hashes what names a session. With a key of its own, so that nobody can choose names that
    /// meet in the table of sessions.
    hasher: RandomState,
    /// By pool: the endpoints by the hash of their names. Only where we give out cookies.
    endpoints: Box<[HashMap<u64, usize>]>,
}

/// What a request shows of its session.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Visit {
    /// `None` if it shows none.
    pub(crate) session: Option<Session>,
    /// It showed a cookie of ours that need not be renewed.
    has_fresh_cookie: bool,
}

/// A client may send many cookies of our name: no more than this are opened. Browsers send two
/// when another path or a parent domain has one as well.
const COOKIES_MAX: usize = 4;

impl Stickiness {
    /// For these pools, in their order. Cookies that are sealed with a key from `secret` outlive
    /// the process; without one they do not.
    pub fn new<'a>(pools: impl IntoIterator<Item = &'a Pool>, secret: Option<&[u8]>) -> Self {
        let mut has_cookies = false;
        let endpoints = pools.into_iter().map(|pool| {
            if own_cookie(pool).is_none() {
                return HashMap::new();
            }
            has_cookies = true;
            let names = pool.endpoints.iter().enumerate();
            names
                .map(|(index, endpoint)| (identity(&endpoint.name), index))
                .collect()
        });
        Self {
            endpoints: endpoints.collect(),
            seal: has_cookies.then(|| Seal::new(secret)),
            hasher: RandomState::new(),
        }
    }

    /// What a request for `pool`, the one of this index, shows of its session.
    pub(crate) fn visit(
        &self,
        index: usize,
        pool: &Pool,
        request: &RequestHead,
        client: &ClientAddress,
        now: SystemTime,
    ) -> Visit {
        let Some(sticky) = &pool.settings.sticky else {
            return Visit::default();
        };
        match &sticky.by {
            StickyBy::Cookie(name) => {
                let age = |token: &Token| {
                    Duration::from_secs(seconds(now).saturating_sub(token.issued).into())
                };
                // A cookie in use is renewed before it is so old, so this one was not in use.
                let is_expired = |token: &Token| age(token) > sticky.idle + renewal(sticky.idle);
                let token = key::cookie_values(request, name)
                    .take(COOKIES_MAX)
                    .filter_map(|text| self.seal.as_ref()?.open(text, &pool.settings.name))
                    .find(|token| !is_expired(token));
                Visit {
                    session: token.map(|token| Session {
                        id: token.session,
                        owner: self.endpoints[index].get(&token.endpoint).copied(),
                    }),
                    has_fresh_cookie: token
                        .is_some_and(|token| age(&token) <= renewal(sticky.idle)),
                }
            }
            StickyBy::Key(key) | StickyBy::Learned(key) => {
                let name = key::of(key, request, client);
                Visit {
                    session: name.map(|name| Session {
                        id: self.hasher.hash_one(name),
                        owner: None,
                    }),
                    has_fresh_cookie: false,
                }
            }
        }
    }

    /// The value of the `Set-Cookie` field that tells the client of its session at `endpoint`, if
    /// it does not know yet. What came by TLS is to come back by TLS only.
    pub(crate) fn cookie(
        &self,
        pool: &Pool,
        visit: &Visit,
        endpoint: usize,
        now: SystemTime,
        is_https: bool,
        random: &mut Rng,
    ) -> Option<String> {
        let name = own_cookie(pool)?;
        let owner = visit.session.and_then(|session| session.owner);
        if visit.has_fresh_cookie && owner == Some(endpoint) {
            return None;
        }
        let token = Token {
            endpoint: identity(&pool.endpoints[endpoint].name),
            session: visit
                .session
                .map_or_else(|| random.u64(..), |session| session.id),
            issued: seconds(now),
        };
        let text = self.seal.as_ref()?.close(token, &pool.settings.name);
        let value = str::from_utf8(&text).expect("base64 is ASCII");
        let secure = if is_https { "; Secure" } else { "" };
        Some(format!(
            "{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}"
        ))
    }

    /// Remembers the session that the endpoint set in its response, if it set one.
    pub(crate) fn learn(&self, pool: &Pool, response: &ResponseHead, endpoint: usize) {
        let Some(sticky) = &pool.settings.sticky else {
            return;
        };
        let StickyBy::Learned(key) = &sticky.by else {
            return;
        };
        let values = |name| {
            let fields = key::fields(&response.fields, &response.bytes, name);
            fields.map(|field| response.text(field.value))
        };
        let set = match key {
            HashKey::Header(name) => values(name).next(),
            // Of two that are set, browsers keep the later one.
            HashKey::Cookie(name) => values("set-cookie")
                .map(set_cookie)
                .filter(|(found, _)| *found == name.as_bytes())
                .map(|(_, value)| value)
                .last(),
            HashKey::ClientIp | HashKey::ClientAddress | HashKey::Query(_) | HashKey::Path => None,
        };
        if let Some(name) = set.filter(|name| !name.is_empty()) {
            pool.learn_session(self.hasher.hash_one(name), endpoint, Instant::now());
        }
    }
}

/// The name of the cookie that we give out in this pool: the endpoints do not see it.
pub(crate) fn own_cookie(pool: &Pool) -> Option<&str> {
    match &pool.settings.sticky.as_ref()?.by {
        StickyBy::Cookie(name) => Some(name),
        StickyBy::Key(_) | StickyBy::Learned(_) => None,
    }
}

/// How a cookie names an endpoint: the same after a restart, in whatever order they stand.
fn identity(name: &str) -> u64 {
    hash_key(name.as_bytes())
}

/// The age at which a cookie is replaced by a new one: seldom, and long before it expires.
fn renewal(idle: Duration) -> Duration {
    idle / 4
}

fn seconds(now: SystemTime) -> u32 {
    let since = now.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as u32)
}

impl std::fmt::Debug for Stickiness {
    /// Without what must not be known.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stickiness").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use balance::{Address, EndpointSettings, PoolSettings, StickySettings};
    use wire::h1::{Limits, RequestReader};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Of endpoints with these names, which idle for an hour at most.
    fn pool(endpoints: &[&str]) -> Pool {
        let settings = PoolSettings {
            sticky: Some(StickySettings::by(StickyBy::Cookie("route".into()))),
            ..PoolSettings::new("app")
        };
        assert_eq!(
            settings.sticky.as_ref().map(|sticky| sticky.idle),
            Some(HOUR)
        );
        let endpoint = |name: &&str| EndpointSettings {
            name: (*name).into(),
            address: Address::Unix(name.into()),
            host: None,
            weight: 1,
            max_requests: None,
            tier: 0,
            zone: None,
        };
        let endpoints = endpoints.iter().map(endpoint).collect();
        Pool::new(settings, endpoints, 1, Instant::now())
    }

    fn stickiness(pool: &Pool) -> Stickiness {
        Stickiness::new([pool], Some(b"a secret of thirty-two bytes or more"))
    }

    /// What a request with these field lines shows.
    fn visit(stickiness: &Stickiness, pool: &Pool, fields: &str, now: SystemTime) -> Visit {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let limits = Limits {
            head_bytes: 8192,
            fields: 20,
            line_bytes: 1024,
        };
        let mut head = RequestHead::default();
        let read = RequestReader::default().receive(text.as_bytes(), &limits, &mut head);
        assert_eq!(read, Ok(Some(text.len())));
        stickiness.visit(0, pool, &head, &ClientAddress::new(None), now)
    }

    /// The cookie for a client of endpoint `index`, as a field of its next request.
    fn cookie(stickiness: &Stickiness, pool: &Pool, index: usize, now: SystemTime) -> String {
        let visit = Visit::default();
        let set = stickiness.cookie(pool, &visit, index, now, false, &mut Rng::with_seed(1));
        let set = set.expect("a new client gets a cookie");
        format!("Cookie: {}\r\n", set.split(';').next().unwrap())
    }

    fn owner(visit: &Visit) -> Option<usize> {
        visit.session.and_then(|session| session.owner)
    }

    #[test]
    fn a_cookie_that_is_used_is_renewed_and_one_that_is_not_expires() {
        let pool = pool(&["a", "b"]);
        let stickiness = stickiness(&pool);
        let now = SystemTime::now();
        let field = cookie(&stickiness, &pool, 1, now);
        for (age, is_known, is_renewed) in [
            (HOUR / 5, true, false),
            (HOUR / 3, true, true),
            (HOUR, true, true),
            (HOUR * 4 / 3, false, true),
        ] {
            let visit = visit(&stickiness, &pool, &field, now + age);
            assert_eq!(owner(&visit), is_known.then_some(1), "{age:?}");
            let random = &mut Rng::with_seed(1);
            let again = stickiness.cookie(&pool, &visit, 1, now + age, false, random);
            assert_eq!(again.is_some(), is_renewed, "{age:?}");
        }
    }

    #[test]
    fn of_several_cookies_of_our_name_the_one_that_is_ours_counts() {
        let pool = pool(&["a", "b"]);
        let stickiness = stickiness(&pool);
        let now = SystemTime::now();
        let field = cookie(&stickiness, &pool, 1, now);
        let ours = field.trim_start_matches("Cookie: ").trim_end();
        let fields = format!("Cookie: route=x; route=; {ours}; route=y\r\n");
        assert_eq!(owner(&visit(&stickiness, &pool, &fields, now)), Some(1));
        let many = "route=x; ".repeat(COOKIES_MAX);
        let fields = format!("Cookie: {many}{ours}\r\n");
        assert_eq!(owner(&visit(&stickiness, &pool, &fields, now)), None);
    }

    #[test]
    fn the_session_of_an_endpoint_that_is_gone_stays_a_session() {
        let before = pool(&["a", "b"]);
        let now = SystemTime::now();
        let field = cookie(&stickiness(&before), &before, 1, now);
        let after = pool(&["c", "a"]);
        let stickiness = stickiness(&after);
        let visit = visit(&stickiness, &after, &field, now);
        let session = visit.session.expect("we gave it out");
        assert_eq!(session.owner, None);
        let set = stickiness.cookie(&after, &visit, 0, now, true, &mut Rng::with_seed(7));
        let set = set.expect("it has to hear of its new endpoint");
        assert!(set.ends_with("; SameSite=Lax; Secure"), "{set}");
    }
}
