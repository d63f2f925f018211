//! A leader that may be that of a restored cluster rotates and destroys nothing for a day.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde_json::Value;

use crate::support::{Bed, Operator, SYSTEM, eventually, key, managed_secret};

const HOUR: i64 = 3600;

/// Since when, until when, and why.
async fn hold(bed: &Bed) -> Option<(Timestamp, Timestamp, String)> {
    let record = bed.record().await;
    let hold: Value = serde_json::from_str(record.get("restoreSuspected")?).unwrap();
    let time = |field: &str| hold[field].as_str().unwrap().parse().unwrap();
    let cause = hold["cause"].as_str().unwrap().to_owned();
    Some((time("since"), time("until"), cause))
}

async fn version(bed: &Bed) -> Option<u32> {
    let keys = bed.managed_keys("shop").await;
    let orders = keys.into_iter().find(|k| k.name_any() == "orders")?;
    orders.status?.current_version
}

async fn wait_version(bed: &Bed, wanted: u32) {
    eventually(&format!("version {wanted} is current"), || async {
        version(bed).await == Some(wanted)
    })
    .await;
}

/// The key's condition of that type.
async fn condition(bed: &Bed, type_: &str) -> Option<Condition> {
    let keys = bed.managed_keys("shop").await;
    let orders = keys.into_iter().find(|k| k.name_any() == "orders")?;
    let conditions = orders.status?.conditions;
    conditions.into_iter().find(|c| c.type_ == type_)
}

async fn rotate(bed: &Bed, token: &str) {
    let annotation = format!("keystead.dev/rotate={token}");
    let args = [
        "annotate",
        "--overwrite",
        "managedkey",
        "orders",
        "-n",
        "shop",
        &annotation,
    ];
    bed.kubectl(&args).await.expect_ok();
}

async fn metric(operator: &Operator) -> Option<String> {
    let (_, text) = operator.http("/metrics").await?;
    let line = text
        .lines()
        .find(|l| l.starts_with("keystead_restore_suspected "))?;
    Some(line.to_owned())
}

