//! The validated config. If you hold it, it is valid.

use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use balance::{Address, EndpointSettings, HedgeSettings, PoolSettings, RetrySettings};
use ipnet::IpNet;

use crate::Secret;

/// Everything the file says, with defaults filled in and names resolved to indices.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Request workers; `None`: one per core that the process may use.
    pub workers: Option<NonZeroUsize>,
    /// What keys are derived from that must outlive the process.
    pub secret: Option<Secret>,
    /// The admin API.
    pub admin: Admin,
    /// The access log.
    pub access_log: AccessLog,
    /// At least one.
    pub listeners: Vec<Listener>,
    /// Referred to by index from `routes`.
    pub pools: Vec<Pool>,
    /// Referred to by index from each listener: first those of the file, then one for each thing
    /// that is relayed.
    pub routes: Vec<Route>,
}

/// The admin API and metrics.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Loopback by default; `None` when switched off.
    pub bind: Option<SocketAddr>,
}

/// The access log: one JSON line per exchange.
#[derive(Debug, Clone)]
pub struct AccessLog {
    /// Where lines go.
    pub sink: AccessLogSink,
}

/// Where access log lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLogSink {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// Appended to a file.
    File(PathBuf),
}

/// Addresses we accept on, and what every client there must keep to.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Unique among listeners.
    pub name: Box<str>,
    /// At least one.
    pub bind: Vec<Address>,
    /// Bounds of a request head.
    pub limits: HeadLimits,
    /// How long clients may take.
    pub timeouts: ListenerTimeouts,
    /// What is spoken there.
    pub protocol: ListenerProtocol,
    /// The routes of this listener; values are indices into [`Snapshot::routes`].
    pub routes: route::Table,
    /// Where connections and flows go that are no HTTP: an index into [`Snapshot::routes`].
    /// Always there for UDP. Without it a connection is refused that is not HTTP, and that
    /// `passthrough` does not take.
    pub relay: Option<usize>,
    /// TLS connections that are passed on as they are, by the names that clients ask for; values
    /// are indices into [`Snapshot::routes`].
    pub passthrough: route::Names,
    /// Clients speak TLS.
    pub tls: Option<ListenerTls>,
    /// Clients may speak HTTP/2: by ALPN where there is TLS, else with prior knowledge. True by
    /// default with TLS, false by default without.
    pub http2: bool,
    /// Bounds of an HTTP/2 connection.
    pub http2_limits: Http2Limits,
    /// Connections begin with a PROXY header.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Clients whose word about where a request comes from is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// Every request is answered with a redirect to HTTPS at this port.
    pub redirect_to_https: Option<u16>,
    /// How its sockets are made.
    pub socket: ListenerSocket,
}

/// What is spoken on a listener.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ListenerProtocol {
    /// HTTP, with TLS or without.
    #[default]
    Http,
    /// Any protocol on TCP: bytes are relayed.
    Tcp,
    /// TLS, HTTP or something else, whichever the first bytes of a connection say.
    Detect {
        /// A client that is silent for so long waits for the server to speak first.
        patience: Duration,
    },
    /// Any protocol on UDP: datagrams are relayed.
    Udp(UdpSettings),
}

impl ListenerProtocol {
    /// True if requests come here, and routes say where they go.
    pub fn has_requests(&self) -> bool {
        matches!(self, Self::Http | Self::Detect { .. })
    }
}

/// How datagrams are relayed. A client's datagrams belong to one flow, at one endpoint, until the
/// flow is idle for the time-out of its route's tunnels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpSettings {
    /// A flow ends after so many datagrams of the endpoint for each one of the client; `None`: by
    /// time alone.
    pub replies: Option<NonZeroU32>,
    /// Flows at once, over all workers; with more, the longest idle one goes.
    pub flows_max: NonZeroUsize,
}

/// TLS with clients.
#[derive(Debug, Clone)]
pub struct ListenerTls {
    /// What we show.
    pub certificates: Certificates,
    /// Versions and ciphers.
    pub policy: TlsPolicy,
    /// Whether clients show a certificate too.
    pub client: Option<ClientCertificates>,
    /// A request whose authority is not what the client asked for by SNI is answered with 421
    /// (RFC 9110 §15.5.20). Always so where clients show certificates.
    pub strict_sni: bool,
    /// Seconds of `Strict-Transport-Security`; `None`: it is not sent.
    pub hsts_seconds: Option<u64>,
}

