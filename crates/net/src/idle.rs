//! Connections to one endpoint that wait for their next request.

use std::time::Instant;

use crate::Stream;

/// Unused connections that a worker keeps to one endpoint.
///
/// The youngest is taken first, so that a worker with little to do lets the others age out. Each
/// comes with a `T` that lives as long as it does.
#[derive(Debug)]
pub struct IdleConnections<T> {
    /// Oldest first, each with the moment after which it must not be used.
    connections: Vec<(Stream, T, Instant)>,
}

/// Connections kept to one endpoint by one worker.
const IDLE_MAX: usize = 1024;

impl<T> Default for IdleConnections<T> {
    fn default() -> Self {
        Self {
            connections: Vec::new(),
        }
    }
}

impl<T> IdleConnections<T> {
    /// Takes a connection on which nothing has happened since it was put here.
    pub fn take(&mut self, now: Instant) -> Option<(Stream, T)> {
        while let Some((mut stream, with, until)) = self.connections.pop() {
            if now < until && !stream.has_news() {
                return Some((stream, with));
            }
        }
        None
    }

    /// Keeps `stream` until `until`.
    pub fn put(&mut self, stream: Stream, with: T, until: Instant) {
        if self.connections.len() < IDLE_MAX {
            self.connections.push((stream, with, until));
        }
    }

    /// Closes those that are too old or that the endpoint has closed.
    pub fn sweep(&mut self, now: Instant) {
        self.connections
            .retain_mut(|(stream, _, until)| now < *until && !stream.has_news());
    }

    /// Closes the oldest. False if there is none.
    pub fn close_oldest(&mut self) -> bool {
        let has_any = !self.connections.is_empty();
        self.connections.drain(..usize::from(has_any));
        has_any
    }

    /// Closes all: the endpoint they lead to has died.
    pub fn clear(&mut self) {
        self.connections.clear();
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// True if none is kept.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }
}
