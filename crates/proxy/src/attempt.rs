//! How an attempt at an endpoint can fail, and what follows: may the request move, what does it
//! say about the endpoint, what do we answer if it may not.

use balance::RetryOn;
use message::Status;
use wire::h1::BadMessage;

use crate::failure::Failure;
use crate::forward::NoResponse;
use crate::record::{EndedBy, Outcome};
use crate::upstream::NotAdmitted;

/// Why an exchange ends without the endpoint's response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Nobody is there to answer.
    ClientGone,
    /// We answer.
    Failure(Failure, EndedBy),
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
    /// The endpoint never saw it.
    Always,
    /// That was decided, and paid for, before the attempt was given up.
    Decided,
}

impl Failed {
    /// What the pool's settings say about this.
    pub(crate) fn retryable(self, on: &RetryOn) -> Retryable {
        let (is_on, retryable) = match self {
            Self::NotConnected(_) | Self::Stale => (on.connect, Retryable::Always),
            Self::Closed => (on.reset, Retryable::IfIdempotent),
            Self::Timeout => (on.timeout, Retryable::IfIdempotent),
            Self::TooSlow => (true, Retryable::Decided),
            Self::Client(_) | Self::BadResponse(_) | Self::Switched => (false, Retryable::No),
        };
        if is_on { retryable } else { Retryable::No }
    }

    /// True if the endpoint got nothing of the request.
    pub(crate) fn is_before_sending(self) -> bool {
        matches!(self, Self::NotConnected(_) | Self::Stale)
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
            Self::Stale | Self::Closed => Failure::ConnectionTerminated,
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
