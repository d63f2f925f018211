//! Values stay what they are, whatever happens to the operator.

use std::collections::BTreeMap;

use crate::bed::{Bed, Namespace, RELEASE, SYSTEM, Turn};
use crate::tools::{TIMEOUT, eventually};

/// The Secrets that the operator delivers in a namespace of [`deliver`].
const DELIVERED: [&str; 2] = ["plain", "sealed"];

/// A value known to the test, so that one can look for it.
fn canary() -> String {
    let mut random = [0; 16];
    getrandom::fill(&mut random).unwrap();
    format!("canary-{:032x}", u128::from_ne_bytes(random))
}

/// Makes a secret of every generator, delivered in plaintext, and one that seals an imported canary.
fn deliver(bed: &Bed, namespace: &str) -> String {
    let canary = canary();
    let value = format!("--from-literal=value={canary}");
    bed.tools.kubectl([
        "-n", namespace, "create", "secret", "generic", "source", &value,
    ]);
    apply(bed, namespace);
    bed.tools.kubectl([
        "-n",
        namespace,
        "wait",
        "secret/source",
        "--for=delete",
        TIMEOUT,
    ]);
    canary
}

/// Applies the resources, for the first time or again.
fn apply(bed: &Bed, namespace: &str) {
    bed.apply(&format!(
        "
apiVersion: keystead.dev/v1alpha1
kind: ManagedKey
metadata: {{name: vault, namespace: {namespace}}}
spec: {{description: a key that must survive}}
---
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {{name: sealed, namespace: {namespace}}}
spec:
  keyRef: {{name: vault}}
  import: [{{secretRef: {{name: source}}, deleteAfterImport: true}}]
---
{}",
        plain(namespace, "plain")
    ));
    bed.all_ready(namespace);
}

fn plain(namespace: &str, name: &str) -> String {
    format!(
        "
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  keyRef: {{name: vault}}
  generate:
  - {{key: password, password: {{length: 40}}}}
  - {{key: bytes, bytes: {{length: 24}}}}
  - {{key: hex, hex: {{length: 32}}}}
  - {{key: uuid, uuid: {{}}}}
  target: {{form: Plain}}
"
    )
}

/// The resource versions of what was delivered: equal only if nobody has written anything.
fn versions(bed: &Bed, namespace: &str) -> BTreeMap<&'static str, String> {
    let version = |name| {
        bed.get(namespace, &format!("secret/{name}"))["metadata"]["resourceVersion"].to_string()
    };
    DELIVERED
        .into_iter()
        .map(|name| (name, version(name)))
        .collect()
}

/// A resource that is new must be served: somebody leads.
fn assert_served(bed: &Bed, namespace: &str, name: &str) {
    bed.apply(&plain(namespace, name));
    let ready = "--for=condition=Ready";
    let secret = format!("managedsecret/{name}");
    bed.tools
        .kubectl(["-n", namespace, "wait", &secret, ready, TIMEOUT]);
}

/// The sealed canary is nowhere in etcd, and is what comes out when its author asks for plaintext.
fn assert_canary_was_sealed_and_is_the_same(bed: &Bed, namespace: &str, canary: &str) {
    if let Some(keys) = bed.etcd_keys_containing(canary) {
        assert_eq!(keys, [""; 0]);
    }
    assert!(!bed.logs().contains(canary));
    let plain = r#"{"spec":{"target":{"form":"Plain"}}}"#;
    let patch = ["patch", "managedsecret/sealed", "--type=merge", "-p", plain];
    bed.tools.kubectl([&["-n", namespace], &patch[..]].concat());
    eventually("the canary is delivered in plaintext", || {
        let data = bed.data(namespace, "sealed");
        (data.get("value")?.as_slice() == canary.as_bytes()).then_some(())
    });
    // The search does find what is there.
    if let Some(keys) = bed.etcd_keys_containing(canary) {
        assert_eq!(keys, [format!("/registry/secrets/{namespace}/sealed")]);
    }
}

#[test]
fn values_survive_restarts_and_the_loss_of_the_leader() {
    let bed = Turn::take();
    let namespace = "e2e-restart";
    let _namespace = Namespace::create(&bed, namespace);
    let canary = deliver(&bed, namespace);
    let before = versions(&bed, namespace);

    let pods = bed.operator_pods();
    bed.restart();
    assert!(
        bed.operator_pods()
            .keys()
            .all(|name| !pods.contains_key(name))
    );
    assert_served(&bed, namespace, "after-restart");
    assert_eq!(versions(&bed, namespace), before);

    for round in 1..=2 {
        let leader = bed.leader();
        let pod = format!("pod/{leader}");
        bed.tools
            .kubectl(["-n", SYSTEM, "delete", &pod, "--force", "--grace-period=0"]);
        assert_served(&bed, namespace, &format!("after-loss-{round}"));
        assert_ne!(bed.leader(), leader);
        bed.rolled_out();
    }
    assert_eq!(versions(&bed, namespace), before);
    assert_canary_was_sealed_and_is_the_same(&bed, namespace, &canary);
}

#[test]
fn values_survive_deletion_also_in_the_foreground() {
    let bed = Turn::take();
    let namespace = "e2e-deletion";
    let _namespace = Namespace::create(&bed, namespace);
    let canary = deliver(&bed, namespace);
    let before = bed.data(namespace, "plain");
    assert_eq!(before.len(), 4);

    for cascade in [
        "--cascade=background",
        "--cascade=foreground",
        "--cascade=orphan",
    ] {
        delete(&bed, namespace, cascade);
        if cascade != "--cascade=orphan" {
            let gone = [
                "wait",
                "secret/plain",
                "secret/sealed",
                "--for=delete",
                TIMEOUT,
            ];
            bed.tools.kubectl([&["-n", namespace], &gone[..]].concat());
        }
        apply(&bed, namespace);
        assert_eq!(bed.data(namespace, "plain"), before, "{cascade}");
    }
    assert_canary_was_sealed_and_is_the_same(&bed, namespace, &canary);
}

fn delete(bed: &Bed, namespace: &str, cascade: &str) {
    let kinds = "managedsecrets,managedkeys";
    bed.tools
        .kubectl(["-n", namespace, "delete", kinds, "--all", cascade, TIMEOUT]);
}

/// Case B38, but for the deletion of the definitions.
#[test]
fn values_survive_uninstalling_and_installing_under_another_name() {
    let bed = Turn::take();
    let namespace = "e2e-uninstall";
    let _namespace = Namespace::create(&bed, namespace);
    let canary = deliver(&bed, namespace);
    let (before, data) = (versions(&bed, namespace), bed.data(namespace, "plain"));

    bed.tools
        .helm(["uninstall", RELEASE, "-n", SYSTEM, "--wait"]);
    eventually("the operator is gone", || {
        bed.operator_pods().is_empty().then_some(())
    });
    // What was delivered and what was asked for stays.
    assert_eq!(versions(&bed, namespace), before);
    bed.get(namespace, "managedsecret/plain");
    bed.install("another");
    assert_served(&bed, namespace, "after-installation");
    assert_eq!(versions(&bed, namespace), before);

    // And back, with everything deleted and applied again while nobody looks.
    bed.tools
        .helm(["uninstall", "another", "-n", SYSTEM, "--wait"]);
    delete(&bed, namespace, "--cascade=foreground");
    bed.install(RELEASE);
    apply(&bed, namespace);
    assert_eq!(bed.data(namespace, "plain"), data);
    assert_canary_was_sealed_and_is_the_same(&bed, namespace, &canary);
}
