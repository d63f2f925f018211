//! Aliases: a key by another name, which can be pointed at another key.

use keystead::api::{KeyAlias, ManagedSecret};
use kube::{Api, ResourceExt};

use crate::support::{Bed, Person, eventually, key, managed_secret};

const SPEC: &str = "{keyRef: {kind: KeyAlias, name: current}, generate: [{key: password, password: {}}], \
                    target: {form: Plain}}";

fn alias(key: &str) -> String {
    format!(
        "---\napiVersion: keystead.dev/v1alpha1\nkind: KeyAlias\nmetadata: {{name: current, namespace: shop}}\n\
         spec: {{keyRef: {{name: {key}}}}}\n"
    )
}

async fn wait_alias(bed: &Bed, reason: &str) {
    let aliases: Api<KeyAlias> = Api::namespaced(bed.client.clone(), "shop");
    eventually(&format!("the alias is {reason}"), || async {
        let alias = aliases.get("current").await.unwrap();
        let status = alias.status.clone().unwrap_or_default();
        status.observed_generation == alias.metadata.generation
            && status.conditions.iter().any(|c| c.reason == reason)
    })
    .await;
}

/// The key id that the current version of the secret is encrypted under.
async fn encrypted_under(bed: &Bed) -> String {
    let secrets: Api<ManagedSecret> = Api::namespaced(bed.client.clone(), "shop");
    let status = secrets.get("db").await.unwrap().status.unwrap_or_default();
    status
        .versions
        .first()
        .map(|v| v.key_id.clone())
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_follows_its_alias_to_another_key_with_the_same_value() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    bed.namespace("shop").await;
    bed.apply(&managed_secret("shop", "db", SPEC)).await;
    let message = bed.wait_not_ready("shop", "db", "KeyNotFound").await;
    assert!(message.contains("KeyAlias shop/current"), "{message}");

    // The alias comes before its key, and both after what names them.
    bed.apply(&alias("one")).await;
    wait_alias(&bed, "KeyNotFound").await;
    bed.apply(&key("shop", "one")).await;
    wait_alias(&bed, "Resolved").await;
    bed.wait_ready("shop", "db").await;
    let value = bed.value("shop", "db", "password").await;
    let one = bed.material("shop", "one").await.name_any();
    assert_eq!(encrypted_under(&bed).await, one);

    bed.apply(&format!("{}{}", key("shop", "two"), alias("two")))
        .await;
    eventually("the secret is encrypted under the other key", || async {
        encrypted_under(&bed).await != one
    })
    .await;
    assert_eq!(
        encrypted_under(&bed).await,
        bed.material("shop", "two").await.name_any()
    );
    assert_eq!(bed.value("shop", "db", "password").await, value);

    // Without the alias nothing is lost, and with it everything goes on.
    bed.kubectl(&["delete", "keyalias", "current", "-n", "shop"])
        .await
        .expect_ok();
    bed.wait_not_ready("shop", "db", "KeyNotFound").await;
    assert_eq!(bed.value("shop", "db", "password").await, value);
    bed.apply(&alias("two")).await;
    bed.wait_ready("shop", "db").await;
    assert_eq!(bed.value("shop", "db", "password").await, value);
}

#[tokio::test(flavor = "multi_thread")]
async fn pointing_an_alias_and_using_it_need_a_right_each() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    bed.policies_in_force().await;
    let ann = Person::new(&bed, "ann");
    let rules =
        "[{apiGroups: [keystead.dev], resources: [keyaliases, managedsecrets], verbs: ['*']}]";
    ann.grant("shop", "all", rules).await;
    ann.can(&["create", "keyaliases.keystead.dev", "-n", "shop"])
        .await;
    bed.policies_in_force().await;
    let may_alias = |key: &str| {
        format!(
            "[{{apiGroups: [keystead.dev], resources: [managedkeys/alias], resourceNames: [{key}], verbs: [update]}}]"
        )
    };

    let message = ann.refused(&alias("one")).await;
    assert!(
        message.contains("needs update on managedkeys/alias for ManagedKey shop/one"),
        "{message}"
    );
    ann.grant("shop", "one", &may_alias("one")).await;
    ann.allowed(&alias("one")).await;
    // To another key: the right to both.
    let message = ann.refused(&alias("two")).await;
    assert!(message.contains("ManagedKey shop/two"), "{message}");
    bed.apply(&alias("two")).await;
    let message = ann.refused(&alias("one")).await;
    assert!(message.contains("ManagedKey shop/two"), "{message}");
    ann.grant("shop", "two", &may_alias("two")).await;
    ann.allowed(&alias("one")).await;

    // The right to a key is none to an alias of it.
    let encrypt = |resource: &str, name: &str| {
        format!(
            "[{{apiGroups: [keystead.dev], resources: [{resource}/encrypt], resourceNames: [{name}], verbs: [create]}}]"
        )
    };
    let stored = SPEC.replace("form: Plain", "form: None");
    ann.grant("shop", "encrypt-key", &encrypt("managedkeys", "one"))
        .await;
    let message = ann.refused(&managed_secret("shop", "db", &stored)).await;
    assert!(
        message.contains("needs create on keyaliases/encrypt for KeyAlias shop/current"),
        "{message}"
    );
    ann.grant("shop", "encrypt-alias", &encrypt("keyaliases", "current"))
        .await;
    ann.allowed(&managed_secret("shop", "db", &stored)).await;

    // Names of the operator's, and its namespace, are not for aliases either.
    let reserved = alias("one").replace("name: current", "name: keystead-current");
    let message = ann.refused(&reserved).await;
    assert!(message.contains("reserved"), "{message}");
    let elsewhere = alias("one").replace("namespace: shop", "namespace: keystead-system");
    let message = bed
        .kubectl_with(&["apply", "-f", "-"], &elsewhere)
        .await
        .expect_refused();
    assert!(message.contains("KeyAliases"), "{message}");
}
