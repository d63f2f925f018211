//! Pods that refer to Secrets in every way, by chance.

use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Names of Secrets: sealed ones, a renamed one, one without a value, one of somebody else's and plain ones.
fn secret() -> impl Strategy<Value = String> {
    prop_oneof![
        5 => Just("orders-db"),
        4 => Just("orders-cache"),
        2 => Just("legacy-db-credentials"),
        1 => Just("session"),
        1 => Just("coming"),
        1 => Just("squatted"),
        3 => Just("plain"),
    ]
    .prop_map(str::to_owned)
}

fn optional() -> impl Strategy<Value = Value> {
    prop_oneof![Just(Value::Null), Just(json!(true)), Just(json!(false))]
}

fn variable() -> impl Strategy<Value = Value> {
    let name = || "[A-D]|host|password";
    let key = "host|password|username|DB_PASSWORD|none|name";
    prop_oneof![
        3 => (name(), secret(), key, optional()).prop_map(|(name, secret, key, optional)| json!({"name": name,
            "valueFrom": {"secretKeyRef": {"name": secret, "key": key, "optional": optional}}})),
        1 => (name(), name()).prop_map(|(name, other)| json!({"name": name, "value": format!("x$({other})")})),
        1 => (name(), optional()).prop_map(|(name, optional)| json!({"name": name,
            "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "k", "optional": optional}}})),
    ]
}

fn all_variables() -> impl Strategy<Value = Value> {
    let prefix = || prop_oneof![Just(Value::Null), Just(json!("DB_")), Just(json!("D"))];
    prop_oneof![
        2 => (prefix(), secret(), optional()).prop_map(|(prefix, secret, optional)| json!({"prefix": prefix,
            "secretRef": {"name": secret, "optional": optional}})),
        1 => prefix().prop_map(|prefix| json!({"prefix": prefix, "configMapRef": {"name": "settings"}})),
    ]
}

fn container(name: &'static str) -> impl Strategy<Value = Value> {
    let env = proptest::collection::vec(variable(), 0..4);
    let from = proptest::collection::vec(all_variables(), 0..3);
    let user = prop_oneof![Just(Value::Null), Just(json!(0)), Just(json!(1000))];
    (env, from, user).prop_map(move |(env, from, user)| {
        json!({"name": name, "image": "example/app:1", "command": ["/app"], "args": ["--x=$(A)"], "env": env,
            "envFrom": from, "securityContext": {"runAsUser": user}})
    })
}

fn volume(name: &'static str) -> impl Strategy<Value = Value> {
    let items = prop_oneof![
        Just(Value::Null),
        Just(json!([{"key": "password", "path": "a/b", "mode": 256}])),
    ];
    let projected = proptest::collection::vec((secret(), optional()), 0..3);
    let token = any::<bool>();
    prop_oneof![
        (secret(), items, optional())
            .prop_map(move |(secret, items, optional)| json!({"name": name,
            "secret": {"secretName": secret, "items": items, "optional": optional}})),
        (projected, token).prop_map(move |(secrets, token)| {
            let mut sources: Vec<_> = secrets
                .into_iter()
                .map(|(name, optional)| json!({"secret": {"name": name, "optional": optional}}))
                .collect();
            if token && sources.len() == 2 {
                sources.push(json!({"serviceAccountToken": {"path": "token"}}));
            }
            json!({"name": name, "projected": {"sources": sources, "defaultMode": 288}})
        }),
        Just(json!({"name": name, "configMap": {"name": "settings"}})),
    ]
}

/// Any pod.
pub(crate) fn pod() -> impl Strategy<Value = Pod> {
    let maybe = |strategy: BoxedStrategy<Value>| proptest::option::of(strategy);
    (
        maybe(container("migrate").boxed()),
        container("app"),
        maybe(container("sidecar").boxed()),
        maybe(volume("v1").boxed()),
        maybe(volume("v2").boxed()),
        proptest::option::weighted(0.1, secret()),
        proptest::option::weighted(0.1, Just("disabled")),
    )
        .prop_map(|(init, app, sidecar, v1, v2, pull, choice)| {
            let containers: Vec<_> = [Some(app), sidecar].into_iter().flatten().collect();
            let volumes: Vec<_> = [v1, v2].into_iter().flatten().collect();
            let init: Vec<_> = init.into_iter().collect();
            let pull: Vec<_> = pull.into_iter().map(|name| json!({"name": name})).collect();
            let annotations = choice.map(|choice| json!({"keystead.dev/inject": choice}));
            let pod = json!({"metadata": {"generateName": "x-", "annotations": annotations}, "spec": {
                "initContainers": init, "containers": containers, "volumes": volumes, "imagePullSecrets": pull}});
            serde_json::from_value(pod).expect("it is a pod")
        })
}
