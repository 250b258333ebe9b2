//! Who is measured: one row for each load balancer, with the least configuration that makes all
//! of them do the same work.
//!
//! The work: endpoints by one policy (here in turn; `balance` asks for others), keep-alive on both
//! sides, X-Forwarded-For, no access log, one worker. Everything else is the peer's default. How
//! they pass on bytes and datagrams unread is in `stream`.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use testkit::Leaf;

use super::stream;
use crate::http;
use crate::nginx;
use crate::process::{self, OWN_PROGRAM, Program};
use crate::socket;

/// A kind of load balancer.
pub(crate) struct PeerKind {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// Endpoints in turn, in its own words.
    in_turn: &'static str,
    /// Finds or builds the program. `None`: it is not installed.
    locate: fn() -> Result<Option<PathBuf>>,
    /// The command that runs it in the foreground, with the policy of this name.
    command: fn(&Path, &Setup<'_>, &str) -> Result<Command>,
    /// True if it can pass on bytes, or datagrams.
    can_stream: fn(&Path, Service) -> bool,
    /// The command that does, with the endpoints in turn.
    stream: fn(&Path, &Setup<'_>) -> Result<Command>,
}

/// What a load balancer does for its clients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Service {
    Http,
    /// Passes on the bytes of connections.
    Tcp,
    /// Passes on datagrams.
    Udp,
}

/// A load balancer that can be started.
pub(crate) struct Peer {
    pub(crate) kind: &'static PeerKind,
    program: PathBuf,
}

/// What a peer is started with.
pub(crate) struct Setup<'a> {
    /// A folder of its own.
    pub(crate) folder: &'a Path,
    /// What to do.
    pub(crate) service: Service,
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// Where to listen for TLS too, with HTTP/1.1 and HTTP/2.
    pub(crate) secure: Option<Secure<'a>>,
    /// Where to forward to.
    pub(crate) endpoints: &'a [SocketAddr],
    /// True if clients make one request per connection, which only the relay must know.
    pub(crate) once: bool,
    /// An endpoint answers this path with 200.
    pub(crate) ready_path: &'a str,
}

/// An address for TLS, and what is shown there.
pub(crate) struct Secure<'a> {
    pub(crate) listen: SocketAddr,
    pub(crate) leaf: &'a Leaf,
}

/// The relay's name: the floor that the others are compared to.
pub(crate) const FLOOR: &str = "relay";

/// Every peer. To add one, write its command and add its row.
pub(crate) const PEERS: &[PeerKind] = &[
    PeerKind {
        name: "pointsman",
        title: "the release build of this tree",
        in_turn: "round_robin",
        locate: || process::build_pointsman().map(Some),
        command: pointsman,
        can_stream: |_, _| true,
        stream: stream::pointsman,
    },
    PeerKind {
        name: FLOOR,
        title: "forwards bytes, looks at none: the floor",
        in_turn: "",
        locate: || Ok(Some(OWN_PROGRAM.into())),
        command: relay,
        can_stream: |_, _| true,
        stream: stream::relay,
    },
    PeerKind {
        name: "haproxy",
        title: "HAProxy, as installed",
        in_turn: "roundrobin",
        locate: || Ok(process::find("haproxy")),
        command: haproxy,
        can_stream: |_, service| service != Service::Udp,
        stream: stream::haproxy,
    },
    PeerKind {
        name: "nginx",
        title: "NGINX, as installed",
        in_turn: "",
        locate: || Ok(process::find("nginx")),
        command: nginx,
        can_stream: |program, _| nginx::load_stream(program).is_some(),
        stream: stream::nginx,
    },
];

impl PeerKind {
    /// True if it can choose among endpoints.
    pub(crate) fn has_policies(&self) -> bool {
        self.name != FLOOR
    }

    pub(crate) fn locate(&'static self) -> Result<Option<Peer>> {
        let program = (self.locate)()?;
        Ok(program.map(|program| self.at(program)))
    }

    /// The peer whose program is here, wherever it would be looked for.
    pub(crate) fn at(&'static self, program: PathBuf) -> Peer {
        Peer {
            kind: self,
            program,
        }
    }
}

impl Peer {
    /// True if it can do this, and by TLS if that is wanted.
    pub(crate) fn can(&self, service: Service, is_secure: bool) -> bool {
        match service {
            Service::Http => !is_secure || self.kind.name != FLOOR,
            Service::Tcp | Service::Udp => (self.kind.can_stream)(&self.program, service),
        }
    }

    /// Starts it on `cpu`, with the endpoints in turn, and waits until it answers.
    pub(crate) fn start(&self, setup: &Setup<'_>, cpu: usize) -> Result<Program> {
        self.start_with(self.kind.in_turn, setup, cpu)
    }

    /// The same with another policy, in its own words; "" is its default.
    pub(crate) fn start_with(
        &self,
        policy: &str,
        setup: &Setup<'_>,
        cpu: usize,
    ) -> Result<Program> {
        let mut command = match setup.service {
            Service::Http => (self.kind.command)(&self.program, setup, policy)?,
            Service::Tcp | Service::Udp => (self.kind.stream)(&self.program, setup)?,
        };
        let log = setup.folder.join("log");
        let output = fs::File::create(&log)?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let mut program = Program::start(command, Some(cpu))?;
        let mut has_ended = false;
        let answers = process::wait_until(START_PATIENCE, || {
            has_ended = matches!(program.child().try_wait(), Ok(Some(_)) | Err(_));
            has_ended || answers(setup)
        });
        if has_ended || !answers {
            let said = fs::read_to_string(&log).unwrap_or_default();
            bail!("{} does not answer: {said}", self.kind.name);
        }
        Ok(program)
    }
}

