//! HTTP/1.1 (RFC 9112), both sides.

mod request;
mod response;

mod fields;
mod framing;

mod body;
mod chunked;

mod encode;

mod bytes;
mod error;

#[cfg(test)]
mod tests;

pub use body::{BodyReader, BodyWriter, Step};
pub use bytes::{is_token, tokens};
pub use encode::{
    CHUNK_END, write_chunk_size, write_field, write_fields, write_request_line, write_status_line,
};
pub use error::BadMessage;
pub use fields::Limits;
pub use request::RequestReader;
pub use response::ResponseReader;
