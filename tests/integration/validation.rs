//! What the API server refuses at apply, what a new object looks like before anybody saw it, and that no name is too
//! long.

mod names;
mod specs;
mod status;

use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::support::Bed;

/// A kind of Keystead in a namespace, without its Rust type: what is sent is exactly what the test says.
fn api(bed: &Bed, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: "keystead.dev".to_owned(),
        version: "v1alpha1".to_owned(),
        api_version: "keystead.dev/v1alpha1".to_owned(),
        kind: kind.to_owned(),
        plural: format!("{}s", kind.to_lowercase()),
    };
    Api::namespaced_with(bed.client.clone(), "default", &resource)
}

/// Creates an object without storing it; returns what the API server has against it.
async fn refusal(bed: &Bed, kind: &str, spec: &Value) -> Option<String> {
    let object: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "keystead.dev/v1alpha1", "kind": kind, "metadata": {"name": "x"}, "spec": spec,
    }))
    .unwrap();
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    match api(bed, kind).create(&params, &object).await {
        Ok(_) => None,
        Err(kube::Error::Api(status)) => Some(status.message),
        Err(error) => panic!("{spec}: {error}"),
    }
}

/// The message must say all of that: field, limit and remedy.
async fn assert_refused(bed: &Bed, kind: &str, spec: Value, says: &[&str]) {
    let message = refusal(bed, kind, &spec).await;
    let message = message.unwrap_or_else(|| panic!("accepted: {spec}"));
    for part in says {
        assert!(
            message.contains(part),
            "{spec}: `{part}` is missing in: {message}"
        );
    }
}

async fn assert_accepted(bed: &Bed, kind: &str, spec: Value) {
    let message = refusal(bed, kind, &spec).await;
    assert!(message.is_none(), "{spec}: {message:?}");
}

/// Case B24, as far as the API server decides it.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_at_apply_with_field_limit_and_remedy() {
    let bed = Bed::start().await;
    for (spec, says) in specs::refused_secrets() {
        assert_refused(&bed, "ManagedSecret", spec, says).await;
    }
    for spec in specs::accepted_secrets() {
        assert_accepted(&bed, "ManagedSecret", spec).await;
    }
    for (spec, says) in specs::refused_keys() {
        assert_refused(&bed, "ManagedKey", spec, says).await;
    }
    for spec in specs::accepted_keys() {
        assert_accepted(&bed, "ManagedKey", spec).await;
    }
    for (spec, says) in specs::refused_materials() {
        assert_refused(&bed, "KeyMaterial", spec, says).await;
    }
    assert_accepted(&bed, "KeyMaterial", specs::material()).await;
    for (spec, says) in specs::refused_policies() {
        assert_refused(&bed, "ManagedKey", spec, says).await;
    }
    for mut spec in specs::accepted_policies() {
        // There is no server here that could be asked.
        spec["bypassPolicyLockoutSafetyCheck"] = true.into();
        assert_accepted(&bed, "ManagedKey", spec).await;
    }
    for (spec, says) in specs::refused_grants() {
        assert_refused(&bed, "KeyGrant", spec, says).await;
    }
    for spec in specs::accepted_grants() {
        assert_accepted(&bed, "KeyGrant", spec).await;
    }
    unknown_fields_are_refused(&bed).await;
    what_a_key_is_never_changes(&bed).await;
    status::a_new_object_is_pending_until_somebody_looks(&bed).await;
}

/// kubectl asks for strict validation by itself; so do Argo CD and Flux with server-side apply.
async fn unknown_fields_are_refused(bed: &Bed) {
    let cases = [
        ("ManagedKey", "{keySpek: SymmetricDefault}", "spec.keySpek"),
        (
            "ManagedSecret",
            "{generate: [{key: a, password: {size: 3}}]}",
            "spec.generate[0].password.size",
        ),
        (
            "ManagedSecret",
            "{generate: [{key: a, uuid: {version: 7}}]}",
            "spec.generate[0].uuid.version",
        ),
        (
            "ManagedSecret",
            "{literals: {a: b}, target: {kind: Secret}}",
            "spec.target.kind",
        ),
        (
            "ManagedSecret",
            "{literals: {a: b}, template: {data: {a: b}, engine: v2}}",
            "spec.template.engine",
        ),
    ];
    for (kind, spec, field) in cases {
        let yaml = format!(
            "{{apiVersion: keystead.dev/v1alpha1, kind: {kind}, metadata: {{name: x, namespace: default}}, spec: {spec}}}"
        );
        let mut ways = vec![&["apply", "--validate=strict", "--dry-run=server", "-f", "-"][..]];
        // With server-side apply, the API server drops what is in an object that has no fields, and says nothing.
        if !field.contains("uuid") {
            ways.push(&[
                "apply",
                "--server-side",
                "--validate=strict",
                "--dry-run=server",
                "-f",
                "-",
            ]);
        }
        for args in ways {
            let refused = bed.kubectl_with(args, &yaml).await.expect_refused();
            let last = field.rsplit('.').next().unwrap();
            assert!(
                refused.contains(&format!("unknown field \"{field}\""))
                    || refused.contains(&format!(".{last}: field not declared in schema")),
                "{field}: {refused}"
            );
        }
    }
}

/// Set, unset and changed: each is refused, and the rest of the spec can change.
async fn what_a_key_is_never_changes(bed: &Bed) {
    let keys = api(bed, "ManagedKey");
    let make = async |name: &str, spec: Value| {
        let object = serde_json::from_value(json!({
            "apiVersion": "keystead.dev/v1alpha1", "kind": "ManagedKey", "metadata": {"name": name}, "spec": spec,
        }));
        keys.create(&PostParams::default(), &object.unwrap())
            .await
            .unwrap();
    };
    make(
        "said",
        json!({"keySpec": "SymmetricDefault", "keyUsage": "EncryptDecrypt", "origin": "Keystead"}),
    )
    .await;
    make("silent", json!({})).await;
    for (field, value) in [
        ("keySpec", "SymmetricDefault"),
        ("keyUsage", "EncryptDecrypt"),
        ("origin", "Keystead"),
    ] {
        for (name, new) in [("said", Value::Null), ("silent", json!(value))] {
            let patch = Patch::Merge(json!({"spec": {field: new}}));
            let refused = keys
                .patch(name, &PatchParams::default(), &patch)
                .await
                .unwrap_err()
                .to_string();
            assert!(
                refused.contains(&format!("spec.{field} is immutable: make a new key")),
                "{name} {field}: {refused}"
            );
        }
    }
    for name in ["said", "silent"] {
        let patch = Patch::Merge(json!({"spec": {"enabled": false, "description": "new"}}));
        keys.patch(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }
}
