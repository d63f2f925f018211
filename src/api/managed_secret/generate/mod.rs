//! Generators: values that Keystead makes once, and never again unless asked.

mod certificate;
mod derived;
mod pairs;

use kube::KubeSchema;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use certificate::{
    Certificate, CertificateIssuer, CertificateIssuerRef, CertificateKey, CertificateKeyRotation,
    CertificateStatus, CertificateUsage,
};
pub use derived::{Bcrypt, DockerConfigJson, Htpasswd, Keystore, KeystoreFormat, Registry, Scram};
pub use pairs::{KeyFormat, KeyPair, PrivateKeyAlgorithm, PrivateKeyEncoding, SshKey};

/// What the name of a key may be.
const KEY_NAME: &str = "^[.]?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$";

/// One generated key of a secret. Exactly one of the generators is set.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = exactly_one())]
pub struct Generate {
    /// The key of the secret that gets the value: letters, digits, `-`, `_` and `.`; not `.`, and not
    /// beginning with `..`.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[.]?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$')")
        .message(super::super::schema::KEY_NAMES))]
    pub key: String,
    /// A password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
    /// Random bytes in an encoding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Bytes>,
    /// Random bytes as lower-case hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hex: Option<Hex>,
    /// A random UUID (version 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Uuid>,
    /// A key pair of SSH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_key: Option<SshKey>,
    /// A key pair for signatures or encryption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_pair: Option<KeyPair>,
    /// An X.509 certificate with its private key, made anew before it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// A line of an htpasswd file. Made anew when the user name or the password changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub htpasswd: Option<Htpasswd>,
    /// The bcrypt hash of a key. Made anew when that changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bcrypt: Option<Bcrypt>,
    /// The SCRAM-SHA-256 verifier of a key, for PostgreSQL. Made anew when that changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scram: Option<Scram>,
    /// Log-ins to registries. Made anew when one changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker_config_json: Option<DockerConfigJson>,
    /// A keystore of Java. Made anew when what it holds, or its password, changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keystore: Option<Keystore>,
}

/// The fields of [`Generate`] of which one is set.
pub(crate) const GENERATORS: [&str; 12] = [
    "password",
    "bytes",
    "hex",
    "uuid",
    "sshKey",
    "keyPair",
    "certificate",
    "htpasswd",
    "bcrypt",
    "scram",
    "dockerConfigJson",
    "keystore",
];

/// The rule that one of the generators is set.
fn exactly_one() -> Rule {
    let set = GENERATORS.map(|field| format!("has(self.{field})"));
    Rule::new(format!("[{}].filter(set, set).size() == 1", set.join(", ")))
        .message(format!("exactly one of {} must be set", GENERATORS.join(", ")).as_str())
}

/// A password, uniform over all that satisfy the rules. With the defaults it is safe in URLs, shells,
/// `.pgpass`, JSON and YAML.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "has(self.requireEachClass) && !self.requireEachClass || (has(self.length) ? self.length : 32) >= (has(self.classes) ? size(self.classes) : 4)"
).message("length must be at least the number of classes; raise length, name fewer classes, or set requireEachClass: false"))]
#[x_kube(validation = Rule::new(
    "!has(self.symbols) || !has(self.classes) || 'Symbols' in self.classes"
).message("symbols is given but classes lacks Symbols: add it, or drop symbols"))]
#[x_kube(validation = no_class_is_excluded())]
pub struct Password {
    /// Number of characters, 1 to 4,096; default 32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub length: Option<u32>,
    /// The classes of characters; default all four.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4), extend("x-kubernetes-list-type" = "set"))]
    pub classes: Option<Vec<CharacterClass>>,
    /// The characters of the class `Symbols`; default `-_`. ASCII punctuation only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[!-/:-@\[-`{-~]+$"))]
    pub symbols: Option<String>,
    /// Characters that never occur. Printable ASCII.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 95), regex(pattern = r"^[ -~]*$"))]
    pub exclude: Option<String>,
    /// Whether at least one character of each class occurs; default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_each_class: Option<bool>,
}

/// The rule that of every class that must occur a character is left.
fn no_class_is_excluded() -> Rule {
    let left = |class: &str, characters: &str| {
        format!(
            "(has(self.classes) && !('{class}' in self.classes) \
             || {characters}.split('').exists(c, !self.exclude.contains(c)))"
        )
    };
    let classes = [
        left("Lowercase", "'abcdefghijklmnopqrstuvwxyz'"),
        left("Uppercase", "'ABCDEFGHIJKLMNOPQRSTUVWXYZ'"),
        left("Digits", "'0123456789'"),
        left("Symbols", "(has(self.symbols) ? self.symbols : '-_')"),
    ];
    let optional = "!has(self.exclude) || has(self.requireEachClass) && !self.requireEachClass";
    Rule::new(format!("{optional} || {}", classes.join(" && "))).message(
        "exclude leaves no character of a class: exclude fewer, name only the other classes in classes, or set \
         requireEachClass: false",
    )
}

/// A class of characters of a password.
#[derive(
    Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord,
)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum CharacterClass {
    /// `a` to `z`.
    Lowercase,
    /// `A` to `Z`.
    Uppercase,
    /// `0` to `9`.
    Digits,
    /// The characters of `symbols`.
    Symbols,
}

/// Random bytes in an encoding.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Bytes {
    /// Number of random bytes before encoding, 1 to 4,096; default 32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub length: Option<u32>,
    /// How they are written; default `Raw`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
}

/// How random bytes are written.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum Encoding {
    /// The bytes themselves.
    #[default]
    Raw,
    /// RFC 4648 section 4, padded.
    Base64,
    /// RFC 4648 section 5, without padding.
    Base64Url,
    /// RFC 4648 section 6, padded.
    Base32,
    /// Lower-case hexadecimal digits.
    Hex,
}

/// Random bytes as lower-case hexadecimal digits.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Hex {
    /// Number of random bytes, 1 to 4,096; default 32. The text is twice as long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub length: Option<u32>,
}

/// A random UUID (version 4). It has no options.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Uuid {}
