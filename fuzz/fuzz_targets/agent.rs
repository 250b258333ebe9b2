//! What agents answer: figures within their bounds, or nothing.
#![no_main]

use balance::{parse_agent_words, parse_load_body};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|answer: &[u8]| {
    if let Some(report) = parse_load_body(answer) {
        let utilization = report.utilization.unwrap_or(0.0);
        assert!(utilization.is_finite() && utilization >= 0.0);
    }
    let Some(words) = parse_agent_words(answer) else {
        return;
    };
    for configured in [0, 1, 3, 256] {
        if let Some(weight) = words.weight {
            let effective = configured * weight.percent_of(configured);
            assert!(effective <= 256 * 100, "above the greatest weight");
        }
    }
    // A remark changes nothing, nor does a line end.
    let line = answer.split(|byte| b"#\r\n\0".contains(byte)).next();
    let mut remarked = line.unwrap_or_default().to_vec();
    remarked.extend_from_slice(b"# down\r\nmaint");
    assert_eq!(parse_agent_words(&remarked), Some(words));
});
