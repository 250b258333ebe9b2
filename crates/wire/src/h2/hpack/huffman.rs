//! The Huffman code for strings (RFC 7541 §5.2, Appendix B), decoding only.
//!
//! The code is canonical: codes of one length are numbers in a row, in the order of their symbols,
//! and the codes of the next length go on from there. So the lengths are all that need be known.

use super::CompressionError;

/// Bits of the code of each byte, and of the end of the string (EOS) behind them.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

const EOS: u16 = 256;
const CODE_BITS_MIN: usize = 5;
const CODE_BITS_MAX: u32 = 30;

/// The codes of one length.
#[derive(Clone, Copy)]
struct Row {
    /// The first of them, from the highest of 32 bits.
    first: u32,
    /// Behind the last of them.
    end: u64,
    /// Where the symbol of the first stands in [`SYMBOLS`].
    symbols_at: u16,
}

/// Symbols by the length of their codes, then by themselves: the order of the codes.
const SYMBOLS: [u16; 257] = {
    let mut symbols = [0; 257];
    let mut count = 0;
    let mut length = 0;
    while length <= CODE_BITS_MAX {
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] as u32 == length {
                symbols[count] = symbol as u16;
                count += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    symbols
};

/// For each length, its codes.
const ROWS: [Row; CODE_BITS_MAX as usize + 1] = {
    let empty = Row {
        first: 0,
        end: 0,
        symbols_at: 0,
    };
    let mut rows = [empty; CODE_BITS_MAX as usize + 1];
    let mut end = 0;
    let mut at = 0;
    let mut length = 1;
    while length <= CODE_BITS_MAX {
        let row = &mut rows[length as usize];
        row.first = end as u32;
        row.symbols_at = at as u16;
        while at < 257 && LENGTHS[SYMBOLS[at] as usize] as u32 == length {
            end += 1 << (32 - length);
            at += 1;
        }
        row.end = end;
        length += 1;
    }
    rows
};

/// For the next 8 bits, the symbol and the length of its code, if that is no longer than 8: so are
/// those of letters, digits and most of what stands in fields. Otherwise the length is 0.
const SHORT: [(u8, u8); 256] = {
    let mut table = [(0, 0); 256];
    let mut bits = 0;
    while bits < 256 {
        let (symbol, length) = find((bits as u32) << 24);
        if length <= 8 {
            table[bits] = (symbol as u8, length as u8);
        }
        bits += 1;
    }
    table
};

/// The symbol whose code `bits` begin with, and the length of the code.
const fn find(bits: u32) -> (u16, u32) {
    let mut length = CODE_BITS_MIN;
    while (bits as u64) >= ROWS[length].end {
        length += 1;
    }
    let row = &ROWS[length];
    let place = (bits - row.first) >> (32 - length);
    (
        SYMBOLS[row.symbols_at as usize + place as usize],
        length as u32,
    )
}

/// Appends what `code` stands for to `out`.
pub(super) fn decode(code: &[u8], out: &mut Vec<u8>) -> Result<(), CompressionError> {
    let start = out.len();
    out.resize(start + code.len() * 8 / CODE_BITS_MIN, 0);
    let mut at = start;
    let mut bits = Bits {
        word: 0,
        count: 0,
        rest: code,
    };
    loop {
        bits.fill();
        if bits.count < CODE_BITS_MAX {
            break;
        }
        while bits.count >= CODE_BITS_MAX {
            out[at] = bits.symbol()?;
            at += 1;
        }
    }
    // The last bits: a code that goes beyond them was padding, the beginning of EOS.
    bits.word |= u64::MAX >> bits.count;
    loop {
        let (symbol, length) = find((bits.word >> 32) as u32);
        if length > bits.count {
            break;
        }
        if symbol == EOS {
            return Err(CompressionError);
        }
        out[at] = symbol as u8;
        at += 1;
        bits.word = bits.word << length | u64::MAX >> (64 - length);
        bits.count -= length;
    }
    if bits.count > 7 || bits.word != u64::MAX {
        return Err(CompressionError);
    }
    out.truncate(at);
    Ok(())
}

/// Bits on their way into symbols.
struct Bits<'a> {
    /// The next ones, from the highest.
    word: u64,
    /// How many of them count.
    count: u32,
    /// What is not in `word` yet.
    rest: &'a [u8],
}

