//! Replicas in other clusters: two control planes, each with an operator of its own.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use keystead::api::managed_secret::ReplicationState;
use keystead_cluster::{AuditMark, Component, Options};
use serde_json::{Value, json};

use crate::author_rights::bed_with_author;
use crate::sealed::first_public_key;
use crate::sharing::{lines_about_replicas, told, wait_told, written};
use crate::support::{Bed, Operator, Person, eventually, managed_secret};

/// A value that must be nowhere in the clear but where it is delivered.
const CANARY: &str = "C4N4RY-replicated";
/// How often sources are asked for.
const POLL: &str = "10";

/// The cluster `east`, where replicas are, and the one that it follows.
struct Pair {
    source: Bed,
    east: Bed,
    source_operator: Operator,
    east_operator: Operator,
    /// The public key of `east`.
    key: String,
}

/// Two clusters with `shop/db` in one, shared with `east`, and credentials for it in namespace `reports` of `east`.
async fn pair() -> Pair {
    let (source, east) = tokio::join!(Bed::start(), Bed::start_apart(Options::default(), &[]));
    let url = source.cluster.url().to_owned();
    let source_operator = source.operator().await;
    let east_operator = east_operator(&east, &url).await;
    source.namespace("shop").await;
    east.namespace("reports").await;
    let key = first_public_key(&east).await[0].to_string();
    source.apply(&shared(CANARY, &[("east", &key)])).await;
    source.wait_ready("shop", "db").await;
    // Two accounts: one may get the one Secret, the other nothing.
    source.apply(ACCESS).await;
    east.apply(&credentials("source", &url, &source, "reader").await)
        .await;
    Pair {
        source,
        east,
        source_operator,
        east_operator,
        key,
    }
}

async fn east_operator(east: &Bed, url: &str) -> Operator {
    let args = [
        "--replication-cluster",
        url,
        "--replication-poll-seconds",
        POLL,
    ];
    let operator = east.operator_named("one", &args).await;
    operator.wait_ready().await;
    operator
}

const ACCESS: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: nobody, namespace: shop}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: east, namespace: shop}
rules: [{apiGroups: [\"\"], resources: [secrets], resourceNames: [db.replica], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: east, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: east}
subjects: [{kind: ServiceAccount, name: reader, namespace: shop}]
";

/// `shop/db` with that password, shared with those clusters.
fn shared(password: &str, clusters: &[(&str, &str)]) -> String {
    let clusters: Vec<_> = clusters
        .iter()
        .map(|(name, key)| json!({"name": name, "sealingKey": key}))
        .collect();
    let mut spec = json!({
        "literals": {"user": "one"}, "generate": [{"key": "token", "uuid": {}}], "target": {"form": "Plain"},
    });
    spec["literals"]["password"] = json!(password);
    if !clusters.is_empty() {
        spec["shareWith"] = json!({ "clusters": clusters });
    }
    managed_secret("shop", "db", &spec.to_string())
}

fn replica(secret: &str) -> String {
    let spec = format!(
        "{{replicaOf: {{namespace: shop, name: db, cluster: {{secretRef: {{name: {secret}}}}}}}, target: {{form: Plain}}}}"
    );
    managed_secret("reports", "db", &spec)
}

/// A Secret in namespace `reports` with the address of a cluster and the token of one of its accounts.
async fn credentials(name: &str, url: &str, cluster: &Bed, account: &str) -> String {
    let token = cluster.cluster.token("shop", account, &[]).await.unwrap();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "reports"},
        "stringData": {"server": url, "ca.crt": cluster.cluster.ca_pem().unwrap(), "token": token},
    });
    format!("---\n{secret}\n")
}

