//! The request path.
//!
//! Read in this order and you have followed one request: [`worker`] accepts a connection,
//! [`connection`] waits for requests on it, [`exchange`] orders the steps of one request,
//! [`upstream`] finds the endpoint and a connection to it, [`forward`] moves the bytes, [`record`]
//! writes down what happened.
//!
//! Beside them, in the order in which a request meets them:
//! - `workers` is what workers know of each other, `socket` how sockets are to be;
//! - `proxy_header`, `client_address` and `identity` find out who the client is, `first_bytes` what
//!   the connection begins with;
//! - `relay` is for what is not HTTP to us: it takes the same steps without messages;
//! - `channel` is what bytes are moved by: a connection of HTTP/1, or a stream of `h2`; `client`
//!   is the client's one;
//! - `arrival` reads a request's head, `request_id` gives it a name, `grpc` knows a call, `key` and
//!   `sticky` whose request it is;
//! - `attempt` sends it to one endpoint and says what follows if that fails, `waits` how long a
//!   response is waited for, `hedge` races a second copy of a slow request, `feedback` takes what
//!   a response says of its endpoint's load;
//! - `headers` writes the heads that leave, `websocket` what those of HTTP/2 leave out, and
//!   `failure` is the list of answers that are ours.
//!
//! Absent on purpose: config text, health decisions (see `control`), locks.

mod worker;

mod connection;

mod exchange;

mod upstream;

mod forward;

mod record;

mod arrival;
mod attempt;
mod channel;
mod client;
mod client_address;
mod failure;
mod feedback;
mod first_bytes;
mod grpc;
mod h2;
mod headers;
mod hedge;
mod identity;
mod key;
mod proxy_header;
mod relay;
mod request_id;
mod socket;
mod sticky;
mod waits;
mod websocket;
mod workers;

pub use failure::FAILURE_WORDS;
pub use grpc::GRPC_CODES;
pub use record::OUTCOMES;
pub use socket::{connect_options, listener_options};
pub use sticky::Stickiness;
pub use wire::h2::RULES as HTTP2_RULES;
pub use worker::{Plan, WorkerInput, run};
pub use workers::{Drain, Mailbox, Workers};
