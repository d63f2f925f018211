//! The published vectors of message format version 2, from the SDKs for C, Java, JavaScript and Python.
//!
//! Their data keys are given, so they test everything but the unwrapping, which is ours alone.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{
    context::{EncryptionContext, PUBLIC_KEY},
    envelope::{Limits, open_with},
    error::{DecryptError, OpenError},
    secret::SecretBytes,
};

const VECTORS: &str = include_str!("../../tests/crypto/vectors/message-format-v2.json");

fn decode(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}

/// The context that the caller of `open` would state.
fn expected_context(value: &Value) -> EncryptionContext {
    let mut context = EncryptionContext::empty();
    for (key, value) in value.as_object().unwrap() {
        if key != PUBLIC_KEY {
            context
                .insert(key.clone(), value.as_str().unwrap().to_owned())
                .unwrap();
        }
    }
    context
}

fn open(test: &Value, message: &[u8]) -> Result<SecretBytes, OpenError> {
    let context = expected_context(&test["context"]);
    open_with(message, &context, Limits::default(), |_, _| {
        Ok(decode(&test["dataKey"]).into())
    })
}

#[test]
fn published_vectors_open_or_fail_as_stated() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let (mut opened, mut refused) = (0, 0);
    for test in vectors["tests"].as_array().unwrap() {
        let result = open(test, &decode(&test["message"]));
        if test["opens"].as_bool().unwrap() {
            let plaintext = result.unwrap_or_else(|error| panic!("{}: {error:?}", test["comment"]));
            assert_eq!(
                plaintext.expose(),
                decode(&test["plaintext"]),
                "{}",
                test["comment"]
            );
            opened += 1;
        } else {
            assert_eq!(
                result,
                Err(OpenError::Decrypt(DecryptError)),
                "{}",
                test["comment"]
            );
            refused += 1;
        }
    }
    assert_eq!((opened, refused), (41, 5));
}

#[test]
fn every_damage_to_a_published_vector_is_noticed() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    // Signed and not, framed and not, from different SDKs.
    for index in [25, 27, 31, 44] {
        let test = &vectors["tests"][index];
        let message = decode(&test["message"]);
        for position in 0..message.len() {
            let mut changed = message.clone();
            changed[position] ^= 1 << (position % 8);
            let wrapped_keys_of_others = open(test, &changed);
            assert!(
                wrapped_keys_of_others.is_err(),
                "{} byte {position}",
                test["comment"]
            );
            assert!(
                open(test, &message[..position]).is_err(),
                "{} cut",
                test["comment"]
            );
        }
        assert!(
            open(test, &[message, vec![0]].concat()).is_err(),
            "{} tail",
            test["comment"]
        );
    }
}
