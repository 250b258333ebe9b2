//! The programs that scenarios need, and where they come from.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::python;
use crate::process;

/// What is installed.
pub(crate) struct Tools {
    /// The release build.
    pub(crate) pointsman: PathBuf,
    found: Vec<(&'static str, PathBuf)>,
}

/// Each program and the Debian package that has it.
const PACKAGES: &[(&str, &str)] = &[
    ("curl", "curl"),
    ("dig", "bind9-dnsutils"),
    ("dnsmasq", "dnsmasq-base"),
    ("h2load", "nghttp2-client"),
    ("haproxy", "haproxy"),
    ("initdb", "postgresql"),
    ("mariadb", "mariadb-client-core"),
    ("mariadb-install-db", "mariadb-server-core"),
    ("mariadbd", "mariadb-server-core"),
    ("nghttp", "nghttp2-client"),
    ("nginx", "nginx-light"),
    ("openssl", "openssl"),
    ("pg_isready", "postgresql"),
    ("pgbench", "postgresql"),
    ("postgres", "postgresql"),
    ("psql", "postgresql"),
    ("python3", "python3"),
    ("redis-benchmark", "redis-tools"),
    ("redis-cli", "redis-tools"),
    ("redis-server", "redis-server"),
    ("wrk", "wrk"),
];

/// Programs that not every machine can have, or has room for: scenarios that need them are
/// skipped without.
const OPTIONAL: &[&str] = &["chromium"];

impl Tools {
    /// Finds all programs and builds ours. One that is missing is an error unless `may_miss`.
    pub(crate) fn find(may_miss: bool) -> Result<Self> {
        let mut found = Vec::new();
        for (program, package) in PACKAGES {
            match find(program) {
                Some(path) => found.push((*program, path)),
                None if may_miss => {}
                None => bail!("{program} is not installed (Debian: apt-get install {package})"),
            }
        }
        for program in OPTIONAL {
            found.extend(find(program).map(|path| (*program, path)));
        }
        match python::prepare() {
            Ok(path) => found.push(("grpcio", path)),
            Err(_) if may_miss => {}
            Err(error) => {
                return Err(error.context("installing grpcio, websockets and aiosmtpd from PyPI"));
            }
        }
        // Without Python 2.7 there is no Autobahn.
        if let Ok(command) = python::wstest() {
            found.push(("wstest", command.get_program().into()));
        }
        Ok(Self {
            pointsman: process::build_pointsman()?,
            found,
        })
    }

    pub(crate) fn has(&self, program: &str) -> bool {
        self.path(program).is_ok()
    }

    /// Where `program` is.
    pub(crate) fn path(&self, program: &str) -> Result<&Path> {
        let row = self.found.iter().find(|(name, _)| *name == program);
        row.map(|(_, path)| path.as_path())
            .with_context(|| format!("{program} is not installed"))
    }
}

/// Where `program` is: on PATH, or where Debian keeps PostgreSQL, by version.
fn find(program: &str) -> Option<PathBuf> {
    process::find(program).or_else(|| {
        let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
        versions
            .map(|version| version.path().join("bin").join(program))
            .find(|file| file.is_file())
    })
}
