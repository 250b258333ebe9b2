//! Texts with a meaning: times, sizes, shares, ranges of statuses.
//!
//! Each function returns the value, or what is wrong with the text.

use std::time::Duration;

use balance::StatusRange;

/// Longest duration: a year. Far from where sums with a point in time overflow.
pub(crate) const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// `"2s"`, `"500ms"`, `"1h30m"`: whole numbers with units from large to small, more than nothing.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 5] = [
        ("d", 24 * 3600 * 1000),
        ("h", 3600 * 1000),
        ("m", 60 * 1000),
        ("s", 1000),
        ("ms", 1),
    ];
    let wrong = || format!("`{text}` is no duration such as \"2s\", \"500ms\" or \"1h30m\"");
    let mut rest = text;
    let mut ms: u64 = 0;
    let mut units = UNITS.as_slice();
    while !rest.is_empty() {
        let (number, behind) = leading(rest, |c| c.is_ascii_digit()).ok_or_else(wrong)?;
        let (name, behind) = leading(behind, |c| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
        let index = units
            .iter()
            .position(|(unit, _)| *unit == name)
            .ok_or_else(wrong)?;
        let part = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(units[index].1));
        ms = part
            .and_then(|part| ms.checked_add(part))
            .ok_or_else(|| format!("`{text}` is longer than a year"))?;
        units = &units[index + 1..];
        rest = behind;
    }
    match Duration::from_millis(ms) {
        _ if text.is_empty() => Err(wrong()),
        Duration::ZERO => Err(format!("`{text}` is no time at all")),
        duration if duration > DURATION_MAX => Err(format!("`{text}` is longer than a year")),
        duration => Ok(duration),
    }
}

/// `"64KiB"`: a whole number of B, KiB, MiB or GiB.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let wrong = || format!("`{text}` is no size such as \"64KiB\" or \"1MiB\"");
    let (number, unit) = leading(text, |c| c.is_ascii_digit()).ok_or_else(wrong)?;
    let unit: usize = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    number
        .parse::<usize>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| format!("`{text}` is too large"))
}

/// `"50%"`: 0 to 100.
pub(crate) fn percent(text: &str) -> Result<u8, String> {
    text.strip_suffix('%')
        .and_then(whole_number)
        .filter(|percent| *percent <= 100)
        .and_then(|percent| u8::try_from(percent).ok())
        .ok_or_else(|| format!("`{text}` is no share from \"0%\" to \"100%\""))
}

/// `"p95"` or `"p99.9"`: p50 to p99.9, as a part of one.
pub(crate) fn quantile(text: &str) -> Result<f64, String> {
    let is_part = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    text.strip_prefix('p')
        .filter(|digits| digits.bytes().all(is_part))
        .and_then(|digits| digits.parse::<f64>().ok())
        .filter(|percent| (50.0..=99.9).contains(percent))
        // No more digits than were written.
        .map(|percent| (percent * 100.0).round() / 10_000.0)
        .ok_or_else(|| format!("`{text}` is no quantile from \"p50\" to \"p99.9\""))
}

/// `"200"` or `"200-399"`, statuses of final responses.
pub(crate) fn statuses(text: &str) -> Result<StatusRange, String> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let status = |text| whole_number(text).filter(|code| (200..=599).contains(code));
    match (status(from), status(to)) {
        (Some(from), Some(to)) if from <= to => Ok(StatusRange { from, to }),
        _ => Err(format!(
            "`{text}` is no status from 200 to 599, nor a range such as \"200-399\""
        )),
    }
}

/// Digits alone; `parse` would take a sign.
fn whole_number(text: &str) -> Option<u16> {
    let all_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| text.parse().ok())?
}

/// The characters at the beginning for which `is_part` holds, at least one, and the rest.
fn leading(text: &str, is_part: impl Fn(char) -> bool) -> Option<(&str, &str)> {
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_numbers_with_units_in_order() {
        for (text, ms) in [
            ("2s", 2000),
            ("500ms", 500),
            ("1h30m", 5_400_000),
            ("1m30s", 90_000),
            ("1d", 86_400_000),
            ("365d", 365 * 86_400_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in [
            "",
            "2",
            "s",
            "-2s",
            "2 s",
            "2.5s",
            "1s1h",
            "1s1s",
            "2S",
            "2sec",
            "0s",
            "366d",
            "99999999999999999999s",
            "9223372036854775807h",
            "2s ",
            "½s",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_whole_numbers_of_a_binary_unit() {
        for (text, bytes) in [
            ("0B", 0),
            ("512B", 512),
            ("64KiB", 65536),
            ("1GiB", 1 << 30),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "64",
            "KiB",
            "64KB",
            "64kib",
            "1.5MiB",
            "-1B",
            "99999999999999999999GiB",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_end_at_a_hundred_percent() {
        assert_eq!(percent("0%"), Ok(0));
        assert_eq!(percent("100%"), Ok(100));
        for text in ["", "%", "101%", "50", "+5%", "5 %", "65536%"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn quantiles_are_those_that_say_something_of_slow_requests() {
        assert_eq!(quantile("p50"), Ok(0.5));
        assert_eq!(quantile("p99.9"), Ok(0.999));
        for text in [
            "", "p", "95", "p49", "p100", "p99.99", "P95", "p+95", "p9e1", "p.", "pNaN",
        ] {
            assert!(quantile(text).is_err(), "{text}");
        }
    }

    #[test]
    fn statuses_are_one_code_or_a_range() {
        assert_eq!(statuses("200"), Ok(StatusRange { from: 200, to: 200 }));
        assert_eq!(statuses("200-399"), Ok(StatusRange { from: 200, to: 399 }));
        for text in [
            "",
            "-",
            "200-",
            "399-200",
            "100",
            "600",
            "2xx",
            "+200",
            "200-300-400",
        ] {
            assert!(statuses(text).is_err(), "{text}");
        }
    }
}
