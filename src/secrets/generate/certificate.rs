//! Certificates: what one is to say, when the next one is due, and how it is made.

use std::net::IpAddr;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType, SerialNumber,
};
use serde_json::json;
use time::OffsetDateTime;
use x509_parser::pem::Pem;

use super::authority::{IssuerName, IssuerRef, Signer};
use super::digest;
use super::private_key::{KeyKind, PrivateKey, Unreadable};
use super::recipe::{Bench, Made, RecipeError};
use crate::api::managed_secret::{
    Certificate, CertificateKey, CertificateKeyRotation, CertificateUsage, KeyFormat,
    PrivateKeyAlgorithm, PrivateKeyEncoding,
};
use crate::crypto::{Random, SecretBytes};
use crate::hex::Hex;

/// Days that a certificate lives if nothing else is said.
const DEFAULT_DURATION_DAYS: u32 = 90;
/// Most days that a certificate lives.
const MAX_DURATION_DAYS: u32 = 3650;
/// How long before it is made its life begins: other clocks may be late.
const BACKDATED: SignedDuration = SignedDuration::from_hours(1);
/// Certificates that are read of one key: a chain has a few.
const MAX_CHAIN: usize = 16;

/// What a certificate says, and how it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificatePolicy {
    /// The common name of its subject.
    pub common_name: Option<String>,
    /// The organization of its subject.
    pub organization: Option<String>,
    /// DNS names.
    pub dns_names: Vec<String>,
    /// IP addresses.
    pub ip_addresses: Vec<IpAddr>,
    /// URIs.
    pub uris: Vec<String>,
    /// E-mail addresses.
    pub email_addresses: Vec<String>,
    /// Whether it signs others.
    pub is_ca: bool,
    /// What it may be used for.
    pub usages: Vec<CertificateUsage>,
    /// Days that it lives.
    pub duration_days: u32,
    /// Days before its end that the next one is made; `None` for a third of its life.
    pub renew_before_days: Option<u32>,
    /// Its private key.
    pub kind: KeyKind,
    /// The structure of that.
    pub encoding: PrivateKeyEncoding,
    /// Whether the next certificate gets another private key.
    pub rotation: CertificateKeyRotation,
    /// The key that gets the private key.
    pub private_key: String,
    /// The key that gets the root's certificate.
    pub ca: String,
    /// Who signs it; `None` if it signs itself.
    pub issuer: Option<IssuerName>,
}

/// Where the keys of a certificate that signs others are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::secrets) struct Authority<'a> {
    /// Its certificate.
    pub(in crate::secrets) certificate: &'a str,
    /// Its private key.
    pub(in crate::secrets) private_key: &'a str,
    /// The certificate of its root.
    pub(in crate::secrets) root: &'a str,
}

/// What a certificate says of its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// When it begins.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
    /// Its serial number, in hexadecimal.
    pub serial: String,
}

impl CertificateFacts {
    /// What the first of the certificates in a PEM text says.
    pub fn read(pem: &[u8]) -> Option<Self> {
        let first = certificates(pem)?.into_iter().next()?;
        let certificate = first.parse_x509().ok()?;
        let validity = certificate.validity();
        // "No expiry" (RFC 5280, section 4.1.2.5) is later than the last time that there is.
        let time = |time: x509_parser::time::ASN1Time| {
            Timestamp::from_second(time.timestamp()).unwrap_or(Timestamp::MAX)
        };
        Some(Self {
            not_before: time(validity.not_before),
            not_after: time(validity.not_after),
            serial: Hex(certificate.raw_serial()).to_string(),
        })
    }
}

/// The certificates of a PEM text; `None` if there is none, or anything else.
pub(super) fn certificates(pem: &[u8]) -> Option<Vec<Pem>> {
    let all: Vec<Pem> = Pem::iter_from_buffer(pem)
        .take(MAX_CHAIN)
        .collect::<Result<_, _>>()
        .ok()?;
    let only = all.iter().all(|pem| pem.label == "CERTIFICATE");
    (only && !all.is_empty()).then_some(all)
}

/// The name of a certificate's key without its ending.
fn stem(key: &str) -> &str {
    key.strip_suffix(".crt").unwrap_or(key)
}

