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
pub(crate) use bytes::{find_control, is_authority, is_blank, is_lower_token, is_target, trim};
pub use bytes::{is_token, tokens};
pub use encode::{
    CHUNK_END, write_chunk_size, write_field, write_fields, write_request_line, write_status_line,
};
pub use error::BadMessage;
pub use fields::Limits;
pub(crate) use fields::may_come_late;
pub(crate) use framing::{read_content_length, set_once};
pub use request::RequestReader;
pub(crate) use request::read_target;
pub use response::ResponseReader;
pub(crate) use response::has_no_body;
