//! One client connection: waits for a request, has it served, and again.
//!
//! What lives here lives as long as the connection, so it is little: the work of an exchange is
//! in a future of its own that exists only while there is one.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::Instant;

use net::Stream;

use crate::client::Client;
use crate::exchange::{self, Next};
use crate::worker::OpenConnection;

/// Serves a connection until either side has enough.
pub(crate) async fn serve(open: OpenConnection, stream: Stream, peer: Option<SocketAddr>) {
    let worker = &open.worker;
    let idle_timeout = worker.plan.snapshot.listeners[open.listener].timeouts.idle;
    let now = Instant::now();
    let mut client = Client::new(stream, peer, open.listener, now + idle_timeout);
    poll_fn(|cx| {
        open.register(cx.waker());
        Poll::Ready(())
    })
    .await;

    while wait_for_request(&open, &mut client).await {
        let next = Box::pin(exchange::run(worker, &mut client)).await;
        match next {
            Next::Wait => client.buffer.release(),
            Next::KeepAlive(now) => {
                client.limit_exchange(None);
                client.buffer.release();
                client.allow_until(now + idle_timeout);
            }
            Next::Close => break,
            Next::CloseGently => {
                client.close_gently().await;
                break;
            }
        }
    }
}

/// True once something may have arrived; false when it is time to close. Holds no buffer
/// meanwhile.
async fn wait_for_request(open: &OpenConnection, client: &mut Client) -> bool {
    if !client.buffer.is_empty() {
        return true; // A pipelined request.
    }
    poll_fn(|cx| {
        if client.stream.poll_readable(cx).is_ready() {
            return Poll::Ready(true);
        }
        if open.worker.is_draining() {
            return Poll::Ready(false);
        }
        client.poll_timeout(cx).map(|()| false)
    })
    .await
}
