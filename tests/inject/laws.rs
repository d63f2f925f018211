//! What holds for every pod.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvFromSource, EnvVarSource, Pod};
use keystead::inject::{ENV_CONTAINER, Injected, patch, restore};
use proptest::prelude::*;
use serde_json::json;

use super::cluster::Cluster;
use super::pods::pod;

fn cluster() -> Cluster {
    Cluster::new(None)
}

/// The containers that the user wrote.
fn own(pod: &Pod) -> Vec<&Container> {
    let spec = pod.spec.as_ref().expect("every pod has a spec");
    let all = spec
        .init_containers
        .iter()
        .flatten()
        .chain(&spec.containers);
    all.filter(|container| container.name != ENV_CONTAINER)
        .collect()
}

/// Keys of every `ConfigMap` and of every Secret that is not sealed.
const OF_OTHERS: [&str; 4] = ["k", "host", "A", "B_host"];

/// What kubelet makes of an environment (`makeEnvironmentVariables` of Kubernetes 1.36); `None` if the container does not start.
/// Each value is told by where it comes from.
fn environment(container: &Container) -> Option<BTreeMap<String, String>> {
    let mut made = BTreeMap::new();
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let object = match (&source.config_map_ref, &source.secret_ref) {
            (Some(map), _) => format!("map {}", map.name),
            (_, Some(secret)) => format!("secret {}", secret.name),
            _ => continue,
        };
        let keys = keys(&object).into_iter();
        made.extend(keys.map(|key| (format!("{prefix}{key}"), format!("{object} {key}"))));
    }
    for variable in container.env.iter().flatten() {
        let value = match &variable.value_from {
            None => expanded(variable.value.as_deref().unwrap_or_default(), &made),
            Some(source) => match found(source) {
                Found::Value(value) => value,
                Found::Nothing => continue,
                Found::Missing => return None,
            },
        };
        made.insert(variable.name.clone(), value);
    }
    Some(made)
}

fn expanded(value: &str, made: &BTreeMap<String, String>) -> String {
    let mut value = value.to_owned();
    for (name, other) in made {
        value = value.replace(&format!("$({name})"), other);
    }
    value
}

/// What a source of a variable gives.
enum Found {
    Value(String),
    /// The variable is left out.
    Nothing,
    /// The container does not start.
    Missing,
}

fn found(source: &EnvVarSource) -> Found {
    let (object, key, optional) = if let Some(key) = &source.config_map_key_ref {
        (format!("map {}", key.name), key.key.as_str(), key.optional)
    } else if let Some(key) = &source.secret_key_ref {
        (
            format!("secret {}", key.name),
            key.key.as_str(),
            key.optional,
        )
    } else {
        let file = source
            .file_key_ref
            .as_ref()
            .expect("the pods have no other sources");
        let (secret, key) = file
            .path
            .split_once('/')
            .expect("a file is of a secret and key");
        let native = if secret == "billing" {
            "legacy-db-credentials"
        } else {
            secret
        };
        (format!("secret {native}"), key, file.optional)
    };
    if keys(&object).contains(&key) {
        Found::Value(format!("{object} {key}"))
    } else if optional == Some(true) {
        Found::Nothing
    } else {
        Found::Missing
    }
}

/// The keys of an object that can be variables.
fn keys(object: &str) -> Vec<&'static str> {
    match object {
        "secret orders-db" => vec!["host", "password", "username"],
        "secret orders-cache" => vec!["host", "url"],
        "secret legacy-db-credentials" => vec!["DB_PASSWORD"],
        "secret session" => vec!["name"],
        "secret coming" => Vec::new(),
        _ => OF_OTHERS.to_vec(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn asked_again_nothing_changes_and_nothing_is_left(pod in pod()) {
        if let Ok(Injected { pod: injected, .. }) = cluster().inject(&pod) {
            let again = cluster().inject(&injected).unwrap();
            prop_assert_eq!(&again.pod, &injected);
            prop_assert!(!again.changed);
            prop_assert_eq!(cluster().leftover(&injected), None);
        }
    }

    #[test]
    fn no_command_argument_or_image_is_touched(pod in pod()) {
        if let Ok(Injected { pod: injected, .. }) = cluster().inject(&pod) {
            prop_assert_eq!(own(&injected).len(), own(&pod).len());
            for (before, after) in own(&pod).into_iter().zip(own(&injected)) {
                let bare = |container: &Container| Container { env: None, env_from: None, ..container.clone() };
                prop_assert_eq!(bare(before), bare(after));
            }
        }
    }

    #[test]
    fn every_container_gets_the_environment_that_it_would_have_had(pod in pod()) {
        if let Ok(Injected { pod: injected, .. }) = cluster().inject(&pod) {
            for (before, after) in own(&pod).into_iter().zip(own(&injected)) {
                prop_assert_eq!(environment(before), environment(after));
            }
        }
    }

    #[test]
    fn a_pod_without_references_to_sealed_secrets_stays_as_it_is(pod in pod()) {
        let text = serde_json::to_string(&pod).unwrap();
        let sealed = ["orders-db", "orders-cache", "legacy-db-credentials", "session", "coming"];
        let names = sealed.iter().any(|name| text.contains(&format!("{name:?}")));
        if !names {
            let injected = cluster().inject(&pod).unwrap();
            prop_assert!(!injected.changed);
            prop_assert_eq!(patch(&pod, &injected.pod), json!([]));
        }
    }

    #[test]
    fn a_manifest_that_is_applied_again_changes_nothing(pod in pod()) {
        if let Ok(Injected { pod: injected, changed, .. }) = cluster().inject(&pod) {
            let restored = restore(&injected, &pod);
            prop_assert_eq!(restored.is_some(), changed);
            prop_assert_eq!(restored.unwrap_or(pod), injected);
        }
    }

    #[test]
    fn another_manifest_stays_another(one in pod(), other in pod()) {
        stays_another(&one, &other)?;
    }

    #[test]
    fn a_manifest_with_other_entries_of_env_from_stays_another(one in pod()) {
        for other in with_other_sources(&one) {
            stays_another(&one, &other)?;
        }
    }
}

/// What is put back is all of the one, or something is left for the API server to refuse.
fn stays_another(one: &Pod, other: &Pod) -> Result<(), TestCaseError> {
    if let (Ok(one), Ok(injected)) = (cluster().inject(one), cluster().inject(other)) {
        let restored = restore(&one.pod, other).unwrap_or_else(|| other.clone());
        if restored == one.pod {
            prop_assert_eq!(injected.pod.spec, one.pod.spec);
        }
    }
    Ok(())
}

/// The pod without one entry of an `envFrom`, with one of them twice, and with one moved to the front.
fn with_other_sources(pod: &Pod) -> Vec<Pod> {
    let mut others = Vec::new();
    let containers = pod.spec.as_ref().map_or(0, |spec| spec.containers.len());
    for container in 0..containers {
        for index in 0..sources(&mut pod.clone(), container).len() {
            let changes: [fn(&mut Vec<EnvFromSource>, usize); 3] = [
                |all, index| drop(all.remove(index)),
                |all, index| all.push(all[index].clone()),
                |all, index| all[..=index].rotate_right(1),
            ];
            others.extend(changes.map(|change| {
                let mut other = pod.clone();
                change(sources(&mut other, container), index);
                other
            }));
        }
    }
    others
}

fn sources(pod: &mut Pod, container: usize) -> &mut Vec<EnvFromSource> {
    let spec = pod.spec.as_mut().expect("every pod has a spec");
    spec.containers[container].env_from.get_or_insert_default()
}
