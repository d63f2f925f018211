//! The manifest of a secret: which versions there are, which one counts, what was imported once and
//! what was written outside.
//!
//! It is truth, not status. The caller seals its JSON as an envelope of its own, in the same object
//! as the versions, so that stages and values change in one update. It holds no secret value.
//!
//! Every change goes through a method that keeps the invariants and raises [`Manifest::sequence`]; a
//! sequence lower than the one last seen tells the caller that an old object was put back.
//!
//! # Form
//!
//! ```json
//! {
//!   "format": 1,
//!   "sequence": 7,
//!   "versions": [{"id": "6f1c…", "created": "2026-02-01T08:00:00Z", "stages": ["Current"],
//!                 "keyId": "1b9d…", "context": {"team": "orders"}, "derivations": {"auth": "9f86…"}}],
//!   "imports": [{"secret": "legacy", "sourceUid": "77aa…", "time": "2026-02-01T08:00:00Z",
//!                "keys": ["password"]}],
//!   "targets": [{"name": "orders-db", "form": "Sealed", "existing": "Fail",
//!                "deletionPolicy": "Delete"}],
//!   "requests": {"rollback": "5d0e…@6", "regenerate": ["2026-02"]},
//!   "sealed": {"apiKey": "9f86…"},
//!   "shares": [{"namespace": "reports", "uid": "0c44…"}],
//!   "replica": {"sourceUid": "5d21…", "version": "6f1c…", "sequence": 7,
//!               "time": "2026-02-01T08:00:00Z"},
//!   "export": {"version": "6f1c…", "sequence": 6, "digest": "9f86…",
//!              "recipients": {"east": "5b3e…/77c0…"}},
//!   "access": {"policy": {"statements": []}, "consumers": {"serviceAccounts": ["web"]},
//!              "namespaces": [{"name": "reports", "uid": "0c44…"}]}
//! }
//! ```
//!
//! `requests`, `shares`, `replica`, `export` and `access` are there only where there is something to say, with `spec.rollout` there is `rollout`
//! too, see [`RolloutRecord`], with a `RotationSchedule` `rotation`, see [`SecretRotation`], and a target with a content for life has `fixed`, see [`FixedContent`].
//!
//! Fields that this release does not know, of the manifest and of a version, are kept and written
//! back, so that an operator rolled back by one release loses nothing of a newer one's. A format that
//! it does not know is refused.

mod content;
mod error;
mod history;
mod parts;
mod requests;
mod rollout;
mod rotation;
mod stages;
mod targets;
mod timestamp;

pub use content::ContentMark;
pub use error::ManifestError;
pub use history::{MIN_AGE_TO_PRUNE, Retention};
pub use parts::{
    ExportRecord, FixedContent, ImportRecord, NewVersion, ReplicaRecord, ShareRecord, Stage,
    StageError, StageLabel, TargetRecord, VersionId, VersionIdError, VersionRecord,
};
pub use requests::Requests;
pub use rollout::{Change, Consumer, Restarted, Rolling, RolloutRecord, Search};
pub use rotation::{Rotated, Running, SecretRotation, Substitute, Substitutes};

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::policy::AccessRecord;

/// The format that this release writes, and the only one that it reads.
pub const FORMAT: u32 = 1;
/// Which versions of a secret exist and what they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    format: u32,
    sequence: u64,
    #[serde(default)]
    versions: Vec<VersionRecord>,
    #[serde(default)]
    imports: Vec<ImportRecord>,
    #[serde(default)]
    targets: Vec<TargetRecord>,
    #[serde(default, skip_serializing_if = "Requests::is_empty")]
    requests: Requests,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    shares: Vec<ShareRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replica: Option<ReplicaRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    export: Option<ExportRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rollout: Option<RolloutRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rotation: Option<SecretRotation>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    sealed: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "AccessRecord::is_empty")]
    access: AccessRecord,
    #[serde(flatten)]
    unknown: BTreeMap<String, serde_json::Value>,
}

impl Default for Manifest {
    fn default() -> Self {
        Self::new()
    }
}

