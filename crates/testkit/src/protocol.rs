//! What an endpoint speaks.

use crate::tls::TlsServer;

/// What an endpoint speaks; HTTP/1.1 in the clear by default.
#[derive(Debug, Clone, Default)]
pub struct Protocol {
    pub(crate) tls: Option<TlsServer>,
    /// No HTTP.
    pub(crate) is_raw: bool,
    pub(crate) http2: Option<Http2>,
}

/// What an endpoint tells of itself by HTTP/2's SETTINGS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Http2 {
    pub(crate) streams_max: Option<u32>,
    pub(crate) allows_connect: bool,
}

impl Protocol {
    /// HTTP/1.1 in the clear.
    pub fn h1() -> Self {
        Self::default()
    }

    /// HTTP/2 with prior knowledge.
    pub fn h2() -> Self {
        let http2 = Http2 {
            streams_max: None,
            allows_connect: false,
        };
        Self {
            http2: Some(http2),
            ..Self::default()
        }
    }

    /// No HTTP: the steps of [`crate::Script::raw`] and nothing else.
    pub(crate) fn raw() -> Self {
        Self {
            is_raw: true,
            ..Self::default()
        }
    }

    /// The same inside TLS, agreed on by ALPN.
    #[must_use]
    pub fn over(mut self, tls: &TlsServer) -> Self {
        self.tls = Some(tls.clone());
        self
    }

    /// Allows so many streams at once on an HTTP/2 connection.
    #[must_use]
    pub fn streams_max(mut self, streams: u32) -> Self {
        self.http2_mut().streams_max = Some(streams);
        self
    }

    /// Allows extended CONNECT (RFC 8441).
    #[must_use]
    pub fn extended_connect(mut self) -> Self {
        self.http2_mut().allows_connect = true;
        self
    }

    #[track_caller]
    fn http2_mut(&mut self) -> &mut Http2 {
        self.http2.as_mut().expect("HTTP/2 has this setting")
    }
}
