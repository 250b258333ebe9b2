//! What an endpoint received.

use crate::http::{Body, End, Head};

/// A request as an endpoint received it.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its head.
    pub head: Head,
    /// Which connection it came on, counted from 0 in order of acceptance.
    pub connection: usize,
    /// Its body; `None` as long as the reply has not read it.
    pub body: Option<Body>,
    /// The code by which the other side reset the stream. HTTP/2 only.
    pub cancelled: Option<u32>,
    /// Bytes of the response that were let go so far. Over HTTP/2 the content alone, as windows
    /// allow; over HTTP/1.1 all, if steps come behind the message.
    pub sent: u64,
}

/// What came and went on a connection of an endpoint, below all that it means.
#[derive(Debug, Clone, Default)]
pub struct Transcript {
    /// What came, up to 256 KiB.
    pub received: Vec<u8>,
    /// How many bytes came.
    pub received_bytes: u64,
    /// How many bytes were let go.
    pub sent_bytes: u64,
    /// How the other side ended what it had to say: cleanly by a FIN, inside TLS by a close_notify.
    /// `None` as long as it has not, or nobody has read so far.
    pub end: Option<End>,
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

    /// Whom the request is for: `Host`, or `:authority` in HTTP/2.
    pub fn authority(&self) -> &str {
        let authority = self.head.field(":authority");
        authority.or(self.head.field("host")).unwrap_or_default()
    }

    /// The body, which the reply has read. Panics if it has not.
    #[track_caller]
    pub fn body(&self) -> &Body {
        self.body.as_ref().expect("the reply reads the body")
    }
}
