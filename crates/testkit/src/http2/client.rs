//! A client that keeps the rules of HTTP/2, on the `h2` crate.

use std::future::poll_fn;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request, Uri};
use socket2::Socket;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::blocking::wait_for;
use super::convert::{end_of, map_of, read_body, response_head};
use crate::client::ReadError;
use crate::filler::filler_pieces;
use crate::http::{Body, End, Head, Response};
use crate::peer::Peer;
use crate::tls::{Handshake, TlsClient};

/// An HTTP/2 connection to the proxy. Every operation has a time-out, 5 s unless set, and panics
/// with what it waited for. Clones are the same connection.
#[derive(Clone)]
pub struct H2Client {
    send: SendRequest<Bytes>,
    scheme: &'static str,
    timeout: Duration,
    handshake: Option<Handshake>,
    over: Arc<std::sync::Mutex<mpsc::Receiver<Result<(), h2::Error>>>>,
}

/// How much a client lets arrive before it reads.
#[derive(Debug, Clone, Copy)]
pub struct H2Windows {
    /// Of each stream.
    pub stream: u32,
    /// Of all streams together.
    pub connection: u32,
}

/// The head of a request.
#[derive(Debug, Clone)]
pub struct H2Request {
    method: String,
    target: String,
    authority: String,
    protocol: Option<String>,
    fields: Vec<(String, String)>,
}

/// A request on its way, and its response.
pub struct H2Stream {
    sending: SendStream<Bytes>,
    response: ResponseFuture,
    informational: Vec<Head>,
    receive: Option<RecvStream>,
    timeout: Duration,
}

impl H2Client {
    /// Connects with prior knowledge.
    #[track_caller]
    pub fn connect(to: impl Into<Peer>) -> Self {
        Self::connect_with(to, H2Windows::default())
    }

    /// Connects with prior knowledge.
    #[track_caller]
    pub fn connect_with(to: impl Into<Peer>, windows: H2Windows) -> Self {
        let peer = to.into();
        match Self::start(&peer, b"", None, windows) {
            Ok(client) => client,
            Err(error) => panic!("no HTTP/2 with {peer}: {error}"),
        }
    }

    /// Connects, sends `preface` as it is, and speaks HTTP/2 behind it.
    #[track_caller]
    pub fn connect_behind(to: impl Into<Peer>, preface: &[u8]) -> Self {
        let peer = to.into();
        match Self::start(&peer, preface, None, H2Windows::default()) {
            Ok(client) => client,
            Err(error) => panic!("no HTTP/2 with {peer}: {error}"),
        }
    }

    /// Connects, speaks TLS and offers HTTP/2 by ALPN.
    #[track_caller]
    pub fn connect_tls(to: impl Into<Peer>, tls: &TlsClient) -> Self {
        let peer = to.into();
        match Self::try_connect_tls(&peer, tls) {
            Ok(client) => client,
            Err(error) => panic!("no HTTP/2 over TLS with {peer}: {error}"),
        }
    }

    /// As [`H2Client::connect_tls`], or says why not.
    pub fn try_connect_tls(to: &Peer, tls: &TlsClient) -> io::Result<Self> {
        let tls = tls.clone().offering(&["h2"]);
        Self::start(to, b"", Some(tls), H2Windows::default())
    }

