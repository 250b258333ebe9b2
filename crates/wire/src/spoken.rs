//! Which protocol a client speaks, by its first bytes.
//!
//! What is taken for HTTP is a method that may exist before something that may be a target, so
//! that other protocols of words are left alone: `INVITE sip:…`, `DESCRIBE rtsp:…`, `EHLO mail`,
//! `CONNECT {"verbose":…` of NATS. A client that asks for HTTP in another way, such as in lower
//! case, breaks a rule that no client breaks.

/// What the first bytes of a connection say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// A TLS handshake.
    Tls,
    /// HTTP/1 or HTTP/2.
    Http,
    /// Anything else.
    Other,
}

/// `None`: more bytes will tell; never with 32 bytes or more.
pub fn spoken(bytes: &[u8]) -> Option<Spoken> {
    match bytes {
        [] | [TLS_HANDSHAKE] => None,
        [TLS_HANDSHAKE, TLS_MAJOR_VERSION, ..] => Some(Spoken::Tls),
        _ => Some(match is_http(bytes)? {
            true => Spoken::Http,
            false => Spoken::Other,
        }),
    }
}

/// Whether this is the beginning of a request line (RFC 9112 §3), or of the preface of HTTP/2
/// (RFC 9113 §3.4), which looks like one.
fn is_http(bytes: &[u8]) -> Option<bool> {
    let is_method = |byte: &&u8| byte.is_ascii_uppercase() || **byte == b'-';
    let length = bytes.iter().take_while(is_method).count();
    if length == 0 || length > METHOD_BYTES_MAX {
        return Some(false);
    }
    let (method, rest) = bytes.split_at(length);
    let [space, target @ ..] = rest else {
        return None;
    };
    if *space != b' ' {
        return Some(false);
    }
    is_target(method, target)
}

/// Whether this is the beginning of a target: its first byte says so, but for an absolute one.
fn is_target(method: &[u8], target: &[u8]) -> Option<bool> {
    let first = *target.first()?;
    if method == b"CONNECT" {
        return Some(first.is_ascii_alphanumeric() || b"[-._~".contains(&first));
    }
    if matches!(first, b'/' | b'*') {
        return Some(true);
    }
    let mut may_become_one = false;
    for scheme in SCHEMES {
        let length = target.len().min(scheme.len());
        if target[..length].eq_ignore_ascii_case(&scheme[..length]) {
            if length == scheme.len() {
                return Some(true);
            }
            may_become_one = true;
        }
    }
    if may_become_one { None } else { Some(false) }
}

/// The type of a record, and the major version of SSL 3.0 and all TLS (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 22;
const TLS_MAJOR_VERSION: u8 = 3;

/// As in UPDATEREDIRECTREF (RFC 4437), the longest that is registered.
const METHOD_BYTES_MAX: usize = 17;

/// How the absolute form of a target begins (RFC 9112 §3.2.2).
const SCHEMES: [&[u8]; 2] = [b"http:", b"https:"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tls_is_told_by_two_bytes() {
        assert_eq!(spoken(b""), None);
        assert_eq!(spoken(b"\x16"), None);
        for bytes in [b"\x16\x03".as_slice(), b"\x16\x03\x01", b"\x16\x03\x00\x00"] {
            assert_eq!(spoken(bytes), Some(Spoken::Tls), "{bytes:x?}");
        }
        // A handshake of what nobody knows, an alert, SSL 2.0.
        for bytes in [b"\x16\x04".as_slice(), b"\x15\x03\x01", b"\x80\x2e\x01"] {
            assert_eq!(spoken(bytes), Some(Spoken::Other), "{bytes:x?}");
        }
    }

    #[test]
    fn http_is_told_by_a_method_and_the_beginning_of_a_target() {
        for text in [
            "GET /",
            "OPTIONS *",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "GET http://a.example/",
            "PUT HTTPS://a.example/",
            "CONNECT a.example:443",
            "CONNECT [::1]:443",
            "CONNECT 192.0.2.1:443",
            "VERSION-CONTROL /",
            "UPDATEREDIRECTREF https:",
        ] {
            assert_eq!(spoken(text.as_bytes()), Some(Spoken::Http), "{text}");
        }
    }

    #[test]
    fn other_protocols_are_neither() {
        for text in [
            "get / HTTP/1.1",
            " GET / HTTP/1.1",
            "GET  / HTTP/1.1",
            "GET\t/ HTTP/1.1",
            "GET key\r\n",
            "GETS\r\n",
            "GET httpd",
            "HELLOHELLOHELLOHEL",
            "EHLO mail.example\r\n",
            "USER somebody\r\n",
            "CAP LS 302\r\n",
            "INVITE sip:bob@example.com SIP/2.0\r\n",
            "OPTIONS rtsp://example.com RTSP/1.0\r\n",
            "CONNECT {\"verbose\":false}\r\n",
            "CONNECT\naccept-version:1.2\n",
            "SSH-2.0-OpenSSH_10.0\r\n",
            "*1\r\n$4\r\nPING\r\n",
            "\0\0\0\x08\x04\x52\x16\x2f",
            "\r\n\r\n\0\r\nQUIT\n",
        ] {
            assert_eq!(spoken(text.as_bytes()), Some(Spoken::Other), "{text:?}");
        }
    }

    #[test]
    fn nothing_is_said_too_early() {
        let undecided = [
            "G",
            "GET",
            "GET ",
            "CONNECT ",
            "GET h",
            "GET HTTP",
            "UPDATEREDIRECTREF https",
        ];
        for text in undecided {
            assert_eq!(spoken(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn more_bytes_change_nothing_and_32_are_enough(
            word in "\\x16|[A-Z-]{0,20}",
            rest in "( (h|ht|http|https|HTTP:)?)?",
            more in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let bytes = [word.as_bytes(), rest.as_bytes(), &more].concat();
            let last = spoken(&bytes);
            prop_assert!(last.is_some() || bytes.len() < 32);
            for length in 0..bytes.len() {
                let said = spoken(&bytes[..length]);
                prop_assert!(said.is_none() || said == last, "{} bytes of {:?}", length, bytes);
            }
        }
    }
}
