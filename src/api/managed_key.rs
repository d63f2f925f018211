//! `ManagedKey`: a customer-managed key, the counterpart of a KMS key.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::key_import::{KeyImport, KeyImportStatus};
use super::key_policy::KeyPolicy;

/// A customer-managed key. Its material never leaves the operator; deleting this resource does not
/// destroy it but starts a waiting period in which the key can be brought back.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "keystead.dev",
    version = "v1alpha1",
    kind = "ManagedKey",
    namespaced,
    status = "ManagedKeyStatus",
    shortname = "mk",
    category = "keystead",
    doc = "A customer-managed key: the counterpart of an AWS KMS key.",
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Version", type_ = "integer", json_path = ".status.currentVersion"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Key-ID", type_ = "string", json_path = ".status.keyId", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("has(self.spec.keySpec) == has(oldSelf.spec.keySpec) && (!has(self.spec.keySpec) || self.spec.keySpec == oldSelf.spec.keySpec)")
        .message("spec.keySpec is immutable: make a new key")
        .field_path(".spec.keySpec"),
    validation = Rule::new("has(self.spec.keyUsage) == has(oldSelf.spec.keyUsage) && (!has(self.spec.keyUsage) || self.spec.keyUsage == oldSelf.spec.keyUsage)")
        .message("spec.keyUsage is immutable: make a new key")
        .field_path(".spec.keyUsage"),
    validation = Rule::new("has(self.spec.origin) == has(oldSelf.spec.origin) && (!has(self.spec.origin) || self.spec.origin == oldSelf.spec.origin)")
        .message("spec.origin is immutable: make a new key")
        .field_path(".spec.origin"),
    validation = Rule::new("has(self.spec.keySpec) && self.spec.keySpec != 'SymmetricDefault' || !has(self.spec.keyUsage) || self.spec.keyUsage == 'EncryptDecrypt'")
        .message("a key of keySpec SymmetricDefault has keyUsage EncryptDecrypt: set that, or choose another keySpec")
        .field_path(".spec.keyUsage"),
    validation = Rule::new("!has(self.spec.keySpec) || !self.spec.keySpec.startsWith('Hmac') || has(self.spec.keyUsage) && self.spec.keyUsage == 'GenerateVerifyMac'")
        .message("a key of a keySpec Hmac... has keyUsage GenerateVerifyMac: set that")
        .field_path(".spec.keyUsage"),
    validation = Rule::new("!has(self.spec.keySpec) || !self.spec.keySpec.startsWith('Ecc') || has(self.spec.keyUsage) && self.spec.keyUsage == 'SignVerify'")
        .message("a key of a keySpec Ecc... has keyUsage SignVerify: set that")
        .field_path(".spec.keyUsage"),
    validation = Rule::new("!has(self.spec.keySpec) || !self.spec.keySpec.startsWith('Rsa') || has(self.spec.keyUsage) && self.spec.keyUsage in ['EncryptDecrypt', 'SignVerify']")
        .message("a key of a keySpec Rsa... has keyUsage EncryptDecrypt or SignVerify: set one of them")
        .field_path(".spec.keyUsage"),
    validation = Rule::new("!has(self.spec.rotation) || !has(self.spec.keySpec) || self.spec.keySpec == 'SymmetricDefault'")
        .message("only keys of keySpec SymmetricDefault are rotated: take spec.rotation out, and make a new key when it is time")
        .field_path(".spec.rotation"),
    validation = Rule::new("!has(self.spec.rotation) || !has(self.spec.origin) || self.spec.origin == 'Keystead'")
        .message("only material that Keystead makes is rotated: take spec.rotation out, and make a new key when it is time")
        .field_path(".spec.rotation"),
    validation = Rule::new("!has(self.spec.import) || has(self.spec.origin) && self.spec.origin == 'External'")
        .message("material is imported into keys of origin External only: take spec.import out, or make a new key")
        .field_path(".spec.import"),
    printcolumn(name = "Next-Rotation", type_ = "date", json_path = ".status.nextRotationTime", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct ManagedKeySpec {
    /// What the key is for, in a person's words. At most 8,192 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8192))]
    pub description: Option<String>,

    /// The kind of key. Immutable. `SymmetricDefault`, the default, is AES-256-GCM. Every other kind has one version of its
    /// material for life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_spec: Option<KeySpec>,

    /// What the key may do. Immutable. `EncryptDecrypt`, the default, is for `SymmetricDefault`, and for `Rsa...` if it is
    /// said; `SignVerify` for `Rsa...` and `Ecc...`, `GenerateVerifyMac` for `Hmac...`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_usage: Option<KeyUsage>,

    /// Where the material comes from. Immutable. `Keystead`, the default, generates it; with `External` you import it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<KeyOrigin>,

    /// The material to import, of a key of origin `External`. Taking it out leaves the material where it is, unless the
    /// annotation `keystead.dev/delete-imported-material` has a new value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import: Option<KeyImport>,

    /// Whether the key may be used; default true. While false every use is refused, and what was
    /// delivered before stays delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// Automatic rotation. Without it the key is rotated only on demand, by a new value of the annotation
    /// `keystead.dev/rotate`. What was encrypted before a rotation stays readable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<KeyRotation>,

    /// Who may do what with the key. Without it only RBAC decides, and secrets of the key's namespace may use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<KeyPolicy>,

    /// Accept a policy under which whoever writes it may not change it any more (AWS KMS: the parameter of the same name);
    /// default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bypass_policy_lockout_safety_check: Option<bool>,

    /// The scheduled end of the key: while this is present every use is refused, and at its date the material is
    /// destroyed, for good. Taking it out before cancels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<KeyDeletion>,
}

/// A scheduled deletion of a key (AWS KMS: `ScheduleKeyDeletion`).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KeyDeletion {
    /// Days from when the deletion was scheduled to its date; default 30. The date is fixed then: a longer window
    /// moves it, a shorter one brings it no nearer than seven days from that change. 7 to 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 7, max = 30))]
    pub pending_window_days: Option<u8>,

    /// Destroy the key although that many stored secrets need it and will never open again; 0 if none does, and only somebody
    /// wanted to use it in the last 30 days. It counts only if it is exactly that number, and was set after the date had come:
    /// see the condition's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub accept_data_loss: Option<u32>,
}

