//! What only the server, the controller and the Job controller may make: `SecretChange`s, and the label of a rotation's pods.

use std::time::Duration;

use keystead::api::SecretChange;
use kube::Api;
use kube::ResourceExt;
use kube::api::ListParams;

use super::{CANARY, World, put, version};
use crate::leaks::holding;
use crate::schedules::owned;
use crate::support::{Bed, Calls, OPERATOR_USER, Person, SYSTEM, eventually, eventually_within};

const SERVER_USER: &str = "system:serviceaccount:keystead-system:keystead-server";

fn change(namespace: &str) -> String {
    format!(
        "{{apiVersion: keystead.dev/v1alpha1, kind: SecretChange, metadata: {{name: forged, namespace: {namespace}}}, spec: {{namespace: shop, name: db, \
         namespaceUid: home, objectUid: object, user: ann, moveStage: {{stage: Current, moveToVersionId: {}}}}}}}",
        version(1)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_made_by_the_server_answered_by_the_controller_and_holds_no_plaintext() {
    let world = World::start().await;
    let bed = &world.bed;
    bed.policies_in_force().await;
    let spec = "{stored: {}, literals: {a: b}, target: {form: None}}";
    world.secret("db", spec).await;
    let writer = world.writer().await;

    // Not even an administrator, and nobody elsewhere.
    for namespace in [SYSTEM, "shop"] {
        let create = ["create", "-f", "-"];
        let refused = bed.kubectl_with(&create, &change(namespace)).await;
        let message = refused.expect_refused();
        assert!(message.contains("made by the server"), "{message}");
    }
    let server = Person::new(bed, SERVER_USER);
    let refused = server
        .kubectl_with(&["create", "-f", "-"], &change("shop"))
        .await;
    refused.expect_refused();

    let whole = format!("{{\"password\":\"{CANARY}\"}}");
    put(&writer, "db", &version(1), &whole).await.ok();
    let changes: Api<SecretChange> = Api::namespaced(bed.client.clone(), SYSTEM);
    let listed = changes.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(listed.len(), 1);
    let made = &listed[0];
    assert_eq!(made.spec.user, "system:serviceaccount:shop:writer");
    assert_eq!(made.status.as_ref().unwrap().done, Some(true));
    let name = made.name_any();
    for user in [SERVER_USER, "system:admin"] {
        for patch in [
            (
                &["--subresource=status"][..],
                "{\"status\":{\"done\":false}}",
            ),
            (&[], "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}"),
        ] {
            let args = [
                "patch",
                "secretchange",
                &name,
                "-n",
                SYSTEM,
                "--type=merge",
                "-p",
                patch.1,
            ];
            let args = [&args[..], patch.0].concat();
            let refused = Person::new(bed, user).kubectl(&args).await;
            refused.expect_refused();
        }
    }
    let dump = bed.cluster.etcd().dump().await.unwrap();
    assert!(holding(&dump, CANARY.as_bytes()).is_empty());

    // Nobody needs it any more after two minutes.
    bed.set_clock(125);
    eventually_within(Duration::from_secs(30), "the change is gone", || async {
        changes
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    })
    .await;
    bed.set_clock(0);
    assert_eq!(bed.versions("shop", "db").await[0].0, version(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_is_in_no_log_at_any_level() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let level = [
        "--log",
        "trace,kube=trace,hyper=trace,tower=trace,rustls=trace,h2=trace",
    ];
    let controller = bed.operator_named("one", &level).await;
    let server = bed.server_with("server", &level).await;
    server.wait_ready().await;
    let spec = "{stored: {}, literals: {a: b}, target: {form: None}}";
    bed.apply_secret("shop", "db", spec).await;
    bed.wait_ready("shop", "db").await;
    let args = ["create", "serviceaccount", "writer", "-n", "shop"];
    bed.kubectl(&args).await.expect_ok();
    let rule =
        "[{apiGroups: [keystead.dev], resources: [managedsecrets/value], verbs: [get, put]}]";
    let person = Person::new(&bed, "system:serviceaccount:shop:writer");
    person.grant("shop", "writes", rule).await;
    let question = ["put", "managedsecrets", "--subresource=value", "-n", "shop"];
    person.can(&question).await;
    let writer = Calls::account(&bed, &server, "shop", "writer").await;
    for (number, whole, status) in [
        (1, format!("{{\"password\":\"{CANARY}\"}}"), 200),
        (2, format!("{{\"a\":\"{CANARY}\"}}"), 400),
        (3, format!("{{\"password\":[\"{CANARY}\"]}}"), 400),
        (1, CANARY.to_owned(), 400),
    ] {
        let answer = put(&writer, "db", &version(number), &whole).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(!answer.body.to_string().contains(CANARY));
    }
    for log in [controller.log(), server.log()] {
        assert!(
            log.contains("TRACE") || log.contains("trace"),
            "it is at that level"
        );
        assert!(!log.contains(CANARY));
    }
}

/// A Job; `labels` of it, and of its pods.
fn job(labels: &str, of_pods: &str) -> String {
    format!(
        "{{apiVersion: batch/v1, kind: Job, metadata: {{name: rotate, namespace: shop, labels: {{{labels}}}}}, spec: {{suspend: true, template: \
         {{metadata: {{labels: {{{of_pods}}}}}, spec: {{restartPolicy: Never, containers: [{{name: a, image: a}}]}}}}}}}}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_the_operator_makes_jobs_or_pods_of_a_rotation() {
    let world = World::start().await;
    let bed = &world.bed;
    bed.policies_in_force().await;
    let label = format!("keystead.dev/rotation-version: {}", version(1));
    let ann = Person::new(bed, "ann");
    ann.bind("shop", "edit").await;
    ann.can(&["create", "jobs", "-n", "shop"]).await;
    let create = ["create", "-f", "-"];
    let refused = |what: &str, printed: crate::support::Printed| {
        let message = printed.expect_refused();
        assert!(
            message.contains("is a right to a secret"),
            "{what}: {message}"
        );
    };
    let pod = |labels: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: alone, namespace: shop, labels: {{{labels}}}}}, spec: {{containers: [{{name: a, image: a}}]}}}}"
        )
    };
    for (what, yaml) in [
        ("a pod", pod(&label)),
        ("a Job with the label", job(&label, "")),
        ("a Job whose pods have it", job("", &label)),
    ] {
        refused(what, ann.kubectl_with(&create, &yaml).await);
    }
    // Nor does an administrator, nor by and by.
    refused(
        "an administrator",
        bed.kubectl_with(&create, &job(&label, &label)).await,
    );
    ann.kubectl_with(&create, &job("a: b", "a: b"))
        .await
        .expect_ok();
    ann.kubectl_with(&create, &pod("a: b")).await.expect_ok();
    let set = label.replace(": ", "=");
    for what in ["job/rotate", "pod/alone"] {
        refused(
            what,
            ann.kubectl(&["label", what, &set, "-n", "shop"]).await,
        );
        ann.kubectl(&["label", what, "c=d", "-n", "shop"])
            .await
            .expect_ok();
    }
    let template = format!(
        "{{\"spec\":{{\"template\":{{\"metadata\":{{\"labels\":{{\"keystead.dev/rotation-version\":\"{}\"}}}}}}}}}}",
        version(1)
    );
    let args = [
        "patch",
        "job",
        "rotate",
        "-n",
        "shop",
        "--type=merge",
        "-p",
        &template,
    ];
    ann.kubectl(&args).await.expect_refused();

    // What other controllers would make of a template.
    let deployment = format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: web, namespace: shop}}, spec: {{selector: {{matchLabels: {{a: b}}}}, template: \
         {{metadata: {{labels: {{a: b, {label}}}}}, spec: {{containers: [{{name: a, image: a}}]}}}}}}}}"
    );
    ann.kubectl_with(&create, &deployment).await.expect_ok();
    eventually("the ReplicaSet is told", || async {
        let args = [
            "get",
            "events",
            "-n",
            "shop",
            "-o",
            "jsonpath={.items[*].message}",
        ];
        bed.kubectl(&args)
            .await
            .out
            .contains("is a right to a secret")
    })
    .await;

    // The operator may, for a schedule; and the Job controller makes the pods, and no others.
    let operator = Person::new(bed, OPERATOR_USER);
    operator.can(&["create", "jobs", "-n", "shop"]).await;
    let real = job(&label, &label)
        .replace("name: rotate", &format!("name: real, {}", owned(bed).await))
        .replace("suspend: true", "suspend: false");
    operator.kubectl_with(&create, &real).await.expect_ok();
    eventually("the Job has a pod", || async {
        let args = ["get", "pods", "-n", "shop", "-l", &set, "-o", "name"];
        bed.kubectl(&args).await.out.lines().count() == 1
    })
    .await;
}
