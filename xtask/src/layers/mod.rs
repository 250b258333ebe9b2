//! `cargo xtask layers`: do dependencies point down, and may those from elsewhere come in?
//!
//! Read [`LAYERS`] first: it is the picture of the architecture as a table. `supply` holds what
//! comes from elsewhere against `deny.toml`, for machines that have no cargo-deny.

mod supply;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// Our crates from the bottom up. A crate depends on crates of the rows below its own only, so
/// that `proxy` and `control`, in one row, can share nothing but values that the binary passes.
const LAYERS: &[&[Member]] = &[
    &[pure("message", &[])],
    &[
        pure(
            "balance",
            &[
                "atomic-waker",
                "fastrand",
                "rapidhash",
                "serde_json",
                "smallvec",
            ],
        ),
        pure("route", &[]),
        pure("wire", &["itoa", "memchr", "thiserror"]),
    ],
    &[
        pure(
            "config",
            &[
                "annotate-snippets",
                "ipnet",
                "schemars",
                "serde",
                "serde_json",
                "strsim",
                "toml",
            ],
        ),
        shell("net"),
        shell("observe"),
    ],
    &[shell("control"), shell("proxy")],
    &[shell("pointsman")],
];

/// Programs and parts of tests. They may depend on everything; of what is shipped, only tests
/// may depend on them.
const TOOLS: &[&str] = &["bench", "simulator", "testkit", "xtask"];

/// Crates from elsewhere that stay in a few of ours.
const CONFINED: &[(&str, &[&str])] = &[
    ("anyhow", &["pointsman", "xtask"]),
    ("aws-lc-rs", &["net", "proxy"]),
    ("axum", &["control", "pointsman"]),
    ("rcgen", &["net", "testkit"]),
    ("rustls", &["net", "testkit", "xtask"]),
    (
        "tokio",
        &["control", "net", "pointsman", "proxy", "testkit"],
    ),
];

/// A crate of ours in its layer.
struct Member {
    name: &'static str,
    /// All that a pure crate may take from elsewhere; `None` for one that is not pure.
    others: Option<&'static [&'static str]>,
}

/// A crate without sockets, clocks, threads and locks: crates that could bring them stay out.
const fn pure(name: &'static str, others: &'static [&'static str]) -> Member {
    Member {
        name,
        others: Some(others),
    }
}

const fn shell(name: &'static str) -> Member {
    Member { name, others: None }
}

/// What `cargo metadata` prints, as far as it matters here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: String,
}

/// One package.
#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// `None` for ours.
    source: Option<String>,
    dependencies: Vec<Dependency>,
}

/// One line of a manifest.
#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `None`: of the crate itself; `dev`: of its tests; `build`: of its build script.
    kind: Option<String>,
}

/// Prints every breach. True if there is none.
pub(crate) fn run(arguments: &[String]) -> Result<bool> {
    match arguments.first().map(String::as_str) {
        None => {}
        Some("--help" | "-h") => {
            println!("{HELP}");
            return Ok(true);
        }
        Some(other) => bail!("no such option: {other}\n{HELP}"),
    }
    let metadata = read_metadata()?;
    let root = Path::new(&metadata.workspace_root);
    let used = used_packages()?;
    let (ours, mut others): (Vec<Package>, Vec<Package>) = metadata
        .packages
        .into_iter()
        .partition(|package| package.source.is_none());
    others.retain(|package| used.contains(&format!("{} v{}", package.name, package.version)));

    let mut breaches = directions(&ours);
    breaches.extend(missing_links(root));
    breaches.extend(supply::breaches(&root.join("deny.toml"), &others)?);
    for breach in &breaches {
        println!("{breach}");
    }
    println!(
        "{} crates of ours, {} from elsewhere: {} breaches",
        ours.len(),
        others.len(),
        breaches.len()
    );
    Ok(breaches.is_empty())
}

fn read_metadata() -> Result<Metadata> {
    let output = cargo(&["metadata", "--locked", "--format-version", "1"])?;
    serde_json::from_slice(&output).context("cargo metadata prints something else")
}

/// Name and version of all that is built for some platform, as `serde v1.0.0`. The lock file names
/// more: what a feature of the kind `ring?/alloc` would use if something else did.
fn used_packages() -> Result<BTreeSet<String>> {
    let kinds = [
        "--workspace",
        "--all-features",
        "--target=all",
        "--edges=normal,build,dev",
    ];
    let form = ["--locked", "--prefix=none", "--format={p}"];
    let output = cargo(&[&["tree"], &kinds[..], &form[..]].concat())?;
    let text = String::from_utf8(output).context("cargo tree prints something else")?;
    // Behind them may stand where a package is, and that it was named before.
    let package = |line: &str| -> Option<String> {
        let mut words = line.split(' ');
        Some(format!("{} {}", words.next()?, words.next()?))
    };
    Ok(text.lines().filter_map(package).collect())
}

