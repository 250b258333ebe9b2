//! Field lines to blocks.

/// What our blocks refer to. One for each connection.
#[derive(Debug, Default)]
pub struct Encoder {}

impl Encoder {
    /// Takes the peer's SETTINGS_HEADER_TABLE_SIZE. The next block says how much of it we use.
    #[expect(unused_variables, clippy::unimplemented, reason = "a skeleton")]
    pub fn set_table_size_max(&mut self, bytes: u32) {
        unimplemented!()
    }
}
