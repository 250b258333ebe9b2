//! A TLS connection whose handshake is over: what [`Stream::Tls`] holds.
//!
//! Memory: the two buffers have some only while bytes are in them. What stays there when the
//! kernel has nothing more to give, or takes no more, is bounded by a [`Buffer`] each, 128 KiB:
//! the part of a record that has arrived, plaintext that its reader had no room for, and the
//! records of one write.
//!
//! System calls: one `recv` takes as many records as there are, and all records of a write leave
//! in one `send`. Session tickets wait for the first write, so that they cost none.
//!
//! A connection that is dropped without [`TlsStream::poll_shutdown`] says no close_notify: whatever
//! was cut must not look whole.

use std::io;
use std::task::{Context, Poll, ready};

use super::session::{
    Outcome, Plaintext, RECORD_OVERHEAD, RECORD_PLAINTEXT_MAX, SEAL_ROOM, Session,
};
use super::{TlsFault, TlsInfo};
use crate::{Buffer, SMALL, Stream};

/// A connection that is spoken on by TLS.
pub struct TlsStream {
    socket: Stream,
    pub(super) session: Session,
    /// [`Self::plain`] bytes of plaintext that nobody has taken, and behind them the beginning of
    /// a record. Between two calls there is no whole record in it.
    incoming: Buffer,
    plain: usize,
    /// Records that the kernel has not taken.
    outgoing: Buffer,
    /// The kernel had no room for all of [`Self::outgoing`].
    is_blocked: bool,
    /// Session tickets, which leave with the first write.
    tickets: Vec<u8>,
    /// Why nothing comes behind what is in [`Self::incoming`].
    end: Option<End>,
    has_sent_close: bool,
    info: TlsInfo,
}

/// Bytes of session tickets that a connection keeps until it writes. Tickets that carry a client's
/// certificates may be longer: they leave at once.
const TICKETS_HELD_MAX: usize = 4 * 1024;

/// How the bytes from the peer ended.
enum End {
    /// With a close_notify: nothing is missing.
    Closed,
    /// Without one: something may be missing (RFC 8446 §6.1).
    Cut,
    /// The connection failed.
    Lost(io::ErrorKind),
    /// The peer broke the protocol.
    Broken(rustls::Error),
}

/// Without keys.
impl std::fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsStream")
            .field("socket", &self.socket)
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

impl TlsStream {
    /// A connection from which `arrived` was read already, to be the beginning of TLS.
    pub(super) fn new(socket: Stream, arrived: Buffer, session: Session) -> Self {
        Self {
            socket,
            session,
            incoming: arrived,
            plain: 0,
            outgoing: Buffer::default(),
            is_blocked: false,
            tickets: Vec::new(),
            end: None,
            has_sent_close: false,
            info: TlsInfo::default(),
        }
    }

    /// What carries it.
    pub(crate) fn socket(&self) -> &Stream {
        &self.socket
    }

    /// What the handshake came to.
    pub(super) fn info(&self) -> &TlsInfo {
        &self.info
    }

    /// Remembers what the handshake came to, with the name that the client asked for.
    pub(super) fn describe(&mut self, sni: Option<&str>) {
        self.info = TlsInfo::of(&self.session, sni);
    }

