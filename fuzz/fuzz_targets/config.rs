//! Config files: refused with a reason or accepted, without a panic either way.
#![no_main]

use std::io;
use std::path::Path;

use config::{Contents, Outside, TlsFiles};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // Names of an even length resolve.
    let resolve = |host_and_port: &str| {
        if host_and_port.len().is_multiple_of(2) {
            Ok(vec![([127, 0, 0, 1], 80).into()])
        } else {
            Err(io::Error::from(io::ErrorKind::NotFound))
        }
    };
    // Every file is a secret of its own name.
    let read = |path: &Path| {
        Ok(Contents {
            bytes: path.to_string_lossy().into_owned().into_bytes(),
            is_private: text.len().is_multiple_of(2),
        })
    };
    // And a certificate with every key, about to expire if it is long.
    let check_tls = |files: TlsFiles<'_>| match files {
        TlsFiles::Certificate { cert, .. } if cert.len() > 4 => Ok(Some(text.to_owned())),
        TlsFiles::Certificate { .. } => Ok(None),
        TlsFiles::Authorities { .. } => Err(text.to_owned()),
    };
    let outside = Outside {
        resolve: &resolve,
        read: &read,
        check_tls: &check_tls,
    };
    match config::parse("fuzz.toml", text, outside) {
        Ok(loaded) => {
            let snapshot = loaded.snapshot;
            assert!(!snapshot.listeners.is_empty(), "nothing would be served");
            for route in &snapshot.routes {
                assert!(route.pool < snapshot.pools.len(), "a route leads nowhere");
            }
            loaded.warnings.render(false);
        }
        Err(problems) => assert!(
            !problems.render(false).is_empty(),
            "refused without a reason"
        ),
    }
});
