//! Values that were sealed before they reached the cluster.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::ConfigMap;
use keystead::api::KeyMaterial;
use keystead::crypto::{
    EncryptionContext, OsRandom, Purpose, SealingPrivateKey, SealingPublicKey, seal_to,
};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::support::{Bed, SYSTEM, eventually, key};

/// What everybody finds in kube-public.
async fn published(bed: &Bed) -> Option<ConfigMap> {
    let maps: Api<ConfigMap> = Api::namespaced(bed.client.clone(), "kube-public");
    maps.get_opt("keystead").await.unwrap()
}

/// The public keys, newest first.
async fn public_keys(bed: &Bed) -> Vec<SealingPublicKey> {
    let Some(map) = published(bed).await else {
        return Vec::new();
    };
    let keys: Vec<serde_json::Value> =
        serde_json::from_str(&map.data.unwrap()["sealingKeys"]).unwrap();
    keys.iter()
        .map(|key| key["key"].as_str().unwrap().parse().unwrap())
        .collect()
}

/// The first public key of a new installation, once it is published.
pub(crate) async fn first_public_key(bed: &Bed) -> Vec<SealingPublicKey> {
    eventually("the key is published", || async {
        public_keys(bed).await.len() == 1
    })
    .await;
    public_keys(bed).await
}

pub(crate) fn entry(value: &[u8], place: Purpose<'_>, keys: &[SealingPublicKey]) -> String {
    let context = place.context(&EncryptionContext::empty()).unwrap();
    STANDARD.encode(seal_to(value, &context, keys, &mut OsRandom).unwrap())
}

pub(crate) fn strict<'a>(namespace: &'a str, secret: &'a str, key: &'a str) -> Purpose<'a> {
    Purpose::Sealed {
        namespace,
        secret,
        key,
    }
}

