//! Addresses as the kernel reads and writes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use libc::{AF_INET, AF_INET6, sa_family_t};

/// A socket address of either family.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) union RawAddress {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl RawAddress {
    /// In the form that a socket of IPv6, or one of IPv4, takes.
    pub(super) fn new(address: SocketAddr, is_ipv6: bool) -> Self {
        let mut raw = Self {
            v6: libc::sockaddr_in6 {
                sin6_family: AF_INET6 as sa_family_t,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: 0,
                sin6_addr: in6_addr(address.ip()),
                sin6_scope_id: 0,
            },
        };
        match address {
            SocketAddr::V4(address) if !is_ipv6 => {
                // Into the bytes of the larger one, so that all of them are initialised.
                raw.v4 = libc::sockaddr_in {
                    sin_family: AF_INET as sa_family_t,
                    sin_port: address.port().to_be(),
                    sin_addr: in_addr(*address.ip()),
                    sin_zero: [0; 8],
                };
            }
            SocketAddr::V4(_) => {}
            SocketAddr::V6(address) => raw.v6.sin6_scope_id = address.scope_id(),
        }
        raw
    }

    /// The address; one of IPv4 as such, whatever the family of the socket.
    #[expect(unsafe_code, reason = "reads a union")]
    pub(super) fn get(&self) -> SocketAddr {
        // SAFETY: both are integers only, so any bytes are valid for both, and all are
        // initialised: by `new`, or as zeros that the kernel has written into.
        let (v4, v6) = unsafe { (self.v4, self.v6) };
        if i32::from(v4.sin_family) == AF_INET6 {
            let port = u16::from_be(v6.sin6_port);
            match Ipv6Addr::from(v6.sin6_addr.s6_addr).to_canonical() {
                IpAddr::V4(ip) => SocketAddrV4::new(ip, port).into(),
                IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, v6.sin6_scope_id).into(),
            }
        } else {
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into()
        }
    }
}

pub(super) fn in_addr(ip: Ipv4Addr) -> libc::in_addr {
    libc::in_addr {
        s_addr: u32::from_ne_bytes(ip.octets()),
    }
}

/// IPv6 has a place for IPv4 addresses (RFC 4291 §2.5.5.2).
pub(super) fn in6_addr(ip: IpAddr) -> libc::in6_addr {
    let ip = match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    libc::in6_addr {
        s6_addr: ip.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_as_they_were_from_sockets_of_both_families() {
        for address in ["192.0.2.7:53", "[2001:db8::7]:65535", "[fe80::1%3]:1"] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(RawAddress::new(address, true).get(), address);
            if address.is_ipv4() {
                assert_eq!(RawAddress::new(address, false).get(), address);
            }
        }
    }
}
