//! Programs of other people, each listening on a port of its own with its files in a folder.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, bail};
use tempfile::TempDir;

use super::Lab;
use crate::nginx;
use crate::process::{Program, wait_until};
use crate::socket;

/// A running program.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) program: Program,
    folder: TempDir,
}

impl Peer {
    /// Starts what `command` makes of an address and a folder, and waits until it listens.
    pub(crate) fn start(
        command: impl FnOnce(SocketAddr, &Path) -> Result<Command>,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = socket::free_address()?;
        let mut command = command(address, folder.path())?;
        let log = File::create(folder.path().join("log"))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let peer = Self {
            address,
            program: Program::start(command, None)?,
            folder,
        };
        if !wait_until(START_PATIENCE, || TcpStream::connect(address).is_ok()) {
            bail!("a program does not listen: {}", peer.file("log"));
        }
        Ok(peer)
    }

    /// nginx with these lines in its only `server`, behind `listen ADDRESS` and `options`.
    pub(crate) fn nginx(lab: &Lab, options: &str, server: &str) -> Result<Self> {
        Self::start(|address, folder| {
            let (outside, inside) = nginx::settings(folder);
            let text = format!(
                "{outside}http {{\n{inside}    access_log {}/access combined;\n    \
                 client_max_body_size 100m;\n    \
                 server {{\n        listen {address} {options};\n        {server}\n    }}\n}}\n",
                folder.display()
            );
            let config = folder.join("nginx.conf");
            fs::write(&config, text)?;
            let mut command = Command::new(lab.tools.path("nginx")?);
            command.args(["-e", "stderr", "-c"]).arg(config);
            Ok(command)
        })
    }

    /// HAProxy with these lines in its only `frontend`, behind `bind ADDRESS` and `options`, and
    /// with these lines behind that.
    pub(crate) fn haproxy(lab: &Lab, options: &str, frontend: &str, more: &str) -> Result<Self> {
        Self::start(|address, folder| {
            let text = format!(
                "global\n    nbthread 1\n\
                 defaults\n    mode http\n    timeout connect 5s\n    timeout client 30s\n    \
                 timeout server 30s\n\
                 frontend web\n    bind {address} {options}\n    {frontend}\n{more}\n"
            );
            let config = folder.join("haproxy.cfg");
            fs::write(&config, text)?;
            let mut command = Command::new(lab.tools.path("haproxy")?);
            command.args(["-q", "-db", "-f"]).arg(config);
            Ok(command)
        })
    }

    /// A file of its folder, or nothing.
    pub(crate) fn file(&self, name: &str) -> String {
        fs::read_to_string(self.folder().join(name)).unwrap_or_default()
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

const START_PATIENCE: Duration = Duration::from_secs(10);
