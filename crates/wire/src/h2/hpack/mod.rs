//! HPACK (RFC 7541): field lines to fewer bytes and back.
//!
//! `decoder` and `encoder` each hold the dynamic table of one direction of a connection (`table`);
//! the `static_table` is everybody's. `integer` and `huffman` are the two codings below them.
//!
//! Field lines are kept as the text `name: value CRLF`, which is how the decoder hands them out: an
//! indexed field costs one copy. What a name means, and whether the bytes keep the rules of
//! HTTP/2, is found out when they arrive and stays with the entry (see `name`).
//!
//! Absent on purpose: Huffman coding of what we send, because the bar is processor time; tables of
//! other than the default size for what we receive; the mark "never indexed" of what we receive,
//! because a head is text: which fields are secrets the encoder is told by name.

mod decoder;
mod encoder;
mod huffman;
mod integer;
mod name;
mod static_table;
mod table;

#[cfg(test)]
mod tests;

pub use decoder::Decoder;
pub(crate) use decoder::{Block, Line};
pub use encoder::Encoder;
pub(crate) use encoder::Indexing;
pub(crate) use name::Name;

/// Bytes of a dynamic table, as counted by RFC 7541 §4.1: the default, which we keep for what we
/// receive, and the most that we use of what a peer offers.
const TABLE_SIZE: u32 = 4096;

/// The block cannot be decoded, so both sides no longer have the same table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CompressionError;
