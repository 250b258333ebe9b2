//! Hedging: a second copy of a slow request, and the race of the two.
//!
//! [`Exchange::may_hedge`] says which requests may get a copy: those that may be executed twice,
//! and have no body that would be sent twice. [`Exchange::begin_copy`] sends one, if the budget
//! and the pool's load allow it, and [`Exchange::race`] waits for the first good answer. The other
//! copy is cancelled: its connection is closed.

use std::future::poll_fn;
use std::mem;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use balance::{Endpoint, HedgeSettings, Pick, Why};
use config::Route;
use wire::h1::BodyWriter;

use crate::attempt::{Failed, Retryable, Stop};
use crate::exchange::{Exchange, Scratch, Search};
use crate::failure::Failure;
use crate::forward::{Patience, Question};
use crate::record::{Attempt, Outcome};
use crate::upstream::{Opening, Upstream, reuse};
use crate::waits::{Wait, Waits};

/// The two copies of a request.
pub(crate) struct Race {
    /// The first and the second.
    runners: [Runner; 2],
    /// Memory of the second.
    scratch: Box<Scratch>,
}

const FIRST: usize = 0;
const SECOND: usize = 1;

struct Runner {
    attempt: Attempt,
    stage: Stage,
}

/// How far a copy has come.
enum Stage {
    /// It waits for a connection.
    Connecting(Opening),
    /// It waits for a response, or has a good one.
    Asking(Upstream, Question),
    /// Its response is not a good one: the other copy may get a better one.
    Answered(Upstream),
    /// It failed, which was written down.
    Over(Failed),
}

/// What happens in a race.
enum News {
    /// The copy of this index has the head of a response.
    Head(usize),
    /// The copy of this index has failed.
    Failed(usize, Failed),
    ClientGone,
    /// A wait has ended.
    Timeout,
}

/// What the head of a response means for its copy.
enum Verdict {
    /// Another head follows.
    Interim,
    Good,
    Bad,
}

/// A second copy on its way.
pub(crate) struct SecondCopy {
    runner: Runner,
    scratch: Box<Scratch>,
}

