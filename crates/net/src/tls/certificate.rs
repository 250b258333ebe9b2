//! Certificates and keys as they come from PEM files.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, InconsistentKeys, RootCertStore};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use super::{CertificatePem, ShownCertificate, explain};

/// Algorithms: those of rustls with aws-lc-rs, X25519MLKEM768 first.
pub(super) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

/// Reads a chain and its key, leaf first, and checks that the two belong together.
///
/// # Errors
/// What is wrong with one of them, in one sentence.
pub fn check_certificate(cert_pem: &[u8], key_pem: &[u8]) -> Result<ShownCertificate, String> {
    read(&CertificatePem {
        cert: cert_pem.to_vec(),
        key: key_pem.to_vec(),
    })
    .map(|(_, shown)| shown)
}

impl ShownCertificate {
    /// How long the end of the certificate is away, in a sentence, if that is something to act on.
    pub fn expiry_warning(&self, now: SystemTime) -> Option<String> {
        let days = |time: Duration| match time.as_secs() / DAY.as_secs() {
            0 => "less than a day".to_owned(),
            1 => "a day".to_owned(),
            days => format!("{days} days"),
        };
        match self.not_after.duration_since(now) {
            Ok(left) if left > EXPIRES_SOON => None,
            Ok(left) => Some(format!("the certificate expires in {}", days(left))),
            Err(error) => Some(format!(
                "the certificate expired {} ago: whoever verifies it refuses it",
                days(error.duration())
            )),
        }
    }
}

/// The time before its end in which a certificate should have been renewed: half of what those
/// leave who renew a month ahead.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * DAY.as_secs());

/// As [`check_certificate`], with what handshakes need.
pub(super) fn read(pem: &CertificatePem) -> Result<(CertifiedKey, ShownCertificate), String> {
    let chain = chain(&pem.cert)?;
    let key = private_key(&pem.key)?;
    let shown = describe(&chain[0])?;
    let key = CertifiedKey::from_der(chain, key, provider()).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            "the key does not belong to the certificate".to_owned()
        }
        Error::InvalidCertificate(_) => explain::sentence(&error),
        error => format!("the key cannot be used: {error}"),
    })?;
    Ok((key, shown))
}

/// At least one certificate.
pub(super) fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("the certificate is not valid PEM: {error}"))?;
    if chain.is_empty() {
        return Err("there is no certificate in it (-----BEGIN CERTIFICATE-----)".to_owned());
    }
    Ok(chain)
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        // Either way of writing it: PKCS #8, or a header of the old form (RFC 1421 §4.6.1.1).
        _ if contains(pem, b"ENCRYPTED") => {
            "the key is encrypted: keys are read without a password".to_owned()
        }
        pem::Error::NoItemsFound => {
            "there is no private key in it (-----BEGIN PRIVATE KEY-----)".to_owned()
        }
        error => format!("the key is not valid PEM: {error}"),
    })
}

/// Authorities in PEM, at least one.
pub(super) fn authorities(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in chain(pem)? {
        store
            .add(certificate)
            .map_err(|error| explain::sentence(&error))?;
    }
    Ok(store)
}

/// Revocation lists in PEM, at least one.
pub(super) fn revocation_lists(
    pem: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let lists = CertificateRevocationListDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("the revocation list is not valid PEM: {error}"))?;
    if lists.is_empty() {
        return Err("there is no revocation list in it (-----BEGIN X509 CRL-----)".to_owned());
    }
    Ok(lists)
}

/// Makes a certificate for this machine, good for a year, that only those believe who are told to.
pub(super) fn make_self_signed() -> Result<CertificatePem, String> {
    let failed = |error: rcgen::Error| format!("no certificate could be made: {error}");
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    // As Linux tells it. Without it, the machine is reached by the others.
    if let Ok(name) = std::fs::read_to_string("/proc/sys/kernel/hostname") {
        let name = name.trim();
        if !name.is_empty() && name != "localhost" {
            names.push(name.to_ascii_lowercase());
        }
    }
    let mut params = rcgen::CertificateParams::new(names).map_err(failed)?;
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "Pointsman, self-signed");
    // Clocks of clients may be behind.
    params.not_before = (SystemTime::now() - DAY).into();
    params.not_after = (SystemTime::now() + 365 * DAY).into();
    let key = rcgen::KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok(CertificatePem {
        cert: certificate.pem().into_bytes(),
        key: key.serialize_pem().into_bytes(),
    })
}

const DAY: Duration = Duration::from_secs(86_400);

/// What a certificate says of itself.
pub(super) fn describe(der: &CertificateDer<'_>) -> Result<ShownCertificate, String> {
    let (_, certificate) = X509Certificate::from_der(der)
        .map_err(|error| format!("the certificate cannot be read: {error}"))?;
    let mut names: Vec<String> = match certificate.subject_alternative_name() {
        Ok(Some(extension)) => (extension.value.general_names.iter())
            .filter_map(name_of)
            .collect(),
        _ => Vec::new(),
    };
    if names.is_empty() {
        // Older certificates say it there, and clients that know no better look there.
        names.extend(
            (certificate.subject().iter_common_name())
                .filter_map(|name| name.as_str().ok())
                .map(str::to_ascii_lowercase),
        );
    }
    let not_after = certificate.validity().not_after.timestamp();
    Ok(ShownCertificate {
        names,
        not_after: time_at(not_after),
    })
}

/// A DNS name in lower case, or an address.
fn name_of(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    }
}

/// Whether `now`, in seconds since 1970, is too late or too early for a certificate.
pub(super) fn validity_error(der: &CertificateDer<'_>, now: UnixTime) -> Option<CertificateError> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return Some(CertificateError::BadEncoding);
    };
    let validity = certificate.validity();
    let at = |time: ASN1Time| {
        let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    };
    let (not_before, not_after) = (at(validity.not_before), at(validity.not_after));
    if now < not_before {
        Some(CertificateError::NotValidYetContext {
            time: now,
            not_before,
        })
    } else if now > not_after {
        Some(CertificateError::ExpiredContext {
            time: now,
            not_after,
        })
    } else {
        None
    }
}

/// An address in network byte order as text.
pub(super) fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(bytes).to_string());
    }
    let bytes = <[u8; 16]>::try_from(bytes).ok()?;
    Some(std::net::Ipv6Addr::from(bytes).to_string())
}

/// Seconds since 1970, of which none are negative here: 1970 is as expired as 1950.
fn time_at(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}
