//! Rotation of keys: old ciphertext opens for ever, and what is stored is encrypted anew in the background.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use keystead::api::ManagedKey;
use keystead::api::names::DEFAULT_KEY;
use keystead::crypto::peek;
use kube::{Api, ResourceExt};

use crate::support::{Bed, Operator, SYSTEM, eventually, eventually_within, key, managed_secret};

const DAY: i64 = 86_400;
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(240);

/// Under that key; half of them delivered sealed, half plain.
fn secrets(key: &str, count: usize) -> String {
    let secret = |index: usize| {
        let form = if index.is_multiple_of(2) {
            "Sealed"
        } else {
            "Plain"
        };
        let spec = format!(
            "{{keyRef: {{name: {key}}}, generate: [{{key: password, password: {{}}}}], target: {{form: {form}}}}}"
        );
        managed_secret("shop", &format!("s{index}"), &spec)
    };
    (0..count).map(secret).collect()
}

async fn rotate(bed: &Bed, name: &str, token: &str) {
    let annotation = format!("keystead.dev/rotate={token}");
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
}

async fn status_of_key(bed: &Bed, name: &str) -> keystead::api::ManagedKeyStatus {
    let keys: Api<ManagedKey> = Api::namespaced(bed.client.clone(), "shop");
    keys.get(name).await.unwrap().status.unwrap_or_default()
}

/// The material that everything stored and delivered of a namespace's secrets needs.
async fn needed(bed: &Bed) -> BTreeSet<String> {
    let delivered: Api<Secret> = Api::namespaced(bed.client.clone(), "shop");
    let delivered = delivered
        .list(&kube::api::ListParams::default())
        .await
        .unwrap();
    let all = bed.truths().await.into_iter().chain(delivered.items);
    let data = all.flat_map(|secret| secret.data.unwrap_or_default());
    data.filter_map(|(_, bytes)| Some(peek(&bytes.0).ok()?.material.to_string()))
        .collect()
}

/// Versions with their stages, and what the operator delivered, of every secret: what a rotation must not change.
async fn visible(bed: &Bed) -> BTreeMap<String, String> {
    let shown = |secret: keystead::api::ManagedSecret| {
        let status = secret.status.clone().unwrap_or_default();
        let versions: Vec<_> = status.versions.iter().map(|v| (&v.id, &v.stages)).collect();
        (secret.name_any(), format!("{versions:?}"))
    };
    bed.managed_secrets("shop")
        .await
        .into_iter()
        .map(shown)
        .collect()
}

/// The state of each plain target: nobody writes them.
async fn plain_states(bed: &Bed) -> BTreeMap<String, String> {
    let api: Api<Secret> = Api::namespaced(bed.client.clone(), "shop");
    let params = kube::api::ListParams::default().fields("type=Opaque");
    let listed = api.list_metadata(&params).await.unwrap();
    listed
        .items
        .into_iter()
        .map(|s| (s.name_any(), s.resource_version().unwrap()))
        .collect()
}

async fn wait_version(bed: &Bed, name: &str, version: u32) {
    eventually(&format!("version {version} is current"), || async {
        status_of_key(bed, name).await.current_version == Some(version)
    })
    .await;
}

/// An operator that re-encrypts fast, and removes old material of the default key.
async fn started(bed: &Bed) -> Operator {
    let arguments = ["--reencrypt-per-second", "200", "--trim-after-days", "30"];
    bed.operator_named("one", &arguments).await
}

/// How much of the truth is encrypted under that material only.
async fn under(bed: &Bed, material: &str) -> usize {
    let only = |truth: &Secret| {
        let mut envelopes = truth.data.iter().flat_map(BTreeMap::values);
        let mut materials = envelopes.by_ref().filter_map(|bytes| peek(&bytes.0).ok());
        materials.all(|header| header.material.to_string() == material)
    };
    let truths = bed.truths().await;
    truths.iter().filter(|truth| only(truth)).count()
}

