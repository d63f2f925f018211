//! How far the pods are that get a secret.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most versions that are told with the number of their pods.
pub const MAX_LOADED_VERSIONS: usize = 8;

/// Pods that get a secret, and what they have.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConsumersStatus {
    /// How many they are.
    pub pods: i64,

    /// Those of them that have the version that they ask for: the current one, or, where a volume says `stage: Previous`, the one
    /// before. Variables, and volumes that say `follow: "false"`, keep what they had when the pod started: the others are restarted to
    /// get there.
    pub up_to_date: i64,

    /// Those of them of which it is not known what they have: they have not started yet, their node has not told it yet, or their
    /// condition has no room for all of their secrets.
    pub unknown: i64,

    /// How many have which of the kept versions, newest first. At most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub versions: Vec<LoadedVersion>,

    /// How many have another version than these: an older one, or one that is not kept any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_versions: Option<i64>,
}

/// The pods that have one version.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LoadedVersion {
    /// The version id.
    pub id: String,
    /// How many pods have it.
    pub pods: i64,
}
