//! What went wrong with TLS, in sentences for whoever is woken by it.

use std::fmt;
use std::io;
use std::time::{Duration, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

/// Why TLS failed. The inner error of the [`io::Error`]s that are about TLS.
#[derive(Debug)]
pub struct TlsFault {
    /// It in a few words, of a closed list.
    pub words: &'static str,
    /// The certificate that the peer showed is not one to believe.
    pub is_certificate: bool,
    sentence: String,
}

impl TlsFault {
    /// The fault that `error` is about, if it is about TLS.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    pub(super) fn new(error: &Error) -> Self {
        Self {
            words: words(error),
            is_certificate: matches!(
                error,
                Error::InvalidCertificate(_) | Error::NoCertificatesPresented
            ),
            sentence: sentence(error),
        }
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for TlsFault {}

/// `error` in a few words. What they leave out is in [`sentence`].
fn words(error: &Error) -> &'static str {
    match error {
        Error::InvalidCertificate(error) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "certificate has expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "certificate is not valid yet"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "certificate is for another name"
            }
            // Another key under the name of a trusted issuer is another issuer.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "issuer of the certificate is not trusted"
            }
            CertificateError::Revoked => "certificate has been revoked",
            _ => "certificate is not valid",
        },
        Error::NoCertificatesPresented => "no certificate was shown",
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "endpoint wants a certificate"
        }
        Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate,
        ) => "endpoint refused our certificate",
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "endpoint does not know the name"
        }
        Error::AlertReceived(_) => "endpoint refused",
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => "endpoint does not speak TLS",
        Error::PeerIncompatible(_) => "no common version or cipher",
        Error::NoApplicationProtocol => "no common protocol",
        _ => "handshake failed",
    }
}

/// One sentence about `error`, lower case, without a full stop.
pub(super) fn sentence(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::AlertReceived(alert) => format!("the peer refused: {}", alert_received(*alert)),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => "what arrived is not TLS".to_owned(),
        Error::NoApplicationProtocol => {
            "the peer offers protocols by ALPN, but none of ours".to_owned()
        }
        Error::NoCertificatesPresented => "the peer showed no certificate".to_owned(),
        Error::PeerIncompatible(why) => incompatible(why),
        Error::InvalidCertRevocationList(why) => {
            format!("the revocation list cannot be used: {why:?}")
        }
        Error::DecryptError => "a record was altered on its way".to_owned(),
        other => other.to_string(),
    }
}

fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the certificate expired on {}", date(*not_after))
        }
        CertificateError::Expired => "the certificate has expired".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("the certificate is not valid before {}", date(*not_before))
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let names: Vec<String> = presented.iter().map(|name| plain_name(name)).collect();
            let names = match names.as_slice() {
                [] => "no name at all".to_owned(),
                names => names.join(", "),
            };
            format!(
                "the certificate is for {names}, not for {}",
                expected.to_str()
            )
        }
        CertificateError::UnknownIssuer => {
            "the issuer of the certificate is not trusted: give its certificate as `ca`".to_owned()
        }
        CertificateError::Revoked => "the certificate has been revoked".to_owned(),
        CertificateError::UnknownRevocationStatus => {
            "no revocation list covers the issuer of the certificate".to_owned()
        }
        CertificateError::BadSignature => {
            "the certificate is not signed with the key of the trusted issuer that it names"
                .to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the certificate is not meant for this side of a connection (extended key usage)"
                .to_owned()
        }
        CertificateError::Other(other) if other.to_string().contains("UnsupportedCertVersion") => {
            "the certificate is of an old version of X.509, which has no names in it: make one of \
             version 3"
                .to_owned()
        }
        other => format!("the certificate is not valid: {other}"),
    }
}

fn alert_received(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => "it wants a certificate from us".to_owned(),
        AlertDescription::UnknownCA => "it does not trust the issuer of our certificate".to_owned(),
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate => "it does not like our certificate".to_owned(),
        AlertDescription::CertificateExpired => "our certificate has expired".to_owned(),
        AlertDescription::CertificateRevoked => "our certificate has been revoked".to_owned(),
        AlertDescription::UnrecognisedName => "it does not know the name".to_owned(),
        AlertDescription::NoApplicationProtocol => "it speaks none of our protocols".to_owned(),
        AlertDescription::ProtocolVersion => "it speaks none of our versions of TLS".to_owned(),
        AlertDescription::HandshakeFailure => {
            "it found no common version, cipher or signature".to_owned()
        }
        other => format!("{other:?}"),
    }
}

fn incompatible(why: &PeerIncompatible) -> String {
    match why {
        PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => {
            "the peer speaks none of our versions of TLS".to_owned()
        }
        PeerIncompatible::NoCipherSuitesInCommon => {
            "the peer offers none of our ciphers".to_owned()
        }
        PeerIncompatible::NoSignatureSchemesInCommon => {
            "the peer cannot verify signatures of our kind of key".to_owned()
        }
        other => format!("the peer cannot be spoken with: {other:?}"),
    }
}

/// `DnsName("a.example")` as `a.example`: names arrive as a debugger shows them.
fn plain_name(name: &str) -> String {
    match name.split('"').nth(1) {
        Some(inner) => inner.to_owned(),
        None => name.to_owned(),
    }
}

fn date(time: UnixTime) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(time.as_secs()))
}
