//! The generator of X.509 certificates.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pairs::{PrivateKeyAlgorithm, PrivateKeyEncoding, bits, encoding};
use crate::api::schema::OBJECT_NAME;

/// A certificate with its private key, made anew before it expires. The secret's key gets the certificate in PEM,
/// followed by those between it and its root. A change of the names, the usages, `isCA` or the issuer makes it anew; a
/// change of the duration or of `privateKey` takes effect with the next one, and so does what becomes of an authority of
/// another secret.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "has(self.commonName) || has(self.dnsNames) && size(self.dnsNames) > 0 || has(self.ipAddresses) && \
     size(self.ipAddresses) > 0 || has(self.uris) && size(self.uris) > 0 || has(self.emailAddresses) && \
     size(self.emailAddresses) > 0"
).message("the certificate is for nobody: name commonName, or at least one of dnsNames, ipAddresses, uris, emailAddresses"))]
#[x_kube(validation = Rule::new(
    "!has(self.isCA) || !self.isCA || has(self.commonName)"
).message("a certificate authority needs a commonName, which its certificates name it by"))]
#[x_kube(validation = Rule::new(
    "!has(self.renewBeforeDays) || self.renewBeforeDays < (has(self.durationDays) ? self.durationDays : 90)"
).message("renewBeforeDays must be less than durationDays (default 90)"))]
pub struct Certificate {
    /// The common name of its subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub common_name: Option<String>,
    /// The organization of its subject. At most 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1), inner(length(min = 1, max = 64)))]
    pub organizations: Vec<String>,
    /// DNS names; the first label may be `*`. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253), regex(pattern = r"^(\*\.)?[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?)*$")), extend("x-kubernetes-list-type" = "set"))]
    pub dns_names: Vec<String>,
    /// IP addresses, version 4 or 6. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 2, max = 45), regex(pattern = "^[0-9A-Fa-f:.]+$")), extend("x-kubernetes-list-type" = "set"))]
    pub ip_addresses: Vec<String>,
    /// URIs, such as a SPIFFE id. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 2048), regex(pattern = "^[!-~]+$")), extend("x-kubernetes-list-type" = "set"))]
    pub uris: Vec<String>,
    /// E-mail addresses. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 3, max = 254), regex(pattern = "^[!-~]+@[!-~]+$")), extend("x-kubernetes-list-type" = "set"))]
    pub email_addresses: Vec<String>,
    /// Whether it may sign other certificates; default false.
    #[serde(default, rename = "isCA", skip_serializing_if = "Option::is_none")]
    pub is_ca: Option<bool>,
    /// What it may be used for; default `ServerAuth` and `ClientAuth`, and none for a certificate authority, which
    /// means no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 5), extend("x-kubernetes-list-type" = "set"))]
    pub usages: Option<Vec<CertificateUsage>>,
    /// Days that it is valid, 1 to 3,650; default 90. Never longer than its issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3650))]
    pub duration_days: Option<u32>,
    /// Days before its end that it is made anew; default a third of its life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3649))]
    pub renew_before_days: Option<u32>,
    /// Its private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<CertificateKey>,
    /// The key of the secret that gets the certificate of the root that it is signed under; default `ca.crt` beside
    /// `tls.crt`, and otherwise the certificate's with `.ca` before `.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = super::KEY_NAME))]
    pub ca_key: Option<String>,
    /// Who signs it; default itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<CertificateIssuer>,
}

/// What a certificate may be used for (RFC 5280, section 4.2.1.12).
#[derive(
    Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord,
)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum CertificateUsage {
    /// A server of TLS.
    ServerAuth,
    /// A client of TLS.
    ClientAuth,
    /// Signing programs.
    CodeSigning,
    /// Protecting e-mail.
    EmailProtection,
    /// Time stamps.
    TimeStamping,
}

/// The private key of a certificate.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = bits("(has(self.algorithm) ? self.algorithm : 'Ecdsa')"))]
#[x_kube(validation = encoding("(has(self.algorithm) ? self.algorithm : 'Ecdsa')"))]
pub struct CertificateKey {
    /// The key of the secret that gets it, in PEM; default the certificate's, with `.key` in the place of `.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = super::KEY_NAME))]
    pub key: Option<String>,
    /// The algorithm; default `Ecdsa`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<PrivateKeyAlgorithm>,
    /// The size: 2048, 3072 (default) or 4096 for `Rsa`; 256 (default), 384 or 521 for `Ecdsa`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<u32>,
    /// Its structure; default `Pkcs8`. `Pkcs1` is for `Rsa` only, `Sec1` for `Ecdsa`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<PrivateKeyEncoding>,
    /// Whether the next certificate gets another key; default `Always`, for a certificate authority `Never`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<CertificateKeyRotation>,
}

/// Whether the next certificate gets another private key.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum CertificateKeyRotation {
    /// Every certificate has a private key of its own.
    Always,
    /// The private key stays.
    Never,
}

/// Who signs a certificate: an authority of this secret, or one of another secret.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.key) != has(self.secretRef)")
    .message("exactly one of key and secretRef must be set"))]
pub struct CertificateIssuer {
    /// The key of this secret with the certificate of the authority, which is generated with `isCA: true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = super::KEY_NAME))]
    pub key: Option<String>,
    /// An authority of another `ManagedSecret` of the namespace. It is read only when it has to sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<CertificateIssuerRef>,
}

/// A certificate authority among the keys of another `ManagedSecret`. Whoever names one needs `get` on
/// `managedsecrets/value` for it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CertificateIssuerRef {
    /// Name of the `ManagedSecret`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
    /// The key with its certificate, in PEM, and those between it and its root; default `tls.crt`. Its root is taken from the
    /// key that `caKey` of such a certificate names by default, and otherwise is the last certificate here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = super::KEY_NAME))]
    pub certificate_key: Option<String>,
    /// The key with its private key, in PEM; default `tls.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = super::KEY_NAME))]
    pub private_key_key: Option<String>,
}

/// A generated certificate of the current version.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// The key of the secret that has it.
    pub key: String,
    /// When it expires.
    pub not_after: Time,
    /// When the next one is made.
    pub renewal_time: Time,
    /// Its serial number, in hexadecimal.
    pub serial: String,
}
