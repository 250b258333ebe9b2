//! Integers in a prefix of some bits and the bytes behind it (RFC 7541 §5.1).

use super::CompressionError;

/// Bytes behind the prefix. Four hold 28 bits, more than any length or index that is allowed.
const CONTINUATION_BYTES_MAX: u32 = 4;

/// Reads the integer in the last `prefix_bits` of the first byte and what follows it.
#[inline]
pub(super) fn read(rest: &mut &[u8], prefix_bits: u32) -> Result<u32, CompressionError> {
    let (&first, behind) = rest.split_first().ok_or(CompressionError)?;
    *rest = behind;
    let prefix_max = (1 << prefix_bits) - 1;
    let prefix = u32::from(first) & prefix_max;
    if prefix < prefix_max {
        return Ok(prefix);
    }
    let mut value = prefix_max;
    for place in 0..CONTINUATION_BYTES_MAX {
        let (&byte, behind) = rest.split_first().ok_or(CompressionError)?;
        *rest = behind;
        value += u32::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(CompressionError)
}

/// Appends `value`, with `pattern` in the bits in front of the prefix.
#[inline]
pub(super) fn write(value: u32, prefix_bits: u32, pattern: u8, out: &mut Vec<u8>) {
    let prefix_max = (1 << prefix_bits) - 1;
    if value < prefix_max {
        out.push(pattern | value as u8);
        return;
    }
    out.push(pattern | prefix_max as u8);
    let mut left = value - prefix_max;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7541 §C.1.
    #[test]
    fn the_examples_of_the_rfc_read_and_write() {
        for (value, prefix_bits, bytes) in [
            (10, 5, &[10][..]),
            (1337, 5, &[31, 154, 10]),
            (42, 8, &[42]),
            (31, 5, &[31, 0]),
            (30, 5, &[30]),
        ] {
            let mut out = Vec::new();
            write(value, prefix_bits, 0, &mut out);
            assert_eq!(out, bytes);
            let mut rest = bytes;
            assert_eq!(read(&mut rest, prefix_bits), Ok(value));
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn bits_in_front_of_the_prefix_are_not_part_of_it() {
        assert_eq!(read(&mut &[0b1110_1010][..], 5), Ok(10));
        let mut out = Vec::new();
        write(10, 5, 0b1110_0000, &mut out);
        assert_eq!(out, [0b1110_1010]);
    }

    #[test]
    fn an_integer_that_is_cut_or_too_long_is_an_error() {
        for bytes in [
            &[][..],
            &[0xff],
            &[0xff, 0x80],
            &[0xff, 0x80, 0x80, 0x80, 0x80, 0x00],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        ] {
            assert_eq!(read(&mut &bytes[..], 7), Err(CompressionError), "{bytes:?}");
        }
        assert_eq!(
            read(&mut &[0xff, 0xff, 0xff, 0xff, 0x7f][..], 7),
            Ok(0x7f + (1 << 28) - 1)
        );
    }
}
