//! One endpoint of a pool, as all workers share it.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::Address;

/// An endpoint and what is known of it at this moment. Shared by every worker and by the health
/// board; everything that changes is atomic.
#[derive(Debug)]
pub struct Endpoint {
    /// Unique in its pool; the address as written unless the config gives a name.
    pub name: Box<str>,
    /// Where to connect.
    pub address: Address,
    /// Share of the traffic, 0 to 256. 0: only picked when nothing else is left.
    pub weight: u32,
    /// Most requests in flight at once, over all workers.
    pub max_requests: Option<NonZeroU32>,
    /// Load, written by the workers with every request.
    pub load: LoadLine,
    availability: AtomicU8,
}

/// What every request writes: one cache line an endpoint, so that two endpoints never share one.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct LoadLine {
    /// Requests in flight, those waiting for a connection included: leaving these out sends
    /// everything to the endpoint that accepts slowly.
    pub in_flight: AtomicU32,
    /// Failures since the last success (algorithms: outlier detection, consecutive).
    pub failures_in_row: AtomicU32,
    /// The pool's pick number at the last pick; breaks ties.
    pub last_pick: AtomicU64,
}

/// Whether an endpoint should be picked, as the health board sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Availability {
    /// No verdict yet: used only if none is up.
    Unknown = 0,
    /// Up, suspect or recovering: in rotation.
    Up = 1,
    /// Down or ejected: out of rotation, used only when everything is (fail open).
    Down = 2,
    /// Taken out by an operator: never used.
    Maintenance = 3,
}

impl Endpoint {
    /// An endpoint without load and without a verdict.
    pub fn new(
        name: impl Into<Box<str>>,
        address: Address,
        weight: u32,
        max_requests: Option<NonZeroU32>,
    ) -> Self {
        Self {
            name: name.into(),
            address,
            weight,
            max_requests,
            load: LoadLine::default(),
            availability: AtomicU8::new(Availability::Unknown as u8),
        }
    }

    /// The last verdict.
    pub fn availability(&self) -> Availability {
        match self.availability.load(Ordering::Relaxed) {
            0 => Availability::Unknown,
            1 => Availability::Up,
            2 => Availability::Down,
            _ => Availability::Maintenance,
        }
    }
}
