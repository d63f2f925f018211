//! The record of the installation: the `ConfigMap` that says who it is, which root key it needs, and what is under way that
//! must not be lost. Every change is a replacement of exactly the state that was read.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::restore::RestoreHold;
use crate::api::names::{ANNOTATION_RESTORE_CHECKED, INSTALLATION};
use crate::crypto::{Fingerprint, InstallationId, Region, SealingKeyId};
use crate::roots::ProviderKind;

const ID: &str = "installationId";
const ROOT_FINGERPRINT: &str = "rootFingerprint";
const REGION: &str = "region";
const RETIRED_ROOTS: &str = "retiredRoots";
const ROOT_ROTATION: &str = "rootRotation";
const SEALING_KEY: &str = "sealingKey";
const RESTORE: &str = "restoreSuspected";
const OBJECTION_PREFIX: &str = "rootObjection.";
/// Longest name of a replica in the record; together with the prefix it is a key of a `ConfigMap` (253 characters).
const MAX_IDENTITY: usize = 200;
/// Most retired root keys that are remembered; the oldest is forgotten first.
const MAX_RETIRED: usize = 64;

/// An entry is missing or was not written by the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ConfigMap {INSTALLATION}: {field} is missing or malformed")]
pub struct Malformed {
    /// Which entry.
    pub field: &'static str,
}

/// How far the rotation of the root key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Somebody asked; the next root key is not chosen yet.
    Requested,
    /// The next root key is chosen by its fingerprint, and perhaps not kept yet. Nothing is wrapped under it.
    Preparing,
    /// The next root key is kept; replicas load it. Nothing is wrapped under it.
    Distributing,
    /// The next root key is the current one; what is wrapped under another one is wrapped anew.
    Rewrapping,
    /// Nothing is wrapped under the old root key; it is removed when the wait is over.
    Forgetting,
    /// The old root key is being removed. Written before any of it is, and never taken back.
    Removing,
}

/// A rotation of the root key under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RootRotation {
    /// Where the next root key is; where the current one is if nothing was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<ProviderKind>,
    /// How far it is.
    pub phase: Phase,
    /// Since when it is that far.
    pub since: Timestamp,
    /// Fingerprint of the root key that is left.
    pub from: Fingerprint,
    /// Fingerprint of the next one, once it is chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Fingerprint>,
    /// Whether the old one is removed in the end.
    #[serde(default)]
    pub forget_old: bool,
    /// What holds the rotation up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A replica cannot load the next root key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objection {
    /// The root key that it cannot load.
    pub root: Fingerprint,
    /// When it last tried.
    pub at: Timestamp,
}

impl Objection {
    /// How long an objection counts that is not repeated: a replica that is gone objects no more.
    const LIVES: SignedDuration = SignedDuration::from_secs(60);
    /// How old it gets before it is repeated: twice while it counts, and seldom enough that replicas which hear of each other's
    /// writes do not answer them with more.
    const REPEATED: SignedDuration = SignedDuration::from_secs(20);

    /// The name of a replica in the record.
    pub fn name(identity: &str) -> &str {
        let end = (0..=identity.len().min(MAX_IDENTITY))
            .rev()
            .find(|&end| identity.is_char_boundary(end));
        &identity[..end.unwrap_or_default()]
    }

    /// Whether it need not be written again.
    fn is_fresh(&self, next: Fingerprint, now: Timestamp) -> bool {
        self.root == next && now.duration_since(self.at).abs() < Self::REPEATED
    }

    /// Whether it still counts.
    pub fn is_live(&self, next: Fingerprint, now: Timestamp) -> bool {
        self.root == next && now.duration_since(self.at).abs() < Self::LIVES
    }
}

/// What the record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The installation's id.
    pub id: InstallationId,
    /// The region in the ARNs of its keys.
    pub region: Region,
    /// Fingerprint of the root key that wraps new material.
    pub root: Fingerprint,
    /// Fingerprints of root keys under which nothing is wrapped any more, oldest first. They are kept for older backups.
    pub retired: Vec<Fingerprint>,
    /// The rotation under way.
    pub rotation: Option<RootRotation>,
    /// Which replicas cannot load the next root key, by name.
    pub objections: BTreeMap<String, Objection>,
    /// The newest sealing key that was made: where it is gone, none is made in its place.
    pub sealing_key: Option<SealingKeyId>,
    /// That a restore is suspected.
    pub restore: Option<RestoreHold>,
    /// Which hold an administrator has ended: its `since`. An annotation; not written.
    pub restore_checked: Option<String>,
}

