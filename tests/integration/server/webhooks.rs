//! The webhook guards what it must and blocks nothing else, also while nobody answers it.

use keystead::audit::is_audit_line;

use crate::support::{Bed, Printed, eventually, key, managed_secret};

fn with_policy(name: &str, description: &str, policy: &str) -> String {
    let spec = format!("spec: {{description: {description}, policy: {policy}}}");
    key("shop", name).replace("spec: {}", &spec)
}

async fn try_apply(bed: &Bed, yaml: &str) -> Printed {
    bed.kubectl_with(&["apply", "-f", "-"], yaml).await
}

const LOCKED: &str = "{delegateToRBAC: false}";
/// What lets its author change it again, whatever RBAC says.
const OWN: &str =
    "{statements: [{effect: Allow, principals: {users: [ann]}, actions: [PutKeyPolicy]}]}";
const AUTHOR: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: author, namespace: shop}
rules:
- {apiGroups: [keystead.dev], resources: [managedkeys], verbs: [get, create, update, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: author, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: author}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}]
";
const OPEN: &str = "{delegateToRBAC: true}";

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_server_blocks_only_changes_of_what_the_webhook_guards() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let _controller = bed.operator().await;
    let server = bed.server().await;

    // While it answers.
    eventually("a policy that locks nobody out is stored", || async {
        try_apply(&bed, &with_policy("kept", "one", OPEN)).await.ok
    })
    .await;
    let refused = try_apply(&bed, &with_policy("locked", "one", LOCKED))
        .await
        .expect_refused();
    assert!(
        refused.contains("under this spec.policy you could not change it any more"),
        "{refused}"
    );
    try_apply(&bed, &with_policy("kept", "one", LOCKED))
        .await
        .expect_refused();
    // RBAC is asked where the policy delegates to it: the author of this one may make keys, and nothing with their policy.
    bed.apply(AUTHOR).await;
    eventually(
        "somebody without the right to policies is refused",
        || async {
            let refused = bed.apply_as("ann", &with_policy("anns", "one", OPEN)).await;
            !refused.ok && refused.err.contains("could not change it any more")
        },
    )
    .await;
    let own = with_policy("anns", "one", OWN);
    bed.apply_as("ann", &own).await.expect_ok();

    // Who made it is in the audit trail, as the controller never learns it.
    let made = server.log();
    let mut made = made
        .lines()
        .filter(|line| is_audit_line(line.as_bytes()))
        .filter(|line| line.contains("\"eventName\":\"CreateKey\""))
        .filter(|line| line.contains("\"user\":\"ann\""));
    assert!(made.any(|line| line.contains("\"name\":\"anns\"")));

    // While nobody does.
    server.kill().await;
    let refused = try_apply(&bed, &with_policy("new", "one", OPEN))
        .await
        .expect_refused();
    assert!(refused.contains("failed calling webhook"), "{refused}");
    let refused = try_apply(&bed, &with_policy("kept", "one", "{}"))
        .await
        .expect_refused();
    assert!(refused.contains("failed calling webhook"), "{refused}");
    // Everything else goes on: keys without a policy, other fields of one with it, secrets, deletion.
    bed.apply(&key("shop", "plain")).await;
    bed.apply(&key("shop", "plain").replace("spec: {}", "spec: {enabled: false}"))
        .await;
    bed.apply(&with_policy("kept", "two", OPEN)).await;
    bed.apply(&managed_secret("shop", "db", "{literals: {a: b}}"))
        .await;
    bed.wait_ready("shop", "db").await;
    let args = [
        "annotate",
        "managedkey",
        "kept",
        "-n",
        "shop",
        "keystead.dev/rotate=one",
    ];
    bed.kubectl(&args).await.expect_ok();
    for name in ["kept", "plain"] {
        bed.kubectl(&["delete", "managedkey", name, "-n", "shop"])
            .await
            .expect_ok();
    }
    // A key with a policy that waits for its finalizer is let go.
    bed.kubectl(&["delete", "namespace", "shop", "--wait=false"])
        .await
        .expect_ok();
    eventually("the namespace is gone", || async {
        !bed.kubectl(&["get", "namespace", "shop"]).await.ok
    })
    .await;

    // And when it answers again, so does the field.
    bed.namespace("shop").await;
    let server = bed.server_named("one").await;
    server.wait_ready().await;
    bed.ask_webhooks_of(&server).await;
    eventually("a policy is stored again", || async {
        try_apply(&bed, &with_policy("kept", "three", OPEN))
            .await
            .ok
    })
    .await;
}