impl KeyDeletion {
    /// The window when none is said, in days (AWS KMS: `PendingWindowInDays`).
    pub const DEFAULT_WINDOW_DAYS: u8 = 30;
    /// The shortest window, in days.
    pub const SHORTEST_WINDOW_DAYS: u8 = 7;
}

/// Automatic rotation of a key (AWS KMS: `EnableKeyRotation`).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KeyRotation {
    /// Whether the key is rotated by itself; default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// Days between two automatic rotations, counted from when rotation was enabled; default 365. Each key rotates up
    /// to a tenth of the period early, so that keys that were made together do not rotate together. 90 to 2,560.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 90, max = 2560))]
    pub period_days: Option<u16>,
}

impl KeyRotation {
    /// The period when none is said, in days (AWS KMS: `RotationPeriodInDays`).
    pub const DEFAULT_PERIOD_DAYS: u16 = 365;
}

/// Kinds of keys, in the words of AWS KMS `KeySpec`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum KeySpec {
    /// AES-256-GCM (`SYMMETRIC_DEFAULT`).
    #[default]
    SymmetricDefault,
    /// HMAC with SHA-256 and 32 bytes (`HMAC_256`).
    Hmac256,
    /// HMAC with SHA-384 and 48 bytes (`HMAC_384`).
    Hmac384,
    /// HMAC with SHA-512 and 64 bytes (`HMAC_512`).
    Hmac512,
    /// RSA with 2,048 bits (`RSA_2048`).
    Rsa2048,
    /// RSA with 3,072 bits (`RSA_3072`).
    Rsa3072,
    /// RSA with 4,096 bits (`RSA_4096`).
    Rsa4096,
    /// ECDSA on NIST P-256 (`ECC_NIST_P256`).
    EccNistP256,
    /// ECDSA on NIST P-384 (`ECC_NIST_P384`).
    EccNistP384,
    /// Ed25519 (`ECC_NIST_EDWARDS25519`).
    EccNistEdwards25519,
}

impl KeySpec {
    /// The name in the API and in what authenticates the material.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SymmetricDefault => "SymmetricDefault",
            Self::Hmac256 => "Hmac256",
            Self::Hmac384 => "Hmac384",
            Self::Hmac512 => "Hmac512",
            Self::Rsa2048 => "Rsa2048",
            Self::Rsa3072 => "Rsa3072",
            Self::Rsa4096 => "Rsa4096",
            Self::EccNistP256 => "EccNistP256",
            Self::EccNistP384 => "EccNistP384",
            Self::EccNistEdwards25519 => "EccNistEdwards25519",
        }
    }
}

