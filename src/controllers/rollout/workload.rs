//! A workload as it was found: its pods' template, and how far its rollout is. Pure.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use k8s_openapi::jiff::Timestamp;
use kube::core::{DynamicObject, ObjectMeta};
use serde_json::Value;

use crate::api::managed_secret::WorkloadKind;
use crate::secrets::Consumer;

/// What matters of a workload.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    /// Which one.
    pub(crate) consumer: Consumer,
    /// When it was made.
    pub(crate) created: Option<Timestamp>,
    /// Its pods' template. A Rollout of Argo may have none: it takes that of another workload, which is looked at itself.
    pub(crate) template: Option<PodTemplateSpec>,
    /// Whether all its pods are of its present template, and available.
    pub(crate) rolled_out: bool,
}

impl Workload {
    /// An annotation of its pods.
    pub(crate) fn annotation(&self, name: &str) -> Option<&str> {
        let metadata = self.template.as_ref()?.metadata.as_ref()?;
        metadata.annotations.as_ref()?.get(name).map(String::as_str)
    }

    /// Reads an object of that kind. `None` for what is none, which the API server does not store.
    pub(crate) fn read(kind: WorkloadKind, found: DynamicObject) -> Option<Self> {
        match kind {
            WorkloadKind::Deployment => found.try_parse::<Deployment>().ok().map(Self::from),
            WorkloadKind::DaemonSet => found.try_parse::<DaemonSet>().ok().map(Self::from),
            WorkloadKind::StatefulSet => found.try_parse::<StatefulSet>().ok().map(Self::from),
            WorkloadKind::Rollout => Some(Self::from(found)),
        }
    }

    /// Whether it was there at that time, by the API server's clock, which shows seconds.
    pub(crate) fn was_before(&self, time: Timestamp) -> bool {
        self.created.is_none_or(|created| created <= time)
    }

    /// Whether that is so of its pods.
    pub(crate) fn pods_are(&self, is_so: impl Fn(&PodSpec) -> bool) -> bool {
        let template = self.template.as_ref();
        template.and_then(|t| t.spec.as_ref()).is_some_and(is_so)
    }

    fn new(
        kind: WorkloadKind,
        meta: ObjectMeta,
        template: Option<PodTemplateSpec>,
        rolled_out: bool,
    ) -> Self {
        Self {
            consumer: Consumer {
                kind,
                name: meta.name.unwrap_or_default(),
                uid: meta.uid.unwrap_or_default(),
            },
            created: meta.creation_timestamp.map(|time| time.0),
            template,
            rolled_out,
        }
    }
}

impl From<Deployment> for Workload {
    fn from(found: Deployment) -> Self {
        let status = found.status.unwrap_or_default();
        let spec = found.spec.unwrap_or_default();
        let wanted = spec.replicas.unwrap_or(1);
        let rolled_out = status.observed_generation >= found.metadata.generation
            && status.updated_replicas.unwrap_or(0) == wanted
            && status.replicas.unwrap_or(0) == wanted
            && status.available_replicas.unwrap_or(0) == wanted;
        Self::new(
            WorkloadKind::Deployment,
            found.metadata,
            Some(spec.template),
            rolled_out,
        )
    }
}

impl From<DaemonSet> for Workload {
    fn from(found: DaemonSet) -> Self {
        let status = found.status.unwrap_or_default();
        let spec = found.spec.unwrap_or_default();
        let wanted = status.desired_number_scheduled;
        // Who says OnDelete restarts the pods himself, when he likes.
        let on_delete = spec
            .update_strategy
            .is_some_and(|strategy| strategy.type_.as_deref() == Some("OnDelete"));
        let rolled_out = status.observed_generation >= found.metadata.generation
            && (on_delete
                || status.updated_number_scheduled.unwrap_or(0) == wanted
                    && status.number_available.unwrap_or(0) == wanted);
        Self::new(
            WorkloadKind::DaemonSet,
            found.metadata,
            Some(spec.template),
            rolled_out,
        )
    }
}

