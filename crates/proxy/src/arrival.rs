//! A request as it arrives: its head is read, and refused where nothing may be forwarded.

use std::future::poll_fn;
use std::task::Poll;

use config::{HeadLimits, Route};
use message::{FieldName, Method, RequestHead};
use wire::h1::{BadMessage, Limits, RequestReader, tokens};

use crate::attempt::Stop;
use crate::client::Client;
use crate::failure::Failure;
use crate::record::EndedBy;
use crate::worker::Worker;

/// Why there is no request to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRequest {
    /// No byte has arrived.
    NotYet,
    /// The client closed before the first byte.
    Never,
    /// The client closed in the middle of a head.
    Gone,
    /// The head did not arrive in time.
    Timeout,
    /// The head breaks a rule.
    Bad(BadMessage),
}

/// Reads a request head. The time-out of the head runs from its first byte.
pub(crate) async fn receive_head(
    worker: &Worker,
    client: &mut Client,
    head: &mut RequestHead,
) -> Result<(), NoRequest> {
    let listener = &worker.plan.snapshot.listeners[client.peer.listener];
    let limits = limits(&listener.limits);
    let mut reader = RequestReader::default();
    let mut is_partial = false;
    poll_fn(|cx| {
        loop {
            let arrived = &mut client.buffer;
            if !arrived.is_empty() {
                match reader.receive(arrived.filled(), &limits, head) {
                    Ok(Some(consumed)) => {
                        arrived.consume(consumed);
                        return Poll::Ready(Ok(()));
                    }
                    Ok(None) if arrived.is_full() => arrived.enlarge(),
                    Ok(None) => {}
                    Err(bad) => return Poll::Ready(Err(NoRequest::Bad(bad))),
                }
                if !is_partial {
                    is_partial = true;
                    client.allow(listener.timeouts.head);
                }
            }
            match client.poll_read(cx) {
                Poll::Ready(Ok(0) | Err(_)) => {
                    let why = if is_partial {
                        NoRequest::Gone
                    } else {
                        NoRequest::Never
                    };
                    return Poll::Ready(Err(why));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        if !is_partial {
            return Poll::Ready(Err(NoRequest::NotYet));
        }
        client.poll_timeout(cx).map(|()| Err(NoRequest::Timeout))
    })
    .await
}

pub(crate) fn limits(limits: &HeadLimits) -> Limits {
    let HeadLimits {
        head_bytes,
        fields,
        line_bytes,
    } = *limits;
    Limits {
        head_bytes,
        fields,
        line_bytes,
    }
}

/// Refuses what no route may forward, and takes out an upgrade that this one does not allow.
/// Returns what `Max-Forwards` becomes.
pub(crate) fn check(
    request: &mut RequestHead,
    route: &Route,
    pseudonym: &str,
) -> Result<Option<u32>, Stop> {
    // CONNECT would make us an open proxy; TRACE echoes what other parties must not see.
    let is_allowed = match request.method {
        Method::Connect => false,
        Method::Trace => route.allow_trace,
        _ => true,
    };
    if !is_allowed {
        return Err(Stop::Failure(Failure::MethodNotAllowed, EndedBy::Us));
    }
    let mut max_forwards = None;
    for field in &request.fields {
        let value = request.text(field.value);
        match field.id {
            FieldName::Via => {
                let is_ours = |hop: &[u8]| {
                    hop.split(|byte| *byte == b' ').nth(1) == Some(pseudonym.as_bytes())
                };
                if tokens(value).any(is_ours) {
                    return Err(Stop::Failure(Failure::LoopDetected, EndedBy::Us));
                }
            }
            // RFC 9110 §7.6.2: counts for these two methods and is ignored for others.
            FieldName::MaxForwards if matches!(request.method, Method::Options | Method::Trace) => {
                let is_number = value.iter().all(u8::is_ascii_digit);
                let text = std::str::from_utf8(value).ok().filter(|_| is_number);
                let count = text.and_then(|text| text.parse().ok());
                max_forwards = match count {
                    Some(0) if request.method == Method::Options => return Err(Stop::OwnAnswer),
                    Some(0) => {
                        return Err(Stop::Failure(Failure::MethodNotAllowed, EndedBy::Us));
                    }
                    Some(count) => Some(count - 1),
                    None => {
                        let bad = Failure::BadRequest(BadMessage::FieldValue);
                        return Err(Stop::Failure(bad, EndedBy::Client));
                    }
                };
            }
            _ => {}
        }
    }
    let allows = |protocol: &[u8]| {
        route
            .upgrades
            .iter()
            .any(|allowed| protocol.eq_ignore_ascii_case(allowed.as_bytes()))
    };
    if request
        .upgrade
        .is_some_and(|protocol| !allows(request.text(protocol)))
    {
        request.upgrade = None;
        if request.is_extended_connect {
            // Without the protocol nothing is left of it.
            return Err(Stop::Failure(Failure::MethodNotAllowed, EndedBy::Us));
        }
    }
    Ok(max_forwards)
}
