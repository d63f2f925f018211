//! The end of keys: scheduled, cancelled, and carried out only when all that the promise names is so.

use k8s_openapi::jiff::Timestamp;
use keystead::api::{KeyMaterial, KeyState, ManagedKey, ManagedKeyStatus};
use kube::{Api, ResourceExt};

use crate::support::{Bed, Operator, SYSTEM, eventually, key, managed_secret};

const DAY: i64 = 86_400;
const HOUR: i64 = 3600;
const SECRET: &str =
    "{keyRef: {name: orders}, generate: [{key: password, password: {}}], target: {form: Plain}}";

fn scheduled(deletion: &str) -> String {
    key("shop", "orders").replace("spec: {}", &format!("spec: {{deletion: {deletion}}}"))
}

/// A key that is Enabled.
async fn bed_with_key() -> (Bed, Operator) {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    bed.namespace("shop").await;
    bed.apply(&key("shop", "orders")).await;
    wait_state(&bed, KeyState::Enabled).await;
    (bed, operator)
}

async fn status(bed: &Bed) -> ManagedKeyStatus {
    let keys: Api<ManagedKey> = Api::namespaced(bed.client.clone(), "shop");
    keys.get("orders").await.unwrap().status.unwrap_or_default()
}

async fn wait_state(bed: &Bed, state: KeyState) {
    eventually(&format!("the key is {state:?}"), || async {
        status(bed).await.state == Some(state)
    })
    .await;
}

async fn wait_reason(bed: &Bed, reason: &str) -> String {
    let found = || async {
        let conditions = status(bed).await.conditions;
        conditions
            .into_iter()
            .find(|c| c.type_ == "Ready" && c.reason == reason)
    };
    eventually(&format!("the key is Ready=False, {reason}"), || async {
        found().await.is_some()
    })
    .await;
    found().await.map(|c| c.message).unwrap_or_default()
}

