//! Chunked coding (RFC 9112 §7.1), read strictly.

use std::ops::Range;

use super::BadMessage;
use super::fields::{Line, Progress, may_come_late, read_field};

/// Extension bytes of one chunk. Nobody uses extensions; long ones are an attack on readers
/// that skip them for free (CVE-2023-39326).
const EXTENSION_BYTES_MAX: u32 = 256;

/// Bytes of the trailer section.
const TRAILER_BYTES_MAX: usize = 8 * 1024;

/// Where the reader of a chunked body stands.
#[derive(Debug)]
pub(super) struct ChunkedReader {
    state: State,
    /// The trailer lines worth forwarding, each with its CR LF.
    trailers: Vec<u8>,
}

#[derive(Debug)]
enum State {
    /// In the digits of a size.
    Size { size: u64, digits: u32 },
    /// Behind `;`.
    Extension { size: u64, bytes: u32 },
    /// Behind the CR of a size line.
    SizeEnd { size: u64 },
    /// In the data of a chunk.
    Data { bytes_left: u64 },
    /// Behind the data: CR is next.
    DataCr,
    /// Behind the data and a CR: LF is next.
    DataLf,
    /// In the trailer section, with the bytes of it that are no whole line yet.
    Trailers { line: Vec<u8>, bytes: usize },
    /// Behind the last line.
    Done,
}

impl ChunkedReader {
    pub(super) fn new() -> Self {
        Self {
            state: State::Size { size: 0, digits: 0 },
            trailers: Vec::new(),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Field lines that came behind the last chunk.
    pub(super) fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// Reads up to the end of a piece of data or of `bytes`. Returns how many bytes were taken
    /// and which of them are data.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<(usize, Range<usize>), BadMessage> {
        let mut at = 0;
        while at < bytes.len() {
            if let State::Data { bytes_left } = &mut self.state {
                let taken =
                    (bytes.len() - at).min(usize::try_from(*bytes_left).unwrap_or(usize::MAX));
                *bytes_left -= taken as u64;
                if *bytes_left == 0 {
                    self.state = State::DataCr;
                }
                return Ok((at + taken, at..at + taken));
            }
            if self.is_done() {
                break;
            }
            self.receive_byte(bytes[at])?;
            at += 1;
        }
        Ok((at, at..at))
    }

    /// Takes one byte of what stands around the data.
    fn receive_byte(&mut self, byte: u8) -> Result<(), BadMessage> {
        match &mut self.state {
            State::Size { size, digits } => match byte {
                b'\r' if *digits > 0 => self.state = State::SizeEnd { size: *size },
                b';' if *digits > 0 => {
                    self.state = State::Extension {
                        size: *size,
                        bytes: 0,
                    }
                }
                _ => {
                    // 15 digits hold any size that a sum of sizes cannot overflow; a 17th digit
                    // wraps a 64-bit reader (CVE-2013-2028). White space, signs and `0x` are
                    // what readers disagree about.
                    let digit = char::from(byte).to_digit(16).ok_or(BadMessage::ChunkSize)?;
                    *digits += 1;
                    if *digits > 15 {
                        return Err(BadMessage::ChunkSize);
                    }
                    *size = *size << 4 | u64::from(digit);
                }
            },
            State::Extension { size, bytes } => match byte {
                b'\r' => self.state = State::SizeEnd { size: *size },
                b'\t' | 0x20..=0x7e if *bytes < EXTENSION_BYTES_MAX => *bytes += 1,
                _ => return Err(BadMessage::ChunkExtension),
            },
            State::SizeEnd { size } => {
                if byte != b'\n' {
                    return Err(BadMessage::BareLineEnd);
                }
                self.state = match *size {
                    0 => State::Trailers {
                        line: Vec::new(),
                        bytes: 0,
                    },
                    size => State::Data { bytes_left: size },
                };
            }
            State::DataCr | State::DataLf => {
                let is_cr = matches!(self.state, State::DataCr);
                if byte != if is_cr { b'\r' } else { b'\n' } {
                    return Err(BadMessage::ChunkSize);
                }
                self.state = if is_cr {
                    State::DataLf
                } else {
                    State::Size { size: 0, digits: 0 }
                };
            }
            State::Trailers { line, bytes } => {
                *bytes += 1;
                if *bytes > TRAILER_BYTES_MAX {
                    return Err(BadMessage::Trailers);
                }
                line.push(byte);
                if byte == b'\n' {
                    if !line.ends_with(b"\r\n") {
                        return Err(BadMessage::BareLineEnd);
                    }
                    if line.len() == 2 {
                        self.state = State::Done;
                    } else {
                        keep_trailer(line, &mut self.trailers)?;
                        line.clear();
                    }
                }
            }
            State::Data { .. } | State::Done => unreachable!("handled by receive"),
        }
        Ok(())
    }
}

/// Appends a trailer line, unless it is a field that must not come late.
fn keep_trailer(line: &[u8], trailers: &mut Vec<u8>) -> Result<(), BadMessage> {
    let Ok(Line::Whole(field)) = read_field(line, &mut Progress::default(), 0) else {
        return Err(BadMessage::Trailers);
    };
    if may_come_late(field.id) {
        trailers.extend_from_slice(line);
    }
    Ok(())
}