    /// A thread of its own drives the connection until it is over.
    fn start(
        to: &Peer,
        preface: &[u8],
        tls: Option<TlsClient>,
        windows: H2Windows,
    ) -> io::Result<Self> {
        let mut socket = to.connect(TIMEOUT)?;
        socket.write_all(preface)?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (ready, is_ready) = mpsc::channel();
        let (ended, over) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .build()
                .expect("a runtime can be made");
            runtime.block_on(async {
                if let Err(error) = drive(socket, tls, windows, &ready, &ended).await {
                    // Nobody listens any more if the test is over.
                    let _ = ready.send(Err(error));
                }
            });
        });
        let (send, handshake) = is_ready
            .recv_timeout(TIMEOUT)
            .map_err(|_| io::ErrorKind::TimedOut)??;
        Ok(Self {
            send,
            scheme,
            timeout: TIMEOUT,
            handshake,
            over: Arc::new(std::sync::Mutex::new(over)),
        })
    }

    /// Changes the time-out of each operation, and of streams opened from now on.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// What the TLS handshake came to; panics without TLS.
    #[track_caller]
    pub fn handshake(&self) -> &Handshake {
        self.handshake.as_ref().expect("there is TLS")
    }

    /// GETs `target` and reads the response.
    #[track_caller]
    pub fn get(&self, target: &str) -> Response {
        self.send(&H2Request::get(target), b"").read_response()
    }

    /// Sends a request with this body.
    #[track_caller]
    pub fn send(&self, request: &H2Request, body: &[u8]) -> H2Stream {
        let mut stream = self.open_as(request, body.is_empty());
        if !body.is_empty() {
            stream.send_data(body);
            stream.finish();
        }
        stream
    }

    /// Sends the head of a request whose body follows.
    #[track_caller]
    pub fn open(&self, request: &H2Request) -> H2Stream {
        self.open_as(request, false)
    }

    #[track_caller]
    fn open_as(&self, request: &H2Request, is_end: bool) -> H2Stream {
        match self.try_open(request, is_end) {
            Ok(stream) => stream,
            Err(error) => panic!("the proxy takes no stream: {error}"),
        }
    }

    /// Sends the head of a request, or says why not: the proxy may take no more.
    pub fn try_open(&self, request: &H2Request, is_end: bool) -> Result<H2Stream, String> {
        let ready = wait_for(self.timeout, self.send.clone().ready());
        let mut send = ready
            .ok_or("the time-out")?
            .map_err(|error| error.to_string())?;
        let sent = send.send_request(request.build(self.scheme), is_end);
        let (response, sending) = sent.map_err(|error| error.to_string())?;
        Ok(H2Stream {
            sending,
            response,
            informational: Vec::new(),
            receive: None,
            timeout: self.timeout,
        })
    }

    /// True once the proxy has said that it allows extended CONNECT. Its SETTINGS are there once
    /// a response is.
    pub fn may_extend_connect(&self) -> bool {
        self.send.is_extended_connect_protocol_enabled()
    }

    /// Waits for the end of the connection; the code of the proxy's GOAWAY, 0 if all is well.
    #[track_caller]
    pub fn wait_for_end(&self) -> u32 {
        let over = self.over.lock().expect("no holder panics");
        match over.recv_timeout(self.timeout) {
            Ok(Ok(())) => Reason::NO_ERROR.into(),
            Ok(Err(error)) if error.is_go_away() && error.is_remote() => {
                error.reason().unwrap_or(Reason::NO_ERROR).into()
            }
            Ok(Err(error)) => panic!("the connection broke: {error}"),
            Err(_) => panic!("the connection is not over within {:?}", self.timeout),
        }
    }
}

type Ready = mpsc::Sender<io::Result<(SendRequest<Bytes>, Option<Handshake>)>>;
type Ended = mpsc::Sender<Result<(), h2::Error>>;

async fn drive(
    socket: Socket,
    tls: Option<TlsClient>,
    windows: H2Windows,
    ready: &Ready,
    ended: &Ended,
) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let stream = TcpStream::from_std(socket.into())?;
    match tls {
        None => speak(stream, None, windows, ready, ended).await,
        Some(tls) => {
            let connector = TlsConnector::from(tls.config);
            let stream = connector.connect(tls.name, stream).await?;
            let handshake = Handshake::of(stream.get_ref().1, None);
            speak(stream, Some(handshake), windows, ready, ended).await
        }
    }
}

