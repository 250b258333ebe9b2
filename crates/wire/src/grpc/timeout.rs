//! `grpc-timeout`: how long a call may take.

use std::time::Duration;

/// Digits of a value.
const DIGITS_MAX: usize = 8;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
