//! Endpoints: servers on a port of their own, which die, freeze and come back.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, bail};
use rustix::process::Signal;
use tempfile::TempDir;

use super::Lab;
use super::server::Server;
use crate::process::{self, Program, wait_until};
use crate::socket;

/// A server on a port of its own, which keeps its port and its folder over a restart.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    server: Server,
    folder: TempDir,
    program: Program,
}

impl Endpoint {
    /// Starts a server. `/name` answers `name`.
    pub(crate) fn start(lab: &Lab, server: Server, name: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let files = files_of(folder.path());
        fs::create_dir(&files)?;
        fs::write(files.join("name"), name)?;
        server.prepare(lab, folder.path())?;
        let address = socket::free_address()?;
        let program = start(lab, server, address, folder.path())?;
        Ok(Self {
            address,
            server,
            folder,
            program,
        })
    }

    /// The folder whose files are served.
    pub(crate) fn files(&self) -> PathBuf {
        files_of(self.folder.path())
    }

    /// A file that the recorder wrote, or nothing.
    pub(crate) fn record(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(name)).unwrap_or_default()
    }

    /// GET requests that the server itself has logged.
    pub(crate) fn request_count(&self) -> usize {
        let log = self.record("log");
        memchr::memmem::find_iter(&log, "\"GET /").count()
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) -> Result<()> {
        for pid in self.program.pids() {
            process::send(pid, Signal::KILL)?;
        }
        self.program.child().wait()?;
        Ok(())
    }

    /// Starts it again after a kill.
    pub(crate) fn restart(&mut self, lab: &Lab) -> Result<()> {
        self.program = start(lab, self.server, self.address, self.folder.path())?;
        Ok(())
    }

    /// Lets it accept connections (the kernel does) and never answer.
    pub(crate) fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        self.program
            .pids()
            .into_iter()
            .try_for_each(|pid| process::send(pid, signal))
    }
}

fn start(lab: &Lab, server: Server, address: SocketAddr, folder: &Path) -> Result<Program> {
    let mut command = server.command(lab, address, folder)?;
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))?;
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let program = Program::start(command, None)?;
    if !wait_until(START_PATIENCE, || server.is_ready(lab, address)) {
        let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
        bail!("an endpoint does not serve: {log}");
    }
    Ok(program)
}

/// Where a server's files are.
pub(super) fn files_of(folder: &Path) -> PathBuf {
    folder.join("files")
}

const START_PATIENCE: Duration = Duration::from_secs(10);
