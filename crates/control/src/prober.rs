//! One probe of one endpoint: connect, and for an HTTP check ask for a path and read the status.

use std::fmt::Write;
use std::io;
use std::time::Duration;

use balance::{Address, Check, CheckKind, Evidence, ProbeFailure, StatusRange};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep_until, timeout_at};

/// What a probe found.
#[derive(Debug)]
pub(crate) struct ProbeReport {
    /// `ProbeSucceeded`, `ProbeFailed` or `ProbeLate`.
    pub(crate) evidence: Evidence,
    /// From the first step to the verdict.
    pub(crate) latency: Duration,
}

/// Runs one probe of `check` against `address`. Ends within the check's timeout, or as soon after
/// as this thread gets to run.
pub(crate) async fn probe(address: &Address, check: &Check) -> ProbeReport {
    let begin = Instant::now();
    let deadline = begin + check.timeout;
    let probing = attempt(address, &check.kind, deadline);
    let (result, late_by) = watched(probing, begin, check.timeout).await;
    let evidence = match result {
        Ok(()) => Evidence::ProbeSucceeded,
        Err(_) if late_by > check.timeout / 2 => Evidence::ProbeLate,
        Err(Problem::Endpoint(failure)) => Evidence::ProbeFailed(failure),
        Err(Problem::Ours) => Evidence::ProbeLate,
    };
    ProbeReport {
        evidence,
        latency: begin.elapsed(),
    }
}

/// Why a probe did not succeed, split by blame.
#[derive(Debug)]
enum Problem {
    Endpoint(ProbeFailure),
    /// This host is out of descriptors, ports or memory, which says nothing about the endpoint.
    Ours,
}

/// Awaits `probing` for at most `timeout`, and measures how late this thread was woken meanwhile.
///
/// A thread that stood still (a frozen virtual machine, a CPU taken by others) would blame the
/// endpoint for its own absence. So the timeout is slept in slices: the first wake after a
/// stand-still finds its slice long over.
async fn watched(
    probing: impl Future<Output = Result<(), Problem>>,
    begin: Instant,
    timeout: Duration,
) -> (Result<(), Problem>, Duration) {
    let mut probing = std::pin::pin!(probing);
    let mut late_by = Duration::ZERO;
    for slice in 1..=SLICES {
        let slice_end = begin + timeout * slice / SLICES;
        let result = tokio::select! {
            biased;
            result = &mut probing => Some(result),
            () = sleep_until(slice_end) => None,
        };
        late_by = late_by.max(Instant::now().saturating_duration_since(slice_end));
        if let Some(result) = result {
            return (result, late_by);
        }
    }
    (Err(Problem::Endpoint(ProbeFailure::Timeout)), late_by)
}

async fn attempt(address: &Address, kind: &CheckKind, deadline: Instant) -> Result<(), Problem> {
    match address {
        Address::Tcp(to) => {
            let stream = TcpStream::connect(to).await?;
            // A connect to a free port of this host may, by chance, get that very port as its own
            // and so reach itself (simultaneous open, RFC 9293 §3.5): nobody listens there.
            if stream.local_addr()? == *to {
                return Err(Problem::Endpoint(ProbeFailure::Refused));
            }
            ask(stream, address, kind, deadline).await
        }
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).await?;
            ask(stream, address, kind, deadline).await
        }
    }
}

async fn ask(
    mut stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: &Address,
    kind: &CheckKind,
    deadline: Instant,
) -> Result<(), Problem> {
    let CheckKind::Http {
        path, host, expect, ..
    } = kind
    else {
        return Ok(());
    };
    stream
        .write_all(request(path, host.as_deref(), address).as_bytes())
        .await?;
    let mut line = [0; STATUS_LINE_BYTES];
    read_full(&mut stream, &mut line).await?;
    let status = parse_status(&line).ok_or(Problem::Endpoint(ProbeFailure::Garbage))?;
    // The verdict need not wait for the rest, but closing before it is read would be a reset, and
    // a line in the endpoint's error log with every probe.
    tokio::spawn(timeout_at(deadline, read_rest(stream)));
    if is_expected(status, expect) {
        Ok(())
    } else {
        Err(Problem::Endpoint(ProbeFailure::Status(status)))
    }
}

