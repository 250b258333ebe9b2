//! Messages in the content of a call, each behind a byte of flags and its length.

/// Bytes before each message.
const PREFIX_BYTES: usize = 5;

/// A message is compressed.
const COMPRESSED: u8 = 0x01;

/// What stands in place of a message at the end of a gRPC-Web response: its trailers.
const TRAILERS: u8 = 0x80;

/// What stands at the front of a call's content.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A message as it is.
    Message(&'a [u8]),
    /// A message in the encoding that `grpc-encoding` names.
    Compressed(&'a [u8]),
    /// Field lines, in gRPC-Web.
    Trailers(&'a [u8]),
}

/// The first frame of `content`, and what follows it. `None` if it is not whole, or if its flags
/// are none that gRPC knows.
pub fn read_frame(content: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    let (prefix, rest) = content.split_first_chunk::<PREFIX_BYTES>()?;
    let [flags, length @ ..] = *prefix;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    let (data, rest) = rest.split_at_checked(length)?;
    let frame = match flags {
        0 => Frame::Message(data),
        COMPRESSED => Frame::Compressed(data),
        TRAILERS => Frame::Trailers(data),
        _ => return None,
    };
    Some((frame, rest))
}

/// Appends `message`, not compressed, of less than 4 GiB.
pub fn write_message(message: &[u8], out: &mut Vec<u8>) {
    write_prefix(0, message.len(), out);
    out.extend_from_slice(message);
}

/// Appends the prefix of the trailers at the end of a gRPC-Web response, which are `length` bytes.
pub(super) fn write_trailers_prefix(length: usize, out: &mut Vec<u8>) {
    write_prefix(TRAILERS, length, out);
}

fn write_prefix(flags: u8, length: usize, out: &mut Vec<u8>) {
    debug_assert!(u32::try_from(length).is_ok(), "a message of 4 GiB");
    out.push(flags);
    out.extend_from_slice(&(length as u32).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_frame_is_whole_or_none() {
        let content = b"\0\0\0\0\x02hi\x01\0\0\0\x01z\x80\0\0\0\0";
        let (first, rest) = read_frame(content).unwrap();
        assert_eq!(first, Frame::Message(b"hi"));
        let (second, rest) = read_frame(rest).unwrap();
        assert_eq!(second, Frame::Compressed(b"z"));
        assert_eq!(read_frame(rest), Some((Frame::Trailers(b""), &b""[..])));
        for end in 0..7 {
            assert_eq!(read_frame(&content[..end]), None, "cut at {end}");
        }
        assert_eq!(read_frame(b"\x02\0\0\0\0"), None);
        assert_eq!(read_frame(b"\0\xff\xff\xff\xff"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(messages in prop::collection::vec(any::<Vec<u8>>(), 0..4)) {
            let mut content = Vec::new();
            for message in &messages {
                write_message(message, &mut content);
            }
            let mut rest = &content[..];
            for message in &messages {
                let (frame, behind) = read_frame(rest).unwrap();
                prop_assert_eq!(frame, Frame::Message(message));
                rest = behind;
            }
            prop_assert!(rest.is_empty());
        }
    }
}
