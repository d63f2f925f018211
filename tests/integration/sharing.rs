//! Secrets that are shared with other namespaces, and the replicas that follow them.

use std::time::Duration;

use keystead::api::managed_secret::{ReplicationState, ReplicationStatus};
use keystead::audit::is_audit_line;
use keystead_cluster::{AuditEvent, AuditMark};
use serde_json::{Value, json};

use crate::support::{
    Bed, OPERATOR_USER, Operator, Person, SYSTEM, eventually, key, managed_secret,
};

/// What is said of a source that gives a replica nothing, there or not.
const NOT_SHARED: &str =
    "does not exist, or its spec.shareWith.namespaces does not name this namespace";

/// A source of two keys under a key of its own, shared with those namespaces.
fn source(literal: &str, share_with: &str) -> String {
    let spec = format!(
        "{{keyRef: {{name: orders}}, generate: [{{key: password, password: {{}}}}], literals: {{user: {literal}}}, \
         shareWith: {{namespaces: {share_with}}}, target: {{form: Plain}}}}"
    );
    managed_secret("shop", "db", &spec)
}

fn replica(namespace: &str, name: &str) -> String {
    let spec = "{replicaOf: {namespace: shop, name: db}, template: {data: {login: '[[ user ]]:[[ password ]]', user: '[[ user ]]'}}, \
                target: {form: Plain}}";
    managed_secret(namespace, name, spec)
}

/// A bed with `shop/db`, shared with `reports`, and the replica `reports/db`.
async fn bed_with_replica() -> (Bed, Operator) {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    for namespace in ["shop", "reports"] {
        bed.namespace(namespace).await;
    }
    let yaml = [
        key("shop", "orders"),
        source("one", "[reports]"),
        replica("reports", "db"),
    ];
    bed.apply(&yaml.concat()).await;
    bed.wait_ready("reports", "db").await;
    (bed, operator)
}

pub(crate) async fn told(bed: &Bed, namespace: &str, name: &str) -> ReplicationStatus {
    let status = bed.managed(namespace, name).await.status.unwrap();
    status.replication.unwrap()
}

pub(crate) async fn wait_told(bed: &Bed, namespace: &str, name: &str, state: ReplicationState) {
    let what = format!("{namespace}/{name} is {state:?}");
    eventually(&what, || async {
        let status = bed.managed(namespace, name).await.status;
        let replication = status.and_then(|status| status.replication);
        replication.is_some_and(|replication| replication.status == state)
    })
    .await;
}

/// The lines of the trail about values that replicas were given, or were not.
pub(crate) fn lines_about_replicas(log: &str, decision: &str) -> Vec<Value> {
    let lines = log.lines().filter(|line| is_audit_line(line.as_bytes()));
    let lines = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .filter(|line| line["userIdentity"]["via"] == "replication")
        .filter(|line| line["decision"] == decision)
        .collect()
}

/// What the operator writes while nothing happens.
async fn written_at_rest(bed: &Bed) -> Vec<String> {
    // Keys show what needs them ten seconds later.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let mark = bed.cluster.audit_mark();
    tokio::time::sleep(Duration::from_secs(15)).await;
    written(bed, mark)
}

