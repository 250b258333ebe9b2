//! Moments as RFC 3339 writes them, in UTC.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Prints a moment with microseconds, `2026-11-22T10:00:00.123456Z`; with a precision of 3,
/// `{:.3}`, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Timestamp(pub SystemTime);

impl Timestamp {
    /// The text with microseconds. By hand, because every access log line has one and the
    /// formatting machinery takes longer than all the rest of it.
    pub(crate) fn text(self) -> [u8; 27] {
        // A clock before 1970 is wrong anyway; it prints as 1970.
        let since_epoch = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = since_epoch.as_secs();
        let (year, month, day) = civil_from_days(seconds / 86_400);
        let of_day = seconds % 86_400;
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        put(&mut text[0..4], year);
        put(&mut text[5..7], month);
        put(&mut text[8..10], day);
        put(&mut text[11..13], of_day / 3600);
        put(&mut text[14..16], of_day / 60 % 60);
        put(&mut text[17..19], of_day % 60);
        put(&mut text[20..26], since_epoch.subsec_micros().into());
        text
    }
}

/// Writes `number` in decimal, from the right; digits without room are left out.
fn put(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        let text = std::str::from_utf8(&text).expect("it is ASCII");
        match f.precision() {
            Some(3) => write!(f, "{}Z", &text[..23]),
            _ => f.write_str(text),
        }
    }
}

/// Year, month and day of the proleptic Gregorian calendar, `days` after 1970-01-01.
///
/// Counts in eras of 400 years (146,097 days) that begin on 1 March, so that the leap day is the
/// last of a year. Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // From 0000-03-01.
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn known_moments_print_right() {
        let cases = [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, "2000-02-28T23:59:59.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (1_772_323_200, "2026-03-01T00:00:00.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ];
        for (seconds, text) in cases {
            let moment = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(Timestamp(moment).to_string(), text);
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let (mut year, mut month, mut day) = civil_from_days(0);
        for days in 1..200_000 {
            let next = civil_from_days(days);
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let month_days = match month {
                2 if is_leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            let expected = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                (_, last) if last == month_days => (year, month + 1, 1),
                _ => (year, month, day + 1),
            };
            assert_eq!(next, expected);
            (year, month, day) = next;
        }
    }

    #[test]
    fn fractions_are_padded_and_never_rounded_up() {
        let moment = UNIX_EPOCH + Duration::from_nanos(1_009_999_999);
        assert_eq!(Timestamp(moment).to_string(), "1970-01-01T00:00:01.009999Z");
        assert_eq!(
            format!("{:.3}", Timestamp(moment)),
            "1970-01-01T00:00:01.009Z"
        );
    }
}
