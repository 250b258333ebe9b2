//! What is measured: one row for each kind of traffic.

use anyhow::{Context, Result};

use super::peer::Service;
use crate::traffic::Pace;

/// One kind of traffic, and the figure that is taken from it.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) protocol: Protocol,
    pub(crate) path: &'static str,
    pub(crate) answer_bytes: u64,
    pub(crate) body_bytes: usize,
    pub(crate) connections: usize,
    pub(crate) pace: Pace,
    pub(crate) figure: Figure,
}

/// What clients speak. Endpoints are spoken to in HTTP/1.1, or in datagrams.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Protocol {
    Http1,
    /// HTTP/1.1 by TLS.
    Tls,
    /// HTTP/2 by TLS, from h2load with this many requests at once on each connection.
    Http2 {
        streams: usize,
    },
    /// HTTP/1.1 that is passed on as bytes.
    Tcp,
    /// Datagrams that come back.
    Udp,
}

/// The figure that a scenario is about.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Figure {
    /// CPU time per request, in microseconds.
    RunTime,
    /// The same traffic at a fixed rate: latency, in microseconds.
    Latency,
    /// Memory per idle connection, in KiB.
    Memory,
    /// System calls per request.
    SystemCalls,
}

/// Every scenario. To add one, add its row.
pub(crate) const SCENARIOS: &[Scenario] = &[
    SMALL,
    Scenario {
        name: "h1_100k",
        title: "100 KiB answers, keep-alive, 64 connections",
        path: "/100k",
        answer_bytes: 100 * 1024,
        ..SMALL
    },
    Scenario {
        name: "h1_post",
        title: "POST of 10 KiB, empty answers, keep-alive, 64 connections",
        path: "/0",
        answer_bytes: 0,
        body_bytes: 10 * 1024,
        ..SMALL
    },
    Scenario {
        name: "h1_close",
        title: "1 KiB answers, a new connection for each request, 64 at a time",
        pace: Pace::OncePerConnection {
            ask_for_close: true,
        },
        ..SMALL
    },
    Scenario {
        name: "tls_1k",
        title: "1 KiB answers by TLS 1.3, keep-alive, 64 connections",
        protocol: Protocol::Tls,
        ..SMALL
    },
    Scenario {
        name: "tls_hs",
        title: "1 KiB answers, a new connection and a full handshake (TLS 1.3, ECDSA P-256) for each request, 64 at a time",
        protocol: Protocol::Tls,
        pace: Pace::OncePerConnection {
            ask_for_close: true,
        },
        ..SMALL
    },
    Scenario {
        name: "h2_1k",
        title: "1 KiB answers by HTTP/2 over TLS 1.3, 8 connections with 32 requests at once each",
        protocol: Protocol::Http2 { streams: 32 },
        connections: 8,
        ..SMALL
    },
    Scenario {
        name: "tcp_1k",
        title: "1 KiB answers passed on as bytes of TCP, 64 connections",
        protocol: Protocol::Tcp,
        ..SMALL
    },
    Scenario {
        name: "tcp_1m",
        title: "1 MiB answers passed on as bytes of TCP, 16 connections",
        protocol: Protocol::Tcp,
        path: "/1m",
        answer_bytes: 1024 * 1024,
        connections: 16,
        ..SMALL
    },
    DATAGRAMS,
    Scenario {
        name: "udp_64_1k",
        title: "the same from 1,000 clients, 192 on their way at once",
        connections: 1000,
        ..DATAGRAMS
    },
    Scenario {
        name: "lat_12k",
        title: "latency at 12,000 requests a second, open loop, 1 KiB answers, 64 connections",
        pace: Pace::Open {
            requests_per_second: 12_000.0,
        },
        figure: Figure::Latency,
        ..SMALL
    },
    Scenario {
        name: "idle",
        title: "memory of 5,000 idle connections that made one request each",
        connections: 5000,
        pace: Pace::Idle,
        figure: Figure::Memory,
        ..SMALL
    },
    Scenario {
        name: "idle_tls",
        title: "the same by TLS 1.3",
        protocol: Protocol::Tls,
        connections: 5000,
        pace: Pace::Idle,
        figure: Figure::Memory,
        ..SMALL
    },
    Scenario {
        name: "idle_tcp",
        title: "memory of 5,000 idle connections whose bytes are passed on",
        protocol: Protocol::Tcp,
        connections: 5000,
        pace: Pace::Idle,
        figure: Figure::Memory,
        ..SMALL
    },
    Scenario {
        name: "flows_udp",
        title: "memory of 5,000 flows of one datagram and its answer each",
        connections: 5000,
        pace: Pace::Idle,
        figure: Figure::Memory,
        ..DATAGRAMS
    },
    Scenario {
        name: "sys_1k",
        title: "system calls per request (strace), 1 KiB answers, keep-alive, 64 connections",
        figure: Figure::SystemCalls,
        ..SMALL
    },
];

const SMALL: Scenario = Scenario {
    name: "h1_1k",
    title: "1 KiB answers, keep-alive, 64 connections",
    protocol: Protocol::Http1,
    path: "/1k",
    answer_bytes: 1024,
    body_bytes: 0,
    connections: 64,
    pace: Pace::Closed,
    figure: Figure::RunTime,
};

const DATAGRAMS: Scenario = Scenario {
    name: "udp_64",
    title: "datagrams of 64 bytes that come back, 64 clients with 3 on their way each",
    protocol: Protocol::Udp,
    answer_bytes: 64,
    ..SMALL
};

impl Scenario {
    /// What the load balancer is to do.
    pub(crate) fn service(&self) -> Service {
        match self.protocol {
            Protocol::Http1 | Protocol::Tls | Protocol::Http2 { .. } => Service::Http,
            Protocol::Tcp => Service::Tcp,
            Protocol::Udp => Service::Udp,
        }
    }

    /// True if clients speak TLS.
    pub(crate) fn is_secure(&self) -> bool {
        matches!(self.protocol, Protocol::Tls | Protocol::Http2 { .. })
    }

    /// Rounds beyond which nothing more is learned: counts and sizes have hardly any noise.
    pub(crate) fn rounds_max(&self) -> usize {
        match self.figure {
            Figure::RunTime | Figure::Latency => usize::MAX,
            Figure::Memory | Figure::SystemCalls => 1,
        }
    }
}

/// The scenario with this name.
pub(crate) fn find(name: &str) -> Result<&'static Scenario> {
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
    scenario.with_context(|| format!("no such scenario: {name}"))
}
