//! Messages as `sendmmsg` and `recvmmsg` take them, and the sending of them.

use std::io;
use std::mem::{self, MaybeUninit, size_of};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr;

use super::address::RawAddress;
use super::control::Control;

/// Messages of one system call at most. More would save little: a call costs a microsecond, and
/// 0.4 of it for each datagram received, 2.5 for each sent.
pub(super) const BATCH: usize = 32;

/// One datagram, or several that the kernel is to cut from its bytes.
pub(super) struct Message<'a> {
    /// `None`: the peer of a connected socket.
    pub(super) peer: Option<RawAddress>,
    pub(super) control: Control,
    pub(super) bytes: &'a [u8],
    /// How many it is.
    pub(super) datagrams: usize,
}

/// Sends the first [`BATCH`] of `messages` in one system call: how many have left, at least one.
///
/// # Errors
/// What the kernel says about the first one. What is wrong with another shows when it is that.
#[expect(unsafe_code, reason = "a system call without a safe wrapper")]
pub(super) fn send(socket: BorrowedFd<'_>, messages: &[Message<'_>]) -> io::Result<usize> {
    let mut parts = [const { MaybeUninit::uninit() }; BATCH];
    let mut headers = [const { MaybeUninit::uninit() }; BATCH];
    let mut count = 0;
    for ((message, part), sent) in messages.iter().zip(&mut parts).zip(&mut headers) {
        let part = part.write(libc::iovec {
            iov_base: message.bytes.as_ptr().cast_mut().cast(),
            iov_len: message.bytes.len(),
        });
        let peer = message.peer.as_ref().map_or(ptr::null(), ptr::from_ref);
        sent.write(header(
            peer.cast_mut(),
            part,
            message.control.bytes().as_ptr().cast_mut(),
            message.control.bytes().len(),
        ));
        count += 1;
    }
    // SAFETY: `count` headers are initialised. What they point at outlives the call, and the
    // kernel only reads it, whatever the types of the pointers say; into the headers themselves
    // it writes lengths.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr().cast(), count, 0) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// A header that points at these: a peer or null, where the bytes are, control messages.
#[expect(unsafe_code, reason = "some have fields that have no name")]
pub(super) fn header(
    peer: *mut RawAddress,
    part: *mut libc::iovec,
    control: *mut u8,
    control_bytes: usize,
) -> libc::mmsghdr {
    // SAFETY: integers and pointers, which may be zero.
    let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
    header.msg_hdr.msg_name = peer.cast();
    if !peer.is_null() {
        // For either family: what is beyond an address of IPv4 is not looked at.
        header.msg_hdr.msg_namelen = size_of::<RawAddress>() as libc::socklen_t;
    }
    header.msg_hdr.msg_iov = part;
    header.msg_hdr.msg_iovlen = 1;
    if control_bytes > 0 {
        header.msg_hdr.msg_control = control.cast();
        header.msg_hdr.msg_controllen = control_bytes as _;
    }
    header
}
