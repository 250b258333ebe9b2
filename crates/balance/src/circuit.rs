//! The bound of a pool's connections, over all workers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::Pool;

/// A connection to an endpoint, counted; dropped with the connection.
#[derive(Debug)]
pub struct ConnectionPlace {
    pool: Arc<Pool>,
}

/// The pool has as many connections as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoConnectionLeft;

impl ConnectionPlace {
    /// Counts one more connection of `pool`; `None` if the pool does not bound them.
    ///
    /// # Errors
    /// There is none left. Exact over all workers.
    pub fn take(pool: &Arc<Pool>) -> Result<Option<Self>, NoConnectionLeft> {
        let Some(max) = pool.settings.circuit.connections else {
            return Ok(None);
        };
        let one_more = |count| (count < max.get()).then_some(count + 1);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        match pool.connections.fetch_update(set, fetch, one_more) {
            Ok(_) => Ok(Some(Self {
                pool: Arc::clone(pool),
            })),
            Err(_) => {
                pool.wants_connection.store(true, Ordering::Relaxed);
                Err(NoConnectionLeft)
            }
        }
    }
}

impl Pool {
    /// True if a request found no connection left. A worker that has one to spare closes it, as
    /// no worker can close another's, and says so by [`Self::end_connection_want`].
    pub fn wants_connection(&self) -> bool {
        self.wants_connection.load(Ordering::Relaxed)
    }

    /// A place has been made.
    pub fn end_connection_want(&self) {
        self.wants_connection.store(false, Ordering::Relaxed);
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.pool.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::fixture::{endpoint, pool, settings};
    use crate::{CircuitSettings, DEFAULT_POLICY, PoolSettings};

    #[test]
    fn a_pool_has_at_most_so_many_connections_and_one_that_closes_makes_room() {
        let settings = PoolSettings {
            circuit: CircuitSettings {
                connections: NonZeroU32::new(2),
                requests: None,
            },
            ..settings(DEFAULT_POLICY)
        };
        let pool = pool(settings, vec![endpoint(1, 0)], 1);
        let first = ConnectionPlace::take(&pool).unwrap();
        let second = ConnectionPlace::take(&pool).unwrap();
        assert!(ConnectionPlace::take(&pool).is_err());
        drop(first);
        assert!(ConnectionPlace::take(&pool).is_ok());
        drop(second);
    }

    #[test]
    fn a_pool_without_a_bound_counts_nothing() {
        let pool = pool(settings(DEFAULT_POLICY), vec![endpoint(1, 0)], 1);
        assert!(ConnectionPlace::take(&pool).unwrap().is_none());
        assert_eq!(pool.connections.load(Ordering::Relaxed), 0);
    }
}
