//! `KeyMaterial`: the truth about one key. Internal; it lives in the operator's namespace.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::key_grant::{GrantConstraints, GrantOperation};
use super::key_import::ImportRecord;
use super::key_policy::KeyPolicy;
use super::managed_key::{KeyOrigin, KeySpec, KeyUsage};
use super::tokens::remember;

/// The truth about one key, named by its key id: the wrapped generations, the attributes that they
/// are bound to, and whether the key waits for deletion. Without the root key it opens nothing.
/// Written by the operator alone, by create or by replace with a resource version.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "keystead.dev",
    version = "v1alpha1",
    kind = "KeyMaterial",
    plural = "keymaterials",
    namespaced,
    category = "keystead",
    doc = "Internal: the wrapped material of one ManagedKey. Lives in the operator's namespace and outlives the ManagedKey.",
    printcolumn(name = "Namespace", type_ = "string", json_path = ".spec.namespace"),
    printcolumn(name = "Key", type_ = "string", json_path = ".spec.name"),
    printcolumn(name = "Enabled", type_ = "boolean", json_path = ".spec.enabled"),
    selectable = ".spec.namespace",
    selectable = ".spec.name",
    printcolumn(name = "Parked-Since", type_ = "date", json_path = ".spec.parkedSince"),
    printcolumn(
        name = "Destroyed-After",
        type_ = "string",
        json_path = ".spec.deletion.date"
    ),
    printcolumn(
        name = "Blocked-By",
        type_ = "integer",
        json_path = ".spec.deletion.blockedBy"
    ),
    printcolumn(name = "Destroyed", type_ = "date", json_path = ".spec.destroyed"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    validation = Rule::new("has(self.spec.destroyed) ? size(self.spec.generations) == 0 : size(self.spec.generations) > 0 || self.spec.origin == 'External'")
        .message("spec.generations has at least 1 item, and none of a key whose material was destroyed, or is to be imported")
        .field_path(".spec.generations")
)]
#[serde(rename_all = "camelCase")]
pub struct KeyMaterialSpec {
    /// Namespace of the `ManagedKey`. Bound to the material.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Name of the `ManagedKey`. Bound to the material.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// UID of that namespace. A namespace of the same name and another UID inherits nothing.
    #[schemars(length(min = 1, max = 64))]
    pub namespace_uid: String,
    /// UID of the `ManagedKey` that last claimed this material.
    #[schemars(length(min = 1, max = 64))]
    pub object_uid: String,
    /// What the operator itself keeps the material for; absent: it is that of a `ManagedKey`, and never becomes other. Bound to the
    /// material.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internal: Option<InternalUse>,
    /// The ARN that ciphertext names the key by. Fixed for life.
    #[schemars(length(min = 1, max = 256))]
    pub arn: String,
    /// The kind of key. Bound to the material.
    pub key_spec: KeySpec,
    /// What the key may do. Bound to the material.
    pub key_usage: KeyUsage,
    /// Where the material comes from. Bound to the material.
    pub origin: KeyOrigin,
    /// Whether the key may be used.
    pub enabled: bool,
    /// When a leader first saw the `ManagedKey` missing; absent while it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parked_since: Option<Time>,
    /// The end that waits for the key: scheduled by its resource, or by that one's absence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<DeletionRecord>,
    /// When the material was destroyed. What remains is a tombstone: no other key ever gets this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destroyed: Option<Time>,
    /// What was rotated, and what that depends on.
    #[serde(default, skip_serializing_if = "RotationRecord::is_empty")]
    pub rotation: RotationRecord,
    /// The policy in force. Absent: only RBAC decides.
    #[serde(default, skip_serializing_if = "PolicyRecord::is_empty")]
    pub policy: PolicyRecord,
    /// The grants in force, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 500))]
    pub grants: Vec<GrantRecord>,
    /// What is known of imported material, of a key of origin `External`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import: Option<ImportRecord>,
    /// The generations, oldest first; the last one encrypts, each decrypts. None is left of a key that was destroyed.
    #[schemars(length(max = 256))]
    pub generations: Vec<MaterialGeneration>,
}

/// What the operator itself keeps material for.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum InternalUse {
    /// The installation's sealing key: each generation is the seed of a key pair, and named by that pair's id.
    Sealing,
}

impl InternalUse {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sealing => "Sealing",
        }
    }
}

