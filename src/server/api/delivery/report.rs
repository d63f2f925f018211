//! `ReportLoaded`: a node says which version of each secret its pods have, and that is put into a condition of each pod.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;
use tracing::warn;

use super::node::Node;
use crate::api::loaded;
use crate::api::names::{FIELD_MANAGER, POD_CONDITION_LOADED, is_object_name};
use crate::api::time::as_stored;
use crate::calling::within;
use crate::secrets::VersionId;
use crate::server::api::error::ApiError;
use crate::server::api::pods::named;
use crate::telemetry::ApiResult;
use crate::telling::describe;

/// Most pods of one call.
const MOST: usize = 256;
/// Pods of one call that are looked at at once.
const AT_ONCE: usize = 8;
/// How long the API server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long all pods of a call may take together.
const ALL: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ReportLoaded {
    pods: Vec<Loaded>,
}

/// What a pod has.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Loaded {
    namespace: String,
    name: String,
    uid: String,
    /// The version of each secret, by its name.
    secrets: BTreeMap<String, String>,
}

/// Why what a pod has is not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    uid: String,
    /// The pod, as it was named.
    pub(super) pod: String,
    code: &'static str,
    refused: bool,
    /// In words.
    pub(super) message: String,
}

impl Failure {
    fn of(loaded: &Loaded, error: ApiError) -> Self {
        let Loaded {
            namespace,
            name,
            uid,
            ..
        } = loaded;
        Self {
            uid: uid.clone(),
            pod: format!("{namespace}/{name} ({uid})"),
            code: error.code,
            refused: error.result == ApiResult::Denied,
            message: error.message,
        }
    }

    /// Whether the node may not speak of the pod so.
    pub(super) fn is_refusal(&self) -> bool {
        self.refused
    }
}

/// The pods of a call.
///
/// # Errors
/// There are too many.
pub(super) fn pods(report: ReportLoaded) -> Result<Vec<Loaded>, ApiError> {
    let count = report.pods.len();
    if count > MOST {
        let message = format!("Pods has {count} items; it may have {MOST}");
        return Err(ApiError::invalid_parameter(message));
    }
    Ok(report.pods)
}

/// What is answered.
pub(super) fn told(failed: &[Failure]) -> Value {
    let failed = failed.iter().map(
        |failure| json!({"Uid": failure.uid, "Code": failure.code, "Message": failure.message}),
    );
    json!({"Failed": failed.collect::<Vec<_>>()})
}

/// Puts what pods have into their status.
pub(super) struct Reports {
    client: Client,
}

impl Reports {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Shows what these pods have; returns what could not be shown.
    pub(super) async fn report(&self, node: &Node<'_>, pods: &[Loaded]) -> Vec<Failure> {
        let mut failed: Vec<Option<Failure>> = pods
            .iter()
            .map(|loaded| Some(Failure::of(loaded, ApiError::unanswered())))
            .collect();
        let shown = pods.iter().enumerate().map(|(number, loaded)| async move {
            let shown = self.show(node, loaded).await;
            (number, shown.err().map(|error| Failure::of(loaded, error)))
        });
        // Collected, since the compiler cannot see otherwise that what waits for them may move to another thread.
        let shown: Vec<_> = shown.collect();
        let mut shown = stream::iter(shown).buffer_unordered(AT_ONCE);
        let all = async {
            while let Some((number, failure)) = shown.next().await {
                failed[number] = failure;
            }
        };
        // Those that were not reached in time are left as what nobody answered.
        let _ = timeout(ALL, all).await;
        failed.into_iter().flatten().collect()
    }

    async fn show(&self, node: &Node<'_>, loaded: &Loaded) -> Result<(), ApiError> {
        well_formed(loaded)?;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &loaded.namespace);
        let found = within(PATIENCE, pods.get_opt(&loaded.name)).await;
        let found = found.map_err(|error| unanswered(&error))?;
        let pod = found.ok_or_else(|| not_here(node, loaded))?;
        may_speak(node, loaded, &pod)?;
        let Some(patch) = patch(loaded, &pod, Timestamp::now()) else {
            return Ok(());
        };
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Strategic(patch);
        match within(PATIENCE, pods.patch_status(&loaded.name, &params, &patch)).await {
            Ok(_) => Ok(()),
            // Its UID is in the patch: in its place there is another one, or none.
            Err(kube::Error::Api(status))
                if status.is_not_found() || status.is_conflict() || status.is_invalid() =>
            {
                Err(ApiError::not_found("the pod is gone"))
            }
            Err(error) => Err(unanswered(&error)),
        }
    }
}

fn unanswered(error: &kube::Error) -> ApiError {
    let error = describe(error);
    warn!(
        error,
        "what a pod has loaded could not be put into its status"
    );
    ApiError::unanswered()
}

fn well_formed(loaded: &Loaded) -> Result<(), ApiError> {
    if !is_object_name(&loaded.namespace) || !is_object_name(&loaded.name) {
        let message = "Pods: a Namespace or Name is no name of an object of Kubernetes";
        return Err(ApiError::invalid_parameter(message));
    }
    let mut versions = loaded.secrets.values();
    if !versions.all(|version| version.parse::<VersionId>().is_ok()) {
        let message = "Pods: the id of a version is a UUID in lower-case text";
        return Err(ApiError::invalid_parameter(message));
    }
    Ok(())
}

/// A pod that is elsewhere, of another UID or nowhere: which of these is not a node's to learn.
fn not_here(node: &Node<'_>, loaded: &Loaded) -> ApiError {
    let Loaded {
        namespace, name, ..
    } = loaded;
    ApiError::access_denied(format!(
        "there is no pod {namespace}/{name} of that UID on node {}",
        node.name
    ))
}

/// Whether that node may say that of that pod.
fn may_speak(node: &Node<'_>, loaded: &Loaded, pod: &Pod) -> Result<(), ApiError> {
    let on = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    if pod.metadata.uid.as_deref() != Some(&loaded.uid) || on != Some(node.name) {
        return Err(not_here(node, loaded));
    }
    let mounted = named(pod);
    match loaded.secrets.keys().find(|name| !mounted.contains(*name)) {
        Some(_) => Err(ApiError::access_denied(
            "the pod does not mount a secret that it is said to have",
        )),
        None => Ok(()),
    }
}

/// What makes the pod's status say it; `None` if it does.
fn patch(said: &Loaded, pod: &Pod, now: Timestamp) -> Option<Value> {
    let message = loaded::message(&said.secrets);
    let held = loaded::condition(pod).filter(|condition| condition.status == "True");
    if held.and_then(|condition| condition.message.as_ref()) == Some(&message) {
        return None;
    }
    let since = held.and_then(|condition| condition.last_transition_time.as_ref());
    let since = since.map_or(now, |time| time.0);
    Some(json!({
        "metadata": {"uid": said.uid},
        "status": {"conditions": [{
            "type": POD_CONDITION_LOADED, "status": "True", "reason": "Loaded", "message": message,
            "lastTransitionTime": as_stored(since),
        }]},
    }))
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
