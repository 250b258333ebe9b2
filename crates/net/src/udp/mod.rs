//! Datagrams in batches: one system call moves as many as there are, where the kernel can.
//!
//! [`bind_udp`] makes the sockets of a listener, one for each worker; [`UdpSocket`] is such a
//! socket or one that is connected to an endpoint. [`Inbox`] is the memory that datagrams are
//! received into, and [`Outbox`] holds those that are to leave by one socket. Below them is what
//! the kernel reads and writes: messages, addresses, control messages.
//!
//! Our own system calls, and not `quinn-udp`: that sends one message a call, which is right for
//! QUIC and its few large bursts, while replies to many clients are many messages to different
//! addresses; and it forbids fragments, which a relay must let pass.
//!
//! Absent on purpose: flows (see `proxy`), ECN, TTL, multicast.

mod address;
mod bind;
mod control;
mod inbox;
mod message;
mod outbox;
mod socket;
#[cfg(test)]
mod tests;

pub use bind::bind_udp;
pub use inbox::{Datagram, Inbox};
pub use outbox::Outbox;
pub use socket::UdpSocket;
