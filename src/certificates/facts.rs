//! What certificates say about themselves.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use k8s_openapi::jiff::Timestamp;
use rcgen::{KeyPair, PublicKeyData as _};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;
use x509_parser::x509::X509Name;

/// From when and until when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first instant.
    pub from: Timestamp,
    /// The last instant.
    pub until: Timestamp,
}

impl Validity {
    /// Whether it is valid at `now`.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.from <= now && now < self.until
    }

    /// When two thirds of the life are over.
    pub fn renewal(&self) -> Timestamp {
        let life = self.until.as_second() - self.from.as_second();
        Timestamp::from_second(self.from.as_second() + life / 3 * 2).unwrap_or(self.until)
    }
}

/// What is known of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityFacts {
    /// Its name, which no other authority has.
    pub name: String,
    /// Its life.
    pub validity: Validity,
}

/// What is known of the server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafFacts {
    /// The authority that signed it.
    pub issuer: String,
    /// Its life.
    pub validity: Validity,
    /// The DNS names and addresses that it is for, in the form in which names are compared.
    pub hosts: BTreeSet<String>,
}

/// The form in which names are compared: an address is written in one way only, and a DNS name without capitals.
pub(super) fn normal(host: &str) -> String {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => host.to_ascii_lowercase(),
    }
}

/// Everything that is there. What cannot be read is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The authority that signs.
    pub current: Option<AuthorityFacts>,
    /// The authority that will sign: trusted already.
    pub next: Option<AuthorityFacts>,
    /// The authority that signed before: trusted still.
    pub previous: Option<AuthorityFacts>,
    /// The server's certificate.
    pub leaf: Option<LeafFacts>,
}

/// Reads an authority, PEM. `None`: it is none, or the key is another's.
pub(super) fn authority(certificate: &[u8], key: Option<&[u8]>) -> Option<AuthorityFacts> {
    let (_, pem) = parse_x509_pem(certificate).ok()?;
    let certificate = pem.parse_x509().ok()?;
    let fits = key.is_none_or(|key| belongs(key, &certificate));
    (certificate.is_ca() && fits).then_some(())?;
    Some(AuthorityFacts {
        name: common_name(certificate.subject())?,
        validity: validity(&certificate)?,
    })
}

/// Reads the server's certificate, PEM. `None`: it is none, or the key is another's.
pub(super) fn leaf(certificate: &[u8], key: &[u8]) -> Option<LeafFacts> {
    let (_, pem) = parse_x509_pem(certificate).ok()?;
    let certificate = pem.parse_x509().ok()?;
    belongs(key, &certificate).then_some(())?;
    let names = certificate.subject_alternative_name().ok()??;
    Some(LeafFacts {
        issuer: common_name(certificate.issuer())?,
        validity: validity(&certificate)?,
        hosts: names.value.general_names.iter().filter_map(host).collect(),
    })
}

/// The name, if it is one that a server is reached by.
fn host(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(normal(name)),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(*bytes).ok()?).to_string()),
            _ => Some(Ipv6Addr::from(<[u8; 16]>::try_from(*bytes).ok()?).to_string()),
        },
        _ => None,
    }
}

/// Whether that private key, PEM, is the certificate's.
fn belongs(key: &[u8], certificate: &X509Certificate<'_>) -> bool {
    let key = std::str::from_utf8(key).ok();
    let key = key.and_then(|key| KeyPair::from_pem(key).ok());
    key.is_some_and(|key| key.subject_public_key_info() == certificate.public_key().raw)
}

fn common_name(name: &X509Name<'_>) -> Option<String> {
    Some(name.iter_common_name().next()?.as_str().ok()?.to_owned())
}

fn validity(certificate: &X509Certificate<'_>) -> Option<Validity> {
    let validity = certificate.validity();
    Some(Validity {
        from: Timestamp::from_second(validity.not_before.timestamp()).ok()?,
        until: Timestamp::from_second(validity.not_after.timestamp()).ok()?,
    })
}
