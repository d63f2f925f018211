//! What a manifest remembers of rotations: what counts must outlive a restart, a fail-over and a restore without status.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Manifest, ManifestError, NewVersion, Stage, VersionId, timestamp};
use crate::api::rotation_schedule::MAX_LISTED_ROTATIONS;
use crate::api::tokens::remember;

/// Most tokens that are remembered; the oldest is forgotten first.
const MAX_TOKENS: usize = 64;

/// The rotations of one secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretRotation {
    /// When the last one began; before the first, since when a schedule counts. The schedule goes on from here.
    #[serde(with = "timestamp")]
    pub since: Timestamp,
    /// How many times of the schedule passed without a rotation.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missed: u64,
    /// Tokens that asked for one and were obeyed, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<String>,
    /// The one that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Running>,
    /// The last ones, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Rotated>,
}

/// A rotation that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Running {
    /// The version: pending until it is promoted, and current since.
    pub version: VersionId,
    /// By which strategy, whatever the schedule says since: the other side may know of the pending value.
    pub strategy: String,
    /// When it began.
    #[serde(with = "timestamp")]
    pub begun: Timestamp,
    /// Since when its version is made, where somebody's own code has a say in that: before, the code may store one itself, and what it
    /// stored may be replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// Since when it is cancelled: the other side is told to take what it took before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<Timestamp>,
    /// Since when its version is current; before, the other side is told of it, and it is tried there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted: Option<Timestamp>,
    /// Since when it is delivered at the latest, where pods are waited for: what was made before may have the value before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered: Option<Timestamp>,
    /// Since when nobody is without it, where that counts: then the grace period begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded: Option<Timestamp>,
    /// How many values the other side refused for what they are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refused: u64,
}

/// A rotation that ended, or was cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rotated {
    /// The version that it made.
    pub version: VersionId,
    /// When it began.
    #[serde(with = "timestamp")]
    pub begun: Timestamp,
    /// When the version became current; never, if the rotation was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted: Option<Timestamp>,
    /// When it ended.
    #[serde(with = "timestamp")]
    pub ended: Timestamp,
    /// Whether the value before was left working, since pods did not get the new one in time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stalled: bool,
}

/// A literal that a rotation put something else in the place of: the other one of two users that take turns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Substitute {
    /// What the spec said then. Of a spec that says something else there is nothing to be put in its place.
    pub of: String,
    /// What it is instead.
    pub is: String,
}

/// What stands in the place of literals, by key.
pub type Substitutes = BTreeMap<String, Substitute>;

impl SecretRotation {
    /// That of a secret that counts as just rotated.
    pub fn new(now: Timestamp) -> Self {
        Self {
            since: now,
            missed: 0,
            tokens: Vec::new(),
            running: None,
            history: Vec::new(),
        }
    }

    /// Whether that token was obeyed.
    pub fn has_obeyed(&self, token: &str) -> bool {
        self.tokens.iter().any(|known| known == token)
    }

    /// Remembers a token.
    pub fn obey(&mut self, token: &str) {
        remember(&mut self.tokens, token, MAX_TOKENS);
    }

    /// Ends the one that is under way; one whose version is not current is cancelled thereby.
    pub fn end(&mut self, now: Timestamp, stalled: bool) {
        let Some(running) = self.running.take() else {
            return;
        };
        self.history.push(Rotated {
            promoted: running.promoted,
            version: running.version,
            begun: running.begun,
            ended: now,
            stalled,
        });
        let surplus = self.history.len().saturating_sub(MAX_LISTED_ROTATIONS);
        self.history.drain(..surplus);
    }
}

impl Manifest {
    /// What is remembered of rotations.
    pub fn rotation(&self) -> Option<&SecretRotation> {
        self.rotation.as_ref()
    }

    /// Remembers something else of rotations. Returns whether anything changed.
    ///
    /// # Errors
    /// The sequence number is at its end.
    pub fn record_rotation(&mut self, record: SecretRotation) -> Result<bool, ManifestError> {
        if self.rotation.as_ref() == Some(&record) {
            return Ok(false);
        }
        self.bump()?;
        self.rotation = Some(record);
        Ok(true)
    }

    /// Adds a version as the pending one, in place of the one that was. Returns whether there was one.
    ///
    /// # Errors
    /// There is a version of that id, none is current yet, or the sequence number is at its end.
    pub fn add_pending(&mut self, version: NewVersion) -> Result<bool, ManifestError> {
        if self.version(&version.id).is_some() {
            return Err(ManifestError::DuplicateVersion { id: version.id });
        }
        if self.current().is_none() {
            return Err(ManifestError::CurrentCount {
                count: 0,
                versions: self.versions.len(),
            });
        }
        self.bump()?;
        let mut replaced = false;
        // What was only pending was never anybody's value. What has another stage beside is kept for that.
        self.versions.retain_mut(|known| {
            let was_pending = known.stages.remove(&Stage::Pending);
            replaced |= was_pending;
            !(was_pending && known.stages.is_empty())
        });
        let mut record = version.into_record();
        record.stages.insert(Stage::Pending);
        self.versions.push(record);
        Ok(replaced)
    }
}

