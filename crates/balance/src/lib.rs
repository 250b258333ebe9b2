//! Which endpoint takes a request, and whether it may: policies, health, queue, retry budget.
//!
//! Pure: no socket, clock, thread, lock or random seed of its own. Time and randomness are
//! arguments; what workers share is atomics, above all the [`LoadLine`] of each endpoint.
//!
//! A [`Pool`] is what all workers share. Each worker has a [`Balancer`] on it, and asks that for a
//! [`Pick`]: who may be used at all is decided there, who is best by a policy of [`POLICIES`].
//! [`Health`] turns probes and live failures into the [`Availability`] that picks go by.

mod address;
mod hash;
mod settings;

mod concurrency;
mod endpoint;
mod load_state;
mod pool;
mod slow_start;

mod balancer;
mod rotation;
mod tried;
mod wanted;

mod circuit;
mod hedge;
mod policy;
mod queue;
mod retry;
mod sticky;

mod feed;
mod health;

#[cfg(test)]
mod fixture;

pub use address::Address;
pub use balancer::{Balancer, Lease, Pick, Why};
pub use circuit::{ConnectionPlace, NoConnectionLeft};
pub use endpoint::{AdminState, Availability, Endpoint, LoadLine};
pub use feed::{
    AgentWeight, AgentWords, load_report, parse_agent_words, parse_load_body, parse_load_metrics,
};
pub use hash::hash_key;
pub use health::{
    Cause, Evidence, Health, HealthState, LiveEvidence, Outlier, ProbeFailure, Tally, Transition,
    may_eject, outliers,
};
pub use hedge::{HedgeBudget, RecentLatency};
pub use load_state::{LoadReport, LoadWord};
pub use policy::{Candidates, DEFAULT_POLICY, Mark, POLICIES, Policy, PolicyKind, Sent};
pub use pool::Pool;
pub use queue::{Queue, Ticket};
pub use retry::{RetryBudget, backoff};
pub use settings::{
    AgentKind, AgentSettings, Check, CheckKind, CircuitSettings, ConcurrencySettings,
    EndpointSettings, FeedbackSettings, HashKey, HedgeSettings, LoadProbeSettings, OutlierSettings,
    PolicySettings, PoolSettings, QueueSettings, RetryOn, RetrySettings, SlowStartSettings,
    StatusRange, StickyBy, StickySettings, SuccessRateSettings,
};
pub use tried::Tried;
pub use wanted::{Answer, Session, Wanted};
