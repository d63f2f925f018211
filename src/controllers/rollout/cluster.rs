//! Looks at workloads, and restarts them. Nothing is watched and nothing kept: a secret at rest asks nothing.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::Status;
use kube::runtime::events::{Event, EventType};
use serde::de::DeserializeOwned;
use serde_json::json;
use sha2::{Digest, Sha256};
use tracing::warn;

use super::plan::Done;
use super::uses::Delivered;
use super::workload::Workload;
use crate::api::Reason;
use crate::api::managed_secret::{RolloutTarget, WorkloadKind};
use crate::api::names::{ANNOTATION_RESTARTED_PREFIX, FIELD_MANAGER_ROLLOUT_PREFIX};
use crate::controllers::context::Context;
use crate::controllers::error::{Class, Error, call, is};
use crate::hex::Hex;
use crate::secrets::Consumer;

/// Workloads in one answer of the API server.
const LIST_PAGE: u32 = 100;
/// Bytes of the hash of a secret's name. Two secrets with the same would restart each other's pods once more than needed.
const NAME_HASH: usize = 8;

/// The workloads of one namespace.
pub(crate) struct Workloads<'a> {
    /// The namespace.
    pub(crate) namespace: &'a str,
    /// What the controllers have.
    pub(crate) ctx: &'a Context,
}

/// The restart of workloads for one change of one secret.
pub(crate) struct Restart<'a> {
    /// The secret, for Events.
    pub(crate) secret: &'a ObjectReference,
    /// The change.
    pub(crate) marker: &'a str,
}

impl Workloads<'_> {
    fn api(&self, kind: WorkloadKind) -> Api<DynamicObject> {
        Api::namespaced_with(self.ctx.client.clone(), self.namespace, &resource(kind))
    }

    /// All workloads that use what is delivered and were there before that time, in the order of restarts.
    pub(crate) async fn using(
        &self,
        delivered: &Delivered,
        before: Timestamp,
    ) -> Result<Vec<Consumer>, Error> {
        let uses = |workload: &Workload| {
            workload.was_before(before) && workload.pods_are(|pod| delivered.is_used_by(pod))
        };
        self.those_that(uses).await
    }

    /// All workloads of which that is so, in order.
    async fn those_that(
        &self,
        is_so: impl Fn(&Workload) -> bool + Sync,
    ) -> Result<Vec<Consumer>, Error> {
        let mut found = Vec::new();
        for kind in WorkloadKind::ALL {
            let mut add = |workload: Workload| {
                if is_so(&workload) {
                    found.push(workload.consumer);
                }
            };
            self.each_of(kind, &mut add).await?;
        }
        found.sort();
        Ok(found)
    }

    /// Looks at all workloads of a kind, of which there may be none because the kind is not installed.
    pub(super) async fn each_of(
        &self,
        kind: WorkloadKind,
        look: &mut (dyn FnMut(Workload) + Send),
    ) -> Result<(), Error> {
        let mut read = |object| {
            if let Some(workload) = Workload::read(kind, object) {
                look(workload);
            }
            true
        };
        let what = format!("{kind}s of {}", self.namespace);
        match pages(&self.api(kind), &what, ListParams::default(), &mut read).await {
            // Argo is not installed.
            Err(Error::Api { source, .. }) if is(&source, is_missing) => Ok(()),
            looked => looked,
        }
    }

    /// Those of these workloads that were there before that time, in the same order.
    pub(crate) async fn named(
        &self,
        targets: &[RolloutTarget],
        before: Timestamp,
    ) -> Result<Vec<Consumer>, Error> {
        let mut found = Vec::new();
        for target in targets {
            let workload = self.get(target.kind, &target.name).await?;
            let workload = workload.filter(|workload| workload.was_before(before));
            found.extend(workload.map(|workload| workload.consumer));
        }
        Ok(found)
    }

    async fn get(&self, kind: WorkloadKind, name: &str) -> Result<Option<Workload>, Error> {
        let what = format!("{kind} {}/{name}", self.namespace);
        match call("get", what, self.api(kind).get(name)).await {
            Err(Error::Api { source, .. }) if is(&source, is_missing) => Ok(None),
            found => Ok(Workload::read(kind, found?)),
        }
    }

    /// A workload in this life of it.
    async fn look(&self, consumer: &Consumer) -> Result<Option<Workload>, Error> {
        let found = self.get(consumer.kind, &consumer.name).await?;
        Ok(found.filter(|workload| workload.consumer == *consumer))
    }

    /// Those of these that are rolled out, or gone.
    pub(crate) async fn rolled_out(&self, consumers: &[Consumer]) -> Result<Vec<Consumer>, Error> {
        let mut out = Vec::new();
        for consumer in consumers {
            let found = self.look(consumer).await?;
            if found.is_none_or(|workload| workload.rolled_out) {
                out.push(consumer.clone());
            }
        }
        Ok(out)
    }

    /// Restarts a workload, unless it carries the mark of this change already: then somebody did so and could not write it
    /// down.
    ///
    /// The mark is an annotation of the pods' template that nobody else has, applied under a manager that owns nothing else:
    /// whoever applies his own manifest again, at the client or at the server, leaves it alone.
    pub(crate) async fn restart(
        &self,
        consumer: &Consumer,
        restart: &Restart<'_>,
    ) -> Result<Done, Error> {
        let Consumer { kind, name, uid } = consumer;
        let hash = name_hash(restart.secret.name.as_deref().unwrap_or_default());
        let mark = format!("{ANNOTATION_RESTARTED_PREFIX}{hash}");
        let Some(found) = self.look(consumer).await? else {
            return Ok(Done::Gone);
        };
        if found.annotation(&mark) == Some(restart.marker) {
            return Ok(Done::Restarted);
        }
        self.ctx.check_leadership()?;
        let resource = resource(*kind);
        let body = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            // The UID keeps the apply from touching, or making, another workload of this name.
            "metadata": { "name": name, "namespace": self.namespace, "uid": uid },
            "spec": { "template": { "metadata": { "annotations": { &mark: restart.marker } } } },
        });
        let params = PatchParams::apply(&format!("{FIELD_MANAGER_ROLLOUT_PREFIX}{hash}")).force();
        let what = format!("{kind} {}/{name}", self.namespace);
        let api = self.api(*kind);
        let written = call("apply", what, api.patch(name, &params, &Patch::Apply(body))).await?;
        let written = Workload::read(*kind, written);
        // What is not in the answer was not stored: something in between took it out.
        if written.is_none_or(|written| written.annotation(&mark) != Some(restart.marker)) {
            return Ok(Done::Not);
        }
        self.ctx.metrics.restarted(*kind);
        self.announce(consumer, restart).await;
        Ok(Done::Restarted)
    }

    async fn announce(&self, consumer: &Consumer, restart: &Restart<'_>) {
        let Consumer { kind, name, uid } = consumer;
        let resource = resource(*kind);
        let event = Event {
            type_: EventType::Normal,
            reason: Reason::Restarted.as_str().to_owned(),
            note: Some(format!(
                "{kind} {name} was restarted: what it is delivered has changed"
            )),
            action: "Restart".to_owned(),
            secondary: Some(ObjectReference {
                api_version: Some(resource.api_version),
                kind: Some(resource.kind),
                namespace: Some(self.namespace.to_owned()),
                name: Some(name.clone()),
                uid: Some(uid.clone()),
                ..ObjectReference::default()
            }),
        };
        let published = self.ctx.events.publish(&event, restart.secret);
        if let Err(error) = call("create", "Event", published).await {
            warn!(%error, "an event was lost");
        }
    }
}

