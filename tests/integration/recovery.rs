//! What was deleted comes back as it was; what was restored from a backup is what the backup says.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{Api, ResourceExt};

use crate::support::{Bed, SYSTEM, eventually, eventually_within, key, plain, plains};

const EVERYTHING: &str = "managedsecrets,managedkeys";

/// Two secrets under a key and two under the default key, one of them sealed.
fn shop() -> String {
    let sealed = "---\napiVersion: keystead.dev/v1alpha1\nkind: ManagedSecret\nmetadata: {name: sealed, namespace: shop}\n\
                  spec:\n  keyRef: {name: orders}\n  generate: [{key: password, password: {}}]\n";
    [
        key("shop", "orders"),
        plain("shop", "a", Some("orders"), "x"),
        plain("shop", "b", None, "x"),
        sealed.to_owned(),
    ]
    .concat()
}

/// The version ids of the secret of that name, which name its values without showing them.
async fn versions(bed: &Bed, name: &str) -> Vec<String> {
    let all = bed.managed_secrets("shop").await;
    let secret = all.into_iter().find(|s| s.name_any() == name).unwrap();
    secret
        .status
        .unwrap()
        .versions
        .into_iter()
        .map(|v| v.id)
        .collect()
}

/// Every way to delete everything, with and without an operator around: applied again, every value is as before.
#[tokio::test(flavor = "multi_thread")]
async fn deleting_and_applying_everything_again_changes_no_value() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let mut operator = Some(bed.operator().await);
    bed.apply(&shop()).await;
    bed.wait_all_ready("shop", 3).await;
    let (values, sealed) = (bed.passwords("shop").await, versions(&bed, "sealed").await);
    assert_eq!(values.len(), 2);
    for (cascade, up_at_delete, up_at_apply) in [
        ("background", true, true),
        ("foreground", true, true),
        ("foreground", false, true),
        ("background", true, false),
        ("foreground", false, false),
    ] {
        println!("{cascade}, operator up at delete {up_at_delete}, at apply {up_at_apply}");
        if !up_at_delete && let Some(running) = operator.take() {
            running.kill().await;
        }
        let cascade = format!("--cascade={cascade}");
        let args = [
            "delete",
            EVERYTHING,
            "--all",
            "-n",
            "shop",
            "--timeout=60s",
            &cascade,
        ];
        bed.kubectl(&args).await.expect_ok();
        eventually("the targets are gone", || async {
            bed.passwords("shop").await.is_empty()
        })
        .await;
        if operator.is_some() {
            bed.wait_parked("shop", "a", true).await;
            eventually("the key waits", || async {
                bed.material("shop", "orders")
                    .await
                    .spec
                    .parked_since
                    .is_some()
            })
            .await;
        }
        if up_at_apply && operator.is_none() {
            operator = Some(bed.operator().await);
            bed.wait_parked("shop", "a", true).await;
        }
        if !up_at_apply && let Some(running) = operator.take() {
            running.kill().await;
        }
        bed.apply(&shop()).await;
        if operator.is_none() {
            operator = Some(bed.operator().await);
        }
        bed.wait_all_ready("shop", 3).await;
        assert_eq!(bed.passwords("shop").await, values);
        assert_eq!(versions(&bed, "sealed").await, sealed);
        bed.wait_parked("shop", "a", false).await;
        bed.assert_truth_is_exact(&["shop"]).await;
    }
    race(&bed, &values["a"]).await;
    bed.assert_truth_is_exact(&["shop"]).await;
}

