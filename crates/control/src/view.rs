//! What the admin API shows, and the thread that probes keeps up to date.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use observe::Registry;

use crate::ListenerView;
use crate::certificates::CertificateSource;
use crate::health_board::HealthBoard;
use crate::process::Began;

/// Everything there is to see. Shown by `status` and `metrics`.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) began: Began,
    pub(crate) listeners: Vec<ListenerView>,
    pub(crate) certificates: Vec<Arc<CertificateSource>>,
    pub(crate) registry: Arc<Registry>,
    /// Taken by the control thread alone, so never waited for.
    board: Mutex<HealthBoard>,
}

impl View {
    pub(crate) fn new(
        listeners: Vec<ListenerView>,
        certificates: Vec<Arc<CertificateSource>>,
        registry: Arc<Registry>,
        board: HealthBoard,
    ) -> Self {
        Self {
            began: Began::now(),
            listeners,
            certificates,
            registry,
            board: Mutex::new(board),
        }
    }

    pub(crate) fn board(&self) -> MutexGuard<'_, HealthBoard> {
        // A panic of the board is told as an event; what it knows is still worth showing.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
