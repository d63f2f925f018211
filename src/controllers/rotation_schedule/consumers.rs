//! Which pods are without the new value: those that get it by the CSI driver and have another version, as their nodes tell, and those
//! that use the native Secret and were made before, or whose files kubelet has not brought up to date yet.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::{Api, ResourceExt};

use crate::api::condition;
use crate::api::managed_secret::SecretVersionStatus;
use crate::api::{ManagedSecret, VolumeRequest, VolumeStage};
use crate::consumers::{is_no_consumer, of_pod};
use crate::controllers::context::Context;
use crate::controllers::error::Error;
use crate::controllers::rollout::cluster::{pages, unended};
use crate::controllers::rollout::{Delivered, is_mounted_in_part};
use crate::inject::SOURCE_VOLUME;
use crate::rotation::machine::Consumers;
use crate::secrets::{Stage, VersionId};

/// How long kubelet takes at most to bring the files of a native Secret up to date: its sync period and the time its cache keeps.
const KUBELET: Duration = Duration::from_secs(120);
/// Most pods that are named.
const MOST: usize = 100;

/// Looks whether the current version is delivered and, once that is written down, at the pods of the secret's namespace.
pub(super) async fn look(
    secret: &ManagedSecret,
    current: &VersionId,
    delivered: Option<Timestamp>,
    ctx: &Context,
) -> Result<Consumers, Error> {
    if !is_delivered(secret, current) {
        return Ok(Consumers::Undelivered);
    }
    let Some(delivered) = delivered else {
        return Ok(Consumers::Delivered);
    };
    let namespace = secret.namespace().unwrap_or_default();
    let target = secret.status.as_ref().and_then(|it| it.target_ref.as_ref());
    let look = Look {
        secret: &secret.name_any(),
        current: current.as_str(),
        delivered,
        native: Delivered {
            target: target.map(|target| target.name.clone()),
            secret: None,
        },
        reported: ctx.node_plugin,
        now: ctx.now(),
    };
    let mut behind = Vec::new();
    let mut see = |pod: Pod| {
        if look.is_behind(&pod) {
            behind.push(pod.name_any());
        }
        behind.len() < MOST
    };
    let api: Api<Pod> = Api::namespaced(ctx.client.clone(), &namespace);
    pages(&api, &format!("Pods of {namespace}"), unended(), &mut see).await?;
    behind.sort();
    Ok(if behind.is_empty() {
        Consumers::UpToDate
    } else {
        Consumers::Behind(behind)
    })
}

/// Whether the status of a secret says that its consumers can have that version.
fn is_delivered(secret: &ManagedSecret, current: &VersionId) -> bool {
    let Some(status) = &secret.status else {
        return false;
    };
    let stage = Stage::Current;
    let has_current = |version: &SecretVersionStatus| {
        version.id == current.as_str() && version.stages.iter().any(|it| it == stage.as_str())
    };
    condition::is_delivered(&status.conditions) && status.versions.iter().any(has_current)
}

/// What pods are asked.
struct Look<'a> {
    secret: &'a str,
    current: &'a str,
    delivered: Timestamp,
    native: Delivered,
    /// Whether nodes tell which versions pods have.
    reported: bool,
    now: Timestamp,
}

