//! The audit trail of a running operator: what is in it, and what happens when it cannot be written.

use std::path::Path;

use k8s_openapi::jiff::Timestamp;
use keystead::api::names::ANNOTATION_MATERIALS;
use keystead::audit::{Report, UsedBy, Users, Verifier, is_audit_line};
use serde_json::{Value, json};

use crate::support::{Bed, Operator, eventually, key, plain};

/// The lines of the trail in a text, as JSON.
fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines().filter(|line| is_audit_line(line.as_bytes()));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn verified(text: &str) -> Report {
    let mut verifier = Verifier::new(false);
    for line in text.split_inclusive('\n') {
        verifier.line(line.as_bytes());
    }
    verifier.finish()
}

fn users(text: &str, key: &str) -> Vec<UsedBy> {
    let since = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut users = Users::new(key.parse().unwrap(), since);
    for line in text.lines() {
        users.line(line.as_bytes());
    }
    users.finish()
}

/// The names of the calls on the key of that name, in order.
fn calls(lines: &[Value], key: &str) -> Vec<String> {
    let about = lines
        .iter()
        .filter(|line| line["resources"][0]["name"] == key);
    about
        .map(|line| line["eventName"].as_str().unwrap().to_owned())
        .collect()
}

async fn with_file(bed: &Bed, name: &str, file: &Path) -> Operator {
    let file = file.to_string_lossy();
    bed.operator_named(name, &["--audit-log", "file", "--audit-file", &file])
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn uses_and_changes_of_keys_are_lines_and_a_look_that_finds_all_well_is_none() {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    bed.namespace("shop").await;
    bed.apply(&key("shop", "orders")).await;
    bed.apply(&plain("shop", "db", Some("orders"), "x")).await;
    bed.wait_ready("shop", "db").await;
    bed.patch(
        "shop",
        "managedkey/orders",
        &json!({"metadata": {"annotations": {"keystead.dev/rotate": "1"}}}),
    )
    .await;
    eventually("the key is rotated", || async {
        bed.material("shop", "orders").await.spec.generations.len() == 2
    })
    .await;
    // What is stored is encrypted anew in the background: uses of the key that would else come at any time later.
    let generations = bed.material("shop", "orders").await.spec.generations;
    let newest = generations
        .last()
        .map(|generation| generation.material_id.clone());
    eventually("the secret is encrypted anew", || async {
        bed.truth_says("shop", "db", ANNOTATION_MATERIALS).await == newest
    })
    .await;
    let disable = |enabled: bool| json!({"spec": {"enabled": enabled}});
    bed.patch("shop", "managedkey/orders", &disable(false))
        .await;
    bed.wait_not_ready("shop", "db", "KeyDisabled").await;
    bed.patch("shop", "managedkey/orders", &disable(true)).await;
    bed.wait_ready("shop", "db").await;

    let log = operator.log();
    let report = verified(&log);
    assert!(report.is_intact(), "{report:?}");
    assert!(report.others > 0, "the log is on the same stream");
    let lines = lines(&log);
    assert_eq!(lines[0]["eventName"], "StartAuditLog");
    let calls = calls(&lines, "orders");
    for expected in [
        "CreateKey",
        "GenerateDataKey",
        "RotateKeyOnDemand",
        "Decrypt",
        "DisableKey",
        "EnableKey",
    ] {
        assert!(
            calls.iter().any(|call| call == expected),
            "{expected} is not in {calls:?}"
        );
    }
    let find = |name: &str| lines.iter().find(|line| line["eventName"] == name).unwrap();
    let used = find("GenerateDataKey");
    assert_eq!(used["userIdentity"]["user"], "keystead:secret:shop:db");
    assert_eq!(used["userIdentity"]["via"], "secrets");
    assert_eq!(used["resources"][1]["name"], "db");
    assert_eq!(
        find("DisableKey")["userIdentity"]["fieldManager"],
        "kubectl-patch"
    );
    let refused = lines
        .iter()
        .find(|line| line["errorCode"] == "DisabledException");
    assert_eq!(refused.unwrap()["decision"], "Deny");
    let password = bed.value("shop", "db", "password").await;
    assert!(
        !log.contains(std::str::from_utf8(&password).unwrap()),
        "a value is in the log"
    );
    let found = users(&log, "shop/orders");
    assert!(
        found
            .iter()
            .any(|used| used.user == "keystead:secret:shop:db"),
        "{found:?}"
    );

    // Nothing is left to do: the next one only says that it begins.
    operator.stop().await;
    let next = bed.operator_named("two", &[]).await;
    next.wait_ready().await;
    eventually("it has looked at everything", || async {
        let metrics = next
            .http("/metrics")
            .await
            .map(|(_, text)| text)
            .unwrap_or_default();
        metrics.contains("keystead_reconciles_total{kind=\"ManagedSecret\",result=\"success\"}")
    })
    .await;
    let begun = self::lines(&next.log());
    assert_eq!(begun.len(), 1, "{begun:?}");
    next.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_written_refuses_every_use_until_it_can() {
    let bed = Bed::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (log, away) = (folder.path().join("log"), folder.path().join("away"));
    std::fs::create_dir(&log).unwrap();
    let operator = with_file(&bed, "one", &log.join("audit.log")).await;
    operator.wait_ready().await;
    bed.namespace("shop").await;
    bed.apply(&key("shop", "orders")).await;
    bed.apply(&plain("shop", "before", Some("orders"), "x"))
        .await;
    bed.wait_ready("shop", "before").await;

    std::fs::rename(&log, &away).unwrap();
    bed.apply(&plain("shop", "after", Some("orders"), "x"))
        .await;
    let message = bed
        .wait_not_ready("shop", "after", "AuditUnavailable")
        .await;
    assert!(message.contains("audit log"), "{message}");
    assert!(
        bed.native("shop", "after").await.is_none(),
        "nothing was delivered"
    );
    assert!(
        bed.truth("shop", "after").await.is_none(),
        "nothing was stored"
    );
    let (code, ready) = operator.http("/readyz").await.unwrap();
    assert!(code == 503 && ready.contains("audit"), "{ready}");
    let (_, metrics) = operator.http("/metrics").await.unwrap();
    assert!(metrics.contains("keystead_audit_failing 1"), "{metrics}");
    // What protects is done nevertheless.
    bed.patch(
        "shop",
        "managedkey/orders",
        &json!({"spec": {"enabled": false}}),
    )
    .await;
    eventually("the key is disabled", || async {
        !bed.material("shop", "orders").await.spec.enabled
    })
    .await;

    std::fs::rename(&away, &log).unwrap();
    operator.wait_ready().await;
    bed.patch(
        "shop",
        "managedkey/orders",
        &json!({"spec": {"enabled": true}}),
    )
    .await;
    bed.wait_ready("shop", "after").await;
    let text = std::fs::read_to_string(log.join("audit.log")).unwrap();
    let report = verified(&text);
    assert!(report.is_intact(), "{report:?}\n{text}");
    assert!(text.contains("ResumeAuditLog"), "{text}");
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_operator_leaves_a_log_that_verifies_and_the_next_goes_on_it() {
    let bed = Bed::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.log");
    bed.namespace("shop").await;
    for round in 0..4 {
        let operator = with_file(&bed, &format!("round-{round}"), &file).await;
        operator.wait_ready().await;
        let many = (0..8).map(|i| plain("shop", &format!("s{round}-{i}"), None, "x"));
        bed.apply(&many.collect::<String>()).await;
        tokio::time::sleep(std::time::Duration::from_millis(150 * round)).await;
        operator.kill().await;
    }
    let last = with_file(&bed, "last", &file).await;
    last.wait_ready().await;
    for round in 0..4 {
        for i in 0..8 {
            bed.wait_ready("shop", &format!("s{round}-{i}")).await;
        }
    }
    last.stop().await;
    let text = std::fs::read_to_string(&file).unwrap();
    let report = verified(&text);
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(report.chains, 5);
    // Every secret that was delivered is in it.
    let found = users(&text, "shop/keystead-default");
    let sealed = found
        .iter()
        .filter(|used| used.event_name == "GenerateDataKey")
        .count();
    assert_eq!(sealed, 32, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_use_while_the_deletion_is_pending_is_an_alarm_and_the_last_use_is_told() {
    let bed = Bed::start().await;
    // Far from the end of an hour, after which it would be told again.
    let now = Timestamp::now().as_second();
    bed.set_clock(600 - now % 3600);
    let operator = bed.operator().await;
    bed.namespace("shop").await;
    bed.apply(&key("shop", "orders")).await;
    bed.apply(&plain("shop", "db", Some("orders"), "x")).await;
    bed.wait_ready("shop", "db").await;
    let status = || async {
        let keys = bed.managed_keys("shop").await;
        let orders = keys
            .into_iter()
            .find(|key| key.metadata.name.as_deref() == Some("orders"));
        orders.unwrap().status.unwrap()
    };
    let alarm = || async {
        let conditions = status().await.conditions;
        conditions
            .into_iter()
            .find(|c| c.type_ == "UsedWhilePendingDeletion")
    };
    eventually("the last use is told", || async {
        status()
            .await
            .last_used
            .is_some_and(|used| used.time.0.as_second() % 86_400 == 0)
    })
    .await;
    assert!(alarm().await.is_none());

    bed.patch(
        "shop",
        "managedkey/orders",
        &json!({"spec": {"deletion": {"pendingWindowDays": 7}}}),
    )
    .await;
    bed.wait_not_ready("shop", "db", "KeyPendingDeletion").await;
    eventually("the key tells who wanted to use it", || async {
        alarm()
            .await
            .is_some_and(|c| c.status == "True" && c.message.contains("keystead:secret:shop:db"))
    })
    .await;
    eventually("there is an Event", || async {
        bed.events("shop", "orders", "UsedWhilePendingDeletion")
            .await
            == 1
    })
    .await;
    let (_, metrics) = operator.http("/metrics").await.unwrap();
    let total = metrics
        .lines()
        .find(|l| l.starts_with("keystead_key_used_while_pending_deletion_total "));
    assert!(total.is_some_and(|line| !line.ends_with(" 0")), "{metrics}");
    // Once an hour for each user, however often it tries.
    bed.patch(
        "shop",
        "managedsecret/db",
        &json!({"spec": {"literals": {"other": "y"}}}),
    )
    .await;
    bed.wait_not_ready("shop", "db", "KeyPendingDeletion").await;
    assert_eq!(
        bed.events("shop", "orders", "UsedWhilePendingDeletion")
            .await,
        1
    );
    let denied = lines(&operator.log());
    let denied = denied
        .iter()
        .filter(|l| l["errorCode"] == "KMSInvalidStateException")
        .count();
    assert_eq!(
        denied, 2,
        "one line for what it opens, one for what it seals"
    );

    bed.patch(
        "shop",
        "managedkey/orders",
        &json!({"spec": {"deletion": null}}),
    )
    .await;
    bed.wait_ready("shop", "db").await;
    eventually("the alarm is over", || async { alarm().await.is_none() }).await;
    operator.stop().await;
}
