//! The webhook guards what it must and blocks nothing else, also while nobody answers it.

use serde_json::json;

use super::certificates::bundle;
use crate::support::{Bed, Operator, Printed, eventually, key, managed_secret};

/// Points the API server at a server of this machine: there are no Services here.
async fn point_at(bed: &Bed, server: &Operator) {
    let args = [
        "get",
        "validatingwebhookconfiguration",
        "keystead-server",
        "-o",
        "json",
    ];
    let shown = bed.kubectl(&args).await.expect_ok();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let url = format!(
        "https://localhost:{}/validate/managedkeys",
        server.webhook_port()
    );
    let config = json!({"url": url, "caBundle": shown["webhooks"][0]["clientConfig"]["caBundle"]});
    let patch =
        json!([{"op": "replace", "path": "/webhooks/0/clientConfig", "value": config}]).to_string();
    let args = [
        "patch",
        "validatingwebhookconfiguration",
        "keystead-server",
        "--type=json",
        "-p",
        &patch,
    ];
    bed.kubectl(&args).await.expect_ok();
}

/// The field that is guarded, as far as it is not in the definition.
async fn with_policies(bed: &Bed) {
    let field = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/policy";
    let patch = json!([{"op": "add", "path": path, "value": field}]).to_string();
    let args = [
        "patch",
        "crd",
        "managedkeys.keystead.dev",
        "--type=json",
        "-p",
        &patch,
    ];
    bed.kubectl(&args).await.expect_ok();
}

fn with_policy(name: &str, description: &str, policy: &str) -> String {
    let spec = format!("spec: {{description: {description}, policy: {policy}}}");
    key("shop", name).replace("spec: {}", &spec)
}

async fn try_apply(bed: &Bed, yaml: &str) -> Printed {
    bed.kubectl_with(&["apply", "-f", "-"], yaml).await
}

const LOCKED: &str = "{delegateToRBAC: false}";
const OPEN: &str = "{delegateToRBAC: true}";

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_server_blocks_only_changes_of_what_the_webhook_guards() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let controller = bed
        .operator_named("one", &["--server-names", "localhost"])
        .await;
    controller.wait_ready().await;
    let server = bed.server_named("one").await;
    server.wait_ready().await;
    eventually("the API server trusts the authority", || async {
        bundle(&bed).await.len() == 1
    })
    .await;
    with_policies(&bed).await;
    point_at(&bed, &server).await;

    // While it answers.
    eventually("a policy that locks nobody out is stored", || async {
        try_apply(&bed, &with_policy("kept", "one", OPEN)).await.ok
    })
    .await;
    let refused = try_apply(&bed, &with_policy("locked", "one", LOCKED))
        .await
        .expect_refused();
    assert!(
        refused.contains("under this spec.policy you could not change it any more"),
        "{refused}"
    );
    let refused = try_apply(&bed, &with_policy("kept", "one", LOCKED))
        .await
        .expect_refused();
    assert!(
        refused.contains("allow PutKeyPolicy to yourself"),
        "{refused}"
    );

    // While nobody does.
    server.kill().await;
    let refused = try_apply(&bed, &with_policy("new", "one", OPEN))
        .await
        .expect_refused();
    assert!(refused.contains("failed calling webhook"), "{refused}");
    let refused = try_apply(&bed, &with_policy("kept", "one", "{}"))
        .await
        .expect_refused();
    assert!(refused.contains("failed calling webhook"), "{refused}");
    // Everything else goes on: keys without a policy, other fields of one with it, secrets, deletion.
    bed.apply(&key("shop", "plain")).await;
    bed.apply(&key("shop", "plain").replace("spec: {}", "spec: {enabled: false}"))
        .await;
    bed.apply(&with_policy("kept", "two", OPEN)).await;
    bed.apply(&managed_secret("shop", "db", "{literals: {a: b}}"))
        .await;
    bed.wait_ready("shop", "db").await;
    let args = [
        "annotate",
        "managedkey",
        "kept",
        "-n",
        "shop",
        "keystead.dev/rotate=one",
    ];
    bed.kubectl(&args).await.expect_ok();
    for name in ["kept", "plain"] {
        bed.kubectl(&["delete", "managedkey", name, "-n", "shop"])
            .await
            .expect_ok();
    }
    // A key with a policy that waits for its finalizer is let go.
    bed.kubectl(&["delete", "namespace", "shop", "--wait=false"])
        .await
        .expect_ok();
    eventually("the namespace is gone", || async {
        !bed.kubectl(&["get", "namespace", "shop"]).await.ok
    })
    .await;

    // And when it answers again, so does the field.
    bed.namespace("shop").await;
    let server = bed.server_named("one").await;
    server.wait_ready().await;
    point_at(&bed, &server).await;
    eventually("a policy is stored again", || async {
        try_apply(&bed, &with_policy("kept", "three", OPEN))
            .await
            .ok
    })
    .await;
}
