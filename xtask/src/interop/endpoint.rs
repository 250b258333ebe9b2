//! Endpoints: real servers, and our own that records, each in a folder of its own.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, bail};
use rustix::process::Signal;
use tempfile::TempDir;

use super::Lab;
use crate::nginx;
use crate::process::{self, OWN_PROGRAM, Program, wait_until};
use crate::socket;

/// What kind of program answers.
#[derive(Clone, Copy)]
pub(crate) enum Server {
    /// `python3 -m http.server`: HTTP/1.0, closes after each answer.
    Python,
    /// nginx serving files.
    Nginx,
    /// See `recorder`.
    Recorder,
}

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
    let mut command = match server {
        Server::Python => {
            let mut command = Command::new(lab.tools.path("python3")?);
            // Unbuffered, so that the log is there at once.
            command.args([
                "-u",
                "-m",
                "http.server",
                "--bind",
                "127.0.0.1",
                "--directory",
            ]);
            command
                .arg(files_of(folder))
                .arg(address.port().to_string());
            command
        }
        Server::Nginx => {
            let config = folder.join("nginx.conf");
            fs::write(&config, nginx_config(address, folder))?;
            let mut command = Command::new(lab.tools.path("nginx")?);
            command.args(["-e", "stderr", "-c"]).arg(config);
            command
        }
        Server::Recorder => {
            let mut command = Command::new(OWN_PROGRAM);
            command.arg("recorder").arg(address.to_string()).arg(folder);
            command
        }
    };
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))?;
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let program = Program::start(command, None)?;
    if !wait_until(START_PATIENCE, || TcpStream::connect(address).is_ok()) {
        let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
        bail!("an endpoint does not listen: {log}");
    }
    Ok(program)
}

fn nginx_config(address: SocketAddr, folder: &Path) -> String {
    // The files are in a folder that only its owner may enter, so the worker must be the owner:
    // started by root, nginx would make it somebody else.
    let user = if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    let (outside, inside) = nginx::settings(folder);
    let folder = folder.display();
    format!(
        "{user}
{outside}http {{
{inside}    access_log {folder}/log;
    server {{
        listen {address};
        root {folder}/files;
    }}
}}
"
    )
}

fn files_of(folder: &Path) -> PathBuf {
    folder.join("files")
}

const START_PATIENCE: Duration = Duration::from_secs(10);
