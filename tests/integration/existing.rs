//! Secrets that were there before, hand-made copies, and objects that come back from a backup.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::support::{Bed, SOON, SYSTEM, eventually, eventually_within, managed_secret};

/// A Secret with everything that others may have put on it.
async fn foreign(bed: &Bed, name: &str, controlled: bool) -> Secret {
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"}});
    bed.apply(&config.to_string()).await;
    let uid = bed
        .kubectl(&[
            "get",
            "configmap",
            name,
            "-n",
            "shop",
            "-o",
            "jsonpath={.metadata.uid}",
        ])
        .await
        .expect_ok();
    let mut owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid});
    if controlled {
        owner["controller"] = json!(true);
    }
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "labels": {"team": "a", "app.kubernetes.io/managed-by": "keystead"},
            "annotations": {"example.com/note": "keep"},
            "ownerReferences": [owner],
            "finalizers": ["example.com/hold"],
        },
        "stringData": {"a": "1", "b": "2", "password": "in-use"},
    });
    let api: Api<Secret> = Api::namespaced(bed.client.clone(), "shop");
    let secret = serde_json::from_value(secret).unwrap();
    api.create(&PostParams::default(), &secret).await.unwrap()
}

fn spec(existing: &str) -> String {
    format!(
        "{{generate: [{{key: password, password: {{}}}}], literals: {{b: mine}}, \
         target: {{form: Plain, existing: {existing}}}}}"
    )
}

/// Case B40, and case B06 (1).
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_was_there_before_is_left_adopted_or_merged_into_as_asked() {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    bed.namespace("shop").await;
    tokio::join!(
        by_default_it_is_left_alone(&bed),
        a_controlled_one_is_never_taken(&bed),
    );
    it_is_adopted_with_everything_on_it(&bed).await;
    it_is_merged_into_and_given_back(&bed).await;
    // The same inputs give the same outputs, also after a restart.
    let states = [
        bed.state_of("shop", "adopt").await,
        bed.state_of("shop", "fail").await,
    ];
    operator.kill().await;
    let _operator = bed.operator().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = [
        bed.state_of("shop", "adopt").await,
        bed.state_of("shop", "fail").await,
    ];
    assert_eq!(states, after);
}

async fn by_default_it_is_left_alone(bed: &Bed) {
    let before = foreign(bed, "fail", false).await;
    bed.apply_secret("shop", "fail", &spec("Fail")).await;
    let message = bed.wait_not_ready("shop", "fail", "TargetExists").await;
    assert!(message.contains("Secret fail"), "{message}");
    assert_eq!(
        bed.native("shop", "fail").await.unwrap(),
        before,
        "not a byte of it changed"
    );

    let ready = |managed: keystead::api::ManagedSecret| {
        let conditions = managed.status.unwrap().conditions;
        conditions.into_iter().find(|c| c.type_ == "Ready").unwrap()
    };
    let failed = ready(bed.managed("shop", "fail").await);
    // Condition times have whole seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    bed.patch(
        "shop",
        "secret/fail",
        &json!({"metadata": {"finalizers": null}}),
    )
    .await;
    bed.delete("shop", "secret/fail").await;
    eventually_within(
        SOON,
        "the secret is Ready once nothing is in its way",
        || async { ready(bed.managed("shop", "fail").await).status == "True" },
    )
    .await;
    let recovered = ready(bed.managed("shop", "fail").await);
    assert!(recovered.last_transition_time.0 > failed.last_transition_time.0);
    assert_ne!(bed.value("shop", "fail", "password").await, b"in-use");
}

async fn a_controlled_one_is_never_taken(bed: &Bed) {
    for existing in ["Adopt", "Merge"] {
        let name = format!("controlled-{}", existing.to_lowercase());
        let before = foreign(bed, &name, true).await;
        bed.apply_secret("shop", &name, &spec(existing)).await;
        let message = bed
            .wait_not_ready("shop", &name, "TargetOwnedByOther")
            .await;
        assert!(message.contains("ConfigMap"), "{message}");
        assert_eq!(bed.native("shop", &name).await.unwrap(), before);
    }
}

async fn it_is_adopted_with_everything_on_it(bed: &Bed) {
    let before = foreign(bed, "adopt", false).await;
    bed.apply_secret("shop", "adopt", &spec("Adopt")).await;
    bed.wait_ready("shop", "adopt").await;
    let after = bed.native("shop", "adopt").await.unwrap();
    let values = after.data.clone().unwrap();
    let value = |key: &str| values[key].0.as_slice();
    assert_eq!(value("a"), b"1", "what is not ours stays");
    assert_eq!(value("b"), b"mine", "what the spec declares is so");
    assert_eq!(
        value("password"),
        b"in-use",
        "what somebody uses is not generated again"
    );
    foreign_metadata_is_kept(&before, &after);
    // What it held before is a version of its own.
    let stages: Vec<_> = bed
        .versions("shop", "adopt")
        .await
        .into_iter()
        .map(|v| v.1)
        .collect();
    assert_eq!(stages, [["Current"], ["Previous"]]);
    assert_eq!(bed.events("shop", "adopt", "DriftRepaired").await, 0);
}

