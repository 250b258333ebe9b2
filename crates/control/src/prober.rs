//! One probe of one endpoint: connect, ask as the check says, look at the answer.

use std::time::Duration;

use balance::{Check, CheckKind, Evidence, ProbeFailure, StatusRange};
use message::{Field, ResponseHead};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use wire::check::Dialogue;
use wire::grpc::{
    self, Code, Frame, Kind, ServingStatus, read_frame, read_health_response, write_health_request,
};

use crate::connection::{self, Connection, Problem, connect, within};
use crate::conversation::converse;
use crate::datagram;
use crate::http::{self, Http};
use crate::http2::Http2;
use crate::transport::Way;

/// What a probe found.
#[derive(Debug)]
pub(crate) struct ProbeReport {
    /// `ProbeSucceeded`, `ProbeFailed` or `ProbeLate`.
    pub(crate) evidence: Evidence,
    /// From the first step to the verdict.
    pub(crate) latency: Duration,
}

/// Runs one probe of `check` by `way`. Ends within the check's timeout, or as soon after as this
/// thread gets to run.
pub(crate) async fn probe(way: &Way, check: &Check) -> ProbeReport {
    let begin = Instant::now();
    let deadline = begin + check.timeout;
    let evidence = match within(check.timeout, attempt(way, check, deadline)).await {
        Ok(()) => Evidence::ProbeSucceeded,
        Err(Problem::Endpoint(failure)) => Evidence::ProbeFailed(failure),
        Err(Problem::Ours) => Evidence::ProbeLate,
    };
    ProbeReport {
        evidence,
        latency: begin.elapsed(),
    }
}

async fn attempt(way: &Way, check: &Check, deadline: Instant) -> Result<(), Problem> {
    match &check.kind {
        CheckKind::Off | CheckKind::Tcp => {
            let mut connection = connect(way).await?;
            if way.transport.tls.is_some() {
                // The end of the handshake leaves with what follows it: to close now would look
                // like a client that does not believe the certificate.
                connection.shutdown().await?;
                connection::end(connection, deadline);
            }
            Ok(())
        }
        CheckKind::TcpExpect { send, expect } => {
            talk(connect(way).await?, send, expect, deadline).await
        }
        CheckKind::Http {
            path,
            host,
            headers,
            expect,
            body,
        } => {
            let mut head = http::get(path, host.as_deref(), &way.address, ASKER);
            for (name, value) in headers {
                head.extend([name, ": ", value, "\r\n"]);
            }
            let expected = Expected {
                statuses: expect,
                body: body.as_deref(),
            };
            ask(connect(way).await?, head, &expected, deadline).await
        }
        CheckKind::Grpc { service, host } => {
            let connection = connect(way).await?;
            // Who is asked without TLS is known to speak HTTP/2: there is no gRPC without.
            if way.transport.tls.is_some() && !connection.is_http2 {
                return Err(Problem::Endpoint(ProbeFailure::NoHttp2));
            }
            let path = "/grpc.health.v1.Health/Check";
            let mut head = http::request_head("POST", path, host.as_deref(), &way.address, ASKER);
            head.push_str("Content-Type: application/grpc\r\nTE: trailers\r\n\r\n");
            call(connection, head, service, deadline).await
        }
        CheckKind::Redis => converse(connect(way).await?, Dialogue::redis(), deadline).await,
        CheckKind::Postgres => converse(connect(way).await?, Dialogue::postgres(), deadline).await,
        CheckKind::Mysql => converse(connect(way).await?, Dialogue::mysql(), deadline).await,
        CheckKind::Smtp => converse(connect(way).await?, Dialogue::smtp(), deadline).await,
        CheckKind::Udp { send, expect } => {
            let patience = check.timeout / SILENCE_PART;
            datagram::send(way, send, expect.as_deref(), patience).await
        }
        CheckKind::Dns { name } => datagram::look_up(way, name.as_deref()).await,
    }
}

/// What follows our name in User-Agent.
const ASKER: &str = "health-check";

/// Sends `send` and reads until `expect` has come.
async fn talk(
    mut connection: Connection,
    send: &[u8],
    expect: &[u8],
    deadline: Instant,
) -> Result<(), Problem> {
    connection.write_all(send).await?;
    let mut answer = Vec::new();
    while !contains(&answer, expect) {
        let is_over = connection.read_buf(&mut answer).await? == 0;
        if is_over && answer.is_empty() {
            return Err(Problem::Endpoint(ProbeFailure::Reset));
        }
        if is_over || answer.len() >= ANSWER_BYTES_MAX {
            return Err(Problem::Endpoint(ProbeFailure::Content));
        }
    }
    // Says that nothing more is asked; the other side ends the connection then.
    connection.shutdown().await?;
    connection::end(connection, deadline);
    Ok(())
}

