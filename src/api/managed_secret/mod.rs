//! `ManagedSecret`: a versioned secret, the counterpart of a Secrets Manager secret.

mod consumers;
mod delivery;
mod environment;
mod generate;
mod rollout;
mod sealed;
mod sharing;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::schema::{NAMESPACE_NAME, OBJECT_NAME};
use crate::api::{Consumers, SecretPolicy};

pub use consumers::{ConsumersStatus, LoadedVersion, MAX_LOADED_VERSIONS};
pub use delivery::{DeletionPolicy, Existing, Form, Target, Template, TemplateMetadata};
pub use environment::{MAX_VARIABLE, Undeliverable, UndeliverableKey};
pub(crate) use generate::GENERATORS;
pub use generate::{
    Bcrypt, Bytes, Certificate, CertificateIssuer, CertificateIssuerRef, CertificateKey,
    CertificateKeyRotation, CertificateStatus, CertificateUsage, CharacterClass, DockerConfigJson,
    Encoding, Generate, Hex, Htpasswd, KeyFormat, KeyPair, Keystore, KeystoreFormat, Password,
    PrivateKeyAlgorithm, PrivateKeyEncoding, Registry, Scram, SshKey, Uuid,
};
pub use rollout::{
    Day, RolloutBatch, RolloutFailure, RolloutSpec, RolloutStatus, RolloutTarget, RolloutWindow,
    WorkloadKind,
};
pub(crate) use sharing::MAX_LISTED_REPLICAS;
pub use sharing::{
    RecipientCluster, ReplicaOf, ReplicaStatus, ReplicationState, ReplicationStatus, ShareWith,
    SourceCluster, SourceClusterRef, StoredKeys,
};

/// A secret: where its keys come from, under which key it is encrypted, and how it is delivered.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "keystead.dev",
    version = "v1alpha1",
    kind = "ManagedSecret",
    namespaced,
    status = "ManagedSecretStatus",
    shortname = "msec",
    category = "keystead",
    doc = "A versioned secret, stored only as ciphertext: the counterpart of an AWS Secrets Manager secret.",
    validation = Rule::new(
        "!has(self.spec.generate) || self.spec.generate.all(g, !has(g.certificate) || !has(g.certificate.issuer) || \
         !has(g.certificate.issuer.secretRef) || g.certificate.issuer.secretRef.name != self.metadata.name)"
    ).message("certificate.issuer.secretRef names this very secret: name one of its keys in issuer.key"),
    validation = Rule::new(
        "!has(self.spec.target) || !has(self.spec.target.immutable) || !self.spec.target.immutable || \
         size(has(self.spec.target.name) ? self.spec.target.name : self.metadata.name) <= 237"
    ).message("an immutable target's name has more than 237 characters, which leaves no room for its suffix of 16: set a shorter target.name"),
    printcolumn(
        name = "Target",
        type_ = "string",
        json_path = ".status.targetRef.name"
    ),
    printcolumn(name = "Form", type_ = "string", json_path = ".status.targetRef.form"),
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
        name = "Keys",
        type_ = "string",
        json_path = ".status.keys",
        priority = 1
    ),
    printcolumn(
        name = "Pods",
        type_ = "integer",
        json_path = ".status.consumers.pods",
        priority = 1
    ),
    printcolumn(
        name = "Up-To-Date",
        type_ = "integer",
        json_path = ".status.consumers.upToDate",
        priority = 1
    ),
    printcolumn(
        name = "Replication",
        type_ = "string",
        json_path = ".status.replication.status",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.rollout) || !has(self.target) || !has(self.target.immutable) || !self.target.immutable"
).message("rollout restarts workloads as they are, and these would still name the former Secret of an immutable target: have their manifests name status.targetRef.name, which restarts them, and take rollout out"))]
#[x_kube(validation = Rule::new(
    "has(self.generate) && size(self.generate) > 0 || has(self.literals) && size(self.literals) > 0 || \
     has(self.import) && size(self.import) > 0 || has(self.sealed) && size(self.sealed) > 0 || \
     has(self.replicaOf) || has(self.stored)"
).message("the secret has no keys: name at least one in generate, literals, import or sealed; a replica that shall stand by itself gets stored: {} in the place of replicaOf"))]
#[x_kube(validation = sharing::a_replica_has_no_other_source())]
#[x_kube(validation = sharing::a_replica_is_not_shared())]
#[x_kube(validation = Rule::new(
    "!has(self.generate) || !has(self.literals) || self.generate.all(g, !(g.key in self.literals) && (!has(g.sshKey) || \
     !((has(g.sshKey.publicKey) ? g.sshKey.publicKey : g.key + '.pub') in self.literals)) && (!has(g.keyPair) || \
     !((has(g.keyPair.publicKey) ? g.keyPair.publicKey : g.key + '.pub') in self.literals)))"
).message("a key is in both generate and literals: every key has one source"))]
#[x_kube(validation = Rule::new(
    "has(self.target) && has(self.target.form) && self.target.form != 'Sealed' || (has(self.template) && \
     has(self.template.data) ? self.template.data.all(k, size(k) <= 246) : (!has(self.generate) || self.generate.all(g, size(g.key) <= 246)) \
     && (!has(self.literals) || self.literals.all(k, size(k) <= 246)))"
).message("a key has more than 246 characters, which leaves no room for .sealed in a target of form Sealed: shorten it, or set target.form: Plain"))]
#[x_kube(validation = Rule::new(
    "!has(self.template) || !has(self.template.type) || self.template.type == 'Opaque' || has(self.target) && has(self.target.form) && self.target.form == 'Plain'"
).message("template.type other than Opaque needs target.form: Plain, since a sealed Secret has a type of its own"))]
pub struct ManagedSecretSpec {
    /// What the secret is for, in a person's words. At most 2,048 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub description: Option<String>,