/// Waits until everything is encrypted under the current material, and kills the operator twice in the midst of it.
async fn reencrypted(bed: &Bed, name: &str, count: usize, mut operator: Operator) -> Operator {
    let generations = bed.material("shop", name).await.spec.generations;
    let current = generations.last().unwrap().material_id.clone();
    for done in [1, count / 3] {
        eventually("a part is encrypted anew", || async {
            under(bed, &current).await >= done
        })
        .await;
        operator.kill().await;
        let done = under(bed, &current).await;
        println!("killed after {done} of {count}");
        assert!(done < count, "it was killed too late");
        operator = started(bed).await;
    }
    operator.wait_ready().await;
    eventually_within(PATIENCE, "everything is encrypted anew", || async {
        needed(bed).await == BTreeSet::from([current.clone()])
    })
    .await;
    operator
}

#[tokio::test(flavor = "multi_thread")]
async fn three_rotations_under_500_secrets_survive_kills_change_nothing_visible_and_end_with_one_material()
 {
    const COUNT: usize = 500;
    let bed = Bed::start().await;
    let mut operator = started(&bed).await;
    operator.wait_ready().await;
    bed.namespace("shop").await;
    bed.apply(&secrets(DEFAULT_KEY, COUNT)).await;
    bed.wait_all_ready("shop", COUNT).await;
    let (values, versions) = (bed.passwords("shop").await, visible(&bed).await);
    let plain = plain_states(&bed).await;
    assert_eq!((versions.len(), plain.len()), (COUNT, COUNT / 2));

    for version in 2..=4 {
        rotate(&bed, DEFAULT_KEY, &format!("token-{version}")).await;
        wait_version(&bed, DEFAULT_KEY, version).await;
        operator = reencrypted(&bed, DEFAULT_KEY, COUNT, operator).await;
    }
    let unchanged = || async {
        assert_eq!(visible(&bed).await, versions);
        let now = bed.passwords("shop").await;
        assert_eq!(now, values, "the plain values are as they were");
        let now = plain_states(&bed).await;
        assert_eq!(now, plain, "nobody wrote a plain target");
    };
    unchanged().await;

    // The status tells that nothing needs the old material; and after a restart everything still opens, since a
    // sealed target whose content is not what is stored would be written again.
    eventually("the counts are exact", || async {
        let status = status_of_key(&bed, DEFAULT_KEY).await;
        let counts: Vec<_> = status.versions.iter().map(|v| v.references).collect();
        let dependents = status.dependents.map(|dependents| dependents.secrets);
        counts == [Some(0), Some(0), Some(0), None] && dependents == u32::try_from(COUNT).ok()
    })
    .await;
    let rotation = bed.material("shop", DEFAULT_KEY).await.spec.rotation;
    assert_eq!(rotation.tokens, ["token-2", "token-3", "token-4"]);
    operator.kill().await;
    let operator = started(&bed).await;
    operator.wait_ready().await;
    bed.wait_all_ready("shop", COUNT).await;
    let current = status_of_key(&bed, DEFAULT_KEY).await.current_version;
    assert_eq!(current, Some(4));

    // What stays the same for the highest version after each restart: new ciphertext is made with it.
    bed.apply(&managed_secret("shop", "late", "{literals: {a: b}}"))
        .await;
    bed.wait_ready("shop", "late").await;
    assert_eq!(needed(&bed).await.len(), 1);
    bed.delete("shop", "managedsecret/late").await;
    bed.wait_parked("shop", "late", true).await;

    // A month later the old material is gone, and everything opens without it, also for an operator that has never seen it.
    let generations = || async { bed.material("shop", DEFAULT_KEY).await.spec.generations };
    eventually("the old material is found unneeded", || async {
        let generations = generations().await;
        let unused = generations.iter().filter(|g| g.unused_since.is_some());
        unused.count() == 3
    })
    .await;
    bed.set_clock(31 * DAY);
    eventually("the old material is removed", || async {
        let generations = generations().await;
        generations.iter().map(|g| g.version).eq([4])
    })
    .await;
    operator.kill().await;
    let operator = started(&bed).await;
    operator.wait_ready().await;
    bed.wait_all_ready("shop", COUNT).await;
    unchanged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_rotates_once_whatever_happens_to_the_resource() {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    bed.namespace("shop").await;
    let asked = |token: &str| {
        key("shop", "orders").replace(
            "metadata: {name: orders,",
            &format!("metadata: {{annotations: {{keystead.dev/rotate: {token}}}, name: orders,"),
        )
    };
    // A key that is made with a token on it is as fresh as can be.
    bed.apply(&asked("one")).await;
    wait_version(&bed, "orders", 1).await;
    bed.apply(&asked("two")).await;
    wait_version(&bed, "orders", 2).await;
    operator.kill().await;
    let _operator = bed.operator().await;
    bed.apply(&asked("one")).await;
    // Deleted and applied again, without its status: the truth remembers.
    bed.kubectl(&["delete", "managedkey", "orders", "-n", "shop"])
        .await
        .expect_ok();
    eventually("the material waits", || async {
        bed.material("shop", "orders")
            .await
            .spec
            .parked_since
            .is_some()
    })
    .await;
    bed.apply(&asked("two")).await;
    wait_version(&bed, "orders", 2).await;
    bed.apply(&asked("three")).await;
    wait_version(&bed, "orders", 3).await;
    assert_eq!(
        bed.material("shop", "orders").await.spec.generations.len(),
        3
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn automatic_rotation_comes_when_its_time_comes_and_missed_ones_once() {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    bed.namespace("shop").await;
    let rotating = key("shop", "orders").replace("spec: {}", "spec: {rotation: {periodDays: 90}}");
    bed.apply(&rotating).await;
    wait_version(&bed, "orders", 1).await;
    let next = status_of_key(&bed, "orders")
        .await
        .next_rotation_time
        .unwrap()
        .0;
    let now = Timestamp::now();
    let days = (next.as_second() - now.as_second()) / DAY;
    assert!((80..=90).contains(&days), "{days}");

    // Four periods are missed while nobody is there.
    operator.kill().await;
    bed.set_clock(400 * DAY);
    let operator = bed.operator().await;
    // That long without a leader, it may be a restored cluster: a day more.
    bed.wait_hold(true).await;
    bed.set_clock(401 * DAY + 60);
    wait_version(&bed, "orders", 2).await;
    // A clock that goes back, and a restart, rotate nothing.
    operator.kill().await;
    bed.set_clock(DAY);
    let operator = bed.operator().await;
    bed.apply(&managed_secret(
        "shop",
        "db",
        "{keyRef: {name: orders}, literals: {a: b}}",
    ))
    .await;
    bed.wait_ready("shop", "db").await;
    assert_eq!(
        bed.material("shop", "orders").await.spec.generations.len(),
        2
    );
    operator.kill().await;
    bed.set_clock(491 * DAY);
    let _operator = bed.operator().await;
    bed.wait_hold(true).await;
    bed.set_clock(492 * DAY + 60);
    wait_version(&bed, "orders", 3).await;

    // The default key rotates every year, without anybody's asking.
    bed.apply(&managed_secret("shop", "default", "{literals: {a: b}}"))
        .await;
    bed.wait_ready("shop", "default").await;
    assert!(
        status_of_key(&bed, "keystead-default")
            .await
            .next_rotation_time
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_secret_that_does_not_open_holds_up_no_other_and_stays_counted() {
    let bed = Bed::start().await;
    let _operator = bed.operator_named("one", &["--guard-namespace"]).await;
    bed.namespace("shop").await;
    bed.apply(&format!(
        "{}{}",
        key("shop", "orders"),
        secrets("orders", 6)
    ))
    .await;
    bed.wait_all_ready("shop", 6).await;
    bed.lift_guard().await;
    let truth = bed.truth("shop", "s3").await.unwrap().name_any();
    let spoil = r#"{"data": {"manifest": "AAAA"}}"#;
    let args = [
        "patch",
        "secret",
        &truth,
        "-n",
        SYSTEM,
        "--type=merge",
        "-p",
        spoil,
    ];
    bed.kubectl(&args).await.expect_ok();
    bed.wait_not_ready("shop", "s3", "TruthUnreadable").await;

    rotate(&bed, "orders", "now").await;
    wait_version(&bed, "orders", 2).await;
    eventually("all but one are encrypted anew", || async {
        let versions = status_of_key(&bed, "orders").await.versions;
        versions.first().and_then(|v| v.references) == Some(1)
    })
    .await;
    assert_eq!(bed.not_ready("shop").await, ["s3"]);
}
