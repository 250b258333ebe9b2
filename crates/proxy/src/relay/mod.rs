//! What is passed on without being understood: connections ([`tcp`]) and datagrams ([`udp`]). The
//! same steps as for a request, without messages: route, admit, connect, forward, record.

pub(crate) mod tcp;
pub(crate) mod udp;