/// The certificates of a listener.
#[derive(Debug, Clone)]
pub enum Certificates {
    /// Made at the start, for development.
    SelfSigned,
    /// At least one; the first is shown to clients that ask for no name, or for one that no
    /// certificate has.
    Files(Vec<CertificateFiles>),
}

/// A certificate chain and its key, in PEM files; checked to belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Which versions and ciphers of TLS are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsPolicy {
    /// TLS 1.3 alone.
    Modern,
    /// TLS 1.2 with forward secrecy and authenticated encryption, and TLS 1.3.
    #[default]
    Intermediate,
}

/// What is asked of clients' certificates, and what endpoints are told of them.
#[derive(Debug, Clone)]
pub struct ClientCertificates {
    /// PEM file with the authorities that may have issued them.
    pub ca: PathBuf,
    /// PEM file with revocation lists.
    pub crl: Option<PathBuf>,
    /// A client without one is refused.
    pub required: bool,
    /// Field names that carry the subject, the subject's alternative names and the SHA-256
    /// fingerprint to endpoints. Never accepted from clients.
    pub headers: ClientCertificateHeaders,
}

/// Names of fields, in lower case; `None`: not sent.
#[derive(Debug, Clone, Default)]
pub struct ClientCertificateHeaders {
    /// The subject, as RFC 4514 writes it.
    pub subject: Option<Box<str>>,
    /// Subject alternative names, `DNS:a.example, URI:spiffe://x`.
    pub san: Option<Box<str>>,
    /// SHA-256 of the certificate, 64 hexadecimal digits.
    pub fingerprint: Option<Box<str>>,
}

/// Bounds of an HTTP/2 connection, those of a head ([`HeadLimits`]) aside.
#[derive(Debug, Clone, Copy)]
pub struct Http2Limits {
    /// Streams that are open at once.
    pub streams: u32,
    /// Bytes of one stream that arrive before they are passed on.
    pub stream_window: u32,
    /// Bytes of all streams of a connection that arrive before they are passed on.
    pub connection_window: u32,
}

/// A PROXY header at the beginning of connections.
#[derive(Debug, Clone)]
pub struct ProxyProtocol {
    /// Who may send one.
    pub from: Vec<IpNet>,
    /// A connection from there without one is closed.
    pub required: bool,
}

/// How the sockets of a listener are made.
#[derive(Debug, Clone, Default)]
pub struct ListenerSocket {
    /// Name of the network interface that is listened on alone.
    pub interface: Option<Box<str>>,
    /// Connections that the kernel holds until they are accepted.
    pub backlog: Option<u32>,
    /// `[::]` takes IPv4 clients too.
    pub dual_stack: bool,
    /// Length of the queue of TCP Fast Open; `None`: off.
    pub fast_open: Option<u32>,
    /// What its connections have.
    pub connection: SocketOptions,
}

/// Options of a TCP connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketOptions {
    /// Small writes leave at once (TCP_NODELAY).
    pub nodelay: bool,
    /// Idle time before the first probe of a silent peer (SO_KEEPALIVE); `None`: no probes.
    pub keep_alive: Option<Duration>,
    /// How long sent data may stay unacknowledged (TCP_USER_TIMEOUT); `None`: the kernel decides.
    pub user_timeout: Option<Duration>,
}

/// TLS with endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PoolTls {
    /// PEM file with the authorities that endpoints are verified against; `None`: those of the
    /// system.
    pub ca: Option<PathBuf>,
    /// The name that certificates are for, and that is asked for by SNI; `None`: the host that the
    /// endpoint's address was written with, or the address.
    pub name: Option<Box<str>>,
    /// The certificate that we show.
    pub certificate: Option<CertificateFiles>,
    /// Certificates are not looked at: whoever answers at the address is believed.
    pub is_unverified: bool,
}

