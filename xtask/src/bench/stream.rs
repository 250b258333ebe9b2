//! How each load balancer passes on bytes or datagrams to endpoints in turn. Everything else is its
//! default, but for what a flow of datagrams may be idle.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::peer::{Service, Setup, join, write};
use crate::nginx;
use crate::socket;

pub(super) fn pointsman(program: &Path, setup: &Setup<'_>) -> Result<Command> {
    let (protocol, check) = match setup.service {
        Service::Http | Service::Tcp => ("tcp", ""),
        // The endpoints listen by UDP alone, and the others do not check either.
        Service::Udp => ("udp", "check = \"off\"\n"),
    };
    let config = format!(
        r#"workers = 1

[admin]
bind = "{admin}"

[access_log]
sink = "off"

[listeners.relay]
bind = "{listen}"
protocol = "{protocol}"
pool = "app"

[pools.app]
policy = "round_robin"
{check}endpoints = [{endpoints}]
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

pub(super) fn relay(program: &Path, setup: &Setup<'_>) -> Result<Command> {
    let mut command = Command::new(program);
    command.arg("relay");
    if setup.service == Service::Udp {
        command.arg("--udp");
    }
    command.arg(setup.listen.to_string());
    command.args(setup.endpoints.iter().map(SocketAddr::to_string));
    Ok(command)
}

pub(super) fn haproxy(program: &Path, setup: &Setup<'_>) -> Result<Command> {
    let mut number = 0;
    let servers = join(setup.endpoints, |address| {
        number += 1;
        format!("    server endpoint{number} {address}\n")
    });
    let config = format!(
        "global
    nbthread 1
    maxconn 9000
listen relay
    mode tcp
    bind {listen}
    timeout connect 5s
    timeout client 5m
    timeout server 5m
    balance roundrobin
{servers}",
        listen = setup.listen,
    );
    let mut command = Command::new(program);
    command
        .args(["-db", "-f"])
        .arg(write(setup, "haproxy.cfg", &config)?);
    Ok(command)
}

pub(super) fn nginx(program: &Path, setup: &Setup<'_>) -> Result<Command> {
    let module = nginx::load_stream(program).unwrap_or_default();
    let (outside, _) = nginx::settings(setup.folder);
    let by = match setup.service {
        Service::Http | Service::Tcp => "",
        // What Pointsman does unless it is told otherwise.
        Service::Udp => " udp; proxy_timeout 30s",
    };
    let config = format!(
        "{module}{outside}stream {{
    upstream app {{
{servers}    }}
    server {{
        listen {listen}{by};
        proxy_pass app;
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
