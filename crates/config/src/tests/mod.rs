//! The crate at its boundary: text in, snapshot or rendered problems out.

mod docs;
mod meaning;
mod mistakes;
mod relays;
mod robustness;
mod transport;

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::problem::{Problems, Source};
use crate::{Contents, Loaded, Outside, TlsFiles, parse, text};

/// A resolver that knows a few names, in upper and lower case.
fn resolve(host_and_port: &str) -> io::Result<Vec<SocketAddr>> {
    let (host, port) = host_and_port.split_once(':').expect("a host and a port");
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let ips: &[&str] = match host.as_str() {
        "one.internal" => &["10.0.1.1"],
        "app-1.internal" => &["10.0.4.1"],
        "app-2.internal" => &["10.0.4.2"],
        "two.internal" => &["10.0.2.1", "10.0.2.2", "10.0.2.1"],
        "both.internal" => &["::1", "10.0.3.1", "fd00::1", "10.0.3.2"],
        "six.internal" => &["fd00::1", "fd00::2"],
        "none.internal" => &[],
        _ => return Err(io::Error::other("no such name")),
    };
    Ok(ips
        .iter()
        .map(|ip| SocketAddr::new(ip.parse().unwrap(), port.parse().unwrap()))
        .collect())
}

/// A file that has a secret, one that everybody knows, one that has none, and those of
/// certificates, which have their own names in them.
fn read(path: &Path) -> io::Result<Contents> {
    let secret = "correct horse battery staple, twice over\n";
    let (text, is_private) = match path.to_str() {
        Some("/etc/pointsman/secret") => (secret, true),
        Some("/run/open") => (secret, false),
        Some("/run/short") => ("hunter2\n", true),
        Some(path) if path.ends_with(".pem") || path.ends_with(".key") => {
            (path, path != "open.key")
        }
        _ => return Err(io::Error::other("no such file")),
    };
    Ok(Contents {
        bytes: text.into(),
        is_private,
    })
}

/// Files say what they are by their names: those of a certificate and of its key begin alike.
fn check_tls(files: TlsFiles<'_>) -> Result<Option<String>, String> {
    let text = |bytes| str::from_utf8(bytes).expect("it is a name");
    match files {
        TlsFiles::Certificate { cert, key } => {
            let stem = |name| text(name).split('.').next();
            match (text(cert), stem(cert) == stem(key)) {
                ("old.pem", true) => Ok(Some("it expires in 3 days".into())),
                (_, true) => Ok(None),
                (_, false) => Err("the key belongs to another certificate".into()),
            }
        }
        TlsFiles::Authorities { ca, crl } => match (text(ca), crl.map(text)) {
            ("empty.pem", _) | (_, Some("empty.pem")) => Err("there is nothing in it".into()),
            _ => Ok(None),
        },
    }
}

const OUTSIDE: Outside<'static> = Outside {
    resolve: &resolve,
    read: &read,
    check_tls: &check_tls,
};

fn parse_text(text: &str) -> Result<Loaded, Problems> {
    parse("pointsman.toml", text, OUTSIDE)
}

fn parse_files(files: &[(&str, &str)]) -> Result<Loaded, Problems> {
    let mut sources = Vec::new();
    for (name, text) in files {
        sources.push(Source::behind(&sources, (*name).into(), (*text).into()));
    }
    text::parse_all(sources, Problems::default(), OUTSIDE)
}

/// A valid config.
fn loaded(text: &str) -> Loaded {
    parse_text(text).unwrap_or_else(|problems| panic!("{problems}\nin\n{text}"))
}

/// A config with a listener and a pool `app`, which `more` adds to.
fn with_basics(more: &str) -> String {
    format!("listeners.web.bind = \":8080\"\n[pools.app]\nendpoints = [\"10.0.0.1:80\"]\n{more}")
}
