//! Sharing and replicas.

use serde_json::{Value, json};

use super::Refused;

/// What looks like a sealing key.
fn key(letter: &str) -> String {
    format!("kssk1_{}", letter.repeat(1664))
}

/// So many clusters with the longest names.
fn clusters(count: u8) -> Vec<Value> {
    let cluster = |i: u8| {
        let name = format!("{i:02}{}", "n".repeat(38));
        json!({"name": name, "sealingKey": key(&char::from(b'a' + i).to_string())})
    };
    (0..count).map(cluster).collect()
}

pub(super) fn refused() -> Vec<Refused> {
    let source = json!({"namespace": "shop", "name": "db"});
    let mut cases: Vec<Refused> = [
        json!({"generate": [{"key": "a", "uuid": {}}]}),
        json!({"literals": {"a": ""}}),
        json!({"import": [{"secretRef": {"name": "s"}}]}),
        json!({"sealed": {"a": "AAAA"}}),
        json!({"stored": {}}),
    ]
    .into_iter()
    .map(|mut spec| {
        spec["replicaOf"] = source.clone();
        (
            spec,
            &["a replica has the keys of its source and no others"][..],
        )
    })
    .collect();
    let many: Vec<_> = (0..33).map(|i| format!("n{i}")).collect();
    cases.extend([
        (
            json!({"replicaOf": source, "shareWith": {"namespaces": ["farm"]}}),
            &["a replica is not shared further"][..],
        ),
        (
            json!({"replicaOf": {"name": "db"}}),
            &["spec.replicaOf.namespace: Required value"],
        ),
        (
            json!({"replicaOf": {"namespace": "../shop", "name": "db"}}),
            &["spec.replicaOf.namespace"],
        ),
        (
            json!({"literals": {"a": ""}, "shareWith": {"namespaces": []}}),
            &["spec.shareWith.namespaces", "at least 1 items"],
        ),
        (
            json!({"literals": {"a": ""}, "shareWith": {"namespaces": many}}),
            &["spec.shareWith.namespaces: Too many: 33: must have at most 32 items"],
        ),
        (
            json!({"literals": {"a": ""}, "shareWith": {"namespaces": ["a", "a"]}}),
            &["spec.shareWith.namespaces[1]: Duplicate value"],
        ),
        (
            json!({"literals": {"a": ""}, "shareWith": {}}),
            &["shareWith names nobody"],
        ),
        (
            json!({"literals": {"a": ""}, "shareWith": {"clusters": clusters(11)}}),
            &["spec.shareWith.clusters: Too many: 11: must have at most 10 items"],
        ),
        (
            json!({"literals": {"a": ""}, "shareWith": {"clusters": [
                {"name": "a", "sealingKey": key("a")}, {"name": "a", "sealingKey": key("b")}]}}),
            &["spec.shareWith.clusters[1]: Duplicate value"],
        ),
        (
            json!({"literals": {"a": ""}, "shareWith": {"clusters": [
                {"name": "a", "sealingKey": key("a")}, {"name": "b", "sealingKey": key("a")}]}}),
            &["a sealing key is listed twice"],
        ),
        (
            json!({"literals": {"a": ""}, "shareWith": {"clusters": [{"name": "a", "sealingKey": "kssk1_a"}]}}),
            &["spec.shareWith.clusters[0].sealingKey"],
        ),
        (
            json!({"replicaOf": {"namespace": "shop", "name": "db", "cluster": {}}}),
            &["spec.replicaOf.cluster.secretRef: Required value"],
        ),
        (
            json!({"replicaOf": {"namespace": "shop", "name": "db", "cluster": {"secretRef": {"name": "../a"}}}}),
            &["spec.replicaOf.cluster.secretRef.name"],
        ),
        (
            json!({"stored": {"keys": ["a/b"]}}),
            &["spec.stored.keys", "is not allowed"],
        ),
    ]);
    cases
}

pub(super) fn accepted() -> Vec<Value> {
    let namespaces: Vec<_> = (0..32)
        .map(|i| format!("{i:02}{}", "n".repeat(61)))
        .collect();
    let name = "k".repeat(253);
    let keys: Vec<_> = (0..64)
        .map(|i| format!("{i:02}{}", "k".repeat(251)))
        .collect();
    vec![
        json!({"replicaOf": {"namespace": "n".repeat(63), "name": name}}),
        json!({"replicaOf": {"namespace": "shop", "name": "db"}, "generate": [], "literals": {}}),
        json!({"stored": {}}),
        json!({"replicaOf": {"namespace": "shop", "name": "db", "cluster": {"secretRef": {"name": "k".repeat(253)}}}}),
        json!({"literals": {"a": ""}, "shareWith": {"clusters": clusters(10), "namespaces": namespaces}}),
        json!({"stored": {"keys": keys}, "literals": {"a": ""}, "shareWith": {"namespaces": namespaces}}),
    ]
}