impl Manifest {
    /// A manifest without versions, with sequence 1.
    pub fn new() -> Self {
        Self {
            format: FORMAT,
            sequence: 1,
            versions: Vec::new(),
            imports: Vec::new(),
            targets: Vec::new(),
            requests: Requests::default(),
            shares: Vec::new(),
            replica: None,
            export: None,
            rollout: None,
            rotation: None,
            sealed: BTreeMap::new(),
            access: AccessRecord::default(),
            unknown: BTreeMap::new(),
        }
    }

    /// Reads the JSON form and checks every invariant.
    pub fn from_json(json: &[u8]) -> Result<Self, ManifestError> {
        /// The format comes first: what follows is only understood if it is known.
        #[derive(Deserialize)]
        struct Probe {
            format: u64,
        }
        // The error's own text may quote its input, which has no place in a log.
        let malformed = |error: &serde_json::Error| ManifestError::Malformed {
            line: error.line(),
            column: error.column(),
        };
        let probe: Probe = serde_json::from_slice(json).map_err(|error| malformed(&error))?;
        if probe.format != u64::from(FORMAT) {
            return Err(ManifestError::UnknownFormat {
                found: probe.format,
            });
        }
        let manifest: Self = serde_json::from_slice(json).map_err(|error| malformed(&error))?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The JSON form: the same bytes for equal manifests.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("every field has a JSON form and every map has text keys")
    }

    /// Checks every invariant: unique ids and records, a stage on one version at most, and exactly
    /// one `Current` if there are versions.
    pub fn check(&self) -> Result<(), ManifestError> {
        let mut ids = BTreeSet::new();
        let mut stages = BTreeSet::new();
        for version in &self.versions {
            if !ids.insert(&version.id) {
                return Err(ManifestError::DuplicateVersion {
                    id: version.id.clone(),
                });
            }
            for stage in &version.stages {
                // Current has an error of its own, which says how many there are.
                if !stages.insert(stage) && *stage != Stage::Current {
                    return Err(ManifestError::StageTwice {
                        stage: stage.clone(),
                    });
                }
            }
        }
        let current = |version: &&VersionRecord| version.stages.contains(&Stage::Current);
        let count = self.versions.iter().filter(current).count();
        if !self.versions.is_empty() && count != 1 {
            return Err(ManifestError::CurrentCount {
                count,
                versions: self.versions.len(),
            });
        }
        check_unique(
            "import",
            self.imports.iter().map(|import| import.secret.as_str()),
        )?;
        check_unique(
            "target",
            self.targets.iter().map(|target| target.name.as_str()),
        )?;
        check_unique(
            "share",
            self.shares.iter().map(|share| share.namespace.as_str()),
        )
    }

    /// Rises with every change.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The versions, in the order in which they were added.
    pub fn versions(&self) -> &[VersionRecord] {
        &self.versions
    }

    /// What was imported.
    pub fn imports(&self) -> &[ImportRecord] {
        &self.imports
    }

    /// What users asked for once, and got.
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// The namespaces that it is shared with.
    pub fn shares(&self) -> &[ShareRecord] {
        &self.shares
    }

    /// The UID that a namespace had when the secret was shared with it; `None` if it is not.
    pub fn share(&self, namespace: &str) -> Option<&str> {
        let found = self
            .shares
            .iter()
            .find(|share| share.namespace == namespace)?;
        Some(&found.uid)
    }

    /// What a replica has of its source; `None` if it is none, or has nothing yet.
    pub fn replica(&self) -> Option<&ReplicaRecord> {
        self.replica.as_ref()
    }

    /// What waits for replicas in other clusters.
    pub fn export(&self) -> Option<&ExportRecord> {
        self.export.as_ref()
    }

    /// The version of this id.
    pub fn version(&self, id: &VersionId) -> Option<&VersionRecord> {
        self.versions.iter().find(|version| version.id == *id)
    }