impl KeyMaterialSpec {
    /// Most generations of one key.
    pub const MAX_GENERATIONS: usize = 256;
    /// Most grants in force of one key.
    pub const MAX_GRANTS: usize = 500;
    /// Most bytes of all grants in force of one key, as JSON: with the policy and all generations the object must stay
    /// below what etcd takes (1.5 MiB).
    pub const MAX_GRANT_BYTES: usize = 524_288;
}

/// The policy in force, and what names in it stood for when it was accepted.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRecord {
    /// As accepted from the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<KeyPolicy>,
    /// The namespaces of principals of other namespaces, as they were when they were first named. One that was made anew
    /// inherits nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2000))]
    pub namespaces: Vec<NamespaceRecord>,
    /// That the resource took the key over and has never had the policy in force: its own counts for nothing until it has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignored: bool,
}

impl PolicyRecord {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }

    /// The recorded UID of a namespace.
    pub fn namespace_uid(&self, name: &str) -> Option<&str> {
        let found = self.namespaces.iter().find(|n| n.name == name)?;
        Some(&found.uid)
    }
}

/// A namespace as it was when it was named.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceRecord {
    /// Its name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Its UID then.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
}

/// A grant that was accepted.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GrantRecord {
    /// Name of the `KeyGrant`, which is in the key's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// UID of the `KeyGrant`.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
    /// Who may use the key.
    #[schemars(length(min = 1, max = 330))]
    pub grantee: String,
    /// UID of the grantee's namespace when the grant was accepted; absent for a grantee that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub namespace_uid: Option<String>,
    /// Who may retire it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 330))]
    pub retiring: Option<String>,
    /// What the grantee may do.
    #[schemars(length(min = 1, max = 17))]
    pub operations: Vec<GrantOperation>,
    /// What must be so of a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraints: Option<GrantConstraints>,
    /// From then on it gives nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// That it expired: it gives nothing any more, also if a clock went back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expired: bool,
    /// Who made it, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 330))]
    pub created_by: Option<String>,
}

/// The end that waits for a key.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DeletionRecord {
    /// When it was scheduled.
    pub since: Time,
    /// When it is due. Nothing brings it nearer than seven days from now.
    pub date: Time,
    /// The loss that the resource accepts (`spec.deletion.acceptDataLoss`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub accept_data_loss: Option<u32>,
    /// That a leader saw the date gone by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<DueRecord>,
    /// How many stored secrets keep the key from being destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<u32>,
    /// The day of the last use that was refused since it was scheduled: for a while, that keeps the key too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Time>,
}

/// That a leader saw the date gone by. The key is destroyed a day later at the earliest, by the same leader.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DueRecord {
    /// When.
    pub seen: Time,
    /// Which leadership: another one starts the day anew, since it may be that of a restored cluster.
    #[schemars(length(min = 1, max = 64))]
    pub tenure: String,
    /// The loss that was accepted when the date was first seen gone by. It was preset, and does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub preset: Option<u32>,
}

/// What was rotated, and what that depends on. A restore without status repeats nothing.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RotationRecord {
    /// When automatic rotation was seen enabled, or last happened; absent while it is disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automatic_since: Option<Time>,
    /// The rotate tokens that were obeyed, oldest first. Each rotates once, so that a manifest that is applied again
    /// does not rotate again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub tokens: Vec<String>,
}

impl RotationRecord {
    /// Most tokens that are remembered; the oldest is forgotten first.
    const MAX_TOKENS: usize = 64;

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }

    /// Remembers that a token was obeyed.
    pub fn consume(&mut self, token: &str) {
        remember(&mut self.tokens, token, Self::MAX_TOKENS);
    }
}

/// One generation of a key: its bytes, or a key pair, wrapped under the root key.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MaterialGeneration {
    /// For people: 1, 2, ...
    #[schemars(range(min = 1))]
    pub version: u32,
    /// The 16 random bytes, as 32 hexadecimal digits, that ciphertext names the material by.
    #[schemars(length(min = 32, max = 32))]
    pub material_id: String,
    /// The wrapped material, base64 (format: docs/formats.md).
    #[schemars(length(min = 1, max = 4096))]
    pub wrapped: String,
    /// Fingerprint of the root key that it is wrapped under.
    #[schemars(length(min = 1, max = 64))]
    pub root_fingerprint: String,
    /// When it was made.
    pub created: Time,
    /// When a count first found nothing that is stored or delivered and needs it; absent while something does, and while
    /// nobody counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unused_since: Option<Time>,
}