fn request(path: &str, host: Option<&str>, address: &Address) -> String {
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: ");
    // Writing to a String cannot fail.
    let _ = match (host, address) {
        (Some(host), _) => write!(request, "{host}"),
        (None, Address::Tcp(address)) => write!(request, "{address}"),
        (None, Address::Unix(_)) => write!(request, "localhost"),
    };
    request.push_str("\r\nUser-Agent: pointsman/");
    request.push_str(env!("CARGO_PKG_VERSION"));
    request.push_str(" health-check\r\nAccept: */*\r\nConnection: close\r\n\r\n");
    request
}

async fn read_full(stream: &mut (impl AsyncRead + Unpin), line: &mut [u8]) -> Result<(), Problem> {
    let mut filled = 0;
    while filled < line.len() {
        let read = stream.read(&mut line[filled..]).await?;
        if read == 0 {
            let failure = if filled == 0 {
                ProbeFailure::Reset
            } else {
                ProbeFailure::Garbage
            };
            return Err(Problem::Endpoint(failure));
        }
        filled += read;
    }
    Ok(())
}

/// Reads what follows the status, in vain, as far as is decent.
async fn read_rest(mut stream: impl AsyncRead + Unpin) {
    let mut bytes = [0; 1024];
    let mut total = 0;
    while total < REST_BYTES_MAX {
        match stream.read(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(read) => total += read,
        }
    }
}

/// The status code of `HTTP/1.x 200` and one byte more (RFC 9112 §4).
fn parse_status(line: &[u8; STATUS_LINE_BYTES]) -> Option<u16> {
    let code = match line.strip_prefix(b"HTTP/1.")? {
        [b'0' | b'1', b' ', code @ .., b' ' | b'\r' | b'\n'] => code,
        _ => return None,
    };
    code.iter().try_fold(0, |status, byte| {
        byte.is_ascii_digit()
            .then(|| status * 10 + u16::from(byte - b'0'))
    })
}