impl From<StatefulSet> for Workload {
    fn from(found: StatefulSet) -> Self {
        let status = found.status.unwrap_or_default();
        let spec = found.spec.unwrap_or_default();
        let wanted = spec.replicas.unwrap_or(1);
        let strategy = spec.update_strategy.unwrap_or_default();
        let on_delete = strategy.type_.as_deref() == Some("OnDelete");
        // Those below the partition keep their template until it is lowered.
        let partition = strategy
            .rolling_update
            .and_then(|rolling| rolling.partition)
            .unwrap_or(0);
        let updated = (wanted - partition).max(0);
        let rolled_out = status.observed_generation >= found.metadata.generation
            && (on_delete
                || status.updated_replicas.unwrap_or(0) >= updated
                    && status.available_replicas.unwrap_or(0) == wanted);
        Self::new(
            WorkloadKind::StatefulSet,
            found.metadata,
            Some(spec.template),
            rolled_out,
        )
    }
}

/// A Rollout of Argo.
impl From<DynamicObject> for Workload {
    fn from(found: DynamicObject) -> Self {
        let spec = &found.data["spec"];
        let status = &found.data["status"];
        let count = |value: &Value| value.as_i64().unwrap_or(0);
        let wanted = spec["replicas"].as_i64().unwrap_or(1);
        // Argo writes the generation as text.
        let observed = status["observedGeneration"]
            .as_str()
            .and_then(|generation| generation.parse().ok());
        let rolled_out = observed >= found.metadata.generation
            && status["phase"] == "Healthy"
            && count(&status["updatedReplicas"]) == wanted
            && count(&status["availableReplicas"]) == wanted;
        let template = serde_json::from_value(spec["template"].clone()).ok();
        Self::new(WorkloadKind::Rollout, found.metadata, template, rolled_out)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::WorkloadKind::{DaemonSet, Deployment, Rollout, StatefulSet};
    use super::*;

    fn rolled_out(kind: WorkloadKind, spec: &Value, status: &Value) -> bool {
        let mut spec = spec.clone();
        spec["selector"] = json!({});
        spec["serviceName"] = json!("x");
        spec["template"] = json!({});
        // As in a list: without apiVersion and kind.
        let object = json!({
            "metadata": {"name": "web", "uid": "1", "generation": 2}, "spec": spec, "status": status,
        });
        let object = serde_json::from_value(object).unwrap();
        Workload::read(kind, object).unwrap().rolled_out
    }

    #[test]
    fn a_deployment_is_rolled_out_when_all_its_pods_are_new_and_available() {
        let spec = json!({"replicas": 2});
        let done = json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
        assert!(rolled_out(Deployment, &spec, &done));
        for (field, value) in [
            ("observedGeneration", 1),
            ("replicas", 3),
            ("updatedReplicas", 1),
            ("availableReplicas", 1),
        ] {
            let mut status = done.clone();
            status[field] = json!(value);
            assert!(!rolled_out(Deployment, &spec, &status), "{field}");
        }
        assert!(
            rolled_out(
                Deployment,
                &json!({"replicas": 0}),
                &json!({"observedGeneration": 2})
            ),
            "without pods"
        );
    }

    #[test]
    fn a_daemon_set_is_rolled_out_when_it_is_so_on_every_node_or_nobody_asks_for_it() {
        let status = |updated: i32| {
            json!({"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": updated,
                   "numberAvailable": 3, "currentNumberScheduled": 3, "numberMisscheduled": 0, "numberReady": 3})
        };
        assert!(rolled_out(DaemonSet, &json!({}), &status(3)));
        assert!(!rolled_out(DaemonSet, &json!({}), &status(2)));
        let on_delete = json!({"updateStrategy": {"type": "OnDelete"}});
        assert!(rolled_out(DaemonSet, &on_delete, &status(0)));
    }

    #[test]
    fn a_stateful_set_is_rolled_out_from_its_partition_on() {
        let status = |updated: i32| json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": updated, "availableReplicas": 3});
        let spec = json!({"replicas": 3});
        assert!(rolled_out(StatefulSet, &spec, &status(3)));
        assert!(!rolled_out(StatefulSet, &spec, &status(2)));
        let mut partitioned = spec.clone();
        partitioned["updateStrategy"] = json!({"rollingUpdate": {"partition": 1}});
        assert!(rolled_out(StatefulSet, &partitioned, &status(2)));
        assert!(!rolled_out(StatefulSet, &partitioned, &status(1)));
    }

    #[test]
    fn a_rollout_of_argo_is_rolled_out_when_it_is_healthy() {
        let spec = json!({"replicas": 2});
        let status = |phase: &str| json!({"observedGeneration": "2", "phase": phase, "updatedReplicas": 2, "availableReplicas": 2});
        assert!(rolled_out(Rollout, &spec, &status("Healthy")));
        assert!(!rolled_out(Rollout, &spec, &status("Progressing")));
    }
}
