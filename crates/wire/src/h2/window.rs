//! Flow control (RFC 9113 §5.2, §6.9): how much either side may send before the other has read.

use super::frame::MAX_31_BITS;

/// The window of a connection, and of a stream until SETTINGS say otherwise (§6.9.2).
pub(super) const INITIAL_WINDOW: u32 = 65_535;

/// A window would be larger than 2^31-1 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Overflow;

/// Bytes that we may still send.
///
/// Signed: SETTINGS can shrink a window that is already spent, so a negative value is legal and
/// must be remembered, not clamped (§6.9.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SendWindow(i32);

impl SendWindow {
    pub(super) fn new(bytes: u32) -> Self {
        debug_assert!(bytes <= MAX_31_BITS, "checked when it came");
        Self(bytes as i32)
    }

    /// Takes a WINDOW_UPDATE, or what changed in the initial window.
    pub(super) fn shift(&mut self, by: i64) -> Result<(), Overflow> {
        self.0 = i32::try_from(i64::from(self.0) + by).map_err(|_| Overflow)?;
        Ok(())
    }

    /// Bytes that may be sent now.
    pub(super) fn room(self) -> usize {
        self.0.max(0) as usize
    }

    /// Spends `bytes`, which the caller has checked against [`Self::room`].
    pub(super) fn spend(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.room(), "spent more than granted");
        self.0 -= bytes as i32;
    }
}

/// Bytes that the peer may still send, and those that it gets back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReceiveWindow {
    /// What the peer has while nothing waits to be read.
    size: u32,
    /// Signed for the same reason as [`SendWindow`].
    left: i32,
    /// Bytes that were read and not given back.
    consumed: u32,
}

impl ReceiveWindow {
    /// A window of `left` bytes that shall have `size`.
    pub(super) fn new(size: u32, left: u32) -> Self {
        debug_assert!(size.max(left) <= MAX_31_BITS, "bounded by the config");
        Self {
            size,
            left: left as i32,
            consumed: 0,
        }
    }

    /// What the peer believes has changed, by our SETTINGS.
    pub(super) fn shift(&mut self, by: i32) {
        self.left = self.left.saturating_add(by);
    }

    /// Bytes have come.
    pub(super) fn receive(&mut self, bytes: usize) -> Result<(), Overflow> {
        if bytes as i64 > i64::from(self.left) {
            return Err(Overflow);
        }
        self.left -= bytes as i32;
        Ok(())
    }

    /// Bytes that came were read. Returns what to give back now, if it is worth a frame: half of
    /// the window is, so that the peer gets it before it has to wait.
    pub(super) fn consume(&mut self, bytes: usize) -> Option<u32> {
        self.consumed += bytes as u32;
        if self.consumed == 0 || self.consumed < self.size / 2 {
            return None;
        }
        let bytes = std::mem::take(&mut self.consumed);
        self.left = self.left.saturating_add_unsigned(bytes);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_window_may_become_negative_and_recovers() {
        let mut window = SendWindow::new(100);
        window.spend(80);
        assert_eq!(window.shift(-90), Ok(()));
        assert_eq!(window.room(), 0);
        assert_eq!(window.shift(80), Ok(()));
        assert_eq!(window.room(), 10);
    }

    #[test]
    fn a_send_window_does_not_overflow() {
        let mut window = SendWindow::new(MAX_31_BITS - 1);
        assert_eq!(window.shift(1), Ok(()));
        assert_eq!(window.shift(1), Err(Overflow));
        assert_eq!(window.room(), MAX_31_BITS as usize);
    }

    #[test]
    fn half_of_a_receive_window_is_given_back_at_once() {
        let mut window = ReceiveWindow::new(1000, 1000);
        assert_eq!(window.receive(1000), Ok(()));
        assert_eq!(window.receive(1), Err(Overflow));
        assert_eq!(window.consume(499), None);
        assert_eq!(window.consume(1), Some(500));
        assert_eq!(window.receive(500), Ok(()));
        assert_eq!(window.receive(1), Err(Overflow));
    }

    #[test]
    fn a_window_of_one_byte_moves() {
        let mut window = ReceiveWindow::new(1, 1);
        assert_eq!(window.consume(0), None);
        assert_eq!(window.receive(1), Ok(()));
        assert_eq!(window.consume(1), Some(1));
    }
}
