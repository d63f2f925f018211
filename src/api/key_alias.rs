//! `KeyAlias`: another name of a key, which can be pointed at another key; the counterpart of a KMS alias.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::managed_key::{KeySpec, KeyUsage};
use super::schema::OBJECT_NAME;

/// Another name of a `ManagedKey` of the same namespace. It can be pointed at another key of the same
/// spec and usage; what names the alias then uses that one.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "keystead.dev",
    version = "v1alpha1",
    kind = "KeyAlias",
    plural = "keyaliases",
    namespaced,
    status = "KeyAliasStatus",
    shortname = "kal",
    category = "keystead",
    doc = "Another name of a ManagedKey, which can be pointed at another key: the counterpart of an AWS KMS alias.",
    printcolumn(name = "Key", type_ = "string", json_path = ".spec.keyRef.name"),
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
    printcolumn(
        name = "Key-ID",
        type_ = "string",
        json_path = ".status.keyId",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct KeyAliasSpec {
    /// The key that the alias stands for.
    pub key_ref: AliasedKey,
}

/// A `ManagedKey` of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AliasedKey {
    /// Name of the `ManagedKey`.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = OBJECT_NAME)
    )]
    pub name: String,
}

/// What the operator last saw of an alias. Never the truth: losing it loses nothing.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KeyAliasStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The key id of the key that the alias stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,

    /// The spec of that key. The alias can be pointed only at keys of the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_spec: Option<KeySpec>,

    /// The usage of that key. The alias can be pointed only at keys of the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_usage: Option<KeyUsage>,

    /// Conditions, by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
