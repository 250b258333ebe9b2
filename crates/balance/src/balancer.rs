//! One worker's view of a pool: who may be used, and who is picked.
//!
//! Read [`Balancer::pick`] first. Which endpoints come into question is decided here, which of
//! them is best by the pool's policy.

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "workers race for places")]
mod tests;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use fastrand::Rng;

use crate::policy::{self, Candidates, Policy, Sent};
use crate::queue::{Line, Ticket};
use crate::rotation::{Rotation, Standing};
use crate::sticky::Sessions;
use crate::{Answer, Availability, Endpoint, Pool, Session, Tried, Wanted};

/// Picks endpoints of one pool for one worker.
pub struct Balancer {
    seat: Rc<Seat>,
    rotation: Rotation,
    /// This worker's part of the pool's queue.
    line: Line,
}

/// A worker at a pool. Leases share it by `Rc`, because they stay on their worker: counting
/// references to the pool itself would be a write that all workers contend for.
pub(crate) struct Seat {
    pub(crate) pool: Arc<Pool>,
    /// False if nobody here goes by what came of requests.
    learns: bool,
    /// Leases tell it what came of their requests.
    policy: RefCell<Box<dyn Policy>>,
}

/// What a pick came to.
#[must_use]
pub enum Pick {
    /// Send the request here.
    Endpoint(Lease, Why),
    /// There are endpoints, but all have as many requests as they may, or others wait already:
    /// queue.
    Full,
    /// The pool as a whole has as many requests in flight as it may.
    CircuitOpen,
    /// No endpoint may be used: all are in maintenance, or down in a pool that fails closed; or
    /// the request's session may not move, and its endpoint does not take it.
    Refused,
}

/// Why an endpoint was picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The policy's choice.
    Policy,
    /// The endpoint has the client's session.
    Sticky,
    /// The policy's choice, as the endpoint that has the session does not take it.
    Moved,
    /// The policy's choice among busy endpoints, as all others are full.
    Busy,
    /// The policy's choice among endpoints without a verdict, as no other was left.
    OnlyUnknown,
    /// The policy's choice of an endpoint that is down, as all or too many are.
    FailOpen,
    /// The exchange had tried it before, and no other was left.
    AlreadyTried,
    /// The policy's choice for the copy of a slow request.
    Hedge,
}

/// A request in flight at an endpoint, already counted. Dropping it gives the place back.
#[must_use]
pub struct Lease {
    seat: Rc<Seat>,
    index: usize,
    sent: Sent,
    /// True until the policy has heard what came of it.
    is_open: Cell<bool>,
    /// True until it has shown whether its endpoint, on trial, is well.
    is_trial: Cell<bool>,
}

impl Balancer {
    /// For worker number `worker`. A worker makes one for each pool, and only one: its place in
    /// the pool's queue is its own.
    pub fn new(pool: Arc<Pool>, worker: usize) -> Self {
        let kind = policy::by_name(pool.settings.policy.name)
            .expect("the config lets only names of POLICIES through");
        let policy = (kind.build)(&pool.settings.policy, &pool.endpoints);
        Self::with_policy(pool, worker, policy)
    }

    /// As [`Self::new`], with a policy that is no row of [`crate::POLICIES`]: for comparing.
    pub fn with_policy(pool: Arc<Pool>, worker: usize, policy: Box<dyn Policy>) -> Self {
        Self {
            rotation: Rotation::new(),
            line: Line::new(worker),
            seat: Rc::new(Seat {
                learns: policy.learns() || pool.settings.concurrency.is_some(),
                pool,
                policy: RefCell::new(policy),
            }),
        }
    }

