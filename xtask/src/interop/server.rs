//! Kinds of servers, and how each is started on an address with its files in a folder.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::Lab;
use super::client::output_of;
use super::endpoint::files_of;
use crate::nginx;
use crate::process::OWN_PROGRAM;

/// What kind of program answers.
#[derive(Clone, Copy)]
pub(crate) enum Server {
    /// `python3 -m http.server`: HTTP/1.0, closes after each answer.
    Python,
    /// nginx serving files.
    Nginx,
    /// See `recorder`.
    Recorder,
    /// Redis, which keeps nothing on disk.
    Redis,
    /// PostgreSQL with an empty database, open to the user `postgres`.
    Postgres,
    /// MariaDB with an empty database, open to the user `root`.
    MariaDb,
    /// dnsmasq, by UDP and TCP. It knows one record: the TXT of `name.example`.
    Dns,
    /// aiosmtpd, which keeps mail in the folder `mail`.
    Smtp,
}

impl Server {
    /// Does what is done once, before the first start.
    pub(crate) fn prepare(self, lab: &Lab, folder: &Path) -> Result<()> {
        let data = folder.join("data");
        match self {
            Self::Postgres => {
                give_away(folder)?;
                let mut command = Command::new(lab.tools.path("initdb")?);
                command
                    .args(["--username=postgres", "--auth=trust", "--no-sync"])
                    .args(["--encoding=UTF8", "--locale=C", "--pgdata"])
                    .arg(data);
                output_of(unprivileged(&mut command)).map(drop)
            }
            Self::MariaDb => {
                give_away(folder)?;
                let mut command = Command::new(lab.tools.path("mariadb-install-db")?);
                command
                    .args(["--no-defaults", "--skip-test-db"])
                    .arg("--auth-root-authentication-method=normal")
                    .arg(format!("--datadir={}", data.display()));
                output_of(unprivileged(&mut command)).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// True once the server at `address` serves.
    pub(crate) fn is_ready(self, lab: &Lab, address: SocketAddr) -> bool {
        match self {
            // It accepts connections a little earlier than it serves them.
            Self::Postgres => lab.tools.path("pg_isready").is_ok_and(|program| {
                let mut command = Command::new(program);
                command.args(["-q", "-h", "127.0.0.1", "-p", &address.port().to_string()]);
                output_of(&mut command).is_ok()
            }),
            _ => TcpStream::connect(address).is_ok(),
        }
    }

    /// Runs it in the foreground.
    pub(crate) fn command(self, lab: &Lab, address: SocketAddr, folder: &Path) -> Result<Command> {
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let data = folder.join("data");
        let mut command;
        match self {
            Self::Python => {
                command = Command::new(lab.tools.path("python3")?);
                // Unbuffered, so that the log is there at once.
                command
                    .args(["-u", "-m", "http.server", "--bind", &ip, "--directory"])
                    .arg(files_of(folder))
                    .arg(port);
            }
            Self::Nginx => {
                let config = folder.join("nginx.conf");
                fs::write(&config, nginx_config(address, folder))?;
                command = Command::new(lab.tools.path("nginx")?);
                command.args(["-e", "stderr", "-c"]).arg(config);
            }
            Self::Recorder => {
                command = Command::new(OWN_PROGRAM);
                command.arg("recorder").arg(address.to_string()).arg(folder);
            }
            Self::Redis => {
                command = Command::new(lab.tools.path("redis-server")?);
                command.args(["--bind", &ip, "--port", &port]).args([
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                ]);
            }
            Self::Postgres => {
                command = Command::new(lab.tools.path("postgres")?);
                // Without a socket in the file system, and without waiting for the disk.
                command
                    .args(["-h", &ip, "-p", &port, "-k", "", "-F", "-D"])
                    .arg(data);
                unprivileged(&mut command);
            }
            Self::MariaDb => {
                command = Command::new(lab.tools.path("mariadbd")?);
                command
                    .args(["--no-defaults", "--skip-networking=0"])
                    .arg(format!("--bind-address={ip}"))
                    .arg(format!("--port={port}"))
                    .arg(format!("--datadir={}", data.display()))
                    .arg(format!("--socket={}", folder.join("socket").display()));
                unprivileged(&mut command);
            }
            Self::Dns => {
                let name = fs::read_to_string(files_of(folder).join("name"))?;
                command = Command::new(lab.tools.path("dnsmasq")?);
                command
                    .args([
                        "--keep-in-foreground",
                        "--conf-file=/dev/null",
                        "--pid-file",
                    ])
                    .args(["--no-resolv", "--no-hosts", "--bind-interfaces"])
                    .arg(format!("--listen-address={ip}"))
                    .arg(format!("--port={port}"))
                    .arg(format!("--txt-record=name.example,{name}"));
            }
            Self::Smtp => {
                command = Command::new(lab.tools.path("grpcio")?);
                command
                    .args(["-m", "aiosmtpd", "--nosetuid", "--listen"])
                    .arg(address.to_string())
                    .args(["--class", "aiosmtpd.handlers.Mailbox"])
                    .arg(folder.join("mail"));
            }
        }
        Ok(command)
    }
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

/// Databases do not run as root: where we are, `command` runs as `nobody`.
fn unprivileged(command: &mut Command) -> &mut Command {
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Lets [`unprivileged`] commands write in `folder`.
fn give_away(folder: &Path) -> Result<()> {
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(folder, Some(NOBODY), Some(NOBODY))?;
    }
    Ok(())
}

/// `nobody` and `nogroup` of Debian.
const NOBODY: u32 = 65534;
