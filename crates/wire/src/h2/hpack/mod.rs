//! HPACK (RFC 7541): field lines to fewer bytes and back.

mod decoder;
mod encoder;

pub use decoder::Decoder;
pub use encoder::Encoder;
