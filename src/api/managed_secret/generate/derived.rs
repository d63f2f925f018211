//! Generators of values that follow from other keys of the secret.

use kube::KubeSchema;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A line of an htpasswd file: a user name, and the bcrypt hash of a password.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = one_username())]
pub struct Htpasswd {
    /// The user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = "^[^:\r\n]+$"))]
    pub username: Option<String>,
    /// The key of this secret with the user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = super::KEY_NAME))]
    pub username_from: Option<String>,
    /// The key of this secret with the password, of at most 71 bytes.
    #[schemars(length(min = 1, max = 253), regex(pattern = super::KEY_NAME))]
    pub password_from: String,
    /// Cost of a guess, as a power of two: 4 to 17; default 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 4, max = 17))]
    pub cost: Option<u32>,
}

/// The bcrypt hash of a key, as `$2y$...`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Bcrypt {
    /// The key of this secret with the password, of at most 71 bytes.
    #[schemars(length(min = 1, max = 253), regex(pattern = super::KEY_NAME))]
    pub from: String,
    /// Cost of a guess, as a power of two: 4 to 17; default 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 4, max = 17))]
    pub cost: Option<u32>,
}

/// The SCRAM-SHA-256 verifier of a key, in the form that PostgreSQL stores and `ALTER ROLE ... PASSWORD` accepts.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Scram {
    /// The key of this secret with the password.
    #[schemars(length(min = 1, max = 253), regex(pattern = super::KEY_NAME))]
    pub from: String,
    /// Iterations of the hash, 4,096 to 600,000; default 4,096.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 4096, max = 600_000))]
    pub iterations: Option<u32>,
}

/// Log-ins to registries, in the form of `.dockerconfigjson`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DockerConfigJson {
    /// The registries. At most 16.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["server"]))]
    pub registries: Vec<Registry>,
}

/// A log-in to a registry.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = one_username())]
pub struct Registry {
    /// Its address, such as `registry.example` or `https://index.docker.io/v1/`.
    #[schemars(length(min = 1, max = 512), regex(pattern = "^[!-~]+$"))]
    pub server: String,
    /// The user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = "^[^:\r\n]+$"))]
    pub username: Option<String>,
    /// The key of this secret with the user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = super::KEY_NAME))]
    pub username_from: Option<String>,
    /// The key of this secret with the password.
    #[schemars(length(min = 1, max = 253), regex(pattern = super::KEY_NAME))]
    pub password_from: String,
    /// The e-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 254))]
    pub email: Option<String>,
}

/// A keystore of Java: a private key with its certificates, certificates that are trusted, or both.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.certificateFrom) == has(self.privateKeyFrom)")
    .message("certificateFrom and privateKeyFrom go together: set both, or neither for a truststore"))]
#[x_kube(validation = Rule::new("!has(self.alias) || !self.alias.matches('^ca(-[0-9]+)?$')")
    .message("the aliases ca, ca-2, ... are those of trusted certificates: choose another"))]
#[x_kube(validation = Rule::new("has(self.certificateFrom) || has(self.caFrom)")
    .message("the keystore would be empty: set certificateFrom and privateKeyFrom, or caFrom"))]
pub struct Keystore {
    /// The format; default `PKCS12`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<KeystoreFormat>,
    /// The key of this secret with the certificate, and those that follow it, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = super::KEY_NAME))]
    pub certificate_from: Option<String>,
    /// The key of this secret with its private key, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = super::KEY_NAME))]
    pub private_key_from: Option<String>,
    /// The key of this secret with certificates to trust, in PEM. Their aliases are `ca`, `ca-2`, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = super::KEY_NAME))]
    pub ca_from: Option<String>,
    /// The key of this secret with the password of the keystore, UTF-8; for `JKS` ASCII, of at least 6 characters.
    #[schemars(length(min = 1, max = 253), regex(pattern = super::KEY_NAME))]
    pub password_from: String,
    /// The alias of the private key; default `certificate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[a-z0-9._-]+$"))]
    pub alias: Option<String>,
}

/// The format of a keystore.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum KeystoreFormat {
    /// PKCS#12 (RFC 7292), with AES-256 and HMAC-SHA-256: what Java, OpenSSL and others read.
    #[default]
    #[serde(rename = "PKCS12")]
    Pkcs12,
    /// Java's own former format, whose protection is weak; for old programs.
    #[serde(rename = "JKS")]
    Jks,
}

/// The rule that the user name is said in one of the two ways.
fn one_username() -> Rule {
    Rule::new("has(self.username) != has(self.usernameFrom)")
        .message("exactly one of username and usernameFrom must be set")
}
