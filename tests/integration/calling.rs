//! The calls of AWS KMS by the API, and what the controller hears of them.

use std::ops::Deref;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::jiff::Timestamp;
use keystead::api::{KeyState, ManagedKey};
use kube::Api;
use serde_json::{Value, json};

use crate::support::{Answer, Calls, Person, Served, eventually, eventually_within, key};

/// As a text no log has it by chance.
const CARD: &str = "canary of a card that is encrypted";
const DENIED: &str = "AccessDeniedException";

/// A control plane whose API is called, and a key that `shop:app` may use.
struct World(Served);

impl Deref for World {
    type Target = Served;

    fn deref(&self) -> &Served {
        &self.0
    }
}

impl World {
    async fn start() -> Self {
        let served = Served::start(&[("shop", "app"), ("shop", "stranger")]).await;
        let bed = &served.bed;
        bed.apply(&key("shop", "cards")).await;
        let alias = "{apiVersion: keystead.dev/v1alpha1, kind: KeyAlias, metadata: {name: payment, namespace: shop}, spec: {keyRef: {name: cards}}}";
        bed.apply(alias).await;
        let rule = "[{apiGroups: [keystead.dev], resources: [managedkeys/encrypt, managedkeys/decrypt, managedkeys/generatedatakey, \
                    managedkeys/reencryptfrom, managedkeys/reencryptto], verbs: [create]}, \
                    {apiGroups: [keystead.dev], resources: [managedkeys], verbs: [get]}]";
        let app = Person::new(bed, "system:serviceaccount:shop:app");
        app.grant("shop", "use", rule).await;
        app.can(&[
            "create",
            "managedkeys/cards",
            "--subresource=decrypt",
            "-n",
            "shop",
        ])
        .await;
        Self(served)
    }

    async fn state(&self) -> (Option<KeyState>, Option<String>, Vec<String>) {
        let keys: Api<ManagedKey> = Api::namespaced(self.bed.client.clone(), "shop");
        let status = keys.get("cards").await.unwrap().status.unwrap_or_default();
        let used = status.last_used.map(|used| used.operation);
        let conditions = status.conditions.into_iter().map(|c| c.type_).collect();
        (status.state, used, conditions)
    }
}

async fn kms(calls: &Calls, name: &str, body: Value) -> Answer {
    calls.call(&format!("TrentService.{name}"), &body).await
}

