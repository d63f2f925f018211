use std::sync::Arc;

use super::*;
use crate::api::names::SEALING_KEY;
use crate::crypto::{EncryptionContext, Limits, OsRandom, RootKey, open_sealed, seal_to};
use crate::keys::testing::{INSTALLATION, root};
use crate::keys::{Key, is_under, rewrap};

fn made(root: &RootKey, generations: usize) -> KeyMaterial {
    let region = "ks-local-1".parse().unwrap();
    let mut spec = new_sealing_key(INSTALLATION, &region, "keystead-system");
    for _ in 0..generations {
        let new = NewKey {
            installation: INSTALLATION,
            root,
            id: sealing_key_id(INSTALLATION),
            now: Timestamp::UNIX_EPOCH,
        };
        let generation = new_sealing_generation(&new, &spec, &mut OsRandom).unwrap();
        spec.generations.push(generation);
    }
    KeyMaterial::new(&sealing_key_id(INSTALLATION).to_string(), spec)
}

fn loaded(truth: KeyMaterial) -> SealingKey {
    let roots = RootKeys::only(Arc::new(root()));
    SealingKey::load(truth, INSTALLATION, &roots).unwrap()
}

#[test]
fn the_newest_is_first_and_what_was_sealed_for_any_of_them_opens() {
    let truth = made(&root(), 3);
    let key = loaded(truth);
    assert!(key.closed.is_empty());
    assert_eq!(
        newest_sealing_key(&key.truth.spec),
        Some(key.public[0].key.id())
    );
    let context = EncryptionContext::empty();
    for public in &key.public {
        let for_one = std::slice::from_ref(&public.key);
        let message = seal_to(b"x", &context, for_one, &mut OsRandom).unwrap();
        let opened = open_sealed(&message, &context, &key.keys, Limits::default());
        assert_eq!(opened.unwrap().expose(), b"x");
    }
}

#[test]
fn a_generation_under_another_name_or_another_root_key_is_closed_and_the_others_open() {
    let mut truth = made(&root(), 3);
    let other = truth.spec.generations[0].material_id.clone();
    truth.spec.generations[1].material_id = other;
    let another = RootKey::generate(&mut OsRandom).unwrap();
    truth.spec.generations[2].wrapped = made(&another, 1).spec.generations[0].wrapped.clone();
    let key = loaded(truth);
    let closed: Vec<_> = key.closed.iter().map(|(version, _)| *version).collect();
    assert_eq!((closed, key.public.len()), (vec![3, 2], 1));
}

#[test]
fn it_is_never_taken_for_the_key_of_a_managed_key_nor_the_other_way_round() {
    let roots = RootKeys::only(Arc::new(root()));
    let mut truth = made(&root(), 1);
    assert!(Key::load(truth.clone(), INSTALLATION, &roots).is_err());
    // Its material is bound to its use.
    truth.spec.internal = None;
    let key = Key::load(truth, INSTALLATION, &roots).unwrap();
    assert!(key.generations[0].material.is_err());
    let mut key = crate::keys::testing::made(1, "SymmetricDefault", "EncryptDecrypt").truth;
    key.spec.internal = Some(InternalUse::Sealing);
    assert!(SealingKey::load(key.clone(), INSTALLATION, &roots).is_err());
    key.metadata.name = Some(sealing_key_id(INSTALLATION).to_string());
    assert_eq!(loaded(key).closed.len(), 1);
}

#[tokio::test]
async fn its_generations_are_wrapped_anew_with_the_root_key_and_stay_the_same_keys() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let next = RootKey::generate(&mut OsRandom).unwrap();
    std::fs::write(&one, root().expose()).unwrap();
    std::fs::write(&two, next.expose()).unwrap();
    let providers = crate::roots::Providers::of_files(one, two);
    let roots = RootKeys::open(providers, root().fingerprint())
        .await
        .unwrap();
    let old = made(&root(), 2);
    roots.switch(next.fingerprint()).await.unwrap();
    let new = rewrap(&old, INSTALLATION, &roots, &mut OsRandom).unwrap();
    assert!(is_under(&new, next.fingerprint()));
    let again = SealingKey::load(new, INSTALLATION, &roots).unwrap();
    assert!(again.closed.is_empty());
    assert_eq!(again.truth.spec.name, SEALING_KEY);
    assert_eq!(again.public, loaded(old).public);
}