/// 20 times deleted and applied in the same breath.
async fn race(bed: &Bed, value: &[u8]) {
    for turn in 0..20 {
        let wait = ["--wait=true", "--wait=false"][turn % 2];
        bed.kubectl(&["delete", EVERYTHING, "--all", "-n", "shop", wait])
            .await
            .expect_ok();
        bed.apply(&shop()).await;
        if turn % 5 == 4 {
            bed.wait_all_ready("shop", 3).await;
            assert_eq!(bed.value("shop", "a", "password").await, value);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_a_deleted_key_say_so_keep_their_targets_and_recover_with_the_key() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let operator = bed.operator().await;
    bed.apply(&shop()).await;
    bed.wait_all_ready("shop", 3).await;
    let values = bed.passwords("shop").await;
    bed.kubectl(&["delete", "managedkey", "orders", "-n", "shop"])
        .await
        .expect_ok();
    for name in ["a", "sealed"] {
        let message = bed.wait_not_ready("shop", name, "KeyPendingDeletion").await;
        assert!(message.contains("shop/orders"), "{message}");
    }
    // Nobody's use of another key is touched.
    bed.wait_ready("shop", "b").await;
    assert_eq!(bed.passwords("shop").await, values);
    assert!(bed.data("shop", "sealed").await.is_some());
    bed.apply(&key("shop", "orders")).await;
    bed.wait_all_ready("shop", 3).await;
    assert_eq!(bed.passwords("shop").await, values);
    assert_eq!(operator.log().matches("panicked").count(), 0);
}

async fn namespace_uid(bed: &Bed, name: &str) -> String {
    let namespaces: Api<Namespace> = Api::all(bed.client.clone());
    namespaces.get(name).await.unwrap().uid().unwrap()
}

async fn delete_namespace(bed: &Bed, name: &str) {
    bed.kubectl(&["delete", "namespace", name, "--timeout=60s"])
        .await
        .expect_ok();
}

/// Deleted with the operator up, then down; made again, it may be another team's: nothing is handed over unasked.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_made_again_gets_its_values_back_only_when_an_administrator_says_so() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let operator = bed.operator().await;
    let yaml = [
        key("shop", "orders"),
        plain("shop", "a", Some("orders"), "x"),
    ]
    .concat();
    bed.apply(&yaml).await;
    bed.wait_all_ready("shop", 1).await;
    let values = bed.passwords("shop").await;

    // By annotations on the truth, which the guard lets through.
    delete_namespace(&bed, "shop").await;
    bed.wait_parked("shop", "a", true).await;
    bed.namespace("shop").await;
    bed.apply(&yaml).await;
    let uid = namespace_uid(&bed, "shop").await;
    let approval = format!("keystead.dev/approve-adoption={uid}");
    let material = bed.material("shop", "orders").await.name_any();
    bed.wait_not_ready("shop", "a", "KeyPendingDeletion").await;
    let said = wait_key_not_ready(&bed, "orders", "AdoptionNeedsApproval").await;
    assert!(
        said.contains(&uid) && said.contains(&material) && said.contains("keystead.dev/adopt"),
        "{said}"
    );
    bed.kubectl(&[
        "annotate",
        "keymaterial",
        &material,
        "-n",
        SYSTEM,
        &approval,
    ])
    .await
    .expect_ok();
    let said = bed
        .wait_not_ready("shop", "a", "AdoptionNeedsApproval")
        .await;
    let truth = bed.truth("shop", "a").await.unwrap().name_any();
    assert!(said.contains(&uid) && said.contains(&truth), "{said}");
    assert!(bed.passwords("shop").await.is_empty());
    bed.kubectl(&["annotate", "secret", &truth, "-n", SYSTEM, &approval])
        .await
        .expect_ok();
    bed.wait_all_ready("shop", 1).await;
    assert_eq!(bed.passwords("shop").await, values);
    wait_adoption_events(&bed).await;

    // For a whole restore, and with the operator down during the deletion.
    operator.kill().await;
    delete_namespace(&bed, "shop").await;
    bed.namespace("shop").await;
    bed.apply(&yaml).await;
    let operator = bed.operator().await;
    wait_key_not_ready(&bed, "orders", "AdoptionNeedsApproval").await;
    let before = "keystead.dev/approve-adoption-before=2999-01-01T00:00:00Z";
    bed.kubectl(&[
        "annotate",
        "configmap",
        "keystead-installation",
        "-n",
        SYSTEM,
        before,
    ])
    .await
    .expect_ok();
    bed.wait_all_ready("shop", 1).await;
    assert_eq!(bed.passwords("shop").await, values);
    let withdrawn = "keystead.dev/approve-adoption-before-";
    bed.kubectl(&[
        "annotate",
        "configmap",
        "keystead-installation",
        "-n",
        SYSTEM,
        withdrawn,
    ])
    .await
    .expect_ok();

    start_afresh(&bed, &yaml, &values["a"]).await;
    drop(operator);
}

/// Key and secret each say once that they took over what waited.
async fn wait_adoption_events(bed: &Bed) {
    let kinds = "jsonpath={.items[?(@.reason=='Adopted')].involvedObject.kind}";
    eventually("both say that they took over what waited", || async {
        let args = ["get", "events", "-n", "shop", "-o", kinds];
        let out = bed.kubectl(&args).await.expect_ok();
        let mut kinds: Vec<_> = out.split_whitespace().collect();
        kinds.sort_unstable();
        kinds == ["ManagedKey", "ManagedSecret"]
    })
    .await;
}

/// Whoever wants nothing of the old gets new values, and the old truth is put aside.
async fn start_afresh(bed: &Bed, yaml: &str, old_value: &[u8]) {
    let old = bed.truth("shop", "a").await.unwrap();
    delete_namespace(bed, "shop").await;
    bed.namespace("shop").await;
    let never = yaml.replace(
        "namespace: shop}",
        "namespace: shop, annotations: {keystead.dev/adopt: Never}}",
    );
    bed.apply(&never).await;
    bed.wait_all_ready("shop", 1).await;
    let fresh = bed.passwords("shop").await;
    assert_ne!(fresh["a"], old_value);
    let archive = format!(
        "{}-{}",
        old.name_any(),
        old.annotations()["keystead.dev/object-uid"]
    );
    let archived = bed
        .data(SYSTEM, &archive)
        .await
        .expect("the old truth is kept");
    let kept = old.data.unwrap();
    assert!(
        kept.iter()
            .all(|(entry, bytes)| archived.get(entry) == Some(&bytes.0))
    );
}

async fn wait_key_not_ready(bed: &Bed, name: &str, reason: &str) -> String {
    let message = std::sync::Mutex::new(String::new());
    eventually(&format!("ManagedKey {name} says {reason}"), || async {
        let keys = bed.managed_keys("shop").await;
        let found = keys.into_iter().find(|key| key.name_any() == name).unwrap();
        let conditions = found
            .status
            .map(|status| status.conditions)
            .unwrap_or_default();
        let said = conditions
            .into_iter()
            .find(|c| c.type_ == "Ready" && c.reason == reason);
        said.is_some_and(|said| {
            *message.lock().unwrap() = said.message;
            true
        })
    })
    .await;
    message.into_inner().unwrap()
}

/// A backup of etcd from the middle is put back under a living operator: what it did not hold is gone, what it held
/// has the values of then, and nothing that the operator remembers of later is used.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_put_back_under_a_living_operator_is_noticed_and_believed() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let operator = bed.operator().await;
    let pid = operator.pid();
    bed.apply(&[plains("shop", 10, None), key("shop", "early")].concat())
        .await;
    bed.wait_all_ready("shop", 10).await;
    let then = bed.passwords("shop").await;
    // One that is applied, and not dealt with yet: in the backup it has neither truth nor status.
    operator.pause().await;
    bed.apply(&plain("shop", "halfway", Some("early"), "x"))
        .await;
    let backup = bed.cluster.dir().join("backup");
    bed.cluster.etcd().snapshot(&backup).await.unwrap();
    operator.resume().await;

    let later = [
        plains("shop", 20, None),
        key("shop", "late"),
        plain("shop", "under-late", Some("late"), "x"),
    ]
    .concat();
    bed.apply(&later).await;
    bed.wait_all_ready("shop", 22).await;
    let lost = bed.passwords("shop").await;
    let edit =
        r#"{"spec":{"generate":[{"key":"password","password":{}},{"key":"more","hex":{}}]}}"#;
    bed.kubectl(&[
        "patch",
        "managedsecret",
        "s0",
        "-n",
        "shop",
        "--type=merge",
        "-p",
        edit,
    ])
    .await
    .expect_ok();
    eventually("s0 has more", || async {
        bed.data("shop", "s0")
            .await
            .is_some_and(|data| data.contains_key("more"))
    })
    .await;

    bed.cluster.etcd().restore(&backup).await.unwrap();
    bed.wait_all_ready("shop", 11).await;
    let now = bed.passwords("shop").await;
    for (name, value) in &then {
        assert_eq!(now.get(name), Some(value), "{name}");
    }
    assert!(
        operator.log().contains("resource versions went back"),
        "{}",
        operator.log()
    );
    assert_eq!(operator.pid(), pid);
    bed.assert_truth_is_exact(&["shop"]).await;
    // What was applied after the backup is new, under keys that are there.
    bed.apply(&later).await;
    bed.wait_all_ready("shop", 22).await;
    let again = bed.passwords("shop").await;
    for name in ["s15", "under-late"] {
        assert_ne!(again[name], lost[name], "{name}");
    }
    bed.assert_truth_is_exact(&["shop"]).await;
    drift_is_repaired(&bed, "s3", &then["s3"]).await;
    operator.stop().await;

    // And with a restart, as a disaster plan says.
    bed.cluster.etcd().restore(&backup).await.unwrap();
    let _operator = bed.operator().await;
    bed.wait_all_ready("shop", 11).await;
    let now = bed.passwords("shop").await;
    assert!(
        then.iter()
            .all(|(name, value)| now.get(name) == Some(value))
    );
    bed.assert_truth_is_exact(&["shop"]).await;
}

async fn drift_is_repaired(bed: &Bed, name: &str, value: &[u8]) {
    let drift = r#"{"data":{"password":"ZHJpZnQ="}}"#;
    bed.kubectl(&[
        "patch",
        "secret",
        name,
        "-n",
        "shop",
        "--type=merge",
        "-p",
        drift,
    ])
    .await
    .expect_ok();
    eventually_within(Duration::from_secs(10), "drift is repaired", || async {
        bed.value("shop", name, "password").await == value
    })
    .await;
    let secrets: Api<Secret> = Api::namespaced(bed.client.clone(), "shop");
    secrets
        .delete(name, &kube::api::DeleteParams::default())
        .await
        .unwrap();
    eventually_within(
        Duration::from_secs(10),
        "a deleted target is back",
        || async {
            bed.data("shop", name)
                .await
                .is_some_and(|data| data["password"] == value)
        },
    )
    .await;
}
