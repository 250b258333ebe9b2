//! Addresses as people write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use balance::Address;

use super::Resolve;

/// What is wrong with an address, and what would be right.
pub(super) type Wrong = (String, Option<String>);

/// Longest path of a Unix socket: `sun_path` has 108 bytes, the last of them zero.
const UNIX_PATH_BYTES_MAX: usize = 107;

/// The addresses that `text` means; more than one only where a name has several.
///
/// Takes `10.0.0.1:80`, `[::1]:80`, `name:80`, `unix:/path`, and `:80` or `80`, which is port 80
/// of `default_ip`.
pub(super) fn addresses(
    text: &str,
    default_ip: Ipv4Addr,
    resolve: Resolve<'_>,
) -> Result<Vec<Address>, Wrong> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path).map(|address| vec![address]);
    }
    if let Ok(address) = text.parse() {
        return Ok(vec![Address::Tcp(address)]);
    }
    if let Some(port) = port(text.strip_prefix(':').unwrap_or(text)) {
        return Ok(vec![Address::Tcp((default_ip, port).into())]);
    }
    let host_and_port = text.rsplit_once(':').filter(|(host, _)| is_host_name(host));
    if host_and_port.is_some_and(|(_, digits)| port(digits).is_some()) {
        return by_name(text, resolve);
    }
    Err(wrong(text))
}

/// The host of `text`, an address that [`addresses`] takes, where it is a name; in lower case.
pub(super) fn host(text: &str) -> Option<Box<str>> {
    if text.starts_with("unix:") || text.parse::<SocketAddr>().is_ok() {
        return None;
    }
    let (host, _) = text.rsplit_once(':').filter(|(host, _)| !host.is_empty())?;
    let host = host.strip_suffix('.').unwrap_or(host);
    Some(host.to_ascii_lowercase().into())
}

fn unix(path: &str) -> Result<Address, Wrong> {
    if !path.starts_with('/') || path.contains('\0') {
        let help = "write it as \"unix:/run/app.sock\"";
        return Err((format!("`{path}` is no absolute path"), Some(help.into())));
    }
    if path.len() > UNIX_PATH_BYTES_MAX {
        let message = format!("the path has {} bytes", path.len());
        let help = format!("a Unix socket's path has at most {UNIX_PATH_BYTES_MAX}");
        return Err((message, Some(help)));
    }
    Ok(Address::Unix(path.into()))
}

fn by_name(text: &str, resolve: Resolve<'_>) -> Result<Vec<Address>, Wrong> {
    let fail = |why: &dyn std::fmt::Display| (format!("`{text}` does not resolve: {why}"), None);
    let found = resolve(text).map_err(|error| fail(&error))?;
    let mut addresses: Vec<Address> = Vec::new();
    for address in found.into_iter().map(Address::Tcp) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(fail(&"it has no address"));
    }
    Ok(addresses)
}

/// What a text that is no address was perhaps meant to be.
fn wrong(text: &str) -> Wrong {
    let message = format!("`{text}` is no address and port");
    let bare = text.split_once("://").map(|(_, rest)| rest);
    let help = if let Some(rest) = bare {
        let end = rest.find('/').unwrap_or(rest.len());
        format!("write it without scheme and path: \"{}\"", &rest[..end])
    } else if text.parse::<Ipv6Addr>().is_ok() {
        format!("add a port: \"[{text}]:80\"")
    } else if text.parse::<IpAddr>().is_ok() || is_host_name(text) {
        format!("add a port: \"{text}:80\"")
    } else if text.starts_with('/') {
        format!("for a Unix socket write \"unix:{text}\"")
    } else {
        "write it as \"10.0.0.11:80\", \"[::1]:80\", \"name:80\" or \"unix:/path\"".into()
    };
    (message, Some(help))
}

fn port(text: &str) -> Option<u16> {
    let all_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| text.parse().ok())?
}

/// RFC 1123 §2.1, and the underscore that container networks use. Names of digits and dots alone
/// are addresses with a mistake in them.
pub(super) fn is_host_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
    };
    name.len() <= 253
        && name.split('.').all(is_label)
        && !name.bytes().all(|c| c.is_ascii_digit() || c == b'.')
}

/// True for port 0: any free port to whoever binds, none to whoever connects.
pub(super) fn has_no_port(address: &Address) -> bool {
    matches!(address, Address::Tcp(address) if address.port() == 0)
}
