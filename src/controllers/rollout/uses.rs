//! Whether the pods of a workload use a secret. Pure.

use k8s_openapi::api::core::v1::{
    Container, EnvFromSource, EnvVar, EphemeralContainer, PodSpec, Volume,
};

use crate::api::names::{CSI_ATTRIBUTE_SECRET, CSI_DRIVER};

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

    /// Whether a pod of that spec refers to the native Secret, also to pull its images.
    pub(crate) fn is_referred_to_by(&self, pod: &PodSpec) -> bool {
        let mut pulls = pod.image_pull_secrets.iter().flatten();
        self.is_used_by(pod) || pulls.any(|secret| self.is_target(Some(&secret.name)))
    }

    fn in_volume(&self, volume: &Volume) -> bool {
        let secret = volume.secret.as_ref();
        let projected = volume.projected.iter().flat_map(|p| &p.sources).flatten();
        let csi = volume.csi.as_ref().filter(|csi| csi.driver == CSI_DRIVER);
        let attributes = csi.and_then(|csi| csi.volume_attributes.as_ref());
        secret.is_some_and(|secret| self.is_target(secret.secret_name.as_deref()))
            || projected
                .filter_map(|source| source.secret.as_ref())
                .any(|secret| self.is_target(Some(&secret.name)))
            || attributes
                .and_then(|attributes| attributes.get(CSI_ATTRIBUTE_SECRET))
                .is_some_and(|name| self.secret.as_ref() == Some(name))
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
    fn a_pull_secret_refers_to_the_native_secret_and_our_driver_does_not() {
        let native = Delivered {
            target: Some("orders-db".into()),
            secret: None,
        };
        let pull = json!({"containers": [], "imagePullSecrets": [{"name": "orders-db"}]});
        let csi = with_volume(
            &json!({"name": "v", "csi": {"driver": "secrets.keystead.dev",
            "volumeAttributes": {"secret": "orders"}}}),
        );
        for (pod, expected) in [(pull, true), (csi, false)] {
            let pod = serde_json::from_value(pod).unwrap();
            assert_eq!(native.is_referred_to_by(&pod), expected);
        }
    }
}
