//! The Secrets that what is current is, or was, delivered in.

use super::{Manifest, ManifestError, TargetRecord};

impl Manifest {
    /// What was written outside. Of those with a content for life the one that was delivered last is behind the others.
    pub fn targets(&self) -> &[TargetRecord] {
        &self.targets
    }

    /// The record of the target of that name.
    pub fn target(&self, name: &str) -> Option<&TargetRecord> {
        self.targets.iter().find(|target| target.name == name)
    }

    /// Records a target that was or is about to be written, in place of an earlier record of that
    /// name. Returns whether anything changed.
    pub fn record_target(&mut self, target: TargetRecord) -> Result<bool, ManifestError> {
        let last = self.targets.last() == Some(&target);
        // Which of those with a content for life was delivered last is told by their order.
        if last || target.fixed.is_none() && self.targets.contains(&target) {
            return Ok(false);
        }
        self.bump()?;
        self.targets.retain(|known| known.name != target.name);
        self.targets.push(target);
        Ok(true)
    }

    /// Forgets a target that was cleaned up. Returns whether it was there.
    pub fn forget_target(&mut self, name: &str) -> Result<bool, ManifestError> {
        if self.target(name).is_none() {
            return Ok(false);
        }
        self.bump()?;
        self.targets.retain(|target| target.name != name);
        Ok(true)
    }
}
