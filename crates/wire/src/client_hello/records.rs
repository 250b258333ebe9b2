//! The records that a hello comes in (RFC 8446 §5.1): it may be cut into several of them, at any
//! byte.

use std::borrow::Cow;

use super::{BadHello, HELLO_BYTES_MAX};

/// How a record of the handshake begins: its type, and the major version of SSL 3.0 and all TLS.
/// The minor version is whatever the client deems harmless (RFC 5246 appendix E.1 and RFC 8446
/// §5.1 both have servers ignore it).
pub(super) const SIGNATURE: [u8; 2] = [22, 3];

/// Longest record that is not encrypted.
const RECORD_BYTES_MAX: usize = 1 << 14;

/// Type, version, length.
const RECORD_HEADER_BYTES: usize = 5;

/// Type, length in three bytes.
const MESSAGE_HEADER_BYTES: usize = 4;

const CLIENT_HELLO: u8 = 1;

/// The hello without the header of its message; `None` until all of it has arrived.
pub(super) fn message(bytes: &[u8]) -> Result<Option<Cow<'_, [u8]>>, BadHello> {
    let Some((count, length)) = measure(bytes)? else {
        return Ok(None);
    };
    let first = &bytes[RECORD_HEADER_BYTES..];
    if count == 1 {
        return Ok(Some(Cow::Borrowed(&first[MESSAGE_HEADER_BYTES..length])));
    }
    let mut joined = Vec::with_capacity(length);
    let mut rest = bytes;
    while joined.len() < length
        && let Some(record) = Record::take(rest)?
    {
        joined.extend_from_slice(record.arrived);
        rest = record.behind;
    }
    joined.drain(..MESSAGE_HEADER_BYTES);
    Ok(Some(Cow::Owned(joined)))
}

/// How many records the hello takes, and how long it is with the header of its message; `None`
/// until all of it has arrived. Looks at headers only, so that it may be asked again for each
/// segment that arrives.
fn measure(bytes: &[u8]) -> Result<Option<(usize, usize)>, BadHello> {
    let mut header = [0; MESSAGE_HEADER_BYTES];
    let mut rest = bytes;
    let (mut count, mut before) = (0, 0);
    while let Some(record) = Record::take(rest)? {
        for (to, from) in header.iter_mut().skip(before).zip(record.arrived) {
            *to = *from;
        }
        let arrived = before + record.arrived.len();
        let [kind, length @ ..] = header;
        if arrived > 0 && kind != CLIENT_HELLO {
            return Err(BadHello::Message);
        }
        if arrived >= MESSAGE_HEADER_BYTES {
            let [high, middle, low] = length.map(usize::from);
            let whole = MESSAGE_HEADER_BYTES + (high << 16 | middle << 8 | low);
            if RECORD_HEADER_BYTES + whole > HELLO_BYTES_MAX {
                return Err(BadHello::TooLong);
            }
            if before + record.length > whole {
                return Err(BadHello::Trailing);
            }
            if arrived == whole {
                return Ok(Some((count + 1, whole)));
            }
        }
        if record.arrived.len() < record.length {
            break;
        }
        (count, before, rest) = (count + 1, arrived, record.behind);
    }
    Ok(None)
}

/// A record whose header is there.
struct Record<'a> {
    /// What has arrived of its content.
    arrived: &'a [u8],
    /// How long that is to be.
    length: usize,
    /// What comes behind it.
    behind: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record that `bytes` begins with.
    fn take(bytes: &'a [u8]) -> Result<Option<Self>, BadHello> {
        if !SIGNATURE.starts_with(&bytes[..bytes.len().min(SIGNATURE.len())]) {
            return Err(BadHello::Interrupted);
        }
        let Some(([_, _, _, high, low], rest)) = bytes.split_first_chunk() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length == 0 || length > RECORD_BYTES_MAX {
            return Err(BadHello::RecordLength);
        }
        let (arrived, behind) = rest.split_at(rest.len().min(length));
        Ok(Some(Self {
            arrived,
            length,
            behind,
        }))
    }
}
