//! Every field of a pod that names a Secret, and whether its value can be delivered there.
//!
//! | field | what becomes of it |
//! |---|---|
//! | `volumes[].secret` | a volume of the CSI driver |
//! | `volumes[].projected.sources[].secret` | the same, if all sources of the volume are such |
//! | `containers[]`, `initContainers[]`: `env[].valueFrom.secretKeyRef` | a `fileKeyRef` |
//! | `containers[]`, `initContainers[]`: `envFrom[].secretRef` | one `fileKeyRef` for each key |
//! | `ephemeralContainers[]`: `env`, `envFrom` | refused: a running pod gets no further volume |
//! | `imagePullSecrets[]` | refused: kubelet reads it from the API |
//! | `volumes[].azureFile.secretName` | refused: the storage driver reads it from the API |
//! | `volumes[]`: `secretRef` of `cephfs`, `cinder`, `flexVolume`, `iscsi`, `rbd`, `scaleIO`, `storageos` | refused likewise |
//! | `volumes[].csi.nodePublishSecretRef` | refused likewise |
//!
//! These are all of Kubernetes 1.36 (`VisitPodSecretNames`, which kubelet and the node authorizer go by, visits the same).

use k8s_openapi::api::core::v1::{
    Container, EnvFromSource, EnvVar, EphemeralContainer, PodSpec, Volume,
};

use super::refusal::shown;

/// How a field gets at a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Files of a volume.
    Volume,
    /// A variable of a container, or all of them.
    Environment,
    /// The same of a container that is added to a running pod.
    Ephemeral,
    /// kubelet pulls images with it.
    Pull,
    /// A storage driver logs in with it.
    Storage,
}

/// One field that names a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference<'a> {
    /// The field.
    pub(super) path: String,
    /// The Secret.
    pub(super) name: &'a str,
    /// How it is got at.
    pub(super) way: Way,
}

/// All of a pod, in the order of the fields in its documentation.
pub(super) fn of(pod: &PodSpec) -> Vec<Reference<'_>> {
    let mut all = Vec::new();
    for (index, secret) in pod.image_pull_secrets.iter().flatten().enumerate() {
        all.push(Reference {
            path: format!("spec.imagePullSecrets[{index}]"),
            name: &secret.name,
            way: Way::Pull,
        });
    }
    for volume in pod.volumes.iter().flatten() {
        all.extend(of_volume(volume));
    }
    for (list, containers) in lists(pod) {
        for container in containers {
            let at = place(list, &container.name);
            let (env, from) = (&container.env, &container.env_from);
            of_environment(&at, env.as_deref(), from.as_deref(), &mut all);
        }
    }
    let before = all.len();
    for container in pod.ephemeral_containers.iter().flatten() {
        let EphemeralContainer { env, env_from, .. } = container;
        let at = place("ephemeralContainers", &container.name);
        of_environment(&at, env.as_deref(), env_from.as_deref(), &mut all);
    }
    for reference in &mut all[before..] {
        reference.way = Way::Ephemeral;
    }
    all.retain(|reference| !reference.name.is_empty());
    all
}

/// The containers of a pod that are there from the start, with the names of their lists.
pub(super) fn lists(pod: &PodSpec) -> [(&'static str, &[Container]); 2] {
    [
        (
            "initContainers",
            pod.init_containers.as_deref().unwrap_or_default(),
        ),
        ("containers", &pod.containers),
    ]
}

/// The field that a container is in.
pub(super) fn place(list: &str, name: &str) -> String {
    format!("spec.{list}[{}]", shown(name))
}

/// The field that a volume is in.
pub(super) fn volume_place(volume: &Volume) -> String {
    format!("spec.volumes[{}]", shown(&volume.name))
}

fn of_volume(volume: &Volume) -> Vec<Reference<'_>> {
    let at = volume_place(volume);
    let secret = volume.secret.as_ref().and_then(|s| s.secret_name.as_ref());
    let secret = secret.map(|name| Reference {
        path: at.clone(),
        name,
        way: Way::Volume,
    });
    let projected = volume.projected.iter().flat_map(|p| &p.sources).flatten();
    let projected = projected.enumerate().filter_map(|(index, source)| {
        Some(Reference {
            path: format!("{at}.projected.sources[{index}]"),
            name: &source.secret.as_ref()?.name,
            way: Way::Volume,
        })
    });
    let storage = of_storage(volume).into_iter().filter_map(|(field, name)| {
        Some(Reference {
            path: format!("{at}.{field}"),
            name: name?,
            way: Way::Storage,
        })
    });
    secret.into_iter().chain(projected).chain(storage).collect()
}

