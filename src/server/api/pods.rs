//! What the pod of a caller mounts, and what it rotates: the secrets that its spec names in volumes, which cannot be changed while it
//! lives, and a label that only the operator gives, by the Job that the pod is of.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt};
use tracing::warn;

use super::authenticate::BoundPod;
use super::error::ApiError;
use crate::api::VolumeRequest;
use crate::api::names::LABEL_ROTATION_VERSION;
use crate::calling::within;
use crate::remember::Remembered;
use crate::secrets::VersionId;
use crate::telling::describe;

/// How long a look at a pod counts.
const REMEMBERED: Duration = Duration::from_secs(10);
/// Most pods that are remembered.
const MOST: usize = 8192;
/// How long the API server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pods of callers.
pub(super) struct Pods {
    client: Client,
    seen: Remembered<BoundPod, Arc<PodSeen>>,
}

/// What a pod has to do with secrets of its own namespace.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PodSeen {
    /// The secrets that it names in volumes.
    pub(super) mounts: BTreeSet<String>,
    /// The version of the rotation that it is of.
    pub(super) rotates: Option<VersionId>,
}

impl Pods {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            seen: Remembered::new(REMEMBERED, MOST),
        }
    }

    /// What that pod has to do with secrets.
    ///
    /// # Errors
    /// Nobody could say.
    pub(super) async fn look(&self, pod: &BoundPod) -> Result<Arc<PodSeen>, ApiError> {
        let asked = Instant::now();
        if let Some(seen) = self.seen.get(pod, asked) {
            return Ok(seen);
        }
        let seen = Arc::new(self.look_anew(pod).await?);
        self.seen.put(pod.clone(), asked, seen.clone());
        Ok(seen)
    }

    async fn look_anew(&self, pod: &BoundPod) -> Result<PodSeen, ApiError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        let found = within(PATIENCE, pods.get_opt(&pod.name)).await;
        let found = found.map_err(|error| {
            let error = describe(&error);
            warn!(error, "the pod of a caller could not be looked at");
            ApiError::unanswered()
        })?;
        // Another pod of the same name, as those of a StatefulSet are, is another one.
        let same = found.filter(|found| found.metadata.uid.as_ref() == Some(&pod.uid));
        Ok(same.map(|pod| PodSeen::of(&pod)).unwrap_or_default())
    }
}

impl PodSeen {
    fn of(pod: &Pod) -> Self {
        Self {
            mounts: named(pod),
            rotates: rotated(pod),
        }
    }
}

/// The secrets that a pod names in volumes of our driver. One with attributes that the node plugin would refuse names none.
pub(super) fn named(pod: &Pod) -> BTreeSet<String> {
    let requests = pod.spec.iter().flat_map(VolumeRequest::all_of);
    let mut named = BTreeSet::new();
    for request in requests {
        named.extend(request.secrets().into_iter().map(str::to_owned));
    }
    named
}

/// The version of the rotation that a pod is of. Who may give that label is what the policy keystead-rotation-pods says; that a Job is
/// its controller is looked at all the same.
fn rotated(pod: &Pod) -> Option<VersionId> {
    let mut owners = pod.owner_references().iter();
    let is_of_job = owners.any(|owner| {
        owner.controller == Some(true) && owner.api_version == "batch/v1" && owner.kind == "Job"
    });
    let version = pod.labels().get(LABEL_ROTATION_VERSION);
    version.filter(|_| is_of_job)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const VERSION: &str = "00000000-0000-4000-8000-000000000001";

    fn seen(metadata: &Value) -> PodSeen {
        let pod = json!({"metadata": metadata, "spec": {"containers": []}});
        PodSeen::of(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn only_a_pod_that_a_job_controls_rotates_the_version_of_its_label() {
        let owner = |kind: &str, group: &str, controller: bool| json!([{"apiVersion": group, "kind": kind, "name": "a", "uid": "u", "controller": controller}]);
        let job = owner("Job", "batch/v1", true);
        let labels = json!({LABEL_ROTATION_VERSION: VERSION});
        let rotates = seen(&json!({"labels": labels, "ownerReferences": job})).rotates;
        assert_eq!(rotates, Some(VERSION.parse().unwrap()));
        for other in [
            json!({"ownerReferences": job}),
            json!({"labels": labels}),
            json!({"labels": {LABEL_ROTATION_VERSION: "1"}, "ownerReferences": job}),
            json!({"labels": labels, "ownerReferences": owner("Job", "batch/v1", false)}),
            json!({"labels": labels, "ownerReferences": owner("ReplicaSet", "apps/v1", true)}),
            json!({"labels": labels, "ownerReferences": owner("Job", "example.com/v1", true)}),
        ] {
            assert_eq!(seen(&other), PodSeen::default(), "{other}");
        }
    }
}
