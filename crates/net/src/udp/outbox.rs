//! Datagrams that wait to be sent.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

use smallvec::SmallVec;
use socket2::SockRef;

use super::address::RawAddress;
use super::control::Control;
use super::message::{BATCH, Message, send};

/// Datagrams that wait at most. What does not leave within a turn of the worker finds the network
/// full, where more of it would only become older.
const DATAGRAMS_MAX: usize = 1024;

/// Bytes that wait at most: four datagrams of the greatest length, 200 of the usual.
const BYTES_MAX: usize = 256 * 1024;

/// Datagrams that the kernel cuts from one message at most (`UDP_MAX_SEGMENTS`, 128 since 6.9).
const SEGMENTS_MAX: usize = 64;

/// Datagrams that are cut from a message are no longer than this: Ethernet carries them whole,
/// which the kernel demands. Longer ones cost more for their bytes than for their number.
const SEGMENT_BYTES_MAX: usize = 1452;

/// Bytes of a message at most: what IPv4 can carry.
const MESSAGE_BYTES_MAX: usize = 65_507;

/// Datagrams on their way out, by one socket.
///
/// It grows to 256 KiB of bytes as they are needed and keeps them, so it is for a listener or a
/// worker and not for each flow.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Of all datagrams, one behind the other.
    bytes: Vec<u8>,
    datagrams: Vec<Waiting>,
    /// Datagrams, from the first one on, that are done with.
    done: usize,
    /// Of those, what the kernel has refused.
    dropped: u32,
}

#[derive(Debug)]
struct Waiting {
    way: Way,
    start: usize,
    end: usize,
}

/// Where a datagram goes and from where.
#[derive(Debug, PartialEq, Eq)]
struct Way {
    peer: Option<SocketAddr>,
    local: Option<IpAddr>,
}

/// What the socket that a datagram leaves by is like.
#[derive(Debug)]
pub(super) struct Exit<'a> {
    pub(super) socket: BorrowedFd<'a>,
    pub(super) is_ipv6: bool,
    /// It has more than one address, so that each datagram has to say which one it leaves from.
    pub(super) has_addresses: bool,
    /// The kernel can cut messages into datagrams (UDP_SEGMENT), as far as is known.
    pub(super) can_segment: &'a Cell<bool>,
}

impl Outbox {
    /// Adds a datagram for `peer`, or for the peer of a connected socket, from `local` where the
    /// socket has several addresses. False if there is no room for it: it is dropped. What is
    /// empty has room for any datagram.
    pub fn push(
        &mut self,
        peer: Option<SocketAddr>,
        local: Option<IpAddr>,
        parts: [&[u8]; 2],
    ) -> bool {
        let start = self.bytes.len();
        let end = start + parts[0].len() + parts[1].len();
        if self.datagrams.len() == DATAGRAMS_MAX || end > BYTES_MAX {
            return false;
        }
        self.bytes.extend_from_slice(parts[0]);
        self.bytes.extend_from_slice(parts[1]);
        let way = Way { peer, local };
        self.datagrams.push(Waiting { way, start, end });
        true
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.datagrams.len()
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        self.done = self.datagrams.len();
        self.forget_done();
    }

    /// Sends what waits. Returns how many datagrams the kernel has refused for reasons of their
    /// own, in calls that have failed too.
    ///
    /// # Errors
    /// There is no room in the kernel, or nobody listens at the other end: what was not sent
    /// waits on.
    pub(super) fn send(&mut self, exit: &Exit<'_>) -> io::Result<u32> {
        let sent = self.send_all(exit);
        self.forget_done();
        sent.map(|()| std::mem::take(&mut self.dropped))
    }

