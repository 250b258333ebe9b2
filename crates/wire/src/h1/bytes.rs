//! Which bytes may stand where.

/// True for the bytes of a token (RFC 9110 §5.6.2).
pub(super) fn is_tchar(byte: u8) -> bool {
    TCHAR[byte as usize]
}

const TCHAR: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128u8 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};

/// True if `text` is one token.
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_tchar(byte))
}

/// True if `text` is one token without upper-case letters: a field name of HTTP/2 (RFC 9113 §8.2.1).
pub(crate) fn is_lower_token(text: &[u8]) -> bool {
    is_token(text) && !text.iter().any(u8::is_ascii_uppercase)
}

/// Where the first byte stands that no field value may hold: a control byte other than tab
/// (RFC 9110 §5.5: visible bytes, space, tab and obs-text are allowed). CR and LF are among them.
pub(crate) fn find_control(text: &[u8]) -> Option<usize> {
    let (words, rest) = text.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let mut suspects = controls(u64::from_le_bytes(*word));
        while suspects != 0 {
            let place = (suspects.trailing_zeros() / 8) as usize;
            // The lowest suspect is one; those above it may have been marked by its borrow.
            if is_control(word[place]) {
                return Some(index * 8 + place);
            }
            suspects &= suspects - 1;
        }
    }
    let place = rest.iter().position(|byte| is_control(*byte))?;
    Some(words.len() * 8 + place)
}

fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}

/// The high bit of every byte that is below 0x20 or DEL, and perhaps of some above such a byte.
fn controls(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let not_del = word ^ (ONES * 0x7f);
    ((word.wrapping_sub(ONES * 0x20) & !word) | (not_del.wrapping_sub(ONES) & !not_del)) & HIGH
}

/// True if every byte may stand in a request target. Stricter than URI parsers that repair:
/// visible ASCII without `#`, because a fragment never travels (CVE-2023-45539), and without
/// `\`, which some endpoints read as `/`.
pub(crate) fn is_target(target: &[u8]) -> bool {
    target.iter().fold(!target.is_empty(), |good, &byte| {
        good & (byte > 0x20) & (byte < 0x7f) & (byte != b'#') & (byte != b'\\')
    })
}

/// True for `host` or `host:port` (RFC 3986 §3.2 without user information): a registered name
/// or IPv4 address, or an IPv6 literal in brackets. Commas, `@` and the like are refused, so
/// that everybody along the way sees the same host.
pub(crate) fn is_authority(text: &[u8]) -> bool {
    let (host_is_good, rest) = match text.strip_prefix(b"[") {
        Some(literal) => match literal.iter().position(|&byte| byte == b']') {
            Some(end) => (
                end > 1
                    && literal[..end]
                        .iter()
                        .all(|&byte| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.'),
                &literal[end + 1..],
            ),
            None => return false,
        },
        None => {
            let end = text
                .iter()
                .position(|&byte| byte == b':')
                .unwrap_or(text.len());
            (
                end > 0
                    && text[..end].iter().all(|&byte| {
                        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
                    }),
                &text[end..],
            )
        }
    };
    let port_is_good = match rest.strip_prefix(b":") {
        Some(port) => {
            (1..=5).contains(&port.len()) && port.iter().all(|byte| byte.is_ascii_digit())
        }
        None => rest.is_empty(),
    };
    host_is_good && port_is_good
}

/// True if a path has a `.` or `..` segment, under any of the readings that endpoints differ
/// in: `%2e` for a dot, `%2f` and `%5c` for a separator, a `;parameter` behind the dots
/// (CVE-2019-9901, CVE-2021-29492).
pub(super) fn has_dot_segment(path: &[u8]) -> bool {
    let mut rest = path;
    // What the current segment is so far: only dots, and how many; or something else.
    let mut dots = Some(0);
    loop {
        let (byte, taken) = match rest {
            [] => return matches!(dots, Some(1 | 2)),
            [b'%', high, low, ..] => (
                match (high, low.to_ascii_lowercase()) {
                    (b'2', b'e') => b'.',
                    (b'2', b'f') | (b'5', b'c') => b'/',
                    _ => b'x',
                },
                3,
            ),
            [byte, ..] => (*byte, 1),
        };
        rest = &rest[taken..];
        match byte {
            b'/' | b';' => {
                if matches!(dots, Some(1 | 2)) {
                    return true;
                }
                dots = if byte == b'/' { Some(0) } else { None };
            }
            b'.' => dots = dots.map(|count: u32| count + 1),
            _ => dots = None,
        }
    }
}

/// True for space and tab.
pub(crate) fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// `text` without spaces and tabs around it.
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    let start = text
        .iter()
        .position(|&byte| !is_blank(byte))
        .unwrap_or(text.len());
    let end = text
        .iter()
        .rposition(|&byte| !is_blank(byte))
        .map_or(start, |last| last + 1);
    &text[start..end]
}

/// The elements of a comma-separated list, trimmed, empty ones left out (RFC 9110 §5.6.1).
pub fn tokens(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',')
        .map(trim)
        .filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_byte_is_found_at_any_place() {
        for byte in 0..=u8::MAX {
            let is_control = byte < 0x20 && byte != b'\t' || byte == 0x7f;
            for length in 1..20 {
                for place in 0..length {
                    let mut text = vec![b'\xff'; length];
                    text[place] = byte;
                    let found = is_control.then_some(place);
                    assert_eq!(find_control(&text), found, "{byte} at {place} of {length}");
                }
            }
        }
    }

    #[test]
    fn an_authority_is_a_host_and_perhaps_a_port() {
        for good in [
            "a",
            "a.example:80",
            "10.0.0.1",
            "[::1]",
            "[::ffff:1.2.3.4]:8080",
            "a_b",
        ] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "", ":80", "a:", "a:b", "a:123456", "a b", "a,b", "u@a", "a/b", "[]", "[::1", "[::1]x",
            "a#", "é",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn a_dot_segment_is_found_in_every_disguise() {
        for bad in [
            "/..",
            "/../a",
            "/a/..",
            "/a/./b",
            "/.",
            "/%2e%2e/a",
            "/.%2E/",
            "/a%2f..%2fb",
            "/a/..%5cb",
            "/a%2F%2e%2e",
            "/..;/a",
            "/a/.;x=1",
        ] {
            assert!(has_dot_segment(bad.as_bytes()), "{bad}");
        }
        for good in [
            "/",
            "/a",
            "/a.b",
            "/.well-known/x",
            "/a..b",
            "/...",
            "/a%2fb",
            "/a//b",
            "/a;.",
            "/%",
        ] {
            assert!(!has_dot_segment(good.as_bytes()), "{good}");
        }
    }
}