/// What an HTTP check wants to see.
struct Expected<'a> {
    statuses: &'a [StatusRange],
    body: Option<&'a str>,
}

async fn ask(
    connection: Connection,
    head: String,
    expected: &Expected<'_>,
    deadline: Instant,
) -> Result<(), Problem> {
    let mut http = Http::new(connection);
    http.ask_once(head).await?;
    let verdict = judge(&mut http, expected).await;
    http.end(deadline);
    verdict
}

async fn judge(http: &mut Http, expected: &Expected<'_>) -> Result<(), Problem> {
    let head = http.head().await?;
    let status = head.status.code();
    let is_in = |range: &StatusRange| (range.from..=range.to).contains(&status);
    if !expected.statuses.iter().any(is_in) {
        return Err(Problem::Endpoint(ProbeFailure::Status(status)));
    }
    let Some(text) = expected.body else {
        return Ok(()); // The verdict need not wait for the rest.
    };
    let (body, _) = http.body(&head, BODY_BYTES_MAX).await?;
    if contains(&body, text.as_bytes()) {
        Ok(())
    } else {
        Err(Problem::Endpoint(ProbeFailure::Content))
    }
}

/// Asks for the health of `service` by a call with this head.
async fn call(
    connection: Connection,
    head: String,
    service: &str,
    deadline: Instant,
) -> Result<(), Problem> {
    let (mut message, mut content) = (Vec::new(), Vec::new());
    write_health_request(service, &mut message);
    grpc::write_message(&message, &mut content);
    let mut http = Box::new(Http2::new(connection));
    http.ask(head, &content).await?;
    let verdict = judge_call(&mut http).await;
    http.end(deadline);
    verdict
}

async fn judge_call(http: &mut Http2) -> Result<(), Problem> {
    let head = http.head().await?;
    if head.status.code() != 200 {
        return Err(Problem::Endpoint(ProbeFailure::Status(head.status.code())));
    }
    let no_call = Problem::Endpoint(ProbeFailure::Content);
    let content_type = field(&head, "content-type").unwrap_or_default();
    if Kind::of(content_type) != Some(Kind::Grpc) {
        return Err(no_call);
    }
    let (content, is_whole) = http.body(HEALTH_BYTES_MAX).await?;
    if !is_whole {
        return Err(no_call);
    }
    // Where there is no content, how it went stands in the head.
    let code = grpc::find_field(http.trailers(), "grpc-status");
    match Code::from_field(code.or(field(&head, "grpc-status")).ok_or(no_call)?) {
        Code::Ok => {}
        code => return Err(Problem::Endpoint(ProbeFailure::Grpc(code.as_str()))),
    }
    let Some((Frame::Message(message), [])) = read_frame(&content) else {
        return Err(no_call);
    };
    match read_health_response(message).ok_or(no_call)? {
        ServingStatus::Serving => Ok(()),
        other => Err(Problem::Endpoint(ProbeFailure::NotServing(other.as_str()))),
    }
}

/// The value of the first field of this name, which is in lower case.
fn field<'a>(head: &'a ResponseHead, name: &str) -> Option<&'a [u8]> {
    let is_it = |field: &&Field| head.text(field.name).eq_ignore_ascii_case(name.as_bytes());
    head.fields
        .iter()
        .find(is_it)
        .map(|field| head.text(field.value))
}

pub(crate) fn contains(bytes: &[u8], part: &[u8]) -> bool {
    part.is_empty() || bytes.windows(part.len()).any(|window| window == part)
}

/// Part of the timeout after which it is clear that nobody refuses a datagram: as long as a way
/// there and back takes, many times over.
const SILENCE_PART: u32 = 5;

/// An answer on a bare connection that is longer does not contain what is expected.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// The answer to a call for health has one message of two bytes.
const HEALTH_BYTES_MAX: usize = 1024;

