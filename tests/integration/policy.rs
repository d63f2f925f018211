//! Policies of keys: who may administer one, and what a statement gives to secrets.

use crate::support::{Bed, Person, eventually, managed_secret};

const KEYS: &str =
    "[{apiGroups: [keystead.dev], resources: [managedkeys], verbs: [get, create, update, patch]}]";

fn keyed(spec: &str) -> String {
    format!(
        "---\napiVersion: keystead.dev/v1alpha1\nkind: ManagedKey\nmetadata: {{name: orders, namespace: shop}}\nspec: {spec}\n"
    )
}

fn on_key(subresource: &str) -> String {
    format!(
        "[{{apiGroups: [keystead.dev], resources: [managedkeys/{subresource}], resourceNames: [orders], verbs: [update]}}]"
    )
}

/// A change of a key, who else may make it, and what the refusal says.
struct Change {
    patch: &'static str,
    right: &'static str,
    action: &'static str,
}

async fn patched(person: &Person<'_>, patch: &str) -> crate::support::Printed {
    let args = [
        "patch",
        "managedkey",
        "orders",
        "-n",
        "shop",
        "--type=merge",
        "-p",
        patch,
    ];
    person.kubectl(&args).await
}

async fn patch_allowed(person: &Person<'_>, patch: &str) {
    eventually(&format!("{} may {patch}", person.name), || async {
        patched(person, patch).await.ok
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_administrative_action_needs_its_own_right_and_unchanged_fields_need_none() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    let _server = bed.server().await;
    bed.namespace("shop").await;
    bed.policies_in_force().await;
    let changes = [
        Change {
            patch: r#"{"spec": {"policy": {"statements": [{"effect": "Deny", "principals": {"users": ["eve"]}, "actions": ["*"]}]}}}"#,
            right: "policy",
            action: "PutKeyPolicy",
        },
        Change {
            patch: r#"{"spec": {"enabled": false}}"#,
            right: "state",
            action: "DisableKey",
        },
        Change {
            patch: r#"{"spec": {"enabled": null}}"#,
            right: "state",
            action: "EnableKey",
        },
        Change {
            patch: r#"{"spec": {"deletion": {"pendingWindowDays": 9}}}"#,
            right: "deletion",
            action: "ScheduleKeyDeletion",
        },
        Change {
            patch: r#"{"spec": {"deletion": null}}"#,
            right: "deletion",
            action: "CancelKeyDeletion",
        },
        Change {
            patch: r#"{"metadata": {"annotations": {"keystead.dev/rotate": "t1"}}}"#,
            right: "rotate",
            action: "RotateKeyOnDemand",
        },
    ];
    // Whoever may make keys may say all of it when he makes one, as long as he does not lock himself out.
    let all = "{enabled: true, deletion: {pendingWindowDays: 30}, policy: {statements: \
               [{effect: Allow, principals: {users: [ann]}, actions: [PutKeyPolicy]}]}}";
    let ann = Person::new(&bed, "ann");
    ann.grant("shop", "keys", KEYS).await;
    ann.allowed(&keyed(all)).await;
    bed.apply(&keyed("{description: plain}")).await;
    // What else there is to change needs no more than the right to change keys.
    patch_allowed(
        &ann,
        r#"{"spec": {"description": "other", "enabled": true}}"#,
    )
    .await;
    for change in &changes {
        let message = patched(&ann, change.patch).await.expect_refused();
        // What is there already cannot be taken out; the administrator does the step before.
        let needs = format!(
            "needs the action {} on ManagedKey shop/orders",
            change.action
        );
        assert!(message.contains(&needs), "{}: {message}", change.patch);
        let right = format!("update on managedkeys/{}", change.right);
        assert!(message.contains(&right), "{message}");
        let name = format!("only-{}", change.action.to_lowercase());
        let person = Person::new(&bed, &name);
        person.grant("shop", "keys", KEYS).await;
        person.grant("shop", "right", &on_key(change.right)).await;
        patch_allowed(&person, change.patch).await;
        // None of the other rights comes with it. What is so already can be asked for.
        let others = changes.iter().filter(|other| other.right != change.right);
        for other in others.filter(|other| !other.patch.contains("null")) {
            let printed = patched(&person, other.patch).await;
            if !printed.out.contains("(no change)") {
                let refused = printed.expect_refused();
                assert!(refused.contains(other.action), "{name}: {refused}");
            }
        }
        // The manifest as it is now is applied again by somebody without any of the rights.
        let args = ["get", "managedkey", "orders", "-n", "shop", "-o", "yaml"];
        let live = bed.kubectl(&args).await.expect_ok();
        ann.kubectl_with(
            &["apply", "--server-side", "--force-conflicts", "-f", "-"],
            &strip(&live),
        )
        .await
        .expect_ok();
    }
}

/// A manifest without what only the API server writes.
fn strip(live: &str) -> String {
    let kept = |line: &&str| {
        let line = line.trim_start();
        ![
            "resourceVersion:",
            "uid:",
            "creationTimestamp:",
            "generation:",
        ]
        .iter()
        .any(|prefix| line.starts_with(prefix))
    };
    let spec = live.split("\nstatus:").next().unwrap_or_default();
    spec.lines().filter(kept).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_decides_its_own_changes_and_locks_nobody_out_by_mistake() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    let _server = bed.server().await;
    bed.namespace("shop").await;
    bed.policies_in_force().await;
    let (ann, bob) = (Person::new(&bed, "ann"), Person::new(&bed, "bob"));
    for person in [&ann, &bob] {
        person.grant("shop", "keys", KEYS).await;
    }
    ann.grant("shop", "policy", &on_key("policy")).await;
    bob.grant("shop", "policy", &on_key("policy")).await;
    bed.apply(&keyed("{}")).await;
    let policy = |who: &str, extra: &str| {
        format!(
            r#"{{"spec": {{"policy": {{"delegateToRBAC": false, "statements": [{{"sid": "admins", "effect": "Allow", "principals": {{"users": ["{who}"]}}, "actions": ["Put*", "DisableKey"]}}]}}{extra}}}}}"#
        )
    };
    // Once it is in force, ann is the only one.
    patch_allowed(&ann, r#"{"spec": {"policy": {"statements": []}}}"#).await;
    patch_allowed(&bob, r#"{"spec": {"policy": {"allowPublic": false}}}"#).await;
    let message = patched(&ann, &policy("bob", "")).await.expect_refused();
    assert!(
        message.contains("you could not change it any more"),
        "{message}"
    );
    patched(&ann, &policy("ann", "")).await.expect_ok();
    let message = patched(&bob, r#"{"spec": {"policy": null}}"#)
        .await
        .expect_refused();
    assert!(message.contains("does not delegate to RBAC"), "{message}");
    // A statement is enough; what it does not say is denied.
    patched(&ann, r#"{"spec": {"enabled": false}}"#)
        .await
        .expect_ok();
    patched(&ann, r#"{"spec": {"enabled": true}}"#)
        .await
        .expect_refused();
    // Not even the administrator of the cluster, who has every right of RBAC.
    let args = [
        "patch",
        "managedkey",
        "orders",
        "-n",
        "shop",
        "--type=merge",
        "-p",
    ];
    let whole = [&args[..], &[r#"{"spec": {"enabled": true}}"#]].concat();
    let message = bed.kubectl(&whole).await.expect_refused();
    assert!(message.contains("EnableKey"), "{message}");
    // The largest policy that there can be is not too dear to check.
    let principals: Vec<_> = (0..10)
        .map(|i| format!("\"system:serviceaccounts:group-{i}\""))
        .collect();
    let principals = principals.join(", ");
    let statement = |index: usize| {
        format!(
            r#"{{"sid": "s{index}", "effect": "Allow", "principals": {{"users": [{principals}], "groups": [{principals}]}}, "actions": [{}]}}"#,
            vec!["\"*Without*\""; 16].join(", ")
        )
    };
    let statements: Vec<_> = (0..49).map(statement).collect();
    let own = r#"{"effect": "Allow", "principals": {"users": ["ann"]}, "actions": ["*"]}"#;
    let largest = format!(
        r#"{{"spec": {{"policy": {{"delegateToRBAC": false, "statements": [{}, {own}]}}}}}}"#,
        statements.join(", ")
    );
    for patch in [
        &largest,
        r#"{"spec": {"enabled": true}}"#,
        &policy("ann", ""),
    ] {
        patched(&ann, patch).await.expect_ok();
    }
    // Whoever means it can hand the key over.
    let bypass = r#", "bypassPolicyLockoutSafetyCheck": true"#;
    patched(&ann, &policy("bob", bypass)).await.expect_ok();
    patched(&ann, r#"{"spec": {"policy": null}}"#)
        .await
        .expect_refused();
    let deny = r#"{"spec": {"bypassPolicyLockoutSafetyCheck": null, "policy": {"statements": [
        {"effect": "Allow", "principals": {"users": ["bob"]}, "actions": ["*"]},
        {"effect": "Deny", "principals": {"users": ["bob"]}, "actions": ["Schedule*"], "conditions": {}}]}}}"#;
    patched(&bob, deny).await.expect_ok();
    let message = patched(&bob, r#"{"spec": {"deletion": {}}}"#)
        .await
        .expect_refused();
    assert!(message.contains("its policy denies it to you"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deny_stops_a_secret_and_a_statement_lets_one_of_another_namespace_in() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    let _server = bed.server().await;
    for namespace in ["shop", "farm"] {
        bed.namespace(namespace).await;
    }
    let secret = |namespace: &str| {
        let spec = "{keyRef: {namespace: shop, name: orders}, encryptionContext: {team: orders}, \
                    generate: [{key: password, password: {}}]}";
        managed_secret(namespace, "db", spec)
    };
    // The secret waits for its key, and the policy for the namespace of its principal.
    let allow = |principals: &str, conditions: &str| {
        format!(
            "{{policy: {{statements: [{{sid: farm, effect: Allow, principals: {principals}, \
             actions: [GenerateDataKey, Decrypt], conditions: {conditions}}}]}}}}"
        )
    };
    bed.apply(&secret("farm")).await;
    let missing = bed.wait_not_ready("farm", "db", "KeyNotAllowed").await;
    assert!(
        missing.contains("does not exist, or neither its policy"),
        "{missing}"
    );
    bed.apply(&keyed(&allow(
        "{users: ['keystead:secret:farm:db']}",
        "{via: [secrets]}",
    )))
    .await;
    bed.wait_ready("farm", "db").await;
    bed.apply(&secret("shop")).await;
    bed.wait_ready("shop", "db").await;
    // Another message than the statement speaks of; then the group; then what it speaks of.
    for (principals, conditions, allowed) in [
        (
            "{users: ['keystead:secret:farm:db']}",
            "{encryptionContext: {team: others}}",
            false,
        ),
        (
            "{groups: ['keystead:secrets:farm']}",
            "{encryptionContext: {team: orders}}",
            true,
        ),
        ("{groups: ['keystead:secrets:shop']}", "{}", false),
        ("{namespaces: [farm]}", "{}", true),
    ] {
        let patch = allow(principals, conditions);
        bed.apply(&keyed(&patch)).await;
        if allowed {
            bed.wait_ready("farm", "db").await;
        } else {
            let message = bed.wait_not_ready("farm", "db", "KeyNotAllowed").await;
            assert_eq!(message, missing, "it tells nothing of the key");
        }
        bed.wait_ready("shop", "db").await;
    }
    // A Deny stops a secret of the key's own namespace, and no other.
    let deny = "{policy: {statements: [{sid: no-db, effect: Deny, principals: {users: ['keystead:secret:shop:db']}, \
                actions: [Decrypt]}]}}";
    bed.apply(&keyed(deny)).await;
    let message = bed.wait_not_ready("shop", "db", "KeyNotAllowed").await;
    assert!(message.contains("statement 0 (no-db)"), "{message}");
    bed.apply(&managed_secret(
        "shop",
        "other",
        "{keyRef: {name: orders}, literals: {a: b}}",
    ))
    .await;
    bed.wait_ready("shop", "other").await;
    // The default key is shared with nobody.
    let default = "{keyRef: {namespace: shop, name: keystead-default}, literals: {a: b}}";
    bed.apply(&managed_secret("shop", "default", "{literals: {a: b}}"))
        .await;
    bed.wait_ready("shop", "default").await;
    bed.apply(&managed_secret("farm", "default", default)).await;
    let message = bed.wait_not_ready("farm", "default", "KeyNotAllowed").await;
    assert!(message.contains("its own namespace only"), "{message}");
}
