//! The receiving half of a connection, with what was read too far kept for the next read.

use std::io::{self, Read};

use crate::http::End;
use crate::transport::Transport;

/// Sees every piece of bytes before it is used, an empty one at the end, or why there is none.
pub(crate) type Tap = Box<dyn FnMut(Result<&[u8], End>) + Send>;

/// A buffered reader over a connection.
pub(crate) struct Source {
    pub(crate) transport: Transport,
    buffer: Vec<u8>,
    start: usize,
    tap: Option<Tap>,
}

impl Source {
    pub(crate) fn new(transport: Transport, tap: Option<Tap>) -> Self {
        Self {
            transport,
            buffer: Vec::new(),
            start: 0,
            tap,
        }
    }

    /// What was received and not consumed.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Reads once; 0 is the end.
    pub(crate) fn fill(&mut self) -> io::Result<usize> {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
        let filled = self.buffer.len();
        self.buffer.resize(filled + READ_BYTES, 0);
        let read = loop {
            match self.transport.read(&mut self.buffer[filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
        if let Some(tap) = &mut self.tap {
            tap(read
                .as_ref()
                .map(|_| &self.buffer[filled..])
                .map_err(End::from_io));
        }
        read
    }

    /// Takes the first `bytes` pending bytes.
    pub(crate) fn consume(&mut self, bytes: usize) {
        assert!(bytes <= self.pending().len(), "only what is pending");
        self.start += bytes;
    }

    /// Takes everything up to and with the first `end`. `None`: the connection ended before.
    pub(crate) fn take_through(&mut self, end: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut searched = 0;
        loop {
            let pending = self.pending();
            let from = searched.min(pending.len());
            if let Some(at) = pending[from..].windows(end.len()).position(|w| w == end) {
                let taken = pending[..from + at + end.len()].to_vec();
                self.consume(taken.len());
                return Ok(Some(taken));
            }
            // The end may begin in the bytes at hand.
            searched = pending.len().saturating_sub(end.len() - 1);
            if self.fill()? == 0 {
                return Ok(None);
            }
        }
    }
}

const READ_BYTES: usize = 64 * 1024;
