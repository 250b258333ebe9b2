//! Bytes after a handshake.

use std::task::{Context, Poll, Waker};

use super::*;
use crate::{LARGE, SMALL};

/// A client and a server that trust each other.
async fn ends() -> (Stream, Stream) {
    let ca = Authority::new();
    let server = server(&server_settings(vec![ca.issue(&["a.example"])]));
    pair(&client(&ca), &server, "a.example").await
}

/// Bytes that show where they stand.
fn counting(length: usize) -> Vec<u8> {
    (0..length)
        .map(|index| (index % 251) as u8 ^ (index / 4096) as u8)
        .collect()
}

fn tls(stream: &mut Stream) -> &mut TlsStream {
    match stream {
        Stream::Tls(stream) => stream,
        _ => panic!("no TLS"),
    }
}

/// What a poll comes to now.
fn now<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    poll(&mut Context::from_waker(Waker::noop()))
}

/// Waits for bytes of any kind.
async fn wait_for_bytes(stream: &mut Stream) {
    let Stream::Tcp(socket) = tls(stream).socket() else {
        panic!("no TCP")
    };
    poll_fn(|cx| socket.poll_read_ready(cx)).await.unwrap();
}

#[test]
fn a_request_and_its_answer_cross() {
    run(async {
        let (mut near, mut far) = ends().await;
        write_all(&mut near, b"ping").await.unwrap();
        assert_eq!(read_exactly(&mut far, 4).await, b"ping");
        write_all(&mut far, b"pong").await.unwrap();
        assert_eq!(read_exactly(&mut near, 4).await, b"pong");
        let info = far.tls().unwrap();
        assert_eq!(info.sni.as_deref(), Some("a.example"));
        assert_eq!(info.version, "TLSv1.3");
        assert!(info.cipher.starts_with("TLS13_"));
        assert!(!info.is_resumed && !info.is_http2 && info.client.is_none());
        assert!(!tls(&mut near).holds_memory() && !tls(&mut far).holds_memory());
    });
}

#[test]
fn much_crosses_in_both_directions_at_once() {
    run(async {
        let (near, far) = ends().await;
        let sent = counting(5 * 1024 * 1024);
        let both = |stream: Stream| {
            let sent = sent.clone();
            spawn_local(async move { exchange(stream, &sent).await })
        };
        let (near, far) = (both(near), both(far));
        assert!(near.await.unwrap() == sent);
        assert!(far.await.unwrap() == sent);
    });
}

/// Writes all of `sent` while it reads as much.
async fn exchange(mut stream: Stream, sent: &[u8]) -> Vec<u8> {
    let (mut written, mut received) = (0, Vec::new());
    let mut buffer = Buffer::default();
    poll_fn(|cx| {
        loop {
            let mut is_stuck = true;
            if written < sent.len()
                && let Poll::Ready(count) = stream.poll_write(cx, &sent[written..])
            {
                written += count.unwrap();
                is_stuck = false;
            }
            if received.len() < sent.len()
                && let Poll::Ready(count) = stream.poll_read(cx, &mut buffer)
            {
                assert_ne!(count.unwrap(), 0);
                received.extend_from_slice(buffer.filled());
                buffer.consume(buffer.filled().len());
                is_stuck = false;
            }
            if written == sent.len() && received.len() == sent.len() {
                return stream.poll_shutdown(cx).map(|result| result.unwrap());
            }
            if is_stuck {
                return Poll::Pending;
            }
        }
    })
    .await;
    received
}

#[test]
fn two_slices_cross_in_order_whatever_their_sizes() {
    run(async {
        let (mut near, mut far) = ends().await;
        let sizes = [0, 1, 300, SMALL - 1, SMALL, SMALL + 1, LARGE, 3 * LARGE];
        for first in sizes {
            for then in sizes {
                let all = counting(first + then);
                let expected = all.clone();
                let writing = spawn_local(async move {
                    let mut written = 0;
                    while written < all.len() {
                        let head = &all[written.min(first)..first];
                        let data = &all[written.max(first)..];
                        written += poll_fn(|cx| near.poll_write_both(cx, head, data))
                            .await
                            .unwrap();
                    }
                    near
                });
                let read = read_exactly(&mut far, first + then).await;
                assert!(read == expected, "{first} and {then} bytes");
                near = writing.await.unwrap();
            }
        }
    });
}

