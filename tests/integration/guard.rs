//! The guard: what cannot be recovered is not deleted while its label says so.

use std::time::Duration;

use keystead_cluster::{AuditEvent, AuditMark, Component};

use crate::support::{Bed, Operator, Person, Printed, SYSTEM, eventually};

const GUARD: &str = "keystead.dev/guard";
const SECRETS: &str = "
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {name: db, namespace: shop}
spec: {generate: [{key: password, password: {}}], target: {form: Plain}}
";

async fn operator(bed: &Bed) -> Operator {
    // As the chart's Deployment starts it.
    let operator = bed.operator_named("one", &["--guard-namespace"]).await;
    operator.wait_ready().await;
    operator
}

async fn guard_label(bed: &Bed) -> String {
    let path = "jsonpath={.metadata.labels.keystead\\.dev/guard}";
    bed.kubectl(&["get", "namespace", SYSTEM, "-o", path])
        .await
        .expect_ok()
}

async fn label_guard(bed: &Bed, on: bool) {
    let word = if on {
        format!("{GUARD}=enabled")
    } else {
        format!("{GUARD}-")
    };
    bed.kubectl(&["label", "namespace", SYSTEM, &word, "--overwrite"])
        .await
        .expect_ok();
    // The admission plugin hears of it through a watch.
    let probe = [
        "delete",
        "configmap",
        "keystead-installation",
        "-n",
        SYSTEM,
        "--dry-run=server",
    ];
    eventually("the guard follows its label", || async {
        bed.kubectl(&probe).await.ok != on
    })
    .await;
}

/// Everything that the truth consists of, as `kind/name`.
async fn truth(bed: &Bed) -> Vec<String> {
    let types = ["keystead.dev/sealed", "keystead.dev/root-key"];
    let mut found = vec!["configmap/keystead-installation".to_owned()];
    for type_ in types {
        let selector = format!("--field-selector=type={type_}");
        let args = ["get", "secrets", "-n", SYSTEM, "-o", "name", &selector];
        found.extend(
            bed.kubectl(&args)
                .await
                .expect_ok()
                .lines()
                .map(ToOwned::to_owned),
        );
    }
    let args = ["get", "keymaterials", "-n", SYSTEM, "-o", "name"];
    found.extend(
        bed.kubectl(&args)
            .await
            .expect_ok()
            .lines()
            .map(ToOwned::to_owned),
    );
    found
}

/// kubectl as a cluster administrator who is not in `system:masters`.
async fn root(bed: &Bed, args: &[&str]) -> Printed {
    bed.kubectl(&[&["--as", "root"], args].concat()).await
}

