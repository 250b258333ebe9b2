//! What an endpoint does with a request: a message, and steps around it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::http::{Body, Head};
use crate::wait::Gate;

/// A request whose head has arrived, for a script to decide on.
#[derive(Debug, Clone)]
pub struct Request {
    /// The head.
    pub head: Head,
    /// Which connection it came on, counted from 0 in order of acceptance.
    pub connection: usize,
    /// How many requests came on that connection before it.
    pub index: usize,
}

/// A message, apart from how a version of HTTP writes it.
pub(crate) struct Parts {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) content: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// There should have been more.
    pub(crate) is_cut: bool,
}

/// The behaviour of an endpoint.
#[derive(Clone)]
pub struct Script {
    pub(crate) on_connect: Arc<dyn Fn(usize) -> Vec<Step> + Send + Sync>,
    pub(crate) on_request: Arc<dyn Fn(&Request) -> Reply + Send + Sync>,
}

/// One thing that an endpoint does.
#[derive(Debug, Clone)]
pub enum Step {
    /// Reads the request body to its end.
    ReadBody,
    /// Reads that many bytes, whatever they mean. HTTP/1.1 and raw connections only.
    Read(usize),
    /// Reads until the other side has no more to say. HTTP/1.1 and raw connections only.
    ReadToEnd,
    /// Says that nothing more will be sent, and goes on to read. HTTP/1.1 and raw connections only.
    Finish,
    /// Sends bytes as they are.
    Send(Vec<u8>),
    /// Sends that much of the filler body (see [`crate::filler()`]).
    SendFiller(u64),
    /// Does nothing for a while.
    Pause(Duration),
    /// Does nothing until the test opens the gate.
    Wait(Gate),
    /// Reads and never answers, until the other side closes.
    Hang,
    /// Takes nothing more. Over a Unix socket the next write of the other side fails, and nothing
    /// warns it before.
    StopReading,
    /// Sends back every byte that arrives, until the other side closes.
    Tunnel,
    /// Ends the connection in good order.
    Close,
    /// Ends the connection by a reset; over a Unix socket, abruptly.
    Reset,
    /// Resets the HTTP/2 stream with this code; HTTP/1.1 has nothing smaller than [`Step::Reset`].
    ResetStream(u32),
}

/// An answer: steps, the message, more steps. Reads the request body first, unless told not to,
/// and keeps the connection open, unless told or asked not to.
#[derive(Debug, Clone)]
pub struct Reply {
    before: Vec<Step>,
    message: Message,
    cut_at: Option<usize>,
    after: Vec<Step>,
}

#[derive(Debug, Clone)]
enum Message {
    /// Only steps.
    None,
    Response {
        status: u16,
        fields: Vec<(String, String)>,
        content: Content,
    },
}

#[derive(Debug, Clone)]
enum Content {
    /// With Content-Length.
    Bytes(Vec<u8>),
    /// With Transfer-Encoding.
    Chunks {
        chunks: Vec<Vec<u8>>,
        trailers: Vec<(String, String)>,
    },
    /// With neither; the steps behind it have to close.
    UntilClose(Vec<u8>),
    /// What the request was, a line for each property.
    Echo,
    /// Nothing, not even a Content-Length.
    Nothing,
}

impl Script {
    /// Answers each request by `on_request`.
    pub fn new(on_request: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self {
            on_connect: Arc::new(|_| Vec::new()),
            on_request: Arc::new(on_request),
        }
    }

    /// Plays the steps of `on_connect`, called with the number of the connection, and closes it in
    /// good order: nothing that arrives is a request.
    pub fn raw(on_connect: impl Fn(usize) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::new(|_| Reply::steps(Vec::new())).on_connect(move |connection| {
            let mut steps = on_connect(connection);
            steps.push(Step::Close);
            steps
        })
    }

    /// Plays the steps of `on_connect`, called with the number of the connection, before
    /// anything is read.
    pub fn on_connect(
        mut self,
        on_connect: impl Fn(usize) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        self.on_connect = Arc::new(on_connect);
        self
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").finish_non_exhaustive()
    }
}

