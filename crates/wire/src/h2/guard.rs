//! Budgets against peers that make us work for nothing.
//!
//! A connection has two budgets in points, that of its streams and that of its frames. What costs
//! us work without being of use costs points, useful work and time bring them back, and who has
//! none left has to go: GOAWAY with ENHANCE_YOUR_CALM, and the rule that took the last point.
//!
//! | what the peer does | points | at once | each second | rule |
//! |---|--:|--:|--:|---|
//! | *streams* | | *1000* | *33* | |
//! | resets a request that is worked on | 1 | 1000 | 33 | `rapid_reset` |
//! | opens more streams than it may | 1 | 1000 | 33 | `refused_flood` |
//! | breaks a rule so that we reset a stream | 5 | 200 | 6 | `made_you_reset` |
//! | sends a head that is too large | 10 | 100 | 3 | `hpack_bomb` |
//! | gets a whole response | +1 | | | |
//! | *frames* | | *10,000* | *330* | |
//! | SETTINGS | 50 | 200 | 6 | `settings_flood` |
//! | PING | 10 | 1000 | 33 | `ping_flood` |
//! | DATA or CONTINUATION with nothing in it | 10 | 1000 | 33 | `empty_frames` |
//! | leaves us a window for less than 256 bytes | 10 | 1000 | 33 | `tiny_windows` |
//! | PRIORITY | 5 | 2000 | 66 | `priority_flood` |
//! | WINDOW_UPDATE | 5 | 2000 | 66 | `window_update_flood` |
//! | a frame or an interim response that says nothing | 5 | 2000 | 66 | `control_flood` |
//! | DATA of less than 5 bytes | 1 | 10,000 | 330 | `tiny_data` |
//! | DATA of 5 bytes or more | +1 | | | |
//! | a request or a response, either way | +10 | | | |
//! | takes DATA from us | +20, and 1 for 32 bytes | | | |
//!
//! Why honest peers never get there:
//! - A browser that leaves a page resets the hundred requests it may have open, some ten pages a
//!   second; a gRPC client may give up on as many calls as it lets come to an end.
//! - Both send WINDOW_UPDATE once or twice for each DATA frame that they have read, and gRPC a
//!   PING to measure the way: what they get brings more points than that costs.
//! - The shortest gRPC message has five bytes. A request with its PRIORITY_UPDATE, a kind that we
//!   do not know, costs less than its head brings.
//! - A PING every ten seconds, or every one, is far from 33.
//!
//! A reset costs from the budget of streams, which only whole responses fill: so no download pays
//! for resets. What is bounded without a budget has no points: the length of header blocks
//! (`continuation_flood`) and what we owe (`output_flood`), see `receive`.

use std::time::Instant;

use super::error::{self, ConnectionError};

/// What costs points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cost {
    RapidReset,
    MadeYouReset,
    Refused,
    HpackBomb,
    Settings,
    Ping,
    Empty,
    TinyWindow,
    Priority,
    WindowUpdate,
    Control,
    TinyData,
}

/// The two budgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Budget {
    Streams,
    Frames,
}

/// What a connection may still ask for.
#[derive(Debug)]
pub(super) struct Guard {
    streams: u32,
    frames: u32,
    refilled_at: Instant,
}

const STREAM_POINTS: u32 = 1000;
const STREAM_POINTS_PER_SECOND: u64 = 33;
const FRAME_POINTS: u32 = 10_000;
const FRAME_POINTS_PER_SECOND: u64 = 330;

/// DATA of fewer bytes is tiny: those of the shortest gRPC message.
const CONTENT_BYTES_MIN: usize = 5;

/// We send less in one frame only where nothing else is there to send, or windows are tiny.
const WINDOW_BYTES_MIN: usize = 256;

impl Guard {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            streams: STREAM_POINTS,
            frames: FRAME_POINTS,
            refilled_at: now,
        }
    }

    /// Time has passed.
    pub(super) fn refill(&mut self, now: Instant) {
        let millis = now.saturating_duration_since(self.refilled_at).as_millis() as u64;
        // Points are whole: over less time, there would be none at all.
        if millis < 100 {
            return;
        }
        self.refilled_at = now;
        let points = |per_second: u64, max: u32| {
            (millis.saturating_mul(per_second) / 1000).min(u64::from(max)) as u32
        };
        self.earn_streams(points(STREAM_POINTS_PER_SECOND, STREAM_POINTS));
        self.earn_frames(points(FRAME_POINTS_PER_SECOND, FRAME_POINTS));
    }

    /// Takes the points of `cost`.
    ///
    /// # Errors
    /// There are not as many left.
    pub(super) fn charge(&mut self, cost: Cost) -> Result<(), ConnectionError> {
        let (budget, points, rule) = cost.price();
        let left = match budget {
            Budget::Streams => &mut self.streams,
            Budget::Frames => &mut self.frames,
        };
        *left = left
            .checked_sub(points)
            .ok_or(ConnectionError::calm(rule))?;
        Ok(())
    }

    /// A DATA frame with so much content has come that does not end its stream.
    pub(super) fn receive_data(&mut self, bytes: usize) -> Result<(), ConnectionError> {
        match bytes {
            0 => self.charge(Cost::Empty),
            1..CONTENT_BYTES_MIN => self.charge(Cost::TinyData),
            _ => {
                self.earn_frames(1);
                Ok(())
            }
        }
    }

    /// A DATA frame is sent. `is_cut`: there was more to send, and no window for it.
    pub(super) fn send_data(&mut self, bytes: usize, is_cut: bool) -> Result<(), ConnectionError> {
        if is_cut && bytes < WINDOW_BYTES_MIN {
            return self.charge(Cost::TinyWindow);
        }
        self.earn_frames(20 + bytes as u32 / 32);
        Ok(())
    }

    /// A request or a response has come or goes.
    pub(super) fn pass_head(&mut self) {
        self.earn_frames(10);
    }

    /// A response is complete.
    pub(super) fn complete(&mut self) {
        self.earn_streams(1);
    }

    fn earn_streams(&mut self, points: u32) {
        self.streams = (self.streams + points).min(STREAM_POINTS);
    }

    fn earn_frames(&mut self, points: u32) {
        self.frames = (self.frames + points).min(FRAME_POINTS);
    }
}

impl Cost {
    /// The budget, the points, and the rule for when there are none. See the table above.
    fn price(self) -> (Budget, u32, &'static str) {
        match self {
            Self::RapidReset => (Budget::Streams, 1, error::RAPID_RESET),
            Self::Refused => (Budget::Streams, 1, error::REFUSED_FLOOD),
            Self::MadeYouReset => (Budget::Streams, 5, error::MADE_YOU_RESET),
            Self::HpackBomb => (Budget::Streams, 10, error::HPACK_BOMB),
            Self::Settings => (Budget::Frames, 50, error::SETTINGS_FLOOD),
            Self::Ping => (Budget::Frames, 10, error::PING_FLOOD),
            Self::Empty => (Budget::Frames, 10, error::EMPTY_FRAMES),
            Self::TinyWindow => (Budget::Frames, 10, error::TINY_WINDOWS),
            Self::Priority => (Budget::Frames, 5, error::PRIORITY_FLOOD),
            Self::WindowUpdate => (Budget::Frames, 5, error::WINDOW_UPDATE_FLOOD),
            Self::Control => (Budget::Frames, 5, error::CONTROL_FLOOD),
            Self::TinyData => (Budget::Frames, 1, error::TINY_DATA),
        }
    }
}
