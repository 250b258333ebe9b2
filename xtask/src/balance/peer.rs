//! Who is measured: a load balancer of [`PEERS`] with one of its policies, as `nginx/least_conn`.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::bench::peer::{PEERS, Peer, PeerKind};

/// Someone who distributes requests.
pub(super) struct Contender {
    pub(super) name: String,
    pub(super) way: Way,
}

/// How requests get to endpoints.
pub(super) enum Way {
    /// Each goes to an endpoint at random, without a load balancer.
    Direct,
    /// Through one, with this policy in its own words; "" is its default.
    Through { peer: Peer, policy: String },
}

/// Who is judged: Pointsman as configured by nobody.
pub(super) const JUDGED: &str = "pointsman";
/// Who it is compared with.
pub(super) const BASELINE: &str = "haproxy/leastconn";
/// No load balancer, to check what measures.
pub(super) const DIRECT: &str = "direct";

/// Those who are measured if nobody is named.
pub(super) const USUAL: &[&str] = &[
    JUDGED,
    BASELINE,
    "haproxy/random(2)",
    "nginx/least_conn",
    "nginx/random two least_conn",
];

/// Programs that are not looked for: name and file.
pub(super) type Programs = HashMap<String, PathBuf>;

/// Those with these names. Those that are not installed are an error if they `must` be there, and
/// left out otherwise.
pub(super) fn find_all(names: &[&str], programs: &Programs, must: bool) -> Result<Vec<Contender>> {
    let mut found = Vec::new();
    for &name in names {
        match find(name, programs)? {
            Some(contender) => found.push(contender),
            None if must => bail!("{name} is not installed"),
            None => eprintln!("{name}: not installed"),
        }
    }
    Ok(found)
}

fn find(name: &str, programs: &Programs) -> Result<Option<Contender>> {
    if name == DIRECT {
        return Ok(Some(Contender {
            name: name.to_owned(),
            way: Way::Direct,
        }));
    }
    let (program, policy) = name.split_once('/').unwrap_or((name, ""));
    let mut kinds = PEERS.iter().filter(|kind| kind.has_policies());
    let kind: &PeerKind = kinds
        .find(|kind| kind.name == program)
        .with_context(|| format!("no such peer: {program}"))?;
    let peer = match programs.get(program) {
        Some(file) => Some(kind.at(file.clone())),
        None => kind.locate()?,
    };
    Ok(peer.map(|peer| Contender {
        name: name.to_owned(),
        way: Way::Through {
            peer,
            policy: policy.to_owned(),
        },
    }))
}
