//! The Secret that a value is delivered in: forms, names, types, and what becomes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;

use crate::support::{Bed, SOON, SYSTEM, eventually, eventually_within};

const PLAIN: &str = "{generate: [{key: password, password: {}}], target: {form: Plain}}";

#[tokio::test(flavor = "multi_thread")]
async fn targets_follow_their_spec_in_form_name_and_type() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    bed.namespace("shop").await;
    tokio::join!(
        forms_change_and_the_value_stays(&bed),
        a_renamed_target_moves(&bed),
        a_type_changes_only_when_nothing_of_others_is_lost(&bed),
        what_the_api_server_refuses_is_said_and_not_hammered(&bed),
    );
}

async fn forms_change_and_the_value_stays(bed: &Bed) {
    let form = |form: &str| json!({"spec": {"target": {"form": form}}});
    bed.apply_secret("shop", "forms", PLAIN).await;
    bed.wait_ready("shop", "forms").await;
    let value = bed.data("shop", "forms").await.unwrap();
    let versions = bed.versions("shop", "forms").await;

    bed.patch("shop", "managedsecret/forms", &form("Sealed"))
        .await;
    bed.wait_ready("shop", "forms").await;
    let sealed = bed.native("shop", "forms").await.unwrap();
    assert_eq!(sealed.type_.as_deref(), Some("keystead.dev/sealed"));
    let entries: Vec<_> = sealed.data.unwrap().into_keys().collect();
    assert_eq!(entries, ["password.sealed"]);

    bed.patch("shop", "managedsecret/forms", &form("None"))
        .await;
    bed.wait_ready("shop", "forms").await;
    bed.wait_gone("shop", "forms").await;
    let status = bed.managed("shop", "forms").await.status.unwrap();
    assert!(status.target_ref.is_none());

    bed.patch("shop", "managedsecret/forms", &form("Plain"))
        .await;
    bed.wait_ready("shop", "forms").await;
    assert_eq!(bed.data("shop", "forms").await.unwrap(), value);
    assert_eq!(bed.versions("shop", "forms").await, versions);
    assert_eq!(bed.events("shop", "forms", "DriftRepaired").await, 0);
}

async fn a_renamed_target_moves(bed: &Bed) {
    let spec = |name: &str, policy: &str| {
        format!(
            "{{generate: [{{key: password, password: {{}}}}], \
             target: {{form: Plain, name: {name}, deletionPolicy: {policy}}}}}"
        )
    };
    bed.apply_secret("shop", "moving", &spec("first", "Delete"))
        .await;
    bed.wait_ready("shop", "moving").await;
    let value = bed.data("shop", "first").await.unwrap();
    bed.apply_secret("shop", "moving", &spec("second", "Delete"))
        .await;
    bed.wait_ready("shop", "moving").await;
    bed.wait_gone("shop", "first").await;
    assert_eq!(bed.data("shop", "second").await.unwrap(), value);
    // Retain: what was delivered stays, and is nobody's business any more.
    bed.apply_secret("shop", "moving", &spec("second", "Retain"))
        .await;
    bed.wait_ready("shop", "moving").await;
    bed.apply_secret("shop", "moving", &spec("third", "Retain"))
        .await;
    bed.wait_ready("shop", "moving").await;
    let kept = bed.state_of("shop", "second").await;
    assert_eq!(bed.data("shop", "third").await.unwrap(), value);
    bed.apply_secret("shop", "moving", &spec("third", "Delete"))
        .await;
    bed.wait_ready("shop", "moving").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(bed.state_of("shop", "second").await, kept);
}

