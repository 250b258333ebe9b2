//! One worker's view of a pool: who may be used, and who is picked.
//!
//! Read [`Balancer::pick`] first. Which endpoints come into question is decided here, which of
//! them is best by the pool's policy.

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "workers race for places")]
mod tests;

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use fastrand::Rng;

use crate::policy::{self, Candidates, Policy};
use crate::queue::{Line, Ticket};
use crate::rotation::{Rotation, Tier};
use crate::{Endpoint, Pool, Tried};

/// Picks endpoints of one pool for one worker.
pub struct Balancer {
    seat: Rc<Seat>,
    rotation: Rotation,
    policy: Box<dyn Policy>,
    /// This worker's part of the pool's queue.
    line: Line,
}

/// A worker at a pool. Leases share it by `Rc`, because they stay on their worker: counting
/// references to the pool itself would be a write that all workers contend for.
pub(crate) struct Seat {
    pub(crate) pool: Arc<Pool>,
}

/// What a pick came to.
#[must_use]
pub enum Pick {
    /// Send the request here.
    Endpoint(Lease, Why),
    /// There are endpoints, but all are at `max_requests`, or others wait already: queue.
    Full,
    /// No endpoint may be used: all are in maintenance, or down in a pool that fails closed.
    Refused,
}

/// Why an endpoint was picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The policy's choice.
    Policy,
    /// The policy's choice among endpoints without a verdict, as no other was left.
    OnlyUnknown,
    /// The policy's choice among endpoints that are down, as all are.
    FailOpen,
    /// The exchange had tried it before, and no other was left.
    AlreadyTried,
}

/// A request in flight at an endpoint, already counted. Dropping it gives the place back.
#[must_use]
pub struct Lease {
    seat: Rc<Seat>,
    index: usize,
}

impl Balancer {
    /// For worker number `worker`. A worker makes one for each pool, and only one: its place in
    /// the pool's queue is its own.
    pub fn new(pool: Arc<Pool>, worker: usize) -> Self {
        let kind = policy::by_name(pool.settings.policy)
            .expect("the config lets only names of POLICIES through");
        Self {
            rotation: Rotation::new(&pool),
            policy: (kind.build)(),
            line: Line::new(worker),
            seat: Rc::new(Seat { pool }),
        }
    }

    /// The pool.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.seat.pool
    }

    /// Picks an endpoint for a request that has used those of `tried`.
    ///
    /// Up goes before unknown, and unknown before down. An endpoint that was not tried goes
    /// before one that was; only a down one does not go before a tried one that is up or unknown.
    /// Down ones are used only if nothing is up or unknown, and never if the pool fails closed.
    ///
    /// A few tens of nanoseconds for a few endpoints; no allocation.
    pub fn pick(&mut self, tried: &Tried, random: &mut Rng) -> Pick {
        let pool = &self.seat.pool;
        if pool.is_limited() && pool.queue.waiting() > 0 {
            return Pick::Full; // Nobody overtakes those who wait.
        }
        self.pick_now(tried, random)
    }

    /// Takes a place at the end of the pool's queue, or `None` if the queue is full. The ticket
    /// must come back by [`Self::poll_turn`] until that is ready, or by [`Self::leave`].
    pub fn enqueue(&mut self) -> Option<Ticket> {
        self.line.join(&self.seat.pool.queue)
    }

    /// Ready with an endpoint, or [`Pick::Refused`], when it is this ticket's turn among all
    /// workers; never ready with [`Pick::Full`]. The ticket is then used up.
    ///
    /// # Panics
    /// If the ticket is used up or has left.
    pub fn poll_turn(
        &mut self,
        ticket: Ticket,
        tried: &Tried,
        cx: &mut Context<'_>,
        random: &mut Rng,
    ) -> Poll<Pick> {
        // Asks for a wake-up first and looks for room afterwards, so none is lost.
        let queue = &self.seat.pool.queue;
        if !self.line.is_first(ticket, cx.waker(), queue) {
            return Poll::Pending;
        }
        let pick = self.pick_now(tried, random);
        if matches!(pick, Pick::Full) {
            return Poll::Pending;
        }
        // There may be more room: the next waiter is woken to see.
        self.line.leave(ticket, &self.seat.pool.queue);
        Poll::Ready(pick)
    }

    /// Gives up waiting: the client went away, or its time is over. Does nothing after the
    /// ticket's turn.
    pub fn leave(&mut self, ticket: Ticket) {
        self.line.leave(ticket, &self.seat.pool.queue);
    }

    fn pick_now(&mut self, tried: &Tried, random: &mut Rng) -> Pick {
        let none = Tried::new();
        let pool = &*self.seat.pool;
        self.rotation.refresh(pool);
        let Rotation {
            up, unknown, down, ..
        } = &self.rotation;
        // An unknown endpoint is worth a try before one that just failed this very request.
        let may_use_unknown = up.is_empty() || !tried.is_empty();
        let may_use_down = up.is_empty() && unknown.is_empty() && !pool.settings.fail_closed;

        let mut pick_of = |tier: &Tier, excluded: &Tried| {
            pick_of_tier(&mut *self.policy, pool, tier, excluded, random)
        };
        // The second round is for those who have tried everything that has room. It goes before
        // waiting, because an endpoint that failed once is more often well than not, and a
        // waiter who insists on another one would hold up all behind it.
        let rounds: &[&Tried] = if tried.is_empty() {
            &[&none]
        } else {
            &[tried, &none]
        };
        for excluded in rounds {
            if let Some(index) = pick_of(up, excluded) {
                let why = if tried.contains(index) {
                    Why::AlreadyTried
                } else {
                    Why::Policy
                };
                return self.endpoint(index, why);
            }
            if may_use_unknown && let Some(index) = pick_of(unknown, excluded) {
                return self.endpoint(index, Why::OnlyUnknown);
            }
            if may_use_down && let Some(index) = pick_of(down, excluded) {
                return self.endpoint(index, Why::FailOpen);
            }
        }
        let nothing = up.is_empty() && unknown.is_empty() && (!may_use_down || down.is_empty());
        if nothing { Pick::Refused } else { Pick::Full }
    }

    /// `index` has been reserved.
    fn endpoint(&self, index: usize, why: Why) -> Pick {
        let seat = Rc::clone(&self.seat);
        Pick::Endpoint(Lease { seat, index }, why)
    }
}

/// Picks and reserves an endpoint of `tier`, which gets around to weight 0 last.
fn pick_of_tier(
    policy: &mut dyn Policy,
    pool: &Pool,
    tier: &Tier,
    excluded: &Tried,
    random: &mut Rng,
) -> Option<usize> {
    for group in [&tier.weighted, &tier.weightless] {
        if group.indices.is_empty() {
            continue;
        }
        let candidates = Candidates::new(&pool.endpoints, group, excluded);
        // Goes round again only when another worker took the last place meanwhile.
        while let Some(index) = policy.pick(&candidates, random) {
            if pool.reserve(index) {
                return Some(index);
            }
        }
    }
    None
}

impl Drop for Balancer {
    /// A place in the queue that outlives its worker would block all others for good.
    fn drop(&mut self) {
        self.line.clear(&self.seat.pool.queue);
    }
}

impl Lease {
    /// Where the endpoint stands in its pool.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        &self.seat.pool.endpoints[self.index]
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.seat.pool.release(self.index);
    }
}

impl Why {
    /// The word in the access log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::OnlyUnknown => "unknown",
            Self::FailOpen => "fail_open",
            Self::AlreadyTried => "again",
        }
    }
}