/// What is spoken with endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpstreamProtocol {
    /// HTTP/1.1
    #[default]
    H1,
    /// HTTP/2: by ALPN where there is TLS, else with prior knowledge.
    H2,
    /// What the endpoint chooses by ALPN; HTTP/1.1 without TLS.
    Auto,
}

/// Version of a PROXY header that is sent to endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary, with what is known of TLS.
    V2,
}

/// Bounds of a request head, and of a response head.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// First line and fields together.
    pub head_bytes: usize,
    /// Field lines.
    pub fields: usize,
    /// The request line alone.
    pub line_bytes: usize,
}

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub struct ListenerTimeouts {
    /// From the first byte of a request to the end of its head.
    pub head: Duration,
    /// Between two requests on a connection.
    pub idle: Duration,
    /// Without progress while a request body is read or a response is written.
    pub body: Duration,
}

/// A named set of endpoints sharing one policy.
#[derive(Debug, Clone)]
pub struct Pool {
    /// Policy, checks, queue.
    pub settings: PoolSettings,
    /// At least one, names unique.
    pub endpoints: Vec<EndpointSettings>,
    /// How long an unused connection to an endpoint is kept, unless the endpoint announces less.
    pub keep_alive_idle: Duration,
    /// Endpoints speak TLS.
    pub tls: Option<PoolTls>,
    /// What endpoints speak.
    pub protocol: UpstreamProtocol,
    /// Connections begin with a PROXY header. Each then belongs to one client connection.
    pub proxy_protocol: Option<ProxyVersion>,
    /// How connections are made.
    pub socket: PoolSocket,
}

/// How connections to endpoints are made.
#[derive(Debug, Clone, Default)]
pub struct PoolSocket {
    /// The address that connections come from; `None`: the kernel chooses.
    pub source: Option<IpAddr>,
    /// Name of the network interface that connections leave by.
    pub interface: Option<Box<str>>,
    /// The first bytes leave with the first packet where the endpoint allows (TCP Fast Open).
    pub fast_open: bool,
    /// What they have.
    pub connection: SocketOptions,
}

/// What to do with a request that the route's matchers chose.
#[derive(Debug, Clone)]
pub struct Route {
    /// For logs and metrics: the matchers as written, e.g. `shop.example/api/`; `default` for a
    /// route without any.
    pub name: Box<str>,
    /// Index into [`Snapshot::pools`].
    pub pool: usize,
    /// Route over pool over default, merged.
    pub timeouts: RouteTimeouts,
    /// When a request moves to another endpoint. Route over pool over default.
    pub retry: RetrySettings,
    /// When a slow request gets a second copy; `None`: never. Route over pool over default.
    pub hedge: Option<HedgeSettings>,
    /// Protocols that a request may upgrade to, in lower case; `["websocket"]` by default.
    pub upgrades: Vec<Box<str>>,
    /// TRACE is forwarded; false by default, because it echoes credentials.
    pub allow_trace: bool,
}

/// How long an endpoint may take for a request on a route.
#[derive(Debug, Clone, Copy)]
pub struct RouteTimeouts {
    /// To establish a connection.
    pub connect: Duration,
    /// From the request sent to the response head received.
    pub response: Duration,
    /// Without progress while a body is exchanged with the endpoint.
    pub body: Duration,
    /// Without traffic in either direction of an upgraded connection, or one that is relayed, or a
    /// flow.
    pub tunnel: Duration,
    /// The whole exchange; `None`: no bound.
    pub total: Option<Duration>,
}

impl Default for Http2Limits {
    /// Windows as large as keep a client of 20 Mbit/s at 100 ms busy, and as few bytes as a
    /// thousand stalled uploads may hold.
    fn default() -> Self {
        Self {
            streams: 100,
            stream_window: 256 * 1024,
            connection_window: 1024 * 1024,
        }
    }
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            nodelay: true,
            keep_alive: None,
            user_timeout: None,
        }
    }
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            head_bytes: 32 * 1024,
            fields: 100,
            line_bytes: 8 * 1024,
        }
    }
}

impl Default for ListenerTimeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            body: Duration::from_secs(60),
        }
    }
}

impl Default for RouteTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            response: Duration::from_secs(60),
            body: Duration::from_secs(60),
            tunnel: Duration::from_secs(3600),
            total: None,
        }
    }
}