    /// The pool.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.seat.pool
    }

    /// Picks an endpoint for a request.
    ///
    /// The endpoint of its session goes before all. Of the others up goes before unknown, and
    /// unknown before down; among those that are up primary before backup, near before far, and
    /// at last the busy ones. An endpoint that was not tried goes before one that was; only a
    /// down one does not go before a tried one that is up or unknown. Down ones are used only if
    /// nothing is up or unknown, and never if the pool fails closed. One on trial after an ejection
    /// has one request at a time, but for those of its sessions, while another takes the rest.
    ///
    /// A few tens of nanoseconds for a few endpoints; no allocation.
    pub fn pick(&mut self, wanted: &Wanted<'_>, random: &mut Rng) -> Pick {
        let pool = &self.seat.pool;
        if pool.is_limited() {
            pool.end_rests(pool.micros(wanted.now));
            if pool.queue.waiting() > 0 {
                return Pick::Full; // Nobody overtakes those who wait.
            }
        }
        self.pick_now(wanted, random)
    }

    /// Takes a place at the end of the pool's queue, or `None` if the queue is full. The ticket
    /// must come back by [`Self::poll_turn`] until that is ready, or by [`Self::leave`].
    pub fn enqueue(&mut self, now: Instant) -> Option<Ticket> {
        let pool = &self.seat.pool;
        self.line.join(&pool.queue, pool.micros(now))
    }

    /// Ready with an endpoint, or [`Pick::Refused`], when it is this ticket's turn among all
    /// workers; never ready with [`Pick::Full`] or [`Pick::CircuitOpen`]. The ticket is then used up.
    ///
    /// # Panics
    /// If the ticket is used up or has left.
    pub fn poll_turn(
        &mut self,
        ticket: Ticket,
        wanted: &Wanted<'_>,
        cx: &mut Context<'_>,
        random: &mut Rng,
    ) -> Poll<Pick> {
        // Asks for a wake-up first and looks for room afterwards, so none is lost.
        let queue = &self.seat.pool.queue;
        if !self.line.is_next(ticket, cx.waker(), queue) {
            return Poll::Pending;
        }
        let pick = self.pick_now(wanted, random);
        if matches!(pick, Pick::Full | Pick::CircuitOpen) {
            return Poll::Pending;
        }
        // There may be more room: the next waiter is woken to see.
        let pool = &self.seat.pool;
        self.line
            .serve(ticket, &pool.queue, pool.micros(wanted.now));
        Poll::Ready(pick)
    }

    /// Gives up waiting: the client went away, or its time is over. Does nothing after the
    /// ticket's turn.
    pub fn leave(&mut self, ticket: Ticket) {
        self.line.leave(ticket, &self.seat.pool.queue);
    }

    fn pick_now(&mut self, wanted: &Wanted<'_>, random: &mut Rng) -> Pick {
        let pool = &*self.seat.pool;
        if !pool.is_closed_circuit() {
            return Pick::CircuitOpen;
        }
        let now = pool.micros(wanted.now);
        self.rotation.refresh(pool, now);
        match wanted.session {
            Some(session) if pool.sessions.is_some() => {
                self.pick_for_session(session, wanted, now, random)
            }
            _ => self.pick_by_policy(wanted, now, random),
        }
    }

    /// The endpoint that has the session, or else one that has it from now on.
    fn pick_for_session(
        &mut self,
        session: Session,
        wanted: &Wanted<'_>,
        now: u64,
        random: &mut Rng,
    ) -> Pick {
        let seat = Rc::clone(&self.seat);
        let Some(sessions) = &seat.pool.sessions else {
            return self.pick_by_policy(wanted, now, random);
        };
        let (named, remembered) = sessions.owners(session, now);
        let other = remembered.filter(|owner| named != Some(*owner));
        for owner in named.into_iter().chain(other) {
            if let Some(kept) = self.keep(sessions, owner, wanted, now) {
                // If another request of the session is moving it, the client hears of that.
                let _ = sessions.claim(session.id, remembered, owner, now);
                return kept;
            }
            if sessions.is_strict() {
                return Pick::Refused;
            }
        }
        let (lease, why) = match self.pick_by_policy(wanted, now, random) {
            Pick::Endpoint(lease, why) => (lease, why),
            none => return none,
        };
        // Another request of the session may have been faster: they stay together.
        if let Err(holder) = sessions.claim(session.id, remembered, lease.index(), now)
            && let Some(kept) = self.keep(sessions, holder, wanted, now)
        {
            return kept;
        }
        let had_owner = named.is_some() || remembered.is_some();
        let why = match why {
            Why::Policy if had_owner => Why::Moved,
            why => why,
        };
        Pick::Endpoint(lease, why)
    }

    /// The endpoint of a session, if the session may stay there.
    fn keep(
        &self,
        sessions: &Sessions,
        owner: usize,
        wanted: &Wanted<'_>,
        now: u64,
    ) -> Option<Pick> {
        let pool = &*self.seat.pool;
        // A session that may not move is worth a second try.
        let is_tried = wanted.tried.contains(owner);
        let is_fail_open = !self.rotation.has_open && !pool.settings.fail_closed;
        let weights = &self.rotation.weights;
        if (is_tried && !sessions.is_strict())
            || !sessions.may_keep(pool, owner, weights, is_fail_open)
        {
            return None;
        }
        let in_flight = pool.reserve(owner, now)?;
        let why = match pool.endpoints[owner].availability() {
            Availability::Down => Why::FailOpen,
            _ if is_tried => Why::AlreadyTried,
            _ => Why::Sticky,
        };
        let mut policy = self.seat.policy.borrow_mut();
        let mark = policy.send(&pool.endpoints[owner], wanted.class, now);
        Some(Pick::Endpoint(
            self.lease(owner, Sent { in_flight, mark }),
            why,
        ))
    }

    fn pick_by_policy(&mut self, wanted: &Wanted<'_>, now: u64, random: &mut Rng) -> Pick {
        if !self.rotation.trials.is_empty()
            && let Some(pick) = self.pick_beside_trials(wanted, now, random)
        {
            return pick;
        }
        let pool = &*self.seat.pool;
        let mut policy = self.seat.policy.borrow_mut();
        let rotation = &self.rotation;
        let tried = wanted.tried;
        // An unknown endpoint is worth a try before one that just failed this very request.
        let may_use = |standing: Standing| match standing {
            Standing::Down | Standing::DownWeightless => {
                !rotation.has_open && !pool.settings.fail_closed
            }
            Standing::Unknown | Standing::UnknownWeightless => {
                !rotation.has_up || !tried.is_empty()
            }
            _ => true,
        };
        let none = Tried::new();
        // The second round is for those who have tried everything that has room. It goes before
        // waiting, because an endpoint that failed once is more often well than not, and a
        // waiter who insists on another one would hold up all behind it.
        let rounds: &[&Tried] = if tried.is_empty() {
            &[&none]
        } else {
            &[tried, &none]
        };
        for excluded in rounds {
            for group in rotation.groups(random) {
                if !may_use(group.standing) {
                    continue;
                }
                let weights = &rotation.weights;
                let candidates = Candidates::new(
                    pool,
                    group,
                    weights,
                    excluded,
                    wanted,
                    now,
                    rotation.build(),
                );
                // Goes round again only when another worker took the last place meanwhile.
                while let Some(index) = policy.pick(&candidates, random) {
                    if let Some(in_flight) = pool.reserve(index, now) {
                        let why = self.why(index, group.standing, tried);
                        let mark = policy.send(&pool.endpoints[index], wanted.class, now);
                        return Pick::Endpoint(self.lease(index, Sent { in_flight, mark }), why);
                    }
                }
            }
        }
        let may_open = rotation.has_open || (rotation.has_down && !pool.settings.fail_closed);
        if may_open { Pick::Full } else { Pick::Refused }
    }

    /// One request shows whether an endpoint on trial is well: it gets no second one as long as
    /// another endpoint takes it, which has not said that it is full.
    #[cold]
    fn pick_beside_trials(
        &mut self,
        wanted: &Wanted<'_>,
        now: u64,
        random: &mut Rng,
    ) -> Option<Pick> {
        let pool = &*self.seat.pool;
        self.rotation.forget_trials(pool);
        let rotation = &self.rotation;
        let mut policy = self.seat.policy.borrow_mut();
        let mut excluded = wanted.tried.clone();
        for &index in &rotation.trials {
            if pool.endpoints[index].load.has_sent_trial() {
                excluded.insert(index);
            }
        }
        for group in rotation.groups(random) {
            if !matches!(group.standing, Standing::Open | Standing::Busy) {
                continue;
            }
            loop {
                let weights = &rotation.weights;
                let build = rotation.build();
                let candidates =
                    Candidates::new(pool, group, weights, &excluded, wanted, now, build);
                let Some(index) = policy.pick(&candidates, random) else {
                    break;
                };
                let endpoint = &pool.endpoints[index];
                let is_trial = endpoint.load.is_on_trial();
                if is_trial && !endpoint.load.send_trial() {
                    // Another worker was faster.
                    excluded.insert(index);
                } else if let Some(in_flight) = pool.reserve(index, now) {
                    let mark = policy.send(endpoint, wanted.class, now);
                    let lease = self.lease(index, Sent { in_flight, mark });
                    lease.is_trial.set(is_trial);
                    let why = self.why(index, group.standing, wanted.tried);
                    return Some(Pick::Endpoint(lease, why));
                } else if is_trial {
                    endpoint.load.end_sent_trial();
                }
            }
        }
        None
    }

    /// Why the policy's choice is one, in a group of this standing.
    fn why(&self, index: usize, standing: Standing, tried: &Tried) -> Why {
        let is_down = || self.seat.pool.endpoints[index].availability() == Availability::Down;
        match standing.why() {
            Why::Policy | Why::Busy if tried.contains(index) => Why::AlreadyTried,
            Why::Policy if self.rotation.is_panic && is_down() => Why::FailOpen,
            why => why,
        }
    }

    /// For a place that was reserved.
    fn lease(&self, index: usize, sent: Sent) -> Lease {
        Lease {
            seat: Rc::clone(&self.seat),
            index,
            sent,
            is_open: Cell::new(true),
            is_trial: Cell::new(false),
        }
    }
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

    /// Tells what came of the request; only the first time counts.
    pub fn learn(&self, answer: &Answer) {
        if self.is_open.replace(false) {
            self.end_trial();
            let pool = &self.seat.pool;
            if !self.seat.learns {
                return;
            }
            let now = pool.micros(answer.now);
            if answer.is_success {
                pool.observe_latency(self.index, self.sent.in_flight, answer.latency, now);
            }
            let mut policy = self.seat.policy.borrow_mut();
            policy.learn(self.endpoint(), self.sent, answer, now);
        }
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        &self.seat.pool.endpoints[self.index]
    }

    fn end_trial(&self) {
        if self.is_trial.replace(false) {
            self.endpoint().load.end_sent_trial();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.is_open.get() {
            self.end_trial();
            if self.seat.learns {
                let mut policy = self.seat.policy.borrow_mut();
                policy.forget(self.endpoint(), self.sent);
            }
        }
        self.seat.pool.release(self.index);
    }
}

impl Why {
    /// The word in the access log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Sticky => "sticky",
            Self::Moved => "moved",
            Self::Busy => "busy",
            Self::OnlyUnknown => "unknown",
            Self::FailOpen => "fail_open",
            Self::AlreadyTried => "again",
            Self::Hedge => "hedge",
        }
    }
}
