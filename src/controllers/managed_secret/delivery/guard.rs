//! Pods that were made before the secret whose native Secret they name, in a namespace that opts in to injection. They were admitted as
//! they are, and would start with what is sealed. One that never started and has a controller is deleted before the target is first
//! written, and comes back injected; a bare one is told of.
//!
//! The replicas of the server learn of a secret a moment after the controller, so pods are looked for until shortly after the target
//! was made.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::runtime::events::EventType;
use kube::{Api, Resource, ResourceExt};

use super::super::observe::Observed;
use super::super::spec::{form, target_name};
use super::super::step::Step;
use crate::api::Reason;
use crate::api::managed_secret::Form;
use crate::api::names::{ANNOTATION_INJECT, INJECT_DISABLED};
use crate::controllers::context::Context;
use crate::controllers::error::{Error, call, is};
use crate::controllers::rollout::Delivered;
use crate::controllers::rollout::cluster::pages;

/// How long after the target was made pods are looked for.
const LOOKED_FOR: SignedDuration = SignedDuration::from_secs(60);
/// How long until the next look in that time.
const AGAIN: Duration = Duration::from_secs(15);
/// Most pods that are dealt with at once; further ones at the next look.
const AT_ONCE: usize = 100;

/// What was found of such pods.
#[derive(Default)]
pub(crate) struct Stragglers {
    /// They, if they were looked for.
    pods: Vec<Straggler>,
    /// Whether they are looked for again soon.
    is_young: bool,
}

/// A pod that names the native Secret and never started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Straggler {
    /// Its name.
    pub(crate) name: String,
    /// Its UID.
    uid: String,
    /// The state that it was seen in: one that starts meanwhile is another.
    resource_version: String,
    /// Whether somebody makes it anew.
    has_controller: bool,
}

/// Looks for them, where there can be any.
pub(crate) async fn look(
    seen: &Observed,
    namespace: &str,
    now: Timestamp,
    ctx: &Context,
) -> Result<Stragglers, Error> {
    let Some(named) = named(seen, now) else {
        return Ok(Stragglers::default());
    };
    if !ctx.opted_in.contains(namespace, ctx).await? {
        return Ok(Stragglers::default());
    }
    let native = Delivered {
        target: Some(named),
        secret: None,
    };
    let api: Api<Pod> = Api::namespaced(ctx.client.clone(), namespace);
    let pending = ListParams::default().fields("status.phase=Pending");
    let mut pods = Vec::new();
    let mut see = |pod: Pod| {
        let refers = |pod: &Pod| pod.spec.as_ref().is_some_and(|s| native.is_used_by(s));
        pods.extend(straggler(&pod).filter(|_| refers(&pod)));
        pods.len() < AT_ONCE
    };
    pages(&api, &format!("Pods of {namespace}"), pending, &mut see).await?;
    Ok(Stragglers {
        pods,
        is_young: true,
    })
}

/// The name of the native Secret that pods may have named too early.
fn named(seen: &Observed, now: Timestamp) -> Option<String> {
    let is_young =
        |made: Option<Timestamp>| made.is_some_and(|made| now.duration_since(made) < LOOKED_FOR);
    match form(&seen.secret) {
        Form::Plain => None,
        Form::None => {
            let made = seen.secret.creation_timestamp().map(|time| time.0);
            is_young(made).then(|| seen.secret.name_any())
        }
        Form::Sealed => {
            let target = seen.target.as_ref();
            let is_asked = target.is_none_or(|target| is_young(target.created));
            target_name(&seen.secret).filter(|_| is_asked)
        }
    }
}

/// A pod of which no container ever started. What is in it is nothing, so that nothing is lost with it.
fn straggler(pod: &Pod) -> Option<Straggler> {
    let status = pod.status.as_ref();
    let containers = status.into_iter().flat_map(|status| {
        let all = [&status.init_container_statuses, &status.container_statuses];
        all.into_iter().flatten().flatten()
    });
    // One that wants to be left alone would come back as it is.
    let choice = pod.annotations().get(ANNOTATION_INJECT);
    let is_left_alone = choice.is_some_and(|choice| choice == INJECT_DISABLED);
    let is_going = pod.metadata.deletion_timestamp.is_some();
    if is_left_alone || is_going || containers.into_iter().any(has_started) {
        return None;
    }
    let owners = pod.owner_references();
    Some(Straggler {
        name: pod.name_any(),
        uid: pod.uid()?,
        resource_version: pod.resource_version()?,
        has_controller: owners.iter().any(|owner| owner.controller == Some(true)),
    })
}

fn has_started(container: &ContainerStatus) -> bool {
    let ran = |state: &k8s_openapi::api::core::v1::ContainerState| {
        state.running.is_some() || state.terminated.is_some()
    };
    let states = [&container.state, &container.last_state];
    container.started == Some(true)
        || container.restart_count > 0
        || states.into_iter().flatten().any(ran)
}

