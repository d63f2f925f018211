//! What else is delivered than values: labels and annotations; and a form that waits until nobody needs the one before.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Bed, SOON, eventually, eventually_within};

/// A Deployment that gets a Secret.
fn deployment(secret: &str) -> String {
    format!(
        "---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: shop}}
spec:
  replicas: 0
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
      - {{name: app, image: example.invalid/app, envFrom: [{{secretRef: {{name: {secret}}}}}]}}
"
    )
}

async fn labels(bed: &Bed, name: &str) -> BTreeMap<String, String> {
    let secret = bed.native("shop", name).await.unwrap();
    secret.metadata.labels.unwrap_or_default()
}

async fn annotation(bed: &Bed, name: &str, key: &str) -> Option<String> {
    let secret = bed.native("shop", name).await.unwrap();
    secret.metadata.annotations?.get(key).cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_and_annotations_are_ours_as_long_as_the_spec_has_them() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    bed.namespace("shop").await;
    let spec = |metadata: &str| {
        format!(
            "{{generate: [{{key: password, password: {{}}}}], template: {{metadata: {metadata}}}, target: {{form: Plain}}, \
             rollout: {{auto: true}}}}"
        )
    };
    let first = "{labels: {argocd.argoproj.io/secret-type: repository, app.kubernetes.io/part-of: shop}, annotations: {team: 'orders & co'}}";
    bed.apply_secret("shop", "db", &spec(first)).await;
    bed.wait_ready("shop", "db").await;
    bed.apply(&deployment("db")).await;
    let value = bed.data("shop", "db").await.unwrap();
    let versions = bed.versions("shop", "db").await;
    let worn = labels(&bed, "db").await;
    assert_eq!(worn["argocd.argoproj.io/secret-type"], "repository");
    assert_eq!(worn["app.kubernetes.io/part-of"], "shop");
    assert_eq!(annotation(&bed, "db", "team").await.unwrap(), "orders & co");

    // Others have theirs, and who changes ours sees them come back.
    let theirs = json!({"metadata": {"labels": {"theirs": "stays", "app.kubernetes.io/part-of": "another"},
        "annotations": {"team": null}}});
    bed.patch("shop", "secret/db", &theirs).await;
    eventually_within(SOON, "ours are put right", || async {
        let part = labels(&bed, "db").await;
        part["app.kubernetes.io/part-of"] == "shop"
            && annotation(&bed, "db", "team").await.is_some()
    })
    .await;
    assert_eq!(labels(&bed, "db").await["theirs"], "stays");
    eventually("it is told", || async {
        bed.events("shop", "db", "DriftRepaired").await == 1
    })
    .await;

    // What is taken out of the spec goes, and nothing else happens.
    let second = "{labels: {argocd.argoproj.io/secret-type: repo-creds}}";
    bed.apply_secret("shop", "db", &spec(second)).await;
    bed.wait_ready("shop", "db").await;
    let expected = [
        ("app.kubernetes.io/managed-by", "keystead"),
        ("argocd.argoproj.io/secret-type", "repo-creds"),
        ("theirs", "stays"),
    ];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    eventually_within(SOON, "the labels are as they are asked for", || async {
        labels(&bed, "db").await == expected.clone().into()
    })
    .await;
    assert_eq!(annotation(&bed, "db", "team").await, None);
    assert_eq!(bed.data("shop", "db").await.unwrap(), value);
    assert_eq!(bed.versions("shop", "db").await, versions);
    let shown = bed
        .kubectl(&["get", "deployment/web", "-n", "shop", "-o", "json"])
        .await;
    let deployment: Value = serde_json::from_str(&shown.expect_ok()).unwrap();
    assert_eq!(deployment["metadata"]["generation"], 1, "not restarted");
    let state = bed.state_of("shop", "db").await;
    let look = json!({"metadata": {"annotations": {"look": "again"}}});
    bed.patch("shop", "managedsecret/db", &look).await;
    tokio::time::sleep(SOON).await;
    assert_eq!(
        bed.state_of("shop", "db").await,
        state,
        "nothing is written at rest"
    );
}

