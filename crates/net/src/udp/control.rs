//! What a message carries beside its bytes (`cmsg(3)`): our address, and the length of the
//! datagrams that it is made of.

use std::mem::{self, offset_of, size_of};
use std::net::IpAddr;

use libc::{c_int, c_uint, cmsghdr};

use super::address::{in_addr, in6_addr};

/// Enough for an address of IPv6, one of IPv4 and a length; nothing else is asked for.
pub(super) const ROOM: usize = 96;

/// Memory for control messages, aligned as they are.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Room(pub(super) [u8; ROOM]);

/// Control messages to send.
pub(super) struct Control {
    room: Room,
    length: usize,
}

impl Control {
    pub(super) const EMPTY: Self = Self {
        room: Room([0; ROOM]),
        length: 0,
    };

    /// Lets a message leave from this address of ours; `is_ipv6` is the family of the socket.
    pub(super) fn add_local(&mut self, local: IpAddr, is_ipv6: bool) {
        match local {
            IpAddr::V4(local) if !is_ipv6 => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: in_addr(local),
                    ipi_addr: in_addr(local),
                };
                self.add(libc::IPPROTO_IP, libc::IP_PKTINFO, info);
            }
            local => {
                let info = libc::in6_pktinfo {
                    ipi6_addr: in6_addr(local),
                    ipi6_ifindex: 0,
                };
                self.add(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
            }
        }
    }

    /// Lets the kernel cut a message into datagrams of `bytes`, the last one perhaps shorter.
    pub(super) fn add_segment_bytes(&mut self, bytes: u16) {
        self.add(libc::IPPROTO_UDP, libc::UDP_SEGMENT, bytes);
    }

    #[expect(unsafe_code, reason = "the kernel's structures are written as bytes")]
    fn add<T: Copy>(&mut self, level: c_int, kind: c_int, value: T) {
        let (length, space) = (message_length(size_of::<T>()), space(size_of::<T>()));
        assert!(
            self.length + space <= ROOM,
            "there is room for one of each kind"
        );
        // SAFETY: integers. Some C libraries have one more among them.
        let mut header: cmsghdr = unsafe { mem::zeroed() };
        header.cmsg_len = length as _;
        header.cmsg_level = level;
        header.cmsg_type = kind;
        // SAFETY: both end within `space`, which there is, as was just checked; neither write
        // needs an alignment.
        unsafe {
            let at = self.room.0.as_mut_ptr().add(self.length);
            at.cast::<cmsghdr>().write_unaligned(header);
            at.add(message_length(0)).cast::<T>().write_unaligned(value);
        }
        self.length += space;
    }

    /// All of them.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.room.0[..self.length]
    }
}

/// What the control messages of a received message say.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Noted {
    /// Our address that it was sent to; `None` also if it was sent to others too.
    pub(super) local: Option<IpAddr>,
    /// It is datagrams of this length, the last one perhaps shorter.
    pub(super) segment_bytes: Option<usize>,
}

impl Noted {
    /// Reads control messages that the kernel has written.
    pub(super) fn read(mut control: &[u8]) -> Self {
        let mut noted = Self::default();
        while let Some(header) = header(control) {
            let length: usize = header.cmsg_len as _;
            let Some(value) = control.get(message_length(0)..length) else {
                break;
            };
            match (header.cmsg_level, header.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    // The address that the datagram says, and the one of ours to answer from.
                    // They differ if the first is that of a group, or of everybody.
                    let said = ip_at(value, offset_of!(libc::in_pktinfo, ipi_addr));
                    let ours = ip_at(value, offset_of!(libc::in_pktinfo, ipi_spec_dst));
                    noted.local = said.filter(|_| said == ours);
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    const { assert!(offset_of!(libc::in6_pktinfo, ipi6_addr) == 0) };
                    noted.local = value
                        .first_chunk::<16>()
                        .map(|local| IpAddr::from(*local).to_canonical())
                        .filter(|local| !local.is_multicast());
                }
                (libc::IPPROTO_UDP, libc::UDP_GRO) => {
                    noted.segment_bytes = value
                        .first_chunk()
                        .and_then(|bytes| usize::try_from(c_int::from_ne_bytes(*bytes)).ok())
                        .filter(|bytes| *bytes > 0);
                }
                _ => {}
            }
            control = control.get(space(value.len())..).unwrap_or_default();
        }
        noted
    }
}

