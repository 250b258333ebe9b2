//! Blocks to trailers.

use message::FieldName;

use super::block::{Budget, HeadError, check_hop_by_hop, read_block, value_span};
use crate::h1::{BadMessage, Limits, may_come_late};
use crate::h2::hpack::{Decoder, Name};

/// Appends the trailers of a whole block to `out`, as lines `name: value CRLF`. Those that must
/// not come late are left out.
///
/// # Errors
/// The block or the trailers broke a rule. `out` may then have some of the lines.
pub fn read_trailers(
    decoder: &mut Decoder,
    block: &[u8],
    limits: &Limits,
    out: &mut Vec<u8>,
) -> Result<(), HeadError> {
    read_block(decoder, block, |block, _| {
        let mut budget = Budget::new(limits);
        loop {
            let start = out.len();
            let Some(line) = block.next(out)? else {
                return Ok(());
            };
            budget.spend(&line)?;
            let id = match line.name {
                Name::Field(id) if line.is_value_good => id,
                Name::Cookie | Name::Disguised if line.is_value_good => FieldName::Other,
                _ => return Err(BadMessage::Trailers.into()),
            };
            check_hop_by_hop(id, value_span(&line, start).of(out))?;
            if !may_come_late(id) {
                out.truncate(start);
            }
        }
    })
}
