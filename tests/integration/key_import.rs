//! Imported key material: wrapped with openssl as a user would, taken, expired, deleted, and imported again.

use std::path::Path;
use std::process::Stdio;

use base64::Engine;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use keystead::api::key_import::KeyImportStatus;
use keystead::api::{KeyState, ManagedKey, ManagedKeyStatus};
use kube::Api;

use crate::support::{Bed, Person, eventually_within, managed_secret};

const DAY: i64 = 86_400;
/// A wrapping key takes long to make, and the machine may be slow.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

async fn status(bed: &Bed) -> ManagedKeyStatus {
    let keys: Api<ManagedKey> = Api::namespaced(bed.client.clone(), "shop");
    let key = keys.get("own").await.unwrap();
    key.status.unwrap_or_default()
}

async fn wait_state(bed: &Bed, state: KeyState) {
    eventually_within(PATIENCE, &format!("the key is {state:?}"), || async {
        status(bed).await.state == Some(state)
    })
    .await;
}

/// Waits until the key is not Ready for that reason; the message.
async fn wait_reason(bed: &Bed, reason: &str) -> String {
    let said = || async {
        let conditions = status(bed).await.conditions;
        let ready = conditions.into_iter().find(|c| c.type_ == "Ready").unwrap();
        (ready.reason == reason).then_some(ready.message)
    };
    eventually_within(PATIENCE, &format!("the key says {reason}"), || async {
        said().await.is_some()
    })
    .await;
    said().await.unwrap_or_default()
}

async fn offer(bed: &Bed) -> KeyImportStatus {
    eventually_within(PATIENCE, "a wrapping key is offered", || async {
        status(bed).await.import.is_some()
    })
    .await;
    status(bed).await.import.unwrap()
}

async fn openssl(dir: &Path, args: &[&str]) {
    let run = tokio::process::Command::new("openssl")
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output();
    let output = run.await.expect("openssl is there");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {args:?}: {error}");
}

async fn encrypt_oaep(dir: &Path, from: &str, to: &str) {
    let args = "pkeyutl -encrypt -pubin -keyform DER -inkey wrapping.der -pkeyopt rsa_padding_mode:oaep -pkeyopt \
                rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256";
    let args: Vec<_> = args
        .split_whitespace()
        .chain(["-in", from, "-out", to])
        .collect();
    openssl(dir, &args).await;
}

/// Wraps material as the documentation says, and puts it into the Secret.
async fn wrap(bed: &Bed, material: &[u8], with_key_wrap: bool) {
    let offer = offer(bed).await;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let public = base64::engine::general_purpose::STANDARD;
    let public = public.decode(&offer.wrapping_public_key).unwrap();
    std::fs::write(at("wrapping.der"), public).unwrap();
    std::fs::write(at("material"), material).unwrap();
    std::fs::write(at("token"), format!("{}\n", offer.import_token)).unwrap();
    if with_key_wrap {
        let kek = [0x5a; 32];
        std::fs::write(at("kek"), kek).unwrap();
        encrypt_oaep(dir.path(), "kek", "encrypted").await;
        let hex = "5a".repeat(kek.len());
        let args = "enc -e -id-aes256-wrap-pad -iv A65959A6 -in material -out wrapped -K";
        let args: Vec<_> = args.split(' ').chain([hex.as_str()]).collect();
        openssl(dir.path(), &args).await;
        let both = [
            std::fs::read(at("encrypted")).unwrap(),
            std::fs::read(at("wrapped")).unwrap(),
        ];
        std::fs::write(at("encrypted"), both.concat()).unwrap();
    } else {
        encrypt_oaep(dir.path(), "material", "encrypted").await;
    }
    let file = |key: &str, name: &str| format!("--from-file={key}={}", at(name).display());
    let (material, token) = (
        file("encryptedKeyMaterial", "encrypted"),
        file("importToken", "token"),
    );
    let args = [
        "create",
        "secret",
        "generic",
        "wrapped",
        "-n",
        "shop",
        "--dry-run=client",
        "-o",
        "yaml",
        &material,
        &token,
    ];
    let secret = bed.kubectl(&args).await.expect_ok();
    bed.apply(&secret).await;
}

