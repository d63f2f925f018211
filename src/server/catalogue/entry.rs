//! What is known of one secret: as little as deciding, rendering and telling of a change need.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use serde::de::value::{Error, StrDeserializer};
use serde::de::{Deserialize, IntoDeserializer};
use sha2::{Digest, Sha256};

use crate::api::ManagedSecret;
use crate::api::condition;
use crate::api::managed_secret::{Form, Undeliverable};
use crate::hex::Hex;
use crate::secrets::Stage;

/// The part of a `ManagedSecret` that is read. What else it holds, such as sealed entries, is passed over while it is parsed. Nothing
/// in it can be what this release cannot read.
#[derive(Resource, serde::Deserialize, Clone, Debug)]
#[resource(inherit = ManagedSecret)]
#[serde(rename_all = "camelCase")]
pub(super) struct Watched {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(serde::Deserialize, Clone, Debug, Default)]
struct Spec {
    #[serde(default)]
    template: Template,
    #[serde(default)]
    target: Target,
}

#[derive(serde::Deserialize, Clone, Debug, Default)]
struct Template {
    #[serde(default)]
    data: BTreeMap<String, String>,
}

#[derive(serde::Deserialize, Clone, Debug, Default)]
struct Target {
    form: Option<String>,
    name: Option<String>,
    immutable: Option<bool>,
}

#[derive(serde::Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    versions: Vec<Version>,
    target_ref: Option<TargetRef>,
    #[serde(default)]
    undeliverable_by_env: Vec<UndeliverableKey>,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(serde::Deserialize, Clone, Debug)]
struct Version {
    id: String,
    #[serde(default)]
    stages: Vec<String>,
}

#[derive(serde::Deserialize, Clone, Debug)]
struct TargetRef {
    name: String,
}

/// A reason that a newer release has is read as well.
#[derive(serde::Deserialize, Clone, Debug)]
struct UndeliverableKey {
    key: String,
    reason: String,
}

/// A `ManagedSecret`, as far as delivery looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// When it was made.
    pub created: Timestamp,
    /// The form that it is delivered in.
    pub form: Form,
    /// The native Secret that it asks for; that of its own name if it asks for none. `None` if each of its contents has a Secret of its
    /// own.
    pub target: Option<Box<str>>,
    /// The native Secret that it is delivered in now.
    pub delivered: Option<Box<str>>,
    /// `spec.template.data`.
    pub template: BTreeMap<String, String>,
    /// The keys of the current version; empty before there is one.
    pub keys: Box<[Box<str>]>,
    /// The keys of what is delivered whose values cannot be environment variables.
    pub undeliverable: Box<[(Box<str>, Undeliverable)]>,
    /// What its current content is told by; `None` before there is one.
    pub revision: Option<Revision>,
    /// Why the native Secret is somebody else's, if it is.
    pub taken: Option<Box<str>>,
    /// What is not as the spec asks for, in the words of its condition.
    pub problem: Option<Box<str>>,
}

impl Entry {
    /// What is known by that object. `None` if it is of a form that this release does not know.
    pub(super) fn of(watched: Watched) -> Option<Self> {
        let created = watched.creation_timestamp();
        let Watched {
            metadata,
            spec,
            status,
        } = watched;
        let name = metadata.name.unwrap_or_default();
        let form = form(spec.target.form.as_deref())?;
        let own = spec.target.immutable.unwrap_or_default() && form == Form::Plain;
        let target = spec.target.name.unwrap_or_else(|| name.clone());
        let current = status.versions.iter().find(|version| version.is_current());
        let revision = current.map(|current| Revision::of(&current.id, &spec.template.data));
        let told = |message: Option<&str>| message.map(Box::from);
        let keys = status.keys.into_iter().map(String::into_boxed_str);
        let undeliverable = status.undeliverable_by_env.into_iter();
        // What is not known of is found out when a pod that asks for it starts.
        let undeliverable =
            undeliverable.filter_map(|of| Some((of.key.into_boxed_str(), variant(&of.reason)?)));
        Some(Self {
            namespace: metadata.namespace.unwrap_or_default().into_boxed_str(),
            name: name.into_boxed_str(),
            created: created.map(|time| time.0).unwrap_or_default(),
            form,
            target: (!own).then(|| target.into_boxed_str()),
            delivered: status.target_ref.map(|target| target.name.into_boxed_str()),
            template: spec.template.data,
            keys: keys.collect(),
            undeliverable: undeliverable.collect(),
            revision,
            taken: told(condition::target_taken(&status.conditions)),
            problem: told(condition::not_ready(&status.conditions)),
        })
    }

    /// The keys of what is delivered.
    pub fn delivered_keys(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        if self.template.is_empty() {
            Box::new(self.keys.iter().map(AsRef::as_ref))
        } else {
            Box::new(self.template.keys().map(String::as_str))
        }
    }

    /// Why the value of a key cannot be an environment variable, if it is known that it cannot.
    pub fn undeliverable(&self, key: &str) -> Option<Undeliverable> {
        let mut all = self.undeliverable.iter();
        all.find(|(of, _)| &**of == key).map(|(_, reason)| *reason)
    }

    /// The names of native Secrets behind which this secret stands.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let delivered = self.delivered.as_deref();
        let delivered = delivered.filter(|name| Some(*name) != self.target.as_deref());
        self.target.as_deref().into_iter().chain(delivered)
    }
}

impl Version {
    fn is_current(&self) -> bool {
        let mut stages = self.stages.iter();
        stages.any(|stage| matches!(stage.parse(), Ok(Stage::Current)))
    }
}

/// The form of that name.
fn form(name: Option<&str>) -> Option<Form> {
    name.map_or_else(|| Some(Form::default()), variant)
}

/// The variant of that name, if this release has one.
fn variant<'de, T: Deserialize<'de>>(name: &'de str) -> Option<T> {
    let name: StrDeserializer<'_, Error> = name.into_deserializer();
    T::deserialize(name).ok()
}

/// What the content that a secret delivers is told by: another one whenever its value or its template is another. Labels,
/// conditions and a change of the key do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Revision([u8; 16]);

impl Revision {
    /// The revision of the current version of that id, by that `spec.template.data`.
    pub fn of(version: &str, template: &BTreeMap<String, String>) -> Self {
        let mut hash = Sha256::new();
        let pairs = template.iter().flat_map(|(key, source)| [key, source]);
        let texts = pairs.map(String::as_str);
        for text in std::iter::once(version).chain(texts) {
            // With its length, so that no two lists of texts are the same bytes.
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut revision = [0; 16];
        revision.copy_from_slice(&digest[..16]);
        Self(revision)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

/// The text is no revision of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a revision is 32 hexadecimal digits")]
pub struct NoRevision;

impl FromStr for Revision {
    type Err = NoRevision;

    fn from_str(text: &str) -> Result<Self, NoRevision> {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let bytes = text.as_bytes();
        if bytes.len() != 32 {
            return Err(NoRevision);
        }
        let mut revision = [0; 16];
        for (byte, pair) in revision.iter_mut().zip(bytes.chunks_exact(2)) {
            let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else {
                return Err(NoRevision);
            };
            *byte = u8::try_from(high << 4 | low).map_err(|_| NoRevision)?;
        }
        Ok(Self(revision))
    }
}

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;