fn text(answer: &Value, field: &str) -> String {
    answer[field].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_use_a_key_does_so_by_the_calls_of_aws_and_nobody_else() {
    let world = World::start().await;
    let (app, stranger) = (
        world.calls("shop", "app").await,
        world.calls("shop", "stranger").await,
    );
    let described = kms(&app, "DescribeKey", json!({"KeyId": "alias/payment"})).await;
    let described = described.ok()["KeyMetadata"].clone();
    assert_eq!(described["KeyState"], "Enabled");
    assert_eq!(described["KeySpec"], "SYMMETRIC_DEFAULT");
    let (id, arn) = (text(&described, "KeyId"), text(&described, "Arn"));

    let context = json!({"team": "orders"});
    let plaintext = BASE64.encode(CARD);
    for name in [id.as_str(), arn.as_str(), "alias/payment"] {
        let asked = json!({"KeyId": name, "Plaintext": plaintext, "EncryptionContext": context});
        let made = kms(&app, "Encrypt", asked).await.ok();
        assert_eq!(text(&made, "KeyId"), arn);
        let blob = text(&made, "CiphertextBlob");
        let opened = kms(
            &app,
            "Decrypt",
            json!({"CiphertextBlob": blob, "EncryptionContext": context}),
        )
        .await;
        assert_eq!(text(&opened.ok(), "Plaintext"), plaintext);
        let other = kms(&app, "Decrypt", json!({"CiphertextBlob": blob})).await;
        assert_eq!(other.error(), "InvalidCiphertextException");
        let denied = kms(
            &stranger,
            "Decrypt",
            json!({"CiphertextBlob": blob, "EncryptionContext": context}),
        )
        .await;
        assert_eq!(denied.error(), DENIED);
        let moved = json!({"CiphertextBlob": blob, "SourceEncryptionContext": context, "DestinationKeyId": id,
                           "DestinationEncryptionContext": {"team": "bank"}});
        let moved = text(&kms(&app, "ReEncrypt", moved).await.ok(), "CiphertextBlob");
        let opened = kms(
            &app,
            "Decrypt",
            json!({"CiphertextBlob": moved, "EncryptionContext": {"team": "bank"}}),
        )
        .await;
        assert_eq!(text(&opened.ok(), "Plaintext"), plaintext);
    }
    let made = kms(
        &app,
        "GenerateDataKey",
        json!({"KeyId": id, "KeySpec": "AES_256"}),
    )
    .await
    .ok();
    let opened = kms(
        &app,
        "Decrypt",
        json!({"CiphertextBlob": made["CiphertextBlob"]}),
    )
    .await
    .ok();
    assert_eq!(opened["Plaintext"], made["Plaintext"]);
    let without = kms(
        &app,
        "GenerateDataKeyWithoutPlaintext",
        json!({"KeyId": id, "NumberOfBytes": 16}),
    )
    .await;
    assert_eq!(without.error(), DENIED, "it is a right of its own");
    let random = kms(&stranger, "GenerateRandom", json!({"NumberOfBytes": 24}))
        .await
        .ok();
    assert_eq!(BASE64.decode(text(&random, "Plaintext")).unwrap().len(), 24);
    let dry = kms(
        &app,
        "Encrypt",
        json!({"KeyId": id, "Plaintext": plaintext, "DryRun": true}),
    )
    .await;
    assert_eq!(dry.error(), "DryRunOperationException");
    malformed_calls_are_refused(&app, &id).await;
    let log = world.server.log();
    assert!(!log.contains(CARD) && !log.contains(&plaintext));
    eventually("the controller has heard of the use", || async {
        world.state().await.1.is_some()
    })
    .await;
}

async fn malformed_calls_are_refused(app: &Calls, id: &str) {
    let plaintext = BASE64.encode(CARD);
    for (body, error) in [
        (
            json!({"KeyId": "cards", "Plaintext": plaintext}),
            "ValidationException",
        ),
        (
            json!({"KeyId": "alias/none", "Plaintext": plaintext}),
            "NotFoundException",
        ),
        (
            json!({"KeyId": id, "Plaintext": "not base64!"}),
            "SerializationException",
        ),
        (json!({"KeyId": id, "Plaintext": ""}), "ValidationException"),
        (
            json!({"KeyId": id, "Plaintext": plaintext, "EncryptionContext": {"keystead:secret": "db"}}),
            "ValidationException",
        ),
        (json!({"Plaintext": plaintext}), "SerializationException"),
    ] {
        assert_eq!(
            kms(app, "Encrypt", body.clone()).await.error(),
            error,
            "{body}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_use_of_a_key_that_waits_for_its_deletion_is_refused_and_raises_the_alarm() {
    let world = World::start().await;
    let app = world.calls("shop", "app").await;
    let asked = json!({"KeyId": "alias/payment", "Plaintext": BASE64.encode(CARD)});
    let made = kms(&app, "Encrypt", asked).await.ok();
    let blob = json!({"CiphertextBlob": made["CiphertextBlob"]});
    assert_eq!(kms(&app, "Decrypt", blob.clone()).await.status, 200);

    let scheduled =
        key("shop", "cards").replace("spec: {}", "spec: {deletion: {pendingWindowDays: 7}}");
    world.bed.apply(&scheduled).await;
    eventually("the deletion is pending", || async {
        world.state().await.0 == Some(KeyState::PendingDeletion)
    })
    .await;
    let refused = kms(&app, "Decrypt", blob).await;
    assert_eq!(refused.error(), "KMSInvalidStateException");
    let soon = std::time::Duration::from_secs(60);
    eventually_within(soon, "the alarm is raised", || async {
        let (_, _, conditions) = world.state().await;
        conditions
            .iter()
            .any(|type_| type_ == "UsedWhilePendingDeletion")
    })
    .await;
    let truth = world.bed.material("shop", "cards").await;
    let refused = truth
        .spec
        .deletion
        .unwrap()
        .refused
        .expect("it is in the truth");
    assert!(refused.0 <= Timestamp::now());
    assert!(
        world
            .bed
            .events("shop", "cards", "UsedWhilePendingDeletion")
            .await
            >= 1
    );
}