impl Manifest {
    /// Takes the stage `Pending` from a version, which is kept for as long as any other without a stage: whoever has to know what
    /// the other side may have been told finds it. Returns whether it had that stage.
    ///
    /// # Errors
    /// The sequence number is at its end.
    pub fn cancel_pending(&mut self, id: &VersionId) -> Result<bool, ManifestError> {
        let is_pending = self.staged(&Stage::Pending).is_some_and(|it| it.id == *id);
        if is_pending {
            self.bump()?;
            for version in &mut self.versions {
                version.stages.remove(&Stage::Pending);
            }
        }
        Ok(is_pending)
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands a reference over"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::Derivations;
    use crate::secrets::testing::{IDS, with_versions};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn version(id: &str) -> NewVersion {
        NewVersion {
            id: id.parse().unwrap(),
            created: at("2026-01-02T03:04:05Z"),
            key_id: "key".to_owned(),
            context: BTreeMap::new(),
            derivations: Derivations::new(),
            substitutes: Substitutes::new(),
        }
    }

    #[test]
    fn a_pending_version_takes_the_place_of_the_one_that_was_and_is_promoted_as_any() {
        let mut manifest = with_versions(&IDS[..1]);
        assert!(!manifest.add_pending(version(IDS[1])).unwrap());
        assert!(manifest.add_pending(version(IDS[2])).unwrap());
        let ids: Vec<_> = manifest.versions().iter().map(|v| v.id.as_str()).collect();
        assert_eq!(ids, [IDS[0], IDS[2]]);
        manifest.check().unwrap();
        assert!(manifest.promote(&IDS[2].parse().unwrap()).unwrap());
        assert_eq!(manifest.current().unwrap().id.as_str(), IDS[2]);
        assert_eq!(
            manifest.staged(&Stage::Previous).unwrap().id.as_str(),
            IDS[0]
        );
        assert!(manifest.staged(&Stage::Pending).is_none());
        assert!(Manifest::new().add_pending(version(IDS[0])).is_err());
    }

    #[test]
    fn a_version_that_is_not_wanted_any_more_is_kept_without_a_stage() {
        let mut manifest = with_versions(&IDS[..1]);
        manifest.add_pending(version(IDS[1])).unwrap();
        let sequence = manifest.sequence();
        assert!(!manifest.cancel_pending(&IDS[0].parse().unwrap()).unwrap());
        assert_eq!(manifest.sequence(), sequence);
        assert!(manifest.cancel_pending(&IDS[1].parse().unwrap()).unwrap());
        assert_eq!(manifest.sequence(), sequence + 1);
        assert!(manifest.staged(&Stage::Pending).is_none());
        let kept = manifest.version(&IDS[1].parse().unwrap()).unwrap();
        assert!(kept.stages.is_empty());
        assert_eq!(manifest.current().unwrap().id.as_str(), IDS[0]);
        manifest.check().unwrap();
    }

    #[test]
    fn the_record_is_read_as_it_was_written_and_keeps_ten_rotations() {
        let mut record = SecretRotation::new(at("2026-01-01T00:00:00Z"));
        for number in 0..12 {
            record.running = Some(Running {
                version: IDS[0].parse().unwrap(),
                strategy: "regenerate".to_owned(),
                begun: at("2026-01-01T00:00:00Z"),
                created: None,
                cancelled: None,
                promoted: Some(at("2026-01-01T00:01:00Z")),
                delivered: None,
                loaded: None,
                refused: 0,
            });
            record.end(at("2026-01-01T00:02:00Z"), number == 11);
        }
        record.end(at("2026-01-01T00:03:00Z"), false);
        record.obey("now");
        assert!(record.has_obeyed("now") && !record.has_obeyed("then"));
        assert_eq!(record.history.len(), MAX_LISTED_ROTATIONS);
        assert!(record.history.last().unwrap().stalled);
        let mut manifest = with_versions(&IDS[..1]);
        let before = manifest.sequence();
        assert!(manifest.record_rotation(record.clone()).unwrap());
        assert!(!manifest.record_rotation(record.clone()).unwrap());
        assert_eq!(manifest.sequence(), before + 1);
        let read = Manifest::from_json(&manifest.to_json()).unwrap();
        assert_eq!(read.rotation(), Some(&record));
    }
}
