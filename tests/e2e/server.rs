//! The server, behind its Service.

use serde_json::Value;

use crate::bed::{Bed, Namespace, SYSTEM, Turn};
use crate::tools::{TIMEOUT, eventually};

const SERVERS: &str = "app.kubernetes.io/component=server";

fn key(namespace: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: keystead.dev/v1alpha1, kind: ManagedKey, metadata: {{name: judged, namespace: {namespace}}}, spec: {spec}}}"
    )
}

/// Names of the server's pods, and of their Leases.
fn names(bed: &Bed, what: &str) -> Vec<String> {
    let args = ["-n", SYSTEM, "get", what, "-l", SERVERS, "-o", "json"];
    let json: Value = serde_json::from_str(&bed.tools.kubectl(args)).expect("kubectl prints JSON");
    let items = json["items"].as_array().expect("a list").iter();
    let live = items.filter(|item| item["metadata"]["deletionTimestamp"].is_null());
    let name = |item: &Value| {
        item["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let mut names: Vec<_> = live.map(name).collect();
    names.sort();
    names
}

#[test]
fn each_replica_of_the_server_has_its_lease_and_judges_policies() {
    let bed = Turn::take();
    let pods = names(&bed, "pods");
    assert_eq!(pods.len(), 2, "{pods:?}");
    eventually(
        "each pod has a Lease of its name, and nobody else has one",
        || (names(&bed, "leases") == pods).then_some(()),
    );

    let namespace = Namespace::create(&bed, "e2e-server");
    let locked = key("e2e-server", "{policy: {delegateToRBAC: false}}");
    eventually("who would lock himself out is refused", || {
        let refused = bed.tools.try_kubectl_with(["apply", "-f", "-"], &locked);
        let message = refused.expect_err("nobody stores such a policy");
        let judged = message.contains("you could not change it any more");
        judged.then_some(())
    });
    bed.apply(&key(
        "e2e-server",
        "{policy: {statements: [{sid: nobody, effect: Deny, principals: {users: [eve]}, actions: ['*']}]}}",
    ));
    let ready = "--for=condition=Ready";
    let wait = [
        "-n",
        "e2e-server",
        "wait",
        "managedkey/judged",
        ready,
        TIMEOUT,
    ];
    bed.tools.kubectl(wait);

    // What the policy decides, asked of a replica.
    let explain = |user: &str| {
        bed.tools.try_kubectl([
            "-n",
            SYSTEM,
            "exec",
            "deployment/keystead-server",
            "--",
            "/keystead",
            "policy",
            "explain",
            "--key",
            "e2e-server/judged",
            "--as",
            user,
            "--action",
            "Decrypt",
        ])
    };
    let said = explain("keystead:secret:e2e-server:db").expect("it is allowed");
    assert!(said.contains("own namespace"), "{said}");
    let said = explain("eve").expect_err("it is denied");
    assert!(said.contains("statement 0 (nobody)"), "{said}");

    // Every live replica refuses before the key is said to be disabled.
    bed.apply(&key(
        "e2e-server",
        "{enabled: false, policy: {statements: [{sid: nobody, effect: Deny, \
        principals: {users: [eve]}, actions: ['*']}]}}",
    ));
    let disabled = "--for=jsonpath={.status.state}=Disabled";
    bed.tools.kubectl([
        "-n",
        "e2e-server",
        "wait",
        "managedkey/judged",
        disabled,
        TIMEOUT,
    ]);
    drop(namespace);
}