/// The same as a kubeconfig.
async fn kubeconfig(name: &str, url: &str, cluster: &Bed, account: &str) -> String {
    use base64::Engine;
    let token = cluster.cluster.token("shop", account, &[]).await.unwrap();
    let authority = cluster.cluster.ca_pem().unwrap();
    let authority = base64::engine::general_purpose::STANDARD.encode(authority);
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "b", "user": "c"}}],
        "clusters": [{"name": "b", "cluster": {"server": url, "certificate-authority-data": authority}}],
        "users": [{"name": "c", "user": {"token": token}}],
    });
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "reports"},
        "stringData": {"kubeconfig": kubeconfig.to_string()},
    });
    format!("---\n{secret}\n")
}

/// Waits until the replica says that it failed with those words.
async fn wait_failed(bed: &Bed, words: &str) {
    eventually(&format!("the replica says: {words}"), || async {
        let status = bed.managed("reports", "db").await.status;
        let replication = status.and_then(|status| status.replication);
        replication.is_some_and(|replication| {
            replication.status == ReplicationState::Failed
                && replication.message.is_some_and(|told| told.contains(words))
        })
    })
    .await;
}

/// Waits until the replica delivers that password.
async fn arrives(east: &Bed, password: &[u8]) {
    eventually("the value arrives", || async {
        let data = east.data("reports", "db").await.unwrap_or_default();
        data.get("password").is_some_and(|found| found == password)
    })
    .await;
}

/// What the operators write in both clusters while nothing happens and the source is asked for more than once.
async fn written_at_rest(source: &Bed, east: &Bed) -> Vec<String> {
    tokio::time::sleep(Duration::from_secs(15)).await;
    let marks = [source, east].map(|bed| (bed, bed.cluster.audit_mark()));
    tokio::time::sleep(Duration::from_secs(25)).await;
    written_since(&marks)
}

fn written_since(marks: &[(&Bed, AuditMark)]) -> Vec<String> {
    let written = |(bed, mark): &(&Bed, AuditMark)| written(bed, *mark);
    marks.iter().flat_map(written).collect()
}