/// Case B26 (1).
async fn a_type_changes_only_when_nothing_of_others_is_lost(bed: &Bed) {
    let spec = |type_: &str| {
        format!(
            "{{literals: {{password: pw, username: me}}, target: {{form: Plain}}, \
             template: {{type: {type_}, data: {{password: '[[ password ]]', username: '[[ username ]]'}}}}}}"
        )
    };
    bed.apply_secret("shop", "typed", &spec("Opaque")).await;
    bed.wait_ready("shop", "typed").await;
    bed.apply_secret("shop", "typed", &spec("kubernetes.io/basic-auth"))
        .await;
    bed.wait_ready("shop", "typed").await;
    let made = bed.native("shop", "typed").await.unwrap();
    assert_eq!(made.type_.as_deref(), Some("kubernetes.io/basic-auth"));

    bed.patch(
        "shop",
        "secret/typed",
        &json!({"stringData": {"theirs": "t"}}),
    )
    .await;
    let before = bed.state_of("shop", "typed").await;
    bed.apply_secret("shop", "typed", &spec("example.com/login"))
        .await;
    let message = bed
        .wait_not_ready("shop", "typed", "TargetTypeConflict")
        .await;
    assert!(message.contains("kubernetes.io/basic-auth"), "{message}");
    assert!(message.contains("example.com/login"), "{message}");
    assert_eq!(bed.state_of("shop", "typed").await, before);
    // As soon as the foreign key is gone, nothing stands in the way.
    bed.patch("shop", "secret/typed", &json!({"data": {"theirs": null}}))
        .await;
    eventually_within(
        SOON,
        "the Secret is made anew with its new type",
        || async {
            let found = bed.native("shop", "typed").await;
            found.is_some_and(|found| found.type_.as_deref() == Some("example.com/login"))
        },
    )
    .await;
    assert_eq!(bed.value("shop", "typed", "password").await, b"pw");
    assert_eq!(bed.events("shop", "typed", "DriftRepaired").await, 0);
}

