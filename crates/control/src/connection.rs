//! Connections of this thread to endpoints and their agents, and whose fault it is when one fails.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use balance::ProbeFailure;
use net::{Buffer, Stream, TlsFault, connect_tls};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::transport::{EndpointTls, Way};

/// A connection to an endpoint or its agent, for the runtime's readers and writers.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    /// What has arrived and was not read.
    arrived: Buffer,
    /// HTTP is spoken in version 2.
    pub(crate) is_http2: bool,
}

impl Connection {
    fn new(stream: Stream) -> Self {
        Self {
            stream,
            arrived: Buffer::default(),
            is_http2: false,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self {
            stream, arrived, ..
        } = self.get_mut();
        if arrived.is_empty() {
            ready!(stream.poll_read(cx, arrived))?;
        }
        let count = out.remaining().min(arrived.filled().len());
        out.put_slice(&arrived.filled()[..count]);
        arrived.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_shutdown(cx)
    }
}

/// Why an endpoint could not be asked, split by blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    Endpoint(ProbeFailure),
    /// This host is out of descriptors, ports or memory, or this thread stood still. Says nothing
    /// about the endpoint.
    Ours,
}

/// Awaits `asking` for at most `timeout`, or as much longer as it takes until this thread runs.
///
/// A thread that stood still (a frozen virtual machine, a CPU taken by others) would blame the
/// endpoint for its own absence. So the timeout is slept in slices: the first wake after a
/// stand-still finds its slice long over.
pub(crate) async fn within<T>(
    timeout: Duration,
    asking: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let begin = Instant::now();
    let mut asking = std::pin::pin!(asking);
    let mut late_by = Duration::ZERO;
    let mut result = Err(Problem::Endpoint(ProbeFailure::Timeout));
    for slice in 1..=SLICES {
        let slice_end = begin + timeout * slice / SLICES;
        let done = tokio::select! {
            biased;
            result = &mut asking => Some(result),
            () = sleep_until(slice_end) => None,
        };
        late_by = late_by.max(Instant::now().saturating_duration_since(slice_end));
        if let Some(done) = done {
            result = done;
            break;
        }
    }
    match result {
        Err(_) if late_by > timeout / 2 => Err(Problem::Ours),
        result => result,
    }
}

/// Connects, and speaks what comes before all questions.
pub(crate) async fn connect(way: &Way) -> Result<Connection, Problem> {
    let Way { address, transport } = way;
    let mut connection = Connection::new(net::connect(address, &transport.socket).await?);
    connection.write_all(&transport.preface).await?;
    if let Some(EndpointTls { client, name }) = &transport.tls {
        let name = name.as_deref().expect("the way to an endpoint has a name");
        let stream = connect_tls(connection.stream, client, name).await;
        connection = Connection::new(stream.map_err(|error| match TlsFault::of(&error) {
            Some(fault) => Problem::Endpoint(ProbeFailure::Tls(fault.words)),
            // What is not about TLS is about the connection. A plain end says too little.
            None => match Problem::from(error) {
                Problem::Endpoint(ProbeFailure::Other) => {
                    Problem::Endpoint(ProbeFailure::Tls("handshake failed"))
                }
                problem => problem,
            },
        })?);
    }
    connection.is_http2 = match connection.stream.tls() {
        Some(tls) => tls.is_http2,
        None => transport.http2,
    };
    if transport.http2 && !connection.is_http2 {
        return Err(Problem::Endpoint(ProbeFailure::NoHttp2));
    }
    Ok(connection)
}

/// Ends a connection in good order, in the background: reads in vain what still comes. To close
/// before it is read would be a reset, and a line in the endpoint's error log each time.
pub(crate) fn end(mut connection: Connection, deadline: Instant) {
    let read_rest = async move {
        let mut bytes = [0; 1024];
        let mut total = 0;
        while total < REST_BYTES_MAX {
            match connection.read(&mut bytes).await {
                Ok(0) | Err(_) => return,
                Ok(read) => total += read,
            }
        }
    };
    tokio::spawn(timeout_at(deadline, read_rest));
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS) => return Self::Ours,
            // There are no ports left, as a connect and a bind say it. Clients can take all of
            // UDP: each of their flows has one.
            Some(libc::EADDRNOTAVAIL | libc::EADDRINUSE) => return Self::Ours,
            _ => {}
        }
        Self::Endpoint(match error.kind() {
            // A Unix socket that is not there is the same news as a port that nobody listens on.
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => ProbeFailure::Refused,
            io::ErrorKind::TimedOut => ProbeFailure::Timeout,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => ProbeFailure::Reset,
            _ => ProbeFailure::Other,
        })
    }
}

/// Slices of a timeout; a stand-still is measured to within one of them.
const SLICES: u32 = 4;

/// What is longer is cut: a health check should not be a download.
const REST_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_thread_that_stood_still_blames_itself() {
        let timeout = Duration::from_secs(1);
        let silent = std::future::pending::<Result<(), Problem>>();
        let its_fault = Err(Problem::Endpoint(ProbeFailure::Timeout));
        assert_eq!(within(timeout, silent).await, its_fault);

        for stand_still in [Duration::from_millis(900), Duration::from_secs(60)] {
            let stalled = async {
                tokio::time::advance(stand_still).await;
                std::future::pending().await
            };
            let result: Result<(), Problem> = within(timeout, stalled).await;
            assert_eq!(result, Err(Problem::Ours), "{stand_still:?}");
        }
    }

    #[test]
    fn what_this_host_lacks_is_not_the_endpoints_fault() {
        for code in [libc::EMFILE, libc::EADDRNOTAVAIL, libc::EADDRINUSE] {
            let problem = Problem::from(io::Error::from_raw_os_error(code));
            assert_eq!(problem, Problem::Ours);
        }
        let problem = Problem::from(io::Error::from_raw_os_error(libc::EHOSTUNREACH));
        assert_eq!(problem, Problem::Endpoint(ProbeFailure::Other));
    }
}