/// The key beside a certificate's that has its root, if no other is named.
pub(super) fn default_ca(key: &str) -> String {
    match key {
        "tls.crt" => "ca.crt".to_owned(),
        _ => format!("{}.ca.crt", stem(key)),
    }
}

impl CertificatePolicy {
    pub(super) fn new(key: &str, spec: &Certificate) -> Result<Self, RecipeError> {
        let default = CertificateKey::default();
        let private_key = spec.private_key.as_ref().unwrap_or(&default);
        let is_ca = spec.is_ca.unwrap_or(false);
        let algorithm = private_key.algorithm.unwrap_or(PrivateKeyAlgorithm::Ecdsa);
        let addresses = spec.ip_addresses.iter().enumerate();
        let addresses = addresses.map(|(index, text)| {
            text.parse().map_err(|_| RecipeError::CertificateName {
                field: "ipAddresses",
                position: index + 1,
            })
        });
        let rotation = if is_ca {
            CertificateKeyRotation::Never
        } else {
            CertificateKeyRotation::Always
        };
        let named = private_key.key.clone();
        Ok(Self {
            common_name: spec.common_name.clone(),
            organization: spec.organizations.first().cloned(),
            dns_names: spec.dns_names.clone(),
            ip_addresses: addresses.collect::<Result<_, _>>()?,
            uris: spec.uris.clone(),
            email_addresses: spec.email_addresses.clone(),
            is_ca,
            usages: usages(spec.usages.as_ref(), is_ca),
            duration_days: spec.duration_days.unwrap_or(DEFAULT_DURATION_DAYS),
            renew_before_days: spec.renew_before_days,
            kind: KeyKind::new(algorithm, private_key.bits)?,
            encoding: private_key.encoding.unwrap_or_default(),
            rotation: private_key.rotation.unwrap_or(rotation),
            private_key: named.unwrap_or_else(|| format!("{}.key", stem(key))),
            ca: spec.ca_key.clone().unwrap_or_else(|| default_ca(key)),
            issuer: spec.issuer.as_ref().and_then(IssuerName::of),
        })
    }

    pub(super) fn validate(&self) -> Result<(), RecipeError> {
        let bounds = |field| Err(RecipeError::Bounds { field });
        if !(1..=MAX_DURATION_DAYS).contains(&self.duration_days) {
            return bounds("durationDays");
        }
        if self
            .renew_before_days
            .is_some_and(|days| days >= self.duration_days)
        {
            return bounds("renewBeforeDays");
        }
        self.kind.check(self.encoding)?;
        self.names().map(|_| ())
    }

    /// The digest of what a certificate says, without what only the next one will say.
    pub(super) fn digest(&self) -> String {
        digest(&json!({
            "commonName": self.common_name, "organization": self.organization, "dnsNames": self.dns_names,
            "ipAddresses": self.ip_addresses, "uris": self.uris, "emailAddresses": self.email_addresses,
            "isCA": self.is_ca, "usages": self.usages, "issuer": self.issuer,
        }))
    }

    /// When the next certificate is due. Of a life that its issuer's end made shorter than `renewBeforeDays` the last
    /// third counts, or else there would be a new one at every look.
    pub fn renewal(&self, facts: &CertificateFacts) -> Timestamp {
        let life = facts.not_after.duration_since(facts.not_before) - BACKDATED;
        let life = life.max(SignedDuration::ZERO);
        let before = self
            .renew_before_days
            .map(days)
            .filter(|before| *before < life);
        facts.not_after - before.unwrap_or(life / 3)
    }