async fn it_is_merged_into_and_given_back(bed: &Bed) {
    let before = foreign(bed, "merge", false).await;
    bed.apply_secret("shop", "merge", &spec("Merge")).await;
    bed.wait_ready("shop", "merge").await;
    let merged = bed.native("shop", "merge").await.unwrap();
    let value = |key: &str| merged.data.as_ref().unwrap()[key].0.clone();
    assert_eq!(
        [value("a"), value("b"), value("password")],
        [&b"1"[..], b"mine", b"in-use"]
    );
    foreign_metadata_is_kept(&before, &merged);
    assert_eq!(merged.metadata.owner_references.as_ref().unwrap().len(), 1);
    bed.delete("shop", "managedsecret/merge").await;
    eventually("our annotations are taken off", || async {
        let meta = bed.native("shop", "merge").await.unwrap().metadata;
        !meta
            .annotations
            .unwrap()
            .contains_key("keystead.dev/managed-by")
    })
    .await;
    let after = bed.native("shop", "merge").await.unwrap();
    assert_eq!(after.data.as_ref().unwrap()["a"].0, b"1");
    foreign_metadata_is_kept(&before, &after);
}

/// Everything on `before` is on `after`.
fn foreign_metadata_is_kept(before: &Secret, after: &Secret) {
    let (before, after) = (&before.metadata, &after.metadata);
    assert_eq!(after.uid, before.uid);
    assert_eq!(after.finalizers, before.finalizers);
    assert_eq!(after.labels.as_ref().unwrap()["team"], "a");
    assert_eq!(
        after.annotations.as_ref().unwrap()["example.com/note"],
        "keep"
    );
    let owners = after.owner_references.as_ref().unwrap();
    assert!(owners.contains(&before.owner_references.as_ref().unwrap()[0]));
}

/// Case B41: hand-made copies.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_made_by_hand_is_neither_adopted_nor_deleted() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    for namespace in ["shop", "store"] {
        bed.namespace(namespace).await;
    }
    let plain = "{generate: [{key: password, password: {}}], target: {form: Plain}}";
    bed.apply_secret("shop", "app", plain).await;
    bed.wait_ready("shop", "app").await;
    let original = exported(&bed, "secret", "shop", "app").await;
    let mut places = Vec::new();
    for (namespace, name) in [("store", "app"), ("shop", "copy")] {
        let mut copy = original.clone();
        copy["metadata"]["namespace"] = json!(namespace);
        copy["metadata"]["name"] = json!(name);
        copy["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("ownerReferences");
        bed.kubectl_with(&["create", "-f", "-"], &copy.to_string())
            .await
            .expect_ok();
        places.push((namespace, name, bed.state_of(namespace, name).await));
    }
    // Whoever names the copy as a target does not get it.
    bed.apply_secret("store", "app", plain).await;
    bed.wait_not_ready("store", "app", "TargetExists").await;
    bed.apply_secret("shop", "copy", plain).await;
    bed.wait_not_ready("shop", "copy", "TargetExists").await;
    // Nor does the owner of the original, who is named on the copy, when he renames his target.
    let renamed = "{generate: [{key: password, password: {}}], target: {form: Plain, name: copy}}";
    bed.apply_secret("shop", "app", renamed).await;
    bed.wait_not_ready("shop", "app", "TargetExists").await;
    bed.apply_secret("shop", "app", plain).await;
    bed.wait_ready("shop", "app").await;
    bed.delete("shop", "managedsecret/app").await;
    eventually("the original is gone", || async {
        bed.native("shop", "app").await.is_none()
    })
    .await;
    bed.delete("store", "managedsecret/app").await;
    bed.delete("shop", "managedsecret/copy").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    for (namespace, name, state) in &places {
        assert_eq!(
            bed.state_of(namespace, name).await,
            *state,
            "{namespace}/{name}"
        );
    }
}

