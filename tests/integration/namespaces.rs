//! Keys that are used across namespaces: no namespace's deletion hangs, nobody reaches further than he was let, and what is deleted
//! by mistake comes back.

use crate::support::{Bed, SYSTEM, eventually, key, managed_secret, plain};
use kube::ResourceExt;

const ACROSS: &str = "{keyRef: {namespace: shop, name: orders}, generate: [{key: password, password: {}}], target: {form: Plain}}";

fn grant(name: &str, operations: &str) -> String {
    format!(
        "---\napiVersion: keystead.dev/v1alpha1\nkind: KeyGrant\nmetadata: {{name: {name}, namespace: shop}}\nspec: \
         {{keyRef: {{name: orders}}, granteePrincipal: 'keystead:secret:farm:db', operations: {operations}}}\n"
    )
}

/// Everything of the four kinds, in two namespaces of which one uses the other's key.
fn everything() -> String {
    let alias = "---\napiVersion: keystead.dev/v1alpha1\nkind: KeyAlias\nmetadata: {name: cards, namespace: shop}\nspec: {keyRef: {name: orders}}\n";
    [
        key("shop", "orders"),
        alias.to_owned(),
        grant("db", "[GenerateDataKey, Decrypt]"),
        plain("shop", "a", Some("orders"), "x"),
        managed_secret("farm", "db", ACROSS),
    ]
    .concat()
}

async fn delete(bed: &Bed, namespace: &str) {
    bed.kubectl(&["delete", "namespace", namespace, "--timeout=60s"])
        .await
        .expect_ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_whose_key_others_use_is_deleted_without_hanging_and_its_key_comes_back() {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    for namespace in ["shop", "farm"] {
        bed.namespace(namespace).await;
    }
    bed.apply(&everything()).await;
    bed.wait_ready("shop", "a").await;
    bed.wait_ready("farm", "db").await;
    let value = bed.value("farm", "db", "password").await;

    // The key's namespace, with the operator up: what was delivered elsewhere stays.
    delete(&bed, "shop").await;
    bed.wait_parked("shop", "a", true).await;
    eventually("the key waits for its end", || async {
        let spec = bed.material("shop", "orders").await.spec;
        spec.parked_since.is_some() && spec.deletion.is_some()
    })
    .await;
    bed.wait_not_ready("farm", "db", "KeyNotAllowed").await;
    assert_eq!(bed.value("farm", "db", "password").await, value);

    // The user's namespace, with the operator down.
    operator.kill().await;
    delete(&bed, "farm").await;
    let _operator = bed.operator().await;
    bed.wait_parked("farm", "db", true).await;

    // An administrator gives all of it back to the namespaces that were made anew.
    for namespace in ["shop", "farm"] {
        bed.namespace(namespace).await;
    }
    let before = "keystead.dev/approve-adoption-before=2999-01-01T00:00:00Z";
    let record = "configmap/keystead-installation";
    bed.kubectl(&["annotate", record, "-n", SYSTEM, before])
        .await
        .expect_ok();
    bed.apply(&everything()).await;
    bed.wait_ready("shop", "a").await;
    bed.wait_ready("farm", "db").await;
    assert_eq!(bed.value("farm", "db", "password").await, value);
    assert_eq!(bed.materials().await.len(), 1, "it is the same key");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_another_namespace_is_used_without_a_grant_of_just_that() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    for namespace in ["shop", "farm", "barn"] {
        bed.namespace(namespace).await;
    }
    bed.apply(&key("shop", "orders")).await;
    bed.apply(&managed_secret("farm", "db", ACROSS)).await;
    let message = bed.wait_not_ready("farm", "db", "KeyNotAllowed").await;
    assert!(
        message.contains("keystead:secret:farm:db") && message.contains("GenerateDataKey"),
        "{message}"
    );
    // Half of it is not enough.
    bed.apply(&grant("half", "[Decrypt]")).await;
    bed.wait_not_ready("farm", "db", "KeyNotAllowed").await;
    bed.apply(&grant("whole", "[GenerateDataKey, Decrypt]"))
        .await;
    bed.wait_ready("farm", "db").await;
    let value = bed.value("farm", "db", "password").await;
    // Another secret of that namespace, and one of that name in another: the grant is neither's. A label makes no difference.
    bed.apply(&managed_secret("farm", "other", ACROSS)).await;
    bed.apply(&managed_secret("barn", "db", ACROSS)).await;
    let spoof = "kubernetes.io/metadata.name=farm";
    bed.kubectl(&["label", "namespace", "barn", "--overwrite", spoof])
        .await;
    bed.wait_not_ready("farm", "other", "KeyNotAllowed").await;
    bed.wait_not_ready("barn", "db", "KeyNotAllowed").await;
    // Taken away while it is in use: what was delivered stays, and nothing new is.
    bed.delete("shop", "keygrant/whole").await;
    bed.wait_not_ready("farm", "db", "KeyNotAllowed").await;
    assert_eq!(bed.value("farm", "db", "password").await, value);
    let record = bed.material("shop", "orders").await;
    assert_eq!(record.spec.grants.len(), 1, "{}", record.name_any());
}