    /// The certificate, its private key and its root: kept, or made.
    pub(super) fn fill(
        &self,
        key: &str,
        bench: &Bench<'_>,
        issuer: Option<&Authority<'_>>,
        random: &mut dyn Random,
    ) -> Result<Made, RecipeError> {
        let (certificate, private) = (bench.kept(key), bench.kept(&self.private_key));
        let (certificate, private, ca) = match (certificate, private) {
            (Some(_), None) => {
                return Err(RecipeError::PrivateKeyMissing {
                    there: key.to_owned(),
                    private: self.private_key.clone(),
                });
            }
            (Some(certificate), Some(private)) if self.stays(key, certificate, bench, issuer) => (
                SecretBytes::copy_of(certificate),
                SecretBytes::copy_of(private),
                bench.kept(&self.ca),
            ),
            (certificate, private) => {
                let first = certificate.is_none();
                let kept =
                    private.filter(|_| first || self.rotation == CertificateKeyRotation::Never);
                let (private, written) = self.private_key(kept)?;
                (self.issue(&private, bench, issuer, random)?, written, None)
            }
        };
        // It is its own root, or has that of its issuer.
        let ca = SecretBytes::copy_of(match (ca, &self.issuer, issuer) {
            (Some(kept), _, _) => kept,
            (None, Some(IssuerName::Secret(of)), _) => bench.authority(of)?.root.expose(),
            (None, _, Some(issuer)) => bench.input(issuer.root)?,
            (None, _, None) => certificate.expose(),
        });
        Ok(vec![
            (key.to_owned(), certificate),
            (self.private_key.clone(), private),
            (self.ca.clone(), ca),
        ])
    }

    /// The authority of another secret that is needed for these keys, if one is.
    pub(super) fn needs_authority(&self, key: &str, bench: &Bench<'_>) -> Option<&IssuerRef> {
        let Some(IssuerName::Secret(of)) = &self.issuer else {
            return None;
        };
        let kept = [&self.private_key, &self.ca];
        let all = kept.into_iter().all(|key| bench.kept(key).is_some());
        let certificate = bench.kept(key).filter(|_| all);
        let stays = |certificate| self.stays(key, certificate, bench, None);
        (!certificate.is_some_and(stays)).then_some(of)
    }

    /// Whether the certificate stays: it says what it should, its issuer is the same, and the next one is not due, or is due
    /// and an authority of another secret cannot sign it. A clock that was put back is no reason for another.
    fn stays(
        &self,
        key: &str,
        certificate: &[u8],
        bench: &Bench<'_>,
        issuer: Option<&Authority<'_>>,
    ) -> bool {
        let inputs: Vec<String> = issuer
            .iter()
            .map(|issuer| issuer.certificate.to_owned())
            .collect();
        let waits = || match &self.issuer {
            Some(IssuerName::Secret(of)) => bench.issuers.get(of).is_some_and(Result::is_err),
            Some(IssuerName::Key(_)) | None => false,
        };
        let facts = CertificateFacts::read(certificate);
        let young = facts.is_some_and(|facts| bench.now < self.renewal(&facts));
        bench.is_made_with(key, &self.digest(), &inputs) && (young || waits())
    }

    /// The private key that was kept, or a new one; and as it is written.
    fn private_key(&self, kept: Option<&[u8]>) -> Result<(PrivateKey, SecretBytes), RecipeError> {
        let Some(kept) = kept else {
            let private = PrivateKey::generate(self.kind)?;
            let written = private.write(self.encoding, KeyFormat::Pem);
            return Ok((private, written));
        };
        let private = PrivateKey::read(kept);
        let private = private.map_err(|Unreadable| RecipeError::PrivateKeyUnreadable {
            key: self.private_key.clone(),
        })?;
        Ok((private, SecretBytes::copy_of(kept)))
    }

    /// A new certificate, in PEM, followed by those between it and its root.
    fn issue(
        &self,
        private: &PrivateKey,
        bench: &Bench<'_>,
        issuer: Option<&Authority<'_>>,
        random: &mut dyn Random,
    ) -> Result<SecretBytes, RecipeError> {
        let key = private.signing().ok_or(RecipeError::Certificate)?;
        let end = bench.now + days(self.duration_days);
        let beside = match &self.issuer {
            Some(IssuerName::Secret(_)) => None,
            Some(IssuerName::Key(_)) | None => issuer,
        };
        let beside = beside.map(|issuer| Signer::beside(bench, issuer));
        let beside = beside.transpose()?;
        let signer = match &self.issuer {
            Some(IssuerName::Secret(of)) => Some(self.with_room(of, bench)?),
            Some(IssuerName::Key(_)) | None => beside.as_ref(),
        };
        let Some(signer) = signer else {
            let params = self.params(bench.now, end, random)?;
            let made = params
                .self_signed(&key)
                .map_err(|_| RecipeError::Certificate)?;
            return Ok(SecretBytes::from(made.pem()));
        };
        let params = self.params(bench.now, end.min(signer.not_after), random)?;
        let issuer = signer.issuer().ok_or(RecipeError::Certificate)?;
        let made = params
            .signed_by(&key, &issuer)
            .map_err(|_| RecipeError::Certificate)?;
        let mut text = SecretBytes::from(made.pem());
        text.extend_from_slice(signer.between.expose());
        Ok(text)
    }