/// What the operator wrote besides its lease. A new leader asks what time it is, by an object that is not made.
pub(crate) fn written(bed: &Bed, since: AuditMark) -> Vec<String> {
    let mut writes = bed.cluster.writes_since(since).unwrap();
    writes.retain(|event| {
        event.user == OPERATOR_USER
            && event.resource != "leases"
            && !event.request_uri.contains("dryRun=All")
    });
    let describe = |e: &AuditEvent| format!("{} {} {}", e.verb, e.resource, e.name);
    writes.iter().map(describe).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_follows_its_source_at_once_and_keeps_what_it_has_when_it_gets_no_more() {
    let (bed, operator) = bed_with_replica().await;
    let password = bed.value("shop", "db", "password").await;
    let login = [b"one:".as_slice(), &password].concat();
    assert_eq!(bed.value("reports", "db", "login").await, login);
    let first = told(&bed, "reports", "db").await;
    assert_eq!(first.status, ReplicationState::InSync);
    let version = bed.versions("shop", "db").await[0].0.clone();
    assert_eq!(first.source_version, Some(version));
    // Under a key of its own.
    let keys = bed.managed_keys("reports").await;
    let own = keys[0].status.as_ref().unwrap().key_id.clone();
    let status = bed.managed("reports", "db").await.status.unwrap();
    assert_eq!(Some(&status.versions[0].key_id), own.as_ref());
    eventually("the source tells of its replica", || async {
        let status = bed.managed("shop", "db").await.status.unwrap();
        let replicas = status.replicas;
        status.replica_count == Some(1)
            && replicas[0].namespace == "reports"
            && replicas[0].status == Some(ReplicationState::InSync)
    })
    .await;
    assert_eq!(written_at_rest(&bed).await, [""; 0]);

    // A change is followed, and each version that is taken is a line on the source.
    bed.apply(&source("two", "[reports]")).await;
    bed.wait_value("reports", "db", "user", b"two").await;
    let login = [b"two:".as_slice(), &password].concat();
    assert_eq!(bed.value("reports", "db", "login").await, login);
    let lines = lines_about_replicas(&operator.log(), "Allow");
    assert_eq!(lines.len(), 2, "one for each version: {lines:?}");
    for line in &lines {
        assert_eq!(line["userIdentity"]["user"], "keystead:secret:shop:db");
        assert_eq!(line["eventName"], "Decrypt");
        assert_eq!(line["resources"][0]["name"], "orders");
        assert_eq!(line["resources"][2]["namespace"], "reports");
    }

    // The source's key rotates: its replicas have nothing to do.
    let before = bed.state_of("reports", "db").await;
    let rotate = json!({"metadata": {"annotations": {"keystead.dev/rotate": "1"}}});
    bed.patch("shop", "managedkey/orders", &rotate).await;
    eventually("the key is rotated", || async {
        bed.material("shop", "orders").await.spec.generations.len() == 2
    })
    .await;
    assert_eq!(written_at_rest(&bed).await, [""; 0]);
    assert_eq!(bed.state_of("reports", "db").await, before);
    assert_eq!(bed.versions("reports", "db").await.len(), 2);

    // Not shared any more.
    bed.apply(&source("three", "[elsewhere]")).await;
    let message = bed
        .wait_not_ready("reports", "db", "ReplicationFailed")
        .await;
    assert!(message.contains(NOT_SHARED), "{message}");
    bed.wait_value("shop", "db", "user", b"three").await;
    assert_eq!(bed.value("reports", "db", "user").await, b"two");
    let status = told(&bed, "reports", "db").await;
    assert_eq!(status.status, ReplicationState::Failed);
    assert_eq!(status.message, Some(message.clone()));
    // Only the trail says why.
    let lines = lines_about_replicas(&operator.log(), "Deny");
    let line = lines.last().unwrap();
    assert_eq!(line["userIdentity"]["user"], "keystead:secret:reports:db");
    assert_eq!(line["eventName"], "GetSecretValue");
    let reason = line["reason"].as_str().unwrap();
    assert!(
        reason.contains("does not name the replica's namespace"),
        "{reason}"
    );
    // What it has is cared for: somebody deletes the target.
    bed.delete("reports", "secret/db").await;
    bed.wait_value("reports", "db", "user", b"two").await;
    // Of a source that never was there the same is said.
    let absent = replica("reports", "absent").replace("name: db", "name: nothing");
    bed.apply(&absent).await;
    let said = bed
        .wait_not_ready("reports", "absent", "ReplicationFailed")
        .await;
    assert_eq!(said, message.replace("shop/db", "shop/nothing"));
    assert!(bed.data("reports", "absent").await.is_none());
    // Shared again.
    bed.apply(&source("four", "[reports]")).await;
    bed.wait_value("reports", "db", "user", b"four").await;
    wait_told(&bed, "reports", "db", ReplicationState::InSync).await;
    assert_eq!(operator.log().matches("panicked").count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_made_anew_gets_nothing_until_it_is_named_anew() {
    let (bed, _operator) = bed_with_replica().await;
    bed.kubectl(&["delete", "namespace", "reports", "--timeout=60s"])
        .await
        .expect_ok();
    bed.namespace("reports").await;
    // Under a key of its own: the default key of this name waits for the namespace that is gone.
    let keyed = replica("reports", "other").replace("spec: {", "spec: {keyRef: {name: fresh}, ");
    bed.apply(&[key("reports", "fresh"), keyed].concat()).await;
    let message = bed
        .wait_not_ready("reports", "other", "ReplicationFailed")
        .await;
    assert!(message.contains(NOT_SHARED), "{message}");
    assert!(bed.data("reports", "other").await.is_none());
    // Looking again, and a change of the source, give it nothing either.
    bed.apply(&source("two", "[reports]")).await;
    bed.wait_value("shop", "db", "user", b"two").await;
    bed.wait_not_ready("reports", "other", "ReplicationFailed")
        .await;
    // Taken out and put in again.
    bed.apply(&source("two", "[elsewhere]")).await;
    bed.wait_ready("shop", "db").await;
    bed.apply(&source("two", "[reports, elsewhere]")).await;
    bed.wait_value("reports", "other", "user", b"two").await;

    // A namespace that comes after it was named is remembered when a replica asks for it.
    bed.namespace("elsewhere").await;
    bed.apply(&replica("elsewhere", "db")).await;
    bed.wait_value("elsewhere", "db", "user", b"two").await;
}

/// Restored in the order that is worst: the source is back before there is a namespace that it is shared with.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_that_an_administrator_approved_replicas_follow_as_before() {
    let (bed, _operator) = bed_with_replica().await;
    let versions = bed.versions("reports", "db").await;
    for namespace in ["reports", "shop"] {
        bed.kubectl(&["delete", "namespace", namespace, "--timeout=60s"])
            .await
            .expect_ok();
        bed.wait_parked(namespace, "db", true).await;
    }
    bed.namespace("shop").await;
    let before = "keystead.dev/approve-adoption-before=2999-01-01T00:00:00Z";
    let record = "configmap/keystead-installation";
    bed.kubectl(&["annotate", record, "-n", SYSTEM, before])
        .await
        .expect_ok();
    bed.apply(&[key("shop", "orders"), source("one", "[reports]")].concat())
        .await;
    bed.wait_ready("shop", "db").await;
    bed.namespace("reports").await;
    bed.apply(&replica("reports", "db")).await;
    bed.wait_ready("reports", "db").await;
    assert_eq!(bed.versions("reports", "db").await, versions);
    bed.apply(&source("two", "[reports]")).await;
    bed.wait_value("reports", "db", "user", b"two").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_becomes_independent_with_the_same_value_version_and_target() {
    let (bed, _operator) = bed_with_replica().await;
    let (versions, state) = (
        bed.versions("reports", "db").await,
        bed.state_of("reports", "db").await,
    );
    // Not by taking the source out alone.
    let without = json!({"spec": {"replicaOf": null}}).to_string();
    let patch = [
        "patch",
        "-n",
        "reports",
        "managedsecret",
        "db",
        "--type=merge",
        "-p",
    ];
    let refused = bed.kubectl(&[&patch[..], &[&without]].concat()).await;
    let message = refused.expect_refused();
    assert!(
        message.contains("stored: {} in the place of replicaOf"),
        "{message}"
    );
    let promoted = json!({"spec": {"replicaOf": null, "stored": {}}});
    bed.patch("reports", "managedsecret/db", &promoted).await;
    bed.wait_ready("reports", "db").await;
    eventually("it is no replica any more", || async {
        let status = bed.managed("reports", "db").await.status.unwrap();
        let source = bed.managed("shop", "db").await.status.unwrap();
        status.replication.is_none() && source.replica_count == Some(0)
    })
    .await;
    assert_eq!(bed.versions("reports", "db").await, versions);
    assert_eq!(bed.state_of("reports", "db").await, state);
    // It does not follow, and it goes on without its source.
    bed.apply(&source("two", "[reports]")).await;
    bed.wait_value("shop", "db", "user", b"two").await;
    bed.delete("shop", "managedsecret/db").await;
    bed.wait_parked("shop", "db", true).await;
    bed.delete("reports", "secret/db").await;
    bed.wait_value("reports", "db", "user", b"one").await;
    assert_eq!(bed.versions("reports", "db").await, versions);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_deleted_and_applied_again_is_followed_without_a_new_version() {
    let (bed, operator) = bed_with_replica().await;
    let (versions, state) = (
        bed.versions("reports", "db").await,
        bed.state_of("reports", "db").await,
    );
    bed.delete("shop", "managedsecret/db").await;
    let message = bed
        .wait_not_ready("reports", "db", "ReplicationFailed")
        .await;
    assert!(message.contains("shop/db is gone since"), "{message}");
    eventually("an Event tells of the replica that is left", || async {
        bed.events("shop", "db", "ReplicationFailed").await > 0
    })
    .await;
    assert_eq!(bed.value("reports", "db", "user").await, b"one");
    bed.apply(&source("one", "[reports]")).await;
    bed.wait_ready("reports", "db").await;
    assert_eq!(bed.versions("reports", "db").await, versions);
    assert_eq!(bed.state_of("reports", "db").await, state);
    bed.apply(&source("two", "[reports]")).await;
    bed.wait_value("reports", "db", "user", b"two").await;

    // Both deleted, and applied again the other way round.
    for namespace in ["shop", "reports"] {
        bed.delete(namespace, "managedsecret/db").await;
        bed.wait_parked(namespace, "db", true).await;
    }
    bed.apply(&replica("reports", "db")).await;
    bed.wait_not_ready("reports", "db", "ReplicationFailed")
        .await;
    bed.apply(&source("two", "[reports]")).await;
    bed.wait_ready("reports", "db").await;
    assert_eq!(bed.versions("reports", "db").await.len(), 2);
    assert_eq!(bed.value("reports", "db", "user").await, b"two");

    // A new leader knows the replicas again, and has nothing to write.
    assert_eq!(written_at_rest(&bed).await, [""; 0]);
    operator.stop().await;
    let mark = bed.cluster.audit_mark();
    let _operator = bed.operator().await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(written(&bed, mark), [""; 0]);
}

/// Rights to `ManagedSecrets` and nothing else.
const AUTHOR: &str = "[{apiGroups: [keystead.dev], resources: [managedsecrets], verbs: [get, list, create, update, patch, delete]}]";
/// The right to read the value of one.
const READER: &str = "[{apiGroups: [keystead.dev], resources: [managedsecrets/value], verbs: [get], resourceNames: [db]}]";

#[tokio::test(flavor = "multi_thread")]
async fn who_shares_a_secret_and_who_follows_it_must_be_able_to_read_it_himself() {
    let bed = Bed::start().await;
    for namespace in ["shop", "reports"] {
        bed.namespace(namespace).await;
    }
    let ann = Person::new(&bed, "ann");
    for namespace in ["shop", "reports"] {
        ann.grant(namespace, "author", AUTHOR).await;
        ann.can(&["create", "managedsecrets", "-n", namespace])
            .await;
    }
    bed.policies_in_force().await;
    let none = "target: {form: None}";
    let follows = |name: &str, source: &str| {
        let spec = format!("{{replicaOf: {{namespace: shop, name: {source}}}, {none}}}");
        managed_secret("reports", name, &spec)
    };
    let shares = |namespaces: &str| {
        let spec =
            format!("{{literals: {{a: b}}, shareWith: {{namespaces: {namespaces}}}, {none}}}");
        managed_secret("shop", "db", &spec)
    };
    for yaml in [follows("db", "db"), shares("[reports]")] {
        let message = ann.refused(&yaml).await;
        let names = message.contains("needs get on managedsecrets/value for ManagedSecret shop/db");
        assert!(names, "{message}");
    }
    // The right in the replica's namespace is not the one that counts.
    ann.grant("reports", "reader", READER).await;
    ann.can(&[
        "get",
        "managedsecrets/db",
        "--subresource=value",
        "-n",
        "reports",
    ])
    .await;
    ann.refused(&follows("db", "db")).await;
    ann.grant("shop", "reader", READER).await;
    ann.allowed(&shares("[reports]")).await;
    ann.allowed(&follows("db", "db")).await;
    let message = ann.refused(&follows("db", "other")).await;
    assert!(message.contains("shop/other"), "{message}");

    // Without it, what is set up can be changed, narrowed, promoted and deleted, and not widened.
    bed.kubectl(&["delete", "rolebinding", "ann-reader", "-n", "shop"])
        .await
        .expect_ok();
    let value = [
        "get",
        "managedsecrets/db",
        "--subresource=value",
        "-n",
        "shop",
    ];
    ann.cannot(&value).await;
    let described = follows("db", "db").replace("spec: {", "spec: {description: mine, ");
    ann.apply(&described).await.expect_ok();
    ann.refused(&shares("[reports, elsewhere]")).await;
    let narrowed = managed_secret("shop", "db", &format!("{{literals: {{a: c}}, {none}}}"));
    ann.apply(&narrowed).await.expect_ok();
    ann.refused(&shares("[reports]")).await;
    let promoted = managed_secret("reports", "db", &format!("{{stored: {{}}, {none}}}"));
    ann.apply(&promoted).await.expect_ok();
    ann.refused(&follows("db", "db")).await;
    ann.kubectl(&[
        "delete",
        "managedsecret",
        "db",
        "-n",
        "reports",
        "--wait=false",
    ])
    .await
    .expect_ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_a_replica_becomes_ready() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    bed.namespace("shop").await;
    bed.apply(include_str!("../../examples/replica.yaml")).await;
    bed.wait_ready("reports", "shop-api").await;
    wait_told(&bed, "reports", "shop-api", ReplicationState::InSync).await;
}
