use std::sync::{Arc, OnceLock};

use k8s_openapi::jiff::Timestamp;

use super::*;
use crate::api::KeyMaterial;
use crate::api::key_import::{ImportRecord, ParkedMaterial};
use crate::crypto::{KeyKind, OsRandom, RootKey, SecretArray, SigningKind, wrap_import};
use crate::keys::testing::{INSTALLATION, id, reloaded, root, truth};
use crate::keys::{Key, is_under, rewrap};
use crate::roots::Providers;

const OAEP: ImportWrappingAlgorithm = ImportWrappingAlgorithm::RsaesOaepSha256;
const KWP: ImportWrappingAlgorithm = ImportWrappingAlgorithm::RsaAesKeyWrapSha256;

/// Wrapping key pairs, made once: that takes seconds.
fn pair(number: usize) -> &'static SecretBytes {
    static PAIRS: [OnceLock<SecretBytes>; 2] = [OnceLock::new(), OnceLock::new()];
    PAIRS[number].get_or_init(|| DecryptionKey::generate(WRAPPING_SIZE).unwrap())
}

/// A key that waits for its material, with an offer.
fn pending(spec: &str, usage: &str) -> KeyMaterial {
    let mut truth = truth(1, spec, usage, "External");
    let root = root();
    let offer = offer_of(&new(&root), &truth.spec, pair(0), &mut OsRandom).unwrap();
    truth.spec.import = Some(ImportRecord {
        offer: Some(offer),
        ..ImportRecord::default()
    });
    truth
}

fn new(root: &RootKey) -> NewKey<'_> {
    NewKey {
        installation: INSTALLATION,
        root,
        id: id(1),
        now: Timestamp::UNIX_EPOCH,
    }
}

fn offer(truth: &KeyMaterial) -> &ImportOffer {
    truth.spec.import.as_ref().unwrap().offer.as_ref().unwrap()
}

/// What a user makes of the offer.
fn wrapped(truth: &KeyMaterial, algorithm: ImportWrappingAlgorithm, material: &[u8]) -> Vec<u8> {
    let public = BASE64.decode(&offer(truth).public_key).unwrap();
    let wrapping = match algorithm {
        OAEP => ImportWrapping::RsaesOaepSha256,
        KWP => ImportWrapping::RsaAesKeyWrapSha256,
    };
    let material = SecretBytes::copy_of(material);
    wrap_import(&public, wrapping, &material, &mut OsRandom).unwrap()
}

fn open(
    truth: &KeyMaterial,
    algorithm: ImportWrappingAlgorithm,
    wrapped: &[u8],
) -> Result<Imported, ImportRefusal> {
    let opening = Opening {
        installation: INSTALLATION,
        roots: &RootKeys::only(Arc::new(root())),
        key: id(1),
        spec: &truth.spec,
    };
    opening.open(offer(truth), algorithm, wrapped)
}

fn import(truth: &mut KeyMaterial, algorithm: ImportWrappingAlgorithm, material: &[u8]) {
    let imported = open(truth, algorithm, &wrapped(truth, algorithm, material)).unwrap();
    let root = root();
    let made = imported_generation(&new(&root), &truth.spec, &imported, &mut OsRandom);
    let (generation, identity) = made.unwrap();
    truth.spec.generations = vec![generation];
    truth.spec.import.as_mut().unwrap().identity = Some(identity);
}

#[test]
fn imported_material_of_every_kind_is_the_keys() {
    let signing = |kind| SecretKey::generate(KeyKind::Signing(kind), &mut OsRandom).unwrap();
    let rsa = SigningKind::Rsa(crate::crypto::RsaSize::Rsa2048);
    for (spec, usage, algorithm, material) in [
        (
            "SymmetricDefault",
            "EncryptDecrypt",
            OAEP,
            SecretBytes::zeroed(32),
        ),
        ("Hmac512", "GenerateVerifyMac", KWP, SecretBytes::zeroed(64)),
        (
            "EccNistP256",
            "SignVerify",
            OAEP,
            signing(SigningKind::EccNistP256),
        ),
        ("Rsa2048", "SignVerify", KWP, signing(rsa)),
    ] {
        let mut truth = pending(spec, usage);
        let waiting = reloaded(truth.clone());
        assert_eq!(waiting.state(), crate::api::KeyState::PendingImport);
        import(&mut truth, algorithm, material.expose());
        let key = reloaded(truth);
        assert_eq!(key.state(), crate::api::KeyState::Enabled, "{spec}");
    }
}

#[test]
fn the_same_material_comes_back_under_its_id_and_no_other_does() {
    let mut truth = pending("SymmetricDefault", "EncryptDecrypt");
    import(&mut truth, OAEP, &[7; 32]);
    let first = truth.spec.generations[0].material_id.clone();
    let context = crate::crypto::EncryptionContext::empty();
    let key = reloaded(truth.clone());
    let wrapping = key.wrapping_key().unwrap();
    let ciphertext = crate::crypto::encrypt(b"x", &context, &wrapping, &mut OsRandom).unwrap();

    truth.spec.generations.clear();
    let refused = open(&truth, KWP, &wrapped(&truth, KWP, &[8; 32])).unwrap_err();
    assert_eq!(refused, ImportRefusal::OtherMaterial);
    import(&mut truth, KWP, &[7; 32]);
    assert_eq!(truth.spec.generations[0].material_id, first);
    let key = reloaded(truth);
    let opened = crate::crypto::decrypt(&ciphertext, &context, &key).unwrap();
    assert_eq!(opened.expose(), b"x");
}

