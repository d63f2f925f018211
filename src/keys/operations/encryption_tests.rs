use proptest::prelude::*;

use super::super::testing::{Bed, context, id};
use super::*;

fn symmetric_bed() -> Bed {
    let bed = Bed::new();
    bed.key(1, "SymmetricDefault", "EncryptDecrypt");
    bed
}

/// Runs to the end; nothing in these operations waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    use futures::FutureExt as _;
    future.now_or_never().expect("nothing waits")
}

proptest! {
    #[test]
    fn what_was_encrypted_decrypts_under_its_context_only(
        plaintext in proptest::collection::vec(any::<u8>(), 1..=MAX_SMALL_PLAINTEXT),
        team in "[a-z]{1,20}",
        other in "[A-Z]{1,20}",
    ) {
        let bed = symmetric_bed();
        let ciphertext = now(bed.encrypt(1, &plaintext, &context(&team))).unwrap().ciphertext;
        prop_assert!(ciphertext.len() <= MAX_CIPHERTEXT);
        let opened = now(bed.decrypt(&ciphertext, &context(&team))).unwrap();
        prop_assert_eq!(opened.plaintext.expose(), plaintext);
        let refused = now(bed.decrypt(&ciphertext, &context(&other))).unwrap_err();
        prop_assert_eq!(refused.name(), "InvalidCiphertextException");
        let refused = now(bed.decrypt(&ciphertext, &EncryptionContext::empty())).unwrap_err();
        prop_assert_eq!(refused.name(), "InvalidCiphertextException");
    }

    #[test]
    fn no_bytes_make_decryption_panic_or_succeed(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        changed in any::<prop::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let bed = symmetric_bed();
        let none = EncryptionContext::empty();
        prop_assert!(now(bed.decrypt(&bytes, &none)).is_err());
        let mut ciphertext = now(bed.encrypt(1, b"hello", &none)).unwrap().ciphertext;
        let at = changed.index(ciphertext.len());
        ciphertext[at] ^= 1_u8 << bit;
        prop_assert!(now(bed.decrypt(&ciphertext, &none)).is_err());
    }
}

#[tokio::test]
async fn old_ciphertext_decrypts_after_rotations() {
    let bed = symmetric_bed();
    let none = EncryptionContext::empty();
    let old = bed.encrypt(1, b"old", &none).await.unwrap().ciphertext;
    bed.rotate(1);
    let new = bed.encrypt(1, b"new", &none).await.unwrap().ciphertext;
    let material = |ciphertext| crypto::peek_ciphertext(ciphertext).unwrap().material;
    assert_ne!(material(&old), material(&new));
    let opened = bed.decrypt(&old, &none).await.unwrap();
    assert_eq!(opened.plaintext.expose(), b"old");

    bed.change(1, |truth| {
        truth.spec.generations.remove(0);
    });
    let lost = bed.decrypt(&old, &none).await.unwrap_err();
    assert_eq!(lost.name(), "KeyUnavailableException");
}

#[tokio::test]
async fn a_named_key_must_be_the_one_that_made_the_ciphertext() {
    let bed = symmetric_bed();
    bed.key(2, "SymmetricDefault", "EncryptDecrypt");
    let none = EncryptionContext::empty();
    let ciphertext = bed.encrypt(1, b"x", &none).await.unwrap().ciphertext;
    for (key, expected) in [(1, None), (2, Some("IncorrectKeyException"))] {
        let request = DecryptRequest {
            key: Some(id(key)),
            ciphertext: &ciphertext,
            context: &none,
            algorithm: EncryptionAlgorithm::Symmetric,
        };
        let opened = bed.operations().decrypt(bed.call(), request).await;
        assert_eq!(opened.err().map(|error| error.name()), expected);
    }
}

#[tokio::test]
async fn rsa_encrypts_within_its_limit_and_needs_its_key_named_and_no_context() {
    let bed = Bed::new();
    bed.key(1, "Rsa2048", "EncryptDecrypt");
    let none = EncryptionContext::empty();
    let algorithm = EncryptionAlgorithm::Oaep(OaepAlgorithm::RsaesOaepSha256);
    let operations = bed.operations();
    let plaintext = vec![7; 190];
    let request = EncryptRequest {
        key: id(1),
        plaintext: &plaintext,
        context: &none,
        algorithm,
    };
    let made = operations.encrypt(bed.call(), request).await.unwrap();
    let back = DecryptRequest {
        key: Some(id(1)),
        ciphertext: &made.ciphertext,
        context: &none,
        algorithm,
    };
    let opened = operations.decrypt(bed.call(), back).await.unwrap();
    assert_eq!(opened.plaintext.expose(), plaintext);

    let mut refused = Vec::new();
    let team = context("orders");
    let long = vec![7; 191];
    let (too_long, bound) = (
        EncryptRequest {
            plaintext: &long,
            ..request
        },
        EncryptRequest {
            context: &team,
            ..request
        },
    );
    for request in [too_long, bound] {
        refused.push(operations.encrypt(bed.call(), request).await.unwrap_err());
    }
    let unnamed = DecryptRequest { key: None, ..back };
    refused.push(operations.decrypt(bed.call(), unnamed).await.unwrap_err());
    for error in refused {
        assert_eq!(error.name(), "ValidationException", "{error}");
    }
    let other = DecryptRequest {
        algorithm: EncryptionAlgorithm::Oaep(OaepAlgorithm::RsaesOaepSha1),
        ..back
    };
    let refused = operations.decrypt(bed.call(), other).await.unwrap_err();
    assert_eq!(refused.name(), "InvalidCiphertextException");
}

#[tokio::test]
async fn plaintext_and_ciphertext_have_the_limits_of_aws() {
    let bed = symmetric_bed();
    let none = EncryptionContext::empty();
    for length in [0, MAX_SMALL_PLAINTEXT + 1] {
        let refused = bed.encrypt(1, &vec![0; length], &none).await.unwrap_err();
        assert_eq!(refused.name(), "ValidationException");
    }
    for length in [0, MAX_CIPHERTEXT + 1] {
        let refused = bed.decrypt(&vec![1; length], &none).await.unwrap_err();
        assert_eq!(refused.name(), "ValidationException");
    }
    assert!(bed.lines().is_empty(), "no key was named yet");
}
