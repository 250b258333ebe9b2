//! What is observed of an endpoint, and what is reported of its health.

use std::fmt;
use std::time::Instant;

/// One observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// A probe got what it expects.
    ProbeSucceeded,
    /// A probe did not.
    ProbeFailed(ProbeFailure),
    /// We ran a probe too late ourselves to judge by it. Discarded.
    ProbeLate,
    /// A live connect was refused, or a live connection reset.
    LiveRefused,
    /// Live requests failed.
    LiveFailures {
        /// Failures since the last success.
        in_row: u32,
        /// True if in each of them no connection could be made.
        connect_only: bool,
    },
    /// A live request failed, and was the first after an ejection.
    TrialFailed {
        /// True if no connection could be made.
        connect_only: bool,
    },
    /// The endpoint's agent says that it is up.
    AgentUp,
    /// The endpoint's agent says that it is down.
    AgentDown,
    /// Live requests succeed much more rarely than those of the endpoint's peers.
    LowSuccessRate {
        /// How many there were.
        requests: u32,
        /// How many of a hundred succeeded.
        percent: u8,
        /// The mean of all endpoints that had enough requests.
        mean_percent: u8,
    },
}

/// What a worker saw of an endpoint; sent to the health board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveEvidence {
    /// The pool's index in the snapshot.
    pub pool: u32,
    /// The endpoint's index in the pool.
    pub endpoint: u32,
    /// What was seen.
    pub evidence: Evidence,
}

/// Why a probe failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeFailure {
    /// The connect was refused.
    Refused,
    /// Not done in time.
    Timeout,
    /// The connection was cut.
    Reset,
    /// An HTTP status that is not expected.
    Status(u16),
    /// A call ended with a code of gRPC other than `ok`: its word.
    Grpc(&'static str),
    /// A service says of itself that it does not take calls, by this word.
    NotServing(&'static str),
    /// No TLS, for this reason in a few words: no handshake, or a certificate that is not one to
    /// believe.
    Tls(&'static str),
    /// HTTP/2 was not agreed on by TLS.
    NoHttp2,
    /// A server says, in the words of its protocol, that it does not take requests.
    Server(&'static str),
    /// The answer was not of this protocol.
    Garbage(&'static str),
    /// The answer lacks what the check looks for in it.
    Content,
    /// Any other error of the system, such as no route.
    Other,
}

/// A change of health, ready to be reported as an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// The word of the state before, `ejected` or `agent_down`.
    pub from: &'static str,
    /// The word of the state after, `ejected` or `agent_down`. Never equal to `from`.
    pub to: &'static str,
    /// Which rule led to it.
    pub cause: Cause,
    /// The observation that settled it; `None` if it was time alone.
    pub evidence: Option<Evidence>,
    /// When.
    pub at: Instant,
}

/// The rules that change health. A closed list, for logs and metric labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The first success of an unknown endpoint.
    FirstProbe,
    /// One failed probe of an endpoint that was up or recovering.
    ProbeFailed,
    /// `fall` failed probes in a row.
    ProbesFailed,
    /// A refused live connect and a failed probe together.
    RefusedLiveAndProbe,
    /// One success of a suspect endpoint.
    ProbeSucceeded,
    /// `rise` successes in a row.
    ProbesSucceeded,
    /// The trial after being down has ended well.
    SlowStartOver,
    /// Live requests failed in a row.
    ConsecutiveFailures,
    /// The first live request after an ejection failed.
    TrialFailed,
    /// Live requests failed much more often than those of the others.
    SuccessRate,
    /// The endpoint's agent said that it is up again.
    AgentUp,
    /// The endpoint's agent said that it is down.
    AgentDown,
    /// The time of the ejection is over.
    EjectionOver,
    /// A probe succeeded that does what failed.
    ProbeEndedEjection,
}

impl Cause {
    /// Those that eject.
    pub const EJECTIONS: [Self; 3] = [
        Self::ConsecutiveFailures,
        Self::TrialFailed,
        Self::SuccessRate,
    ];

    /// The word in events and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FirstProbe => "first_probe",
            Self::ProbeFailed => "probe_failed",
            Self::ProbesFailed => "probes_failed",
            Self::RefusedLiveAndProbe => "refused_live_and_probe",
            Self::ProbeSucceeded => "probe_succeeded",
            Self::ProbesSucceeded => "probes_succeeded",
            Self::SlowStartOver => "slow_start_over",
            Self::ConsecutiveFailures => "consecutive_failures",
            Self::TrialFailed => "trial_failed",
            Self::SuccessRate => "success_rate",
            Self::AgentUp => "agent_up",
            Self::AgentDown => "agent_down",
            Self::EjectionOver => "ejection_over",
            Self::ProbeEndedEjection => "probe_ended_ejection",
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProbeSucceeded => f.write_str("probe succeeded"),
            Self::ProbeFailed(failure) => write!(f, "probe failed: {failure}"),
            Self::ProbeLate => f.write_str("probe ran late"),
            Self::LiveRefused => f.write_str("live connect refused"),
            Self::AgentUp => f.write_str("agent says up"),
            Self::AgentDown => f.write_str("agent says down"),
            Self::LiveFailures {
                in_row,
                connect_only: true,
            } => {
                write!(f, "{in_row} failed connects in a row")
            }
            Self::LiveFailures {
                in_row,
                connect_only: false,
            } => {
                write!(f, "{in_row} failed requests in a row")
            }
            Self::TrialFailed { connect_only: true } => {
                f.write_str("connect failed right after an ejection")
            }
            Self::TrialFailed {
                connect_only: false,
            } => f.write_str("request failed right after an ejection"),
            Self::LowSuccessRate {
                requests,
                percent,
                mean_percent,
            } => write!(
                f,
                "{percent} % of {requests} requests succeeded, {mean_percent} % at the average \
                 endpoint"
            ),
        }
    }
}

impl fmt::Display for ProbeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::Timeout => f.write_str("timed out"),
            Self::Reset => f.write_str("connection reset"),
            Self::Status(status) => write!(f, "unexpected status {status}"),
            Self::Grpc(word) => write!(f, "gRPC status {word}"),
            Self::NotServing(word) => write!(f, "the service says {word}"),
            Self::Tls(reason) => write!(f, "TLS: {reason}"),
            Self::NoHttp2 => f.write_str("the endpoint does not speak HTTP/2"),
            Self::Server(words) => write!(f, "the server says {words}"),
            Self::Garbage(protocol) => write!(f, "answer is not {protocol}"),
            Self::Content => f.write_str("answer lacks what is expected"),
            Self::Other => f.write_str("system error"),
        }
    }
}
