//! The control thread: health checks and the admin API, apart from the workers.
//!
//! Read `control` for the thread and its loop, `schedule` and `prober` for the probes, `agent` and
//! `agents` for those who say how busy an endpoint is, `load_probe` for asking it with every
//! request; `connection`, by `transport`, is what all of them ask through, in the words of `http`,
//! `http2` or the `conversation` with another server; a `datagram` needs none. `certificates` reads
//! files that change. `health_board` is what comes of it and of the `tallies` of workers; `admin` with
//! `view`, `status` and `metrics`, of which some are of the `process`, is for who may look.
//!
//! With the request path it shares values only: it publishes availability to each
//! [`balance::Pool`], is sent [`balance::LiveEvidence`], and reads the workers' metrics.

mod control;

mod connection;
mod conversation;
mod datagram;
mod http;
mod http2;
mod prober;
mod schedule;
mod transport;

mod agent;
mod agents;
mod load_probe;

mod certificates;

mod health_board;
mod tallies;

mod admin;
mod metrics;
mod process;
mod status;
mod view;

pub use certificates::CertificateSource;
pub use control::{Control, ControlInput, ListenerView};
pub use transport::{EndpointTls, Transport};