/// What a key may do, in the words of AWS KMS `KeyUsage`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum KeyUsage {
    /// Encrypt and decrypt, and, if it is symmetric, wrap data keys (`ENCRYPT_DECRYPT`).
    #[default]
    EncryptDecrypt,
    /// Sign and verify (`SIGN_VERIFY`).
    SignVerify,
    /// Make and verify message authentication codes (`GENERATE_VERIFY_MAC`).
    GenerateVerifyMac,
}

impl KeyUsage {
    /// The name in the API and in what authenticates the material.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EncryptDecrypt => "EncryptDecrypt",
            Self::SignVerify => "SignVerify",
            Self::GenerateVerifyMac => "GenerateVerifyMac",
        }
    }
}

/// Where material comes from, in the words of AWS KMS `Origin`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum KeyOrigin {
    /// Keystead generates it (`AWS_KMS`).
    #[default]
    Keystead,
    /// It is imported (`EXTERNAL`).
    External,
}

impl KeyOrigin {
    /// The name in the API and in what authenticates the material.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keystead => "Keystead",
            Self::External => "External",
        }
    }
}

/// The state of a key, in the words of AWS KMS `KeyState`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum KeyState {
    /// The material is being made.
    Creating,
    /// The key can be used.
    Enabled,
    /// `spec.enabled` is false: every use is refused.
    Disabled,
    /// The material is to be imported, and is not there: every use is refused.
    PendingImport,
    /// The resource was deleted, or its deletion is scheduled: every use is refused, the material waits.
    PendingDeletion,
    /// The window is over; the material is destroyed at least a day later unless the deletion is cancelled.
    DestructionDue,
    /// The material is not there, or cannot be opened.
    Unavailable,
}

/// What the operator last saw of a key. Never the truth: losing it loses nothing.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ManagedKeyStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The key id, a UUID: the name of its `KeyMaterial`, and part of the ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,

    /// `arn:aws:kms:<region>:<12 digits>:key/<key id>`, as ciphertext names the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,

    /// The state of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<KeyState>,

    /// The version of the material that new ciphertext is made with: 1, 2, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_version: Option<u32>,

    /// The public key of a key pair in PEM (`SubjectPublicKeyInfo`): what verifies its signatures, or encrypts for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,

    /// The algorithms that the key can be asked to encrypt with, by their names in AWS KMS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub encryption_algorithms: Vec<String>,

    /// The algorithms that the key can be asked to sign with, by their names in AWS KMS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signing_algorithms: Vec<String>,

    /// The algorithms that the key can be asked to make message authentication codes with, by their names in AWS KMS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mac_algorithms: Vec<String>,

    /// What material to import is wrapped with. There when the key was made, and for 24 hours after a new value of the
    /// annotation `keystead.dev/offer-import`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import: Option<KeyImportStatus>,

    /// When the imported material expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<Time>,

    /// When the key's scheduled deletion is due. It is destroyed at least a day later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_time: Option<Time>,

    /// What would be lost with the key. Shown some seconds after it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependents: Option<KeyDependents>,

    /// The last use of the key that was let through, to the day: it is written at most once a day. The metrics have the exact
    /// time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<KeyLastUsed>,

    /// When the key is rotated next by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_rotation_time: Option<Time>,

    /// All generations of the material, oldest first. Each can still decrypt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<KeyVersionStatus>,

    /// Conditions, by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// A use of a key.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KeyLastUsed {
    /// What was done with it: `Decrypt`, `GenerateDataKey`.
    pub operation: String,
    /// The beginning of the day (UTC) on which it was done.
    pub time: Time,
}

/// What would be lost with a key.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KeyDependents {
    /// Stored secrets that are encrypted under it, or have entries in `spec.sealed` that are; also those that wait to be adopted.
    pub secrets: u32,
    /// Grants in force.
    #[serde(default)]
    pub grants: u32,
}

/// One generation of a key's material.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KeyVersionStatus {
    /// For people: 1, 2, ...
    pub version: u32,
    /// The random id that ciphertext names the material by.
    pub material_id: String,
    /// When it was made.
    pub created: Time,
    /// How many stored secrets still need this version, which is not the current one: they are encrypted anew in the
    /// background, except for entries of `spec.sealed`. Absent for the current one, and where nobody counted yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<u32>,
}
