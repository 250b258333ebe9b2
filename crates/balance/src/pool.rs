//! A named set of endpoints sharing one policy, as all workers share it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Availability, Endpoint, PoolSettings, Queue, RetryBudget};

/// A pool: its endpoints and what all workers must agree on.
#[derive(Debug)]
pub struct Pool {
    /// What the config says.
    pub settings: PoolSettings,
    /// In the order of the config; an index into it names an endpoint.
    pub endpoints: Box<[Endpoint]>,
    /// Where requests wait while every endpoint is full.
    pub queue: Queue,
    /// Bounds the share of extra attempts.
    pub retry_budget: RetryBudget,
    /// True if any endpoint has `max_requests`. If none has, nobody ever waits.
    limited: bool,
    /// Moves when the availability of an endpoint does.
    generation: AtomicU64,
    pick_count: PickCount,
}

/// Written by every pick, so kept off the cache lines that picks only read.
#[derive(Debug, Default)]
#[repr(align(64))]
struct PickCount(AtomicU64);

impl Pool {
    /// A pool without load, for workers `0..workers`.
    pub fn new(settings: PoolSettings, endpoints: Vec<Endpoint>, workers: usize) -> Self {
        Self {
            queue: Queue::new(settings.queue.length, workers),
            retry_budget: RetryBudget::default(),
            limited: endpoints
                .iter()
                .any(|endpoint| endpoint.max_requests.is_some()),
            endpoints: endpoints.into(),
            settings,
            generation: AtomicU64::new(0),
            pick_count: PickCount::default(),
        }
    }

    /// Publishes a verdict: each worker's next pick goes by it.
    pub fn set_availability(&self, index: usize, availability: Availability) {
        self.endpoints[index].set_availability(availability);
        self.generation.fetch_add(1, Ordering::Release);
        self.queue.wake_first();
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.limited
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Counts a request in flight at `index`, or returns false if the endpoint is full.
    pub(crate) fn reserve(&self, index: usize) -> bool {
        let endpoint = &self.endpoints[index];
        if !endpoint.reserve() {
            return false;
        }
        let pick = self.pick_count.0.fetch_add(1, Ordering::Relaxed) + 1;
        endpoint.load.last_pick.store(pick, Ordering::Relaxed);
        true
    }

    /// Takes back one `reserve`, and offers the room to the first waiter.
    pub(crate) fn release(&self, index: usize) {
        self.endpoints[index].release();
        if self.limited {
            self.queue.wake_first();
        }
    }
}