    /// Raises the sequence. Every method that changes something does so by itself; this is for a
    /// caller that rewrites the envelopes and leaves the manifest as it is.
    pub fn bump(&mut self) -> Result<(), ManifestError> {
        self.sequence = self
            .sequence
            .checked_add(1)
            .ok_or(ManifestError::SequenceExhausted)?;
        Ok(())
    }

    /// Records under which key, and with which of the user's pairs, a version is sealed from now on.
    /// Returns whether anything changed.
    pub fn bind(
        &mut self,
        id: &VersionId,
        key_id: &str,
        context: &BTreeMap<String, String>,
    ) -> Result<bool, ManifestError> {
        let Some(index) = self.versions.iter().position(|version| version.id == *id) else {
            return Err(ManifestError::NoSuchVersion { id: id.clone() });
        };
        let version = &self.versions[index];
        if version.key_id == key_id && version.context == *context {
            return Ok(false);
        }
        self.bump()?;
        let version = &mut self.versions[index];
        key_id.clone_into(&mut version.key_id);
        version.context.clone_from(context);
        Ok(true)
    }

    /// Records an import, in place of an earlier one from the same Secret. Returns whether anything
    /// changed.
    pub fn record_import(&mut self, import: ImportRecord) -> Result<bool, ManifestError> {
        if self.imports.contains(&import) {
            return Ok(false);
        }
        self.bump()?;
        self.imports.retain(|known| known.secret != import.secret);
        self.imports.push(import);
        Ok(true)
    }

    /// The entries of `spec.sealed` that were taken: SHA-256 in hexadecimal digits, by key.
    pub fn sealed(&self) -> &BTreeMap<String, String> {
        &self.sealed
    }

    /// Records which entries of `spec.sealed` were taken. Returns whether anything changed.
    pub fn record_sealed(
        &mut self,
        sealed: BTreeMap<String, String>,
    ) -> Result<bool, ManifestError> {
        if self.sealed == sealed {
            return Ok(false);
        }
        self.bump()?;
        self.sealed = sealed;
        Ok(true)
    }

    /// Records with whom it is shared, in place of what was recorded. Returns whether anything changed.
    pub fn record_shares(&mut self, shares: Vec<ShareRecord>) -> Result<bool, ManifestError> {
        if self.shares == shares {
            return Ok(false);
        }
        self.bump()?;
        self.shares = shares;
        Ok(true)
    }

    /// Records what a replica has of its source, or that it is none. Returns whether anything changed.
    pub fn record_replica(
        &mut self,
        replica: Option<ReplicaRecord>,
    ) -> Result<bool, ManifestError> {
        if self.replica == replica {
            return Ok(false);
        }
        self.bump()?;
        self.replica = replica;
        Ok(true)
    }

    /// Records what is about to wait for replicas in other clusters, or that nothing does any more. Returns whether anything
    /// changed.
    pub fn record_export(&mut self, export: Option<ExportRecord>) -> Result<bool, ManifestError> {
        if self.export == export {
            return Ok(false);
        }
        self.bump()?;
        self.export = export;
        Ok(true)
    }

    /// What is remembered of restarts.
    pub fn rollout(&self) -> Option<&RolloutRecord> {
        self.rollout.as_ref()
    }

    /// Remembers something else of restarts, or nothing. Returns whether anything changed.
    pub fn set_rollout(&mut self, record: Option<RolloutRecord>) -> Result<bool, ManifestError> {
        if self.rollout == record {
            return Ok(false);
        }
        self.bump()?;
        self.rollout = record;
        Ok(true)
    }

    /// Who may read it by a call of the API.
    pub fn access(&self) -> &AccessRecord {
        &self.access
    }

    /// Records who may read it. Returns whether anything changed.
    pub fn record_access(&mut self, access: AccessRecord) -> Result<bool, ManifestError> {
        if self.access == access {
            return Ok(false);
        }
        self.bump()?;
        self.access = access;
        Ok(true)
    }
}

fn check_unique<'a>(
    kind: &'static str,
    names: impl Iterator<Item = &'a str>,
) -> Result<(), ManifestError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(ManifestError::DuplicateRecord {
                kind,
                name: name.to_owned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
