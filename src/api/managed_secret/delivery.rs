//! How a secret is delivered: its template and its target.

use std::collections::BTreeMap;

use kube::KubeSchema;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::schema::OBJECT_NAME;

/// What the delivered Secret contains, when it is not simply the keys of the secret.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.type) || has(self.data) || has(self.metadata)")
    .message("the template says nothing: set at least one of type, data and metadata, or leave it out"))]
pub struct Template {
    /// The type of the delivered Secret; default `Opaque`. Of `kubernetes.io` only `tls`,
    /// `basic-auth`, `ssh-auth` and `dockerconfigjson`. Another type than `Opaque` needs
    /// `target.form: Plain`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(
        "self in ['kubernetes.io/tls', 'kubernetes.io/basic-auth', 'kubernetes.io/ssh-auth', 'kubernetes.io/dockerconfigjson'] || !self.contains('kubernetes.io/') && !self.contains('keystead.dev/')"
    ).message("of kubernetes.io only tls, basic-auth, ssh-auth and dockerconfigjson are allowed, and nothing of keystead.dev"))]
    pub type_: Option<String>,
    /// Labels and annotations of the delivered Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,
    /// The keys of the delivered Secret, each with a template; default the keys of the secret, as they are. `[[ name ]]` is the
    /// value of the secret's key `name`, `[[ keys["a.b"] ]]` that of a key that is no identifier. Filters: `urlencode`,
    /// `b64encode`, `b64decode`, `json`, `yaml`, `shellquote`, `pem("CERTIFICATE")`, `filterpem("CERTIFICATE")`. At most 64 keys
    /// of 65,536 characters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::super::schema::texts", extend("minProperties" = 1))]
    #[x_kube(validation = super::super::schema::key_names())]
    pub data: BTreeMap<String, String>,
}

/// Labels and annotations of the delivered Secret, beside Keystead's own. They are written as they stand here, and taken off
/// again when they are taken out; those of others stay. A change of them changes no value, and restarts nothing.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TemplateMetadata {
    /// Labels. At most 32. Names of `keystead.dev`, `kubernetes.io` and `k8s.io` are reserved, but for `app.kubernetes.io/`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::api::schema::labels")]
    #[x_kube(validation = qualified_names())]
    #[x_kube(validation = no_reserved_names())]
    pub labels: BTreeMap<String, String>,
    /// Annotations. At most 32 of 4,096 characters. The same names are reserved.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::api::schema::annotations")]
    #[x_kube(validation = qualified_names())]
    #[x_kube(validation = no_reserved_names())]
    pub annotations: BTreeMap<String, String>,
}

/// The rule for names of labels and annotations.
fn qualified_names() -> Rule {
    Rule::new(
        "self.all(k, k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$') \
         && size(k) <= 317)",
    )
    .message("a name of a label or annotation has 1 to 63 letters, digits, '-', '_' and '.', begins and ends with a letter or digit, and may have a DNS name and '/' before it")
}

/// The rule that no name is one of Keystead's, or one that Kubernetes gives a meaning.
fn no_reserved_names() -> Rule {
    Rule::new(
        "self.all(k, (!k.matches('^([^/]*[.])?(keystead[.]dev|kubernetes[.]io|k8s[.]io)/') || k.startsWith('app.kubernetes.io/')) \
         && k != 'app.kubernetes.io/managed-by')",
    )
    .message("names of keystead.dev, kubernetes.io and k8s.io are reserved, but for app.kubernetes.io/, of which managed-by is: take them out")
}

/// The native Secret that the value is delivered in.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.existing) || self.existing == 'Fail' || has(self.form) && self.form == 'Plain'"
).message("existing: Adopt and Merge need form: Plain, since the type of an existing Secret cannot change"))]
#[x_kube(validation = Rule::new(
    "!has(self.immutable) || !self.immutable || has(self.form) && self.form == 'Plain'"
).message("immutable: true needs form: Plain, since sealed entries are encrypted anew when the key rotates, and those of an immutable Secret could not be: set form: Plain, or take immutable out"))]
#[x_kube(validation = Rule::new(
    "!has(self.immutable) || !self.immutable || !has(self.existing) || self.existing == 'Fail'"
).message("immutable: true makes a new Secret for each content, and takes none over: take existing out, or immutable"))]
#[x_kube(validation = Rule::new(
    "!has(self.form) || self.form != 'None' || !has(self.name) && !has(self.existing) && !has(self.deletionPolicy)"
).message("form: None delivers nothing: name, existing and deletionPolicy have no meaning with it"))]
pub struct Target {
    /// `Sealed` (the default): ciphertext, one entry `<key>.sealed` per key. `Plain`: the plaintext,
    /// for what cannot read anything else. `None`: nothing is delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<Form>,
    /// Name of the Secret; default the name of this resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = OBJECT_NAME)
    )]
    pub name: Option<String>,
    /// What to do when a Secret of that name exists that is not ours. `Fail` (the default): leave it
    /// alone and say so. `Adopt`: take it over; what is in it stays, values under generated keys are
    /// kept, and it is deleted with this resource unless `deletionPolicy` is `Retain`. `Merge`: add our keys to
    /// it and own only these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing: Option<Existing>,
    /// What happens to the Secret when this resource is deleted: `Delete` (the default) or `Retain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// Whether each content is delivered in a Secret of its own, which is immutable and never changes: `<name>-<suffix>`, where
    /// the suffix is another one whenever keys, values or type are others. `status.targetRef.name` is the present one. The one
    /// before it stays, and so does each that a pod or workload refers to. Needs `form: Plain`; without `rollout`, since
    /// workloads have to name another Secret. The name has at most 237 characters. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub immutable: Option<bool>,
}

/// The form in which a value is delivered.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum Form {
    /// Ciphertext.
    #[default]
    Sealed,
    /// Plaintext.
    Plain,
    /// Not at all.
    None,
}

/// What to do with a Secret that was there before.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum Existing {
    /// Leave it alone and say so.
    #[default]
    Fail,
    /// Take it over.
    Adopt,
    /// Add our keys to it.
    Merge,
}

impl Existing {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "Fail",
            Self::Adopt => "Adopt",
            Self::Merge => "Merge",
        }
    }
}

/// What happens to the target when its `ManagedSecret` is deleted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum DeletionPolicy {
    /// It is deleted; of a merged Secret only our keys are.
    #[default]
    Delete,
    /// It stays as it is.
    Retain,
}

impl DeletionPolicy {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "Delete",
            Self::Retain => "Retain",
        }
    }
}
