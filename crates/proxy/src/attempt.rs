//! One attempt at an endpoint: the request goes out and a response head comes back, or it fails.
//!
//! An attempt can fail in a number of ways ([`Failed`]). What follows is told here for each: may
//! the request move, what does it say about the endpoint, what do we answer if it may not.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use balance::RetryOn;
use config::Route;
use message::{BodyLength, Status, Version};
use wire::h1::BadMessage;

use crate::arrival::limits;
use crate::channel::Channel;
use crate::client::Gone;
use crate::exchange::{Exchange, Search};
use crate::failure::Failure;
use crate::forward::{NoResponse, Patience, Question};
use crate::headers::write_interim_head;
use crate::hedge::SecondCopy;
use crate::record::{Attempt, EndedBy, Outcome, Phase};
use crate::upstream::{self, NotAdmitted, Upstream};
use crate::waits::{Wait, Waits};

/// What an attempt came to.
enum Asked {
    /// The head of its final response has arrived.
    Answered(Upstream),
    /// It takes long, and a copy of the request is on its way to another endpoint.
    Slow(Box<Slow>),
}

/// An attempt that takes long.
struct Slow {
    upstream: Upstream,
    question: Question,
    copy: SecondCopy,
    waits: Waits,
}

impl Exchange<'_> {
    /// Sends the request to one endpoint and waits for the final response head. Returns the attempt
    /// that gave it, which is another one if the request was slow and its copy was faster. One
    /// that failed has been written down.
    pub(crate) async fn attempt(
        &mut self,
        route: &Route,
        attempt: Attempt,
        search: &mut Search,
        now: Instant,
    ) -> Result<(Attempt, Upstream), Failed> {
        match self.ask(route, &attempt, search, now).await {
            Ok(Asked::Answered(upstream)) => Ok((attempt, upstream)),
            Ok(Asked::Slow(slow)) => {
                let Slow {
                    upstream,
                    question,
                    copy,
                    waits,
                } = *slow;
                let first = (attempt, upstream, question);
                // Apart, so that requests without a copy need no memory for it.
                Box::pin(self.race(route, first, copy, waits, search)).await
            }
            Err(failed) => {
                let now = Instant::now();
                self.record
                    .end_attempt(self.worker, &attempt, failed.outcome(), now);
                Err(failed)
            }
        }
    }

    /// Sends the request on a connection of this attempt. Heads of interim responses are passed to
    /// the client on the way.
    async fn ask(
        &mut self,
        route: &Route,
        attempt: &Attempt,
        search: &mut Search,
        now: Instant,
    ) -> Result<Asked, Failed> {
        self.record.phase = Phase::Connect;
        let Attempt { lease, .. } = attempt;
        let mut timeout = route.timeouts.connect;
        let may_move = route.retry.on.connect && search.has_retries_left(route);
        if let (Some(of_attempt), true) = (route.retry.timeout, may_move) {
            timeout = timeout.min(of_attempt);
        }
        let reused = upstream::reuse(self.worker, route.pool, lease, now);
        let (mut upstream, now) = match reused {
            Some(upstream) => (upstream, now),
            None => {
                let (worker, client) = (self.worker, &mut *self.client);
                let connecting = upstream::connect(worker, client, route.pool, lease, timeout, now);
                (connecting.await?, self.record.connected(attempt))
            }
        };

        if self.request.upgrade.is_some() {
            self.wait_for_switch(&mut upstream).await?;
        }
        self.record.phase = Phase::Response;
        let mut patience = self.patience(route);
        self.client.allow_until(now + patience.endpoint);
        let mut waits = self.waits(route, attempt, search, now);
        let mut question = self.question(Some(now));
        loop {
            patience.response = waits.next();
            let (up, response) = (&mut *self.up, &mut *self.response);
            let asked = question.ask(self.client, &mut upstream, up, response, patience);
            let since = match asked.await {
                Ok(()) if self.response.status.is_informational() && !self.is_switching()? => {
                    self.pass_interim(patience).await?;
                    continue;
                }
                Ok(()) if self.would_be_taken_for_a_switch() => return Err(Failed::UPGRADE),
                Ok(()) => {
                    let now = Instant::now();
                    let record = &mut self.record;
                    if self.request.body_length != BodyLength::Empty {
                        record.body_sent(attempt, question.sent_at());
                    }
                    let latency = record.answered(self.worker, attempt, self.response, now);
                    // A failure comes sooner, or later, than the work would have taken.
                    if self.response.status.code() < 500 {
                        self.learn_delay(latency, search);
                    }
                    return Ok(Asked::Answered(upstream));
                }
                Err(NoResponse::Timeout) if self.client.has_time_left() => {
                    question.waits_since().ok_or(Failed::Timeout)?
                }
                Err(reason) => return Err(reason.into()),
            };
            let ended = waits.take_next();
            self.client.allow_until(since + waits.next());
            match ended {
                Wait::ForCopy => {
                    if let Some(copy) = self.begin_copy(route, attempt.lease.endpoint(), search) {
                        return Ok(Asked::Slow(Box::new(Slow {
                            upstream,
                            question,
                            copy,
                            waits,
                        })));
                    }
                }
                Wait::OfAttempt if self.may_retry(route, search, Retryable::IfIdempotent) => {
                    self.learn_delay(self.record.age(attempt, Instant::now()), search);
                    return Err(Failed::TooSlow);
                }
                Wait::OfAttempt => {}
                Wait::Last => return Err(Failed::Timeout),
            }
        }
    }

    /// The request, as it goes out to one endpoint. `now` is the time, if it is known.
    pub(crate) fn question(&self, now: Option<Instant>) -> Question {
        let limits = limits(&self.worker.plan.snapshot.listeners[self.client.peer.listener].limits);
        let upgrade = self.request.upgrade;
        let upgrade = upgrade.map(|protocol| self.request.text(protocol).into());
        Question::new(self.request.method, upgrade, limits, now)
    }

    /// Over HTTP/2 an endpoint says at the beginning whether it can switch protocols (RFC 8441 §3),
    /// and there is one to switch to. One that cannot is a mistake of the config and not to be
    /// blamed.
    async fn wait_for_switch(&mut self, upstream: &mut Upstream) -> Result<(), Failed> {
        let Channel::Stream(stream) = &mut upstream.channel else {
            return Ok(());
        };
        let protocol = self.request.upgrade.map(|span| self.request.text(span));
        if !protocol.is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket")) {
            return Err(Failed::UPGRADE);
        }
        let client = &mut *self.client;
        let may_switch = poll_fn(|cx| {
            if let Poll::Ready(may_switch) = stream.poll_may_switch(cx) {
                return Poll::Ready(may_switch);
            }
            client.poll_timeout(cx).map(|()| false)
        })
        .await;
        if may_switch {
            Ok(())
        } else {
            Err(Failed::UPGRADE)
        }
    }

    /// True if the endpoint did not switch, but its answer would mean to the client that it did:
    /// over HTTP/2 any success does (RFC 8441 §5). Whoever asks for that where no endpoint switches
    /// is not to make it look bad.
    fn would_be_taken_for_a_switch(&self) -> bool {
        self.request.is_extended_connect && (200..300).contains(&self.response.status.code())
    }

    /// How long the response to an attempt is waited for, whose connection is there `now`.
    fn waits(&self, route: &Route, attempt: &Attempt, search: &Search, now: Instant) -> Waits {
        let retry = &route.retry;
        // An attempt that cannot move had better take its time.
        let may_move = retry.on.timeout
            && search.has_retries_left(route)
            && self.request.method.is_idempotent();
        let of_attempt = retry.timeout.filter(|_| may_move);
        let from_now = |wait: Duration| wait.saturating_sub(self.record.age(attempt, now));
        Waits {
            copy: self.hedge_delay(search).map(from_now),
            attempt: of_attempt.map(from_now),
            last: route.timeouts.response,
        }
    }

    /// True if the endpoint switches protocols, as it was asked to.
    pub(crate) fn is_switching(&self) -> Result<bool, Failed> {
        match self.response.status == Status::SWITCHING_PROTOCOLS {
            true if !self.was_asked_for_protocol() => Err(Failed::Switched),
            is_switching => Ok(is_switching),
        }
    }

    /// Passes the head of an interim response on.
    pub(crate) async fn pass_interim(&mut self, patience: Patience) -> Result<(), Failed> {
        // HTTP/1.0 has no interim responses (RFC 9110 §15.2).
        if self.request.version != Version::Http10 {
            let mut head = Vec::new();
            write_interim_head(self.response, &mut head);
            let until = self.client.allowed_until();
            let written = self.client.send_interim(&head, patience.client).await;
            written.map_err(|Gone| Failed::Client(Stop::ClientGone))?;
            self.client.allow_until(until);
        }
        self.response.clear();
        Ok(())
    }

    /// True if the protocol that the endpoint switches to is the one the client asked for.
    fn was_asked_for_protocol(&self) -> bool {
        let asked = self
            .request
            .upgrade
            .map(|protocol| self.request.text(protocol));
        let given = self
            .response
            .upgrade
            .map(|protocol| self.response.text(protocol));
        matches!((asked, given), (Some(asked), Some(given)) if asked.eq_ignore_ascii_case(given))
    }

    pub(crate) fn patience(&self, route: &Route) -> Patience {
        let listener = &self.worker.plan.snapshot.listeners[self.client.peer.listener];
        Patience {
            client: listener.timeouts.body,
            endpoint: route.timeouts.body,
            response: route.timeouts.response,
        }
    }
}