    /// Shakes hands.
    pub(super) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.decode(None);
            if !self.session.common().is_handshaking() {
                break;
            }
            if let Some(end) = &self.end {
                let result = match end {
                    End::Cut => Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the peer closed the connection during the TLS handshake",
                    )),
                    end => end.result(),
                };
                // The alert says why; if it cannot leave at once, the close has to do.
                let _ = self.poll_flush(cx);
                return Poll::Ready(result);
            }
            ready!(self.poll_flush(cx))?;
            ready!(self.poll_receive(cx, false));
        }
        let version = self.session.common().protocol_version();
        if let Session::Server(_) = self.session {
            let is_tls13 = version == Some(rustls::ProtocolVersion::TLSv1_3);
            if is_tls13 && self.outgoing.filled().len() <= TICKETS_HELD_MAX {
                self.tickets = self.outgoing.filled().to_vec();
                self.outgoing = Buffer::default();
            } else {
                // A client of TLS 1.2 waits for our last flight.
                let _ = self.poll_flush(cx)?;
            }
        }
        // The last flight of a client of TLS 1.3 leaves with its first write, or when it reads.
        Poll::Ready(Ok(()))
    }

    /// As [`Stream::poll_read`].
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Poll::Ready(Err(_)) = self.poll_flush(cx) {
                // Whoever writes learns of it. A peer that takes no more may have answered first.
                self.outgoing = Buffer::default();
            }
            if self.plain > 0 {
                return Poll::Ready(Ok(self.take_plain(buffer)));
            }
            if let Some(end) = &self.end {
                return Poll::Ready(end.result().map(|()| 0));
            }
            ready!(self.poll_receive(cx, buffer.is_large()));
            let count = self.decode(Some(buffer));
            if count > 0 {
                return Poll::Ready(Ok(count));
            }
        }
    }

    /// As [`Stream::poll_readable`]: records without data in them do not count.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let is_lost = matches!(self.poll_flush(cx), Poll::Ready(Err(_)));
            if is_lost || self.has_arrived() {
                return Poll::Ready(());
            }
            ready!(self.poll_receive(cx, false));
            self.decode(None);
        }
    }

    /// As [`Stream::has_news`], without taking anything.
    pub(crate) fn has_news(&mut self) -> bool {
        if !self.outgoing.is_empty()
            && let Ok(count) = self.socket.try_write(self.outgoing.filled())
        {
            self.outgoing.consume(count);
            self.outgoing.release();
        }
        loop {
            if self.has_arrived() {
                return true;
            }
            if self.incoming.is_full() {
                // Into no room, zero bytes would be read, which means the end.
                self.incoming.enlarge();
            }
            match self.socket.try_read(self.incoming.spare()) {
                Ok(0) => self.end = Some(End::Cut),
                Ok(count) => self.incoming.fill(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.incoming.release();
                    return false;
                }
                Err(error) => self.end = Some(End::Lost(error.kind())),
            }
            self.decode(None);
        }
    }

    /// As [`Stream::poll_write_both`].
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        first: &[u8],
        then: &[u8],
    ) -> Poll<io::Result<usize>> {
        // More on top of what the kernel has no room for would have no bound.
        if self.is_blocked {
            ready!(self.poll_flush(cx))?;
        }
        if self.has_sent_close || matches!(self.end, Some(End::Broken(_))) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = self.encrypt(first, then)?;
        // What is encrypted is taken, whether it can leave or not.
        let _ = self.poll_flush(cx)?;
        Poll::Ready(Ok(count))
    }

    /// As [`Stream::poll_shutdown`], after a close_notify.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.has_sent_close {
            self.has_sent_close = true;
            self.move_tickets();
            // Broken connections have had their alert.
            if !matches!(self.end, Some(End::Broken(_))) {
                self.seal(Plaintext::CloseNotify)?;
                // What has no room in the kernel goes the ordinary way.
                if let Ok(count) = self.socket.try_write_last(self.outgoing.filled()) {
                    self.outgoing.consume(count);
                }
            }
        }
        ready!(self.poll_flush(cx))?;
        self.socket.poll_shutdown(cx)
    }

    /// True if there is something for a reader.
    fn has_arrived(&self) -> bool {
        self.plain > 0 || self.end.is_some()
    }

    /// Gives `buffer` plaintext that was left.
    fn take_plain(&mut self, buffer: &mut Buffer) -> usize {
        let count = buffer.append(&self.incoming.filled()[..self.plain]);
        self.incoming.consume(count);
        self.incoming.release();
        self.plain -= count;
        count
    }

    /// Ready once there are more bytes to decode, or the end is known. Holds no memory for bytes
    /// that have not arrived.
    fn poll_receive(&mut self, cx: &mut Context<'_>, is_much: bool) -> Poll<()> {
        if is_much || self.incoming.is_full() {
            self.incoming.enlarge();
        }
        match self.socket.poll_read(cx, &mut self.incoming) {
            Poll::Ready(Ok(0)) => self.end = Some(End::Cut),
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => self.end = Some(End::Lost(error.kind())),
            Poll::Pending => {
                self.incoming.release();
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// Decrypts all whole records: into `buffer` what it has room for, and the rest in place.
    /// Returns how much went into `buffer`.
    fn decode(&mut self, mut buffer: Option<&mut Buffer>) -> usize {
        let mut given = 0;
        let mut spilled = Buffer::default();
        let mut next = self.plain;
        while self.end.is_none() {
            let is_first = self.plain == 0;
            let step = self.session.step(
                &mut self.incoming.filled_mut()[next..],
                &mut self.outgoing,
                &mut |data| {
                    let fits = match &mut buffer {
                        Some(buffer) if is_first => buffer.append(data),
                        _ => 0,
                    };
                    given += fits;
                    spilled.append(&data[fits..]);
                },
            );
            next += step.consumed;
            // A record is longer than the plaintext in it, so there is room where it stood.
            let end = self.plain + spilled.filled().len();
            self.incoming.filled_mut()[self.plain..end].copy_from_slice(spilled.filled());
            spilled.consume(end - self.plain);
            self.plain = end;
            match step.outcome {
                Ok(Outcome::StepOn) => {}
                Ok(Outcome::Idle) => break,
                Ok(Outcome::PeerClosed) => self.end = Some(End::Closed),
                Err(error) => {
                    self.session.encode_alert(&mut self.outgoing);
                    self.end = Some(End::Broken(error));
                }
            }
        }
        if self.end.is_some() {
            next = self.incoming.filled().len();
        }
        self.incoming.remove(self.plain, next);
        self.incoming.release();
        given
    }

    /// Appends records with some of `first` and `then` to what is to be sent; returns how much.
    fn encrypt(&mut self, first: &[u8], then: &[u8]) -> io::Result<usize> {
        self.move_tickets();
        if first.is_empty() || then.is_empty() || first.len() >= RECORD_PLAINTEXT_MAX {
            return self.encrypt_one(if first.is_empty() { then } else { first });
        }
        // A head and the data behind it share a record, whose plaintext has to be in one piece.
        let mut record = Buffer::default();
        record.append(first);
        let of_then = record.append(then);
        self.encrypt_one(record.filled())?;
        let count = record.filled().len() + self.encrypt_one(&then[of_then..])?;
        Ok(count)
    }

    fn encrypt_one(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        const LONGEST: usize = RECORD_PLAINTEXT_MAX + RECORD_OVERHEAD;
        let records = bytes.len().div_ceil(RECORD_PLAINTEXT_MAX);
        if self.outgoing.spare().len() < bytes.len() + records * RECORD_OVERHEAD + SEAL_ROOM {
            self.outgoing.enlarge();
        }
        let room = self.outgoing.spare().len().saturating_sub(SEAL_ROOM);
        let fits = room / LONGEST * RECORD_PLAINTEXT_MAX
            + (room % LONGEST).saturating_sub(RECORD_OVERHEAD);
        let count = bytes.len().min(fits);
        self.seal(Plaintext::Data(&bytes[..count]))?;
        Ok(count)
    }

    fn seal(&mut self, plaintext: Plaintext<'_>) -> io::Result<()> {
        let rest = &mut self.incoming.filled_mut()[self.plain..];
        let sealed = self.session.seal(rest, plaintext, self.outgoing.spare());
        self.outgoing.fill(sealed.map_err(|error| broken(&error))?);
        Ok(())
    }

    /// Puts the tickets before what is written first.
    fn move_tickets(&mut self) {
        if !self.tickets.is_empty() {
            self.outgoing.append(&std::mem::take(&mut self.tickets));
        }
    }

    /// Sends what is encrypted.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let sent = self.socket.poll_write(cx, self.outgoing.filled());
            self.is_blocked = sent.is_pending();
            match ready!(sent)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.outgoing.consume(count),
            }
        }
        self.outgoing.release();
        Poll::Ready(Ok(()))
    }
}

/// The plaintext of a record fits into a small buffer.
const _: () = assert!(RECORD_PLAINTEXT_MAX <= SMALL);

impl End {
    /// What a reader learns; nothing, if it is an end like others.
    fn result(&self) -> io::Result<()> {
        match self {
            Self::Closed => Ok(()),
            Self::Cut => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "closed without a close_notify",
            )),
            Self::Lost(kind) => Err((*kind).into()),
            Self::Broken(error) => Err(broken(error)),
        }
    }
}

fn broken(error: &rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, TlsFault::new(error))
}

#[cfg(test)]
impl TlsStream {
    pub(super) fn holds_memory(&self) -> bool {
        self.incoming.has_memory() || self.outgoing.has_memory()
    }

    /// Sends session tickets without waiting for a write.
    pub(super) fn send_tickets(&mut self) {
        let tickets = std::mem::take(&mut self.tickets);
        assert!(!tickets.is_empty());
        assert_eq!(self.socket.try_write(&tickets).unwrap(), tickets.len());
    }

    /// A record that is not sent.
    pub(super) fn encrypted(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.encrypt(bytes, &[]).unwrap();
        std::mem::take(&mut self.outgoing).filled().to_vec()
    }
}
