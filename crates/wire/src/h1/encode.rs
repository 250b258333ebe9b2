//! Heads as they leave. Forwarding is an edit script: runs of kept lines are copied whole, and
//! what we say ourselves is appended.

use message::{Field, Method, RequestHead, ResponseHead, Version};

/// What stands behind the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// Appends `method SP target SP HTTP/1.1 CRLF`, the target in the form that an endpoint
/// expects: origin form for a request that came in absolute form (RFC 9112 §3.2.1).
pub fn write_request_line(head: &RequestHead, out: &mut Vec<u8>) {
    out.extend_from_slice(head.text(head.method_text));
    out.push(b' ');
    let target = match head.text(head.path_and_query) {
        // `OPTIONS http://host` asks about the host (RFC 9112 §3.2.4).
        [] if head.method == Method::Options => b"*",
        target => target,
    };
    if !matches!(target.first(), Some(b'/' | b'*')) {
        // `http://host` and `http://host?query` have an empty path.
        out.push(b'/');
    }
    out.extend_from_slice(target);
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// Appends the status line with our own version (RFC 9110 §2.5: a version belongs to one hop).
pub fn write_status_line(head: &ResponseHead, out: &mut Vec<u8>) {
    out.extend_from_slice(Version::Http11.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(itoa::Buffer::new().format(head.status.code()).as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.text(head.reason));
    out.extend_from_slice(b"\r\n");
}

/// Appends the field lines for which `keep` holds, as they came.
pub fn write_fields(
    bytes: &[u8],
    fields: &[Field],
    keep: impl Fn(&Field) -> bool,
    out: &mut Vec<u8>,
) {
    // Lines lie one behind the other: a run of kept ones is one copy.
    let mut run = 0..0;
    for field in fields {
        if keep(field) {
            if run.end != field.name.start as usize {
                out.extend_from_slice(&bytes[run]);
                run = field.name.start as usize..0;
            }
            run.end = field.end as usize;
        }
    }
    out.extend_from_slice(&bytes[run]);
}

/// Appends `name: value CRLF`.
pub fn write_field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    debug_assert!(!value.contains(&b'\n'), "a value that we write is one line");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a chunk size line.
pub fn write_chunk_size(size: usize, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    out.extend(
        (0..digits)
            .rev()
            .map(|place| DIGITS[size >> (4 * place) & 0xf]),
    );
    out.extend_from_slice(b"\r\n");
}
