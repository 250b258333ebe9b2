//! Bodies that need no memory: made from their offset, checked by their hash.

/// The filler repeats after this many bytes: a prime, so that no buffer size hides a lost or
/// repeated buffer.
const FILLER_PERIOD: usize = 65_521;

/// The first `bytes` bytes of the filler body.
pub fn filler(bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|offset| byte_at(offset % FILLER_PERIOD))
        .collect()
}

/// The hash that bodies are compared by: FNV-1a, 64 bits.
pub fn hash(bytes: &[u8]) -> u64 {
    extend_hash(HASH_START, bytes)
}

/// The hash of what had `hash`, followed by `bytes`.
pub(crate) fn extend_hash(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The hash of nothing.
pub(crate) const HASH_START: u64 = 0xcbf2_9ce4_8422_2325;

/// Calls `sink` with the filler body of `bytes` bytes, in pieces of at most a period.
pub(crate) fn filler_pieces<E>(
    bytes: u64,
    mut sink: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let period = filler(FILLER_PERIOD);
    let mut left = bytes;
    while left > 0 {
        let piece = left.min(FILLER_PERIOD as u64);
        sink(&period[..piece as usize])?;
        left -= piece;
    }
    Ok(())
}

fn byte_at(offset: usize) -> u8 {
    // Letters, so that a failing test prints something readable.
    b'a' + ((offset ^ (offset >> 7)) % 26) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_to_the_filler() {
        let bytes = 3 * FILLER_PERIOD + 17;
        let mut joined = Vec::new();
        filler_pieces(bytes as u64, |piece| {
            joined.extend_from_slice(piece);
            Ok::<(), ()>(())
        })
        .unwrap();
        assert_eq!(joined, filler(bytes));
        assert_eq!(hash(&joined), extend_hash(hash(&joined[..5]), &joined[5..]));
    }
}
