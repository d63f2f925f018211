//! What a manifest is made of: version ids, stages, and the records of versions, imports, targets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ContentMark, Substitutes, timestamp};
use crate::api::managed_secret::{DeletionPolicy, Existing, Form};
use crate::crypto::{Random, RandomError};
use crate::secrets::generate::{Derivations, uuid};

/// The id of a version: a UUID in canonical lower-case text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VersionId(String);

/// The text is no version id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a version id must be a UUID in lower-case text")]
pub struct VersionIdError;

impl VersionId {
    /// A new random id.
    pub fn generate(random: &mut dyn Random) -> Result<Self, RandomError> {
        uuid(random).map(Self)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for VersionId {
    type Err = VersionIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for VersionId {
    type Error = VersionIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let valid = text.len() == 36
            && text.bytes().enumerate().all(|(index, byte)| match index {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            });
        if valid {
            Ok(Self(text))
        } else {
            Err(VersionIdError)
        }
    }
}

impl From<VersionId> for String {
    fn from(id: VersionId) -> Self {
        id.0
    }
}

/// A name that at most one version of a secret carries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Stage {
    /// What readers get.
    Current,
    /// What a rotation is about to make current.
    Pending,
    /// What was current before.
    Previous,
    /// A label of the user's. [`FromStr`] makes it; the name is none of the other three.
    Label(StageLabel),
}

/// The checked text of a user's label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StageLabel(String);

impl fmt::Display for StageLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for StageLabel {
    type Err = StageError;

    /// Refuses the names of the other three stages too.
    fn from_str(name: &str) -> Result<Self, StageError> {
        match name.parse()? {
            Stage::Label(label) => Ok(label),
            Stage::Current | Stage::Pending | Stage::Previous => Err(StageError),
        }
    }
}

/// The text is no name of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stage must have 1 to 256 printable ASCII characters without spaces")]
pub struct StageError;

impl Stage {
    /// The name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Current => "Current",
            Self::Pending => "Pending",
            Self::Previous => "Previous",
            Self::Label(StageLabel(name)) => name,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Stage {
    type Err = StageError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::try_from(name.to_owned())
    }
}

impl TryFrom<String> for Stage {
    type Error = StageError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        match name.as_str() {
            "Current" => Ok(Self::Current),
            "Pending" => Ok(Self::Pending),
            "Previous" => Ok(Self::Previous),
            other
                if (1..=256).contains(&other.len())
                    && other.bytes().all(|b| b.is_ascii_graphic()) =>
            {
                Ok(Self::Label(StageLabel(name)))
            }
            _ => Err(StageError),
        }
    }
}

impl From<Stage> for String {
    fn from(stage: Stage) -> Self {
        stage.as_str().to_owned()
    }
}

/// One version: everything about it but its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionRecord {
    /// Its id.
    pub id: VersionId,
    /// When it was made.
    #[serde(with = "timestamp")]
    pub created: Timestamp,
    /// The stages that it carries, sorted.
    #[serde(default)]
    pub stages: BTreeSet<Stage>,
    /// The key that it is sealed under.
    pub key_id: String,
    /// The user's pairs of the encryption context that it is sealed with.
    #[serde(default)]
    pub context: BTreeMap<String, String>,
    /// What its derived keys were made with, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub derivations: Derivations,
    /// What a rotation put in the place of literals, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub substitutes: Substitutes,
    /// Fields of a newer release.
    #[serde(flatten)]
    unknown: BTreeMap<String, serde_json::Value>,
}

impl VersionRecord {
    /// Bytes of its JSON form, which is its part of the manifest.
    pub fn json_length(&self) -> usize {
        serde_json::to_vec(self)
            .expect("every field has a JSON form and every map has text keys")
            .len()
    }
}

/// What a caller says of a version that it adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVersion {
    /// Its id.
    pub id: VersionId,
    /// When it was made.
    pub created: Timestamp,
    /// The key that it is sealed under.
    pub key_id: String,
    /// The user's pairs of the encryption context that it is sealed with.
    pub context: BTreeMap<String, String>,
    /// What its derived keys were made with, by key.
    pub derivations: Derivations,
    /// What a rotation put in the place of literals, by key.
    pub substitutes: Substitutes,
}

impl NewVersion {
    /// The record, without a stage.
    pub(super) fn into_record(self) -> VersionRecord {
        VersionRecord {
            id: self.id,
            created: self.created,
            stages: BTreeSet::new(),
            key_id: self.key_id,
            context: self.context,
            derivations: self.derivations,
            substitutes: self.substitutes,
            unknown: BTreeMap::new(),
        }
    }
}

/// A Secret that keys were imported from. It is never imported again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportRecord {
    /// Name of the Secret.
    pub secret: String,
    /// Its UID: another Secret of the same name is another source.
    pub source_uid: String,
    /// When it was imported.
    #[serde(with = "timestamp")]
    pub time: Timestamp,
    /// The keys that were taken, so that they are known when the source is gone.
    #[serde(default)]
    pub keys: BTreeSet<String>,
    /// Whether all keys of the Secret were asked for, and not some by name.
    #[serde(default)]
    pub all: bool,
}

/// A target that was written, for cleaning up after it is renamed or its resource is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetRecord {
    /// Name of the Secret.
    pub name: String,
    /// What was written.
    pub form: Form,
    /// What was to be done if it existed.
    pub existing: Existing,
    /// What is to become of it.
    pub deletion_policy: DeletionPolicy,
    /// Of a Secret that has one content for life: which one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<FixedContent>,
}

/// What a Secret has for life whose data cannot change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FixedContent {
    /// Its type.
    #[serde(rename = "type")]
    pub type_: String,
    /// What its content is known by.
    #[serde(flatten)]
    pub mark: ContentMark,
}

/// A namespace that the secret is shared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShareRecord {
    /// Its name.
    pub namespace: String,
    /// The UID that it had when the secret was shared with it: another namespace of that name gets nothing.
    pub uid: String,
}

/// What waits for replicas in other clusters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportRecord {
    /// The version whose value it is.
    pub version: VersionId,
    /// The sequence number of the manifest when it was sealed.
    pub sequence: u64,
    /// Whom it is sealed for: installation and sealing key, by the name of the cluster.
    pub recipients: BTreeMap<String, String>,
    /// SHA-256 of the envelope in hexadecimal digits: another one was put in its place.
    pub digest: String,
}

/// What a replica has of its source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaRecord {
    /// UID of the source.
    pub source_uid: String,
    /// The version, at the source, whose value was taken over.
    pub version: VersionId,
    /// The sequence number of the source's manifest then: an older one is a source that was put back.
    pub sequence: u64,
    /// When it was taken over.
    #[serde(with = "timestamp")]
    pub time: Timestamp,
}