    /// The `ManagedKey`, by its own name or by a `KeyAlias`, that the secret is
    /// encrypted under; default `keystead-default`, which is made on first use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_ref: Option<KeyRef>,

    /// Pairs that are bound to the ciphertext: it opens only where they are known. Not secret. At most
    /// 16; names starting with `keystead:` or `aws-crypto-` are reserved.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::schema::encryption_context")]
    #[x_kube(validation = Rule::new(
        "self.all(k, size(k) > 0 && size(k) <= 256 && !k.startsWith('keystead:') && !k.startsWith('aws-crypto-'))"
    ).message("names have 1 to 256 characters and do not start with 'keystead:' or 'aws-crypto-'"))]
    pub encryption_context: BTreeMap<String, String>,

    /// Keys whose values Keystead makes: once, and never again unless asked. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"]))]
    pub generate: Vec<Generate>,

    /// Keys whose values are written here. Not secret: visible in this resource. At most 64 of 65,536
    /// characters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::schema::texts")]
    #[x_kube(validation = super::schema::key_names())]
    pub literals: BTreeMap<String, String>,

    /// Secrets of the same namespace whose values are taken over, once. At most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a.secretRef.name == b.secretRef.name))")
        .message("a Secret is imported twice: name each once"))]
    pub import: Vec<Import>,

    /// Labels of your own on versions: each name is on the version of that id (`status.versions`), and on no other. A version with
    /// a label is kept. At most 20.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::schema::version_stages")]
    #[x_kube(validation = Rule::new(
        "self.all(k, k.matches('^[!-~]{1,256}$') && !(k in ['Current', 'Pending', 'Previous']) && !k.startsWith('AWS'))"
    ).message("a label has 1 to 256 printable ASCII characters without spaces, is not Current, Pending or Previous, and does not start with AWS"))]
    pub version_stages: BTreeMap<String, String>,

    /// Another `ManagedSecret`, of this cluster or another, whose current value this one follows under a key of its own. The source
    /// must list this namespace, or this installation, in `shareWith`. A replica has no other source of keys, and is not shared further. To make it independent, put
    /// `stored: {}` in the place of this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_of: Option<ReplicaOf>,

    /// Keys that stay as they are, and whose values are nowhere but in the operator's truth: those of a replica that was made
    /// independent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<StoredKeys>,

    /// Who may have replicas of this secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_with: Option<ShareWith>,

    /// Who may read this secret by a call of the API, beside the pods that mount it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<SecretPolicy>,

    /// Which of the pods of this namespace that mount this secret may read it; without it, each that names it in its spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumers: Option<Consumers>,

    /// Keys whose values were encrypted before they reached this resource, so that they may be kept in Git: envelopes in base64, made by
    /// `kubectl keystead seal`, or copied from a target of form Sealed. Each opens for this namespace, name and key only, or, if it was
    /// sealed so, in all of the namespace. Taken once: the stored value stays until the entry changes. At most 64 of 368,640
    /// characters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "sealed::entries")]
    #[x_kube(validation = super::schema::key_names())]
    pub sealed: BTreeMap<String, String>,

    /// What the delivered Secret contains, when it is not simply the keys of the secret. A change
    /// renders anew; it never generates anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,

    /// The native Secret that the value is delivered in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,

    /// Days for which the ciphertext is kept after this resource is deleted, and given back when it is applied again: 7 to 30;
    /// default 30. The annotation `keystead.dev/force-delete: <UID of this resource>` makes the deletion final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 7, max = 30))]
    pub recovery_window_days: Option<u8>,

    /// The workloads that are restarted when what is delivered changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutSpec>,
}

