//! Which versions are kept: the rules by which old ones go.

use jiff::{SignedDuration, Timestamp};

use super::{Manifest, ManifestError, VersionId, VersionRecord};

/// A version younger than this is only pruned for want of room, so that a reader that has just learned its id still
/// finds it.
pub const MIN_AGE_TO_PRUNE: SignedDuration = SignedDuration::from_hours(24);

/// How many versions are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// As many as may grow old.
    pub kept: usize,
    /// The most there may be, whatever their age. AWS Secrets Manager keeps about as many.
    pub most: usize,
}

impl Retention {
    /// What every secret has.
    pub const DEFAULT: Self = Self {
        kept: 10,
        most: 100,
    };
}

impl Manifest {
    /// Removes versions, oldest first: those older than [`MIN_AGE_TO_PRUNE`] until `kept` are left, and younger ones too until
    /// there are at most `most`. Never one that carries a stage. Returns the ids of those removed.
    ///
    /// # Errors
    /// The sequence number is at its end.
    pub fn prune(
        &mut self,
        now: Timestamp,
        retention: Retention,
    ) -> Result<Vec<VersionId>, ManifestError> {
        let surplus = self.versions.len().saturating_sub(retention.kept);
        let pressing = self.versions.len().saturating_sub(retention.most);
        // A date in the future (a clock was put back) has a negative age, and counts as young.
        let old = |version: &VersionRecord| now.duration_since(version.created) >= MIN_AGE_TO_PRUNE;
        let removed: Vec<_> = self
            .oldest_without_stage()
            .enumerate()
            .filter(|(index, version)| *index < pressing || *index < surplus && old(version))
            .map(|(_, version)| version.id.clone())
            .collect();
        self.remove(&removed)?;
        Ok(removed)
    }

    /// Removes versions, oldest first and whatever their age, until the sizes of those left are at
    /// most `limit` together. Never one that carries a stage: if these alone are over the limit,
    /// they are what is left. Returns the ids of those removed.
    ///
    /// Removes nothing if the sequence number is at its end, where no other change is possible.
    pub fn make_room(
        &mut self,
        size: impl Fn(&VersionRecord) -> usize,
        limit: usize,
    ) -> Vec<VersionId> {
        // Wide enough for any number of sizes.
        let size = |version: &VersionRecord| size(version) as u128;
        let mut total: u128 = self.versions.iter().map(size).sum();
        let mut removed = Vec::new();
        for version in self.oldest_without_stage() {
            if total <= limit as u128 {
                break;
            }
            total -= size(version);
            removed.push(version.id.clone());
        }
        match self.remove(&removed) {
            Ok(()) => removed,
            Err(_) => Vec::new(),
        }
    }

    fn oldest_without_stage(&self) -> impl Iterator<Item = &VersionRecord> {
        let unstaged = |version: &&VersionRecord| version.stages.is_empty();
        let mut versions: Vec<_> = self.versions.iter().filter(unstaged).collect();
        versions.sort_by_key(|version| version.created);
        versions.into_iter()
    }

    /// Removes these versions, in one change.
    fn remove(&mut self, ids: &[VersionId]) -> Result<(), ManifestError> {
        if !ids.is_empty() {
            self.bump()?;
            self.versions.retain(|version| !ids.contains(&version.id));
        }
        Ok(())
    }
}
