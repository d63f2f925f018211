//! The root key is rotated and moved, online and through kills: nothing that it protects changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use keystead::api::KeyMaterial;
use keystead::crypto::root_of;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::support::{
    Bed, OPERATOR_USER, Operator, Printed, SYSTEM, eventually, eventually_within, key, plain,
};

const PATIENCE: Duration = Duration::from_secs(120);

/// Runs `keystead root ...` with the operator's rights, as `kubectl exec` into its pod does.
pub(crate) async fn root(bed: &Bed, args: &[&str]) -> Printed {
    let kubeconfig = bed
        .cluster
        .kubeconfig_for_service_account(SYSTEM, "keystead-controller")
        .await
        .unwrap();
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_keystead"))
        .arg("root")
        .args(["--operator-namespace", SYSTEM])
        .args(args)
        .env("KUBECONFIG", kubeconfig)
        .output()
        .await
        .unwrap();
    Printed {
        ok: output.status.success(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

pub(crate) async fn current(bed: &Bed) -> String {
    bed.record().await["rootFingerprint"].clone()
}

/// The phase of the rotation under way.
async fn phase(bed: &Bed) -> Option<String> {
    let record = bed.record().await;
    let rotation: Value = serde_json::from_str(record.get("rootRotation")?).unwrap();
    Some(rotation["phase"].as_str().unwrap().to_owned())
}

async fn problem(bed: &Bed) -> String {
    let record = bed.record().await;
    let Some(rotation) = record.get("rootRotation") else {
        return String::new();
    };
    let rotation: Value = serde_json::from_str(rotation).unwrap();
    rotation["problem"].as_str().unwrap_or_default().to_owned()
}

/// Waits until no rotation is under way; returns the current root key's fingerprint.
pub(crate) async fn rotated(bed: &Bed, from: &str) -> String {
    eventually_within(PATIENCE, "the rotation is over", || async {
        phase(bed).await.is_none()
    })
    .await;
    let now = current(bed).await;
    assert_ne!(now, from);
    now
}

/// What the generations of all keys are wrapped under, by what they say and by their own bytes.
fn wrapped_under(materials: &[KeyMaterial]) -> BTreeSet<String> {
    let generations = materials.iter().flat_map(|m| &m.spec.generations);
    generations
        .map(|g| {
            let bytes = BASE64.decode(&g.wrapped).unwrap();
            assert_eq!(root_of(&bytes).unwrap().to_string(), g.root_fingerprint);
            g.root_fingerprint.clone()
        })
        .collect()
}

/// What must not change: each key's generations by their ids.
fn generations(materials: &[KeyMaterial]) -> BTreeMap<String, Vec<String>> {
    let ids = |m: &KeyMaterial| {
        let ids = m.spec.generations.iter().map(|g| g.material_id.clone());
        (m.name_any(), ids.collect())
    };
    materials.iter().map(ids).collect()
}

/// Keys with a secret each.
fn world(count: usize) -> String {
    (0..count).fold(String::new(), |mut yaml, i| {
        let name = format!("k{i}");
        yaml.push_str(&key("shop", &name));
        yaml.push_str(&plain("shop", &format!("s{i}"), Some(&name), "x"));
        yaml
    })
}

/// Everything opens: after a restart each secret is read from its truth before it is said to be Ready; and new ones are made.
async fn everything_opens(bed: &Bed, count: usize, values: &BTreeMap<String, Vec<u8>>, new: &str) {
    let drift = r#"{"data":{"password":"ZHJpZnQ="}}"#;
    let args = [
        "patch",
        "secret",
        "s0",
        "-n",
        "shop",
        "--type=merge",
        "-p",
        drift,
    ];
    bed.kubectl(&args).await.expect_ok();
    bed.apply(&plain("shop", new, Some("k0"), "x")).await;
    bed.wait_all_ready("shop", count).await;
    eventually("the values are as they were", || async {
        let now = bed.passwords("shop").await;
        values
            .iter()
            .all(|(name, value)| now.get(name) == Some(value))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_key_of_fifty_keys_is_rotated_through_kills_and_no_value_changes() {
    const COUNT: usize = 50;
    // With the material for sealing.
    const ALL: usize = COUNT + 1;
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let mut operator = bed.operator_named("one", &["--guard-namespace"]).await;
    operator.wait_ready().await;
    bed.apply(&world(COUNT)).await;
    bed.wait_all_ready("shop", COUNT).await;
    let rotate = [
        "annotate",
        "managedkey",
        "k1",
        "-n",
        "shop",
        "keystead.dev/rotate=a",
    ];
    bed.kubectl(&rotate).await.expect_ok();
    eventually("a key has two generations", || async {
        bed.material("shop", "k1").await.spec.generations.len() == 2
    })
    .await;
    let (values, before) = (bed.passwords("shop").await, bed.all_materials().await);
    let old = current(&bed).await;
    assert_eq!(wrapped_under(&before), BTreeSet::from([old.clone()]));

    root(&bed, &["rotate"]).await.expect_ok();
    let refused = root(&bed, &["rotate"]).await.expect_refused();
    assert!(refused.contains("under way"), "{refused}");
    let mark = bed.cluster.audit_mark();
    // Killed before the new root key is used, and several times while keys are wrapped under it.
    let (killed_at, mut midway) = ([0, 1, COUNT / 3, 2 * COUNT / 3], 0);
    for wrapped in killed_at {
        eventually("it is that far", || async {
            anew(&bed.all_materials().await, &old) >= wrapped
        })
        .await;
        operator.kill().await;
        let done = anew(&bed.all_materials().await, &old);
        println!("killed when {done} generations were wrapped anew");
        midway += usize::from(0 < done && done < COUNT);
        operator = bed.operator_named("one", &[]).await;
    }
    assert!(midway > 0, "it was never killed while it wrapped");
    let new = rotated(&bed, &old).await;
    let after = bed.all_materials().await;
    assert_eq!(wrapped_under(&after), BTreeSet::from([new.clone()]));
    assert_eq!(generations(&after), generations(&before));
    written_once(&bed, mark, ALL, killed_at.len());
    assert_eq!(bed.record().await["retiredRoots"], old);
    let status = root(&bed, &["status"]).await.expect_ok();
    assert!(
        status.contains(&format!("{ALL} of {ALL}")) && status.contains(&old),
        "{status}"
    );
    operator.kill().await;
    let operator = bed.operator().await;
    everything_opens(&bed, COUNT + 1, &values, "new").await;

    // What an old backup holds of a key is opened by the root key that is kept, and brought up to date.
    bed.lift_guard().await;
    let materials: Api<KeyMaterial> = Api::namespaced(bed.client.clone(), SYSTEM);
    let mut backup = before.into_iter().find(|m| m.spec.name == "k0").unwrap();
    backup.metadata.resource_version = None;
    backup.metadata.uid = None;
    let name = backup.name_any();
    materials
        .delete(&name, &DeleteParams::default())
        .await
        .unwrap();
    materials
        .create(&PostParams::default(), &backup)
        .await
        .unwrap();
    eventually("it is wrapped under the current root key", || async {
        wrapped_under(&bed.all_materials().await) == BTreeSet::from([new.clone()])
    })
    .await;
    everything_opens(&bed, COUNT + 2, &values, "newer").await;
    assert!(!operator.log().contains("panicked"));
}

/// How many generations are wrapped under another root key than the old one.
fn anew(materials: &[KeyMaterial], old: &str) -> usize {
    let generations = materials.iter().flat_map(|m| &m.spec.generations);
    generations.filter(|g| g.root_fingerprint != old).count()
}

/// Each key was wrapped anew by one write. A write of a process that was killed meanwhile may be there without its answer.
fn written_once(bed: &Bed, mark: keystead_cluster::AuditMark, count: usize, kills: usize) {
    let mut writes: BTreeMap<String, usize> = BTreeMap::new();
    for event in bed.cluster.writes_since(mark).unwrap() {
        if event.resource == "keymaterials" && event.user == OPERATOR_USER {
            *writes.entry(event.name).or_default() += 1;
        }
    }
    assert!(
        (count - kills..=count).contains(&writes.len()),
        "{writes:?}"
    );
    assert!(writes.values().all(|times| *times == 1), "{writes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_from_before_the_rotation_opens_while_the_old_root_key_is_kept() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (file(folder.path(), "one", 1), file(folder.path(), "two", 2));
    let first = ["--root-provider", "file", "--root-file", &one];
    let operator = bed.operator_named("one", &first).await;
    operator.wait_ready().await;
    bed.apply(&world(3)).await;
    bed.wait_all_ready("shop", 3).await;
    let (values, old) = (bed.passwords("shop").await, current(&bed).await);
    let backup = bed.cluster.dir().join("backup");
    bed.cluster.etcd().snapshot(&backup).await.unwrap();

    // The current one in the file is no other one.
    root(&bed, &["rotate"]).await.expect_ok();
    eventually("the rotation waits", || async {
        problem(&bed).await.contains("--root-previous-file")
    })
    .await;
    root(&bed, &["cancel"]).await.expect_ok();
    operator.kill().await;
    let both = [
        "--root-provider",
        "file",
        "--root-file",
        &two,
        "--root-previous-file",
        &one,
    ];
    let operator = bed.operator_named("one", &both).await;
    operator.wait_ready().await;
    root(&bed, &["rotate"]).await.expect_ok();
    let new = rotated(&bed, &old).await;
    assert_eq!(
        wrapped_under(&bed.all_materials().await),
        BTreeSet::from([new.clone()])
    );
    everything_opens(&bed, 4, &values, "new").await;
    operator.kill().await;

    bed.cluster.etcd().restore(&backup).await.unwrap();
    let operator = bed.operator_named("one", &both).await;
    operator.wait_ready().await;
    assert_eq!(current(&bed).await, old);
    everything_opens(&bed, 4, &values, "new").await;
    operator.kill().await;
    // Without the old one the operator names it.
    let alone = ["--root-provider", "file", "--root-file", &two];
    let operator = bed.operator_named("one", &alone).await;
    eventually("it names the missing root key", || async {
        let said = operator.http("/readyz").await;
        said.is_some_and(|(code, body)| code == 503 && body.contains(&old) && body.contains(&new))
    })
    .await;
}

/// A root key in a file; its path.
fn file(folder: &Path, name: &str, byte: u8) -> String {
    let path = folder.join(name);
    std::fs::write(&path, bytes(byte)).unwrap();
    path.to_string_lossy().into_owned()
}

fn bytes(byte: u8) -> Vec<u8> {
    (0..32_u8).map(|i| i.wrapping_mul(37) ^ byte).collect()
}

/// The message of the key's condition.
async fn said_of_key(bed: &Bed, name: &str) -> String {
    let keys = bed.managed_keys("shop").await;
    let key = keys.into_iter().find(|k| k.name_any() == name).unwrap();
    let conditions = key.status.unwrap_or_default().conditions;
    let ready = conditions.into_iter().find(|c| c.type_ == "Ready");
    ready.map(|c| c.message).unwrap_or_default()
}

async fn wait_embedded(bed: &Bed, embedded: bool) {
    eventually(&format!("the key says embedded: {embedded}"), || async {
        said_of_key(bed, "k0").await.contains("embedded") == embedded
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_key_moves_to_a_file_and_back_and_the_old_one_is_forgotten_when_asked() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let folder = tempfile::tempdir().unwrap();
    let outside = file(folder.path(), "key", 7);
    let operator = bed.operator().await;
    bed.apply(&world(3)).await;
    bed.wait_all_ready("shop", 3).await;
    let values = bed.passwords("shop").await;
    let embedded = current(&bed).await;
    wait_embedded(&bed, true).await;
    let secrets: Api<Secret> = Api::namespaced(bed.client.clone(), SYSTEM);
    let secret = secrets.get("keystead-root").await.unwrap();
    let embedded_bytes = secret.data.unwrap()["key"].0.clone();

    // No operator knows a file yet; a leader that does waits for the replica that does not.
    root(&bed, &["rotate", "--to-provider", "file", "--forget-old"])
        .await
        .expect_ok();
    eventually("the rotation waits", || async {
        problem(&bed).await.contains("--root-file")
    })
    .await;
    operator.kill().await;
    let with_file = ["--root-file", outside.as_str()];
    let operator = bed.operator_named("one", &with_file).await;
    operator.wait_ready().await;
    let other = bed.operator_named("other", &[]).await;
    eventually("the other replica objects", || async {
        problem(&bed).await.contains("other")
    })
    .await;
    assert_eq!(current(&bed).await, embedded);
    other.kill().await;
    eventually_within(PATIENCE, "only the old one is left to forget", || async {
        phase(&bed).await.as_deref() == Some("Forgetting")
    })
    .await;
    let in_file = current(&bed).await;
    assert_eq!(
        wrapped_under(&bed.all_materials().await),
        BTreeSet::from([in_file.clone()])
    );
    wait_embedded(&bed, false).await;
    everything_opens(&bed, 4, &values, "new").await;
    assert!(secrets.get_opt("keystead-root").await.unwrap().is_some());
    bed.set_clock(25 * 3600);
    rotated(&bed, &embedded).await;
    assert!(secrets.get_opt("keystead-root").await.unwrap().is_none());
    assert!(!bed.record().await.contains_key("retiredRoots"));
    let etcd = bed.cluster.etcd();
    etcd.compact().await.unwrap();
    for needle in [&embedded_bytes, &bytes(7)] {
        let text = BASE64.encode(needle);
        assert_eq!(etcd.keys_containing(needle).await.unwrap(), [""; 0]);
        assert_eq!(
            etcd.keys_containing(text.as_bytes()).await.unwrap(),
            [""; 0]
        );
    }

    // And back, into a new Secret; the file is no longer needed.
    root(&bed, &["rotate", "--to-provider", "secret"])
        .await
        .expect_ok();
    let back = rotated(&bed, &in_file).await;
    assert_ne!(back, embedded);
    wait_embedded(&bed, true).await;
    operator.kill().await;
    bed.set_clock(0);
    let operator: Operator = bed.operator().await;
    everything_opens(&bed, 5, &values, "newer").await;
    assert_eq!(
        wrapped_under(&bed.all_materials().await),
        BTreeSet::from([back])
    );
    drop(operator);
}

/// Killed between the record, the removal and the end of the rotation: the next leader ends it, and nobody takes it back.
#[tokio::test(flavor = "multi_thread")]
async fn a_removal_of_the_old_root_key_that_was_begun_is_ended_and_not_taken_back() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let mut operator = bed.operator().await;
    bed.apply(&world(1)).await;
    bed.wait_all_ready("shop", 1).await;
    let values = bed.passwords("shop").await;
    let secrets: Api<Secret> = Api::namespaced(bed.client.clone(), SYSTEM);
    let mut place = "keystead-root".to_owned();
    for (round, removed) in [false, true].into_iter().enumerate() {
        let old = current(&bed).await;
        root(&bed, &["rotate", "--forget-old"]).await.expect_ok();
        eventually_within(PATIENCE, "only the old one is left to forget", || async {
            phase(&bed).await.as_deref() == Some("Forgetting")
        })
        .await;
        operator.kill().await;
        set_phase(&bed, "Removing").await;
        let message = root(&bed, &["cancel"]).await.expect_refused();
        assert!(message.contains("there is no way back"), "{message}");
        if removed {
            let params = DeleteParams::default();
            secrets.delete(&place, &params).await.unwrap();
        }
        operator = bed.operator().await;
        let new = rotated(&bed, &old).await;
        assert!(secrets.get_opt(&place).await.unwrap().is_none());
        assert!(!bed.record().await.contains_key("retiredRoots"));
        everything_opens(&bed, 2 + round, &values, &format!("new-{round}")).await;
        place = format!("keystead-root-{new}");
    }
}

/// As a leader writes it that is killed right afterwards.
async fn set_phase(bed: &Bed, phase: &str) {
    let maps: Api<ConfigMap> = Api::namespaced(bed.client.clone(), SYSTEM);
    let record = bed.record().await;
    let mut rotation: Value = serde_json::from_str(&record["rootRotation"]).unwrap();
    rotation["phase"] = phase.into();
    let patch = Patch::Merge(json!({"data": {"rootRotation": rotation.to_string()}}));
    let params = PatchParams::default();
    maps.patch("keystead-installation", &params, &patch)
        .await
        .unwrap();
}