/// Why an exchange ends without the endpoint's response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Nobody is there to answer.
    ClientGone,
    /// We answer.
    Failure(Failure, EndedBy),
    /// We send the client to the same place by HTTPS, at this port.
    Redirect { port: u16 },
    /// We answer, and all is well: a question that was for us.
    OwnAnswer,
}

/// Why an attempt gave no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    /// There was no connection: the endpoint got nothing.
    NotConnected(Failure),
    /// The kept connection had closed: the endpoint got nothing.
    Stale,
    /// The endpoint took the request and said that it will not work on it.
    Refused,
    /// The client left or broke a rule: not the endpoint's fault.
    Client(Stop),
    /// The endpoint closed before its response was there.
    Closed,
    /// The endpoint took too long.
    Timeout,
    /// The endpoint took longer than an attempt may that is not the last one, and another one is
    /// paid for already.
    TooSlow,
    /// The endpoint's response is not one.
    BadResponse(BadMessage),
    /// The endpoint switched to a protocol that nobody asked for.
    Switched,
}

/// Whether a request may move to another endpoint, as far as it depends on what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retryable {
    /// It may not.
    No,
    /// It may have been executed: only where executing it twice does no harm.
    IfIdempotent,
    /// It may have been executed, and the config says that this does not matter.
    AsTold,
    /// The endpoint never saw it.
    Always,
    /// That was decided, and paid for, before the attempt was given up.
    Decided,
}

