//! Old material is removed only when nothing has needed it for long; then nothing of it is left.

use std::time::Duration;

use keystead::api::MaterialGeneration;
use kube::ResourceExt;

use crate::support::{Bed, eventually, key, managed_secret};

const DAY: i64 = 86_400;
const DEFAULT: &str = "keystead-default";

fn secret(name: &str, form: &str) -> String {
    let spec =
        format!("{{generate: [{{key: password, password: {{}}}}], target: {{form: {form}}}}}");
    managed_secret("shop", name, &spec)
}

async fn generations(bed: &Bed, name: &str) -> Vec<MaterialGeneration> {
    bed.material("shop", name).await.spec.generations
}

async fn versions(bed: &Bed, name: &str) -> Vec<u32> {
    let all = generations(bed, name).await;
    all.iter().map(|g| g.version).collect()
}

/// The versions that a count found unneeded.
async fn unused(bed: &Bed, name: &str) -> Vec<u32> {
    let all = generations(bed, name).await.into_iter();
    all.filter(|g| g.unused_since.is_some())
        .map(|g| g.version)
        .collect()
}

async fn rotate(bed: &Bed, name: &str, version: u32) {
    let annotation = format!("keystead.dev/rotate=to-{version}");
    let args = [
        "annotate",
        "--overwrite",
        "managedkey",
        name,
        "-n",
        "shop",
        &annotation,
    ];
    bed.kubectl(&args).await.expect_ok();
    eventually(&format!("{name} has version {version}"), || async {
        versions(bed, name).await.last() == Some(&version)
    })
    .await;
}

async fn wait_unused(bed: &Bed, wanted: &[u32]) {
    eventually(&format!("{wanted:?} are found unneeded"), || async {
        unused(bed, DEFAULT).await == wanted
    })
    .await;
}

/// Long enough for several counts.
async fn a_while() {
    tokio::time::sleep(Duration::from_secs(6)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_material_of_the_default_key_goes_when_nothing_has_needed_it_for_long_and_nothing_is_left_of_it()
 {
    let bed = Bed::start().await;
    let operator = bed
        .operator_named("one", &["--trim-after-days", "30"])
        .await;
    operator.wait_ready().await;
    bed.namespace("shop").await;
    let other = managed_secret(
        "shop",
        "other",
        "{keyRef: {name: orders}, literals: {a: b}}",
    );
    bed.apply(
        &[
            secret("sealed", "Sealed"),
            secret("plain", "Plain"),
            key("shop", "orders"),
            other,
        ]
        .concat(),
    )
    .await;
    bed.wait_all_ready("shop", 3).await;
    let value = bed.value("shop", "plain", "password").await;
    let first = generations(&bed, DEFAULT).await.remove(0).wrapped;
    rotate(&bed, "orders", 2).await;
    rotate(&bed, DEFAULT, 2).await;
    wait_unused(&bed, &[1]).await;

    // Its truth waits to be adopted, and is not encrypted anew meanwhile: it keeps version 2.
    eventually("all is encrypted anew", || async {
        bed.not_ready("shop").await.is_empty()
    })
    .await;
    bed.kubectl(&["delete", "managedsecret", "plain", "-n", "shop"])
        .await
        .expect_ok();
    bed.wait_parked("shop", "plain", true).await;
    rotate(&bed, DEFAULT, 3).await;
    a_while().await;
    assert_eq!(
        unused(&bed, DEFAULT).await,
        [1],
        "what waits needs version 2"
    );

    bed.set_clock(29 * DAY);
    a_while().await;
    assert_eq!(versions(&bed, DEFAULT).await, [1, 2, 3]);
    // One clock alone removes nothing.
    bed.set_clocks(31 * DAY, 29 * DAY);
    a_while().await;
    assert_eq!(versions(&bed, DEFAULT).await, [1, 2, 3]);
    bed.set_clock(31 * DAY);
    eventually("version 1 is removed", || async {
        versions(&bed, DEFAULT).await == [2, 3]
    })
    .await;
    eventually("the status and an Event say so", || async {
        let keys = bed.managed_keys("shop").await;
        let default = keys.into_iter().find(|k| k.name_any() == DEFAULT).unwrap();
        default.status.unwrap().versions.len() == 2
            && bed.events("shop", DEFAULT, "Trimmed").await == 1
    })
    .await;
    bed.cluster.etcd().compact().await.unwrap();
    let held = bed
        .cluster
        .etcd()
        .keys_containing(first.as_bytes())
        .await
        .unwrap();
    assert_eq!(held, [""; 0], "no copy of the wrapped material");

    // A key of a user is left whole, however long nothing stored needs it.
    assert_eq!(versions(&bed, "orders").await, [1, 2]);
    assert_eq!(unused(&bed, "orders").await, [0_u32; 0]);
    // What waited comes back with its value, is encrypted anew, and lets go of version 2, which waits its own time.
    bed.apply(&secret("plain", "Plain")).await;
    bed.wait_all_ready("shop", 3).await;
    assert_eq!(bed.value("shop", "plain", "password").await, value);
    wait_unused(&bed, &[2]).await;
    bed.set_clock(60 * DAY);
    a_while().await;
    assert_eq!(versions(&bed, DEFAULT).await, [2, 3]);
    bed.set_clock(62 * DAY);
    eventually("version 2 is removed", || async {
        versions(&bed, DEFAULT).await == [3]
    })
    .await;
    bed.kubectl(&["delete", "secret", "plain", "-n", "shop"])
        .await
        .expect_ok();
    bed.wait_value("shop", "plain", "password", &value).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_sealed_entry_keeps_its_material_and_without_the_flag_nothing_is_counted() {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    bed.namespace("shop").await;
    bed.apply(&secret("sealed", "Sealed")).await;
    bed.wait_all_ready("shop", 1).await;
    let sealed = bed.data("shop", "sealed").await.unwrap();
    let copy = &sealed["password.sealed"];
    bed.create_native("shop", "copy", &[("password.sealed", copy)])
        .await;
    rotate(&bed, DEFAULT, 2).await;
    a_while().await;
    bed.set_clock(200 * DAY);
    a_while().await;
    assert_eq!(unused(&bed, DEFAULT).await, [0_u32; 0]);
    bed.set_clock(0);
    operator.kill().await;
    let operator = bed
        .operator_named("one", &["--trim-after-days", "30"])
        .await;
    operator.wait_ready().await;
    rotate(&bed, DEFAULT, 3).await;
    wait_unused(&bed, &[2]).await;
    bed.kubectl(&["delete", "secret", "copy", "-n", "shop"])
        .await
        .expect_ok();
    wait_unused(&bed, &[1, 2]).await;
    // What cannot be read may need anything.
    bed.create_native("shop", "broken", &[("password.sealed", b"no envelope")])
        .await;
    bed.set_clock(40 * DAY);
    a_while().await;
    assert_eq!(versions(&bed, DEFAULT).await, [1, 2, 3]);
    bed.kubectl(&["delete", "secret", "broken", "-n", "shop"])
        .await
        .expect_ok();
    eventually("they are removed", || async {
        versions(&bed, DEFAULT).await == [3]
    })
    .await;
    bed.wait_all_ready("shop", 1).await;
}
