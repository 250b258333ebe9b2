//! Reads config files and asks the system's resolver. The only impure file of this crate.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::problem::{Problems, Source};
use crate::text::{Loaded, parse_all};
use crate::{CheckTls, Contents, Outside};

/// Longest file that is read. 10,000 routes are about 1 MB.
const FILE_BYTES_MAX: u64 = 16 << 20;

impl<'a> Outside<'a> {
    /// The system's resolver and files.
    pub fn system(check_tls: CheckTls<'a>) -> Self {
        Self {
            resolve: &resolve,
            read: &read,
            check_tls,
        }
    }
}

/// Compiles a file, or every `*.toml` file of a folder, in the order of their names, as one
/// config. Files whose name begins with a dot are left out: editors and package managers put
/// them there.
pub fn load(path: &Path, check_tls: CheckTls<'_>) -> Result<Loaded, Problems> {
    let mut problems = Problems::default();
    let files = match files(path) {
        Ok(files) => files,
        Err(error) => {
            problems.error(None, format!("cannot read {}: {error}", path.display()));
            return Err(problems);
        }
    };
    if files.is_empty() {
        problems
            .error(None, format!("no config in {}", path.display()))
            .help("a folder is read for files named `*.toml`");
        return Err(problems);
    }
    let mut sources: Vec<Source> = Vec::new();
    for file in files {
        match read_text(&file) {
            Ok(text) => {
                let name = file.display().to_string();
                sources.push(Source::behind(&sources, name, text));
            }
            Err(error) => {
                problems.error(None, format!("cannot read {}: {error}", file.display()));
            }
        }
    }
    parse_all(sources, problems, Outside::system(check_tls))
}

/// The addresses of `host:port` by the system's resolver, which may take seconds to answer.
fn resolve(host_and_port: &str) -> io::Result<Vec<SocketAddr>> {
    Ok(host_and_port.to_socket_addrs()?.collect())
}

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.into()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let is_hidden = file
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if file
            .extension()
            .is_some_and(|extension| extension == "toml")
            && !is_hidden
        {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> io::Result<Contents> {
    let mut bytes = Vec::new();
    let file = File::open(file)?;
    let is_private = file.metadata()?.permissions().mode() & 0o077 == 0;
    // Bounded while reading: the length of a pipe or of a growing file is not known before.
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("it is larger than 16 MiB"));
    }
    Ok(Contents { bytes, is_private })
}

fn read_text(file: &Path) -> io::Result<String> {
    String::from_utf8(read(file)?.bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|&&byte| byte == b'\n').count();
        io::Error::other(format!("line {line} is not UTF-8"))
    })
}
