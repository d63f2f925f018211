//! Which pods get a secret by the CSI driver, and which version of it each of them has. Pure.
//!
//! What a pod gets is in its spec, which nobody can change; what it has is in a condition, which its node had written. A version
//! that is no id of one is taken for none.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::api::managed_secret::{
    ConsumersStatus, LoadedVersion, MAX_LOADED_VERSIONS, SecretVersionStatus,
};
use crate::api::names::LABEL_ROTATION_VERSION;
use crate::api::{VolumeRequest, VolumeStage, loaded};
use crate::secrets::VersionId;

/// What a pod has of a secret that it gets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Has {
    /// The version that it asks for. Of one that asks for both, its node tells the current one.
    pub(crate) stage: VolumeStage,
    /// The one that it has; `None` where nobody has told it.
    pub(crate) version: Option<VersionId>,
}

impl Has {
    /// Whether the pod is without the version that it asks for, of these. Of a secret that has none, nobody is without it.
    pub(crate) fn is_behind(&self, versions: &[SecretVersionStatus]) -> bool {
        let stage = self.stage.as_str();
        let wanted = versions
            .iter()
            .find(|version| version.stages.iter().any(|name| name == stage));
        wanted.is_some_and(|wanted| !self.has(&wanted.id))
    }

    fn has(&self, version: &str) -> bool {
        self.version
            .as_ref()
            .is_some_and(|has| has.as_str() == version)
    }
}

/// What a pod has of each secret that it gets. One that is no consumer gets none.
pub(crate) fn of_pod(pod: &Pod) -> BTreeMap<String, Has> {
    let mut all = BTreeMap::new();
    if is_no_consumer(pod) {
        return all;
    }
    let told = loaded::loaded(pod);
    for request in pod.spec.iter().flat_map(VolumeRequest::all_of) {
        for source in request.sources() {
            let told = told.get(source.secret.as_str());
            let version = told.and_then(|version| version.parse().ok());
            let stage = source.stage;
            let has = all
                .entry(source.secret.clone())
                .or_insert(Has { stage, version });
            has.stage = has.stage.min(stage);
        }
    }
    all
}

/// Whether a pod has ended, is being deleted, or runs the code of a rotation, which nobody waits for.
pub(crate) fn is_no_consumer(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    pod.metadata.deletion_timestamp.is_some()
        || matches!(phase, Some("Succeeded" | "Failed"))
        || pod.labels().contains_key(LABEL_ROTATION_VERSION)
}

/// How many pods of a namespace have what of each secret.
#[derive(Default)]
pub(crate) struct Tally(BTreeMap<String, BTreeMap<Has, i64>>);

impl Tally {
    /// Counts a pod.
    pub(crate) fn add(&mut self, pod: &Pod) {
        for (secret, has) in of_pod(pod) {
            *self.0.entry(secret).or_default().entry(has).or_default() += 1;
        }
    }

    /// What is told of the pods that get a secret with these versions, which are newest first; `None` if there is none.
    pub(crate) fn status(
        &self,
        secret: &str,
        versions: &[SecretVersionStatus],
    ) -> Option<ConsumersStatus> {
        let counted = self.0.get(secret)?;
        let sum = |counts: &dyn Fn(&Has) -> bool| -> i64 {
            let those = counted.iter().filter(|(has, _)| counts(has));
            those.map(|(_, pods)| pods).sum()
        };
        let pods = sum(&|_| true);
        let unknown = sum(&|has| has.version.is_none());
        let kept = versions.iter().map(|version| LoadedVersion {
            id: version.id.clone(),
            pods: sum(&|has| has.has(&version.id)),
        });
        let told = kept.filter(|version| version.pods > 0);
        let told: Vec<_> = told.take(MAX_LOADED_VERSIONS).collect();
        let others = pods - unknown - told.iter().map(|version| version.pods).sum::<i64>();
        Some(ConsumersStatus {
            pods,
            up_to_date: pods - sum(&|has| has.is_behind(versions)),
            unknown,
            versions: told,
            other_versions: (others > 0).then_some(others),
        })
    }
}

#[cfg(test)]
mod tests;
