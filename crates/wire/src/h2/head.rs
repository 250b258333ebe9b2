//! Heads of HTTP/2 (RFC 9113 §8): compressed blocks to the text that HTTP/1.1 would have sent, and
//! back.
#![expect(
    unused_variables,
    clippy::unimplemented,
    clippy::ptr_arg,
    reason = "a skeleton"
)]

use message::{BodyLength, Method, RequestHead, ResponseHead};

use super::hpack::{Decoder, Encoder};
use crate::h1::{BadMessage, Limits};

/// Why a block gave no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadError {
    /// What later blocks refer to is lost: the connection must end (COMPRESSION_ERROR).
    Compression,
    /// A malformed message (RFC 9113 §8.1.1), an error of the stream alone: the whole block was
    /// decoded.
    Malformed(BadMessage),
    /// Larger than the limits; the whole block was decoded, without being kept. A server answers
    /// 431.
    TooLarge,
}

/// Reads a request from a whole block, HEADERS and CONTINUATION already joined, into the empty
/// `head`. Its `body_length` holds unless the stream ends with the head: see [`end_with_head`].
/// With `connect_protocol`, extended CONNECT (RFC 8441) is allowed.
///
/// # Errors
/// The block or the message broke a rule. `head` is then of no use.
pub fn read_request(
    decoder: &mut Decoder,
    block: &[u8],
    limits: &Limits,
    connect_protocol: bool,
    head: &mut RequestHead,
) -> Result<(), HeadError> {
    unimplemented!()
}

/// Reads a response to a `method` request, as [`read_request`] does. Interim ones too.
///
/// # Errors
/// The block or the message broke a rule. `head` is then of no use.
pub fn read_response(
    decoder: &mut Decoder,
    block: &[u8],
    limits: &Limits,
    method: Method,
    head: &mut ResponseHead,
) -> Result<(), HeadError> {
    unimplemented!()
}

/// Appends the trailers of a whole block to `out`, as lines `name: value CRLF`. Those that must
/// not come late are left out.
///
/// # Errors
/// The block or the message broke a rule.
pub fn read_trailers(
    decoder: &mut Decoder,
    block: &[u8],
    limits: &Limits,
    out: &mut Vec<u8>,
) -> Result<(), HeadError> {
    unimplemented!()
}

/// The length of a body of which the stream's end has come with the head already.
///
/// # Errors
/// The head promises content.
pub fn end_with_head(length: BodyLength) -> Result<BodyLength, HeadError> {
    unimplemented!()
}

/// Appends the block for the request whose HTTP/1.1 text is `text`. `scheme` is `http` or `https`.
/// A request to upgrade to `websocket` becomes an extended CONNECT.
pub fn write_request(encoder: &mut Encoder, text: &[u8], scheme: &str, out: &mut Vec<u8>) {
    unimplemented!()
}

/// Appends the block for the response whose HTTP/1.1 text is `text`. A 101 becomes a 200.
pub fn write_response(encoder: &mut Encoder, text: &[u8], out: &mut Vec<u8>) {
    unimplemented!()
}

/// Appends the block for trailers: `lines` are lines `name: value CRLF`.
pub fn write_trailers(encoder: &mut Encoder, lines: &[u8], out: &mut Vec<u8>) {
    unimplemented!()
}
