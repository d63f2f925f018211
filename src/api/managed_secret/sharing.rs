//! How a secret is shared with other namespaces and clusters, and how a replica follows its source.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::schema::{NAMESPACE_NAME, OBJECT_NAME, SEALING_KEY_TEXT};

/// Most replicas that a source lists in its status; the count has them all.
pub(crate) const MAX_LISTED_REPLICAS: usize = 64;

/// With whom a secret is shared: namespaces, other clusters, or both.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.namespaces) || has(self.clusters)")
    .message("shareWith names nobody: list namespaces or clusters, or leave shareWith out"))]
pub struct ShareWith {
    /// Namespaces whose `ManagedSecrets` may be replicas of this one. Each is remembered by its UID: one that is deleted and made
    /// again under the same name gets nothing, until it is taken out of the list and put in again. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 32),
        inner(length(min = 1, max = 63), regex(pattern = NAMESPACE_NAME)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub namespaces: Vec<String>,

    /// Installations of Keystead in other clusters whose `ManagedSecrets` may be replicas of this one. The current value waits for
    /// them in Secret `<name>.replica` of this namespace, sealed for exactly these. One that is taken out keeps what it has and
    /// gets no other value. At most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 10),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a.sealingKey == b.sealingKey))")
        .message("a sealing key is listed twice: list each installation once"))]
    pub clusters: Vec<RecipientCluster>,
}

/// An installation of Keystead in another cluster.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RecipientCluster {
    /// What it is called here, in messages and in the audit log.
    #[schemars(
        length(min = 1, max = 40),
        regex(pattern = NAMESPACE_NAME)
    )]
    pub name: String,
    /// Its public sealing key, as `kubectl keystead seal fetch-key` prints it there. The key's successors do not replace it: it opens
    /// for ever.
    #[schemars(length(min = 1670, max = 1670), regex(pattern = SEALING_KEY_TEXT))]
    pub sealing_key: String,
}

/// The `ManagedSecret` that a replica follows.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaOf {
    /// Its namespace.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = NAMESPACE_NAME)
    )]
    pub namespace: String,
    /// Its name.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = OBJECT_NAME)
    )]
    pub name: String,
    /// The cluster that it is in, if it is another one. The source must list this installation in `shareWith.clusters`. Its value is
    /// asked for again and again (chart value `replication.pollSeconds`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<SourceCluster>,
}

/// How the cluster of a source is reached.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SourceCluster {
    /// A Secret of this namespace: either with the key `kubeconfig`, or with `server`, `ca.crt` and `token`. Its server must be one that
    /// the platform's administrator listed (chart value `replication.clusters`).
    pub secret_ref: SourceClusterRef,
}

/// A Secret of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SourceClusterRef {
    /// Its name.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = OBJECT_NAME)
    )]
    pub name: String,
}

/// Keys whose values are in the operator's truth only, and stay as they are.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct StoredKeys {
    /// The keys that stay; default every key of the current version that no other source names. At most 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = super::super::schema::key_names())]
    pub keys: Option<Vec<String>>,
}

/// How a replica follows its source.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ReplicationStatus {
    /// `InSync`: the replica has the source's current value. `InProgress`: it is on the way. `Failed`: the message says why;
    /// the value that the replica has stays.
    pub status: ReplicationState,
    /// What is wrong, or waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The version id, at the source, of the value that the replica has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_version: Option<String>,
    /// When that value was taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync_time: Option<Time>,
}

/// Whether a replica has what its source has.
#[derive(
    Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash,
)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum ReplicationState {
    /// It has.
    InSync,
    /// It waits for a step that nothing is wrong with.
    InProgress,
    /// It has not, and the message says why.
    Failed,
}

impl ReplicationState {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InSync => "InSync",
            Self::InProgress => "InProgress",
            Self::Failed => "Failed",
        }
    }
}

/// A replica, as its source tells of it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaStatus {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How it follows; absent until it was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ReplicationState>,
}

/// The rule that a replica has the keys of its source and no others.
pub(super) fn a_replica_has_no_other_source() -> Rule {
    let others = ["generate", "literals", "import", "sealed"]
        .map(|field| format!("(!has(self.{field}) || size(self.{field}) == 0)"))
        .join(" && ");
    Rule::new(format!(
        "!has(self.replicaOf) || !has(self.stored) && {others}"
    ))
    .message(
        "a replica has the keys of its source and no others: take generate, literals, import, sealed and stored out, or replicaOf",
    )
}

/// The rule that there are no chains, and so no circles.
pub(super) fn a_replica_is_not_shared() -> Rule {
    Rule::new("!has(self.replicaOf) || !has(self.shareWith)").message(
        "a replica is not shared further: share its source instead, or take replicaOf or shareWith out",
    )
}