/// The truth about the key, whatever became of it.
async fn truth(bed: &Bed) -> KeyMaterial {
    let mut all = bed.materials().await;
    all.retain(|m| m.spec.name == "orders");
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// Long enough for the operator to do what it should not.
async fn a_while() {
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
}

async fn not_destroyed(bed: &Bed) {
    a_while().await;
    assert_eq!(truth(bed).await.spec.destroyed, None);
}

async fn wait_due(bed: &Bed) {
    eventually("a leader sees the date gone by", || async {
        truth(bed)
            .await
            .spec
            .deletion
            .is_some_and(|d| d.due.is_some())
    })
    .await;
}

async fn wait_destroyed(bed: &Bed) {
    eventually("the material is destroyed", || async {
        truth(bed).await.spec.destroyed.is_some()
    })
    .await;
    assert!(truth(bed).await.spec.generations.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_key_refuses_use_and_comes_back_when_it_is_cancelled() {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    bed.namespace("shop").await;
    bed.apply(&format!(
        "{}{}",
        key("shop", "orders"),
        managed_secret("shop", "db", SECRET)
    ))
    .await;
    bed.wait_ready("shop", "db").await;
    let value = bed.value("shop", "db", "password").await;

    bed.apply(&scheduled("{pendingWindowDays: 10}")).await;
    wait_state(&bed, KeyState::PendingDeletion).await;
    bed.wait_not_ready("shop", "db", "KeyPendingDeletion").await;
    bed.apply(&managed_secret("shop", "late", SECRET)).await;
    bed.wait_not_ready("shop", "late", "KeyPendingDeletion")
        .await;
    assert!(bed.data("shop", "late").await.is_none(), "no use");
    assert_eq!(
        bed.value("shop", "db", "password").await,
        value,
        "what was delivered stays"
    );
    let told = status(&bed).await;
    assert_eq!(told.dependents.map(|d| d.secrets), Some(1));
    let date = truth(&bed).await.spec.deletion.unwrap().date;
    assert_eq!(told.deletion_time, Some(date.clone()));

    // A restart, an edit of the status and a shorter window do not move the date to where somebody wants it.
    operator.kill().await;
    let _operator = bed.operator().await;
    let edit = r#"{"status": {"deletionTime": "2026-01-01T00:00:00Z", "state": "DestructionDue"}}"#;
    let args = [
        "patch",
        "managedkey",
        "orders",
        "-n",
        "shop",
        "--subresource=status",
        "--type=merge",
        "-p",
        edit,
    ];
    bed.kubectl(&args).await.expect_ok();
    bed.apply(&scheduled("{pendingWindowDays: 7}")).await;
    eventually("the window is shorter", || async {
        truth(&bed)
            .await
            .spec
            .deletion
            .is_some_and(|d| d.date != date)
    })
    .await;
    let now = Timestamp::now().as_second();
    let date = truth(&bed).await.spec.deletion.unwrap().date.0.as_second();
    assert!(date - now > 7 * DAY - 120, "seven days from the change");
    eventually("the status is the operator's again", || async {
        let told = status(&bed).await;
        told.state == Some(KeyState::PendingDeletion)
            && told.deletion_time.is_some_and(|d| d.0.as_second() == date)
    })
    .await;

    bed.apply(&key("shop", "orders")).await;
    wait_state(&bed, KeyState::Enabled).await;
    bed.wait_ready("shop", "db").await;
    bed.wait_ready("shop", "late").await;
    assert_eq!(bed.value("shop", "db", "password").await, value);
    assert_eq!(truth(&bed).await.spec.deletion, None);

    for wrong in ["6", "31", "0", "-1"] {
        let refused = bed
            .kubectl_with(
                &["apply", "-f", "-"],
                &scheduled(&format!("{{pendingWindowDays: {wrong}}}")),
            )
            .await;
        let message = refused.expect_refused();
        assert!(
            message.contains("spec.deletion.pendingWindowDays"),
            "{message}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_destroyed_a_day_after_its_date_and_nothing_of_it_is_left() {
    let (bed, operator) = bed_with_key().await;
    let material = truth(&bed).await.spec.generations[0].wrapped.clone();
    bed.apply(&scheduled("{pendingWindowDays: 7}")).await;
    wait_state(&bed, KeyState::PendingDeletion).await;

    // One clock alone ends nothing, whichever it is.
    bed.set_clocks(40 * DAY, 0);
    a_while().await;
    bed.set_clocks(0, 40 * DAY);
    a_while().await;
    assert_eq!(truth(&bed).await.spec.deletion.unwrap().due, None);

    // A long outage past the date: the day begins when a leader looks, and with each leader anew.
    operator.kill().await;
    bed.set_clock(40 * DAY);
    let operator = bed.operator().await;
    wait_due(&bed).await;
    wait_state(&bed, KeyState::DestructionDue).await;
    operator.kill().await;
    bed.set_clock(42 * DAY);
    let _operator = bed.operator().await;
    not_destroyed(&bed).await;
    bed.set_clock(42 * DAY + 20 * HOUR);
    not_destroyed(&bed).await;

    // Up to the last hour it can be cancelled.
    bed.apply(&key("shop", "orders")).await;
    wait_state(&bed, KeyState::Enabled).await;
    bed.apply(&scheduled("{pendingWindowDays: 7}")).await;
    wait_state(&bed, KeyState::PendingDeletion).await;
    bed.set_clock(50 * DAY);
    wait_due(&bed).await;
    bed.set_clock(51 * DAY + 2 * HOUR);
    wait_destroyed(&bed).await;
    wait_reason(&bed, "Destroyed").await;
    bed.cluster.etcd().compact().await.unwrap();
    let dump = bed.cluster.etcd().dump().await.unwrap();
    let holds = |needle: &str| {
        dump.iter()
            .any(|(_, value)| value.windows(needle.len()).any(|w| w == needle.as_bytes()))
    };
    assert!(!holds(&material), "no copy of the wrapped material");

    // The name is free for another key; the id never comes again.
    let id = truth(&bed).await.name_any();
    bed.kubectl(&["delete", "managedkey", "orders", "-n", "shop"])
        .await
        .expect_ok();
    bed.apply(&key("shop", "orders")).await;
    wait_state(&bed, KeyState::Enabled).await;
    assert_ne!(status(&bed).await.key_id, Some(id.clone()));
    assert!(
        bed.materials().await.iter().any(|m| m.name_any() == id),
        "the tombstone stays"
    );
    bed.apply(&managed_secret("shop", "db", SECRET)).await;
    bed.wait_ready("shop", "db").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_secrets_keep_a_key_until_exactly_their_number_is_accepted_after_the_date() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    bed.namespace("shop").await;
    let secrets = format!(
        "{}{}",
        managed_secret("shop", "a", SECRET),
        managed_secret("shop", "b", SECRET)
    );
    bed.apply(&format!("{}{secrets}", key("shop", "orders")))
        .await;
    bed.wait_all_ready("shop", 2).await;
    // One of them only waits to be adopted; it counts.
    bed.kubectl(&["delete", "managedsecret", "b", "-n", "shop"])
        .await
        .expect_ok();
    bed.wait_parked("shop", "b", true).await;

    // Set before the date: a number that somebody left in Git.
    bed.apply(&scheduled("{pendingWindowDays: 7, acceptDataLoss: 2}"))
        .await;
    wait_state(&bed, KeyState::PendingDeletion).await;
    bed.set_clock(8 * DAY);
    wait_due(&bed).await;
    bed.set_clock(10 * DAY);
    let message = wait_reason(&bed, "DeletionBlocked").await;
    assert!(message.contains("acceptDataLoss to 2"), "{message}");
    eventually("who looks after the truth sees it too", || async {
        truth(&bed).await.spec.deletion.and_then(|d| d.blocked_by) == Some(2)
    })
    .await;
    not_destroyed(&bed).await;
    for wrong in [
        "{pendingWindowDays: 7, acceptDataLoss: 1}",
        "{pendingWindowDays: 7, acceptDataLoss: 3}",
    ] {
        bed.apply(&scheduled(wrong)).await;
        not_destroyed(&bed).await;
    }
    // Taken back and set again, by somebody who was told the number.
    bed.apply(&scheduled("{pendingWindowDays: 7, acceptDataLoss: 2}"))
        .await;
    wait_destroyed(&bed).await;
    bed.wait_not_ready("shop", "a", "KeyNotFound").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_somebody_wanted_to_use_waits_longer_or_until_that_loss_is_accepted() {
    let (bed, operator) = bed_with_key().await;
    bed.apply(&scheduled("{pendingWindowDays: 7, acceptDataLoss: 0}"))
        .await;
    wait_state(&bed, KeyState::PendingDeletion).await;
    // Nothing is stored under it, so that no stored secret needs it.
    bed.apply(&managed_secret("shop", "late", SECRET)).await;
    bed.wait_not_ready("shop", "late", "KeyPendingDeletion")
        .await;
    eventually("the truth knows that a use was refused", || async {
        truth(&bed).await.spec.deletion.unwrap().refused.is_some()
    })
    .await;
    bed.delete("shop", "managedsecret/late").await;
    operator.kill().await;
    bed.set_clock(8 * DAY);
    let _operator = bed.operator().await;
    bed.wait_hold(true).await;
    wait_due(&bed).await;
    bed.set_clock(10 * DAY);
    let message = wait_reason(&bed, "DeletionBlocked").await;
    assert!(message.contains("acceptDataLoss to 0"), "{message}");
    eventually("who looks after the truth sees it too", || async {
        truth(&bed).await.spec.deletion.and_then(|d| d.blocked_by) == Some(0)
    })
    .await;
    not_destroyed(&bed).await;
    bed.apply(&scheduled("{pendingWindowDays: 7}")).await;
    eventually("what was preset is taken back", || async {
        let due = truth(&bed).await.spec.deletion.and_then(|d| d.due);
        due.is_some_and(|due| due.preset.is_none())
    })
    .await;
    bed.apply(&scheduled("{pendingWindowDays: 7, acceptDataLoss: 0}"))
        .await;
    wait_destroyed(&bed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_resource_is_gone_waits_and_goes_and_an_administrator_may_accept_the_loss() {
    let bed = Bed::start().await;
    let operator = bed.operator_named("one", &["--guard-namespace"]).await;
    operator.wait_ready().await;
    bed.namespace("shop").await;
    bed.apply(&format!(
        "{}{}",
        key("shop", "orders"),
        managed_secret("shop", "db", SECRET)
    ))
    .await;
    bed.wait_ready("shop", "db").await;
    let value = bed.value("shop", "db", "password").await;
    // The whole namespace, while nobody is there: it does not hang.
    operator.kill().await;
    bed.kubectl(&["delete", "managedkey", "orders", "-n", "shop"])
        .await
        .expect_ok();
    let operator = bed.operator().await;
    let parked = || async { truth(&bed).await.spec.parked_since.is_some() };
    eventually("the material waits", parked).await;
    let record = truth(&bed).await.spec.deletion.unwrap();
    assert_eq!(
        (record.date.0.as_second() - record.since.0.as_second()) / DAY,
        30,
        "a secret needs it"
    );

    // Brought back, and gone again.
    bed.apply(&key("shop", "orders")).await;
    bed.wait_ready("shop", "db").await;
    assert_eq!(bed.value("shop", "db", "password").await, value);
    // An earlier date stays, so that the key's comes before the end of the secret's window.
    bed.apply(&scheduled("{pendingWindowDays: 7}")).await;
    wait_state(&bed, KeyState::PendingDeletion).await;
    bed.kubectl(&["delete", "namespace", "shop", "--timeout=60s"])
        .await
        .expect_ok();
    eventually("the material waits", parked).await;
    bed.set_clock(8 * DAY);
    wait_due(&bed).await;
    bed.set_clock(10 * DAY);
    eventually("the truth says what keeps it", || async {
        truth(&bed).await.spec.deletion.and_then(|d| d.blocked_by) == Some(1)
    })
    .await;
    not_destroyed(&bed).await;
    let id = truth(&bed).await.name_any();
    let args = [
        "annotate",
        "keymaterial",
        &id,
        "-n",
        SYSTEM,
        "keystead.dev/accept-data-loss=1",
    ];
    bed.kubectl(&args).await.expect_ok();
    wait_destroyed(&bed).await;
    drop(operator);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_an_earlier_release_parked_gets_its_date() {
    let (bed, operator) = bed_with_key().await;
    bed.kubectl(&["delete", "managedkey", "orders", "-n", "shop"])
        .await
        .expect_ok();
    let dated = || async { truth(&bed).await.spec.deletion.is_some() };
    eventually("the material waits", dated).await;
    operator.kill().await;
    let id = truth(&bed).await.name_any();
    let undated = r#"{"spec": {"deletion": null}}"#;
    let args = [
        "patch",
        "keymaterial",
        &id,
        "-n",
        SYSTEM,
        "--type=merge",
        "-p",
        undated,
    ];
    bed.kubectl(&args).await.expect_ok();
    let parked = truth(&bed).await.spec.parked_since;
    assert!(parked.is_some() && !dated().await);
    let _operator = bed.operator().await;
    eventually("it has a date", dated).await;
    assert_eq!(truth(&bed).await.spec.parked_since, parked);
}
