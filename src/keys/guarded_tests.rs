//! A guarded keyring, with a real key in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use kube::api::ObjectMeta;
use serde_json::json;

use super::{Freshness, Key, Keyring, NewKey, NotFresh, SecretUser, UseError, new_generation};
use crate::api::{KeyMaterial, KeyMaterialSpec};
use crate::crypto::{EncryptionContext, InstallationId, KeyId, OsRandom, RootKey};
use crate::policy::Context;
use crate::roots::RootKeys;

const ID: &str = "11111111-1111-4111-8111-111111111111";

fn id() -> KeyId {
    ID.parse().unwrap()
}

fn key() -> Key {
    let (installation, root) = (
        InstallationId::from_bytes([1; 16]),
        RootKey::generate(&mut OsRandom).unwrap(),
    );
    let mut spec: KeyMaterialSpec = serde_json::from_value(json!({
        "namespace": "shop",
        "name": "orders",
        "namespaceUid": "n",
        "objectUid": "o",
        "arn": format!("arn:aws:kms:ks-local-1:123456789012:key/{ID}"),
        "keySpec": "SymmetricDefault",
        "keyUsage": "EncryptDecrypt",
        "origin": "Keystead",
        "enabled": true,
        "generations": [],
    }))
    .unwrap();
    let new = NewKey {
        installation,
        root: &root,
        id: id(),
        now: Timestamp::UNIX_EPOCH,
    };
    let generation = new_generation(&new, &spec, &mut OsRandom).unwrap();
    spec.generations.push(generation);
    let mut truth = KeyMaterial::new(ID, spec);
    truth.metadata = ObjectMeta {
        namespace: Some("keystead-system".to_owned()),
        ..truth.metadata
    };
    Key::load(truth, installation, &RootKeys::only(Arc::new(root))).unwrap()
}

fn user() -> SecretUser {
    SecretUser {
        namespace: "shop".to_owned(),
        name: "orders".to_owned(),
        namespace_uid: None,
        pairs: Context::new(),
        now: Timestamp::UNIX_EPOCH,
    }
}

fn seal(keyring: &Keyring) -> Result<Vec<u8>, UseError> {
    let context = EncryptionContext::default();
    let sealed = keyring.seal(id(), &user(), &context, b"value", &mut OsRandom);
    sealed.map(|used| used.result)
}

fn refused<T>(used: Result<T, UseError>) -> NotFresh {
    match used {
        Err(UseError::Stale(why)) => why,
        Err(other) => panic!("refused for another reason: {other}"),
        Ok(_) => panic!("not refused"),
    }
}

fn ago(seconds: u64) -> Instant {
    let then = Instant::now().checked_sub(Duration::from_secs(seconds));
    then.expect("the machine is up for a minute")
}

#[test]
fn a_guarded_keyring_uses_keys_only_while_its_proof_is_fresh() {
    let freshness = Arc::new(Freshness::new());
    let keyring = Keyring::guarded(freshness.clone());
    keyring.insert(key());
    assert_eq!(refused(seal(&keyring)), NotFresh::Unproven);

    freshness.proof().replaced(Instant::now(), 1);
    assert_eq!(refused(seal(&keyring)), NotFresh::Unannounced);

    freshness.announced(Instant::now());
    let sealed = seal(&keyring).unwrap();
    let context = EncryptionContext::default();
    let opened = keyring.open(&sealed, &user(), &context).unwrap();
    assert_eq!(opened.result.expose(), b"value");
}

#[test]
fn a_guarded_keyring_refuses_at_the_moment_of_use_without_anybody_telling_it() {
    let freshness = Arc::new(Freshness::new());
    freshness.announced(Instant::now());
    freshness.proof().replaced(ago(14), 1);
    let keyring = Keyring::guarded(freshness.clone());
    keyring.insert(key());
    let sealed = seal(&keyring).unwrap();
    // As after a pause of the process: the next thing that happens is a use.
    std::thread::sleep(Duration::from_millis(1200));
    assert!(matches!(refused(seal(&keyring)), NotFresh::Old(_)));
    let opened = keyring.open(&sealed, &user(), &EncryptionContext::default());
    assert!(matches!(refused(opened.map(drop)), NotFresh::Old(_)));

    freshness.proof().asked(Instant::now(), 2);
    assert!(matches!(refused(seal(&keyring)), NotFresh::Old(_)));
    freshness.proof().applied(2);
    assert!(seal(&keyring).is_ok());
}

#[test]
fn an_unguarded_keyring_needs_no_proof() {
    let keyring = Keyring::default();
    keyring.insert(key());
    assert!(seal(&keyring).is_ok());
}
