//! Blocks to field lines.

/// What the peer's blocks refer to. One for each connection.
#[derive(Debug, Default)]
pub struct Decoder {}