#[test]
fn what_is_not_wrapped_for_this_key_or_is_no_key_is_refused() {
    let truth = pending("SymmetricDefault", "EncryptDecrypt");
    let refused = |algorithm, bytes: &[u8]| open(&truth, algorithm, bytes).unwrap_err();
    let good = wrapped(&truth, OAEP, &[7; 32]);
    assert_eq!(refused(KWP, &good), ImportRefusal::Unwrap);
    assert_eq!(refused(OAEP, b""), ImportRefusal::Unwrap);
    assert_eq!(refused(OAEP, &[1; 6000]), ImportRefusal::Unwrap);
    let mut elsewhere = truth.clone();
    let other = offer_of(&new(&root()), &truth.spec, pair(1), &mut OsRandom);
    elsewhere.spec.import.as_mut().unwrap().offer = other.ok();
    let elsewhere = wrapped(&elsewhere, OAEP, &[7; 32]);
    assert_eq!(refused(OAEP, &elsewhere), ImportRefusal::Unwrap);
    for length in [1, 31, 33, 64] {
        let material = wrapped(&truth, KWP, &vec![7; length]);
        assert_eq!(refused(KWP, &material), ImportRefusal::Kind, "{length}");
    }
}

#[test]
fn an_offer_of_another_key_or_in_the_place_of_material_does_not_open() {
    let mut truth = pending("SymmetricDefault", "EncryptDecrypt");
    let bytes = wrapped(&truth, OAEP, &[7; 32]);
    let offer = offer(&truth).clone();
    truth.spec.name = "another".to_owned();
    assert_eq!(
        open(&truth, OAEP, &bytes).unwrap_err(),
        ImportRefusal::Unreadable
    );
    // Put where a key pair of the key would be.
    let mut truth = crate::keys::testing::truth(1, "Rsa4096", "EncryptDecrypt", "External");
    truth.spec.generations = vec![MaterialGeneration {
        version: 1,
        material_id: offer.id,
        wrapped: offer.wrapped,
        root_fingerprint: String::new(),
        created: Time(Timestamp::UNIX_EPOCH),
        unused_since: None,
    }];
    assert!(reloaded(truth).generations[0].material.is_err());
}

#[test]
fn a_token_names_the_key_and_the_offer() {
    let truth = pending("SymmetricDefault", "EncryptDecrypt");
    let token = import_token(id(1), offer(&truth));
    assert_eq!(token.len(), 44);
    assert_ne!(token, import_token(id(2), offer(&truth)));
    let mut other = offer(&truth).clone();
    other.id = "0".repeat(32);
    assert_ne!(token, import_token(id(1), &other));
}

#[tokio::test]
async fn a_rotation_of_the_root_key_takes_everything_of_an_import_along() {
    let mut truth = pending("SymmetricDefault", "EncryptDecrypt");
    import(&mut truth, OAEP, &[7; 32]);
    let bytes = wrapped(&truth, OAEP, &[7; 32]);
    let generation = truth.spec.generations.pop().unwrap();
    let record = truth.spec.import.as_mut().unwrap();
    record.parked = Some(ParkedMaterial {
        generation,
        since: Time(Timestamp::UNIX_EPOCH),
        date: Time(Timestamp::UNIX_EPOCH),
    });

    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    std::fs::write(&one, [9; 32]).unwrap();
    std::fs::write(&two, [1; 32]).unwrap();
    let (first, second) = (root().fingerprint(), {
        let bytes = SecretArray::from_slice(&[1; 32]).unwrap();
        RootKey::from_secret(bytes).fingerprint()
    });
    let roots = RootKeys::open(Providers::of_files(one, two), first);
    let roots = roots.await.unwrap();
    roots.switch(second).await.unwrap();
    assert!(!is_under(&truth, second));
    let mut anew = rewrap(&truth, INSTALLATION, &roots, &mut OsRandom).unwrap();
    assert!(is_under(&anew, second));
    roots.forget(first);

    let opening = Opening {
        installation: INSTALLATION,
        roots: &roots,
        key: id(1),
        spec: &anew.spec,
    };
    let same = opening.open(offer(&anew), OAEP, &bytes);
    assert!(
        same.is_ok(),
        "the wrapping key and the digest open: {same:?}"
    );
    let parked = anew.spec.import.as_mut().unwrap().parked.take().unwrap();
    anew.spec.generations.push(parked.generation);
    let key = Key::load(anew, INSTALLATION, &roots).unwrap();
    assert!(key.generations[0].material.is_ok());
}
