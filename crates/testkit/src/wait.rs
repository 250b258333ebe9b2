//! Waiting without guessing how long: for a condition, and for a test's leave to go on.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Calls `condition` until it is true. Panics with `what` if it is not within `limit`.
#[track_caller]
pub fn poll_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(POLL_PAUSE);
    }
}

/// A door that is closed until a test opens it. Clones are the same door.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    shared: Arc<(Mutex<bool>, Condvar)>,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        let (open, changed) = &*self.shared;
        *open.lock().expect("no holder panics") = true;
        changed.notify_all();
    }

    /// True once it is open; waits for that no longer than `limit`.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let (open, changed) = &*self.shared;
        let guard = open.lock().expect("no holder panics");
        let (open, _) = changed
            .wait_timeout_while(guard, limit, |open| !*open)
            .expect("no holder panics");
        *open
    }
}

/// Short against every time-out of a test, long against a look at a condition.
const POLL_PAUSE: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_lets_nobody_through_until_it_is_open() {
        let gate = Gate::new();
        assert!(!gate.wait(Duration::ZERO));
        gate.clone().open();
        assert!(gate.wait(Duration::ZERO));
    }

    #[test]
    #[should_panic(expected = "pigs fly")]
    fn a_condition_that_never_holds_is_named() {
        poll_until("pigs fly", Duration::from_millis(5), || false);
    }
}