/// A pod that was never scheduled.
fn pod(name: &str, spec: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop}}
spec:
  containers: [{{name: app, image: example.invalid/app}}]
  {spec}
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plaintext_target_becomes_sealed_only_when_nothing_refers_to_it() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    bed.namespace("shop").await;
    bed.apply_secret(
        "shop",
        "db",
        "{generate: [{key: password, password: {}}], target: {form: Plain}}",
    )
    .await;
    bed.wait_ready("shop", "db").await;
    eventually("pods can be made", || async {
        let args = ["get", "serviceaccount", "default", "-n", "shop"];
        bed.kubectl(&args).await.ok
    })
    .await;
    let mount = "volumes: [{name: v, projected: {sources: [{secret: {name: db}}]}}]";
    let csi =
        "volumes: [{name: v, csi: {driver: secrets.keystead.dev, volumeAttributes: {secret: db}}}]";
    let pods = [
        deployment("db"),
        pod("mounts", mount),
        NIGHTLY.to_owned(),
        pod("by-driver", csi),
        pod("ended", mount),
    ];
    bed.apply(&pods.concat()).await;
    let ended = [
        "patch",
        "pod",
        "ended",
        "-n",
        "shop",
        "--subresource=status",
        "-p",
        r#"{"status": {"phase": "Succeeded"}}"#,
    ];
    bed.kubectl(&ended).await.expect_ok();
    let before = bed.native("shop", "db").await;

    let sealed = json!({"spec": {"target": {"form": "Sealed"}}});
    bed.patch("shop", "managedsecret/db", &sealed).await;
    let told = bed.wait_not_ready("shop", "db", "TargetInUse").await;
    assert!(
        told.contains("Secret db stays in plaintext, with current values")
            && told.contains("Deployment web, CronJob nightly, Pod mounts get it")
            && told.contains("Or set target.form: Plain"),
        "{told}"
    );
    assert_eq!(bed.native("shop", "db").await, before);
    everything_else_goes_on(&bed).await;
    let before = bed.native("shop", "db").await;

    // Without the right to look nobody knows, and it waits, too.
    let rights = bed
        .kubectl(&["get", "clusterrole", "keystead-controller", "-o", "json"])
        .await
        .expect_ok();
    let mut without: Value = serde_json::from_str(&rights).unwrap();
    let rules = without["rules"].as_array_mut().unwrap();
    rules.retain(|rule| rule["resources"] != json!(["pods"]));
    without["metadata"] = json!({"name": "keystead-controller"});
    bed.kubectl_with(&["replace", "-f", "-"], &without.to_string())
        .await
        .expect_ok();
    bed.kubectl(&["delete", "deployment/web", "-n", "shop"])
        .await
        .expect_ok();
    eventually("the missing right is named", || async {
        let look = json!({"metadata": {"annotations": {"look": nanoseconds()}}});
        bed.patch("shop", "managedsecret/db", &look).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let told = bed.wait_not_ready("shop", "db", "TargetInUse").await;
        told.contains("who uses it cannot be found out")
            && told.contains("cannot list resource \"pods\"")
    })
    .await;
    assert_eq!(bed.native("shop", "db").await, before);
    let mut with: Value = serde_json::from_str(&rights).unwrap();
    with["metadata"] = json!({"name": "keystead-controller"});
    bed.kubectl_with(&["replace", "-f", "-"], &with.to_string())
        .await
        .expect_ok();

    bed.delete("shop", "cronjob/nightly").await;
    // When the last one is gone it goes on by itself.
    bed.kubectl(&[
        "delete",
        "pod/mounts",
        "-n",
        "shop",
        "--force",
        "--grace-period=0",
    ])
    .await
    .expect_ok();
    eventually_within(Duration::from_secs(100), "it is sealed", || async {
        let found = bed.native("shop", "db").await;
        found.is_some_and(|found| found.type_.as_deref() == Some("keystead.dev/sealed"))
    })
    .await;
    bed.wait_ready("shop", "db").await;
}

/// What waits is the change of the form, and not what is delivered.
async fn everything_else_goes_on(bed: &Bed) {
    let more = json!({"spec": {"literals": {"user": "u"}}});
    bed.patch("shop", "managedsecret/db", &more).await;
    bed.wait_value("shop", "db", "user", b"u").await;
    bed.wait_not_ready("shop", "db", "TargetInUse").await;
    assert_eq!(bed.versions("shop", "db").await.len(), 2);
    let status = bed.managed("shop", "db").await.status.unwrap();
    let target = status.target_ref.unwrap();
    assert_eq!(target.form, keystead::api::managed_secret::Form::Plain);
    // What somebody else changes is put right, as ever.
    let theirs = json!({"stringData": {"user": "theirs"}});
    bed.patch("shop", "secret/db", &theirs).await;
    bed.wait_value("shop", "db", "user", b"u").await;
}

/// A `CronJob` that mounts the Secret, and has no job now.
const NIGHTLY: &str = "---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: shop}
spec:
  schedule: 0 0 1 1 *
  suspend: true
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: app, image: example.invalid/app, envFrom: [{secretRef: {name: db}}]}]
";

fn nanoseconds() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_nanos().to_string()
}