async fn speak(
    io: impl AsyncRead + AsyncWrite + Unpin,
    handshake: Option<Handshake>,
    windows: H2Windows,
    ready: &Ready,
    ended: &Ended,
) -> io::Result<()> {
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(windows.stream)
        .initial_connection_window_size(windows.connection);
    let (send, connection) = builder.handshake(io).await.map_err(io::Error::other)?;
    // Nobody listens any more if the test is over.
    let _ = ready.send(Ok((send, handshake)));
    let _ = ended.send(connection.await);
    Ok(())
}

impl H2Request {
    /// A request for `test.example`.
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            authority: "test.example".to_owned(),
            protocol: None,
            fields: Vec::new(),
        }
    }

    /// A GET.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A POST.
    pub fn post(target: &str) -> Self {
        Self::new("POST", target)
    }

    /// An extended CONNECT for a WebSocket (RFC 8441).
    pub fn websocket(target: &str) -> Self {
        Self {
            protocol: Some("websocket".to_owned()),
            ..Self::new("CONNECT", target)
        }
        .field("sec-websocket-version", "13")
    }

    /// Sets whom it is for.
    #[must_use]
    pub fn authority(mut self, authority: &str) -> Self {
        authority.clone_into(&mut self.authority);
        self
    }

    /// Adds a field.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    #[track_caller]
    fn build(&self, scheme: &str) -> Request<()> {
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(self.authority.as_str())
            .path_and_query(self.target.as_str());
        let mut request = Request::new(());
        *request.uri_mut() = uri.build().expect("a target and an authority");
        *request.method_mut() = Method::from_bytes(self.method.as_bytes()).expect("a method");
        *request.headers_mut() = map_of(&self.fields);
        if let Some(protocol) = &self.protocol {
            request
                .extensions_mut()
                .insert(Protocol::from(protocol.as_str()));
        }
        request
    }
}

impl H2Stream {
    /// Sends content, as windows allow.
    #[track_caller]
    pub fn send_data(&mut self, content: &[u8]) {
        if let Err(error) = self.try_send_data(content) {
            panic!("the proxy does not take the content: {error}");
        }
    }

