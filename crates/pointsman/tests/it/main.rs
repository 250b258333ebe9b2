//! The whole load balancer between scripted clients and endpoints.
//!
//! `harness` is the only module that knows the program's API; `mix` has one of each kind of client
//! and endpoint. Each test starts its own balancer on ports of its own.

mod agents;
mod balancing;
mod busy;
mod concurrency;
mod crosstalk;
mod desync;
mod detect;
mod endpoint_faults;
mod failover;
mod forwarding;
mod grpc;
mod h2;
mod h2_attacks;
mod h2_faults;
mod harness;
mod hashing;
mod hedging;
mod identity;
mod levels;
mod lifecycle;
mod limits;
mod mix;
mod passthrough;
mod process;
mod proxy_protocol;
mod rejections;
mod relay_faults;
mod resilience;
mod seeing;
mod semantics;
mod sockets;
mod sticky;
mod tcp;
mod tls;
mod trials;
mod udp;
mod upgrades;
mod versions;
mod websocket;