impl Request {
    /// The method.
    pub fn method(&self) -> &str {
        self.head.word(0)
    }

    /// The request target.
    pub fn target(&self) -> &str {
        self.head.word(1)
    }
}

impl Reply {
    /// 200 with a body.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::status(200).body(body)
    }

    /// A status with an empty body.
    pub fn status(status: u16) -> Self {
        Self::response(status, Content::Bytes(Vec::new()))
    }

    /// 200 with what the request was: `method`, `target`, `body-bytes`, `body-hash` and each
    /// `field`, a line each.
    pub fn echo() -> Self {
        Self::response(200, Content::Echo)
    }

    /// 200 with a chunked body.
    pub fn chunked(chunks: &[&str]) -> Self {
        let chunks = chunks
            .iter()
            .map(|chunk| chunk.as_bytes().to_vec())
            .collect();
        Self::response(
            200,
            Content::Chunks {
                chunks,
                trailers: Vec::new(),
            },
        )
    }

    /// 200 with a body that ends with the connection.
    pub fn until_close(body: impl Into<Vec<u8>>) -> Self {
        Self::response(200, Content::UntilClose(body.into())).then(Step::Close)
    }

    /// 200 with the first `bytes` bytes of the filler body (see [`crate::filler()`]).
    pub fn filler(bytes: u64) -> Self {
        Self::response(200, Content::Nothing)
            .field("Content-Length", &bytes.to_string())
            .then(Step::SendFiller(bytes))
    }

    /// 101 to `protocol`, over HTTP/2 200; from then on every byte comes back.
    pub fn tunnel(protocol: &str) -> Self {
        // What follows the request is no body: over HTTP/2 it has no end.
        Self::response(101, Content::Nothing)
            .unread()
            .field("Connection", "Upgrade")
            .field("Upgrade", protocol)
            .then(Step::Tunnel)
    }

    /// These bytes, whatever they mean.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self::steps(vec![Step::ReadBody]).then(Step::Send(bytes.into()))
    }

    /// These steps and no message.
    pub fn steps(steps: Vec<Step>) -> Self {
        Self {
            before: steps,
            message: Message::None,
            cut_at: None,
            after: Vec::new(),
        }
    }

    /// Reads everything, answers nothing.
    pub fn hang() -> Self {
        Self::steps(Vec::new()).then(Step::Hang)
    }

    /// Resets the connection instead of an answer.
    pub fn reset() -> Self {
        Self::steps(vec![Step::ReadBody]).then(Step::Reset)
    }

    /// Adds a field to the response.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        if let Message::Response { fields, .. } = &mut self.message {
            fields.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        if let Message::Response { content, .. } = &mut self.message {
            *content = Content::Bytes(body.into());
        }
        self
    }

    /// Adds a trailer field to a chunked response.
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        if let Message::Response {
            content: Content::Chunks { trailers, .. },
            ..
        } = &mut self.message
        {
            trailers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Adds a step between reading the request and the response.
    pub fn first(mut self, step: Step) -> Self {
        self.before.push(step);
        self
    }

    /// Sends these bytes, a 1xx response say, before the response; over HTTP/2 it has to be one.
    pub fn interim(self, bytes: &str) -> Self {
        self.first(Step::Send(bytes.into()))
    }

    /// Waits for the gate before the response.
    pub fn wait(self, gate: &Gate) -> Self {
        self.first(Step::Wait(gate.clone()))
    }

    /// Leaves the request body unread. What of it arrives is taken for the next request, as by
    /// an endpoint that forgets there is one; add [`Step::Close`] for an honest endpoint.
    pub fn unread(mut self) -> Self {
        self.before.retain(|step| !matches!(step, Step::ReadBody));
        self
    }

    /// Adds a step behind the response.
    pub fn then(mut self, step: Step) -> Self {
        self.after.push(step);
        self
    }

    /// Says `Connection: close` and closes.
    pub fn close(self) -> Self {
        self.field("Connection", "close").then(Step::Close)
    }

    /// Sends only the first `bytes` bytes of the message, head included (over HTTP/2, of its
    /// content). The steps behind it decide what the other side sees; over HTTP/2 the connection
    /// ends, unless they reset the stream.
    pub fn cut_at(mut self, bytes: usize) -> Self {
        self.cut_at = Some(bytes);
        self
    }

    fn response(status: u16, content: Content) -> Self {
        Self {
            before: vec![Step::ReadBody],
            message: Message::Response {
                status,
                fields: Vec::new(),
                content,
            },
            cut_at: None,
            after: Vec::new(),
        }
    }

    pub(crate) fn steps_before(&self) -> &[Step] {
        &self.before
    }

    pub(crate) fn steps_after(&self) -> &[Step] {
        &self.after
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut_at.is_some()
    }

    /// The message for HTTP/2; `None`: only steps.
    pub(crate) fn parts(&self, request: &Head, body: Option<&Body>) -> Option<Parts> {
        let Message::Response {
            status,
            fields,
            content,
        } = &self.message
        else {
            return None;
        };
        let mut fields = fields.clone();
        let mut trailers = Vec::new();
        let mut content = match content {
            Content::Nothing => Vec::new(),
            Content::UntilClose(bytes) => bytes.clone(),
            Content::Bytes(bytes) => with_length(&mut fields, bytes.clone()),
            Content::Echo => with_length(&mut fields, echo(request, body)),
            Content::Chunks {
                chunks,
                trailers: behind,
            } => {
                trailers.clone_from(behind);
                chunks.concat()
            }
        };
        content.truncate(self.cut_at.unwrap_or(usize::MAX));
        Some(Parts {
            status: *status,
            fields,
            content,
            trailers,
            is_cut: self.is_cut(),
        })
    }

    /// The message as bytes, for a request with this head and body.
    pub(crate) fn render(&self, request: &Head, body: Option<&Body>) -> Vec<u8> {
        let Message::Response {
            status,
            fields,
            content,
        } = &self.message
        else {
            return Vec::new();
        };
        let mut fields = fields.clone();
        let content = match content {
            Content::Nothing => Vec::new(),
            Content::UntilClose(bytes) => bytes.clone(),
            Content::Bytes(bytes) => with_length(&mut fields, bytes.clone()),
            Content::Echo => with_length(&mut fields, echo(request, body)),
            Content::Chunks { chunks, trailers } => {
                fields.push(("Transfer-Encoding".to_owned(), "chunked".to_owned()));
                render_chunks(chunks, trailers)
            }
        };
        let mut message = format!("HTTP/1.1 {status} Scripted\r\n").into_bytes();
        message.extend(render_fields(&fields));
        message.extend(b"\r\n");
        if request.word(0) != "HEAD" && !matches!(status, 204 | 304) {
            message.extend(content);
        }
        if let Some(bytes) = self.cut_at {
            message.truncate(bytes);
        }
        message
    }
}

fn with_length(fields: &mut Vec<(String, String)>, content: Vec<u8>) -> Vec<u8> {
    // A script that sets its own length means it.
    if !fields.iter().any(|(name, _)| name == "Content-Length") {
        fields.push(("Content-Length".to_owned(), content.len().to_string()));
    }
    content
}

fn render_chunks(chunks: &[Vec<u8>], trailers: &[(String, String)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in chunks {
        bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n");
    bytes.extend(render_fields(trailers));
    bytes.extend(b"\r\n");
    bytes
}

fn render_fields(fields: &[(String, String)]) -> Vec<u8> {
    let lines = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"));
    lines.collect::<String>().into_bytes()
}

fn echo(request: &Head, body: Option<&Body>) -> Vec<u8> {
    let mut text = format!("method: {}\ntarget: {}\n", request.word(0), request.word(1));
    if let Some(body) = body {
        text += &format!(
            "body-bytes: {}\nbody-hash: {:016x}\n",
            body.bytes, body.hash
        );
    }
    for (name, value) in &request.fields {
        text += &format!("field: {name}: {value}\n");
    }
    text.into_bytes()
}
