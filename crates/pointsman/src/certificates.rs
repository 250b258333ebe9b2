//! What a config cannot see of the certificates that it names.

use std::time::{Duration, SystemTime};

use config::TlsFiles;
use net::{ClientVerification, TlsServer, TlsServerSettings, check_certificate};

/// Looks into the files of a config, as `config::CheckTls` wants it.
///
/// # Errors
/// What is wrong with the files, in one sentence.
pub fn check_tls(files: TlsFiles<'_>) -> Result<Option<String>, String> {
    match files {
        TlsFiles::Certificate { cert, key } => {
            let certificate = check_certificate(cert, key)?;
            Ok(expiry(certificate.not_after, SystemTime::now()))
        }
        TlsFiles::Authorities { ca, crl } => {
            let client = ClientVerification {
                ca: ca.to_vec(),
                crl: crl.map(<[u8]>::to_vec),
                required: true,
            };
            // Only a server has a use for both.
            let settings = TlsServerSettings {
                certificates: Vec::new(),
                is_modern: false,
                client: Some(client),
                http2: false,
            };
            TlsServer::new(&settings).map(|_| None)
        }
    }
}

/// The time before its end in which a certificate should have been renewed: half of what those
/// leave who renew a month ahead.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// What there is to say of a certificate that is valid until `not_after`.
fn expiry(not_after: SystemTime, now: SystemTime) -> Option<String> {
    let days = |time: Duration| match time.as_secs() / (24 * 3600) {
        0 => "less than a day".to_owned(),
        1 => "a day".to_owned(),
        days => format!("{days} days"),
    };
    match not_after.duration_since(now) {
        Ok(left) if left > EXPIRES_SOON => None,
        Ok(left) => Some(format!("the certificate expires in {}", days(left))),
        Err(error) => Some(format!(
            "the certificate expired {} ago: whoever verifies it refuses it",
            days(error.duration())
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use testkit::Pki;

    use super::*;

    fn certificate(cert: &Path, key: &Path) -> Result<Option<String>, String> {
        let [cert, key] = [cert, key].map(|file| fs::read(file).expect("it can be read"));
        check_tls(TlsFiles::Certificate {
            cert: &cert,
            key: &key,
        })
    }

    #[test]
    fn a_certificate_and_its_key_belong_together() {
        let pki = Pki::new();
        let (shop, api) = (pki.server(&["shop.example"]), pki.server(&["api.example"]));
        assert_eq!(certificate(shop.cert(), shop.key()), Ok(None));
        let error = certificate(shop.cert(), api.key()).expect_err("the key is another one's");
        assert!(error.contains("does not belong"), "{error}");
        let error = certificate(shop.key(), shop.key()).expect_err("there is no certificate");
        assert!(error.contains("no certificate"), "{error}");
    }

    #[test]
    fn authorities_and_their_lists_are_read() {
        let pki = Pki::new();
        let client = pki.client("alice");
        let read = |file: &Path| fs::read(file).expect("it can be read");
        let (ca, crl) = (read(&pki.ca()), read(&pki.revoking(&[&client])));
        let check = |ca: &[u8], crl| check_tls(TlsFiles::Authorities { ca, crl });
        assert_eq!(check(&ca, None), Ok(None));
        assert_eq!(check(&ca, Some(&crl)), Ok(None));
        assert!(check(b"", None).is_err());
        assert!(check(&ca, Some(&ca)).is_err());
    }

    #[test]
    fn the_end_of_a_certificate_is_told_of_two_weeks_before() {
        let now = SystemTime::now();
        let day = Duration::from_secs(24 * 3600);
        assert_eq!(expiry(now + 30 * day, now), None);
        let text = |not_after| expiry(not_after, now).expect("there is something to say");
        assert_eq!(text(now + 12 * day), "the certificate expires in 12 days");
        assert_eq!(
            text(now + day / 2),
            "the certificate expires in less than a day"
        );
        assert!(text(now - day).starts_with("the certificate expired a day ago"));
        let pki = Pki::new();
        let old = pki.expired_server(&["old.example"]);
        let told = certificate(old.cert(), old.key()).expect("it can be read");
        assert!(told.is_some_and(|told| told.contains("expired")));
    }
}
