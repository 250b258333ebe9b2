//! Connections of this thread to endpoints and their agents, and whose fault it is when one fails.

use std::io;
use std::time::Duration;

use balance::{Address, ProbeFailure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep_until, timeout_at};

/// A connection over TCP or a Unix socket.
pub(crate) type Connection = Box<dyn Stream>;

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

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

/// Connects.
pub(crate) async fn connect(address: &Address) -> Result<Connection, Problem> {
    match address {
        Address::Tcp(to) => {
            let stream = TcpStream::connect(to).await?;
            // A connect to a free port of this host may, by chance, get that very port as its own
            // and so reach itself (simultaneous open, RFC 9293 §3.5): nobody listens there.
            if stream.local_addr()? == *to {
                return Err(Problem::Endpoint(ProbeFailure::Refused));
            }
            Ok(Box::new(stream))
        }
        Address::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
    }
}

/// The same address with another port. A Unix socket has none, and stays as it is.
pub(crate) fn at_port(address: &Address, port: Option<u16>) -> Address {
    let mut address = address.clone();
    if let (Address::Tcp(address), Some(port)) = (&mut address, port) {
        address.set_port(port);
    }
    address
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
        let is_ours = matches!(
            error.raw_os_error(),
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS | libc::EADDRNOTAVAIL)
        );
        if is_ours {
            return Self::Ours;
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
        for code in [libc::EMFILE, libc::EADDRNOTAVAIL] {
            let problem = Problem::from(io::Error::from_raw_os_error(code));
            assert_eq!(problem, Problem::Ours);
        }
        let problem = Problem::from(io::Error::from_raw_os_error(libc::EHOSTUNREACH));
        assert_eq!(problem, Problem::Endpoint(ProbeFailure::Other));
    }
}
