//! Whether the pods of a workload use a secret. Pure.

use k8s_openapi::api::core::v1::{
    Container, EnvFromSource, EnvVar, EphemeralContainer, PodSpec, Volume,
};

use crate::api::VolumeRequest;

/// What pods can use a secret by.
#[derive(Clone, Debug)]
pub(crate) struct Delivered {
    /// The name of the native Secret, if it is delivered in one.
    pub(crate) target: Option<String>,
    /// The name of the `ManagedSecret`, if what gets it by our CSI driver counts.
    pub(crate) secret: Option<String>,
}

impl Delivered {
    /// Whether a pod of that spec gets anything of the secret. Pull secrets do not count: a pod that runs has its image.
    pub(crate) fn is_used_by(&self, pod: &PodSpec) -> bool {
        pod.volumes
            .iter()
            .flatten()
            .any(|volume| self.in_volume(volume))
            || environments(pod).any(|(env, from)| self.in_environment(env, from))
    }

    /// Whether a container of that spec has anything of the native Secret as it was when it started: by a variable, or by a mount
    /// that kubelet never brings up to date.
    pub(crate) fn is_read_at_start_by(&self, pod: &PodSpec) -> bool {
        let volumes = pod.volumes.iter().flatten();
        let mut ours = volumes.filter(|volume| self.in_volume(volume));
        environments(pod).any(|(env, from)| self.in_environment(env, from))
            || ours.any(|volume| is_mounted_in_part(pod, &volume.name))
    }

    /// Whether a pod of that spec refers to the native Secret, also to pull its images or to log in to its storage.
    pub(crate) fn is_referred_to_by(&self, pod: &PodSpec) -> bool {
        self.is_used_by(pod) || self.is_needed_natively_by(pod)
    }

    /// Whether kubelet itself or a storage driver reads the native Secret for a pod of that spec, so that no injection helps.
    pub(crate) fn is_needed_natively_by(&self, pod: &PodSpec) -> bool {
        let mut pulls = pod.image_pull_secrets.iter().flatten();
        let mut volumes = pod.volumes.iter().flatten();
        pulls.any(|secret| self.is_target(Some(&secret.name)))
            || volumes.any(|volume| storage(volume).any(|name| self.is_target(Some(name))))
    }

    fn in_volume(&self, volume: &Volume) -> bool {
        let secret = volume.secret.as_ref();
        let projected = volume.projected.iter().flat_map(|p| &p.sources).flatten();
        secret.is_some_and(|secret| self.is_target(secret.secret_name.as_deref()))
            || projected
                .filter_map(|source| source.secret.as_ref())
                .any(|secret| self.is_target(Some(&secret.name)))
            || VolumeRequest::of(volume)
                .zip(self.secret.as_deref())
                .is_some_and(|(request, name)| request.secrets().contains(name))
    }

    fn in_environment(&self, env: &[EnvVar], from: &[EnvFromSource]) -> bool {
        let keys = env
            .iter()
            .filter_map(|variable| variable.value_from.as_ref()?.secret_key_ref.as_ref());
        let all = from.iter().filter_map(|source| source.secret_ref.as_ref());
        keys.map(|key| &key.name)
            .chain(all.map(|secret| &secret.name))
            .any(|name| self.is_target(Some(name)))
    }

    fn is_target(&self, name: Option<&str>) -> bool {
        self.target.is_some() && self.target.as_deref() == name
    }
}

/// Whether a container mounts a part of a volume, which stays as it was when the container started.
pub(crate) fn is_mounted_in_part(pod: &PodSpec, volume: &str) -> bool {
    let containers = pod.init_containers.iter().flatten().chain(&pod.containers);
    let mut mounts = containers.flat_map(|container| container.volume_mounts.iter().flatten());
    mounts.any(|mount| {
        let in_part = mount.sub_path.is_some() || mount.sub_path_expr.is_some();
        in_part && mount.name == volume
    })
}

/// The Secrets that the driver of a volume logs in with.
fn storage(volume: &Volume) -> impl Iterator<Item = &str> {
    let references = [
        volume
            .csi
            .as_ref()
            .and_then(|v| v.node_publish_secret_ref.as_ref()),
        volume
            .flex_volume
            .as_ref()
            .and_then(|v| v.secret_ref.as_ref()),
        volume.iscsi.as_ref().and_then(|v| v.secret_ref.as_ref()),
        volume.cephfs.as_ref().and_then(|v| v.secret_ref.as_ref()),
        volume.rbd.as_ref().and_then(|v| v.secret_ref.as_ref()),
        volume.cinder.as_ref().and_then(|v| v.secret_ref.as_ref()),
        volume
            .storageos
            .as_ref()
            .and_then(|v| v.secret_ref.as_ref()),
        volume.scale_io.as_ref().map(|v| &v.secret_ref),
    ];
    let named = volume.azure_file.as_ref().map(|v| v.secret_name.as_str());
    let references = references.into_iter().flatten();
    references.map(|secret| secret.name.as_str()).chain(named)
}

