//! Slow start: an endpoint that joins or recovers gets its share little by little.

use std::time::Duration;

use crate::SlowStartSettings;
use crate::endpoint::NEVER;

/// The least share: none at all would teach nothing.
const FACTOR_MIN: f64 = 0.10;

/// How often the share moves on.
const STEP: Duration = Duration::from_millis(100);

/// The part of its weight that an endpoint has at `now` if its ramp began at `since`, both in µs:
/// `max(0.10, (t/window)^(1/aggression))`, and when to ask again. `None` once it is whole.
pub(crate) fn factor(settings: &SlowStartSettings, since: u64, now: u64) -> Option<(f64, u64)> {
    let window = settings.window.as_micros() as u64;
    if since == NEVER || now >= since.saturating_add(window) {
        return None;
    }
    let part = now.saturating_sub(since) as f64 / window as f64;
    let factor = part.powf(1.0 / settings.aggression).max(FACTOR_MIN);
    let end = since + window;
    Some((factor, (now + STEP.as_micros() as u64).min(end)))
}