/// The Secrets that the driver of a volume logs in with, by field.
fn of_storage(volume: &Volume) -> [(&'static str, Option<&str>); 9] {
    macro_rules! local {
        ($driver:ident, $field:ident) => {
            volume
                .$driver
                .as_ref()
                .and_then(|driver| driver.$field.as_ref())
                .map(|secret| secret.name.as_str())
        };
    }
    let azure = volume.azure_file.as_ref().map(|v| v.secret_name.as_str());
    let scale_io = volume.scale_io.as_ref().map(|v| v.secret_ref.name.as_str());
    [
        ("azureFile.secretName", azure),
        ("cephfs.secretRef", local!(cephfs, secret_ref)),
        ("cinder.secretRef", local!(cinder, secret_ref)),
        (
            "csi.nodePublishSecretRef",
            local!(csi, node_publish_secret_ref),
        ),
        ("flexVolume.secretRef", local!(flex_volume, secret_ref)),
        ("iscsi.secretRef", local!(iscsi, secret_ref)),
        ("rbd.secretRef", local!(rbd, secret_ref)),
        ("scaleIO.secretRef", scale_io),
        ("storageos.secretRef", local!(storageos, secret_ref)),
    ]
}

fn of_environment<'a>(
    at: &str,
    env: Option<&'a [EnvVar]>,
    from: Option<&'a [EnvFromSource]>,
    all: &mut Vec<Reference<'a>>,
) {
    for (index, source) in from.into_iter().flatten().enumerate() {
        if let Some(secret) = &source.secret_ref {
            all.push(Reference {
                path: format!("{at}.envFrom[{index}]"),
                name: &secret.name,
                way: Way::Environment,
            });
        }
    }
    for variable in env.into_iter().flatten() {
        let source = variable.value_from.as_ref();
        if let Some(secret) = source.and_then(|source| source.secret_key_ref.as_ref()) {
            all.push(Reference {
                path: format!("{at}.env[{}]", shown(&variable.name)),
                name: &secret.name,
                way: Way::Environment,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(pod: Value) -> PodSpec {
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn every_field_that_names_a_secret_is_found() {
        let named = |name: &str| json!({"name": name});
        let storage = |driver: &str| {
            let secret = json!({"secretRef": named(driver), "secretName": driver, "nodePublishSecretRef": named(driver),
                "driver": "x", "shareName": "x", "monitors": [], "volumeID": "x", "iqn": "x", "lun": 0,
                "targetPortal": "x", "image": "x", "gateway": "x", "system": "x"});
            json!({"name": driver, driver: secret})
        };
        let drivers = [
            "azureFile",
            "cephfs",
            "cinder",
            "csi",
            "flexVolume",
            "iscsi",
            "rbd",
            "scaleIO",
            "storageos",
        ];
        let mut volumes = vec![
            json!({"name": "files", "secret": {"secretName": "a"}}),
            json!({"name": "both", "projected": {"sources": [
                {"configMap": {"name": "no"}}, {"secret": {"name": "b"}}]}}),
            json!({"name": "no", "secret": {}}),
        ];
        volumes.extend(drivers.map(storage));
        let container = |suffix: &str| {
            json!({"name": format!("app{suffix}"),
                "envFrom": [{"configMapRef": {"name": "no"}}, {"secretRef": {"name": format!("c{suffix}")}}],
                "env": [{"name": "A", "value": "no"},
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": format!("d{suffix}"), "key": "k"}}}]})
        };
        let spec = spec(json!({
            "imagePullSecrets": [named("p"), {}], "volumes": volumes, "initContainers": [container("1")],
            "containers": [container("2")], "ephemeralContainers": [container("3")]}));
        let found: Vec<_> = of(&spec)
            .into_iter()
            .map(|reference| format!("{} {} {:?}", reference.path, reference.name, reference.way))
            .collect();
        let expected = [
            "spec.imagePullSecrets[0] p Pull",
            "spec.volumes[files] a Volume",
            "spec.volumes[both].projected.sources[1] b Volume",
            "spec.volumes[azureFile].azureFile.secretName azureFile Storage",
            "spec.volumes[cephfs].cephfs.secretRef cephfs Storage",
            "spec.volumes[cinder].cinder.secretRef cinder Storage",
            "spec.volumes[csi].csi.nodePublishSecretRef csi Storage",
            "spec.volumes[flexVolume].flexVolume.secretRef flexVolume Storage",
            "spec.volumes[iscsi].iscsi.secretRef iscsi Storage",
            "spec.volumes[rbd].rbd.secretRef rbd Storage",
            "spec.volumes[scaleIO].scaleIO.secretRef scaleIO Storage",
            "spec.volumes[storageos].storageos.secretRef storageos Storage",
            "spec.initContainers[app1].envFrom[1] c1 Environment",
            "spec.initContainers[app1].env[B] d1 Environment",
            "spec.containers[app2].envFrom[1] c2 Environment",
            "spec.containers[app2].env[B] d2 Environment",
            "spec.ephemeralContainers[app3].envFrom[1] c3 Ephemeral",
            "spec.ephemeralContainers[app3].env[B] d3 Ephemeral",
        ];
        assert_eq!(found, expected);
    }
}