impl Look<'_> {
    fn is_behind(&self, pod: &Pod) -> bool {
        if is_no_consumer(pod) {
            return false;
        }
        self.is_behind_by_driver(pod) || self.is_behind_natively(pod)
    }

    /// Of what asks for the version before, nothing is wanted.
    fn is_behind_by_driver(&self, pod: &Pod) -> bool {
        let has = of_pod(pod);
        let has = has.get(self.secret).filter(|_| self.reported);
        let wanted = has.filter(|has| has.stage == VolumeStage::Current);
        wanted.is_some_and(|has| {
            let version = has.version.as_ref().map(VersionId::as_str);
            version != Some(self.current) || self.was_made_before(pod) && self.has_at_start(pod)
        })
    }

    /// Whether the pod has something of the secret as it was when it started, whatever its node tells: variables, files that do not
    /// follow, or a part of a volume, which is mounted once.
    fn has_at_start(&self, pod: &Pod) -> bool {
        let Some(spec) = &pod.spec else { return false };
        let mut volumes = spec.volumes.iter().flatten();
        volumes.any(|volume| {
            let request = VolumeRequest::of(volume);
            let asked = request.filter(|request| request.secrets().contains(self.secret));
            asked.is_some_and(|request| {
                !request.follows()
                    || volume.name == SOURCE_VOLUME
                    || is_mounted_in_part(spec, &volume.name)
            })
        })
    }

    fn was_made_before(&self, pod: &Pod) -> bool {
        let made = pod.creation_timestamp().map(|time| time.0);
        made.is_none_or(|made| made <= self.delivered)
    }

    fn is_behind_natively(&self, pod: &Pod) -> bool {
        let Some(spec) = &pod.spec else { return false };
        if !self.native.is_used_by(spec) {
            return false;
        }
        if !self.was_made_before(pod) {
            return false;
        }
        let synced = SignedDuration::try_from(KUBELET).unwrap_or_default();
        let synced = self.delivered.checked_add(synced);
        // What a container has as a variable is what it was when the container started.
        self.native.is_read_at_start_by(spec) || synced.is_ok_and(|synced| self.now < synced)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::secrets::testing::IDS;

    fn pod(made: &str, spec: &Value, condition: Option<&str>) -> Pod {
        let conditions: Vec<_> = condition
            .map(|message| json!({"type": "keystead.dev/SecretsLoaded", "status": "True", "message": message}))
            .into_iter()
            .collect();
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "creationTimestamp": made},
            "spec": spec,
            "status": {"phase": "Running", "conditions": conditions},
        }))
        .unwrap()
    }

    fn is_behind(pod: &Pod, seconds_later: i64) -> bool {
        let delivered: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        Look {
            secret: "db",
            current: IDS[1],
            delivered,
            native: Delivered {
                target: Some("db".to_owned()),
                secret: None,
            },
            reported: true,
            now: delivered
                .checked_add(SignedDuration::from_secs(seconds_later))
                .unwrap(),
        }
        .is_behind(pod)
    }

    #[test]
    fn a_version_is_delivered_when_the_secret_says_so_of_that_very_one() {
        let told = |status: &str, reason: &str, id: &str| {
            let secret = json!({
                "apiVersion": "keystead.dev/v1alpha1", "kind": "ManagedSecret",
                "metadata": {"namespace": "shop", "name": "db"}, "spec": {},
                "status": {
                    "versions": [{"id": id, "stages": ["Current"], "created": "2026-01-01T00:00:00Z", "keyId": "k"}],
                    "conditions": [{"type": "Ready", "status": status, "reason": reason, "message": "",
                        "lastTransitionTime": "2026-01-01T00:00:00Z"}],
                },
            });
            let secret = serde_json::from_value(secret).unwrap();
            is_delivered(&secret, &IDS[1].parse().unwrap())
        };
        assert!(told("True", "Synced", IDS[1]));
        assert!(told("False", "SharingFailed", IDS[1]));
        assert!(!told("False", "TargetInUse", IDS[1]));
        assert!(
            !told("True", "Synced", IDS[0]),
            "it speaks of the version before"
        );
    }

    const BEFORE: &str = "2026-01-01T11:00:00Z";
    const AFTER: &str = "2026-01-01T12:00:01Z";

    #[test]
    fn a_pod_with_the_drivers_volume_is_behind_until_its_node_tells_of_the_version() {
        let volume = json!({"containers": [], "volumes": [{"name": "v", "csi": {
            "driver": "secrets.keystead.dev", "volumeAttributes": {"secret": "db"}}}]});
        let told = |id: &str| format!("db={id}");
        assert!(is_behind(&pod(AFTER, &volume, None), 0));
        assert!(is_behind(&pod(AFTER, &volume, Some(&told(IDS[0]))), 9999));
        assert!(!is_behind(&pod(BEFORE, &volume, Some(&told(IDS[1]))), 0));
        let previous = json!({"containers": [], "volumes": [{"name": "v", "csi": {
            "driver": "secrets.keystead.dev", "volumeAttributes": {"secret": "db", "stage": "Previous"}}}]});
        assert!(!is_behind(&pod(BEFORE, &previous, Some(&told(IDS[0]))), 0));
    }

    #[test]
    fn what_a_pod_has_as_it_was_at_its_start_is_behind_until_the_pod_is_made_anew() {
        let volume = |name: &str, attributes: &Value| json!({"name": name, "csi": {"driver": "secrets.keystead.dev", "volumeAttributes": attributes}});
        let follows = json!({"secret": "db"});
        let mount = json!({"name": "v", "mountPath": "/p", "subPath": "password"});
        let told = format!("db={}", IDS[1]);
        for spec in [
            json!({"containers": [], "volumes": [volume("v", &json!({"secret": "db", "follow": "false"}))]}),
            json!({"containers": [], "volumes": [volume(SOURCE_VOLUME, &follows)]}),
            json!({"containers": [{"name": "c", "volumeMounts": [mount]}], "volumes": [volume("v", &follows)]}),
        ] {
            assert!(is_behind(&pod(BEFORE, &spec, Some(&told)), 9999), "{spec}");
            assert!(!is_behind(&pod(AFTER, &spec, Some(&told)), 0), "{spec}");
        }
    }

    #[test]
    fn a_pod_with_a_variable_of_the_native_secret_is_behind_until_it_is_made_anew() {
        let variable = json!({"containers": [{"name": "c", "env": [{"name": "P", "valueFrom":
            {"secretKeyRef": {"name": "db", "key": "password"}}}]}]});
        assert!(is_behind(&pod(BEFORE, &variable, None), 9999));
        assert!(!is_behind(&pod(AFTER, &variable, None), 0));
    }

    #[test]
    fn the_files_of_a_native_secret_are_given_the_time_that_kubelet_takes() {
        let volume =
            json!({"containers": [], "volumes": [{"name": "v", "secret": {"secretName": "db"}}]});
        assert!(is_behind(&pod(BEFORE, &volume, None), 119));
        assert!(!is_behind(&pod(BEFORE, &volume, None), 120));
        let path = json!({"containers": [{"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/p", "subPath": "p"}]}],
            "volumes": [{"name": "v", "secret": {"secretName": "db"}}]});
        assert!(
            is_behind(&pod(BEFORE, &path, None), 9999),
            "a subPath never changes"
        );
        let other = json!({"containers": [], "volumes": [{"name": "v", "secret": {"secretName": "other"}}]});
        assert!(!is_behind(&pod(BEFORE, &other, None), 0));
    }
}