impl Stragglers {
    /// Those that somebody makes anew are deleted, before anything is delivered.
    pub(crate) fn steps(&self) -> impl Iterator<Item = Step> + '_ {
        let pods = self.pods.iter().filter(|pod| pod.has_controller);
        pods.map(|pod| Step::DeletePod(pod.clone()))
    }

    /// How long until the next look, if there is to be one.
    pub(crate) fn again(&self) -> Option<Duration> {
        self.is_young.then_some(AGAIN)
    }

    /// What is said of those that nobody makes anew.
    pub(crate) fn note(&self) -> Option<String> {
        let bare = self.pods.iter().filter(|pod| !pod.has_controller);
        let names: Vec<_> = bare.map(|pod| pod.name.as_str()).take(5).collect();
        (!names.is_empty()).then(|| {
            format!(
                "pods {} were made before this secret, and get nothing of it: delete them and create them again",
                names.join(", ")
            )
        })
    }

    #[cfg(test)]
    pub(crate) fn of(pods: &[Pod]) -> Self {
        Self {
            pods: pods.iter().filter_map(straggler).collect(),
            is_young: true,
        }
    }
}

/// Deletes a pod in exactly the state that it was seen in. Whatever keeps it from being deleted does not keep the value from all others.
pub(crate) async fn delete(pod: &Straggler, seen: &Observed, ctx: &Context) -> Result<(), Error> {
    let namespace = seen.secret.namespace().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(ctx.client.clone(), &namespace);
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(pod.uid.clone()),
            resource_version: Some(pod.resource_version.clone()),
        }),
        ..DeleteParams::default()
    };
    let object = format!("Pod {namespace}/{}", pod.name);
    let (type_, note) = match call("delete", object, api.delete(&pod.name, &params)).await {
        Ok(_) => (
            EventType::Normal,
            format!(
                "Pod {} was made before this secret and never started: it was deleted, so that it comes back with the value",
                pod.name
            ),
        ),
        Err(Error::Api { source, .. }) if is(&source, kube::core::Status::is_not_found) => {
            return Ok(());
        }
        Err(error) if error.reason() == Reason::Forbidden => (
            EventType::Warning,
            format!(
                "Pod {} was made before this secret and gets nothing of it: delete it. The operator may not: {error}",
                pod.name
            ),
        ),
        Err(error) => return Err(error),
    };
    let reference = seen.secret.object_ref(&());
    ctx.event(&reference, type_, Reason::PodNotInjected, note)
        .await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(owner: bool, status: &Value) -> Pod {
        let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "o", "controller": owner}]);
        serde_json::from_value(json!({
            "metadata": {"name": "web-1", "uid": "u", "resourceVersion": "7", "ownerReferences": owner},
            "status": status,
        }))
        .unwrap()
    }

    fn waiting() -> Value {
        json!({"phase": "Pending", "containerStatuses": [
            {"name": "web", "image": "", "imageID": "", "ready": false, "restartCount": 0, "started": false,
             "state": {"waiting": {"reason": "ContainerCreating"}}},
        ]})
    }

    #[test]
    fn a_pod_that_never_started_and_has_a_controller_is_deleted_and_a_bare_one_is_told_of() {
        for status in [json!({}), json!({"phase": "Pending"}), waiting()] {
            let found = Stragglers::of(&[pod(true, &status)]);
            assert_eq!(found.steps().count(), 1, "{status}");
            assert_eq!(found.note(), None);
            let bare = Stragglers::of(&[pod(false, &status)]);
            assert_eq!(bare.steps().count(), 0);
            assert!(bare.note().unwrap().contains("web-1"));
        }
    }

    #[test]
    fn a_pod_that_opted_out_is_left_alone() {
        let mut pod = pod(true, &waiting());
        let annotations = pod.annotations_mut();
        annotations.insert(ANNOTATION_INJECT.to_owned(), INJECT_DISABLED.to_owned());
        let found = Stragglers::of(&[pod]);
        assert_eq!((found.steps().count(), found.note()), (0, None));
    }

    #[test]
    fn a_pod_in_which_anything_ran_or_that_is_going_is_left_alone() {
        let status = |kind: &str, container: Value| json!({"phase": "Pending", kind: [container]});
        let container = |extra: &Value| {
            let mut base =
                json!({"name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0});
            base.as_object_mut()
                .unwrap()
                .extend(extra.as_object().unwrap().clone());
            base
        };
        for extra in [
            json!({"state": {"running": {}}}),
            json!({"state": {"terminated": {"exitCode": 1}}}),
            json!({"lastState": {"terminated": {"exitCode": 1}}}),
            json!({"restartCount": 1}),
            json!({"started": true}),
        ] {
            for kind in ["containerStatuses", "initContainerStatuses"] {
                let found = Stragglers::of(&[pod(true, &status(kind, container(&extra)))]);
                assert_eq!(found.steps().count(), 0, "{kind} {extra}");
            }
        }
        let mut going = pod(true, &waiting());
        going.metadata.deletion_timestamp = Some(
            k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH),
        );
        assert_eq!(Stragglers::of(&[going]).steps().count(), 0);
    }
}