#[test]
fn a_head_and_its_data_leave_in_one_record() {
    run(async {
        let (mut near, mut far) = ends().await;
        let written = poll_fn(|cx| near.poll_write_both(cx, &[b'h'; 200], &[b'd'; 1024])).await;
        assert_eq!(written.unwrap(), 1224);
        wait_for_bytes(&mut far).await;
        let mut wire = vec![0; 4096];
        let count = tls(&mut far).socket().try_read(&mut wire).unwrap();
        let length = usize::from(u16::from_be_bytes([wire[3], wire[4]]));
        assert_eq!(count, 5 + length);
        assert!(length < 1224 + 32);
    });
}

#[test]
fn a_reader_that_takes_little_gets_all_of_it() {
    run(async {
        let (mut near, mut far) = ends().await;
        let sent = counting(100_000);
        write_all(&mut near, &sent).await.unwrap();
        let mut received = Vec::new();
        while received.len() < sent.len() {
            let mut buffer = Buffer::default();
            buffer.append(&[0; SMALL - 7]);
            let count = poll_fn(|cx| far.poll_read(cx, &mut buffer)).await.unwrap();
            assert!((1..=7).contains(&count), "{count}");
            received.extend_from_slice(&buffer.filled()[SMALL - 7..]);
            if received.len() == 7 {
                assert!(far.has_news());
                assert!(now(|cx| far.poll_readable(cx)).is_ready());
            }
        }
        assert!(received == sent);
        assert!(!far.has_news());
        assert!(!tls(&mut far).holds_memory());
    });
}

#[test]
fn a_slow_reader_leaves_a_bounded_amount_pending_and_gets_it_all() {
    run(async {
        let (mut near, mut far) = ends().await;
        let bytes = counting(LARGE);
        let mut sent = Vec::new();
        // What is Ready has taken bytes; what is Pending has not.
        while let Poll::Ready(count) = now(|cx| far.poll_write(cx, &bytes)) {
            let count = count.unwrap();
            assert!(count > 0);
            sent.extend_from_slice(&bytes[..count]);
            assert!(sent.len() < 64 * 1024 * 1024, "nothing pushes back");
        }
        assert!(tls(&mut far).holds_memory());
        assert!(now(|cx| far.poll_write(cx, b"more")).is_pending());
        assert!(now(|cx| far.poll_shutdown(cx)).is_pending());
        // Only waits for bytes, and moves on meanwhile what is pending.
        let waiting = spawn_local(async move {
            poll_fn(|cx| far.poll_readable(cx)).await;
            far
        });
        assert!(read_exactly(&mut near, sent.len()).await == sent);
        write_all(&mut near, b"thanks").await.unwrap();
        let mut far = waiting.await.unwrap();
        assert_eq!(read_exactly(&mut far, 6).await, b"thanks");
        poll_fn(|cx| far.poll_shutdown(cx)).await.unwrap();
        let mut buffer = Buffer::default();
        let end = poll_fn(|cx| near.poll_read(cx, &mut buffer)).await;
        assert_eq!(end.unwrap(), 0);
    });
}

#[test]
fn an_end_with_close_notify_is_one_and_reading_goes_on_behind_ours() {
    run(async {
        let (mut near, mut far) = ends().await;
        write_all(&mut near, b"last").await.unwrap();
        poll_fn(|cx| near.poll_shutdown(cx)).await.unwrap();
        assert_eq!(read_exactly(&mut far, 4).await, b"last");
        let mut buffer = Buffer::default();
        for _ in 0..2 {
            let end = poll_fn(|cx| far.poll_read(cx, &mut buffer)).await;
            assert_eq!(end.unwrap(), 0);
        }
        assert!(far.has_news() && now(|cx| far.poll_readable(cx)).is_ready());
        write_all(&mut far, b"answer").await.unwrap();
        assert_eq!(read_exactly(&mut near, 6).await, b"answer");
        let write = now(|cx| near.poll_write(cx, b"more"));
        assert!(matches!(write, Poll::Ready(Err(_))));
    });
}

