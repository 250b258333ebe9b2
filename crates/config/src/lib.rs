//! From a config file to a snapshot: parsed, checked in every respect, immutable.

mod snapshot;

pub use snapshot::{
    AccessLog, AccessLogSink, Admin, EndpointSettings, HeadLimits, Listener, ListenerTimeouts,
    Pool, Route, RouteTimeouts, Snapshot,
};
