//! What an operator can see: metrics, the access log, process events.
//!
//! Read `cell` and `metrics` for what workers count, `exposition` for how it is printed, `entry`
//! and `access_log` for the line of one exchange and its way to the sink, `event` for what the
//! process says of itself.
//!
//! A worker that counts or logs takes no lock and waits for nobody. Counters belong to one worker
//! each and are summed when somebody asks; log lines go to a thread of their own, and are dropped
//! and counted when it cannot keep up.
//!
//! Absent on purpose: HTTP (see `control`), spans, and any knowledge of who counts what for why.

mod cell;
mod metrics;

mod exposition;

mod entry;

mod access_log;

mod event;

mod json;
mod timestamp;

pub use access_log::{AccessLog, LogBuffer, Sink};
pub use cell::{Counter, Gauge, Histogram, HistogramSum};
pub use entry::{Attempt, Entry, Phases};
pub use event::{Event, EventFormat, Events};
pub use exposition::{Encoder, Family};
pub use metrics::{
    Blame, ByClass, EndpointMetrics, ListenerMetrics, OutcomeShape, PoolMetrics, PoolShape,
    Registry, RouteMetrics, Shape, WorkerMetrics,
};
pub use timestamp::Timestamp;
