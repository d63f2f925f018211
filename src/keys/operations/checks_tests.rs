use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::testing::{Bed, context, id};
use super::*;

fn bed() -> Bed {
    let bed = Bed::new();
    bed.key(1, "SymmetricDefault", "EncryptDecrypt");
    bed
}

async fn encrypt(bed: &Bed) -> Result<(), &'static str> {
    let made = bed.encrypt(1, b"x", &EncryptionContext::empty()).await;
    made.map(|_| ()).map_err(|error| error.name())
}

#[tokio::test]
async fn a_key_that_does_not_exist_or_was_destroyed_is_not_found() {
    let bed = Bed::new();
    assert_eq!(encrypt(&bed).await, Err("NotFoundException"));
    bed.key(1, "SymmetricDefault", "EncryptDecrypt");
    bed.change(1, |truth| {
        truth.spec.generations.clear();
        truth.spec.destroyed = Some(Time(Timestamp::UNIX_EPOCH));
    });
    assert_eq!(encrypt(&bed).await, Err("NotFoundException"));
    let line = "Encrypt NotFoundException";
    assert_eq!(bed.lines(), [line, line]);
}

#[tokio::test]
async fn who_may_not_use_a_key_does_not_learn_its_state() {
    let bed = bed();
    bed.change(1, |truth| truth.spec.enabled = false);
    assert_eq!(encrypt(&bed).await, Err("DisabledException"));
    bed.deny(Action::Encrypt);
    assert_eq!(encrypt(&bed).await, Err("AccessDeniedException"));
    bed.key(1, "Hmac256", "GenerateVerifyMac");
    assert_eq!(encrypt(&bed).await, Err("AccessDeniedException"));
}

#[tokio::test]
async fn who_has_only_a_ciphertext_is_told_the_same_of_a_key_that_is_missing_or_denied() {
    let bed = bed();
    let none = EncryptionContext::empty();
    let ciphertext = bed.encrypt(1, b"x", &none).await.unwrap().ciphertext;
    bed.deny(Action::Decrypt);
    let denied = bed.decrypt(&ciphertext, &none).await.unwrap_err();
    let empty = Bed::new();
    let missing = empty.decrypt(&ciphertext, &none).await.unwrap_err();
    assert_eq!(denied, missing);
    // Whoever reads the audit log knows.
    assert_eq!(bed.lines()[1], "Decrypt AccessDeniedException");
    assert_eq!(empty.lines(), ["Decrypt NotFoundException"]);
}

#[tokio::test]
async fn every_state_but_enabled_refuses_use_with_its_error() {
    let bed = bed();
    bed.change(1, |truth| {
        truth.spec.parked_since = Some(Time(Timestamp::UNIX_EPOCH));
    });
    assert_eq!(encrypt(&bed).await, Err("KMSInvalidStateException"));
    bed.change(1, |truth| {
        truth.spec.parked_since = None;
        // Of another root key.
        truth.spec.generations[0].wrapped = "AAAA".to_owned();
    });
    assert_eq!(encrypt(&bed).await, Err("KeyUnavailableException"));
    assert_eq!(
        bed.lines(),
        [
            "Encrypt KMSInvalidStateException",
            "Encrypt KeyUnavailableException"
        ]
    );
}

#[tokio::test]
async fn the_gate_sees_the_context_that_is_stated() {
    let bed = bed();
    bed.encrypt(1, b"x", &context("orders")).await.unwrap();
    assert_eq!(bed.contexts(), [context("orders")]);
}

#[tokio::test]
async fn a_dry_run_does_nothing_and_refuses_what_would_be_refused() {
    let bed = bed();
    let none = EncryptionContext::empty();
    let dry = || async {
        let call = Call {
            dry_run: true,
            ..bed.call()
        };
        let request = EncryptRequest {
            key: id(1),
            plaintext: b"x",
            context: &none,
            algorithm: EncryptionAlgorithm::Symmetric,
        };
        let refused = bed.operations().encrypt(call, request).await;
        refused.unwrap_err().name()
    };
    assert_eq!(dry().await, "DryRunOperationException");
    bed.change(1, |truth| truth.spec.enabled = false);
    assert_eq!(dry().await, "DisabledException");
    bed.deny(Action::Encrypt);
    assert_eq!(dry().await, "AccessDeniedException");
    assert_eq!(bed.lines().len(), 3);
}

#[tokio::test]
async fn nothing_is_answered_that_could_not_be_written_down() {
    let bed = bed();
    let none = EncryptionContext::empty();
    let ciphertext = bed.encrypt(1, b"x", &none).await.unwrap().ciphertext;
    bed.break_log();
    assert_eq!(encrypt(&bed).await, Err("KMSInternalException"));
    let refused = bed.decrypt(&ciphertext, &none).await.unwrap_err();
    assert_eq!(refused, OperationError::Unrecorded(Unrecorded));
}

#[tokio::test]
async fn a_key_of_another_usage_is_refused() {
    let bed = Bed::new();
    for (spec, usage) in [
        ("Hmac256", "GenerateVerifyMac"),
        ("Rsa2048", "EncryptDecrypt"),
        ("EccNistP256", "SignVerify"),
    ] {
        bed.key(1, spec, usage);
        assert_eq!(
            encrypt(&bed).await,
            Err("InvalidKeyUsageException"),
            "{spec}"
        );
    }
}