impl Failed {
    /// The endpoint does not switch protocols, which is no fault of it.
    const UPGRADE: Self = Self::Client(Stop::Failure(Failure::UpgradeFailed, EndedBy::Endpoint));

    /// What the pool's settings say about this.
    pub(crate) fn retryable(self, on: &RetryOn) -> Retryable {
        let (is_on, retryable) = match self {
            Self::NotConnected(_) | Self::Stale | Self::Refused => (on.connect, Retryable::Always),
            Self::Closed => (on.reset, Retryable::IfIdempotent),
            Self::Timeout => (on.timeout, Retryable::IfIdempotent),
            Self::TooSlow => (true, Retryable::Decided),
            Self::Client(_) | Self::BadResponse(_) | Self::Switched => (false, Retryable::No),
        };
        if is_on { retryable } else { Retryable::No }
    }

    /// True if the endpoint has done nothing for the request.
    pub(crate) fn is_before_work(self) -> bool {
        matches!(self, Self::NotConnected(_) | Self::Stale | Self::Refused)
    }

    /// What it says about the endpoint.
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::NotConnected(Failure::ConnectionRefused) => Outcome::Refused,
            // Our own shortage says nothing about the endpoint.
            Self::NotConnected(Failure::InternalError | Failure::PoolFull) | Self::Client(_) => {
                Outcome::Abandoned
            }
            Self::NotConnected(_) => Outcome::ConnectFailed,
            Self::Stale => Outcome::Stale,
            Self::Refused => Outcome::Full,
            Self::Closed => Outcome::Reset,
            Self::Timeout | Self::TooSlow => Outcome::Timeout,
            Self::BadResponse(_) | Self::Switched => Outcome::BadResponse,
        }
    }

    /// How the exchange ends if the request may not move.
    pub(crate) fn stop(self) -> Stop {
        let failure = match self {
            Self::Client(stop) => return stop,
            Self::NotConnected(failure @ (Failure::InternalError | Failure::PoolFull)) => {
                return Stop::Failure(failure, EndedBy::Us);
            }
            Self::NotConnected(failure) => failure,
            Self::Stale | Self::Refused | Self::Closed => Failure::ConnectionTerminated,
            Self::Timeout | Self::TooSlow => Failure::ResponseTimeout,
            Self::BadResponse(bad) => Failure::BadResponse(bad),
            Self::Switched => Failure::UpgradeFailed,
        };
        Stop::Failure(failure, EndedBy::Endpoint)
    }
}

impl From<NoResponse> for Failed {
    fn from(reason: NoResponse) -> Self {
        match reason {
            NoResponse::ClientGone => Self::Client(Stop::ClientGone),
            NoResponse::ClientBroke(bad) => {
                Self::Client(Stop::Failure(Failure::BadRequest(bad), EndedBy::Client))
            }
            NoResponse::ClientTimeout => {
                Self::Client(Stop::Failure(Failure::RequestTimeout, EndedBy::Client))
            }
            NoResponse::NothingSent => Self::Stale,
            NoResponse::Refused => Self::Refused,
            NoResponse::Closed => Self::Closed,
            NoResponse::Timeout => Self::Timeout,
            NoResponse::Broke(bad) => Self::BadResponse(bad),
        }
    }
}

impl From<NotAdmitted> for Stop {
    fn from(reason: NotAdmitted) -> Self {
        match reason {
            NotAdmitted::ClientGone => Self::ClientGone,
            NotAdmitted::Failure(failure) => Self::Failure(failure, EndedBy::Us),
        }
    }
}

impl From<NotAdmitted> for Failed {
    fn from(reason: NotAdmitted) -> Self {
        match reason {
            NotAdmitted::ClientGone => Self::Client(Stop::ClientGone),
            NotAdmitted::Failure(failure) => Self::NotConnected(failure),
        }
    }
}

/// What a response says about the endpoint that gave it.
pub(crate) fn outcome_of(status: Status) -> Outcome {
    if status.code() >= 500 {
        Outcome::ServerError
    } else {
        Outcome::Ok
    }
}
