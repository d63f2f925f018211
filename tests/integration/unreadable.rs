//! Objects that this release cannot read: a newer one wrote them, before somebody went back.

use serde_json::json;

use kube::ResourceExt;

use crate::support::{Bed, SYSTEM, eventually, key};

/// One bad object never stalls others.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_a_newer_release_is_passed_over_and_the_others_are_served() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    // The definition of a newer release knows one more form, and so does an object.
    let newer = json!([{
        "op": "add",
        "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/target/properties/form/enum/-",
        "value": "Future",
    }])
    .to_string();
    let crd = "customresourcedefinition/managedsecrets.keystead.dev";
    let args = ["patch", crd, "--type", "json", "-p", &newer];
    bed.kubectl(&args).await.expect_ok();
    let future = secret("future", "{form: Future}");
    eventually("the newer form is accepted", || async {
        bed.kubectl_with(&["apply", "-f", "-"], &future).await.ok
    })
    .await;

    // It is there at the first list, and others are served; then it changes under the watch, and others still are.
    let operator = bed.operator().await;
    bed.apply(&secret("before", "{form: Plain}")).await;
    bed.wait_ready("shop", "before").await;
    let args = ["label", "managedsecret/future", "-n", "shop", "team=orders"];
    bed.kubectl(&args).await.expect_ok();
    bed.apply(&secret("after", "{form: Plain}")).await;
    bed.wait_ready("shop", "after").await;

    // Nobody touched it, and the log says so.
    let status = "jsonpath={.status.conditions[0].reason}";
    let args = ["get", "managedsecret/future", "-n", "shop", "-o", status];
    assert_eq!(bed.kubectl(&args).await.expect_ok(), "Pending");
    assert!(
        operator
            .log()
            .contains("this release cannot read the object")
    );
    let before = bed.value("shop", "before", "password").await;

    // Once it can be read it is served like any other.
    bed.apply(&secret("future", "{form: Plain}")).await;
    bed.wait_ready("shop", "future").await;
    assert_eq!(bed.value("shop", "before", "password").await, before);
}

/// What somebody else wrote in the place of truth is no key, also for who knew the key before.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_truth_was_tampered_with_is_used_no_more_until_it_is_repaired() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let _operator = bed.operator().await;
    bed.apply(&key("shop", "orders")).await;
    bed.apply(&secret("before", "{form: Plain}, keyRef: {name: orders}"))
        .await;
    bed.wait_ready("shop", "before").await;
    let value = bed.value("shop", "before", "password").await;

    bed.lift_guard().await;
    let material = bed.material("shop", "orders").await;
    let name = format!("keymaterial/{}", material.name_any());
    let arn = material.spec.arn.clone();
    let foreign = arn.replace(&material.name_any(), "00000000-0000-8000-8000-000000000000");
    bed.patch(SYSTEM, &name, &json!({"spec": {"arn": foreign}}))
        .await;
    bed.apply(&secret("after", "{form: Plain}, keyRef: {name: orders}"))
        .await;
    bed.wait_not_ready("shop", "after", "KeyNotFound").await;
    assert!(bed.native("shop", "after").await.is_none());

    bed.patch(SYSTEM, &name, &json!({"spec": {"arn": arn}}))
        .await;
    bed.wait_ready("shop", "after").await;
    assert_eq!(bed.value("shop", "before", "password").await, value);
}

fn secret(name: &str, target: &str) -> String {
    format!(
        "
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {{name: {name}, namespace: shop}}
spec: {{generate: [{{key: password, password: {{}}}}], target: {target}}}
"
    )
}
