//! Which endpoint takes a request, and whether it may: policies, health, queue, retry budget.
//!
//! Pure: no socket, clock, thread, lock or random seed of its own. Time and randomness are
//! arguments; what workers share is atomics (see [`LoadLine`]).

mod address;
mod endpoint;
mod settings;

pub use address::Address;
pub use endpoint::{Availability, Endpoint, LoadLine};
pub use settings::{
    Check, CheckKind, OutlierSettings, PoolSettings, QueueSettings, RetryOn, RetrySettings,
    StatusRange,
};