impl Record {
    /// The record of a new installation.
    pub fn new(id: InstallationId, region: Region, root: Fingerprint) -> Self {
        Self {
            id,
            region,
            root,
            retired: Vec::new(),
            rotation: None,
            objections: BTreeMap::new(),
            sealing_key: None,
            restore: None,
            restore_checked: None,
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// If an entry is missing or malformed.
    pub fn read(map: &ConfigMap) -> Result<Self, Malformed> {
        let empty = BTreeMap::new();
        let data = map.data.as_ref().unwrap_or(&empty);
        let annotations = map.metadata.annotations.as_ref();
        let retired = data.get(RETIRED_ROOTS).map_or("", String::as_str);
        let retired = retired.split(',').filter(|text| !text.is_empty());
        let retired = retired.map(str::parse).collect::<Result<_, _>>();
        let mut objections = BTreeMap::new();
        for (entry, text) in data {
            if let Some(identity) = entry.strip_prefix(OBJECTION_PREFIX) {
                let field = "rootObjection";
                let objection = serde_json::from_str(text).map_err(|_| Malformed { field })?;
                objections.insert(identity.to_owned(), objection);
            }
        }
        Ok(Self {
            id: parsed(data, ID)?,
            region: parsed(data, REGION)?,
            root: parsed(data, ROOT_FINGERPRINT)?,
            retired: retired.map_err(|_| Malformed {
                field: RETIRED_ROOTS,
            })?,
            rotation: json(data, ROOT_ROTATION)?,
            objections,
            sealing_key: data
                .get(SEALING_KEY)
                .map(|_| parsed(data, SEALING_KEY))
                .transpose()?,
            restore: json(data, RESTORE)?,
            restore_checked: annotations.and_then(|a| a.get(ANNOTATION_RESTORE_CHECKED).cloned()),
        })
    }

    /// Writes it into the entries; those of others stay.
    pub(super) fn write(&self, data: &mut BTreeMap<String, String>) {
        let retired: Vec<_> = self.retired.iter().map(ToString::to_string).collect();
        let retired = (!retired.is_empty()).then(|| retired.join(","));
        set(data, ID, Some(self.id.to_string()));
        set(data, REGION, Some(self.region.as_str().to_owned()));
        set(data, ROOT_FINGERPRINT, Some(self.root.to_string()));
        set(data, RETIRED_ROOTS, retired);
        set(data, ROOT_ROTATION, self.rotation.as_ref().map(to_json));
        let sealing_key = self.sealing_key.map(|key| key.to_string());
        set(data, SEALING_KEY, sealing_key);
        set(data, RESTORE, self.restore.as_ref().map(to_json));
        data.retain(|entry, _| !entry.starts_with(OBJECTION_PREFIX));
        for (identity, objection) in &self.objections {
            data.insert(format!("{OBJECTION_PREFIX}{identity}"), to_json(objection));
        }
    }

    /// Notes whether a replica objects to the next root key: that it does, unless that was written lately; and that it does
    /// not, if it was written. Says whether there was anything to write.
    pub(super) fn note_objection(&mut self, name: &str, objection: Option<Objection>) -> bool {
        let rotation = self.rotation.as_ref();
        let asked = rotation.is_some_and(|r| r.phase == Phase::Distributing);
        let Some(objection) = objection.filter(|_| asked) else {
            return self.objections.remove(name).is_some();
        };
        let known = self.objections.get(name);
        if known.is_some_and(|known| known.is_fresh(objection.root, objection.at)) {
            return false;
        }
        self.objections.insert(name.to_owned(), objection);
        true
    }

    /// Remembers that nothing is wrapped under a root key any more.
    pub fn retire(&mut self, root: Fingerprint) {
        self.retired
            .retain(|known| *known != root && *known != self.root);
        let surplus = (self.retired.len() + 1).saturating_sub(MAX_RETIRED);
        self.retired.drain(..surplus);
        self.retired.push(root);
    }
}

fn parsed<T: FromStr>(
    data: &BTreeMap<String, String>,
    field: &'static str,
) -> Result<T, Malformed> {
    let text = data.get(field);
    text.and_then(|text| text.parse().ok())
        .ok_or(Malformed { field })
}

fn json<T: DeserializeOwned>(
    data: &BTreeMap<String, String>,
    field: &'static str,
) -> Result<Option<T>, Malformed> {
    let read = |text: &String| serde_json::from_str(text).map_err(|_| Malformed { field });
    data.get(field).map(read).transpose()
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("structs of strings and times are JSON")
}

fn set(data: &mut BTreeMap<String, String>, field: &str, value: Option<String>) {
    match value {
        Some(value) => data.insert(field.to_owned(), value),
        None => data.remove(field),
    };
}

impl Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