    /// The authority of another secret, if it may sign this certificate.
    fn with_room<'a>(&self, of: &IssuerRef, bench: &Bench<'a>) -> Result<&'a Signer, RecipeError> {
        let signer = bench.authority(of)?;
        if self.is_ca && signer.room == 0 {
            return Err(RecipeError::IssuerNotReady {
                secret: of.secret.clone(),
                problem: "its path length allows no authority below it".to_owned(),
            });
        }
        Ok(signer)
    }

    fn params(
        &self,
        now: Timestamp,
        end: Timestamp,
        random: &mut dyn Random,
    ) -> Result<CertificateParams, RecipeError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(organization) = &self.organization {
            params
                .distinguished_name
                .push(DnType::OrganizationName, organization.as_str());
        }
        if let Some(name) = &self.common_name {
            params
                .distinguished_name
                .push(DnType::CommonName, name.as_str());
        }
        params.subject_alt_names = self.names()?;
        params.not_before = date(now - BACKDATED)?;
        params.not_after = date(end)?;
        params.serial_number = Some(serial(random)?);
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = self.usages.iter().copied().map(purpose).collect();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if self.is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
                .key_usages
                .extend([KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]);
        } else {
            params.is_ca = IsCa::ExplicitNoCa;
            if matches!(self.kind, KeyKind::Rsa(_)) {
                // TLS 1.2 without ephemeral keys encrypts to the certificate's.
                params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
            }
        }
        Ok(params)
    }

    /// The alternative names of the subject.
    fn names(&self) -> Result<Vec<SanType>, RecipeError> {
        let ascii = |field: &'static str, names: &[String], of: fn(_) -> SanType| {
            let names = names.iter().enumerate().map(move |(index, name)| {
                let name = name.as_str().try_into();
                name.map(of).map_err(|_| RecipeError::CertificateName {
                    field,
                    position: index + 1,
                })
            });
            names.collect::<Result<Vec<_>, _>>()
        };
        let mut all = ascii("dnsNames", &self.dns_names, SanType::DnsName)?;
        all.extend(self.ip_addresses.iter().copied().map(SanType::IpAddress));
        all.extend(ascii("uris", &self.uris, SanType::URI)?);
        all.extend(ascii(
            "emailAddresses",
            &self.email_addresses,
            SanType::Rfc822Name,
        )?);
        Ok(all)
    }
}

fn usages(named: Option<&Vec<CertificateUsage>>, is_ca: bool) -> Vec<CertificateUsage> {
    let mut usages = match named {
        Some(named) => named.clone(),
        None if is_ca => Vec::new(),
        None => vec![CertificateUsage::ServerAuth, CertificateUsage::ClientAuth],
    };
    usages.sort_unstable();
    usages
}

fn purpose(usage: CertificateUsage) -> ExtendedKeyUsagePurpose {
    match usage {
        CertificateUsage::ServerAuth => ExtendedKeyUsagePurpose::ServerAuth,
        CertificateUsage::ClientAuth => ExtendedKeyUsagePurpose::ClientAuth,
        CertificateUsage::CodeSigning => ExtendedKeyUsagePurpose::CodeSigning,
        CertificateUsage::EmailProtection => ExtendedKeyUsagePurpose::EmailProtection,
        CertificateUsage::TimeStamping => ExtendedKeyUsagePurpose::TimeStamping,
    }
}

/// 16 random bytes, positive and with no zero byte in front.
fn serial(random: &mut dyn Random) -> Result<SerialNumber, RecipeError> {
    let mut bytes = [0; 16];
    random.fill(&mut bytes).map_err(RecipeError::Random)?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn days(days: u32) -> SignedDuration {
    SignedDuration::from_hours(24 * i64::from(days))
}

fn date(time: Timestamp) -> Result<OffsetDateTime, RecipeError> {
    OffsetDateTime::from_unix_timestamp(time.as_second()).map_err(|_| RecipeError::Certificate)
}