#[track_caller]
fn assert_guarded(refused: Printed, what: &str) {
    let message = refused.expect_refused();
    assert!(
        message.contains(GUARD) && message.contains("kubectl label"),
        "{what}: {message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_holds_against_administrators_and_the_controllers_of_kubernetes() {
    let bed = Bed::start().await;
    let operator = operator(&bed).await;
    assert_eq!(
        guard_label(&bed).await,
        "enabled",
        "the installation labels its namespace"
    );
    bed.namespace("shop").await;
    bed.apply(SECRETS).await;
    bed.wait_ready("shop", "db").await;
    let binding = [
        "create",
        "clusterrolebinding",
        "root",
        "--clusterrole=cluster-admin",
        "--user=root",
    ];
    bed.kubectl(&binding).await.expect_ok();
    Person::new(&bed, "root").can(&["*", "*", "-A"]).await;

    everything_is_guarded(&bed).await;
    approvals_are_let_through(&bed).await;
    the_garbage_collector_is_refused(&bed).await;

    // The operator works on under the guard, and its own writes of the truth are let through.
    let value = bed.value("shop", "db", "password").await;
    bed.kubectl(&["delete", "managedsecret", "db", "-n", "shop"])
        .await
        .expect_ok();
    eventually("the target goes", || async {
        bed.data("shop", "db").await.is_none()
    })
    .await;
    bed.apply(SECRETS).await;
    bed.wait_ready("shop", "db").await;
    let again = bed.value("shop", "db", "password").await;
    assert_eq!(again, value, "parked and adopted");

    the_label_is_put_on_once(&bed, operator).await;
    the_namespace_controller_is_refused(&bed).await;
}

async fn everything_is_guarded(bed: &Bed) {
    let truth = truth(bed).await;
    assert_eq!(
        truth.len(),
        5,
        "record, sealed secret, root key, the material of a key and that for sealing: {truth:?}"
    );
    for object in &truth {
        let content = if object.starts_with("keymaterial") {
            r#"{"spec":{"enabled":false}}"#
        } else {
            r#"{"data":{"key":"AAAA"}}"#
        };
        let hold = r#"{"metadata":{"finalizers":["example.com/hold"]}}"#;
        for args in [
            &["delete", object][..],
            &[
                "delete",
                object,
                "--grace-period=0",
                "--force",
                "--wait=false",
            ],
            &["label", object, "a=b"],
            &[
                "annotate",
                object,
                "keystead.dev/parked-since=2020-01-01T00:00:00Z",
            ],
            &[
                "annotate",
                object,
                "keystead.dev/namespace=bank",
                "--overwrite",
            ],
            &["patch", object, "--type=merge", "-p", hold],
            &["patch", object, "--type=merge", "-p", content],
        ] {
            let refused = root(bed, &[args, &["-n", SYSTEM]].concat()).await;
            if object == "secret/keystead-root" && args.contains(&content) {
                // Immutable: the API server refuses it before it asks anybody.
                refused.expect_refused();
            } else {
                assert_guarded(refused, &format!("{args:?}"));
            }
        }
    }
    for args in [
        &["delete", "secrets", "--all", "-n", SYSTEM][..],
        &["delete", "keymaterials", "--all", "-n", SYSTEM],
        &["delete", "configmaps", "--all", "-n", SYSTEM],
        &["delete", "namespace", SYSTEM, "--wait=false"],
        &["delete", "crd", "managedkeys.keystead.dev", "--wait=false"],
        &[
            "delete",
            "crd",
            "managedsecrets.keystead.dev",
            "--wait=false",
        ],
        &["delete", "crd", "keymaterials.keystead.dev", "--wait=false"],
        &[
            "delete",
            "crd",
            "-l",
            "keystead.dev/guard=enabled",
            "--wait=false",
        ],
    ] {
        assert_guarded(root(bed, args).await, &format!("{args:?}"));
    }
    for path in ["secrets", "configmaps"] {
        let collection = format!("/api/v1/namespaces/{SYSTEM}/{path}");
        assert_guarded(
            root(bed, &["delete", "--raw", &collection]).await,
            &collection,
        );
    }
    assert_eq!(self::truth(bed).await, truth, "nothing is gone");
}

async fn approvals_are_let_through(bed: &Bed) {
    for object in truth(bed).await {
        let approval = if object.starts_with("configmap") {
            "keystead.dev/approve-adoption-before=2020-01-01T00:00:00Z"
        } else {
            "keystead.dev/approve-adoption=00000000-0000-0000-0000-000000000000"
        };
        root(bed, &["annotate", &object, approval, "-n", SYSTEM])
            .await
            .expect_ok();
        let smuggled = [approval, "keystead.dev/name=other", "--overwrite"];
        let args = [&["annotate", &object, "-n", SYSTEM], &smuggled[..]].concat();
        assert_guarded(root(bed, &args).await, &object);
        let taken_back = format!("{}-", approval.split('=').next().unwrap());
        root(bed, &["annotate", &object, &taken_back, "-n", SYSTEM])
            .await
            .expect_ok();
    }
}

/// The refused deletions of the truth by controllers of Kubernetes.
fn refused_deletions(bed: &Bed, since: AuditMark, by: &str) -> Vec<AuditEvent> {
    let mut events = bed.cluster.audit_since(since).unwrap();
    events.retain(|event| {
        event.is_complete()
            && event.verb.starts_with("delete")
            && event.namespace == SYSTEM
            && event.code >= 400
            && event.user == format!("system:serviceaccount:kube-system:{by}")
    });
    events
}

async fn the_garbage_collector_is_refused(bed: &Bed) {
    let before = truth(bed).await;
    let args = ["create", "configmap", "owner", "-n", SYSTEM];
    bed.kubectl(&args).await.expect_ok();
    let uid = [
        "get",
        "configmap",
        "owner",
        "-n",
        SYSTEM,
        "-o",
        "jsonpath={.metadata.uid}",
    ];
    let uid = bed.kubectl(&uid).await.expect_ok();
    let patch = format!(
        r#"{{"metadata":{{"ownerReferences":[{{"apiVersion":"v1","kind":"ConfigMap","name":"owner","uid":"{uid}"}}]}}}}"#
    );
    let owned: Vec<_> = before
        .iter()
        .filter(|object| !object.starts_with("configmap"))
        .collect();
    for object in &owned {
        let args = ["patch", object, "-n", SYSTEM, "--type=merge", "-p", &patch];
        assert_guarded(root(bed, &args).await, "an owner reference");
    }
    // Somebody gave the truth an owner while the guard was lifted.
    label_guard(bed, false).await;
    for object in &owned {
        let args = ["patch", object, "-n", SYSTEM, "--type=merge", "-p", &patch];
        root(bed, &args).await.expect_ok();
    }
    label_guard(bed, true).await;
    let mark = bed.cluster.audit_mark();
    bed.kubectl(&["delete", "configmap", "owner", "-n", SYSTEM])
        .await
        .expect_ok();
    eventually("the garbage collector tries each", || async {
        let refused = refused_deletions(bed, mark, "generic-garbage-collector");
        owned.iter().all(|object| {
            let name = object.rsplit('/').next().unwrap();
            refused.iter().any(|event| event.name == name)
        })
    })
    .await;
    assert_eq!(truth(bed).await, before);
    // It would try on; without the guard it must not get in between.
    let manager = bed.cluster.component(Component::ControllerManager);
    manager.pause().unwrap();
    label_guard(bed, false).await;
    let patch = r#"{"metadata":{"ownerReferences":null}}"#;
    for object in &owned {
        let args = ["patch", object, "-n", SYSTEM, "--type=merge", "-p", patch];
        root(bed, &args).await.expect_ok();
    }
    label_guard(bed, true).await;
    manager.resume().unwrap();
}

/// Whoever takes the label off stays obeyed, and what was guarded is not any more.
async fn the_label_is_put_on_once(bed: &Bed, running: Operator) {
    label_guard(bed, false).await;
    running.stop().await;
    let again = operator(bed).await;
    bed.kubectl(&["label", "managedsecret", "db", "-n", "shop", "a=b"])
        .await
        .expect_ok();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(guard_label(bed).await, "", "a restart does not put it back");
    again.stop().await;
    for object in truth(bed).await {
        let args = ["delete", &object, "-n", SYSTEM, "--dry-run=server"];
        root(bed, &args).await.expect_ok();
    }
    let args = ["delete", "namespace", SYSTEM, "--dry-run=server"];
    root(bed, &args).await.expect_ok();
    // The definitions have a label of their own.
    let crd = "managedkeys.keystead.dev";
    let delete = ["delete", "crd", crd, "--dry-run=server"];
    assert_guarded(root(bed, &delete).await, crd);
    root(bed, &["label", "crd", crd, &format!("{GUARD}-")])
        .await
        .expect_ok();
    root(bed, &delete).await.expect_ok();
    label_guard(bed, true).await;
}

/// A namespace that is on its way out already, and the guard comes back before its content is deleted.
async fn the_namespace_controller_is_refused(bed: &Bed) {
    let before = truth(bed).await;
    let manager = bed.cluster.component(Component::ControllerManager);
    label_guard(bed, false).await;
    manager.pause().unwrap();
    bed.kubectl(&["delete", "namespace", SYSTEM, "--wait=false"])
        .await
        .expect_ok();
    label_guard(bed, true).await;
    let mark = bed.cluster.audit_mark();
    manager.resume().unwrap();
    eventually("the namespace controller tries", || async {
        let refused = refused_deletions(bed, mark, "namespace-controller");
        ["secrets", "keymaterials", "configmaps"]
            .iter()
            .all(|kind| refused.iter().any(|event| event.resource == *kind))
    })
    .await;
    assert_eq!(truth(bed).await, before, "nothing is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_who_copies_the_label_blocks_nothing() {
    let bed = Bed::start().await;
    let _operator = operator(&bed).await;
    bed.namespace("shop").await;
    bed.kubectl(&["label", "namespace", "shop", &format!("{GUARD}=enabled")])
        .await
        .expect_ok();
    bed.apply(SECRETS).await;
    // A tenant may even copy the type.
    bed.apply(
        "
apiVersion: v1
kind: Secret
metadata: {name: copy, namespace: shop}
type: keystead.dev/sealed
stringData: {a: b}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: keystead-installation, namespace: shop}
",
    )
    .await;
    bed.wait_ready("shop", "db").await;
    for args in [
        &["annotate", "secret", "copy", "-n", "shop", "a=b"][..],
        &["delete", "secret", "copy", "-n", "shop"],
        &["delete", "configmap", "keystead-installation", "-n", "shop"],
        &["delete", "managedsecret", "db", "-n", "shop"],
    ] {
        bed.kubectl(args).await.expect_ok();
    }
    eventually("the target goes", || async {
        bed.data("shop", "db").await.is_none()
    })
    .await;
    bed.kubectl(&["delete", "namespace", "shop", "--timeout=60s"])
        .await
        .expect_ok();
    let gone = bed
        .kubectl(&["get", "namespace", "shop"])
        .await
        .expect_refused();
    assert!(gone.contains("NotFound"), "{gone}");
}