/// How often `shop/db.replica` was asked for since.
fn asked_for(source: &Bed, since: AuditMark) -> usize {
    let events = source.cluster.audit_since(since).unwrap();
    let asked = |user: &str| user == "system:serviceaccount:shop:reader";
    events.iter().filter(|event| asked(&event.user)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_follows_a_source_in_another_cluster_and_at_rest_nobody_writes() {
    let pair = pair().await;
    let (source, east) = (&pair.source, &pair.east);
    east.apply(&replica("source")).await;
    east.wait_ready("reports", "db").await;
    wait_told(east, "reports", "db", ReplicationState::InSync).await;
    for key in ["password", "token", "user"] {
        let value = source.value("shop", "db", key).await;
        assert_eq!(east.value("reports", "db", key).await, value);
    }
    // Under a key of its own.
    let own = east.managed_keys("reports").await[0]
        .status
        .clone()
        .unwrap();
    let status = east.managed("reports", "db").await.status.unwrap();
    assert_eq!(Some(&status.versions[0].key_id), own.key_id.as_ref());
    let version = source.versions("shop", "db").await[0].0.clone();
    let told = told(east, "reports", "db").await;
    assert_eq!(told.source_version.as_ref(), Some(&version));

    // Who reads all of what waits for the replica reads no value.
    let export = source.native("shop", "db.replica").await.unwrap();
    assert_eq!(export.type_.as_deref(), Some("keystead.dev/replica"));
    assert_eq!(export.data.as_ref().unwrap().len(), 1);
    let envelope = &export.data.as_ref().unwrap()["envelope"].0;
    let holds = |text: &[u8]| envelope.windows(text.len()).any(|part| part == text);
    assert!(!holds(CANARY.as_bytes()));
    assert!(!holds(&source.value("shop", "db", "token").await));
    assert!(!serde_json::to_string(&export).unwrap().contains(CANARY));
    let owner = &export.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!(owner.kind, "ManagedSecret");

    // Both trails say what left and what came.
    let lines = lines_about_replicas(&pair.source_operator.log(), "Allow");
    let sealed: Vec<_> = lines
        .iter()
        .filter(|line| line["eventName"] == "ReplicateSecretToRegions")
        .collect();
    assert_eq!(sealed.len(), 1, "{lines:?}");
    assert_eq!(sealed[0]["requestParameters"]["clusters"], "east");
    assert_eq!(sealed[0]["requestParameters"]["versionId"], json!(version));
    let opened = lines_about_replicas(&pair.east_operator.log(), "Allow");
    assert_eq!(opened.len(), 1, "{opened:?}");
    assert_eq!(opened[0]["eventName"], "OpenSealedValue");

    let mark = source.cluster.audit_mark();
    assert_eq!(written_at_rest(source, east).await, [""; 0]);
    assert!(asked_for(source, mark) >= 2, "it went on asking");

    // A change is followed, by nothing but asking; and a key that rotates is none.
    source.apply(&shared("two", &[("east", &pair.key)])).await;
    arrives(east, b"two").await;
    // The status comes after the value.
    eventually("the replica tells of two versions", || async {
        east.versions("reports", "db").await.len() == 2
    })
    .await;
    wait_told(east, "reports", "db", ReplicationState::InSync).await;
    let envelope = source.native("shop", "db.replica").await.unwrap().data;
    let rotate = json!({"metadata": {"annotations": {"keystead.dev/rotate": "1"}}});
    source
        .patch("shop", "managedkey/keystead-default", &rotate)
        .await;
    eventually("the key is rotated", || async {
        let material = source.material("shop", "keystead-default").await;
        material.spec.generations.len() == 2
    })
    .await;
    assert_eq!(written_at_rest(source, east).await, [""; 0]);
    let after = source.native("shop", "db.replica").await.unwrap().data;
    assert_eq!(after, envelope);
    assert_eq!(east.versions("reports", "db").await.len(), 2);

    // New leaders on both sides.
    pair.source_operator.stop().await;
    pair.east_operator.stop().await;
    let marks = [source, east].map(|bed| (bed, bed.cluster.audit_mark()));
    let one = source.operator().await;
    let two = east_operator(east, source.cluster.url()).await;
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!(written_since(&marks), [""; 0]);
    assert!(asked_for(source, marks[0].1) >= 1, "it asked again");

    // Somebody puts the older envelope back: the source puts it right, and in the meantime nobody believes it.
    one.kill().await;
    put_back(source, &export).await;
    wait_failed(east, "somebody put older ciphertext back").await;
    assert_eq!(east.value("reports", "db", "password").await, b"two");
    let one = source.operator().await;
    wait_told(east, "reports", "db", ReplicationState::InSync).await;
    assert_eq!(east.versions("reports", "db").await.len(), 2);
    for operator in [one, two] {
        assert_eq!(operator.log().matches("panicked").count(), 0);
        assert!(!operator.log().contains(CANARY));
    }
}

/// Puts an earlier export in the place of the newest, which takes an administrator who takes the policy away that guards it.
async fn put_back(source: &Bed, export: &Secret) {
    let mut older = source.native("shop", "db.replica").await.unwrap();
    older
        .metadata
        .annotations
        .clone_from(&export.metadata.annotations);
    older.data.clone_from(&export.data);
    older.metadata.managed_fields = None;
    older.metadata.resource_version = None;
    let older = serde_json::to_string(&older).unwrap();
    let replace = || source.kubectl_with(&["replace", "-f", "-"], &older);
    let refused = replace().await.expect_refused();
    assert!(
        refused.contains("written by the operator only"),
        "{refused}"
    );
    let label = ["label", "secret", "db.replica", "-n", "shop", "team=orders"];
    source.kubectl(&label).await.expect_ok();
    let binding = "validatingadmissionpolicybinding/keystead-replica-writer";
    source.kubectl(&["delete", binding]).await.expect_ok();
    eventually("nothing guards it any more", || async {
        replace().await.ok
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_keeps_the_source_away_leaves_the_value_and_ends_by_itself() {
    let pair = pair().await;
    let (source, east) = (&pair.source, &pair.east);
    let url = source.cluster.url();
    // A server that nobody listed is not even asked.
    let proxy = source.proxy().await;
    let elsewhere = credentials("elsewhere", &proxy.url(), source, "reader").await;
    let nobody = credentials("nobody", url, source, "nobody").await;
    let kubeconfig = kubeconfig("config", url, source, "reader").await;
    let insecure = kubeconfig.replace(
        r#"\"server\""#,
        r#"\"insecure-skip-tls-verify\":true,\"server\""#,
    );
    assert_ne!(insecure, kubeconfig);
    let insecure = insecure.replace(r#""name":"config""#, r#""name":"insecure""#);
    // Another authority than that of the server.
    let authorities = [source, east].map(|bed| {
        let pem = bed.cluster.ca_pem().unwrap();
        serde_json::to_string(&pem).unwrap()
    });
    let impostor = credentials("impostor", url, source, "reader").await;
    let impostor = impostor.replace(&authorities[0], &authorities[1]);
    let all = [elsewhere, nobody, kubeconfig, insecure, impostor].concat();
    east.apply(&all).await;
    east.apply(&replica("elsewhere")).await;
    let message = east
        .wait_not_ready("reports", "db", "ReplicationFailed")
        .await;
    assert!(message.contains("replication.clusters"), "{message}");
    assert!(message.contains(&proxy.url()), "{message}");
    assert!(east.data("reports", "db").await.is_none());
    east.apply(&replica("missing")).await;
    wait_failed(east, "Secret reports/missing: it does not exist").await;
    east.apply(&replica("insecure")).await;
    wait_failed(east, "kubeconfig has insecure-skip-tls-verify").await;
    east.apply(&replica("impostor")).await;
    wait_failed(east, "shows a certificate that the authority").await;
    east.apply(&replica("nobody")).await;
    wait_failed(east, "HTTP 403").await;
    assert!(east.data("reports", "db").await.is_none());

    east.apply(&replica("config")).await;
    arrives(east, CANARY.as_bytes()).await;
    wait_told(east, "reports", "db", ReplicationState::InSync).await;
    // A token without rights.
    east.apply(&replica("nobody")).await;
    wait_failed(east, "HTTP 403").await;
    assert_eq!(east.value("reports", "db", "user").await, b"one");
    // The credentials are put right where they are: that is noticed at once.
    east.apply(&credentials("nobody", url, source, "reader").await)
        .await;
    wait_told(east, "reports", "db", ReplicationState::InSync).await;

    // The source's API server is away, and its value is cared for all the same.
    let server = source.cluster.component(Component::ApiServer);
    server.stop().await.unwrap();
    wait_failed(east, "cannot be reached").await;
    let mark = east.cluster.audit_mark();
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!(written(east, mark), [""; 0], "it failed the same way again");
    east.delete("reports", "secret/db").await;
    arrives(east, CANARY.as_bytes()).await;
    server.start().await.unwrap();
    server.ready().await.unwrap();
    wait_told(east, "reports", "db", ReplicationState::InSync).await;
    source.apply(&shared("two", &[("east", &pair.key)])).await;
    arrives(east, b"two").await;
    assert_eq!(pair.east_operator.log().matches("panicked").count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_taken_out_gets_nothing_new_and_a_replica_stands_by_itself_when_told() {
    let pair = pair().await;
    let (source, east) = (&pair.source, &pair.east);
    east.apply(&replica("source")).await;
    arrives(east, CANARY.as_bytes()).await;
    // Another installation takes its place: the source's own, which is as good as any.
    let other = first_public_key(source).await[0].to_string();
    source.apply(&shared(CANARY, &[("west", &other)])).await;
    wait_failed(east, "not sealed for this installation").await;
    source.apply(&shared("two", &[("west", &other)])).await;
    source.wait_value("shop", "db", "password", b"two").await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(
        east.value("reports", "db", "password").await,
        CANARY.as_bytes()
    );
    // Nobody is left: nothing waits for anybody.
    source.apply(&shared("two", &[])).await;
    eventually("what waited is gone", || async {
        source.native("shop", "db.replica").await.is_none()
    })
    .await;
    wait_failed(east, "HTTP 404").await;

    // What is somebody else's is left alone.
    let foreign = "{apiVersion: v1, kind: Secret, metadata: {name: db.replica, namespace: shop}, stringData: {a: b}}";
    source.apply(foreign).await;
    source.apply(&shared("three", &[("east", &pair.key)])).await;
    let message = source.wait_not_ready("shop", "db", "SharingFailed").await;
    assert!(
        message.contains("db.replica exists and is not ours"),
        "{message}"
    );
    source.wait_value("shop", "db", "password", b"three").await;
    assert_eq!(source.value("shop", "db.replica", "a").await, b"b");
    source.delete("shop", "secret/db.replica").await;
    source.wait_ready("shop", "db").await;
    arrives(east, b"three").await;

    // The source goes: an Event names the clusters, what waited goes too, and the value stays.
    source.delete("shop", "managedsecret/db").await;
    eventually("an Event tells of the clusters", || async {
        source.events("shop", "db", "ReplicationFailed").await > 0
    })
    .await;
    eventually("what waited is gone", || async {
        source.native("shop", "db.replica").await.is_none()
    })
    .await;
    wait_failed(east, "HTTP 404").await;
    let versions = east.versions("reports", "db").await;
    let promoted = json!({"spec": {"replicaOf": null, "stored": {}}});
    east.patch("reports", "managedsecret/db", &promoted).await;
    east.wait_ready("reports", "db").await;
    assert_eq!(east.versions("reports", "db").await, versions);
    assert_eq!(east.value("reports", "db", "password").await, b"three");
    let status = east.managed("reports", "db").await.status.unwrap();
    assert_eq!(status.replication, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shares_with_a_cluster_or_follows_one_must_be_able_to_read_it_himself() {
    let bed = bed_with_author().await;
    let ann = Person::new(&bed, "ann");
    let key = |letter: &str| format!("kssk1_{}", letter.repeat(1664));
    let shares = |clusters: &Value| {
        let spec = json!({"literals": {"a": "b"}, "target": {"form": "None"}, "shareWith": {"clusters": clusters}});
        managed_secret("shop", "db", &spec.to_string())
    };
    let east = json!([{"name": "east", "sealingKey": key("a")}]);
    let follows = managed_secret(
        "shop",
        "other",
        "{replicaOf: {namespace: shop, name: db, cluster: {secretRef: {name: source}}}, target: {form: None}}",
    );
    let message = ann.refused(&shares(&east)).await;
    assert!(
        message.contains("managedsecrets/value for ManagedSecret shop/db"),
        "{message}"
    );
    let message = ann.refused(&follows).await;
    assert!(
        message.contains("needs get on secrets for Secret shop/source"),
        "{message}"
    );
    // The right to the value of a secret of that name here is another.
    let reader = "[{apiGroups: [keystead.dev], resources: [managedsecrets/value], verbs: [get], resourceNames: [db]}]";
    ann.grant("shop", "reader", reader).await;
    ann.allowed(&shares(&east)).await;
    ann.refused(&follows).await;
    let secret =
        "[{apiGroups: [\"\"], resources: [secrets], verbs: [get], resourceNames: [source]}]";
    ann.grant("shop", "credentials", secret).await;
    ann.allowed(&follows).await;
    // Without it, the list may be narrowed and renamed, and not widened.
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
    let both =
        json!([{"name": "east", "sealingKey": key("a")}, {"name": "west", "sealingKey": key("b")}]);
    ann.refused(&shares(&both)).await;
    ann.refused(&shares(&json!([{"name": "east", "sealingKey": key("b")}])))
        .await;
    let renamed = json!([{"name": "eastern", "sealingKey": key("a")}]);
    ann.apply(&shares(&renamed)).await.expect_ok();
}