fn is_expected(status: u16, expect: &[StatusRange]) -> bool {
    expect
        .iter()
        .any(|range| (range.from..=range.to).contains(&status))
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

/// `HTTP/1.1 200` and the byte after it.
const STATUS_LINE_BYTES: usize = 13;

/// A response longer than this is cut; a health check should not be a download.
const REST_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::{Endpoint, Peer, Reply, Step};

    /// Long enough that a busy machine answers within it.
    const PATIENT: Duration = Duration::from_secs(10);

    fn run<T>(work: impl Future<Output = T>) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(work)
    }

    fn outcome(endpoint: &Endpoint, kind: CheckKind, timeout: Duration) -> Evidence {
        let address = match endpoint.peer() {
            Peer::Tcp(address) => Address::Tcp(*address),
            Peer::Unix(path) => Address::Unix(path.clone()),
        };
        let check = Check {
            kind,
            timeout,
            ..Check::default()
        };
        run(probe(&address, &check)).evidence
    }

    fn http() -> CheckKind {
        CheckKind::Http {
            path: "/healthz?deep=1".into(),
            host: None,
            headers: Vec::new(),
            expect: vec![StatusRange { from: 200, to: 399 }],
            body: None,
        }
    }

    #[test]
    fn a_connect_is_enough_for_a_tcp_check() {
        let endpoint = Endpoint::start(|_| Reply::hang());
        assert_eq!(
            outcome(&endpoint, CheckKind::Tcp, PATIENT),
            Evidence::ProbeSucceeded
        );
        endpoint.stop_listening();
        assert_eq!(
            outcome(&endpoint, CheckKind::Tcp, PATIENT),
            Evidence::ProbeFailed(ProbeFailure::Refused)
        );
    }

    #[test]
    fn an_http_check_asks_for_its_path_and_says_who_asks() {
        let endpoint = Endpoint::start(|_| Reply::ok("fine"));
        assert_eq!(
            outcome(&endpoint, http(), PATIENT),
            Evidence::ProbeSucceeded
        );
        let request = endpoint.request();
        assert_eq!(
            (request.head.word(0), request.head.word(1)),
            ("GET", "/healthz?deep=1")
        );
        let agent = format!("pointsman/{} health-check", env!("CARGO_PKG_VERSION"));
        assert_eq!(request.head.field("user-agent"), Some(agent.as_str()));
        assert_eq!(
            request.head.field("host"),
            Some(endpoint.address().to_string().as_str())
        );
        assert_eq!(request.head.field("connection"), Some("close"));
    }

    #[test]
    fn only_expected_statuses_succeed() {
        for status in [200, 204, 301, 399] {
            let endpoint = Endpoint::start(move |_| Reply::status(status));
            assert_eq!(
                outcome(&endpoint, http(), PATIENT),
                Evidence::ProbeSucceeded,
                "{status}"
            );
        }
        for status in [199, 400, 404, 503] {
            let endpoint = Endpoint::start(move |_| {
                Reply::raw(format!("HTTP/1.0 {status} x\r\nContent-Length: 0\r\n\r\n"))
            });
            assert_eq!(
                outcome(&endpoint, http(), PATIENT),
                Evidence::ProbeFailed(ProbeFailure::Status(status))
            );
        }
    }

    #[test]
    fn an_answer_in_pieces_is_an_answer() {
        let endpoint = Endpoint::start(|_| {
            let pieces = [
                &b"HTT"[..],
                b"P/1.1 2",
                b"00 OK\r\n",
                b"Content-Length: 0\r\n\r\n",
            ];
            Reply::steps(pieces.map(|piece| Step::Send(piece.to_vec())).to_vec())
        });
        assert_eq!(
            outcome(&endpoint, http(), PATIENT),
            Evidence::ProbeSucceeded
        );
    }

    #[test]
    fn each_bad_end_has_its_name() {
        let endings = [
            (Reply::reset(), ProbeFailure::Reset),
            (Reply::steps(vec![Step::Close]), ProbeFailure::Reset),
            (Reply::raw("HTTP/1.1 2").close(), ProbeFailure::Garbage),
            (
                Reply::raw("220 mail.example ESMTP\r\n"),
                ProbeFailure::Garbage,
            ),
            (Reply::raw("HTTP/1.1 +20 OK\r\n\r\n"), ProbeFailure::Garbage),
            (
                Reply::raw("HTTP/1.1 2000 OK\r\n\r\n"),
                ProbeFailure::Garbage,
            ),
            (Reply::raw("HTTP/2.0 200 OK\r\n\r\n"), ProbeFailure::Garbage),
        ];
        for (reply, failure) in endings {
            let shown = format!("{reply:?}");
            let endpoint = Endpoint::start(move |_| reply.clone());
            assert_eq!(
                outcome(&endpoint, http(), PATIENT),
                Evidence::ProbeFailed(failure),
                "{shown}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_endpoint_costs_the_timeout_and_no_more() {
        let endpoint = Endpoint::start(|_| Reply::hang());
        let check = Check {
            kind: http(),
            ..Check::default()
        };
        let report = probe(&Address::Tcp(endpoint.address()), &check).await;
        assert_eq!(
            report.evidence,
            Evidence::ProbeFailed(ProbeFailure::Timeout)
        );
        assert_eq!(report.latency, check.timeout);
    }

    #[test]
    fn a_unix_socket_is_probed_like_a_port() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("endpoint.sock");
        let endpoint = Endpoint::start_unix(&path, |_| Reply::ok(""));
        assert_eq!(
            outcome(&endpoint, http(), PATIENT),
            Evidence::ProbeSucceeded
        );
        assert_eq!(endpoint.request().head.field("host"), Some("localhost"));
        drop(endpoint);
        let report = run(probe(&Address::Unix(path), &Check::default()));
        assert_eq!(
            report.evidence,
            Evidence::ProbeFailed(ProbeFailure::Refused)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_thread_that_stood_still_blames_itself() {
        let timeout = Duration::from_secs(1);
        let begin = Instant::now();
        let (result, late_by) = watched(std::future::pending(), begin, timeout).await;
        assert!(result.is_err());
        assert_eq!(late_by, Duration::ZERO, "it was the endpoint");

        for stand_still in [Duration::from_millis(900), Duration::from_secs(60)] {
            let begin = Instant::now();
            let stalled = async {
                tokio::time::advance(stand_still).await;
                std::future::pending().await
            };
            let (result, late_by) = watched(stalled, begin, timeout).await;
            assert!(result.is_err());
            assert!(late_by > timeout / 2, "late by {late_by:?}");
        }
    }

    #[test]
    fn what_this_host_lacks_is_not_the_endpoints_fault() {
        for code in [libc::EMFILE, libc::EADDRNOTAVAIL] {
            let problem = Problem::from(io::Error::from_raw_os_error(code));
            assert!(matches!(problem, Problem::Ours), "{problem:?}");
        }
        let problem = Problem::from(io::Error::from_raw_os_error(libc::EHOSTUNREACH));
        assert!(
            matches!(problem, Problem::Endpoint(ProbeFailure::Other)),
            "{problem:?}"
        );
    }
}