/// Case B41: whatever the order in which objects come back with new UIDs, values and versions are what they were.
#[tokio::test(flavor = "multi_thread")]
async fn restored_objects_with_new_uids_have_their_values_and_versions() {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    bed.namespace("shop").await;
    let spec = |form: &str| {
        format!("{{generate: [{{key: password, password: {{}}}}], target: {{form: {form}}}}}")
    };
    let mut saved = Vec::new();
    for name in ORDERS {
        bed.apply(&managed_secret("shop", name, &spec("Plain")))
            .await;
    }
    for name in ORDERS {
        bed.wait_ready("shop", name).await;
        // A second version, so that more than one has to come back.
        bed.patch(
            "shop",
            &format!("managedsecret/{name}"),
            &json!({"spec": {"literals": {"a": "b"}}}),
        )
        .await;
    }
    for name in ORDERS {
        bed.wait_ready("shop", name).await;
        saved.push(Saved::of(&bed, "shop", name).await);
    }
    bed.kubectl(&["delete", "managedsecrets", "--all", "-n", "shop"])
        .await
        .expect_ok();
    for name in ORDERS {
        eventually("the target is gone", || async {
            bed.native("shop", name).await.is_none()
        })
        .await;
        eventually("the truth is parked", || async {
            let truth = keystead::truth::truth_name("shop", name);
            let truth = bed
                .native(SYSTEM, &truth)
                .await
                .expect("the truth is never deleted");
            truth
                .metadata
                .annotations
                .unwrap()
                .contains_key("keystead.dev/parked-since")
        })
        .await;
    }
    for saved in &saved[..3] {
        restore(&bed, saved).await;
    }
    operator.kill().await;
    for saved in &saved[3..] {
        restore(&bed, saved).await;
    }
    let _operator = bed.operator().await;
    for saved in &saved {
        bed.wait_ready("shop", saved.name).await;
        eventually("the target is back for good", || async {
            let Some(target) = bed.native("shop", saved.name).await else {
                return false;
            };
            let uid = bed.managed("shop", saved.name).await.metadata.uid.unwrap();
            let owners = target.metadata.owner_references.unwrap_or_default();
            owners.iter().any(|owner| owner.uid == uid)
        })
        .await;
        assert_eq!(
            bed.data("shop", saved.name).await.unwrap(),
            saved.value,
            "{}",
            saved.name
        );
        assert_eq!(
            bed.versions("shop", saved.name).await,
            saved.versions,
            "{}",
            saved.name
        );
    }
    // The garbage collector has had its time, and everything is still there.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for saved in &saved {
        assert_eq!(
            bed.data("shop", saved.name).await.unwrap(),
            saved.value,
            "{}",
            saved.name
        );
    }
}

/// The orders of a restore; each secret is restored in the one that it is named after, the first three beside a running
/// operator, the others before one starts.
const ORDERS: [&str; 6] = [
    "secret-first",
    "resource-first",
    "stale-owner",
    "down-secret-first",
    "down-with-status",
    "down-stale-owner",
];

/// What a backup holds of one secret.
pub(crate) struct Saved {
    pub(crate) name: &'static str,
    pub(crate) resource: Value,
    pub(crate) target: Value,
    pub(crate) value: std::collections::BTreeMap<String, Vec<u8>>,
    pub(crate) versions: Vec<(String, Vec<String>)>,
}

impl Saved {
    pub(crate) async fn of(bed: &Bed, namespace: &str, name: &'static str) -> Self {
        Self {
            name,
            resource: exported(bed, "managedsecret", namespace, name).await,
            target: exported(bed, "secret", namespace, name).await,
            value: bed.data(namespace, name).await.unwrap(),
            versions: bed.versions(namespace, name).await,
        }
    }
}

/// Makes the resource and the target again, without the status unless the name asks for it.
pub(crate) async fn restore(bed: &Bed, saved: &Saved) {
    let mut target = saved.target.clone();
    if !saved.name.ends_with("stale-owner") {
        target["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("ownerReferences");
    }
    let create = async |object: &Value| {
        let made = bed
            .kubectl_with(&["create", "-f", "-"], &object.to_string())
            .await;
        // Restore tools leave alone what is there already.
        assert!(
            made.ok || made.err.contains("AlreadyExists"),
            "{}",
            made.err
        );
    };
    if saved.name == "resource-first" {
        create(&saved.resource).await;
        create(&target).await;
    } else {
        create(&target).await;
        create(&saved.resource).await;
    }
    if saved.name.ends_with("with-status") {
        let status = json!({"status": saved.resource["status"]}).to_string();
        let resource = format!("managedsecret/{}", saved.name);
        let args = [
            "patch",
            "-n",
            "shop",
            &resource,
            "--subresource",
            "status",
            "--type",
            "merge",
            "-p",
            &status,
        ];
        bed.kubectl(&args).await.expect_ok();
    }
}

/// An object as a backup holds it: without what the API server makes anew.
async fn exported(bed: &Bed, kind: &str, namespace: &str, name: &str) -> Value {
    let shown = bed
        .kubectl(&["get", kind, name, "-n", namespace, "-o", "json"])
        .await
        .expect_ok();
    let mut object: Value = serde_json::from_str(&shown).unwrap();
    let meta = object["metadata"].as_object_mut().unwrap();
    for field in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "managedFields",
        "generation",
    ] {
        meta.remove(field);
    }
    object
}
