//! Load reports in response fields: numbers that are finite and not negative, or nothing.
#![no_main]

use balance::{load_report, parse_load_metrics};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|value: &[u8]| {
    let metrics = parse_load_metrics(value);
    if let Some(report) = metrics {
        let numbers = [
            report.utilization,
            report.requests_per_second,
            report.errors_per_second,
        ];
        assert!(numbers.iter().any(Option::is_some), "a report of nothing");
        for number in numbers.into_iter().flatten() {
            assert!(number.is_finite() && number >= 0.0, "{number}");
        }
    }
    // A field alone says what it says among others.
    assert_eq!(load_report(Some(value), None, None), metrics);
    let with_others = load_report(Some(value), Some(value), Some(b"1"));
    let with_others = with_others.expect("a latency is a report");
    assert_eq!(
        with_others.utilization,
        metrics.and_then(|report| report.utilization)
    );
});
