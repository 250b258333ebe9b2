//! One question to the agent of an endpoint.

use balance::{
    AgentKind, AgentSettings, AgentWords, LoadReport, ProbeFailure, parse_agent_words,
    parse_load_body,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::connection::{self, Problem, connect, within};
use crate::http::{self, Http};
use crate::transport::Way;

/// What an agent answered.
#[derive(Debug)]
pub(crate) enum Said {
    Words(AgentWords),
    Load(LoadReport),
}

/// Asks the agent at the end of `way`. Ends within the timeout.
pub(crate) async fn ask(way: &Way, settings: &AgentSettings) -> Result<Said, Problem> {
    let deadline = Instant::now() + settings.timeout;
    let asking = async {
        match &settings.kind {
            AgentKind::Http { path } => ask_http(way, path, deadline).await,
            AgentKind::Tcp { send } => ask_tcp(way, send, deadline).await,
        }
    };
    within(settings.timeout, asking).await
}

async fn ask_http(way: &Way, path: &str, deadline: Instant) -> Result<Said, Problem> {
    let mut http = Http::new(connect(way).await?);
    let head = http::get(path, None, &way.address, "agent-check");
    http.ask_once(head).await?;
    let head = http.head().await?;
    let status = head.status.code();
    let (body, _) = http.body(&head, ANSWER_BYTES_MAX).await?;
    http.end(deadline);
    if !(200..300).contains(&status) {
        return Err(Problem::Endpoint(ProbeFailure::Status(status)));
    }
    let report = parse_load_body(&body);
    report
        .map(Said::Load)
        .ok_or(Problem::Endpoint(ProbeFailure::Content))
}

async fn ask_tcp(way: &Way, send: &[u8], deadline: Instant) -> Result<Said, Problem> {
    let mut connection = connect(way).await?;
    connection.write_all(send).await?;
    let mut line = Vec::new();
    // Some agents end the line, some the connection, some both.
    while !line.contains(&b'\n') && line.len() < ANSWER_BYTES_MAX {
        if connection.read_buf(&mut line).await? == 0 {
            break;
        }
    }
    connection::end(connection, deadline);
    if line.is_empty() {
        return Err(Problem::Endpoint(ProbeFailure::Reset));
    }
    let words = parse_agent_words(&line);
    words
        .map(Said::Words)
        .ok_or(Problem::Endpoint(ProbeFailure::Content))
}

/// What an agent has to say is short.
const ANSWER_BYTES_MAX: usize = 4 * 1024;
