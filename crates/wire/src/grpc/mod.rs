//! gRPC over HTTP/2 and gRPC-Web, as far as somebody in the middle has to know them.
//!
//! A call is a POST whose content is messages, each behind five bytes ([`write_message`],
//! [`read_frame`]). [`Kind`] tells by the content type which of the three ways of writing them it
//! is. How a call went stands in `grpc-status` and `grpc-message` behind the content, or in the
//! head where there is none: [`Code`], [`write_status_message`]. How long it may take stands in
//! `grpc-timeout`: [`parse_timeout`]. `web` turns calls of browsers, which cannot read trailers and
//! sometimes no bytes, into such calls and back. `health` has the two messages of health checks.
//!
//! Absent on purpose: what the messages say. They pass as they are, compressed or not.
//!
//! Sources: "gRPC over HTTP2" (PROTOCOL-HTTP2), "gRPC Web" (PROTOCOL-WEB), "GRPC Health Checking
//! Protocol", "HTTP to gRPC Status Code Mapping", all in the documents of gRPC.

mod kind;

mod code;
mod fields;
mod timeout;

mod frame;
mod health;

mod base64;
mod web;

pub use base64::encode as write_base64;
pub use code::Code;
pub use fields::{find_field, write_status_message};
pub use frame::{Frame, read_frame, write_message};
pub use health::{ServingStatus, read_health_response, write_health_request};
pub use kind::Kind;
pub use timeout::parse_timeout;
pub use web::{WebRequest, WebResponse};
