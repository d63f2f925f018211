//! The status that an object has before anybody looked at it, and after its spec changed.

use super::api;
use crate::support::{Bed, Operator, eventually};

const BOTH: &str = "
apiVersion: keystead.dev/v1alpha1
kind: ManagedKey
metadata: {name: young, namespace: default}
spec: {}
---
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {name: young, namespace: default}
spec: {literals: {a: one}, target: {form: Plain}}
";

async fn waits(bed: &Bed, kind: &str, name: &str, timeout: &str) -> bool {
    let object = format!("{kind}/{name}");
    let timeout = format!("--timeout={timeout}");
    bed.kubectl(&["wait", "--for=condition=Ready", &object, &timeout])
        .await
        .ok
}

/// No operator runs.
pub(super) async fn a_new_object_is_pending_until_somebody_looks(bed: &Bed) {
    bed.apply(BOTH).await;
    for kind in ["ManagedKey", "ManagedSecret"] {
        let object = api(bed, kind).get("young").await.unwrap();
        let condition = &object.data["status"]["conditions"][0];
        let shown = [
            &condition["type"],
            &condition["status"],
            &condition["reason"],
        ];
        assert_eq!(shown, ["Ready", "Unknown", "Pending"], "{condition}");
        assert_eq!(
            object.data["status"]["conditions"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
        assert!(
            !waits(bed, kind, "young", "1s").await,
            "{kind} was never Ready"
        );
    }
    columns_and_names(bed).await;
}

async fn columns_and_names(bed: &Bed) {
    let shown = bed.kubectl(&["get", "mk", "young"]).await.expect_ok();
    let words: Vec<_> = shown.split_whitespace().take(6).collect();
    assert_eq!(
        words,
        ["NAME", "STATE", "VERSION", "READY", "REASON", "AGE"],
        "{shown}"
    );
    let shown = bed.kubectl(&["get", "msec", "young"]).await.expect_ok();
    let words: Vec<_> = shown.split_whitespace().take(6).collect();
    assert_eq!(
        words,
        ["NAME", "TARGET", "FORM", "READY", "REASON", "AGE"],
        "{shown}"
    );
    assert!(
        shown.contains("Unknown") && shown.contains("Pending"),
        "{shown}"
    );
    let all = bed
        .kubectl(&["get", "keystead", "-n", "default", "-o", "name"])
        .await
        .expect_ok();
    assert!(all.contains("managedkey.keystead.dev/young\n"), "{all}");
    assert!(all.contains("managedsecret.keystead.dev/young\n"), "{all}");
    let wide = bed
        .kubectl(&["get", "mk,msec", "-o", "wide"])
        .await
        .expect_ok();
    assert!(wide.contains("KEY-ID") && wide.contains("KEYS"), "{wide}");
}

/// Case B06 (4).
pub(super) async fn a_changed_spec_is_not_taken_for_done(bed: &Bed, operator: &Operator) {
    bed.apply(BOTH).await;
    for kind in ["ManagedKey", "ManagedSecret"] {
        assert!(waits(bed, kind, "young", "60s").await, "{kind} is Ready");
    }
    operator.pause().await;
    bed.apply(
        &BOTH
            .replace("one", "two")
            .replace("spec: {}", "spec: {description: new}"),
    )
    .await;
    for kind in ["ManagedKey", "ManagedSecret"] {
        let object = api(bed, kind).get("young").await.unwrap();
        let generation = object.metadata.generation.unwrap();
        let status = &object.data["status"];
        assert!(
            status["observedGeneration"].as_i64().unwrap() < generation,
            "{status}"
        );
        let ready = &status["conditions"][0];
        assert!(
            ready["observedGeneration"].as_i64().unwrap() < generation,
            "{status}"
        );
        assert!(
            !waits(bed, kind, "young", "1s").await,
            "{kind} speaks of an older spec"
        );
    }
    assert_eq!(bed.value("default", "young", "a").await, b"one");
    operator.resume().await;
    for kind in ["ManagedKey", "ManagedSecret"] {
        assert!(
            waits(bed, kind, "young", "60s").await,
            "{kind} is Ready again"
        );
    }
    assert_eq!(bed.value("default", "young", "a").await, b"two");
    eventually("the key has seen its new spec", || async {
        let key = api(bed, "ManagedKey").get("young").await.unwrap();
        key.data["status"]["observedGeneration"].as_i64() == key.metadata.generation
    })
    .await;
}