impl Bits<'_> {
    /// Takes as many bytes as there is room for.
    #[inline]
    fn fill(&mut self) {
        if let Some(next) = self.rest.first_chunk() {
            // Bits beyond `count` come in, too, and will come again as the same.
            self.word |= u64::from_be_bytes(*next) >> self.count;
            let bytes = (63 - self.count) / 8;
            self.rest = &self.rest[bytes as usize..];
            self.count += bytes * 8;
        }
        while let ([byte, rest @ ..], 0..=56) = (self.rest, self.count) {
            self.word |= u64::from(*byte) << (56 - self.count);
            self.rest = rest;
            self.count += 8;
        }
    }

    /// The next symbol, for which there are bits enough.
    #[inline]
    fn symbol(&mut self) -> Result<u8, CompressionError> {
        let (mut symbol, mut length) = SHORT[(self.word >> 56) as usize];
        if length == 0 {
            let (long, bits) = find((self.word >> 32) as u32);
            symbol = u8::try_from(long).map_err(|_| CompressionError)?;
            length = bits as u8;
        }
        self.word <<= length;
        self.count -= u32::from(length);
        Ok(symbol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `text` as a sender would code it, with `padding` behind it.
    fn encode(text: &[u8], padding: &str) -> Vec<u8> {
        let mut digits: String = text.iter().map(|byte| code(u16::from(*byte))).collect();
        digits.push_str(padding);
        let bytes = digits.as_bytes().chunks(8);
        bytes
            .map(|bits| {
                assert_eq!(bits.len(), 8, "padding fills the last byte");
                u8::from_str_radix(std::str::from_utf8(bits).unwrap(), 2).unwrap()
            })
            .collect()
    }

    /// The code of `symbol` in binary digits.
    fn code(symbol: u16) -> String {
        let length = LENGTHS[usize::from(symbol)];
        let row = &ROWS[usize::from(length)];
        let symbols = &SYMBOLS[usize::from(row.symbols_at)..];
        let place = symbols.iter().position(|other| *other == symbol).unwrap();
        let code = (row.first >> (32 - length)) as usize + place;
        format!("{code:0width$b}", width = usize::from(length))
    }

    fn ones(text: &[u8]) -> String {
        let bits: usize = text
            .iter()
            .map(|byte| usize::from(LENGTHS[usize::from(*byte)]))
            .sum();
        "1".repeat(bits.next_multiple_of(8) - bits)
    }

    fn decoded(code: &[u8]) -> Result<Vec<u8>, CompressionError> {
        let mut out = b"before".to_vec();
        decode(code, &mut out)?;
        Ok(out.split_off(6))
    }

    /// Of each length that has any, the first and the last code, from RFC 7541 Appendix B.
    #[test]
    fn codes_are_those_of_the_rfc() {
        for (symbol, bits, value) in [
            (u16::from(b'0'), 5, 0x0),
            (u16::from(b't'), 5, 0x9),
            (u16::from(b' '), 6, 0x14),
            (u16::from(b'u'), 6, 0x2d),
            (u16::from(b':'), 7, 0x5c),
            (u16::from(b'z'), 7, 0x7b),
            (u16::from(b'&'), 8, 0xf8),
            (u16::from(b'Z'), 8, 0xfd),
            (u16::from(b'!'), 10, 0x3f8),
            (0, 13, 0x1ff8),
            (10, 30, 0x3fff_fffc),
            (22, 30, 0x3fff_fffe),
            (195, 19, 0x7fff1),
            (249, 28, 0xfff_fffe),
            (255, 26, 0x3ff_ffee),
            (EOS, 30, 0x3fff_ffff),
        ] {
            assert_eq!(code(symbol), format!("{value:0bits$b}"), "symbol {symbol}");
        }
    }

    #[test]
    fn every_byte_is_decoded_at_every_place() {
        for byte in 0..=u8::MAX {
            for place in 0..12 {
                let mut text = vec![b'a'; 12];
                text[place] = byte;
                assert_eq!(decoded(&encode(&text, &ones(&text))), Ok(text));
            }
        }
        let all: Vec<u8> = (0..=u8::MAX).collect();
        assert_eq!(decoded(&encode(&all, &ones(&all))), Ok(all));
        assert_eq!(decoded(b""), Ok(Vec::new()));
    }

    #[test]
    fn padding_is_less_than_a_byte_of_ones() {
        let (text, bits) = (b"aaaa", "1111");
        assert_eq!(decoded(&encode(text, bits)), Ok(text.to_vec()));
        for bad in ["0111", "1110", "111111111111", "11111111111111111111"] {
            assert_eq!(decoded(&encode(text, bad)), Err(CompressionError), "{bad}");
        }
        assert_eq!(decoded(&[0xff]), Err(CompressionError));
        let long = [b'a'; 40];
        assert_eq!(decoded(&encode(&long, "11111111")), Err(CompressionError));
    }

    #[test]
    fn the_end_of_the_string_is_not_part_of_it() {
        for rest in ["00", "0000011100000111000001110000011100"] {
            let bits = format!("{}{rest}", code(EOS));
            assert_eq!(decoded(&encode(b"", &bits)), Err(CompressionError));
        }
    }
}