impl Exchange<'_> {
    /// How the request may be hedged, if it may: nobody is harmed if two endpoints execute it. It
    /// earns its share of a copy.
    pub(crate) fn may_hedge(&self, route: &Route) -> Option<HedgeSettings> {
        let settings = route.hedge?;
        let request = &self.request;
        let has_no_body = self.up.source_is_done();
        if !request.method.is_idempotent() || !has_no_body || request.upgrade.is_some() {
            return None;
        }
        let pool = &self.worker.plan.pools[route.pool];
        pool.hedge_budget.earn(&settings);
        Some(settings)
    }

    /// After how long the request gets a copy, if it may and enough is known of its route.
    pub(crate) fn hedge_delay(&self, search: &Search) -> Option<Duration> {
        let settings = search.hedge.as_ref()?;
        let latency = self.worker.latencies[self.record.route?].as_ref()?;
        latency.borrow().hedge_delay(settings)
    }

    /// Takes how long a first copy took, or has taken so far.
    pub(crate) fn learn_delay(&self, latency: Duration, search: &Search) {
        let (Some(settings), Some(route)) = (&search.hedge, self.record.route) else {
            return;
        };
        if let Some(recent) = &self.worker.latencies[route] {
            recent.borrow_mut().observe(latency, settings);
        }
    }

    /// Sends a copy of the request, whose first one is at `first`, to another endpoint. `None` if
    /// it may not be, or there is no other endpoint that is as good as any.
    pub(crate) fn begin_copy(
        &mut self,
        route: &Route,
        first: &Endpoint,
        search: &mut Search,
    ) -> Option<SecondCopy> {
        let worker = self.worker;
        let pool = &worker.plan.pools[route.pool];
        let now = Instant::now();
        let wanted = self.wanted(search, now);
        // What a session needs is at one endpoint only.
        let is_free = wanted.session.is_none();
        if !is_free || !pool.has_room_for_copies(now) || !pool.hedge_budget.try_hedge() {
            return None;
        }
        let pick = worker.balancers[route.pool]
            .borrow_mut()
            .pick(&wanted, &mut worker.random.borrow_mut());
        let Pick::Endpoint(lease, Why::Policy) = pick else {
            return None;
        };
        // A backup may know nothing but an apology, and would be the first to answer.
        let stands_behind =
            lease.endpoint().tier > first.tier || pool.weight(lease.index(), now) == 0.0;
        if stands_behind {
            return None;
        }
        let stage = match reuse(worker, route.pool, &lease, now) {
            Some(upstream) => Stage::Asking(upstream, self.question(Some(now))),
            None => {
                let opening = Opening::begin(worker, &self.client.peer, route.pool, &lease);
                Stage::Connecting(opening.ok()?)
            }
        };
        search.tried.insert(lease.index());
        worker.metrics.pools[route.pool].hedges.increment();
        let attempt = self
            .record
            .begin_attempt(worker, lease, Why::Hedge, None, now);
        let mut scratch = worker.take_scratch();
        let Scratch { up, .. } = &mut *scratch;
        up.begin(self.request.body_length, BodyWriter::Plain);
        // There is no body: what is kept is that it can be sent again.
        up.keep(0);
        self.write_request_head(route, up.head());
        let runner = Runner { attempt, stage };
        Some(SecondCopy { runner, scratch })
    }

    /// Waits for the first good answer of two copies: of `attempt`, which waits on `upstream`, and
    /// of `second`. A bad one (5xx, a status that is retried, or one by which the endpoint says that
    /// it is full) counts if the other copy has none that is better. The response is then where
    /// that of a single attempt is.
    pub(crate) async fn race(
        &mut self,
        route: &Route,
        (attempt, upstream, question): (Attempt, Upstream, Question),
        second: SecondCopy,
        waits: Waits,
        search: &Search,
    ) -> Result<(Attempt, Upstream), Failed> {
        let stage = Stage::Asking(upstream, question);
        let first = Runner { attempt, stage };
        let mut race = Race {
            runners: [first, second.runner],
            scratch: second.scratch,
        };
        let ended = self.run_race(route, &mut race, waits, search).await;
        self.end_race(route, race, ended, search)
    }

    /// Returns the index of the winner.
    async fn run_race(
        &mut self,
        route: &Route,
        race: &mut Race,
        mut waits: Waits,
        search: &Search,
    ) -> Result<usize, Failed> {
        let mut patience = self.patience(route);
        loop {
            patience.response = waits.next();
            let (index, failed) = match poll_fn(|cx| self.poll_race(cx, race, patience)).await {
                News::Head(index) => {
                    self.swap(index, race);
                    let verdict = self
                        .judge(route, &race.runners[index].attempt, patience)
                        .await;
                    self.swap(index, race);
                    match verdict {
                        Ok(Verdict::Good) => return Ok(index),
                        Ok(Verdict::Bad) if !race.is_running(other(index)) => return Ok(index),
                        Ok(Verdict::Bad) => {
                            race.runners[index].stage.hold();
                            self.bound_lone_connecting(route, race);
                            continue;
                        }
                        Ok(Verdict::Interim) => continue,
                        Err(failed) => (index, failed),
                    }
                }
                News::Failed(index, failed) => (index, failed),
                News::ClientGone => return Err(Failed::Client(Stop::ClientGone)),
                News::Timeout => match race.lone_connecting() {
                    Some(index) => (index, Failed::NotConnected(Failure::ConnectionTimeout)),
                    None => {
                        self.wait_on(route, &mut waits, search)?;
                        continue;
                    }
                },
            };
            if let Failed::Client(_) = failed {
                return Err(failed);
            }
            let Runner { attempt, stage } = &mut race.runners[index];
            let now = Instant::now();
            self.record
                .end_attempt(self.worker, attempt, failed.outcome(), now);
            *stage = Stage::Over(failed);
            match race.runners[other(index)].stage {
                Stage::Answered(_) => return Ok(other(index)),
                // One of the two may have been executed if either may.
                Stage::Over(before) if failed.is_before_work() => return Err(before),
                Stage::Over(_) => return Err(failed),
                Stage::Connecting(_) | Stage::Asking(..) => {
                    self.bound_lone_connecting(route, race);
                }
            }
        }
    }

    fn poll_race(
        &mut self,
        cx: &mut Context<'_>,
        race: &mut Race,
        patience: Patience,
    ) -> Poll<News> {
        for index in [FIRST, SECOND] {
            let Runner { attempt, stage } = &mut race.runners[index];
            if let Stage::Connecting(opening) = stage {
                match opening.poll(cx, self.worker) {
                    Poll::Ready(Ok(upstream)) => {
                        let now = self.record.connected(attempt);
                        *stage = Stage::Asking(upstream, self.question(Some(now)));
                    }
                    Poll::Ready(Err(failure)) => {
                        return Poll::Ready(News::Failed(index, Failed::NotConnected(failure)));
                    }
                    Poll::Pending => {}
                }
            }
            let Stage::Asking(upstream, question) = stage else {
                continue;
            };
            let (up, response) = match index {
                FIRST => (&mut *self.up, &mut *self.response),
                _ => (&mut race.scratch.up, &mut race.scratch.response),
            };
            match question.poll(cx, self.client, upstream, up, response, patience) {
                Poll::Ready(Ok(())) => return Poll::Ready(News::Head(index)),
                Poll::Ready(Err(reason)) => {
                    return Poll::Ready(News::Failed(index, reason.into()));
                }
                Poll::Pending => {}
            }
        }
        if self.client.poll_gone(cx).is_ready() {
            return Poll::Ready(News::ClientGone);
        }
        self.client.poll_timeout(cx).map(|()| News::Timeout)
    }

    /// Looks at a head that came for `attempt`, and passes it on if it is an interim one.
    async fn judge(
        &mut self,
        route: &Route,
        attempt: &Attempt,
        patience: Patience,
    ) -> Result<Verdict, Failed> {
        let status = self.response.status;
        if status.is_informational() && !self.is_switching()? {
            self.pass_interim(patience).await?;
            return Ok(Verdict::Interim);
        }
        let now = Instant::now();
        self.record
            .answered(self.worker, attempt, self.response, now);
        let is_good =
            self.record.is_ok(attempt) && !route.retry.on.statuses.contains(&status.code());
        Ok(if is_good { Verdict::Good } else { Verdict::Bad })
    }

    /// As long as the other copy may answer, one that connects has time.
    fn bound_lone_connecting(&mut self, route: &Route, race: &Race) {
        if race.lone_connecting().is_some() {
            self.client.allow(route.timeouts.connect);
        }
    }

    /// A wait has ended: waits on, unless it was the last or another attempt may be made.
    fn wait_on(&mut self, route: &Route, waits: &mut Waits, search: &Search) -> Result<(), Failed> {
        if !self.client.has_time_left() {
            return Err(Failed::Timeout);
        }
        match waits.take_next() {
            Wait::Last => Err(Failed::Timeout),
            Wait::OfAttempt if self.may_retry(route, search, Retryable::IfIdempotent) => {
                Err(Failed::TooSlow)
            }
            Wait::OfAttempt | Wait::ForCopy => {
                self.client.allow(waits.next());
                Ok(())
            }
        }
    }

    /// Writes down how the copies ended that are not over yet, and cancels all but the winner.
    fn end_race(
        &mut self,
        route: &Route,
        mut race: Race,
        ended: Result<usize, Failed>,
        search: &Search,
    ) -> Result<(Attempt, Upstream), Failed> {
        let worker = self.worker;
        let now = Instant::now();
        // Where time ran out, a bad answer is better than none.
        let is_out_of_time = ended == Err(Failed::Timeout);
        let ended = match ended {
            Err(Failed::Timeout) => race.answered().ok_or(Failed::Timeout),
            ended => ended,
        };
        if ended == Ok(SECOND) {
            self.swap(SECOND, &mut race);
            worker.metrics.pools[route.pool].hedges_won.increment();
        }
        worker.return_scratch(race.scratch);
        let mut winner = None;
        for (index, Runner { attempt, stage }) in race.runners.into_iter().enumerate() {
            let is_cut = matches!(ended, Err(Failed::Client(_)));
            if index == FIRST && !is_cut && !matches!(stage, Stage::Over(_)) {
                // If it did not win, it would have taken longer than this.
                self.learn_delay(self.record.age(&attempt, now), search);
            }
            match (stage, ended) {
                (Stage::Asking(upstream, _) | Stage::Answered(upstream), Ok(won))
                    if won == index =>
                {
                    winner = Some((attempt, upstream));
                }
                (Stage::Over(_), _) => {}
                (Stage::Answered(_), _) => self.record.end_answered(worker, &attempt, now),
                (Stage::Asking(..), Ok(_)) if is_out_of_time => {
                    self.record
                        .end_attempt(worker, &attempt, Outcome::Timeout, now);
                }
                (Stage::Asking(..), Ok(_)) if index == FIRST => {
                    self.record.end_overtaken(worker, &attempt, now);
                }
                (Stage::Asking(..), Err(failed)) => {
                    self.record
                        .end_attempt(worker, &attempt, failed.outcome(), now);
                }
                (Stage::Asking(..) | Stage::Connecting(_), _) => {
                    self.record
                        .end_attempt(worker, &attempt, Outcome::Abandoned, now);
                }
            }
        }
        ended.map(|_| winner.expect("a copy that wins has a connection"))
    }

    /// Puts the response of the copy of this index, and what was sent for it, where those of a
    /// single attempt are; and back.
    fn swap(&mut self, index: usize, race: &mut Race) {
        if index == SECOND {
            mem::swap(self.up, &mut race.scratch.up);
            mem::swap(self.response, &mut race.scratch.response);
        }
    }
}

impl Race {
    fn is_running(&self, index: usize) -> bool {
        let stage = &self.runners[index].stage;
        matches!(stage, Stage::Connecting(_) | Stage::Asking(..))
    }

    /// The copy whose answer is held back.
    fn answered(&self) -> Option<usize> {
        let is_answered = |runner: &Runner| matches!(runner.stage, Stage::Answered(_));
        self.runners.iter().position(is_answered)
    }

    /// The copy that waits for a connection, if the other one waits for nothing.
    fn lone_connecting(&self) -> Option<usize> {
        let connecting = |runner: &Runner| matches!(runner.stage, Stage::Connecting(_));
        let index = self.runners.iter().position(connecting)?;
        (!self.is_running(other(index))).then_some(index)
    }
}

impl Stage {
    /// An answer came, and another one may be better.
    fn hold(&mut self) {
        let before = mem::replace(self, Self::Over(Failed::Closed));
        *self = match before {
            Self::Asking(upstream, _) => Self::Answered(upstream),
            before => before,
        };
    }
}

fn other(index: usize) -> usize {
    1 - index
}