/// As far as a body is searched, as `CheckKind::Http` promises.
const BODY_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use balance::Address;
    use testkit::{Endpoint, Peer, Reply, Script, Step};

    use super::*;
    use crate::transport::Transport;

    /// Long enough that a busy machine answers within it.
    const PATIENT: Duration = Duration::from_secs(10);

    fn run<T>(work: impl Future<Output = T>) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(work)
    }

    /// The way to `address`, with nothing but TCP or a Unix socket.
    fn way(address: Address) -> Way {
        let transport = Transport::default();
        Way { address, transport }
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
        run(probe(&way(address), &check)).evidence
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
            (
                Reply::raw("HTTP/1.1 2").close(),
                ProbeFailure::Garbage("HTTP"),
            ),
            (
                Reply::raw("220 mail.example ESMTP\r\n"),
                ProbeFailure::Garbage("HTTP"),
            ),
            (
                Reply::raw("HTTP/1.1 +20 OK\r\n\r\n"),
                ProbeFailure::Garbage("HTTP"),
            ),
            (
                Reply::raw("HTTP/1.1 2000 OK\r\n\r\n"),
                ProbeFailure::Garbage("HTTP"),
            ),
            (
                Reply::raw("HTTP/2.0 200 OK\r\n\r\n"),
                ProbeFailure::Garbage("HTTP"),
            ),
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

    #[test]
    fn an_http_check_sends_the_fields_and_the_host_that_it_is_given() {
        let endpoint = Endpoint::start(|_| Reply::ok(""));
        let kind = CheckKind::Http {
            path: "/".into(),
            host: Some("app.example".into()),
            headers: vec![("X-Check".into(), "1".into()), ("X-Key".into(), "".into())],
            expect: vec![StatusRange { from: 200, to: 200 }],
            body: None,
        };
        assert_eq!(outcome(&endpoint, kind, PATIENT), Evidence::ProbeSucceeded);
        let head = endpoint.request().head;
        assert_eq!(head.field("host"), Some("app.example"));
        assert_eq!(head.field("x-check"), Some("1"));
        assert_eq!(head.field("x-key"), Some(""));
    }

    #[test]
    fn a_body_must_contain_the_text_in_its_first_64_kib() {
        const CONTENT: Evidence = Evidence::ProbeFailed(ProbeFailure::Content);
        let long = |before: usize| Reply::ok("x".repeat(before) + "all fine");
        for (reply, evidence) in [
            (Reply::ok("all fine\n"), Evidence::ProbeSucceeded),
            (
                Reply::chunked(&["[al", "l fine]"]),
                Evidence::ProbeSucceeded,
            ),
            (Reply::until_close("all fine"), Evidence::ProbeSucceeded),
            (long(64 * 1024 - 8), Evidence::ProbeSucceeded),
            (long(64 * 1024 - 7), CONTENT),
            (Reply::ok("all is fine"), CONTENT),
            (Reply::status(204), CONTENT),
            (
                Reply::ok("all fine")
                    .field("Content-Length", "9")
                    .then(Step::Close),
                Evidence::ProbeFailed(ProbeFailure::Reset),
            ),
            (
                Reply::status(404).body("all fine"),
                Evidence::ProbeFailed(ProbeFailure::Status(404)),
            ),
        ] {
            let shown = format!("{reply:.60?}");
            let endpoint = Endpoint::start(move |_| reply.clone());
            let kind = CheckKind::Http {
                path: "/".into(),
                host: None,
                headers: Vec::new(),
                expect: vec![StatusRange { from: 200, to: 299 }],
                body: Some("all fine".into()),
            };
            assert_eq!(outcome(&endpoint, kind, PATIENT), evidence, "{shown}");
        }
    }

    #[test]
    fn a_tcp_check_waits_for_what_it_expects() {
        let greeting = |text: &'static str, last: Step| {
            let steps = move |_| vec![Step::Send(text.into()), last.clone()];
            Endpoint::with_script(Script::new(|_| Reply::hang()).on_connect(steps))
        };
        let expect = |expect: &str| CheckKind::TcpExpect {
            send: [].into(),
            expect: expect.as_bytes().into(),
        };
        let endpoint = greeting("220 mail.example ESMTP\r\n", Step::Hang);
        let check = expect("ESMTP");
        assert_eq!(outcome(&endpoint, check, PATIENT), Evidence::ProbeSucceeded);
        let silent = Duration::from_millis(100);
        assert_eq!(
            outcome(&endpoint, expect("FTP"), silent),
            Evidence::ProbeFailed(ProbeFailure::Timeout)
        );
        for (text, failure) in [
            ("554 no\r\n", ProbeFailure::Content),
            ("", ProbeFailure::Reset),
        ] {
            let endpoint = greeting(text, Step::Close);
            assert_eq!(
                outcome(&endpoint, expect("ESMTP"), PATIENT),
                Evidence::ProbeFailed(failure)
            );
        }
    }

    #[test]
    fn a_tcp_check_speaks_first_if_it_has_something_to_say() {
        let endpoint = Endpoint::start(|_| Reply::ok("PONG"));
        let kind = CheckKind::TcpExpect {
            send: (*b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n").into(),
            expect: (*b"PONG").into(),
        };
        assert_eq!(outcome(&endpoint, kind, PATIENT), Evidence::ProbeSucceeded);
        assert_eq!(endpoint.request().head.word(1), "/ping");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_endpoint_costs_the_timeout_and_no_more() {
        let endpoint = Endpoint::start(|_| Reply::hang());
        let check = Check {
            kind: http(),
            ..Check::default()
        };
        let report = probe(&way(Address::Tcp(endpoint.address())), &check).await;
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
        let report = run(probe(&way(Address::Unix(path)), &Check::default()));
        assert_eq!(
            report.evidence,
            Evidence::ProbeFailed(ProbeFailure::Refused)
        );
    }
}
