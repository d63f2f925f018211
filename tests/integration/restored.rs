//! Case B41 for what is more than a generated password: a backup that is put back opens and changes nothing.

use std::time::Duration;

use serde_json::json;

use crate::existing::{Saved, restore};
use crate::sealed::{entry, first_public_key, strict};
use crate::support::{Bed, eventually, managed_secret};

/// What is backed up, in the order in which it is put back: a replica comes before its source.
const SECRETS: [(&str, &str); 5] = [
    ("reports", "replica"),
    ("shop", "source"),
    ("shop", "git"),
    ("shop", "made"),
    ("shop", "restarting"),
];

const MADE: &str =
    "{generate: [{key: password, password: {}}, {key: hash, bcrypt: {from: password}},
 {key: tls.crt, certificate: {dnsNames: [orders]}}, {key: id, sshKey: {}}], target: {form: Plain}}";

const CONSUMER: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: consumer, namespace: shop}
spec:
  selector: {matchLabels: {app: consumer}}
  template:
    metadata: {labels: {app: consumer}}
    spec:
      containers: [{name: app, image: example.invalid/app, envFrom: [{secretRef: {name: restarting}}]}]
";

async fn set_up(bed: &Bed) {
    let keys = first_public_key(bed).await;
    let token = entry(b"from-git", strict("shop", "git", "token"), &keys);
    let secrets = [
        managed_secret(
            "shop",
            "source",
            "{literals: {a: one}, shareWith: {namespaces: [reports]}, target: {form: Plain}}",
        ),
        managed_secret(
            "reports",
            "replica",
            "{replicaOf: {namespace: shop, name: source}, target: {form: Plain}}",
        ),
        managed_secret(
            "shop",
            "git",
            &format!("{{sealed: {{token: \"{token}\"}}, target: {{form: Plain}}}}"),
        ),
        managed_secret("shop", "made", MADE),
        managed_secret(
            "shop",
            "restarting",
            "{literals: {a: one}, rollout: {auto: true}, target: {form: Plain}}",
        ),
    ];
    bed.apply(&format!("{}---{CONSUMER}", secrets.concat()))
        .await;
    for (namespace, name) in SECRETS {
        bed.wait_ready(namespace, name).await;
    }
    // A second version, a label on the first, and a restart.
    let first = bed.versions("shop", "git").await[0].0.clone();
    let label = json!({"spec": {"versionStages": {"blue": first}, "literals": {"b": "c"}}});
    bed.patch("shop", "managedsecret/git", &label).await;
    for name in ["source", "restarting"] {
        let two = json!({"spec": {"literals": {"a": "two"}}});
        bed.patch("shop", &format!("managedsecret/{name}"), &two)
            .await;
    }
    bed.wait_value("reports", "replica", "a", b"two").await;
    bed.wait_value("shop", "git", "b", b"c").await;
    eventually("the consumer is restarted", || async {
        generation(bed).await == 2
    })
    .await;
    for (namespace, name) in SECRETS {
        bed.wait_ready(namespace, name).await;
    }
}

async fn generation(bed: &Bed) -> i64 {
    let args = [
        "get",
        "deployment/consumer",
        "-n",
        "shop",
        "-o",
        "jsonpath={.metadata.generation}",
    ];
    bed.kubectl(&args).await.expect_ok().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sealed_derived_signed_labelled_or_replicated_comes_back_as_it_was() {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    bed.namespace("shop").await;
    bed.namespace("reports").await;
    set_up(&bed).await;
    let mut saved = Vec::new();
    for (namespace, name) in SECRETS {
        saved.push(Saved::of(&bed, namespace, name).await);
    }
    for namespace in ["shop", "reports"] {
        bed.kubectl(&["delete", "managedsecrets", "--all", "-n", namespace])
            .await
            .expect_ok();
    }
    for (namespace, name) in SECRETS {
        bed.wait_parked(namespace, name, true).await;
    }
    operator.kill().await;
    // Two before an operator starts, and the others beside it.
    for saved in &saved[..2] {
        restore(&bed, saved).await;
    }
    let operator = bed.operator().await;
    operator.wait_ready().await;
    for saved in &saved[2..] {
        restore(&bed, saved).await;
    }
    is_as_it_was(&bed, &saved).await;
    operator.stop().await;
    let _operator = bed.operator().await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    is_as_it_was(&bed, &saved).await;
    assert_eq!(generation(&bed).await, 2, "nobody was restarted");
}

async fn is_as_it_was(bed: &Bed, saved: &[Saved]) {
    for ((namespace, name), saved) in SECRETS.into_iter().zip(saved) {
        bed.wait_ready(namespace, name).await;
        bed.wait_parked(namespace, name, false).await;
        eventually("the target is back", || async {
            bed.data(namespace, name).await.as_ref() == Some(&saved.value)
        })
        .await;
        assert_eq!(
            bed.versions(namespace, name).await,
            saved.versions,
            "{name}"
        );
    }
}
