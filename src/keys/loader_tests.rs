use super::super::testing::{INSTALLATION, made, root, rotated, truth};
use super::*;
use crate::crypto::{RootKey, SecretArray};
use crate::roots::Providers;

fn loader(roots: RootKeys) -> Loader {
    let keyring = Arc::new(Keyring::default());
    Loader::new(keyring, INSTALLATION, Arc::new(roots), Metrics::new())
}

fn one_root() -> RootKeys {
    RootKeys::only(Arc::new(root()))
}

#[tokio::test]
async fn truth_that_is_as_it_was_is_neither_opened_again_nor_announced() {
    let loader = loader(one_root());
    let mut changes = loader.changes().subscribe();
    let key = made(1, "SymmetricDefault", "EncryptDecrypt");
    let (id, mut truth) = (key.id, key.truth);
    let put = async |truth: &KeyMaterial| loader.put(DeserializeGuard(Ok(truth.clone()))).await;
    assert_eq!(put(&truth).await, Some(id));
    let first = loader.keyring.get(id).unwrap();
    assert!(changes.try_recv().is_ok());
    assert_eq!(put(&truth).await, Some(id));
    assert!(Arc::ptr_eq(&first, &loader.keyring.get(id).unwrap()));
    assert!(changes.try_recv().is_err());
    // After a restore a resourceVersion may come again with another content.
    truth.spec.enabled = false;
    assert_eq!(put(&truth).await, Some(id));
    assert!(!loader.keyring.get(id).unwrap().truth.spec.enabled);
    assert!(changes.try_recv().is_ok());
    // What was unreadable in between is loaded again.
    loader.remove_id(id);
    assert_eq!(put(&truth).await, Some(id));
    assert!(loader.keyring.get(id).is_some());
}

#[tokio::test]
async fn a_missing_root_key_is_looked_for_only_while_some_key_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    std::fs::write(&one, [1; 32]).unwrap();
    let bytes = SecretArray::from_slice(&[1; 32]).unwrap();
    let current = RootKey::from_secret(bytes).fingerprint();
    let roots = RootKeys::open(Providers::of_files(one, two), current);
    let loader = loader(roots.await.unwrap());
    // It is wrapped under a root key that is in neither file.
    let key = rotated(truth(1, "SymmetricDefault", "EncryptDecrypt", "Keystead"));
    let mut news = loader.news_of_roots();
    let put = loader.put(DeserializeGuard(Ok(key.truth.clone()))).await;
    assert_eq!(put, Some(key.id));
    loader.look_for_roots(&mut news).await;
    assert!(loader.roots.is_missing_any());
    loader.remove_id(key.id);
    loader.look_for_roots(&mut news).await;
    assert!(!loader.roots.is_missing_any());
}

#[tokio::test]
async fn looks_that_were_not_needed_are_not_made_up_for() {
    assert_eq!(looks().missed_tick_behavior(), MissedTickBehavior::Delay);
}
