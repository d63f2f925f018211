//! Objects that this release cannot read: a newer one wrote them, before somebody went back.

use serde_json::json;

use crate::support::{Bed, eventually};

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
