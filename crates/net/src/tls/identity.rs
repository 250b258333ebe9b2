//! Who a client is, by the certificate that it showed.

use aws_lc_rs::digest;
use x509_parser::asn1_rs::ToDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};
use x509_parser::x509::AttributeTypeAndValue;

use super::ClientCertificate;
use super::certificate::address;

/// `None` if the certificate cannot be read: it has been verified, so that does not happen.
pub(super) fn identify(der: &[u8]) -> Option<ClientCertificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let common_name = (subject.iter_common_name().last())
        .and_then(|name| name.as_str().ok())
        .map(|name| escaped(name.as_bytes(), SUBJECT_SPECIALS).into());
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let names: Vec<String> = alternative.map_or_else(Vec::new, |extension| {
        let names = &extension.value.general_names;
        names.iter().filter_map(alternative_name).collect()
    });
    Some(ClientCertificate {
        subject: distinguished_name(subject).into(),
        common_name,
        san: names.join(", ").into(),
        fingerprint: hexadecimal(digest::digest(&digest::SHA256, der).as_ref()).into(),
    })
}

/// A name as RFC 4514 writes it: the most specific part first.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = (name.iter_rdn())
        .map(|part| part.iter().map(attribute).collect::<Vec<_>>().join("+"))
        .collect();
    parts.reverse();
    parts.join(",")
}

/// `CN=a`; types without a short name by their number, values that are no text as their bytes
/// (RFC 4514 §2.4).
fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let number = attribute.attr_type().to_id_string();
    let short = SHORT_NAMES.iter().find(|(oid, _)| *oid == number);
    match (short, attribute.as_str()) {
        (Some((_, short)), Ok(text)) => {
            format!("{short}={}", escaped(text.as_bytes(), SUBJECT_SPECIALS))
        }
        (short, _) => {
            let name = short.map_or(number.as_str(), |(_, short)| short);
            let bytes = attribute.attr_value().to_der_vec().unwrap_or_default();
            format!("{name}=#{}", hexadecimal(&bytes))
        }
    }
}

/// The types of RFC 4514 §3, and one more that is common in certificates of people.
const SHORT_NAMES: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// `DNS:a.example`. Kinds that few certificates have are left out.
fn alternative_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(format!("DNS:{}", escaped_name(name))),
        GeneralName::URI(uri) => Some(format!("URI:{}", escaped_name(uri))),
        GeneralName::RFC822Name(address) => Some(format!("email:{}", escaped_name(address))),
        GeneralName::IPAddress(bytes) => Some(format!("IP:{}", address(bytes)?)),
        _ => None,
    }
}

/// A comma in a name would look like the beginning of another name.
fn escaped_name(name: &str) -> String {
    escaped(name.as_bytes(), b",\\\" ")
}

/// What RFC 4514 §2.4 escapes in values, wherever it stands.
const SUBJECT_SPECIALS: &[u8] = b"\"+,;<>\\#";

/// `bytes` in ASCII that can stand in a header and in a log: everything in `specials` and all that
/// is not printable as a backslash and two digits.
fn escaped(bytes: &[u8], specials: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let last = bytes.len().saturating_sub(1);
    for (index, byte) in bytes.iter().enumerate() {
        let is_outer_space = *byte == b' ' && (index == 0 || index == last);
        let is_plain = (b' '..=b'~').contains(byte) && !specials.contains(byte) && !is_outer_space;
        if is_plain {
            text.push(char::from(*byte));
        } else {
            text.push('\\');
            text.push_str(&hexadecimal(&[*byte]));
        }
    }
    text
}

fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    (bytes.iter())
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}
