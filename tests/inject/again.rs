//! A manifest that is applied again to a pod that was injected, in the ways in which clients merge it.

use k8s_openapi::api::core::v1::Pod;
use keystead::inject::restore;
use serde_json::{Value, json};

use super::cluster::Cluster;

fn manifest() -> Value {
    json!({"metadata": {"name": "orders"}, "spec": {
        "initContainers": [{"name": "migrate", "image": "example/orders:1", "env": [password("orders-db")]}],
        "containers": [{"name": "app", "image": "example/orders:1",
            "envFrom": [{"secretRef": {"name": "orders-cache"}}, {"configMapRef": {"name": "settings"}}],
            "env": [{"name": "LOG_LEVEL", "value": "info"}, password("orders-db")]}],
        "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "creds", "secret": {"secretName": "orders-db"}}]}})
}

fn password(secret: &str) -> Value {
    json!({"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": secret, "key": "password"}}})
}

fn live() -> Value {
    let pod: Pod = serde_json::from_value(manifest()).expect("it is a pod");
    let injected = Cluster::new(None).inject(&pod);
    serde_json::to_value(injected.expect("it is admitted").pod).expect("a pod is JSON")
}

/// What a strategic merge patch of the manifest makes of the pod: lists are merged by names, and `envFrom` is replaced. Of a volume
/// only the source of the patch stays; of a server-side apply both do.
fn merged(keep_sources: bool) -> Value {
    let (mut pod, bare) = (live(), manifest());
    let csi = pod["spec"]["volumes"][1]["csi"].take();
    pod["spec"]["volumes"][1] = bare["spec"]["volumes"][1].clone();
    if keep_sources {
        pod["spec"]["volumes"][1]["csi"] = csi;
    }
    pod["spec"]["initContainers"][1]["env"][0]["valueFrom"]["secretKeyRef"] =
        json!({"name": "orders-db", "key": "password"});
    let app = &mut pod["spec"]["containers"][0];
    app["envFrom"] = bare["spec"]["containers"][0]["envFrom"].clone();
    let env = app["env"].as_array_mut().expect("it has variables");
    let last = env.last_mut().expect("it has variables");
    last["valueFrom"]["secretKeyRef"] = json!({"name": "orders-db", "key": "password"});
    pod
}

fn restored(new: &Value) -> Option<Value> {
    let pod = |value: &Value| serde_json::from_value::<Pod>(value.clone()).expect("it is a pod");
    let restored = restore(&pod(&live()), &pod(new))?;
    Some(serde_json::to_value(restored).expect("a pod is JSON"))
}

#[test]
fn an_unchanged_manifest_makes_the_pod_that_is_there() {
    for (way, new) in [
        ("replaced", manifest()),
        ("patched", merged(false)),
        ("applied by the server", merged(true)),
    ] {
        assert_eq!(restored(&new), Some(live()), "{way}");
    }
}

#[test]
fn what_was_put_in_another_order_by_the_merge_is_put_back() {
    let mut new = merged(false);
    new["spec"]["volumes"].as_array_mut().unwrap().reverse();
    new["spec"]["initContainers"]
        .as_array_mut()
        .unwrap()
        .reverse();
    assert_eq!(restored(&new), Some(live()));
}

#[test]
fn an_update_that_touches_nothing_injected_is_left_alone() {
    let mut new = live();
    new["metadata"]["labels"] = json!({"app": "orders"});
    new["spec"]["containers"][0]["image"] = json!("example/orders:2");
    assert_eq!(restored(&new), None);
}

#[test]
fn what_the_manifest_changes_beside_stays_changed() {
    let mut new = merged(false);
    new["spec"]["containers"][0]["image"] = json!("example/orders:2");
    let mut expected = live();
    expected["spec"]["containers"][0]["image"] = json!("example/orders:2");
    assert_eq!(restored(&new), Some(expected));
}

#[test]
fn a_change_of_what_was_injected_is_left_for_the_api_server_to_refuse() {
    let mut changed = merged(false);
    changed["spec"]["volumes"][1]["secret"]["secretName"] = json!("orders-cache");
    assert_ne!(restored(&changed), Some(live()), "another secret");
    let mut changed = merged(false);
    changed["spec"]["volumes"][1]["secret"]["optional"] = json!(true);
    assert_ne!(restored(&changed), Some(live()), "another option");
    for (field, value) in [
        ("LOG_LEVEL", json!({"name": "LOG_LEVEL", "value": "debug"})),
        ("PASSWORD", password("legacy-db-credentials")),
    ] {
        let mut changed = merged(false);
        let env = changed["spec"]["containers"][0]["env"]
            .as_array_mut()
            .unwrap();
        *env.iter_mut()
            .find(|variable| variable["name"] == field)
            .unwrap() = value;
        assert_ne!(restored(&changed), Some(live()), "{field}");
    }
    let mut changed = merged(false);
    changed["spec"]["containers"][0]["envFrom"][0]["prefix"] = json!("CACHE_");
    assert_ne!(restored(&changed), Some(live()), "another prefix");
    for sources in [
        json!([]),
        json!([{"configMapRef": {"name": "settings"}}]),
        json!([{"secretRef": {"name": "orders-cache"}}]),
        json!([{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "orders-cache"}}]),
    ] {
        let mut changed = manifest();
        changed["spec"]["containers"][0]["envFrom"] = sources.clone();
        assert_ne!(restored(&changed), Some(live()), "envFrom {sources}");
    }
    let mut changed = merged(false);
    changed["spec"]["volumes"].as_array_mut().unwrap().remove(1);
    assert_ne!(restored(&changed), Some(live()), "a volume that is gone");
}

#[test]
fn a_pod_that_was_not_injected_is_never_touched() {
    let pod: Pod = serde_json::from_value(manifest()).unwrap();
    assert_eq!(restore(&pod, &pod), None);
    let other: Pod = serde_json::from_value(live()).unwrap();
    assert_eq!(restore(&pod, &other), None);
}

#[test]
fn a_variable_that_looks_like_what_overrides_one_of_the_secret_stays_the_containers_own() {
    let of_plain = json!({"name": "host", "valueFrom":
        {"secretKeyRef": {"name": "plain", "key": "host", "optional": true}}});
    for sources in [
        json!([{"secretRef": {"name": "plain"}}, {"secretRef": {"name": "orders-db"}}]),
        json!([{"secretRef": {"name": "orders-db"}}, {"secretRef": {"name": "plain"}}]),
    ] {
        let mut manifest = manifest();
        manifest["spec"]["containers"][0]["envFrom"] = sources.clone();
        manifest["spec"]["containers"][0]["env"] = json!([of_plain]);
        let manifest: Pod = serde_json::from_value(manifest).unwrap();
        let live = Cluster::new(None).inject(&manifest).unwrap().pod;
        assert_eq!(restore(&live, &manifest), Some(live), "envFrom {sources}");
    }
}
