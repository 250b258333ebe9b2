//! Fields of gRPC, in heads and in trailers.

/// The value of the first line of `lines` whose name is `name`, in any case. `lines` are field
/// lines of `wire`, each `name: value` and CR LF.
pub fn find_field<'a>(lines: &'a [u8], name: &str) -> Option<&'a [u8]> {
    lines.split(|&byte| byte == b'\n').find_map(|line| {
        let (found, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        found
            .eq_ignore_ascii_case(name.as_bytes())
            .then(|| value.trim_ascii())
    })
}

/// Appends `text` as it stands in `grpc-message`: visible ASCII and space as they are, `%` and all
/// other bytes as `%XX`.
pub fn write_status_message(text: &str, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text.as_bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            out.push(byte);
        } else {
            let high = DIGITS[usize::from(byte >> 4)];
            let low = DIGITS[usize::from(byte & 15)];
            out.extend_from_slice(&[b'%', high, low]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let lines =
            b"x-grpc-status: 1\r\ngrpc-statuses: 2\r\nGrpc-Status:14 \r\ngrpc-status: 3\r\n";
        assert_eq!(find_field(lines, "grpc-status"), Some(&b"14"[..]));
        assert_eq!(find_field(lines, "grpc-message"), None);
        assert_eq!(find_field(b"", "grpc-status"), None);
        assert_eq!(find_field(b"grpc-status", "grpc-status"), None);
    }

    #[test]
    fn a_message_is_encoded_where_it_must_be() {
        let mut out = Vec::new();
        write_status_message("100 % of\r\nés", &mut out);
        assert_eq!(String::from_utf8_lossy(&out), "100 %25 of%0D%0A%C3%A9s");
    }

    proptest! {
        #[test]
        fn a_message_is_a_field_value_that_reads_as_it_was(text in any::<String>()) {
            let mut out = Vec::new();
            write_status_message(&text, &mut out);
            prop_assert!(out.iter().all(|byte| (b' '..=b'~').contains(byte)));
            prop_assert_eq!(decode(&out), text.as_bytes());
        }
    }

    fn decode(mut encoded: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let [byte, rest @ ..] = encoded {
            if *byte == b'%' {
                let digits = std::str::from_utf8(&rest[..2]).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                encoded = &rest[2..];
            } else {
                bytes.push(*byte);
                encoded = rest;
            }
        }
        bytes
    }
}