/// True if a request through the load balancer is answered by an endpoint.
fn answers(setup: &Setup<'_>) -> bool {
    match setup.service {
        Service::Http | Service::Tcp => {
            http::get(setup.listen, setup.ready_path).is_ok_and(|answer| answer.status == 200)
        }
        Service::Udp => echoes(setup.listen).unwrap_or(false),
    }
}

/// True if a datagram comes back soon.
fn echoes(address: SocketAddr) -> io::Result<bool> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    socket.send(b"ready?")?;
    Ok(socket.recv(&mut [0; 16])? == 6)
}

fn pointsman(program: &Path, setup: &Setup<'_>, policy: &str) -> Result<Command> {
    let policy = match policy {
        "" => String::new(),
        name => format!("policy = \"{name}\"\n"),
    };
    let secure = match &setup.secure {
        None => String::new(),
        Some(secure) => format!(
            "\n[listeners.secure]\nbind = \"{}\"\ntls = {}\n",
            secure.listen,
            secure.leaf.toml()
        ),
    };
    let config = format!(
        r#"workers = 1

[admin]
bind = "{admin}"

[access_log]
sink = "off"

[listeners.web]
bind = "{listen}"
{secure}
[pools.app]
{policy}endpoints = [{endpoints}]

[[routes]]
pool = "app"
"#,
        admin = socket::free_address()?,
        listen = setup.listen,
        endpoints = join(setup.endpoints, |address| format!("\"{address}\", ")),
    );
    let mut command = Command::new(program);
    command
        .args(["run", "--config"])
        .arg(write(setup, "pointsman.toml", &config)?);
    Ok(command)
}

fn relay(program: &Path, setup: &Setup<'_>, _: &str) -> Result<Command> {
    let mut command = Command::new(program);
    command.arg("relay");
    if setup.once {
        command.arg("--once");
    }
    command.arg(setup.listen.to_string());
    command.args(setup.endpoints.iter().map(SocketAddr::to_string));
    Ok(command)
}

fn haproxy(program: &Path, setup: &Setup<'_>, policy: &str) -> Result<Command> {
    let mut number = 0;
    let servers = join(setup.endpoints, |address| {
        number += 1;
        format!("    server endpoint{number} {address}\n")
    });
    let secure = match &setup.secure {
        None => String::new(),
        Some(secure) => format!(
            "    bind {} ssl crt {} alpn h2,http/1.1\n",
            secure.listen,
            write(setup, "both.pem", &chain_and_key(secure.leaf)?)?.display()
        ),
    };
    let config = format!(
        "global
    nbthread 1
    maxconn 9000
listen web
    mode http
    bind {listen}
{secure}    timeout connect 5s
    timeout client 5m
    timeout server 5m
    balance {policy}
    http-reuse always
    option forwardfor
{servers}",
        listen = setup.listen,
    );
    let mut command = Command::new(program);
    command
        .args(["-db", "-f"])
        .arg(write(setup, "haproxy.cfg", &config)?);
    Ok(command)
}

fn nginx(program: &Path, setup: &Setup<'_>, policy: &str) -> Result<Command> {
    let (outside, inside) = nginx::settings(setup.folder);
    let policy = match policy {
        "" => String::new(),
        name => format!("        {name};\n"),
    };
    let secure = match &setup.secure {
        None => String::new(),
        // Older ones do not speak TLS 1.3 unless told to.
        Some(Secure { listen, leaf }) => format!(
            "        listen {listen} ssl http2;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate {};
        ssl_certificate_key {};
",
            leaf.cert().display(),
            leaf.key().display()
        ),
    };
    let config = format!(
        "{outside}http {{
{inside}    access_log off;
    keepalive_timeout 5m;
    keepalive_requests 1000000000;
    upstream app {{
{policy}{servers}        keepalive 256;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {listen};
{secure}        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_max_temp_file_size 0;
            proxy_set_header Connection \"\";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
",
        servers = join(setup.endpoints, |address| format!(
            "        server {address};\n"
        )),
        listen = setup.listen,
    );
    let mut command = Command::new(program);
    command
        .args(["-e", "stderr", "-c"])
        .arg(write(setup, "nginx.conf", &config)?);
    Ok(command)
}

pub(super) fn join(endpoints: &[SocketAddr], line: impl FnMut(&SocketAddr) -> String) -> String {
    endpoints.iter().map(line).collect()
}

/// One PEM file for both, as HAProxy wants it.
fn chain_and_key(leaf: &Leaf) -> Result<String> {
    Ok(fs::read_to_string(leaf.cert())? + &fs::read_to_string(leaf.key())?)
}

pub(super) fn write(setup: &Setup<'_>, name: &str, text: &str) -> Result<PathBuf> {
    let file = setup.folder.join(name);
    fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

const START_PATIENCE: Duration = Duration::from_secs(10);
