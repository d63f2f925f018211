//! `ManagedKey` and `KeyMaterial`.

use serde_json::{Value, json};

use super::{Refused, long};

/// `ManagedKey`.
pub(in crate::validation) fn refused_keys() -> Vec<Refused> {
    vec![
        (
            json!({"keySpec": "RSA_2048"}),
            &["spec.keySpec", "supported values", "SymmetricDefault"],
        ),
        (
            json!({"keyUsage": "KeyAgreement"}),
            &["spec.keyUsage", "supported values", "EncryptDecrypt"],
        ),
        (
            json!({"keyUsage": "SignVerify"}),
            &[
                "spec.keyUsage",
                "keySpec SymmetricDefault has keyUsage EncryptDecrypt",
            ],
        ),
        (
            json!({"keySpec": "SymmetricDefault", "keyUsage": "GenerateVerifyMac"}),
            &[
                "spec.keyUsage",
                "keySpec SymmetricDefault has keyUsage EncryptDecrypt",
            ],
        ),
        (
            json!({"keySpec": "Hmac256"}),
            &[
                "spec.keyUsage",
                "Hmac... has keyUsage GenerateVerifyMac: set that",
            ],
        ),
        (
            json!({"keySpec": "Hmac512", "keyUsage": "SignVerify"}),
            &[
                "spec.keyUsage",
                "Hmac... has keyUsage GenerateVerifyMac: set that",
            ],
        ),
        (
            json!({"keySpec": "EccNistP256", "keyUsage": "EncryptDecrypt"}),
            &["spec.keyUsage", "Ecc... has keyUsage SignVerify: set that"],
        ),
        (
            json!({"keySpec": "EccNistEdwards25519"}),
            &["spec.keyUsage", "Ecc... has keyUsage SignVerify: set that"],
        ),
        (
            json!({"keySpec": "Rsa2048"}),
            &[
                "spec.keyUsage",
                "EncryptDecrypt or SignVerify: set one of them",
            ],
        ),
        (
            json!({"keySpec": "Rsa4096", "keyUsage": "GenerateVerifyMac"}),
            &[
                "spec.keyUsage",
                "EncryptDecrypt or SignVerify: set one of them",
            ],
        ),
        (
            json!({"keySpec": "EccNistP384", "keyUsage": "SignVerify", "rotation": {"periodDays": 90}}),
            &[
                "spec.rotation",
                "only keys of keySpec SymmetricDefault are rotated",
            ],
        ),
        (
            json!({"origin": "AWS_KMS"}),
            &["spec.origin", "supported values", "Keystead"],
        ),
        (
            json!({"origin": "External", "rotation": {"periodDays": 90}}),
            &[
                "spec.rotation",
                "only material that Keystead makes is rotated",
            ],
        ),
        (
            json!({"import": {"secretRef": {"name": "a"}, "wrappingAlgorithm": "RsaesOaepSha256"}}),
            &["spec.import", "keys of origin External only"],
        ),
        (
            json!({"origin": "External", "import": {"secretRef": {"name": "a"}, "wrappingAlgorithm": "RsaesOaepSha1"}}),
            &["spec.import.wrappingAlgorithm", "supported values"],
        ),
        (
            json!({"origin": "External", "import": {"secretRef": {"name": long(254)}, "wrappingAlgorithm": "RsaesOaepSha256"}}),
            &["spec.import.secretRef.name", "more than 253"],
        ),
        (json!({"enabled": "yes"}), &["spec.enabled", "boolean"]),
        (
            json!({"description": long(8193)}),
            &["spec.description", "more than 8192"],
        ),
        (json!(null), &["spec"]),
    ]
}

/// `ManagedKey`.
pub(in crate::validation) fn accepted_keys() -> Vec<Value> {
    vec![
        json!({}),
        json!({"description": "ж".repeat(8192), "enabled": false}),
        json!({"keySpec": "SymmetricDefault", "keyUsage": "EncryptDecrypt", "origin": "Keystead"}),
        json!({"keySpec": "Hmac384", "keyUsage": "GenerateVerifyMac"}),
        json!({"keySpec": "Rsa3072", "keyUsage": "EncryptDecrypt"}),
        json!({"keySpec": "Rsa2048", "keyUsage": "SignVerify"}),
        json!({"keySpec": "EccNistP256", "keyUsage": "SignVerify"}),
        json!({"keySpec": "EccNistEdwards25519", "keyUsage": "SignVerify"}),
        json!({"rotation": {"periodDays": 90}}),
        json!({"origin": "External", "keySpec": "Rsa2048", "keyUsage": "SignVerify"}),
        json!({"origin": "External", "import": {"secretRef": {"name": "a"}, "wrappingAlgorithm": "RsaAesKeyWrapSha256",
            "validTo": "2030-01-01T00:00:00Z"}}),
    ]
}

/// The least that a `KeyMaterial` has.
pub(in crate::validation) fn material() -> Value {
    json!({
        "namespace": "shop", "name": "orders", "namespaceUid": "u", "objectUid": "u", "arn": "a",
        "keySpec": "SymmetricDefault", "keyUsage": "EncryptDecrypt", "origin": "Keystead", "enabled": true,
        "generations": [{"version": 1, "materialId": "0".repeat(32), "wrapped": "w", "rootFingerprint": "f",
            "created": "2030-01-01T00:00:00Z"}],
    })
}

/// `KeyMaterial`: every field is needed, and has its bounds.
pub(in crate::validation) fn refused_materials() -> Vec<Refused> {
    let without = |field: &str| {
        let mut spec = material();
        spec.as_object_mut().unwrap().remove(field);
        spec
    };
    let mut cases: Vec<Refused> = [
        "namespace",
        "name",
        "namespaceUid",
        "objectUid",
        "arn",
        "keySpec",
        "generations",
    ]
    .into_iter()
    .map(|field| (without(field), &["Required value"][..]))
    .collect();
    let with = |pointer: &str, value: Value| {
        let mut spec = material();
        *spec.pointer_mut(pointer).unwrap() = value;
        spec
    };
    let mut destroyed = material();
    destroyed["destroyed"] = json!("2030-01-01T00:00:00Z");
    cases.extend([
        (
            with("/generations", json!([])),
            &["spec.generations", "at least 1 item"][..],
        ),
        (
            destroyed,
            &[
                "spec.generations",
                "none of a key whose material was destroyed",
            ],
        ),
        (
            with("/generations/0/version", json!(0)),
            &["spec.generations[0].version", "greater than or equal to 1"],
        ),
        (
            with("/generations/0/materialId", json!("00")),
            &["spec.generations[0].materialId", "at least 32 chars"],
        ),
        (
            with("/generations/0/wrapped", json!(long(4097))),
            &["spec.generations[0].wrapped", "more than 4096"],
        ),
        (
            with("/name", json!(long(254))),
            &["spec.name", "more than 253"],
        ),
    ]);
    cases
}