fn key(annotations: &str, import: &str) -> String {
    format!(
        "{{apiVersion: keystead.dev/v1alpha1, kind: ManagedKey, metadata: {{name: own, namespace: shop, annotations: \
         {{{annotations}}}}}, spec: {{origin: External{import}}}}}\n"
    )
}

fn from_secret(algorithm: &str, valid_to: &str) -> String {
    format!(", import: {{secretRef: {{name: wrapped}}, wrappingAlgorithm: {algorithm}{valid_to}}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn material_is_imported_deleted_expires_and_only_the_same_comes_back() {
    let bed = Bed::start().await;
    let operator = bed.operator().await;
    bed.namespace("shop").await;
    bed.apply(&key("", "")).await;
    let message = wait_reason(&bed, "PendingImport").await;
    assert!(message.contains("wrappingPublicKey"), "{message}");
    wait_state(&bed, KeyState::PendingImport).await;
    let spec =
        "{keyRef: {name: own}, generate: [{key: password, password: {}}], target: {form: Plain}}";
    bed.apply(&managed_secret("shop", "db", spec)).await;
    bed.wait_not_ready("shop", "db", "KeyNotReady").await;

    // Named before it is there, then wrapped for another offer, then right.
    bed.apply(&key("", &from_secret("RsaesOaepSha256", "")))
        .await;
    wait_reason(&bed, "ImportSourceMissing").await;
    let stale = "create secret generic wrapped -n shop --from-literal=encryptedKeyMaterial=x --from-literal=importToken=x";
    let stale: Vec<_> = stale.split(' ').collect();
    bed.kubectl(&stale).await.expect_ok();
    let message = wait_reason(&bed, "ImportRefused").await;
    assert!(message.contains("importToken"), "{message}");
    let material = [0x11; 32];
    wrap(&bed, &material, false).await;
    wait_state(&bed, KeyState::Enabled).await;
    assert_eq!(status(&bed).await.import, None, "an offer is used once");
    bed.wait_ready("shop", "db").await;
    let password = bed.value("shop", "db", "password").await;
    let id = status(&bed).await.versions[0].material_id.clone();

    // Deleted: by the token, once spec.import is out.
    let asks = "keystead.dev/delete-imported-material: one";
    bed.apply(&key(asks, "")).await;
    wait_state(&bed, KeyState::PendingImport).await;
    let truth = bed.material("shop", "own").await.spec;
    assert!(truth.generations.is_empty() && truth.import.unwrap().parked.is_some());
    let message = wait_reason(&bed, "PendingImport").await;
    assert!(
        message.contains("former material is destroyed at"),
        "{message}"
    );

    // No other material is taken; the same is, wrapped in another way, also after a restart.
    let asks = format!("{asks}, keystead.dev/offer-import: one");
    bed.apply(&key(&asks, "")).await;
    wrap(&bed, &[0x22; 32], true).await;
    operator.kill().await;
    let operator = bed.operator().await;
    let import = from_secret("RsaAesKeyWrapSha256", "");
    bed.apply(&key(&asks, &import)).await;
    let message = wait_reason(&bed, "ImportRefused").await;
    assert!(
        message.contains("another than the one that was imported first"),
        "{message}"
    );
    wrap(&bed, &material, true).await;
    wait_state(&bed, KeyState::Enabled).await;
    assert_eq!(status(&bed).await.versions[0].material_id, id);
    bed.wait_ready("shop", "db").await;

    // It expires, and what was parked is destroyed a month later; the same material still comes back.
    let soon = Timestamp::now() + SignedDuration::from_hours(48);
    let until = |at: Timestamp| format!(", validTo: '{at:.0}'");
    bed.apply(&key(
        &asks,
        &from_secret("RsaAesKeyWrapSha256", &until(soon)),
    ))
    .await;
    eventually_within(PATIENCE, "it is to expire", || async {
        status(&bed).await.valid_to.is_some()
    })
    .await;
    bed.set_clock(3 * DAY);
    operator.kill().await;
    let operator = bed.operator().await;
    wait_state(&bed, KeyState::PendingImport).await;
    let message = wait_reason(&bed, "ImportRefused").await;
    assert!(message.contains("validTo has passed"), "{message}");
    let earlier = bed.record().await.get("restoreSuspected").cloned();
    bed.set_clock(34 * DAY);
    operator.kill().await;
    let _operator = bed.operator().await;
    // That long without a leader, it may be a restored cluster: nothing is destroyed for a day more. The days before have left
    // such a mark too.
    eventually_within(PATIENCE, "a restore is suspected again", || async {
        let mark = bed.record().await.get("restoreSuspected").cloned();
        mark.is_some() && mark != earlier
    })
    .await;
    let record = bed.material("shop", "own").await.spec.import.unwrap();
    assert!(record.parked.is_some());
    bed.set_clock(35 * DAY + 60);
    eventually_within(PATIENCE, "parked material is destroyed", || async {
        let record = bed.material("shop", "own").await.spec.import.unwrap();
        record.parked.is_none() && record.identity.is_some()
    })
    .await;
    let asks = asks.replace("offer-import: one", "offer-import: two");
    bed.apply(&key(&asks, "")).await;
    wrap(&bed, &material, false).await;
    bed.apply(&key(&asks, &from_secret("RsaesOaepSha256", "")))
        .await;
    wait_state(&bed, KeyState::Enabled).await;
    assert_eq!(status(&bed).await.versions[0].material_id, id);
    bed.wait_ready("shop", "db").await;
    assert_eq!(bed.value("shop", "db", "password").await, password);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_author_imports_only_from_a_secret_that_he_may_read() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    let (ann, bob) = (Person::new(&bed, "ann"), Person::new(&bed, "bob"));
    let rules = "[{apiGroups: [keystead.dev], resources: [managedkeys], verbs: [get, create, update, patch]}]";
    let get = "[{apiGroups: [''], resources: [secrets], verbs: [get], resourceNames: [wrapped]}]";
    ann.grant("shop", "author", rules).await;
    bob.grant("shop", "other-author", rules).await;
    bob.grant("shop", "reader", get).await;
    ann.can(&["create", "managedkeys", "-n", "shop"]).await;
    bob.can(&["get", "secrets/wrapped", "-n", "shop"]).await;
    bed.policies_in_force().await;
    ann.allowed(&key("", "")).await;
    let importing = key("", &from_secret("RsaesOaepSha256", ""));
    // Which material a key has, and until when, is an administrative action of its own.
    let message = bob.refused(&importing).await;
    assert!(message.contains("ImportKeyMaterial"), "{message}");
    let deleting = key("keystead.dev/delete-imported-material: one", "");
    let message = ann.refused(&deleting).await;
    assert!(message.contains("DeleteImportedKeyMaterial"), "{message}");
    let import = "[{apiGroups: [keystead.dev], resources: [managedkeys/import], verbs: [update]}]";
    ann.grant("shop", "import", import).await;
    ann.can(&["update", "managedkeys/import", "-n", "shop"])
        .await;
    for trick in ["../../bank/secrets/vault", "a?b", "a%2fb", "A"] {
        let spec = format!(
            ", import: {{secretRef: {{name: '{trick}'}}, wrappingAlgorithm: RsaesOaepSha256}}"
        );
        let message = ann.refused(&key("", &spec)).await;
        assert!(message.contains("spec.import.secretRef.name"), "{message}");
    }
    let message = ann.refused(&importing).await;
    let needed = "spec.import needs get on secrets for Secret shop/wrapped";
    assert!(message.contains(needed), "{message}");
    ann.grant("shop", "get", get).await;
    ann.allowed(&importing).await;
}
