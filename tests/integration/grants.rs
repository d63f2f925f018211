//! Grants: recorded with their key, ended at their instant, and never more than their maker could do.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use keystead::api::{GrantRecord, KeyGrant};
use kube::Api;

use crate::support::{Bed, Person, eventually, key, managed_secret};

const SPEC: &str = "{keyRef: {namespace: shop, name: orders}, generate: [{key: password, password: {}}], \
                    encryptionContext: {team: orders}, target: {form: Plain}}";

fn grant(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: keystead.dev/v1alpha1\nkind: KeyGrant\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n"
    )
}

/// A grant of the key `shop/orders` to the secret `farm/db`.
fn to_secret(extra: &str) -> String {
    format!(
        "{{keyRef: {{name: orders}}, granteePrincipal: 'keystead:secret:farm:db', operations: [GenerateDataKey, Decrypt]{extra}}}"
    )
}

async fn wait_grant(bed: &Bed, name: &str, reason: &str) -> String {
    let grants: Api<KeyGrant> = Api::namespaced(bed.client.clone(), "shop");
    let condition = || async {
        let grant = grants.get(name).await.unwrap();
        let conditions = grant.status.unwrap_or_default().conditions;
        conditions.into_iter().find(|c| c.type_ == "Ready")
    };
    eventually(&format!("grant {name} is {reason}"), || async {
        condition().await.is_some_and(|c| c.reason == reason)
    })
    .await;
    condition().await.unwrap().message
}

/// Those in force.
async fn records(bed: &Bed) -> Vec<GrantRecord> {
    let mut grants = bed.material("shop", "orders").await.spec.grants;
    grants.retain(|record| !record.expired);
    grants
}

