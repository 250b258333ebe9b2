//! Passive ejection: an endpoint whose live requests fail is taken out for a while.

use std::time::Instant;

use super::{Cause, Evidence};
use crate::{Check, CheckKind, OutlierSettings};

/// Ejections of one endpoint.
///
/// After one is over the endpoint is on trial (see [`crate::LoadLine::begin_trial`]): if its next
/// request fails it is ejected again at once, for twice as long.
#[derive(Debug)]
pub(super) struct Ejection {
    settings: OutlierSettings,
    until: Option<Instant>,
    /// What failed was connecting, and nothing else.
    connect_only: bool,
    /// Ejections without a quiet time between them.
    in_row: u32,
    /// The end of the last one.
    ended_at: Option<Instant>,
}

impl Ejection {
    pub(super) fn new(settings: OutlierSettings) -> Self {
        Self {
            settings,
            until: None,
            connect_only: false,
            in_row: 0,
            ended_at: None,
        }
    }

    /// The rule by which `evidence` is enough for an ejection, which has then begun.
    pub(super) fn begin(&mut self, evidence: Evidence, now: Instant) -> Option<Cause> {
        let (cause, connect_only) = match evidence {
            Evidence::LiveFailures {
                in_row,
                connect_only,
            } if self
                .settings
                .consecutive
                .is_some_and(|enough| in_row >= enough.get()) =>
            {
                (Cause::ConsecutiveFailures, connect_only)
            }
            Evidence::TrialFailed { connect_only } if self.ended_at.is_some() => {
                (Cause::TrialFailed, connect_only)
            }
            Evidence::LowSuccessRate { .. } => (Cause::SuccessRate, false),
            _ => return None,
        };
        if self.until.is_some() {
            return None;
        }
        // As long as the longest ejection without another one counts as quiet: shorter, and an
        // endpoint that fails only under load would start from the beginning each time.
        let quiet = self.settings.ejection_max;
        if self
            .ended_at
            .is_some_and(|at| now.saturating_duration_since(at) >= quiet)
        {
            self.in_row = 0;
        }
        let doubled = self
            .settings
            .ejection
            .saturating_mul(1 << self.in_row.min(31));
        self.until = Some(now + doubled.min(self.settings.ejection_max));
        self.connect_only = connect_only;
        self.in_row = self.in_row.saturating_add(1);
        Some(cause)
    }

    pub(super) fn end(&mut self, now: Instant) {
        self.until = None;
        self.ended_at = Some(now);
    }

    /// Ends an ejection and forgets those before.
    pub(super) fn clear(&mut self) {
        self.until = None;
        self.in_row = 0;
        self.ended_at = None;
    }

    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// True if success of such a probe disproves what ejected the endpoint. A connect alone does
    /// not disprove failed requests: the kernel accepts connections for a process that is frozen,
    /// so a connect check would let it back in for ever; and datagrams that nobody answers. Nor does
    /// what answers at another port.
    pub(super) fn is_outdone_by(&self, check: &Check) -> bool {
        match check.kind {
            _ if check.port.is_some() => false,
            CheckKind::Off => false,
            CheckKind::Tcp | CheckKind::Udp { expect: None, .. } => self.connect_only,
            CheckKind::TcpExpect { .. }
            | CheckKind::Http { .. }
            | CheckKind::Grpc { .. }
            | CheckKind::Udp { .. }
            | CheckKind::Redis
            | CheckKind::Postgres
            | CheckKind::Mysql
            | CheckKind::Smtp
            | CheckKind::Dns { .. } => true,
        }
    }
}

/// Whether one more endpoint of a pool may be ejected.
///
/// Of `total` endpoints `ejected` are out by ejection already, and `live` are up and not ejected,
/// the one in question included. The last live endpoint is never ejected. Otherwise up to
/// `percent_max` of the pool may be, and in a small pool at least one; 0 switches ejection off.
pub fn may_eject(ejected: usize, live: usize, total: usize, percent_max: u8) -> bool {
    let within_share = (ejected + 1) * 100 <= total * usize::from(percent_max);
    let first = ejected == 0 && percent_max > 0;
    live > 1 && (within_share || first)
}
