//! Connections to one endpoint that wait for their next request.

use std::time::Instant;

use crate::Stream;

/// Unused connections that a worker keeps to one endpoint.
///
/// The youngest is taken first, so that a worker with little to do lets the others age out.
#[derive(Debug, Default)]
pub struct IdleConnections {
    /// Oldest first, each with the moment after which it must not be used.
    connections: Vec<(Stream, Instant)>,
}

/// Connections kept to one endpoint by one worker.
const IDLE_MAX: usize = 1024;

impl IdleConnections {
    /// Takes a connection on which nothing has happened since it was put here.
    pub fn take(&mut self, now: Instant) -> Option<Stream> {
        while let Some((stream, until)) = self.connections.pop() {
            if now < until && !stream.has_news() {
                return Some(stream);
            }
        }
        None
    }

    /// Keeps `stream` until `until`.
    pub fn put(&mut self, stream: Stream, until: Instant) {
        if self.connections.len() < IDLE_MAX {
            self.connections.push((stream, until));
        }
    }

    /// Closes those that are too old or that the endpoint has closed.
    pub fn sweep(&mut self, now: Instant) {
        self.connections
            .retain(|(stream, until)| now < *until && !stream.has_news());
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