async fn wait_metric(operator: &Operator, value: u8) {
    let wanted = format!("keystead_restore_suspected {value}");
    eventually(&wanted, || async {
        metric(operator).await.as_deref() == Some(&wanted)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_long_outage_nothing_is_rotated_until_a_day_is_over_or_an_administrator_has_looked()
{
    let bed = Bed::start().await;
    let operator = bed.operator_named("one", &["--guard-namespace"]).await;
    operator.wait_ready().await;
    bed.namespace("shop").await;
    bed.apply(&key("shop", "orders")).await;
    wait_version(&bed, 1).await;
    // A new installation, and a restart, are no restore.
    operator.kill().await;
    let operator = bed.operator().await;
    rotate(&bed, "a").await;
    wait_version(&bed, 2).await;
    assert_eq!(hold(&bed).await, None);
    wait_metric(&operator, 0).await;

    operator.kill().await;
    bed.set_clock(2 * HOUR);
    let operator = bed.operator().await;
    bed.wait_hold(true).await;
    let (since, until, cause) = hold(&bed).await.unwrap();
    assert_eq!(cause, "OldLease");
    assert!(until.duration_since(since) == SignedDuration::from_hours(24));
    wait_metric(&operator, 1).await;
    rotate(&bed, "b").await;
    eventually("the key says why it is not rotated", || async {
        let told = condition(&bed, "RestoreSuspected").await;
        told.is_some_and(|c| c.status == "True" && c.message.contains(&since.to_string()))
    })
    .await;
    let ready = condition(&bed, "Ready").await.unwrap();
    assert_eq!(ready.status, "True", "the key can be used");
    bed.apply(&managed_secret(
        "shop",
        "db",
        "{keyRef: {name: orders}, literals: {a: b}}",
    ))
    .await;
    bed.wait_ready("shop", "db").await;
    assert_eq!(version(&bed).await, Some(2));
    let told = bed
        .events("default", "keystead-installation", "RestoreSuspected")
        .await
        + bed
            .events(SYSTEM, "keystead-installation", "RestoreSuspected")
            .await;
    assert_eq!(told, 1);

    // Neither a restart nor an annotation about another hold ends it; the one that names it does, and the guard lets it pass.
    operator.kill().await;
    let operator = bed.operator().await;
    let (again, later, _) = hold(&bed).await.unwrap();
    assert!(again == since && later >= until);
    for (text, ends) in [
        ("2026-01-01T00:00:00Z".to_owned(), false),
        (since.to_string(), true),
    ] {
        let checked = format!("keystead.dev/restore-checked={text}");
        let args = [
            "annotate",
            "--overwrite",
            "configmap",
            "keystead-installation",
            "-n",
            SYSTEM,
            &checked,
        ];
        bed.kubectl(&args).await.expect_ok();
        if !ends {
            tokio::time::sleep(std::time::Duration::from_secs(4)).await;
            assert_eq!(version(&bed).await, Some(2));
        }
    }
    wait_version(&bed, 3).await;
    bed.wait_hold(false).await;
    wait_metric(&operator, 0).await;
    eventually("the condition is gone", || async {
        condition(&bed, "RestoreSuspected").await.is_none()
    })
    .await;

    // Another outage: what was left there ends nothing, and the day does.
    operator.kill().await;
    bed.set_clock(5 * HOUR);
    let _operator = bed.operator().await;
    bed.wait_hold(true).await;
    assert!(hold(&bed).await.unwrap().0 > since);
    rotate(&bed, "c").await;
    bed.set_clock(28 * HOUR);
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    assert_eq!(version(&bed).await, Some(3));
    bed.set_clock(30 * HOUR);
    bed.wait_hold(false).await;
    wait_version(&bed, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_put_back_under_a_living_operator_or_without_its_lease_is_suspected() {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    bed.namespace("shop").await;
    bed.apply(&key("shop", "orders")).await;
    wait_version(&bed, 1).await;
    let backup = bed.cluster.dir().join("backup");
    bed.cluster.etcd().snapshot(&backup).await.unwrap();
    let lease = async || {
        let args = [
            "get",
            "lease",
            "keystead-controller",
            "-n",
            SYSTEM,
            "-o",
            "yaml",
        ];
        bed.kubectl(&args).await.expect_ok()
    };
    let saved = lease().await;
    for token in ["a", "b", "c"] {
        rotate(&bed, token).await;
    }
    eventually("it was rotated", || async {
        version(&bed).await.is_some_and(|v| v > 1)
    })
    .await;
    // A backup of an instant ago, in which nobody renewed the Lease, cannot be told from the state that it was made of.
    eventually("the Lease is renewed", || async { lease().await != saved }).await;
    assert_eq!(hold(&bed).await, None);
    bed.cluster.etcd().restore(&backup).await.unwrap();
    bed.wait_hold(true).await;
    assert_eq!(hold(&bed).await.unwrap().2, "WentBack");
    rotate(&bed, "d").await;
    eventually("the key says why it is not rotated", || async {
        condition(&bed, "RestoreSuspected").await.is_some()
    })
    .await;
    assert_eq!(version(&bed).await, Some(1));
    operator.kill().await;

    // As a tool restores that saves the objects that it was told to, and no Lease.
    let no_hold = r#"{"data": {"restoreSuspected": null}}"#;
    let patch = [
        "patch",
        "configmap",
        "keystead-installation",
        "-n",
        SYSTEM,
        "--type=merge",
        "-p",
    ];
    bed.kubectl(&[&patch[..], &[no_hold]].concat())
        .await
        .expect_ok();
    let delete = ["delete", "lease", "keystead-controller", "-n", SYSTEM];
    bed.kubectl(&delete).await.expect_ok();
    let _operator = bed.operator().await;
    bed.wait_hold(true).await;
    assert_eq!(hold(&bed).await.unwrap().2, "NoLease");
}
