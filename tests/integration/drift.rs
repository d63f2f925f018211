//! What others do to delivered Secrets: theirs is left alone, ours is put right, and nobody fights.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use keystead_cluster::AuditMark;
use serde_json::json;

use crate::support::{Bed, SOON, eventually_within, managed_secret};

const PLAIN: &str = "{generate: [{key: password, password: {}}], target: {form: Plain}}";

/// Writes of the operator to a Secret since a mark, also refused ones.
fn writes(bed: &Bed, mark: AuditMark, name: &str) -> usize {
    let events = bed.cluster.audit_since(mark).unwrap().into_iter();
    events
        .filter(|e| e.is_write() && e.is_complete() && e.resource == "secrets" && e.name == name)
        .filter(|e| e.user.ends_with(":keystead-controller"))
        .count()
}

/// Case B01 (1) and (2).
#[tokio::test(flavor = "multi_thread")]
async fn what_others_add_survives_and_what_they_change_is_put_right_once() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    bed.namespace("shop").await;
    bed.apply_secret("shop", "db", PLAIN).await;
    bed.wait_ready("shop", "db").await;
    let value = bed.value("shop", "db", "password").await;

    let mark = bed.cluster.audit_mark();
    let mut theirs = String::new();
    for touch in 0..6 {
        let apply = format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: db, namespace: shop, labels: {{touched: '{touch}'}}}}, \
              stringData: {{dbname: orders, verifier: v}}}}"
        );
        let args = [
            "apply",
            "--server-side",
            "--field-manager",
            "pgo",
            "-f",
            "-",
        ];
        bed.kubectl_with(&args, &apply).await.expect_ok();
        theirs = bed.state_of("shop", "db").await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(
        writes(&bed, mark, "db"),
        0,
        "foreign keys are no business of ours"
    );
    assert_eq!(bed.state_of("shop", "db").await, theirs);

    let mark = bed.cluster.audit_mark();
    bed.patch(
        "shop",
        "secret/db",
        &json!({"stringData": {"password": "x"}}),
    )
    .await;
    bed.wait_value("shop", "db", "password", &value).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(writes(&bed, mark, "db"), 1, "one forced apply, and no loop");
    assert_eq!(bed.events("shop", "db", "DriftRepaired").await, 1);
    assert_eq!(bed.value("shop", "db", "dbname").await, b"orders");
    assert_eq!(bed.value("shop", "db", "verifier").await, b"v");

    // Removed, or claimed by another manager with force: ours comes back too.
    bed.patch("shop", "secret/db", &json!({"data": {"password": null}}))
        .await;
    bed.wait_value("shop", "db", "password", &value).await;
    let labels = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null},
        "annotations": {"keystead.dev/deletion-policy": "Retain"}, "ownerReferences": null}});
    bed.patch("shop", "secret/db", &labels).await;
    eventually_within(
        SOON,
        "labels, annotations and owner are put right",
        || async {
            let meta = bed.native("shop", "db").await.unwrap().metadata;
            let policy = meta
                .annotations
                .unwrap_or_default()
                .remove("keystead.dev/deletion-policy");
            let label = meta
                .labels
                .unwrap_or_default()
                .remove("app.kubernetes.io/managed-by");
            policy.as_deref() == Some("Delete")
                && label.as_deref() == Some("keystead")
                && meta.owner_references.unwrap_or_default().len() == 1
        },
    )
    .await;
    assert_eq!(bed.value("shop", "db", "dbname").await, b"orders");
    assert_eq!(bed.versions("shop", "db").await.len(), 1);
}

/// Case B04 (1), (2), (3) and (5).
#[tokio::test(flavor = "multi_thread")]
async fn deleted_targets_come_back_byte_for_byte() {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    for namespace in ["shop", "store"] {
        bed.namespace(namespace).await;
    }
    bed.apply_secret("shop", "app", PLAIN).await;
    bed.wait_ready("shop", "app").await;
    let value = bed.value("shop", "app", "password").await;
    bed.delete("shop", "secret/app").await;
    bed.wait_value("shop", "app", "password", &value).await;
    bed.patch(
        "shop",
        "secret/app",
        &json!({"stringData": {"password": "x"}}),
    )
    .await;
    bed.wait_value("shop", "app", "password", &value).await;

    operator.kill().await;
    bed.delete("shop", "secret/app").await;
    let _operator = bed.operator().await;
    bed.wait_value("shop", "app", "password", &value).await;
    bed.wait_ready("shop", "app").await;
    assert_eq!(
        bed.versions("shop", "app").await.len(),
        1,
        "nothing was generated again"
    );
    eventually_within(SOON, "each repair has its Event", || async {
        bed.events("shop", "app", "DriftRepaired").await >= 2
    })
    .await;

    let many: String = (0..50)
        .flat_map(|i| ["shop", "store"].map(|ns| managed_secret(ns, &format!("many-{i}"), PLAIN)))
        .collect();
    bed.apply(&many).await;
    for i in 0..50 {
        bed.wait_ready("shop", &format!("many-{i}")).await;
        bed.wait_ready("store", &format!("many-{i}")).await;
    }
    let before = passwords(&bed).await;
    assert_eq!(before.len(), 101);
    for namespace in ["shop", "store"] {
        let ours = "app.kubernetes.io/managed-by=keystead";
        let args = [
            "delete",
            "secret",
            "-n",
            namespace,
            "-l",
            ours,
            "--wait=false",
        ];
        bed.kubectl(&args).await.expect_ok();
    }
    eventually_within(SOON, "all are back with their values", || async {
        passwords(&bed).await == before
    })
    .await;
}

