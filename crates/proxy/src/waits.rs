//! How long a response is waited for, and what happens then.

use std::time::Duration;

/// The moments of one attempt at which waiting for the response comes to a decision. All count
/// from when the whole request had left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waits {
    /// Until a copy is sent to another endpoint, if that may be.
    pub(crate) copy: Option<Duration>,
    /// Until the attempt gives way to the next one, if there may be a next one.
    pub(crate) attempt: Option<Duration>,
    /// Until the response is given up.
    pub(crate) last: Duration,
}

/// What the end of a wait decides about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Send a copy and wait on.
    ForCopy,
    /// Give way to the next attempt, or wait on if that may not be.
    OfAttempt,
    /// Give up.
    Last,
}

impl Waits {
    /// The wait that ends next.
    pub(crate) fn next(&self) -> Duration {
        let copy = self.copy.unwrap_or(self.last);
        let attempt = self.attempt.unwrap_or(self.last);
        copy.min(attempt).min(self.last)
    }

    /// Takes out the wait that ended.
    pub(crate) fn take_next(&mut self) -> Wait {
        let ended = self.next();
        if ended == self.last {
            Wait::Last
        } else if self.copy == Some(ended) {
            self.copy = None;
            Wait::ForCopy
        } else {
            self.attempt = None;
            Wait::OfAttempt
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_end_in_their_order_and_the_last_one_ends_them_all() {
        let ms = Duration::from_millis;
        let mut waits = Waits {
            copy: Some(ms(50)),
            attempt: Some(ms(20)),
            last: ms(100),
        };
        assert_eq!(waits.next(), ms(20));
        assert_eq!(waits.take_next(), Wait::OfAttempt);
        assert_eq!(waits.next(), ms(50));
        assert_eq!(waits.take_next(), Wait::ForCopy);
        assert_eq!(waits.next(), ms(100));
        assert_eq!(waits.take_next(), Wait::Last);

        let mut late = Waits {
            copy: Some(ms(200)),
            attempt: Some(ms(100)),
            last: ms(100),
        };
        assert_eq!(late.take_next(), Wait::Last);
    }
}
