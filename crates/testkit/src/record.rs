//! What an endpoint received.

use crate::http::{Body, Head};

/// A request as an endpoint received it.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its head.
    pub head: Head,
    /// Which connection it came on, counted from 0 in order of acceptance.
    pub connection: usize,
    /// Its body; `None` as long as the reply has not read it.
    pub body: Option<Body>,
}

impl Received {
    /// The method.
    pub fn method(&self) -> &str {
        self.head.word(0)
    }

    /// The request target.
    pub fn target(&self) -> &str {
        self.head.word(1)
    }

    /// The body, which the reply has read. Panics if it has not.
    #[track_caller]
    pub fn body(&self) -> &Body {
        self.body.as_ref().expect("the reply reads the body")
    }
}
