//! The end of secrets: what is deleted can be had back for as long as its window, and is gone a day after that, or at once
//! where that was asked for.

use std::time::Duration;

use keystead::truth::truth_name;
use kube::ResourceExt;
use serde_json::json;

use crate::support::{Bed, SYSTEM, eventually};

const DAY: i64 = 86_400;
const HOUR: i64 = 3600;
const SPEC: &str =
    "{generate: [{key: password, password: {}}], target: {form: Plain}, recoveryWindowDays: 7}";

async fn apply(bed: &Bed) -> Vec<u8> {
    bed.apply_secret("shop", "db", SPEC).await;
    bed.wait_ready("shop", "db").await;
    bed.value("shop", "db", "password").await
}

async fn is_kept(bed: &Bed) -> bool {
    bed.native(SYSTEM, &truth_name("shop", "db"))
        .await
        .is_some()
}

async fn delete_and_wait(bed: &Bed) {
    bed.delete("shop", "managedsecret/db").await;
    bed.wait_parked("shop", "db", true).await;
    bed.wait_gone("shop", "db").await;
}

/// Long enough for the operator to do what it should not.
async fn stays(bed: &Bed, why: &str) {
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(is_kept(bed).await, "{why}");
}

async fn wait_ended(bed: &Bed) {
    eventually("the ciphertext is deleted", || async {
        !is_kept(bed).await
    })
    .await;
}

/// Case B39, of secrets.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_secret_can_be_had_back_for_its_window_and_ends_a_day_after_it() {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    bed.namespace("shop").await;
    let value = apply(&bed).await;
    delete_and_wait(&bed).await;

    bed.set_clock(6 * DAY);
    assert_eq!(apply(&bed).await, value, "had back on the sixth day");
    delete_and_wait(&bed).await;

    // It waits since the sixth day, so until the thirteenth. One clock alone ends nothing.
    bed.set_clocks(40 * DAY, 6 * DAY);
    stays(&bed, "the API server's clock says otherwise").await;
    bed.set_clocks(6 * DAY, 40 * DAY);
    stays(&bed, "our own clock says otherwise").await;
    bed.set_clock(12 * DAY + 20 * HOUR);
    stays(&bed, "the window is not over").await;
    bed.set_clock(13 * DAY + HOUR);
    stays(&bed, "it is due, and waits for a day").await;
    // Another leader has not seen that, and waits for a day of its own.
    operator.kill().await;
    let _operator = bed.operator().await;
    bed.set_clock(14 * DAY - HOUR);
    stays(&bed, "the new leader has not waited").await;
    bed.set_clock(15 * DAY);
    wait_ended(&bed).await;
    assert_ne!(apply(&bed).await, value, "another secret of that name");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_deletion_is_final_for_the_very_resource_that_it_names() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    bed.namespace("shop").await;
    let value = apply(&bed).await;
    let force = async |uid: &str| {
        let patch = json!({"metadata": {"annotations": {"keystead.dev/force-delete": uid}}});
        bed.patch("shop", "managedsecret/db", &patch).await;
    };
    let old = bed.managed("shop", "db").await.uid().unwrap();
    // Taken back in time.
    force(&old).await;
    let taken_back = json!({"metadata": {"annotations": {"keystead.dev/force-delete": null}}});
    eventually("the mark is on the truth", || async {
        let truth = bed.native(SYSTEM, &truth_name("shop", "db")).await.unwrap();
        truth
            .annotations()
            .contains_key("keystead.dev/force-delete")
    })
    .await;
    bed.patch("shop", "managedsecret/db", &taken_back).await;
    eventually("the mark is gone", || async {
        let truth = bed.native(SYSTEM, &truth_name("shop", "db")).await.unwrap();
        !truth
            .annotations()
            .contains_key("keystead.dev/force-delete")
    })
    .await;
    delete_and_wait(&bed).await;
    stays(&bed, "it was taken back").await;
    assert_eq!(apply(&bed).await, value);

    // A copy that was left in Git names a resource of the past.
    force(&old).await;
    delete_and_wait(&bed).await;
    stays(&bed, "another resource is named").await;
    assert_eq!(apply(&bed).await, value);

    let uid = bed.managed("shop", "db").await.uid().unwrap();
    force(&uid).await;
    eventually("the mark is on the truth", || async {
        let truth = bed.native(SYSTEM, &truth_name("shop", "db")).await.unwrap();
        truth.annotations().get("keystead.dev/force-delete") == Some(&uid)
    })
    .await;
    bed.delete("shop", "managedsecret/db").await;
    wait_ended(&bed).await;
    assert_ne!(apply(&bed).await, value);
}