fn spec(entry: &str) -> String {
    format!("{{sealed: {{token: \"{entry}\"}}, target: {{form: Plain}}}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sealed_with_the_published_key_opens_in_its_place_only_and_for_ever() {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    bed.namespace("shop").await;
    let keys = first_public_key(&bed).await;
    let one = entry(b"C4N4RY-one", strict("shop", "app", "token"), &keys);
    bed.apply_secret("shop", "app", &spec(&one)).await;
    bed.wait_ready("shop", "app").await;
    assert_eq!(
        bed.data("shop", "app").await.unwrap()["token"],
        b"C4N4RY-one"
    );
    let scope = Purpose::SealedForNamespace { namespace: "shop" };
    bed.apply_secret("shop", "any", &spec(&entry(b"two", scope, &keys)))
        .await;
    bed.wait_ready("shop", "any").await;
    assert_eq!(bed.data("shop", "any").await.unwrap()["token"], b"two");

    let stranger = SealingPrivateKey::generate(keys[0].installation(), &mut OsRandom).unwrap();
    let unknown = stranger.public(keys[0].installation());
    let elsewhere = "99999999-9999-4999-8999-999999999999".parse().unwrap();
    let foreign = stranger.public(elsewhere);
    let place = || strict("shop", "bad", "token");
    let mut altered = STANDARD.decode(entry(b"x", place(), &keys)).unwrap();
    *altered.last_mut().unwrap() ^= 1;
    let cases = [
        (one.clone(), "SealedForAnotherPlace"),
        (
            entry(b"x", strict("bank", "bad", "token"), &keys),
            "SealedForAnotherPlace",
        ),
        (entry(b"x", place(), &[unknown]), "SealingKeyMissing"),
        (
            entry(b"x", place(), std::slice::from_ref(&foreign)),
            "SealedForAnotherInstallation",
        ),
        (STANDARD.encode(altered), "SealedUnreadable"),
    ];
    for (entry, reason) in cases {
        bed.apply_secret("shop", "bad", &spec(&entry)).await;
        bed.wait_not_ready("shop", "bad", reason).await;
        assert!(bed.native("shop", "bad").await.is_none());
    }
    // One of several installations is enough.
    let two = [foreign, keys[0].clone()];
    bed.apply_secret("shop", "bad", &spec(&entry(b"both", place(), &two)))
        .await;
    bed.wait_ready("shop", "bad").await;

    // Another key is made when it is asked for, once; what was sealed under the older one opens as before.
    let materials: Api<KeyMaterial> = Api::namespaced(bed.client.clone(), SYSTEM);
    let all = materials.list(&ListParams::default()).await.unwrap();
    let sealing = all.items.iter().find(|m| m.spec.internal.is_some());
    let sealing = sealing.unwrap().metadata.name.clone().unwrap();
    let token = json!({"metadata": {"annotations": {"keystead.dev/rotate": "once"}}});
    bed.patch(SYSTEM, &format!("keymaterial/{sealing}"), &token)
        .await;
    eventually("another key is published", || async {
        public_keys(&bed).await.len() == 2
    })
    .await;
    assert_eq!(public_keys(&bed).await[1], keys[0]);
    let old = entry(b"old", strict("shop", "old", "token"), &keys);
    bed.apply_secret("shop", "old", &spec(&old)).await;
    bed.wait_ready("shop", "old").await;

    // A restart changes nothing, and what somebody deletes is published again.
    let (published_before, state) = (published(&bed).await, bed.state_of("shop", "app").await);
    operator.stop().await;
    let _operator = bed.operator().await;
    let next = entry(
        b"next",
        strict("shop", "next", "token"),
        &public_keys(&bed).await,
    );
    bed.apply_secret("shop", "next", &spec(&next)).await;
    bed.wait_ready("shop", "next").await;
    assert_eq!(bed.state_of("shop", "app").await, state);
    assert_eq!(published(&bed).await, published_before);
    let material = materials.get(&sealing).await.unwrap();
    assert_eq!(material.spec.generations.len(), 2);
    assert!(material.spec.parked_since.is_none() && material.spec.deletion.is_none());
    bed.delete("kube-public", "configmap/keystead").await;
    eventually("it is published again", || async {
        public_keys(&bed).await.len() == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealing_key_that_is_lost_is_not_replaced_and_what_was_taken_stays() {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    bed.namespace("shop").await;
    let keys = first_public_key(&bed).await;
    let taken = entry(b"taken", strict("shop", "app", "token"), &keys);
    bed.apply_secret("shop", "app", &spec(&taken)).await;
    bed.wait_ready("shop", "app").await;
    operator.stop().await;
    let materials: Api<KeyMaterial> = Api::namespaced(bed.client.clone(), SYSTEM);
    let all = materials.list(&ListParams::default()).await.unwrap();
    let sealing = all.items.into_iter().find(|m| m.spec.internal.is_some());
    let name = sealing.unwrap().metadata.name.unwrap();
    materials
        .delete(&name, &DeleteParams::default())
        .await
        .unwrap();
    let _operator = bed.operator().await;
    let late = entry(b"late", strict("shop", "late", "token"), &keys);
    bed.apply_secret("shop", "late", &spec(&late)).await;
    bed.wait_not_ready("shop", "late", "SealingKeyMissing")
        .await;
    assert!(materials.get_opt(&name).await.unwrap().is_none());
    // What was taken needs the sealing key no more.
    bed.delete("shop", "secret/app").await;
    eventually("it is delivered again", || async {
        let data = bed.data("shop", "app").await;
        data.is_some_and(|data| data["token"] == b"taken")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_was_copied_from_a_target_counts_for_the_key_that_it_is_under() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    bed.namespace("shop").await;
    bed.apply(&key("shop", "orders")).await;
    let made = "{keyRef: {name: orders}, literals: {token: \"one\"}}";
    bed.apply_secret("shop", "app", made).await;
    bed.wait_ready("shop", "app").await;
    let delivered = bed.data("shop", "app").await.unwrap();
    let copy = STANDARD.encode(&delivered["token.sealed"]);
    let dependents = async |count: u32| {
        eventually(&format!("{count} secrets need the key"), || async {
            let keys = bed.managed_keys("shop").await;
            let orders = keys.into_iter().find(|key| key.name_any() == "orders");
            let status = orders.unwrap().status.unwrap();
            status.dependents.unwrap_or_default().secrets == count
        })
        .await;
    };
    dependents(1).await;
    // The same value from Git, and the secret under another key: nothing stored needs the first any more but the entry.
    let from_git = format!("{{sealed: {{token: \"{copy}\"}}, target: {{form: Plain}}}}");
    bed.apply_secret("shop", "app", &from_git).await;
    bed.wait_value("shop", "app", "token", b"one").await;
    let rotate = json!({"metadata": {"annotations": {"keystead.dev/rotate": "1"}}});
    bed.patch("shop", "managedkey/orders", &rotate).await;
    eventually("its first generation is needed by one", || async {
        let keys = bed.managed_keys("shop").await;
        let orders = keys.into_iter().find(|key| key.name_any() == "orders");
        let status = orders.unwrap().status.unwrap();
        status.versions.len() == 2
            && status
                .versions
                .iter()
                .any(|version| version.references == Some(1))
    })
    .await;
    dependents(1).await;
    let gone = "{literals: {token: \"one\"}, target: {form: Plain}}";
    bed.apply_secret("shop", "app", gone).await;
    dependents(0).await;
}
