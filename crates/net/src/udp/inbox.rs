//! Memory that datagrams are received into.

use std::io;
use std::mem::size_of;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr::{self, NonNull};

use super::address::RawAddress;
use super::control::{Noted, ROOM, Room};
use super::message::{BATCH, header};

/// Bytes of one message: a datagram, or a run of them that the kernel has put together, is never
/// longer than the 16 bits of its length field can say.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Between messages, so that their first bytes, which is all that most have, do not compete for
/// the same place in the processor's caches.
const SPREAD: usize = 3 * 64;

/// Memory for the datagrams of one system call, to be shared by all sockets of a worker.
///
/// It is 2 MiB of addresses, with memory behind those that datagrams have reached: 128 KiB while
/// all of them are short.
#[derive(Debug)]
pub struct Inbox {
    memory: NonNull<Memory>,
    /// Messages that the last call has received.
    count: usize,
    /// Where they were sent to if they do not say so.
    local: Option<IpAddr>,
}

/// Behind a pointer and not a reference: the kernel writes here by pointers that `headers` hold,
/// from one call to the next.
struct Memory {
    headers: [libc::mmsghdr; BATCH],
    parts: [libc::iovec; BATCH],
    peers: [RawAddress; BATCH],
    controls: [Room; BATCH],
    messages: [[u8; MESSAGE_BYTES_MAX + SPREAD]; BATCH],
}

/// A datagram that was received.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// What it says, which may be nothing.
    pub bytes: &'a [u8],
    /// Who sent it. A client of IPv4 has an address of IPv4 on sockets that take both.
    pub peer: SocketAddr,
    /// Our address that it was sent to, on sockets of [`crate::bind_udp`]; `None` on others and if
    /// it was sent to a group or to everybody, where each of the sockets has received it.
    pub local: Option<IpAddr>,
}

impl Default for Inbox {
    #[expect(unsafe_code, reason = "the headers hold pointers into the memory")]
    fn default() -> Self {
        // SAFETY: integers, and pointers that may be null.
        let memory: Box<Memory> = unsafe { Box::new_zeroed().assume_init() };
        let memory = NonNull::from(Box::leak(memory));
        let all = memory.as_ptr();
        for index in 0..BATCH {
            // SAFETY: `memory` is ours and the index is within each array. The pointers stay
            // valid until `drop`, as nothing moves the memory.
            unsafe {
                let part = &raw mut (*all).parts[index];
                (*part).iov_base = (&raw mut (*all).messages[index]).cast();
                (*part).iov_len = MESSAGE_BYTES_MAX;
                (*all).headers[index] = header(
                    &raw mut (*all).peers[index],
                    part,
                    (&raw mut (*all).controls[index]).cast(),
                    ROOM,
                );
            }
        }
        Self {
            memory,
            count: 0,
            local: None,
        }
    }
}

impl Drop for Inbox {
    #[expect(unsafe_code, reason = "the memory came out of a box")]
    fn drop(&mut self) {
        // SAFETY: it was leaked out of a box in `default`, and nobody has it after us.
        drop(unsafe { Box::from_raw(self.memory.as_ptr()) });
    }
}

impl Inbox {
    /// The datagrams that the last call has received, in order.
    pub fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        (0..self.count).flat_map(|index| {
            let (bytes, peer, noted) = self.message(index);
            let local = noted.local.or(self.local);
            // A message without bytes is a datagram too.
            let segment_bytes = noted.segment_bytes.unwrap_or(MESSAGE_BYTES_MAX);
            let empty = bytes.is_empty().then_some(bytes);
            empty
                .into_iter()
                .chain(bytes.chunks(segment_bytes))
                .map(move |bytes| Datagram { bytes, peer, local })
        })
    }

    /// Receives what there is, into the place of what there was. True if there may be more.
    #[expect(unsafe_code, reason = "a system call without a safe wrapper")]
    pub(super) fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        local: Option<IpAddr>,
    ) -> io::Result<bool> {
        let all = self.memory.as_ptr();
        for index in 0..self.count {
            // SAFETY: `memory` is ours and the index is within the array.
            unsafe {
                let header = &raw mut (*all).headers[index].msg_hdr;
                (*header).msg_namelen = size_of::<RawAddress>() as libc::socklen_t;
                (*header).msg_controllen = ROOM as _;
            }
        }
        (self.count, self.local) = (0, local);
        // SAFETY: the headers point at memory of the lengths that they say, all of it ours, and
        // no reference into it is alive, as `self` is borrowed alone.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                (&raw mut (*all).headers).cast(),
                BATCH as libc::c_uint,
                0,
                ptr::null_mut(),
            )
        };
        self.count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        Ok(self.count == BATCH)
    }

    /// A message that was received.
    #[expect(unsafe_code, reason = "the kernel has written through pointers")]
    fn message(&self, index: usize) -> (&[u8], SocketAddr, Noted) {
        assert!(index < self.count, "only what was received can be read");
        // SAFETY: `memory` is ours, and nothing writes into it while `self` is borrowed.
        let all = unsafe { self.memory.as_ref() };
        let header = &all.headers[index];
        let bytes = &all.messages[index][..header.msg_len as usize];
        let control_bytes: usize = header.msg_hdr.msg_controllen as _;
        let control = &all.controls[index].0[..control_bytes];
        (bytes, all.peers[index].get(), Noted::read(control))
    }
}