async fn delete(bed: &Bed, kind: &str, name: &str, namespace: &str) {
    bed.kubectl(&["delete", kind, name, "-n", namespace])
        .await
        .expect_ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_uses_the_key_of_another_namespace_as_long_as_a_grant_lives() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    for namespace in ["shop", "farm"] {
        bed.namespace(namespace).await;
    }
    bed.apply(&key("shop", "orders")).await;
    bed.apply(&managed_secret("farm", "db", SPEC)).await;
    let message = bed.wait_not_ready("farm", "db", "KeyNotAllowed").await;
    assert!(message.contains("keystead:secret:farm:db"), "{message}");
    assert!(bed.data("farm", "db").await.is_none());

    // For other messages, or for something else, it is not enough.
    let other = ", constraints: {encryptionContextSubset: {team: others}}";
    bed.apply(&grant("other", &to_secret(other))).await;
    wait_grant(&bed, "other", "Granted").await;
    bed.wait_not_ready("farm", "db", "KeyNotAllowed").await;

    let end = Timestamp::now() + SignedDuration::from_hours(1);
    let live =
        format!(", expiresAt: '{end}', constraints: {{encryptionContextEquals: {{team: orders}}}}");
    bed.apply(&grant("live", &to_secret(&live))).await;
    wait_grant(&bed, "live", "Granted").await;
    bed.wait_ready("farm", "db").await;
    let value = bed.value("farm", "db", "password").await;
    assert_eq!(records(&bed).await.len(), 2);
    let recorded = records(&bed).await;
    assert!(
        recorded.iter().all(|r| r.namespace_uid.is_some()),
        "{recorded:?}"
    );

    // A grant cannot be changed; the same one can be applied again.
    let longer = live.replace("orders}", "others}");
    let message = bed
        .kubectl_with(&["apply", "-f", "-"], &grant("live", &to_secret(&longer)))
        .await
        .expect_refused();
    assert!(message.contains("spec is immutable"), "{message}");
    bed.apply(&grant("live", &to_secret(&live))).await;

    // At its instant it is over: nobody changed anything, and nothing new is stored or delivered.
    bed.set_clock(3601);
    wait_grant(&bed, "live", "Expired").await;
    bed.wait_not_ready("farm", "db", "KeyNotAllowed").await;
    eventually("only the other grant is in force", || async {
        records(&bed)
            .await
            .iter()
            .map(|r| r.name.clone())
            .eq(["other"])
    })
    .await;
    assert_eq!(bed.value("farm", "db", "password").await, value);
    bed.set_clock(0);
    wait_grant(&bed, "live", "Expired").await;

    // Another one, and everything goes on with the same value; deleted, it gives nothing any more.
    bed.apply(&grant("next", &to_secret(""))).await;
    bed.wait_ready("farm", "db").await;
    assert_eq!(bed.value("farm", "db", "password").await, value);
    delete(&bed, "keygrant", "next", "shop").await;
    bed.wait_not_ready("farm", "db", "KeyNotAllowed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_made_anew_inherits_no_grant_and_no_statement() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    let _server = bed.server().await;
    for namespace in ["shop", "farm"] {
        bed.namespace(namespace).await;
    }
    let statement = "{policy: {statements: [{effect: Allow, principals: {namespaces: [farm]}, \
                     actions: [GenerateDataKey, Decrypt]}]}}";
    bed.apply(&key("shop", "orders")).await;
    bed.apply(&key("shop", "other").replace("spec: {}", &format!("spec: {statement}")))
        .await;
    bed.apply(&grant("live", &to_secret(""))).await;
    wait_grant(&bed, "live", "Granted").await;
    let stated = SPEC.replace("name: orders", "name: other");
    bed.apply(&managed_secret("farm", "db", SPEC)).await;
    bed.apply(&managed_secret("farm", "stated", &stated)).await;
    for name in ["db", "stated"] {
        bed.wait_ready("farm", name).await;
    }
    bed.kubectl(&["delete", "namespace", "farm", "--wait=true"])
        .await
        .expect_ok();
    bed.namespace("farm").await;
    // With fresh names, so that nothing that waits is taken over.
    let fresh = |name: &str, spec: &str| {
        managed_secret("farm", name, spec).replace(
            "metadata: {",
            "metadata: {annotations: {keystead.dev/adopt: Never}, ",
        )
    };
    bed.apply(&fresh("db", SPEC)).await;
    bed.apply(&fresh("stated", &stated)).await;
    for name in ["db", "stated"] {
        let message = bed.wait_not_ready("farm", name, "KeyNotAllowed").await;
        assert!(message.contains("made anew"), "{message}");
    }
    // Whoever grants it again means the namespace that is there now.
    delete(&bed, "keygrant", "live", "shop").await;
    bed.apply(&grant("again", &to_secret(""))).await;
    bed.wait_ready("farm", "db").await;
    bed.wait_not_ready("farm", "stated", "KeyNotAllowed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_grants_what_he_could_not_do_or_in_anothers_name() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    bed.namespace("shop").await;
    bed.policies_in_force().await;
    bed.apply(&key("shop", "orders")).await;
    let ann = Person::new(&bed, "ann");
    let grants = "[{apiGroups: [keystead.dev], resources: [keygrants], verbs: [get, create, update, patch, delete]}]";
    ann.grant("shop", "keygrants", grants).await;
    ann.can(&["create", "keygrants", "-n", "shop"]).await;
    let right = |subresource: &str, verb: &str| {
        format!(
            "[{{apiGroups: [keystead.dev], resources: [managedkeys/{subresource}], resourceNames: [orders], verbs: [{verb}]}}]"
        )
    };
    let spec = "{keyRef: {name: orders}, granteePrincipal: bob, operations: [Encrypt, Decrypt]}";
    let message = ann.refused(&grant("one", spec)).await;
    assert!(
        message.contains("needs update on managedkeys/grants for ManagedKey shop/orders"),
        "{message}"
    );
    ann.grant("shop", "grants", &right("grants", "update"))
        .await;
    ann.can(&[
        "update",
        "managedkeys/orders",
        "--subresource=grants",
        "-n",
        "shop",
    ])
    .await;
    ann.grant("shop", "encrypt", &right("encrypt", "create"))
        .await;
    ann.can(&[
        "create",
        "managedkeys/orders",
        "--subresource=encrypt",
        "-n",
        "shop",
    ])
    .await;
    let message = ann.refused(&grant("one", spec)).await;
    assert!(
        message.contains("granting Decrypt needs create on managedkeys/decrypt"),
        "{message}"
    );
    assert!(!message.contains("granting Encrypt"), "{message}");
    ann.grant("shop", "decrypt", &right("decrypt", "create"))
        .await;
    ann.allowed(&grant("one", spec)).await;
    wait_grant(&bed, "one", "Granted").await;

    // Each operation is checked, whatever it is called in RBAC.
    let all = keystead::api::key_policy::ACTION_NAMES;
    for operation in &all[2..15] {
        let spec = format!(
            "{{keyRef: {{name: orders}}, granteePrincipal: bob, operations: [{operation}]}}"
        );
        let message = ann.refused(&grant("more", &spec)).await;
        assert!(
            message.contains(&format!("granting {operation} needs")),
            "{message}"
        );
    }

    let named = |who: &str| {
        grant("named", spec).replace(
            "metadata: {",
            &format!("metadata: {{annotations: {{keystead.dev/created-by: {who}}}, "),
        )
    };
    let message = ann.refused(&named("bob")).await;
    assert!(message.contains("must be ann"), "{message}");
    ann.apply(&named("ann")).await.expect_ok();
    let message = ann.refused(&named("bob")).await;
    assert!(message.contains("must be ann"), "{message}");
    // RBAC alone is no right to a key whose policy leaves nothing to RBAC.
    let closed = "{policy: {delegateToRBAC: false, statements: [{sid: owner, effect: Allow, principals: {users: [carl]}, \
                  actions: ['*']}]}, bypassPolicyLockoutSafetyCheck: true}";
    bed.apply(&key("shop", "orders").replace("spec: {}", &format!("spec: {closed}")))
        .await;
    eventually("the policy is in force", || async {
        let policy = bed.material("shop", "orders").await.spec.policy;
        policy.accepted.is_some()
    })
    .await;
    ann.apply(&grant("late", spec)).await.expect_ok();
    let message = wait_grant(&bed, "late", "GrantNotAllowed").await;
    assert!(message.contains("keystead.dev/created-by"), "{message}");
    let late = named("ann").replace("name: named", "name: later");
    ann.apply(&late).await.expect_ok();
    let message = wait_grant(&bed, "later", "GrantNotAllowed").await;
    assert!(message.contains("ann cannot grant"), "{message}");
}
