//! One timer per connection, however many time-outs it has.
//!
//! A deadline is a stored number. Moving it later, which happens with every message, costs
//! nothing: the timer fires at the old time, sees the new number and sleeps on.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::task::unconstrained;
use tokio::time::{Sleep, sleep_until};

/// The next moment at which a connection must act by itself.
///
/// All polls must come from the same task: the timer remembers one waker.
#[derive(Debug)]
pub struct Deadline {
    at: Instant,
    /// When the timer fires; never later than `at`.
    armed: Instant,
    /// The timer knows the task's waker.
    registered: bool,
    timer: Pin<Box<Sleep>>,
}

impl Deadline {
    /// A deadline at `at`.
    pub fn new(at: Instant) -> Self {
        Self {
            at,
            armed: at,
            registered: false,
            timer: Box::pin(sleep_until(at.into())),
        }
    }

    /// The same timer for another use, perhaps by another task.
    pub fn renew(&mut self, at: Instant) {
        self.registered = false;
        self.set(at);
    }

    /// When it is.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// Moves it.
    pub fn set(&mut self, at: Instant) {
        self.at = at;
        if at < self.armed {
            self.arm();
        }
    }

    /// Ready once the deadline has passed.
    pub fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if !self.registered {
                // A task that has used up its share would get `Pending` without being registered.
                let mut timer = unconstrained(self.timer.as_mut());
                self.registered = Pin::new(&mut timer).poll(cx).is_pending();
            }
            if self.registered && !self.timer.is_elapsed() {
                return Poll::Pending;
            }
            if Instant::now() >= self.at {
                return Poll::Ready(());
            }
            self.arm();
        }
    }

    fn arm(&mut self) {
        self.armed = self.at;
        self.registered = false;
        self.timer.as_mut().reset(self.at.into());
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_passes_when_the_last_set_time_has_come_and_not_before() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            for (first, then) in [(10, 40), (10_000, 30)] {
                let start = Instant::now();
                let mut deadline = Deadline::new(start + Duration::from_millis(first));
                poll_fn(|cx| {
                    assert!(deadline.poll_passed(cx).is_pending());
                    Poll::Ready(())
                })
                .await;
                deadline.set(start + Duration::from_millis(then));
                poll_fn(|cx| deadline.poll_passed(cx)).await;
                let waited = start.elapsed();
                assert!(waited >= Duration::from_millis(then), "{waited:?}");
                assert!(waited < Duration::from_secs(5), "{waited:?}");
            }
        });
    }
}