    fn send_all(&mut self, exit: &Exit<'_>) -> io::Result<()> {
        // Up to here, no datagrams share a message.
        let mut singly = 0;
        // They were refused as one message, and not for its length.
        let mut is_cut_suspect = false;
        while self.done < self.datagrams.len() {
            let (sent, first) = if let [only] = &self.datagrams[self.done..]
                && only.way.peer.is_none()
            {
                // What most flows send, and the least that the kernel can be told.
                let bytes = &self.bytes[only.start..only.end];
                (SockRef::from(&exit.socket).send(bytes).map(|_| 1_usize), 1)
            } else {
                let messages = self.messages(exit, singly);
                let sent = send(exit.socket, &messages);
                let count = |count: usize| messages[..count].iter().map(|m| m.datagrams).sum();
                (sent.map(count), messages[0].datagrams)
            };
            let error = match sent {
                Ok(sent) => {
                    self.done += sent;
                    if std::mem::take(&mut is_cut_suspect) {
                        exit.can_segment.set(false);
                    }
                    continue;
                }
                Err(error) => error,
            };
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused => return Err(error),
                _ if first > 1 => {
                    singly = self.done + first;
                    // The path may not carry them whole. Anything else is about the kernel or the
                    // interface if one alone can leave, and about the way to the peer if not.
                    is_cut_suspect = error.raw_os_error() != Some(libc::EMSGSIZE);
                }
                _ => {
                    is_cut_suspect = false;
                    self.done += 1;
                    self.dropped += 1;
                }
            }
        }
        Ok(())
    }

    /// The next messages; datagrams before `singly` are one each.
    fn messages(&self, exit: &Exit<'_>, singly: usize) -> SmallVec<[Message<'_>; BATCH]> {
        let mut messages = SmallVec::new();
        let mut next = self.done;
        while next < self.datagrams.len() && messages.len() < BATCH {
            let first = &self.datagrams[next];
            let datagrams = if next < singly || !exit.can_segment.get() {
                1
            } else {
                self.run(next)
            };
            next += datagrams;
            let mut control = Control::EMPTY;
            if let Some(local) = first.way.local
                && exit.has_addresses
            {
                control.add_local(local, exit.is_ipv6);
            }
            if datagrams > 1 {
                // No longer than SEGMENT_BYTES_MAX.
                control.add_segment_bytes(first.length() as u16);
            }
            messages.push(Message {
                peer: first
                    .way
                    .peer
                    .map(|peer| RawAddress::new(peer, exit.is_ipv6)),
                control,
                bytes: &self.bytes[first.start..self.datagrams[next - 1].end],
                datagrams,
            });
        }
        messages
    }

    /// How many datagrams from `index` on can share a message: those that go the same way and are
    /// of the same length, and a shorter one behind them. One without bytes would vanish.
    fn run(&self, index: usize) -> usize {
        let first = &self.datagrams[index];
        let length = first.length();
        if length == 0 || length > SEGMENT_BYTES_MAX {
            return 1;
        }
        let count_max = SEGMENTS_MAX.min(MESSAGE_BYTES_MAX / length);
        let mut count = 1;
        for next in self.datagrams[index + 1..].iter().take(count_max - 1) {
            if next.way != first.way || next.length() == 0 || next.length() > length {
                break;
            }
            count += 1;
            if next.length() < length {
                break;
            }
        }
        count
    }

    fn forget_done(&mut self) {
        let start = self
            .datagrams
            .get(self.done)
            .map_or(self.bytes.len(), |next| next.start);
        self.bytes.drain(..start);
        self.datagrams.drain(..self.done);
        for waiting in &mut self.datagrams {
            waiting.start -= start;
            waiting.end -= start;
        }
        self.done = 0;
    }
}

impl Waiting {
    fn length(&self) -> usize {
        self.end - self.start
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd as _;

    use super::*;
    use crate::options::set;

    #[test]
    fn the_kernel_is_not_asked_to_cut_again_only_if_the_datagrams_leave_alone() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let can_segment = Cell::new(true);
        let exit = Exit {
            socket: socket.as_fd(),
            is_ipv6: false,
            has_addresses: true,
            can_segment: &can_segment,
        };
        let mut outbox = Outbox::default();
        // A peer of another family, and an address that is not ours any more.
        let far = "[2001:db8::1]:9".parse().unwrap();
        let gone = Some(IpAddr::from([192, 0, 2, 1]));
        let near = peer.local_addr().unwrap();
        for (peer, local) in [(far, None), (near, gone)] {
            for _ in 0..3 {
                assert!(outbox.push(Some(peer), local, [b"x", &[]]));
            }
            assert!(outbox.push(Some(near), None, [b"y", &[]]));
            assert_eq!(outbox.send(&exit).unwrap(), 3);
            assert!(can_segment.get());
        }
        // Datagrams without checksums leave one by one only.
        let of_socket = SockRef::from(&socket);
        set(&of_socket, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
        for _ in 0..3 {
            assert!(outbox.push(Some(near), None, [b"x", &[]]));
        }
        assert_eq!(outbox.send(&exit).unwrap(), 0);
        assert!(!can_segment.get());
    }
}
