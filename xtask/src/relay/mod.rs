//! The floor: forwards bytes and never looks at them.
//!
//! Read `tcp`, then `udp`.

mod tcp;
mod udp;

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};

/// `relay [--once | --udp] LISTEN ENDPOINT ENDPOINT`
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (option, addresses) = match arguments.split_first() {
        Some((first, rest)) if first.starts_with('-') => (first.as_str(), rest),
        _ => ("", arguments),
    };
    let addresses: Vec<SocketAddr> = addresses
        .iter()
        .map(|text| text.parse().context("an address"))
        .collect::<Result<_>>()?;
    let Some((&listen, endpoints)) = addresses.split_first() else {
        bail!("relay [--once | --udp] LISTEN ENDPOINT ENDPOINT");
    };
    match option {
        "--udp" => udp::run(listen, endpoints.to_vec()),
        "--once" => tcp::run(listen, endpoints.to_vec(), true),
        "" => tcp::run(listen, endpoints.to_vec(), false),
        _ => bail!("no such option: {option}"),
    }
}
