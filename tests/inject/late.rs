//! What is added to a pod after it was looked at.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::cluster::Cluster;

fn left(pod: Value) -> Option<String> {
    let pod: Pod = serde_json::from_value(pod).expect("it is a pod");
    Cluster::new(None)
        .leftover(&pod)
        .map(|refusal| refusal.to_string())
}

fn variable(secret: &str) -> Value {
    json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": secret, "key": "password"}}}])
}

#[test]
fn a_reference_that_was_added_too_late_is_refused() {
    let app = json!({"name": "app", "env": variable("orders-db")});
    let refusal = left(json!({"spec": {"containers": [app]}}));
    let expected = "spec.containers[app].env[A] names ManagedSecret shop/orders-db, which is sealed, and was added after it was \
                    looked at: create the pod again; if it stays so, an admission webhook adds it each time it is asked again, \
                    which it must not";
    assert_eq!(refusal.as_deref(), Some(expected));
}

#[test]
fn one_that_nobody_can_serve_is_refused_for_what_it_is() {
    let pod = json!({"spec": {"containers": [{"name": "app"}], "imagePullSecrets": [{"name": "registry"}]}});
    let expected = "spec.imagePullSecrets[0] names ManagedSecret shop/registry, which is sealed, and kubelet cannot pull images with \
                    it: set spec.target.form: Plain on it";
    assert_eq!(left(pod).as_deref(), Some(expected));
}

#[test]
fn a_container_that_is_added_to_a_running_pod_gets_nothing_of_a_sealed_secret() {
    let debug = |secret| json!({"name": "debug", "env": variable(secret)});
    let pod = |secret| json!({"spec": {"containers": [{"name": "app"}], "ephemeralContainers": [debug(secret)]}});
    let refusal = left(pod("orders-db")).expect("it is refused");
    assert!(
        refusal.starts_with("spec.ephemeralContainers[debug].env[A] names "),
        "{refusal}"
    );
    assert_eq!(left(pod("plain")), None);
}

#[test]
fn who_opts_out_is_not_asked() {
    let app = json!({"name": "app", "env": variable("orders-db")});
    let pod = json!({"metadata": {"annotations": {"keystead.dev/inject": "disabled"}},
        "spec": {"containers": [app]}});
    assert_eq!(left(pod), None);
}
