//! `grpc-timeout`: how long a call may take.

use std::io::Write as _;
use std::time::Duration;

/// Digits of a value.
const DIGITS_MAX: usize = 8;

/// The first value that has too many digits.
const VALUE_END: u128 = 100_000_000;

/// Units with their nanoseconds, the finest first.
const UNITS: [(u8, u128); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60 * 1_000_000_000),
    (b'H', 3600 * 1_000_000_000),
];

/// The time that a `grpc-timeout` names: one to eight digits and a unit, `H`ours, `M`inutes,
/// `S`econds, `m`illi-, `u` micro- or `n`anoseconds. `None` if it is none of that.
pub fn parse_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=DIGITS_MAX).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = std::str::from_utf8(digits).ok()?.parse::<u64>().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Appends `timeout` as it stands in `grpc-timeout`: in the finest unit that has room for it, and
/// never more than it is, but for nothing at all, which reads as a nanosecond: zero is not allowed
/// there.
pub fn write_timeout(timeout: Duration, out: &mut Vec<u8>) {
    let nanos = timeout.as_nanos().max(1);
    let fitting = UNITS.iter().find(|(_, unit)| nanos / unit < VALUE_END);
    let (letter, value) = match fitting {
        Some((letter, unit)) => (*letter, nanos / unit),
        None => (b'H', VALUE_END - 1),
    };
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{value}");
    out.push(letter);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(timeout: Duration) -> String {
        let mut out = Vec::new();
        write_timeout(timeout, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        for (value, timeout) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("15S", Some(Duration::from_secs(15))),
            ("100m", Some(Duration::from_millis(100))),
            ("7u", Some(Duration::from_micros(7))),
            ("00000001n", Some(Duration::from_nanos(1))),
            ("0S", Some(Duration::ZERO)),
            ("000000001n", None),
            ("-1S", None),
            ("+1S", None),
            ("1", None),
            ("S", None),
            ("", None),
            ("1s", None),
            ("1.5S", None),
            ("1 S", None),
        ] {
            assert_eq!(parse_timeout(value.as_bytes()), timeout, "{value}");
        }
    }

    #[test]
    fn a_timeout_is_written_in_the_finest_unit_that_has_room() {
        for (timeout, value) in [
            (Duration::ZERO, "1n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_999), "100000u"),
            (Duration::from_secs(1), "1000000u"),
            (Duration::from_secs(99_999), "99999000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(written(timeout), value);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_is_never_more(nanos in any::<u64>()) {
            let timeout = Duration::from_nanos(nanos).max(Duration::from_nanos(1));
            let read = parse_timeout(written(timeout).as_bytes()).unwrap();
            prop_assert!(read <= timeout);
            // At least seven digits are left of whatever does not fit.
            prop_assert!(timeout - read <= timeout / 1_000_000);
        }
    }
}