    /// Sends content, or says why not all of it.
    pub fn try_send_data(&mut self, content: &[u8]) -> Result<(), String> {
        let mut left = Bytes::copy_from_slice(content);
        while !left.is_empty() {
            self.sending.reserve_capacity(left.len());
            if self.sending.capacity() == 0 {
                let sending = &mut self.sending;
                let room = wait_for(self.timeout, poll_fn(|cx| sending.poll_capacity(cx)));
                match room {
                    None => return Err(format!("no room within {:?}", self.timeout)),
                    Some(None) => return Err("the stream is over".to_owned()),
                    Some(Some(Err(error))) => return Err(error.to_string()),
                    Some(Some(Ok(_))) => continue,
                }
            }
            let piece = left.split_to(left.len().min(self.sending.capacity()));
            let sent = self.sending.send_data(piece, false);
            sent.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Sends the first `bytes` bytes of the filler body (see [`crate::filler()`]).
    #[track_caller]
    pub fn send_filler(&mut self, bytes: u64) {
        let sent = filler_pieces(bytes, |piece| self.try_send_data(piece));
        sent.expect("the proxy takes the body");
    }

    /// Says that nothing more will be sent.
    pub fn finish(&mut self) {
        // Fails only on a stream that is over, which the next read reports.
        let _ = self.sending.send_data(Bytes::new(), true);
    }

    /// Ends the request with trailers.
    #[track_caller]
    pub fn send_trailers(&mut self, trailers: &[(&str, &str)]) {
        let trailers: Vec<(String, String)> = trailers
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let sent = self.sending.send_trailers(map_of(&trailers));
        sent.expect("the stream is open");
    }

    /// Resets the stream with this code.
    pub fn reset(mut self, code: u32) {
        self.sending.send_reset(Reason::from(code));
    }

    /// Reads the response; it may be cut, see [`Body::end`].
    #[track_caller]
    pub fn read_response(&mut self) -> Response {
        match self.try_read_response() {
            Ok(response) => response,
            Err(error) => panic!("no response within {:?}: {error:?}", self.timeout),
        }
    }

    /// Reads the response, or says why there is none.
    pub fn try_read_response(&mut self) -> Result<Response, ReadError> {
        let head = self.try_read_head()?;
        let status = head.word(1).parse().expect("the h2 crate has parsed it");
        Ok(Response {
            head,
            status,
            body: self.read_body(),
            informational: std::mem::take(&mut self.informational),
        })
    }

    /// Reads the final head of the response; the content is left to [`H2Stream::read_bytes`] and
    /// [`H2Stream::read_body`].
    #[track_caller]
    pub fn read_head(&mut self) -> Head {
        match self.try_read_head() {
            Ok(head) => head,
            Err(error) => panic!("no head within {:?}: {error:?}", self.timeout),
        }
    }

    fn try_read_head(&mut self) -> Result<Head, ReadError> {
        let Self {
            response,
            informational,
            ..
        } = self;
        let read = async {
            loop {
                let interim = poll_fn(|cx| {
                    // `None` comes with the final head, and wakes nobody.
                    if let std::task::Poll::Ready(Some(head)) = response.poll_informational(cx) {
                        return std::task::Poll::Ready(Ok(head));
                    }
                    std::pin::Pin::new(&mut *response).poll(cx).map(Err)
                });
                match interim.await {
                    Ok(Ok(interim)) => informational.push(response_head(&interim.into_parts().0)),
                    Ok(Err(error)) => return Err(error),
                    Err(done) => return done,
                }
            }
        };
        let response = match wait_for(self.timeout, read) {
            None => return Err(ReadError::TimedOut),
            Some(Ok(response)) => response,
            Some(Err(error)) => {
                return Err(match end_of(&error) {
                    End::StreamReset(code) => ReadError::StreamReset(code),
                    End::Malformed(fault) => ReadError::Malformed(fault),
                    _ => ReadError::Closed,
                });
            }
        };
        let (parts, receive) = response.into_parts();
        self.receive = Some(receive);
        Ok(response_head(&parts))
    }

    /// The next piece of content, with room for as much again given. `None`: there is no more.
    #[track_caller]
    fn read_data(&mut self) -> Option<Vec<u8>> {
        let timeout = self.timeout;
        let receive = self.receive.as_mut().expect("the head was read");
        let data = wait_for(timeout, receive.data());
        let data = data
            .unwrap_or_else(|| panic!("no content within {timeout:?}"))?
            .ok()?;
        // Fails on a stream that was reset, which the next read reports.
        let _ = receive.flow_control().release_capacity(data.len());
        Some(data.to_vec())
    }

    /// Reads exactly `bytes` bytes of content.
    #[track_caller]
    pub fn read_bytes(&mut self, bytes: usize) -> Vec<u8> {
        let mut read = Vec::new();
        while read.len() < bytes {
            match self.read_data() {
                Some(data) => read.extend(data),
                None => panic!("over after {} of {bytes} bytes", read.len()),
            }
        }
        assert_eq!(read.len(), bytes, "more than was asked for");
        read
    }

    /// Reads what is left of the content.
    #[track_caller]
    pub fn read_body(&mut self) -> Body {
        let mut body = Body::default();
        let receive = self.receive.as_mut().expect("the head was read");
        if wait_for(self.timeout, read_body(receive, &mut body, BODY_KEPT_MAX)).is_none() {
            body.end = End::TimedOut;
        }
        body
    }
}

impl Default for H2Windows {
    fn default() -> Self {
        Self {
            stream: 1024 * 1024,
            connection: 16 * 1024 * 1024,
        }
    }
}

const TIMEOUT: Duration = Duration::from_secs(5);

/// What is kept of a response body; more is only counted and hashed.
const BODY_KEPT_MAX: usize = 1024 * 1024;
