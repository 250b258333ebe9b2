//! Cookies: which ones a `Cookie` or `Set-Cookie` field holds (RFC 6265 §4), and passing on all
//! but one.

/// Name and value of each cookie in the value of a `Cookie` field, as sent: quotes are part of a
/// value. One without `=` is a value without a name, as browsers take it.
pub fn cookies(field: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    pieces(field).map(name_and_value)
}

/// Name and value of the cookie in the value of a `Set-Cookie` field.
pub fn set_cookie(field: &[u8]) -> (&[u8], &[u8]) {
    pieces(field).next().map_or((b"", b""), name_and_value)
}

/// Appends the value of a `Cookie` field without the cookies of this name. The others stay as
/// they are. Returns false, and appends nothing, if none is left.
pub fn write_cookies_without(field: &[u8], name: &[u8], out: &mut Vec<u8>) -> bool {
    let mut is_first = true;
    for piece in pieces(field) {
        if piece.is_empty() || name_and_value(piece).0 == name {
            continue;
        }
        if !is_first {
            out.extend_from_slice(b"; ");
        }
        is_first = false;
        out.extend_from_slice(piece);
    }
    !is_first
}

fn pieces(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    field.split(|byte| *byte == b';').map(<[u8]>::trim_ascii)
}

fn name_and_value(piece: &[u8]) -> (&[u8], &[u8]) {
    match piece.iter().position(|byte| *byte == b'=') {
        Some(equals) => (
            piece[..equals].trim_ascii_end(),
            piece[equals + 1..].trim_ascii_start(),
        ),
        None => (b"", piece),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_however_they_are_spaced() {
        let found: Vec<_> = cookies(b"a=1;b=2 ;  c = \"3\";d;=4;e=5=6").collect();
        let expected: [(&[u8], &[u8]); 6] = [
            (b"a", b"1"),
            (b"b", b"2"),
            (b"c", b"\"3\""),
            (b"", b"d"),
            (b"", b"4"),
            (b"e", b"5=6"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn the_cookie_of_a_set_cookie_field_stands_before_its_attributes() {
        assert_eq!(set_cookie(b"id=7; Path=/; id=8"), (&b"id"[..], &b"7"[..]));
        assert_eq!(set_cookie(b""), (&b""[..], &b""[..]));
    }

    #[test]
    fn one_cookie_is_taken_out_and_the_others_stay_as_they_are() {
        for (field, left) in [
            ("route=x", None),
            ("a=1", Some("a=1")),
            ("route=x; a=1", Some("a=1")),
            ("a=1; route=x", Some("a=1")),
            ("a=1; route=x; b=\"2 3\"; route=y", Some("a=1; b=\"2 3\"")),
            (
                "routes=1;Route=2; xroute=3",
                Some("routes=1; Route=2; xroute=3"),
            ),
            ("a=route=1", Some("a=route=1")),
            ("; ;", None),
            ("", None),
        ] {
            let mut out = Vec::new();
            let is_left = write_cookies_without(field.as_bytes(), b"route", &mut out);
            assert_eq!(is_left, left.is_some(), "{field}");
            assert_eq!(String::from_utf8_lossy(&out), left.unwrap_or_default());
        }
    }
}
