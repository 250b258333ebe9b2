//! What comes from elsewhere: licence, name and source, held against `deny.toml`.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use spdx::{Expression, Licensee, ParseMode};

use super::Package;

/// The part of `deny.toml` that needs no database; cargo-deny reads the rest.
#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

/// Packages that may not come in, and why.
///
/// # Errors
/// `deny.toml` cannot be read.
pub(super) fn breaches(deny_file: &Path, packages: &[Package]) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(deny_file).context("deny.toml cannot be read")?;
    judge(&text, packages)
}

fn judge(deny: &str, packages: &[Package]) -> Result<Vec<String>> {
    let deny: Deny = toml::from_str(deny).context("deny.toml says something unexpected")?;
    let allowed = deny
        .licenses
        .allow
        .iter()
        .map(|licence| Licensee::parse(licence).with_context(|| format!("licence {licence}")))
        .collect::<Result<Vec<Licensee>>>()?;

    let mut breaches = Vec::new();
    for package in packages {
        let Package { name, version, .. } = package;
        let licence = package.license.as_deref().unwrap_or_default();
        if !is_allowed(licence, &allowed) {
            breaches.push(format!("{name} {version} has the licence \"{licence}\""));
        }
        if let Some(ban) = deny.bans.deny.iter().find(|ban| ban.name == *name) {
            breaches.push(format!("{name} {version} is banned: {}", ban.reason));
        }
        let source = package.source.as_deref().unwrap_or_default();
        let registry = source.strip_prefix("registry+").unwrap_or_default();
        if !deny
            .sources
            .allow_registry
            .iter()
            .any(|url| url == registry)
        {
            breaches.push(format!("{name} {version} comes from {source}"));
        }
    }
    Ok(breaches)
}

/// True if some way to fulfil `licence` needs nothing but `allowed`.
fn is_allowed(licence: &str, allowed: &[Licensee]) -> bool {
    // Old manifests write `MIT/Apache-2.0` for "or".
    Expression::parse_mode(licence, ParseMode::LAX).is_ok_and(|expression| {
        expression.evaluate(|needed| allowed.iter().any(|licence| licence.satisfies(needed)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENY: &str = r#"
        [licenses]
        allow = ["MIT", "BSD-3-Clause"]
        [bans]
        deny = [{ crate = "openssl", reason = "TLS is rustls" }]
        [sources]
        allow-registry = ["https://crates.example/index"]
    "#;

    fn breaches_of(name: &str, licence: Option<&str>, source: &str) -> Vec<String> {
        let package = Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: licence.map(str::to_owned),
            source: Some(source.to_owned()),
            dependencies: Vec::new(),
        };
        judge(DENY, &[package]).unwrap()
    }

    const HOME: &str = "registry+https://crates.example/index";

    #[test]
    fn one_allowed_licence_of_several_is_enough_and_all_that_are_needed_must_be_allowed() {
        for licence in [
            "MIT",
            "GPL-3.0-only OR MIT",
            "MIT/Apache-2.0",
            "MIT AND BSD-3-Clause",
        ] {
            assert_eq!(breaches_of("a", Some(licence), HOME), [""; 0], "{licence}");
        }
        for licence in ["GPL-3.0-only", "MIT AND Apache-2.0", "mine", ""] {
            let breach = format!("a 1.0.0 has the licence \"{licence}\"");
            assert_eq!(breaches_of("a", Some(licence), HOME), [breach]);
        }
        assert_eq!(
            breaches_of("a", None, HOME),
            ["a 1.0.0 has the licence \"\""]
        );
    }

    #[test]
    fn a_banned_crate_and_a_strange_source_are_refused() {
        assert_eq!(
            breaches_of("openssl", Some("MIT"), HOME),
            ["openssl 1.0.0 is banned: TLS is rustls"]
        );
        let source = "git+https://code.example/a";
        assert_eq!(
            breaches_of("a", Some("MIT"), source),
            [format!("a 1.0.0 comes from {source}")]
        );
    }

    #[test]
    fn the_deny_file_of_this_repository_is_understood() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deny.toml");
        assert_eq!(breaches(&file, &[]).unwrap(), [""; 0]);
    }
}