#[test]
fn an_end_without_close_notify_is_an_error() {
    run(async {
        let (mut near, mut far) = ends().await;
        write_all(&mut near, b"cut").await.unwrap();
        drop(near);
        assert_eq!(read_exactly(&mut far, 3).await, b"cut");
        let mut buffer = Buffer::default();
        for _ in 0..2 {
            let end = poll_fn(|cx| far.poll_read(cx, &mut buffer)).await;
            assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
        assert!(far.has_news());
    });
}

#[test]
fn a_record_that_was_altered_is_an_error_behind_the_data_before_it() {
    run(async {
        let (mut near, mut far) = ends().await;
        write_all(&mut near, b"good").await.unwrap();
        let forged = [b"\x17\x03\x03\x00\x20".as_slice(), &[7; 32]].concat();
        assert_eq!(tls(&mut near).socket().try_write(&forged).unwrap(), 37);
        assert_eq!(read_exactly(&mut far, 4).await, b"good");
        let mut buffer = Buffer::default();
        let read = poll_fn(|cx| far.poll_read(cx, &mut buffer)).await;
        assert_eq!(
            read.unwrap_err().to_string(),
            "a record was altered on its way"
        );
        let write = now(|cx| far.poll_write(cx, b"more"));
        assert!(matches!(write, Poll::Ready(Err(_))));
    });
}

#[test]
fn tickets_are_no_news() {
    run(async {
        let (mut near, mut far) = ends().await;
        assert!(!near.has_news());
        tls(&mut far).send_tickets();
        wait_for_bytes(&mut near).await;
        assert!(!near.has_news());
        assert!(now(|cx| near.poll_readable(cx)).is_pending());
        assert!(!tls(&mut near).holds_memory());
        write_all(&mut far, b"!").await.unwrap();
        poll_fn(|cx| near.poll_readable(cx)).await;
        assert!(near.has_news());
        assert_eq!(read_exactly(&mut near, 1).await, b"!");
    });
}

#[test]
fn part_of_a_record_is_nothing_to_read() {
    run(async {
        let (mut near, mut far) = ends().await;
        let record = tls(&mut near).encrypted(b"whole");
        let (left, right) = record.split_at(record.len() - 1);
        tls(&mut near).socket().try_write(left).unwrap();
        wait_for_bytes(&mut far).await;
        assert!(!far.has_news());
        assert!(now(|cx| far.poll_readable(cx)).is_pending());
        // What is there of it does not keep us from writing.
        write_all(&mut far, b"meanwhile").await.unwrap();
        tls(&mut near).socket().try_write(right).unwrap();
        assert_eq!(read_exactly(&mut far, 5).await, b"whole");
        assert_eq!(read_exactly(&mut near, 9).await, b"meanwhile");
    });
}

/// The longest record does not fit into a small buffer.
#[test]
fn a_look_at_a_long_record_takes_nothing_away() {
    run(async {
        let (mut near, mut far) = ends().await;
        let bytes = counting(SMALL);
        write_all(&mut near, &bytes).await.unwrap();
        wait_for_bytes(&mut far).await;
        assert!(far.has_news());
        assert!(read_exactly(&mut far, SMALL).await == bytes);
    });
}

/// Whoever answers early and leaves has answered.
#[test]
fn what_has_come_is_read_although_nothing_can_leave() {
    run(async {
        let (mut near, mut far) = ends().await;
        let bytes = counting(LARGE);
        while now(|cx| near.poll_write(cx, &bytes)).is_ready() {}
        write_all(&mut far, b"too large").await.unwrap();
        poll_fn(|cx| far.poll_shutdown(cx)).await.unwrap();
        // With bytes unread, it resets the connection.
        drop(far);
        let Stream::Tcp(socket) = tls(&mut near).socket() else {
            panic!("no TCP")
        };
        poll_fn(|cx| socket.poll_write_ready(cx)).await.unwrap();
        assert_eq!(read_exactly(&mut near, 9).await, b"too large");
        let written = poll_fn(|cx| near.poll_write(cx, b"more")).await;
        assert!(written.is_err(), "{written:?}");
    });
}

#[test]
fn an_idle_connection_keeps_little() {
    assert!(size_of::<TlsStream>() <= 2048, "{}", size_of::<TlsStream>());
}