fn cargo(arguments: &[&str]) -> Result<Vec<u8>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(arguments)
        .output()
        .context("cargo cannot be started")?;
    ensure!(
        output.status.success(),
        "cargo {}: {}",
        arguments[0],
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

/// Dependencies of our crates that point sideways or up, or to what must stay elsewhere.
fn directions(ours: &[Package]) -> Vec<String> {
    let heights: BTreeMap<&str, usize> = LAYERS
        .iter()
        .enumerate()
        .flat_map(|(height, row)| row.iter().map(move |member| (member.name, height)))
        .chain(TOOLS.iter().map(|tool| (*tool, LAYERS.len())))
        .collect();
    let pure_others: BTreeMap<&str, &[&str]> = LAYERS
        .iter()
        .flat_map(|row| row.iter())
        .filter_map(|member| Some((member.name, member.others?)))
        .collect();

    let mut breaches = Vec::new();
    for package in ours {
        let name = package.name.as_str();
        let Some(height) = heights.get(name) else {
            breaches.push(format!("{name} stands in no row of LAYERS"));
            continue;
        };
        for dependency in &package.dependencies {
            let to = dependency.name.as_str();
            let is_of_tests = dependency.kind.as_deref() == Some("dev");
            let is_allowed = if let Some(below) = heights.get(to) {
                below < height || TOOLS.contains(&name) || (TOOLS.contains(&to) && is_of_tests)
            } else {
                is_of_tests
                    || pure_others
                        .get(name)
                        .is_none_or(|others| others.contains(&to))
            };
            if !is_allowed {
                breaches.push(format!("{name} may not depend on {to}"));
            }
            let homes = CONFINED.iter().find(|(confined, _)| *confined == to);
            if let Some((_, homes)) = homes
                && !homes.contains(&name)
            {
                breaches.push(format!("{to} stays in {}: not in {name}", homes.join(", ")));
            }
        }
    }
    breaches
}

/// Pure crates that clippy does not hold to the rules of pure crates.
fn missing_links(root: &Path) -> Vec<String> {
    let rules = std::fs::read(root.join(PURE_RULES)).ok();
    LAYERS
        .iter()
        .flat_map(|row| row.iter())
        .filter(|member| member.others.is_some())
        .map(|member| format!("crates/{}/clippy.toml", member.name))
        .filter(|link| rules.is_none() || std::fs::read(root.join(link)).ok() != rules)
        .map(|link| format!("{link} is no link to {PURE_RULES}"))
        .collect()
}

/// What clippy refuses in pure crates.
const PURE_RULES: &str = "clippy-pure.toml";

const HELP: &str = "\
cargo xtask layers

Checks that our crates depend on lower layers only, that the pure ones are held to be pure, and
that licence, name and source of every package that is built are allowed by deny.toml.";

#[cfg(test)]
mod tests {
    use super::*;

    /// Our crate `name` with one dependency.
    fn breaches_of(name: &str, to: &str, kind: Option<&str>) -> Vec<String> {
        directions(&[Package {
            name: name.to_owned(),
            version: String::new(),
            license: None,
            source: None,
            dependencies: vec![Dependency {
                name: to.to_owned(),
                kind: kind.map(str::to_owned),
            }],
        }])
    }

    #[test]
    fn dependencies_point_down() {
        for (name, to) in [("proxy", "wire"), ("config", "route"), ("xtask", "testkit")] {
            assert_eq!(breaches_of(name, to, None), [""; 0], "{name} {to}");
        }
        for (name, to) in [
            ("wire", "net"),
            ("proxy", "control"),
            ("control", "proxy"),
            ("route", "balance"),
            ("proxy", "testkit"),
        ] {
            let breach = format!("{name} may not depend on {to}");
            assert_eq!(breaches_of(name, to, None), [breach], "{name} {to}");
        }
    }

    #[test]
    fn tests_may_use_tools_and_nothing_from_above() {
        assert_eq!(breaches_of("proxy", "testkit", Some("dev")), [""; 0]);
        assert_eq!(breaches_of("wire", "proptest", Some("dev")), [""; 0]);
        assert_eq!(
            breaches_of("proxy", "control", Some("dev")),
            ["proxy may not depend on control"]
        );
    }

    #[test]
    fn a_pure_crate_takes_nothing_from_elsewhere_that_is_not_listed() {
        assert_eq!(breaches_of("wire", "memchr", None), [""; 0]);
        assert_eq!(breaches_of("net", "anything", None), [""; 0]);
        for kind in [None, Some("build")] {
            assert_eq!(
                breaches_of("wire", "socket2", kind),
                ["wire may not depend on socket2"]
            );
        }
    }

    #[test]
    fn a_confined_crate_stays_at_home() {
        assert_eq!(breaches_of("net", "tokio", None), [""; 0]);
        assert_eq!(
            breaches_of("observe", "tokio", None),
            ["tokio stays in control, net, pointsman, proxy, testkit: not in observe"]
        );
    }

    #[test]
    fn a_new_crate_needs_a_row() {
        assert_eq!(
            breaches_of("cache", "wire", None),
            ["cache stands in no row of LAYERS"]
        );
    }
}