/// The address of IPv4 at this place of a value.
fn ip_at(value: &[u8], offset: usize) -> Option<IpAddr> {
    let ip = value.get(offset..)?.first_chunk::<4>()?;
    Some(IpAddr::from(*ip))
}

/// The header that `control` begins with.
#[expect(unsafe_code, reason = "the kernel's structures are read from bytes")]
fn header(control: &[u8]) -> Option<cmsghdr> {
    // SAFETY: there are enough bytes, the read needs no alignment, and any bytes are valid for a
    // structure of integers.
    (control.len() >= size_of::<cmsghdr>())
        .then(|| unsafe { control.as_ptr().cast::<cmsghdr>().read_unaligned() })
}

/// Bytes of a control message with a value of so many.
#[expect(unsafe_code, reason = "libc declares arithmetic so")]
const fn message_length(value: usize) -> usize {
    // SAFETY: it computes a number from a number.
    unsafe { libc::CMSG_LEN(value as c_uint) as usize }
}

/// The same with the bytes up to the next control message.
#[expect(unsafe_code, reason = "libc declares arithmetic so")]
const fn space(value: usize) -> usize {
    // SAFETY: it computes a number from a number.
    unsafe { libc::CMSG_SPACE(value as c_uint) as usize }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        for (local, is_ipv6) in [
            ("192.0.2.1", false),
            ("192.0.2.1", true),
            ("2001:db8::1", true),
        ] {
            let local: IpAddr = local.parse().unwrap();
            let mut control = Control::EMPTY;
            control.add_local(local, is_ipv6);
            control.add_segment_bytes(1200);
            let noted = Noted::read(control.bytes());
            assert_eq!(noted.local, Some(local));
            // The length has another name and another width when it is received.
            assert_eq!(noted.segment_bytes, None);
        }
    }

    #[test]
    fn the_length_of_datagrams_is_found_behind_the_address() {
        let mut control = Control::EMPTY;
        control.add_local(IpAddr::from([127, 0, 0, 2]), false);
        control.add(libc::IPPROTO_UDP, libc::UDP_GRO, 1200 as c_int);
        let expected = Noted {
            local: Some(IpAddr::from([127, 0, 0, 2])),
            segment_bytes: Some(1200),
        };
        assert_eq!(Noted::read(control.bytes()), expected);
    }

    #[test]
    fn what_was_sent_to_everybody_was_not_sent_to_an_address_of_ours() {
        // On a socket that takes both, there are both.
        for is_ipv6 in [false, true] {
            let mut control = Control::EMPTY;
            if is_ipv6 {
                control.add_local(IpAddr::from([127, 255, 255, 255]), true);
            }
            let info = libc::in_pktinfo {
                ipi_ifindex: 1,
                ipi_spec_dst: in_addr([127, 0, 0, 1].into()),
                ipi_addr: in_addr([127, 255, 255, 255].into()),
            };
            control.add(libc::IPPROTO_IP, libc::IP_PKTINFO, info);
            assert_eq!(Noted::read(control.bytes()).local, None);
        }
    }

    #[test]
    fn bytes_that_are_no_control_messages_say_nothing() {
        let mut control = Control::EMPTY;
        control.add(libc::IPPROTO_UDP, libc::UDP_GRO, 0 as c_int);
        assert_eq!(Noted::read(control.bytes()), Noted::default());
        let mut control = Control::EMPTY;
        control.add_local(IpAddr::from([127, 0, 0, 2]), false);
        for end in 0..control.bytes().len() - 4 {
            assert_eq!(Noted::read(&control.bytes()[..end]), Noted::default());
        }
        for byte in [0, 1, 15, 16, 0xff] {
            assert_eq!(Noted::read(&[byte; ROOM]), Noted::default());
        }
    }
}
