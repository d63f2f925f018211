//! Generators of pairs of keys: a private half, and a public one that is computed from it.

use kube::KubeSchema;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The algorithm of a private key.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum PrivateKeyAlgorithm {
    /// RSA; `bits` 2048, 3072 (default) or 4096.
    Rsa,
    /// ECDSA on a NIST curve; `bits` 256 (default), 384 or 521.
    Ecdsa,
    /// Ed25519; `bits` is not set.
    Ed25519,
}

/// The structure of a private key.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum PrivateKeyEncoding {
    /// PKCS#8, for every algorithm (`PRIVATE KEY`).
    #[default]
    Pkcs8,
    /// PKCS#1, for RSA (`RSA PRIVATE KEY`).
    Pkcs1,
    /// SEC1, for ECDSA (`EC PRIVATE KEY`).
    Sec1,
}

/// How a key is written.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum KeyFormat {
    /// Text (RFC 7468).
    #[default]
    Pem,
    /// Binary (X.690).
    Der,
}

/// A key pair of SSH. The secret's key gets the private half in OpenSSH's own format, without a passphrase.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = bits("(has(self.algorithm) ? self.algorithm : 'Ed25519')"))]
pub struct SshKey {
    /// The algorithm; default `Ed25519`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<PrivateKeyAlgorithm>,
    /// The size: 2048, 3072 (default) or 4096 for `Rsa`; 256 (default), 384 or 521 for `Ecdsa`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<u32>,
    /// The comment in both halves; default none. Printable ASCII.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = "^[ -~]*$"))]
    pub comment: Option<String>,
    /// The key of the secret that gets the public half, a line of `authorized_keys`; default the private half's with
    /// `.pub`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = super::KEY_NAME))]
    pub public_key: Option<String>,
}

/// A key pair for signatures or encryption. The secret's key gets the private half.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = bits("self.algorithm"))]
#[x_kube(validation = encoding("self.algorithm"))]
pub struct KeyPair {
    /// The algorithm.
    pub algorithm: PrivateKeyAlgorithm,
    /// The size: 2048, 3072 (default) or 4096 for `Rsa`; 256 (default), 384 or 521 for `Ecdsa`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<u32>,
    /// The structure of the private half; default `Pkcs8`. `Pkcs1` is for `Rsa` only, `Sec1` for `Ecdsa`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<PrivateKeyEncoding>,
    /// How both halves are written; default `Pem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<KeyFormat>,
    /// The key of the secret that gets the public half, a `SubjectPublicKeyInfo`; default the private half's with `.pub`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = super::KEY_NAME))]
    pub public_key: Option<String>,
}

/// The rule that the algorithm, a CEL expression, has such a size.
pub(super) fn bits(algorithm: &str) -> Rule {
    Rule::new(format!(
        "!has(self.bits) || {algorithm} == 'Rsa' && self.bits in [2048, 3072, 4096] \
         || {algorithm} == 'Ecdsa' && self.bits in [256, 384, 521]"
    ))
    .message(
        "bits is 2048, 3072 or 4096 for Rsa, 256, 384 or 521 for Ecdsa, and not set for Ed25519",
    )
}

/// The rule that the algorithm, a CEL expression, has such an encoding.
pub(super) fn encoding(algorithm: &str) -> Rule {
    Rule::new(format!(
        "!has(self.encoding) || self.encoding == 'Pkcs8' || self.encoding == 'Pkcs1' && {algorithm} == 'Rsa' \
         || self.encoding == 'Sec1' && {algorithm} == 'Ecdsa'"
    ))
    .message("encoding Pkcs1 is for algorithm Rsa only, Sec1 for Ecdsa: choose Pkcs8, or the other algorithm")
}