/// Looks at all objects that a list has, page by page, as long as the look says that it goes on.
pub(crate) async fn pages<K>(
    api: &Api<K>,
    what: &str,
    params: ListParams,
    look: &mut (dyn FnMut(K) -> bool + Send),
) -> Result<(), Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut params = params.limit(LIST_PAGE);
    loop {
        let page = call("list", what, api.list(&params)).await?;
        for object in page.items {
            if !look(object) {
                return Ok(());
            }
        }
        params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        if params.continue_token.is_none() {
            return Ok(());
        }
    }
}

/// Pods that have not ended.
pub(crate) fn unended() -> ListParams {
    ListParams::default().fields("status.phase!=Succeeded,status.phase!=Failed")
}

/// Whether there is no such object, or no such kind: of a kind that is not installed the API server says so in plain text, from
/// which no reason can be read.
fn is_missing(status: &Status) -> bool {
    status.code == 404
}

/// Whether trying the other restarts makes sense after this error: the API server has answered.
pub(crate) fn concerns_one(error: &Error) -> bool {
    matches!(error, Error::Api { .. }) && !error.leaves_open()
}

/// Why a restart does not succeed until somebody acts, if that is so.
pub(crate) fn refusal(error: &Error) -> Option<Reason> {
    let forbidden = error.reason() == Reason::Forbidden;
    let reason = if forbidden {
        Reason::Forbidden
    } else {
        Reason::RestartRefused
    };
    matches!(error.class(), Class::Refused | Class::Permanent).then_some(reason)
}

fn resource(kind: WorkloadKind) -> ApiResource {
    let (group, version) = match kind {
        WorkloadKind::Rollout => ("argoproj.io", "v1alpha1"),
        WorkloadKind::Deployment | WorkloadKind::DaemonSet | WorkloadKind::StatefulSet => {
            ("apps", "v1")
        }
    };
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: format!("{group}/{version}"),
        kind: kind.as_str().to_owned(),
        plural: format!("{}s", kind.as_str().to_lowercase()),
    }
}

/// A short name for a secret's name, which may be longer than the name of an annotation or a manager.
fn name_hash(name: &str) -> String {
    Hex(&Sha256::digest(name)[..NAME_HASH]).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_of_a_secret_makes_a_name_of_an_annotation_and_of_a_manager() {
        let hash = name_hash(&"a".repeat(253));
        let annotation = format!("{ANNOTATION_RESTARTED_PREFIX}{hash}");
        let (_, name) = annotation.split_once('/').unwrap();
        assert!(name.len() <= 63, "{name}");
        assert!(FIELD_MANAGER_ROLLOUT_PREFIX.len() + hash.len() <= 128);
        assert_eq!(name_hash("orders-db"), name_hash("orders-db"));
    }

    #[test]
    fn every_kind_has_its_resource() {
        let paths = WorkloadKind::ALL.map(|kind| {
            let resource = resource(kind);
            format!("{}/{}", resource.api_version, resource.plural)
        });
        assert_eq!(
            paths,
            [
                "apps/v1/deployments",
                "argoproj.io/v1alpha1/rollouts",
                "apps/v1/daemonsets",
                "apps/v1/statefulsets"
            ]
        );
    }
}
