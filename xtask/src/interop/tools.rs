//! The programs that scenarios need, and where they come from.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

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
    ("nginx", "nginx-light"),
    ("python3", "python3"),
    ("wrk", "wrk"),
];

impl Tools {
    /// Finds all programs and builds ours. One that is missing is an error unless `may_miss`.
    pub(crate) fn find(may_miss: bool) -> Result<Self> {
        let mut found = Vec::new();
        for (program, package) in PACKAGES {
            match process::find(program) {
                Some(path) => found.push((*program, path)),
                None if may_miss => {}
                None => bail!("{program} is not installed (Debian: apt-get install {package})"),
            }
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
