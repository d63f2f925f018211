//! What signs certificates: an authority of the same secret, or one of another secret, which is looked at more closely, since
//! anybody may have made it.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use pkcs8::der::pem::{self, LineEnding};
use rcgen::{Issuer, KeyPair};
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::Pem;

use super::certificate::{Authority, CertificateFacts, certificates, default_ca};
use super::private_key::PrivateKey;
use super::recipe::{Bench, RecipeError};
use crate::api::managed_secret::{CertificateIssuer, CertificateIssuerRef};
use crate::crypto::SecretBytes;
use crate::secrets::value::SecretValue;

/// Who signs a certificate.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(untagged)]
pub enum IssuerName {
    /// The certificate of the same secret in this key.
    Key(String),
    /// An authority of another secret.
    Secret(IssuerRef),
}

impl IssuerName {
    /// `None` only for what the schema refuses.
    pub(super) fn of(spec: &CertificateIssuer) -> Option<Self> {
        let key = spec.key.clone().map(Self::Key);
        key.or_else(|| Some(Self::Secret(spec.secret_ref.as_ref()?.into())))
    }
}

/// Where a certificate authority of another secret is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuerRef {
    /// Name of the secret.
    pub secret: String,
    /// The key with its certificate.
    pub certificate: String,
    /// The key with its private key.
    pub private_key: String,
}

impl From<&CertificateIssuerRef> for IssuerRef {
    fn from(spec: &CertificateIssuerRef) -> Self {
        let or =
            |key: &Option<String>, default: &str| key.clone().unwrap_or_else(|| default.to_owned());
        Self {
            secret: spec.name.clone(),
            certificate: or(&spec.certificate_key, "tls.crt"),
            private_key: or(&spec.private_key_key, "tls.key"),
        }
    }
}

/// The authorities of other secrets that were asked to sign; of one that cannot, why, and the remedy.
pub type Authorities = BTreeMap<IssuerRef, Result<Signer, String>>;

/// A certificate authority that can sign.
pub struct Signer {
    /// Its certificate, in DER.
    own: Vec<u8>,
    private: PrivateKey,
    /// When its certificate ends.
    pub(super) not_after: Timestamp,
    /// The certificates from it to its root, without that, in PEM.
    pub(super) between: SecretBytes,
    /// The certificate of its root, in PEM.
    pub(super) root: SecretBytes,
    /// How many authorities may be below it.
    pub(super) room: u32,
}

impl Signer {
    /// The authority of another secret whose value that is.
    ///
    /// # Errors
    /// What keeps it from signing, with the key and the remedy.
    pub fn read(value: &SecretValue, issuer: &IssuerRef, now: Timestamp) -> Result<Self, String> {
        let (certificate, private) = (&issuer.certificate, &issuer.private_key);
        let text = input(value, certificate, "certificateKey")?;
        let private_text = input(value, private, "privateKeyKey")?;
        let unreadable = || format!("its key `{certificate}` holds no certificate in PEM");
        let chain = certificates(text).ok_or_else(unreadable)?;
        let parsed: Result<Vec<_>, _> = chain.iter().map(Pem::parse_x509).collect();
        let parsed = parsed.map_err(|_| unreadable())?;
        let (own, facts) = (&parsed[0], CertificateFacts::read(text));
        let facts = facts.ok_or_else(unreadable)?;
        may_sign(own, certificate)?;
        if facts.not_after <= now || now < facts.not_before {
            return Err(format!(
                "the certificate in its key `{certificate}` is valid from {:.0} to {:.0} only; have it renewed",
                facts.not_before, facts.not_after
            ));
        }
        let room = room(&parsed).ok_or_else(|| {
            format!(
                "the path length of a certificate in its key `{certificate}` allows none below it"
            )
        })?;
        let private_key = PrivateKey::read(private_text)
            .map_err(|_| format!("its key `{private}` holds no private key that can be read"))?;
        if private_key.public_bytes() != own.public_key().subject_public_key.data.as_ref() {
            return Err(format!(
                "its keys `{certificate}` and `{private}` do not belong together; name a pair in certificateKey and privateKeyKey"
            ));
        }
        let (root, roots) = root(value, certificate, &chain);
        let is_root = |one: &&Pem| roots.iter().any(|root| root.contents == one.contents);
        let between = chain.iter().filter(|one| !is_root(one));
        Ok(Self {
            own: chain[0].contents.clone(),
            private: private_key,
            not_after: facts.not_after,
            between: written(between),
            root,
            room,
        })
    }

