//! Faults that users of neighbouring tools reported in public, each with what is right here.

use std::collections::BTreeSet;

use kube::ResourceExt;
use serde_json::json;

use crate::support::{Bed, SOON, eventually_within};

async fn wait_keys(bed: &Bed, name: &str, keys: &[&str]) {
    let expected: BTreeSet<_> = keys.iter().map(|key| (*key).to_owned()).collect();
    let what = format!("Secret {name} has the keys {keys:?}");
    eventually_within(SOON, &what, || async {
        let data = bed.data("shop", name).await.unwrap_or_default();
        data.into_keys().collect::<BTreeSet<_>>() == expected
    })
    .await;
}

/// external-secrets/external-secrets#2838 and #1721 (its part on templates): a key that is taken out of the resource, or of its
/// template, stays in the Secret for ever.
async fn a_key_that_is_not_wanted_any_more_is_not_delivered_any_more(bed: &Bed) {
    bed.create_native("shop", "shared", &[("theirs", b"x")])
        .await;
    bed.apply_secret(
        "shop",
        "own",
        "{literals: {a: \"1\", b: \"2\"}, generate: [{key: c, hex: {}}], target: {form: Plain}}",
    )
    .await;
    bed.apply_secret(
        "shop",
        "merged",
        "{literals: {a: \"1\", b: \"2\"}, target: {form: Plain, name: shared, existing: Merge}}",
    )
    .await;
    bed.apply_secret(
        "shop",
        "templated",
        "{literals: {a: \"1\"}, template: {data: {one: \"[[ a ]]\", two: \"[[ a ]]\"}}, target: {form: Plain}}",
    )
    .await;
    bed.apply_secret("shop", "sealed", "{literals: {a: \"1\", b: \"2\"}}")
        .await;
    for name in ["own", "merged", "templated", "sealed"] {
        bed.wait_ready("shop", name).await;
    }
    wait_keys(bed, "own", &["a", "b", "c"]).await;
    wait_keys(bed, "shared", &["a", "b", "theirs"]).await;
    wait_keys(bed, "templated", &["one", "two"]).await;
    wait_keys(bed, "sealed", &["a.sealed", "b.sealed"]).await;
    for (name, patch) in [
        (
            "own",
            json!({"spec": {"literals": {"b": null}, "generate": null}}),
        ),
        ("merged", json!({"spec": {"literals": {"b": null}}})),
        (
            "templated",
            json!({"spec": {"template": {"data": {"two": null}}}}),
        ),
        ("sealed", json!({"spec": {"literals": {"b": null}}})),
    ] {
        let object = format!("managedsecret/{name}");
        bed.patch("shop", &object, &patch).await;
    }
    wait_keys(bed, "own", &["a"]).await;
    wait_keys(bed, "shared", &["a", "theirs"]).await;
    wait_keys(bed, "templated", &["one"]).await;
    wait_keys(bed, "sealed", &["a.sealed"]).await;
}

/// external-secrets/external-secrets#1272 and hashicorp/vault-secrets-operator#234: a target under another name leaves the old one
/// behind; and external-secrets/external-secrets#2599, the first mend of it: a target without a name of its own was taken for one
/// that was left behind, and deleted at once.
async fn a_target_that_is_named_otherwise_leaves_none_behind_and_one_without_a_name_stays(
    bed: &Bed,
) {
    bed.apply_secret("shop", "named", "{literals: {a: b}}")
        .await;
    bed.wait_ready("shop", "named").await;
    let uid = bed.native("shop", "named").await.unwrap().uid();
    let rename = |name: serde_json::Value| json!({"spec": {"target": {"name": name}}});
    bed.patch("shop", "managedsecret/named", &rename(json!("other")))
        .await;
    bed.wait_gone("shop", "named").await;
    assert!(bed.native("shop", "other").await.is_some());
    bed.patch("shop", "managedsecret/named", &rename(json!(null)))
        .await;
    bed.wait_gone("shop", "other").await;
    let back = bed.native("shop", "named").await.unwrap();
    assert_ne!(back.uid(), uid);
    bed.wait_ready("shop", "named").await;
    // It stays when everything is looked at again.
    let touch = json!({"metadata": {"annotations": {"touched": "yes"}}});
    bed.patch("shop", "managedsecret/named", &touch).await;
    tokio::time::sleep(SOON).await;
    assert_eq!(bed.native("shop", "named").await.unwrap().uid(), back.uid());
}

/// hashicorp/vault-secrets-operator#228: a Secret that was deleted by hand does not come back while what it was made from is
/// still good.
async fn a_target_that_was_deleted_comes_back_at_once_with_the_same_value(bed: &Bed) {
    bed.apply_secret(
        "shop",
        "kept",
        "{generate: [{key: password, password: {}}], target: {form: Plain}}",
    )
    .await;
    bed.wait_ready("shop", "kept").await;
    let value = bed.value("shop", "kept", "password").await;
    let versions = bed.versions("shop", "kept").await;
    bed.delete("shop", "secret/kept").await;
    bed.wait_value("shop", "kept", "password", &value).await;
    assert_eq!(bed.versions("shop", "kept").await, versions);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_users_of_neighbouring_tools_ran_into_is_right_here() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    bed.namespace("shop").await;
    a_key_that_is_not_wanted_any_more_is_not_delivered_any_more(&bed).await;
    a_target_that_is_named_otherwise_leaves_none_behind_and_one_without_a_name_stays(&bed).await;
    a_target_that_was_deleted_comes_back_at_once_with_the_same_value(&bed).await;
}