/// The environments of all containers of a pod.
fn environments(pod: &PodSpec) -> impl Iterator<Item = (&[EnvVar], &[EnvFromSource])> {
    let containers = pod.init_containers.iter().flatten().chain(&pod.containers);
    containers
        .map(|Container { env, env_from, .. }| (env, env_from))
        .chain(
            pod.ephemeral_containers
                .iter()
                .flatten()
                .map(|EphemeralContainer { env, env_from, .. }| (env, env_from)),
        )
        .map(|(env, from)| {
            (
                env.as_deref().unwrap_or_default(),
                from.as_deref().unwrap_or_default(),
            )
        })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn used(pod: Value) -> bool {
        let delivered = Delivered {
            target: Some("orders-db".into()),
            secret: Some("orders".into()),
        };
        delivered.is_used_by(&serde_json::from_value(pod).unwrap())
    }

    fn with_volume(volume: &Value) -> Value {
        json!({"containers": [], "volumes": [volume]})
    }

    #[test]
    fn every_way_to_use_a_secret_counts() {
        let env = json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "orders-db", "key": "a"}}}]);
        let from = json!([{"prefix": "X_", "secretRef": {"name": "orders-db"}}]);
        for (way, pod) in [
            (
                "volume",
                with_volume(&json!({"name": "v", "secret": {"secretName": "orders-db"}})),
            ),
            (
                "projected",
                with_volume(&json!({"name": "v", "projected": {"sources": [
                    {"serviceAccountToken": {"path": "t"}}, {"secret": {"name": "orders-db"}}]}})),
            ),
            (
                "csi",
                with_volume(
                    &json!({"name": "v", "csi": {"driver": "secrets.keystead.dev",
                    "volumeAttributes": {"secret": "orders"}}}),
                ),
            ),
            (
                "env",
                json!({"containers": [{"name": "a"}, {"name": "b", "env": env}]}),
            ),
            (
                "envFrom",
                json!({"containers": [{"name": "a", "envFrom": from}]}),
            ),
            (
                "init",
                json!({"containers": [], "initContainers": [{"name": "a", "env": env}]}),
            ),
            (
                "ephemeral",
                json!({"containers": [], "ephemeralContainers": [{"name": "a", "envFrom": from}]}),
            ),
        ] {
            assert!(used(pod), "{way}");
        }
    }

    #[test]
    fn nothing_else_does() {
        for (way, pod) in [
            (
                "another Secret",
                with_volume(&json!({"name": "orders-db", "secret": {"secretName": "orders"}})),
            ),
            (
                "a ConfigMap",
                with_volume(&json!({"name": "v", "configMap": {"name": "orders-db"}})),
            ),
            (
                "another driver",
                with_volume(&json!({"name": "v", "csi": {"driver": "example.com",
                    "volumeAttributes": {"secret": "orders"}}})),
            ),
            (
                "the target's name in our driver",
                with_volume(
                    &json!({"name": "v", "csi": {"driver": "secrets.keystead.dev",
                    "volumeAttributes": {"secret": "orders-db"}}}),
                ),
            ),
            (
                "a pull secret",
                json!({"containers": [], "imagePullSecrets": [{"name": "orders-db"}]}),
            ),
        ] {
            assert!(!used(pod), "{way}");
        }
        let nothing = Delivered {
            target: None,
            secret: Some("orders".into()),
        };
        let pod = with_volume(&json!({"name": "v", "secret": {}}));
        assert!(!nothing.is_used_by(&serde_json::from_value(pod).unwrap()));
    }

    #[test]
    fn who_pulls_or_mounts_with_the_native_secret_refers_to_it_and_our_driver_does_not() {
        let native = Delivered {
            target: Some("orders-db".into()),
            secret: None,
        };
        let pull = json!({"containers": [], "imagePullSecrets": [{"name": "orders-db"}]});
        let of_ours =
            json!({"driver": "secrets.keystead.dev", "volumeAttributes": {"secret": "orders"}});
        let publish = json!({"driver": "x", "nodePublishSecretRef": {"name": "orders-db"}});
        let files = json!({"secretName": "orders-db", "shareName": "s"});
        for (pod, expected) in [
            (pull, true),
            (with_volume(&json!({"name": "v", "csi": of_ours})), false),
            (with_volume(&json!({"name": "v", "csi": publish})), true),
            (with_volume(&json!({"name": "v", "azureFile": files})), true),
        ] {
            let pod = serde_json::from_value(pod).unwrap();
            assert_eq!(native.is_referred_to_by(&pod), expected);
        }
    }
}