/// Every password, by place.
async fn passwords(bed: &Bed) -> Vec<(String, String)> {
    let template = r#"jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} {.data.password}{"\n"}{end}"#;
    let mut all = Vec::new();
    for namespace in ["shop", "store"] {
        let ours = "app.kubernetes.io/managed-by=keystead";
        let args = ["get", "secret", "-n", namespace, "-l", ours, "-o", template];
        let shown = bed.kubectl(&args).await.expect_ok();
        let lines = shown.lines().filter_map(|line| line.split_once(' '));
        all.extend(lines.map(|(place, value)| (place.to_owned(), value.to_owned())));
    }
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_entry_from_another_time_or_place_is_replaced() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    for namespace in ["shop", "store"] {
        bed.namespace(namespace).await;
    }
    let spec = |password: &str| format!("{{literals: {{password: {password}, other: same}}}}");
    bed.apply_secret("shop", "app", &spec("old")).await;
    bed.apply_secret("shop", "sibling", &spec("old")).await;
    bed.apply_secret("store", "app", &spec("old")).await;
    bed.wait_ready("shop", "app").await;
    bed.wait_ready("shop", "sibling").await;
    bed.wait_ready("store", "app").await;
    let older = bed.value("shop", "app", "password.sealed").await;
    bed.apply_secret("shop", "app", &spec("new")).await;
    bed.wait_ready("shop", "app").await;
    let planted = [
        ("an older value", older),
        (
            "another key",
            bed.value("shop", "app", "other.sealed").await,
        ),
        (
            "another secret",
            bed.value("shop", "sibling", "password.sealed").await,
        ),
        (
            "another namespace",
            bed.value("store", "app", "password.sealed").await,
        ),
        ("no envelope at all", b"new".to_vec()),
    ];
    let good = bed.value("shop", "app", "password.sealed").await;
    for (what, envelope) in &planted {
        assert_ne!(good, *envelope);
        let patch = json!({"data": {"password.sealed": BASE64.encode(envelope)}});
        bed.patch("shop", "secret/app", &patch).await;
        eventually_within(
            SOON,
            &format!("an entry from {what} is replaced"),
            || async { bed.value("shop", "app", "password.sealed").await != *envelope },
        )
        .await;
    }
    bed.wait_ready("shop", "app").await;
    bed.patch(
        "shop",
        "managedsecret/app",
        &json!({"spec": {"target": {"form": "Plain"}}}),
    )
    .await;
    bed.wait_value("shop", "app", "password", b"new").await;
    // An entry put into its own place again is no drift.
    let state = bed.state_of("store", "app").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(bed.state_of("store", "app").await, state);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_owner_of_a_target_name_wins_and_the_second_follows() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    bed.namespace("shop").await;
    let spec = |value: &str, name: &str| {
        format!("{{literals: {{k: {value}}}, target: {{form: Plain, name: {name}}}}}")
    };
    bed.apply_secret("shop", "first", &spec("one", "same"))
        .await;
    bed.wait_ready("shop", "first").await;
    bed.apply_secret("shop", "second", &spec("two", "same"))
        .await;
    bed.apply_secret("shop", "third", &spec("three", "same"))
        .await;
    let message = bed
        .wait_not_ready("shop", "second", "TargetOwnedByOther")
        .await;
    assert!(message.contains("shop/first"), "{message}");
    bed.wait_not_ready("shop", "third", "TargetOwnedByOther")
        .await;
    assert_eq!(bed.value("shop", "same", "k").await, b"one");
    assert_eq!(
        bed.events("shop", "first", "DriftRepaired").await,
        0,
        "nobody fights"
    );

    // The first takes another name: one of the others follows at once, and only one.
    bed.apply_secret("shop", "first", &spec("one", "own")).await;
    eventually_within(SOON, "another owner took over", || async {
        let data = bed.data("shop", "same").await.unwrap_or_default();
        data.get("k")
            .is_some_and(|k| *k == b"two" || *k == b"three")
    })
    .await;
    let (owner, other) = match &bed.value("shop", "same", "k").await[..] {
        b"two" => ("second", "third"),
        _ => ("third", "second"),
    };
    bed.wait_ready("shop", owner).await;
    bed.wait_not_ready("shop", other, "TargetOwnedByOther")
        .await;
    // The owner is deleted: the last one follows, as soon as the garbage collector has been.
    bed.delete("shop", &format!("managedsecret/{owner}")).await;
    eventually_within(3 * SOON, "the last one took over", || async {
        let meta = bed
            .native("shop", "same")
            .await
            .map(|secret| secret.metadata);
        let owner = meta.and_then(|m| m.annotations?.remove("keystead.dev/managed-by"));
        owner == Some(format!("shop/{other}"))
    })
    .await;
    bed.wait_ready("shop", other).await;
}