/// A `ManagedKey`, by its own name or by a `KeyAlias`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KeyRef {
    /// What `name` names; default `ManagedKey`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<KeyRefKind>,
    /// Its namespace; default the secret's own. A key of another namespace is used only if its policy or a `KeyGrant` allows
    /// it to `keystead:secret:<namespace>:<name>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = NAMESPACE_NAME)
    )]
    pub namespace: Option<String>,
    /// Name of the `ManagedKey` or `KeyAlias`.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = OBJECT_NAME)
    )]
    pub name: String,
}

/// What names a key.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum KeyRefKind {
    /// The key itself.
    #[default]
    ManagedKey,
    /// An alias of it.
    KeyAlias,
}

/// A Secret whose values are taken over once. When it is deleted and made again (another UID), it
/// is not imported again by itself, since a restored old Secret would bring back old values; the
/// annotation `keystead.dev/import: <its UID>` asks for it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Import {
    /// Which Secret.
    pub secret_ref: ImportRef,
    /// Whether the Secret is deleted once everything in it is stored here; default false. It stays if not all of it
    /// is imported, or if it was changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_after_import: Option<bool>,
}

/// A Secret of the same namespace, and keys of it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ImportRef {
    /// Name of the Secret.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = OBJECT_NAME)
    )]
    pub name: String,
    /// The keys to take; default all. At most 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = super::schema::key_names())]
    pub keys: Option<Vec<String>>,
}

/// What the operator last saw of a secret. Never the truth, and never a value.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ManagedSecretStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The keys of the current version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,

    /// The kept versions, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<SecretVersionStatus>,

    /// The generated certificates of the current version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"]))]
    pub certificates: Vec<CertificateStatus>,

    /// The keys of what is delivered whose values pods cannot get as environment variables, only as files. None where
    /// `spec.target.form` is Plain: kubelet takes them all from a Secret in plaintext.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"]))]
    pub undeliverable_by_env: Vec<UndeliverableKey>,

    /// Sequence number of the stored truth; it only ever grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<i64>,

    /// `true` once the operator has taken note that the deletion of this very resource is final (annotation
    /// `keystead.dev/force-delete`); absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced_deletion: Option<bool>,

    /// The Secret that the value is delivered in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetStatus>,

    /// Secrets that the value was delivered in before and that are kept: the one before an immutable target, and those that are
    /// still used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_targets: Vec<String>,

    /// Of a replica: how it follows its source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication: Option<ReplicationStatus>,

    /// Of a secret that is shared: its replicas in the namespaces that it is shared with, by namespace and name. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<ReplicaStatus>,

    /// How many replicas there are in those namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_count: Option<i64>,

    /// The restarts for the last change of what is delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,

    /// The pods that get this secret in volumes of the driver `secrets.keystead.dev`, also in those that injection gives them, and how
    /// many of them have which version. Pods that have ended or are being deleted do not count. Absent while there is none, and where
    /// there is no node plugin. Looked at every few seconds to every minute after another version became current, for as long as pods
    /// are without it, but no longer than an hour; otherwise every ten minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumers: Option<ConsumersStatus>,

    /// Conditions, by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// One kept version of a secret.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretVersionStatus {
    /// The version id, a UUID.
    pub id: String,
    /// Its stages: `Current`, `Previous`, `Pending` of a rotation that is under way, and labels of `spec.versionStages`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<String>,
    /// When it was made.
    pub created: Time,
    /// The key id of the `ManagedKey` that it is encrypted under.
    pub key_id: String,
}

impl SecretVersionStatus {
    /// Whether it has that stage.
    pub fn has_stage(&self, stage: &str) -> bool {
        self.stages.iter().any(|has| has == stage)
    }
}

/// The Secret that the value is delivered in.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// Its name.
    pub name: String,
    /// The form of its content.
    pub form: Form,
}
