//! What a request asks of a pick.

use std::time::{Duration, Instant};

use crate::Tried;

/// What decides about a pick on the side of the request.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// What it has tried before.
    pub tried: &'a Tried,
    /// The time.
    pub now: Instant,
    /// Requests of one class take about as long as each other: the number of the route. Latency
    /// is compared within a class.
    pub class: usize,
    /// Hash of what the policy's key names, by [`crate::hash_key`]; `None` if the request has
    /// none, or the policy hashes nothing.
    pub key: Option<u64>,
    /// The session it belongs to.
    pub session: Option<Session>,
}

/// A session, which should stay at its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// Hash of what names it.
    pub id: u64,
    /// The endpoint that the request itself names (our cookie), by index. `None`: look it up.
    pub owner: Option<usize>,
}

/// What came of a request that was sent to an endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// As in [`Wanted::class`].
    pub class: usize,
    /// From pick to response head, or to the failure.
    pub latency: Duration,
    /// False if the endpoint failed: 5xx, reset, time-out, no connection.
    pub is_success: bool,
    /// The time.
    pub now: Instant,
}

impl<'a> Wanted<'a> {
    /// Of a request without key and session.
    pub fn plain(tried: &'a Tried, now: Instant) -> Self {
        Self {
            tried,
            now,
            class: 0,
            key: None,
            session: None,
        }
    }
}
