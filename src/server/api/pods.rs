//! What the pod of a caller mounts: the secrets that its spec names in volumes, which cannot be changed while it lives.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use tracing::warn;

use super::authenticate::BoundPod;
use super::error::ApiError;
use crate::api::VolumeRequest;
use crate::calling::within;
use crate::remember::Remembered;
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
    seen: Remembered<BoundPod, Arc<BTreeSet<String>>>,
}

impl Pods {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            seen: Remembered::new(REMEMBERED, MOST),
        }
    }

    /// Whether that pod mounts the secret of that name, of its own namespace.
    pub(super) async fn mounts(&self, pod: &BoundPod, secret: &str) -> Result<bool, ApiError> {
        let asked = Instant::now();
        let named = if let Some(named) = self.seen.get(pod, asked) {
            named
        } else {
            let named = Arc::new(self.look(pod).await?);
            self.seen.put(pod.clone(), asked, named.clone());
            named
        };
        Ok(named.contains(secret))
    }

    async fn look(&self, pod: &BoundPod) -> Result<BTreeSet<String>, ApiError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        let found = within(PATIENCE, pods.get_opt(&pod.name)).await;
        let found = found.map_err(|error| {
            let error = describe(&error);
            warn!(error, "the pod of a caller could not be looked at");
            ApiError::unanswered()
        })?;
        // Another pod of the same name, as those of a StatefulSet are, is another one.
        let same = found.filter(|found| found.metadata.uid.as_ref() == Some(&pod.uid));
        Ok(same.map(|pod| named(&pod)).unwrap_or_default())
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
