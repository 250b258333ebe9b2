//! What responses say about the load of their endpoints: busy is not down.

use std::time::{Duration, Instant, SystemTime};

use balance::{Pool, load_report};
use message::{FieldName, ResponseHead};

/// However long an endpoint says that it takes no requests: it may get well sooner.
const FULL_MAX: Duration = Duration::from_secs(300);

/// Takes what a response says about its endpoint, of index `endpoint` in `pool`. True if it says
/// that the endpoint takes no more requests for now.
///
/// For responses with [`ResponseHead::has_feedback`]; others say nothing.
pub(crate) fn heed(pool: &Pool, endpoint: usize, response: &ResponseHead, now: Instant) -> bool {
    let settings = &pool.settings.feedback;
    if settings.headers {
        let report = load_report(
            response.field(FieldName::EndpointLoadMetrics),
            response.field(FieldName::XRif),
            response.field(FieldName::XLatencyUs),
        );
        if let Some(report) = report {
            pool.report_load_of_response(endpoint, &report, now);
        }
    }
    if !settings.full_on.contains(&response.status.code()) {
        return false;
    }
    let wait = response
        .field(FieldName::RetryAfter)
        .and_then(|value| retry_after(value, SystemTime::now));
    // Who says "come at once" is not full, whatever the status means then.
    let Some(wait) = wait.filter(|wait| !wait.is_zero()) else {
        return false;
    };
    pool.report_full(endpoint, now + wait.min(FULL_MAX), now);
    true
}

/// The wait that a `Retry-After` asks for: seconds or a date (RFC 9110 §10.2.3).
fn retry_after(value: &[u8], now: impl FnOnce() -> SystemTime) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?;
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds mean a long time.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = || SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 - 30);
        for (value, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sat, 06 Nov 1993 08:49:37 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            let wait = retry_after(value.as_bytes(), now);
            assert_eq!(wait, seconds.map(Duration::from_secs), "{value}");
        }
    }
}
