//! The stages of versions: which one is current, and the user's own labels.

use std::collections::{BTreeMap, BTreeSet};

use super::{Manifest, ManifestError, NewVersion, Stage, StageLabel, VersionId, VersionRecord};

impl Manifest {
    /// The version that carries a stage.
    pub fn staged(&self, stage: &Stage) -> Option<&VersionRecord> {
        self.versions
            .iter()
            .find(|version| version.stages.contains(stage))
    }

    /// The current version. `None` only if there are no versions.
    pub fn current(&self) -> Option<&VersionRecord> {
        self.staged(&Stage::Current)
    }

    /// Adds a version and makes it current, as [`promote`](Self::promote) does.
    ///
    /// # Errors
    /// There is a version of that id, or the sequence number is at its end.
    pub fn add_current(&mut self, version: NewVersion) -> Result<(), ManifestError> {
        if self.version(&version.id).is_some() {
            return Err(ManifestError::DuplicateVersion { id: version.id });
        }
        self.bump()?;
        let id = version.id.clone();
        self.versions.push(version.into_record());
        self.move_current(&id);
        Ok(())
    }

    /// Makes a version current: it gets `Current` (and is not `Pending` any more), the version that
    /// had it gets `Previous`, and the one that had `Previous` loses it. Labels stay where they are.
    /// Returns whether anything changed.
    ///
    /// # Errors
    /// There is no such version, or the sequence number is at its end.
    pub fn promote(&mut self, id: &VersionId) -> Result<bool, ManifestError> {
        let Some(version) = self.version(id) else {
            return Err(ManifestError::NoSuchVersion { id: id.clone() });
        };
        if version.stages.contains(&Stage::Current) {
            return Ok(false);
        }
        self.bump()?;
        self.move_current(id);
        Ok(true)
    }

    fn move_current(&mut self, id: &VersionId) {
        for version in &mut self.versions {
            version.stages.remove(&Stage::Previous);
            if version.stages.remove(&Stage::Current) {
                version.stages.insert(Stage::Previous);
            }
        }
        if let Some(version) = self.versions.iter_mut().find(|version| version.id == *id) {
            version.stages.remove(&Stage::Pending);
            version.stages.remove(&Stage::Previous);
            version.stages.insert(Stage::Current);
        }
    }

    /// Puts the user's labels where they are wanted, and nowhere else; `Current`, `Pending` and `Previous` stay as they are.
    /// A label that is wanted on a version which is not kept stays where it is, so that a mistake lets nothing go. Returns
    /// the labels that are wanted on such versions.
    ///
    /// # Errors
    /// The sequence number is at its end.
    pub fn put_labels(
        &mut self,
        wanted: &BTreeMap<StageLabel, VersionId>,
    ) -> Result<Vec<StageLabel>, ManifestError> {
        let kept = |id: &VersionId| self.version(id).is_some();
        let unmet: Vec<_> = wanted
            .iter()
            .filter(|(_, id)| !kept(id))
            .map(|(label, _)| label.clone())
            .collect();
        let staged: Vec<BTreeSet<Stage>> = self
            .versions
            .iter()
            .map(|version| {
                let stays = |stage: &&Stage| match stage {
                    Stage::Label(label) => unmet.contains(label),
                    Stage::Current | Stage::Pending | Stage::Previous => true,
                };
                let labels = wanted.iter().filter(|(_, id)| **id == version.id);
                let labels = labels.map(|(label, _)| Stage::Label(label.clone()));
                let staying = version.stages.iter().filter(stays).cloned();
                staying.chain(labels).collect()
            })
            .collect();
        let same =
            |(version, stages): (&VersionRecord, &BTreeSet<Stage>)| version.stages == *stages;
        if !self.versions.iter().zip(&staged).all(same) {
            self.bump()?;
            for (version, stages) in self.versions.iter_mut().zip(staged) {
                version.stages = stages;
            }
        }
        Ok(unmet)
    }
}
