//! Heads of HTTP/2 (RFC 9113 §8): compressed blocks to the text that HTTP/1.1 would have sent, and
//! back.
//!
//! `request`, `response` and `trailers` decode a `block` right into such a text and judge as they
//! go, as strictly as `h1` does and by the same functions. `write` takes a text apart; `outgoing`
//! is its table of names.
//!
//! Absent on purpose: streams. Whether the stream ends with a head is the caller's knowledge, see
//! [`end_with_head`].

mod block;
mod request;
mod response;
mod trailers;

mod outgoing;
mod write;

#[cfg(test)]
mod tests;

pub use block::{HeadError, end_with_head};
pub use request::read_request;
pub use response::read_response;
pub use trailers::read_trailers;
pub use write::{write_request, write_response, write_trailers};
