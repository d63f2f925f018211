//! `KeyGrant`: a right to use a key, given to one principal, for a time if wanted; the counterpart of a KMS grant.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::OBJECT_NAME;

/// Gives one principal some operations with a `ManagedKey` of the same namespace. The spec cannot be changed: make
/// another grant. Deleting it takes the right away; an expired one stays and gives nothing.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "keystead.dev",
    version = "v1alpha1",
    kind = "KeyGrant",
    plural = "keygrants",
    namespaced,
    status = "KeyGrantStatus",
    shortname = "kg",
    category = "keystead",
    doc = "A right to use a ManagedKey, given to one principal: the counterpart of an AWS KMS grant, plus an expiry.",
    printcolumn(name = "Key", type_ = "string", json_path = ".spec.keyRef.name"),
    printcolumn(name = "Grantee", type_ = "string", json_path = ".spec.granteePrincipal"),
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
    printcolumn(name = "Expires", type_ = "string", json_path = ".spec.expiresAt"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.spec == oldSelf.spec")
        .message("spec is immutable: delete this grant, or make another one")
        .field_path(".spec")
)]
#[serde(rename_all = "camelCase")]
pub struct KeyGrantSpec {
    /// The key that the grant is about.
    pub key_ref: GrantedKey,

    /// Who may use it: a user name, such as `system:serviceaccount:shop:orders`, or `keystead:secret:<namespace>:<name>`
    /// for a `ManagedSecret`. One of another namespace is bound to that namespace as it is when the grant is accepted.
    #[schemars(length(min = 1, max = 330), regex(pattern = r"^[^*]+$"))]
    #[x_kube(validation = Rule::new("self != 'system:anonymous'")
        .message("system:anonymous is everybody: name a narrower principal"))]
    pub grantee_principal: String,

    /// Who may retire the grant besides those who may delete it: a user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 330), regex(pattern = r"^[^*]+$"))]
    pub retiring_principal: Option<String>,

    /// What the grantee may do. At most 17.
    #[schemars(length(min = 1, max = 17), extend("x-kubernetes-list-type" = "set"))]
    pub operations: Vec<GrantOperation>,

    /// What must be so of a message for the grant to give anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraints: Option<GrantConstraints>,

    /// The instant (RFC 3339) from which on it gives nothing; without it, it does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
}

/// A `ManagedKey` of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GrantedKey {
    /// Name of the `ManagedKey`.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = OBJECT_NAME)
    )]
    pub name: String,
}

/// What must be so of a message for a grant to give anything (AWS KMS: `GrantConstraints`).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GrantConstraints {
    /// The encryption context is exactly this, reserved pairs left aside. At most 8 pairs; names that start with
    /// `keystead:` or `aws-crypto-` are reserved. An empty one asks for a message without a context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::context_condition")]
    #[x_kube(validation = super::schema::context_names())]
    pub encryption_context_equals: Option<BTreeMap<String, String>>,

    /// Pairs that the encryption context has, each with this value; it may have more. At most 8; names that start with
    /// `keystead:` or `aws-crypto-` are reserved.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::schema::context_condition")]
    #[x_kube(validation = super::schema::context_names())]
    pub encryption_context_subset: BTreeMap<String, String>,
}

/// What a grant can give, in the words of AWS KMS `GrantOperation`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[schemars(transform = crate::api::schema::without_description)]
#[allow(missing_docs)] // Each is the AWS KMS call of the same name.
pub enum GrantOperation {
    Encrypt,
    Decrypt,
    GenerateDataKey,
    GenerateDataKeyWithoutPlaintext,
    GenerateDataKeyPair,
    GenerateDataKeyPairWithoutPlaintext,
    ReEncryptFrom,
    ReEncryptTo,
    Sign,
    Verify,
    GetPublicKey,
    GenerateMac,
    VerifyMac,
    DeriveSharedSecret,
    DescribeKey,
    CreateGrant,
    RetireGrant,
}

/// What the operator last saw of a grant. Never the truth: losing it loses nothing.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KeyGrantStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The key id of the key that the grant is recorded with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,

    /// Conditions, by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
