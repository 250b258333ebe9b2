//! Which route a request takes: hosts and paths, most specific wins.

/// The routes of one listener.
#[derive(Debug, Clone, Default)]
pub struct Table {}

impl Table {
    /// The index of the most specific route for a request, or `None`.
    ///
    /// `host` is the authority without a port in any case; `path` begins with `/`.
    pub fn find(&self, host: &[u8], path: &[u8]) -> Option<usize> {
        let _ = (host, path);
        None
    }
}