    /// The authority of the secret whose certificate is made.
    pub(super) fn beside(
        bench: &Bench<'_>,
        authority: &Authority<'_>,
    ) -> Result<Self, RecipeError> {
        let refused = |problem| RecipeError::Issuer {
            issuer: authority.certificate.to_owned(),
            problem,
        };
        let unreadable = || refused("it holds no certificate that could be read");
        let (chain, root) = (
            bench.input(authority.certificate)?,
            bench.input(authority.root)?,
        );
        let facts = CertificateFacts::read(chain).ok_or_else(unreadable)?;
        if facts.not_after <= bench.now {
            return Err(refused("it has expired"));
        }
        let first = certificates(chain).and_then(|all| all.into_iter().next());
        let private = PrivateKey::read(bench.input(authority.private_key)?)
            .map_err(|_| refused("its private key could not be read"))?;
        Ok(Self {
            own: first.ok_or_else(unreadable)?.contents,
            private,
            not_after: facts.not_after,
            between: SecretBytes::copy_of(if chain == root { &[] } else { chain }),
            root: SecretBytes::copy_of(root),
            room: u32::MAX,
        })
    }

    /// As the library signs with it; `None` if it cannot read one of the two.
    pub(super) fn issuer(&self) -> Option<Issuer<'static, KeyPair>> {
        let key = self.private.signing()?;
        Issuer::from_ca_cert_der(&self.own.as_slice().into(), key).ok()
    }
}

fn input<'a>(value: &'a SecretValue, key: &str, field: &str) -> Result<&'a [u8], String> {
    let missing =
        || format!("it has no key `{key}`; name the right one in issuer.secretRef.{field}");
    value.get(key).ok_or_else(missing)
}

/// RFC 5280, sections 4.2.1.3 and 4.2.1.9: where the use of its key is limited, signing certificates is named.
fn may_sign(certificate: &X509Certificate<'_>, key: &str) -> Result<(), String> {
    let usage = certificate.key_usage();
    let signs = usage.is_ok_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()));
    if certificate.is_ca() && signs {
        return Ok(());
    }
    Err(format!(
        "the certificate in its key `{key}` is none of an authority, whose basicConstraints say CA and whose keyUsage has \
         keyCertSign; generate one with isCA: true"
    ))
}

/// How many authorities the path lengths of a chain leave room for below its first certificate. `None` if they allow not even a
/// certificate that signs nothing.
fn room(chain: &[X509Certificate<'_>]) -> Option<u32> {
    let mut room = u32::MAX;
    for (below, certificate) in (0..).zip(chain) {
        let constraints = certificate.basic_constraints().ok().flatten();
        if let Some(limit) = constraints.and_then(|found| found.value.path_len_constraint) {
            room = room.min(limit.checked_sub(below)?);
        }
    }
    Some(room)
}

/// The root: what the secret has under the key that a generated certificate's root would have, or the last of the chain.
fn root(value: &SecretValue, certificate: &str, chain: &[Pem]) -> (SecretBytes, Vec<Pem>) {
    let named = value.get(&default_ca(certificate));
    if let Some((text, roots)) = named.and_then(|text| Some((text, certificates(text)?))) {
        return (SecretBytes::copy_of(text), roots);
    }
    let last: Vec<_> = chain.last().cloned().into_iter().collect();
    (written(last.iter()), last)
}

/// Certificates, in PEM.
fn written<'a>(certificates: impl Iterator<Item = &'a Pem>) -> SecretBytes {
    let text = certificates.map(|one| {
        let text = pem::encode_string("CERTIFICATE", LineEnding::LF, &one.contents);
        text.expect("a certificate is far below the limits of the format")
    });
    SecretBytes::from(text.collect::<String>())
}