/// Case B26 (3).
async fn what_the_api_server_refuses_is_said_and_not_hammered(bed: &Bed) {
    let spec = |type_: &str, data: &str| {
        format!(
            "{{literals: {{text: not-json}}, target: {{form: Plain}}, \
             template: {{type: kubernetes.io/{type_}, data: {{{data}}}}}}}"
        )
    };
    let mark = bed.cluster.audit_mark();
    let missing = spec("tls", "tls.crt: '[[ text ]]'");
    bed.apply_secret("shop", "refused", &missing).await;
    let message = bed.wait_not_ready("shop", "refused", "TargetRefused").await;
    assert!(message.contains("data[tls.key]"), "{message}");
    let invalid = spec("dockerconfigjson", "'.dockerconfigjson': '[[ text ]]'");
    bed.apply_secret("shop", "docker", &invalid).await;
    let message = bed.wait_not_ready("shop", "docker", "TargetRefused").await;
    assert!(
        message.contains(".dockerconfigjson") && !message.contains("not-json"),
        "{message}"
    );
    tokio::time::sleep(Duration::from_secs(5)).await;
    for name in ["refused", "docker"] {
        assert!(bed.native("shop", name).await.is_none());
        let tries = bed.cluster.audit_since(mark).unwrap().into_iter();
        let tries =
            tries.filter(|e| e.resource == "secrets" && e.name == name && e.verb == "patch");
        let tries = tries.count();
        assert!((1..=2).contains(&tries), "{name}: {tries} tries");
    }
    let complete = spec("tls", "tls.crt: '[[ text ]]', tls.key: '[[ text ]]'");
    bed.apply_secret("shop", "refused", &complete).await;
    bed.wait_ready("shop", "refused").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_remains_of_a_target_is_what_its_policy_says() {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    bed.namespace("shop").await;
    bed.create_native("shop", "shared", &[("theirs", b"t"), ("other", b"o")])
        .await;
    let target = |target: &str| {
        format!(
            "{{generate: [{{key: password, password: {{}}}}], target: {{form: Plain, {target}}}}}"
        )
    };
    let specs = [
        ("goes", target("deletionPolicy: Delete")),
        ("stays", target("deletionPolicy: Retain")),
        ("merged", target("name: shared, existing: Merge")),
        ("away", target("name: away-target")),
    ];
    for (name, spec) in &specs {
        bed.apply_secret("shop", name, spec).await;
    }
    for (name, _) in &specs {
        bed.wait_ready("shop", name).await;
    }
    let names = ["goes", "stays", "shared", "away-target"];
    let mut values = BTreeMap::new();
    for name in names {
        values.insert(name, bed.value("shop", name, "password").await);
    }
    for name in ["goes", "stays", "merged"] {
        bed.delete("shop", &format!("managedsecret/{name}")).await;
    }
    // Also while nobody looks.
    operator.kill().await;
    bed.delete("shop", "managedsecret/away").await;
    let _operator = bed.operator().await;
    eventually("the targets are gone", || async {
        bed.native("shop", "goes").await.is_none()
            && bed.native("shop", "away-target").await.is_none()
    })
    .await;
    eventually("our keys are out of what was merged", || async {
        let data = bed.data("shop", "shared").await.unwrap();
        data.into_keys().collect::<Vec<_>>() == ["other", "theirs"]
    })
    .await;
    let shared = bed.native("shop", "shared").await.unwrap();
    let ours = |key: &String| key.contains("keystead");
    assert!(
        !shared
            .metadata
            .annotations
            .unwrap_or_default()
            .keys()
            .any(ours)
    );
    let kept = bed.native("shop", "stays").await.unwrap();
    assert!(
        kept.metadata
            .owner_references
            .unwrap_or_default()
            .is_empty()
    );
    assert_eq!(
        bed.value("shop", "stays", "password").await,
        values["stays"]
    );

    // Applied again: the values are what they were.
    for (name, spec) in &specs {
        bed.apply_secret("shop", name, spec).await;
    }
    for (name, _) in &specs {
        bed.wait_ready("shop", name).await;
    }
    for name in names {
        assert_eq!(
            bed.value("shop", name, "password").await,
            values[name],
            "{name}"
        );
    }
}

/// Case B26 (2).
#[tokio::test(flavor = "multi_thread")]
async fn an_immutable_target_is_named_and_comes_back_with_the_same_value() {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    bed.namespace("shop").await;
    bed.apply_secret("shop", "fixed", PLAIN).await;
    bed.wait_ready("shop", "fixed").await;
    let value = bed.data("shop", "fixed").await.unwrap();
    bed.patch("shop", "secret/fixed", &json!({"immutable": true}))
        .await;
    // Metadata may still change, also ours.
    bed.patch(
        "shop",
        "secret/fixed",
        &json!({"metadata": {"labels": {"team": "a", "app.kubernetes.io/managed-by": null}}}),
    )
    .await;
    eventually_within(SOON, "our label is back", || async {
        let labels = bed
            .native("shop", "fixed")
            .await
            .unwrap()
            .metadata
            .labels
            .unwrap();
        labels
            .get("app.kubernetes.io/managed-by")
            .is_some_and(|by| by == "keystead")
            && labels.contains_key("team")
    })
    .await;
    bed.wait_ready("shop", "fixed").await;

    let mark = bed.cluster.audit_mark();
    let more = json!({"spec": {"literals": {"user": "u"}}});
    bed.patch("shop", "managedsecret/fixed", &more).await;
    let message = bed.wait_not_ready("shop", "fixed", "TargetImmutable").await;
    assert!(message.contains("fixed"), "{message}");
    tokio::time::sleep(Duration::from_secs(4)).await;
    let tries = bed.cluster.audit_since(mark).unwrap().into_iter();
    let tries = tries.filter(|e| e.resource == "secrets" && e.name == "fixed" && e.verb == "patch");
    assert_eq!(tries.count(), 0, "what cannot succeed is not tried");
    assert_eq!(bed.data("shop", "fixed").await.unwrap(), value);

    operator.kill().await;
    let _operator = bed.operator().await;
    bed.delete("shop", "secret/fixed").await;
    bed.wait_value("shop", "fixed", "user", b"u").await;
    bed.wait_ready("shop", "fixed").await;
    assert_eq!(
        bed.value("shop", "fixed", "password").await,
        value["password"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_or_context_seals_everything_anew_and_changes_no_value() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    bed.namespace("shop").await;
    for key in ["one", "two"] {
        bed.apply(&format!(
            "{{apiVersion: keystead.dev/v1alpha1, kind: ManagedKey, \
              metadata: {{name: {key}, namespace: shop}}, spec: {{}}}}"
        ))
        .await;
    }
    let spec =
        "{keyRef: {name: one}, generate: [{key: password, password: {}}], target: {form: Plain}}";
    bed.apply_secret("shop", "app", spec).await;
    bed.wait_ready("shop", "app").await;
    let value = bed.data("shop", "app").await.unwrap();
    bed.patch(
        "shop",
        "managedsecret/app",
        &json!({"spec": {"literals": {"b": "c"}}}),
    )
    .await;
    bed.wait_ready("shop", "app").await;
    bed.patch(
        "shop",
        "managedsecret/app",
        &json!({"spec": {"target": {"form": "Sealed"}}}),
    )
    .await;
    bed.wait_ready("shop", "app").await;
    let versions = bed.versions("shop", "app").await;
    assert_eq!(versions.len(), 2);

    let first = envelopes(&bed).await;
    bed.patch(
        "shop",
        "managedsecret/app",
        &json!({"spec": {"keyRef": {"name": "two"}}}),
    )
    .await;
    bed.wait_ready("shop", "app").await;
    let second = envelopes(&bed).await;
    let pairs = json!({"spec": {"encryptionContext": {"team": "orders"}}});
    bed.patch("shop", "managedsecret/app", &pairs).await;
    bed.wait_ready("shop", "app").await;
    let third = envelopes(&bed).await;
    let places = |all: &Envelopes| all.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        first.len(),
        5,
        "a manifest, two versions, two entries: {:?}",
        places(&first)
    );
    assert_eq!(places(&first), places(&second));
    assert_eq!(places(&first), places(&third));
    let keys = |all: &Envelopes| {
        all.values()
            .map(|(key, _)| key.clone())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(keys(&first).len(), 1);
    assert!(
        keys(&first).is_disjoint(&keys(&second)),
        "everything is under the other key"
    );
    assert_eq!(keys(&second), keys(&third));
    let messages: BTreeSet<_> = [&first, &second, &third]
        .into_iter()
        .flat_map(|all| all.values().map(|(_, message)| *message))
        .collect();
    assert_eq!(messages.len(), 15, "no header is written a second time");
    assert_eq!(bed.versions("shop", "app").await, versions);
    let status = bed.managed("shop", "app").await.status.unwrap();
    let named: BTreeSet<_> = status
        .versions
        .into_iter()
        .map(|version| version.key_id)
        .collect();
    assert_eq!(named, keys(&third), "the status names the key in use");
    assert_eq!(bed.events("shop", "app", "DriftRepaired").await, 0);

    a_disabled_key_freezes_what_is_delivered(&bed).await;

    bed.patch(
        "shop",
        "managedsecret/app",
        &json!({"spec": {"target": {"form": "Plain"}}}),
    )
    .await;
    bed.wait_ready("shop", "app").await;
    assert_eq!(
        bed.value("shop", "app", "password").await,
        value["password"]
    );
}

async fn a_disabled_key_freezes_what_is_delivered(bed: &Bed) {
    let enabled = |enabled: bool| json!({"spec": {"enabled": enabled}});
    let state = bed.state_of("shop", "app").await;
    bed.patch("shop", "managedkey/two", &enabled(false)).await;
    let message = bed.wait_not_ready("shop", "app", "KeyDisabled").await;
    assert!(message.contains("two"), "{message}");
    assert_eq!(bed.state_of("shop", "app").await, state);
    // What was asked meanwhile is done as soon as the key is back.
    bed.patch(
        "shop",
        "managedsecret/app",
        &json!({"spec": {"literals": {"b": "d"}}}),
    )
    .await;
    bed.wait_not_ready("shop", "app", "KeyDisabled").await;
    assert_eq!(bed.state_of("shop", "app").await, state);
    bed.patch("shop", "managedkey/two", &enabled(true)).await;
    eventually_within(SOON, "the secret is Ready again", || async {
        let status = bed.managed("shop", "app").await.status.unwrap();
        status
            .conditions
            .iter()
            .any(|c| c.type_ == "Ready" && c.status == "True")
    })
    .await;
    assert_eq!(bed.versions("shop", "app").await.len(), 3);
}

/// Key id and message id by place.
type Envelopes = BTreeMap<String, (String, [u8; 32])>;

/// Every envelope of the secret `app`: of its truth and of its target.
async fn envelopes(bed: &Bed) -> Envelopes {
    let truth = keystead::truth::truth_name("shop", "app");
    let mut all = bed.data(SYSTEM, &truth).await.unwrap();
    all.extend(bed.data("shop", "app").await.unwrap());
    all.into_iter()
        .map(|(place, envelope)| {
            let info = keystead::crypto::peek(&envelope).unwrap();
            (place, (info.key.to_string(), info.message_id))
        })
        .collect()
}
