//! Versions of secrets: values made anew when asked, an earlier one made current again, labels that hold one.

use keystead::truth::truth_name;
use serde_json::json;

use crate::support::{Bed, Person, SYSTEM, eventually, managed_secret};

const SPEC: &str =
    "{generate: [{key: password, password: {}}], literals: {user: app}, target: {form: Plain}}";

async fn annotate(bed: &Bed, annotation: &str, value: &str) {
    let patch = json!({"metadata": {"annotations": {annotation: value}}});
    bed.patch("shop", "managedsecret/db", &patch).await;
}

async fn sequence(bed: &Bed) -> i64 {
    let status = bed.managed("shop", "db").await.status;
    status.unwrap().sequence.unwrap()
}

/// The stages of the kept versions, newest first.
async fn stages(bed: &Bed) -> Vec<Vec<String>> {
    let versions = bed.versions("shop", "db").await;
    versions.into_iter().map(|(_, stages)| stages).collect()
}

async fn wait_stages(bed: &Bed, expected: &[&[&str]]) {
    eventually(&format!("the stages are {expected:?}"), || async {
        stages(bed).await == expected
    })
    .await;
}

async fn password(bed: &Bed) -> Vec<u8> {
    bed.value("shop", "db", "password").await
}

/// What would change if anything were written.
async fn states(bed: &Bed) -> [String; 3] {
    [
        bed.state_of("shop", "db").await,
        bed.state_of(SYSTEM, &truth_name("shop", "db")).await,
        bed.managed("shop", "db")
            .await
            .metadata
            .resource_version
            .unwrap(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_made_anew_and_had_back_as_asked_each_once() {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    bed.namespace("shop").await;
    bed.apply_secret("shop", "db", SPEC).await;
    bed.wait_ready("shop", "db").await;
    let first = password(&bed).await;

    annotate(&bed, "keystead.dev/regenerate", "leak-of-monday").await;
    wait_stages(&bed, &[&["Current"], &["Previous"]]).await;
    let second = password(&bed).await;
    assert_ne!(second, first);
    assert_eq!(bed.value("shop", "db", "user").await, b"app");

    let versions = bed.versions("shop", "db").await;
    let request = format!("{}@{}", versions[1].0, sequence(&bed).await);
    annotate(&bed, "keystead.dev/rollback", &request).await;
    wait_stages(&bed, &[&["Previous"], &["Current"]]).await;
    bed.wait_value("shop", "db", "password", &first).await;
    assert_eq!(
        bed.events("shop", "db", "DriftRepaired").await,
        0,
        "it is no drift"
    );

    // A label holds a version, and goes when it is taken out.
    let label = json!({"spec": {"versionStages": {"incident-7": versions[0].0}}});
    bed.patch("shop", "managedsecret/db", &label).await;
    wait_stages(&bed, &[&["Previous", "incident-7"], &["Current"]]).await;
    let none = json!({"spec": {"versionStages": null}});
    bed.patch("shop", "managedsecret/db", &none).await;
    wait_stages(&bed, &[&["Previous"], &["Current"]]).await;

    // Both annotations are still there, as they would be in Git. Neither a restart nor another change does it again.
    let before = states(&bed).await;
    operator.kill().await;
    let _operator = bed.operator().await;
    let patch = json!({"metadata": {"labels": {"team": "orders"}}});
    bed.patch("shop", "managedsecret/db", &patch).await;
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    let after = states(&bed).await;
    assert_eq!(after[..2], before[..2], "nothing is written");
    assert_eq!(password(&bed).await, first);

    // A copy of a request for a state that has gone by.
    let stale = format!("{}@{}", versions[0].0, sequence(&bed).await - 1);
    annotate(&bed, "keystead.dev/rollback", &stale).await;
    eventually("the request is refused in words", || async {
        let status = bed.managed("shop", "db").await.status.unwrap();
        status
            .conditions
            .iter()
            .any(|condition| condition.status == "True" && condition.message.contains("ask again"))
    })
    .await;
    assert_eq!(password(&bed).await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_put_a_value_or_say_who_reads_has_none_of_it_done_for_him() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let ann = Person::new(&bed, "ann");
    ann.grant(
        "shop",
        "author",
        "[{apiGroups: [keystead.dev], resources: [managedsecrets], verbs: [get, list, create, update, patch, delete]}]",
    )
    .await;
    ann.can(&["create", "managedsecrets", "-n", "shop"]).await;
    bed.policies_in_force().await;
    let secret = |metadata: &str, more: &str| {
        let spec = format!("{{literals: {{a: b}}, target: {{form: None}}{more}}}");
        managed_secret("shop", "db", &spec).replace("{name: db,", &format!("{{{metadata}name: db,"))
    };
    let version = "00000000-0000-4000-8000-000000000000";
    let asks = [
        (
            format!("annotations: {{keystead.dev/rollback: {version}@1}}, "),
            String::new(),
            "put on managedsecrets/value",
        ),
        (
            "annotations: {keystead.dev/regenerate: now}, ".to_owned(),
            String::new(),
            "put on managedsecrets/value",
        ),
        (
            String::new(),
            format!(", versionStages: {{blue: {version}}}"),
            "put on managedsecrets/value",
        ),
        (
            "annotations: {keystead.dev/force-delete: some-uid}, ".to_owned(),
            String::new(),
            "update on managedsecrets/deletion",
        ),
        (
            String::new(),
            ", policy: {delegateToRBAC: false}".to_owned(),
            "update on managedsecrets/policy",
        ),
        (
            String::new(),
            ", consumers: {serviceAccounts: [web]}".to_owned(),
            "update on managedsecrets/policy",
        ),
    ];
    for (metadata, more, right) in &asks {
        let message = ann.refused(&secret(metadata, more)).await;
        assert!(message.contains(right), "{message}");
        assert!(message.contains("shop/db"), "{message}");
    }
    ann.allowed(&secret("", "")).await;
    for (metadata, more, right) in &asks {
        let message = ann.refused(&secret(metadata, more)).await;
        assert!(message.contains(right), "{message}");
    }
    ann.grant(
        "shop",
        "rights",
        "[{apiGroups: [keystead.dev], resources: [managedsecrets/value], verbs: [put]}, \
         {apiGroups: [keystead.dev], resources: [managedsecrets/deletion, managedsecrets/policy], verbs: [update]}]",
    )
    .await;
    ann.can(&["update", "managedsecrets/deletion", "-n", "shop"])
        .await;
    for (metadata, more, _) in &asks {
        ann.allowed(&secret(metadata, more)).await;
    }
}
