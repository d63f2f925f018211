//! `DescribeKey`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Caller, Keys};
use crate::api::{KeyOrigin, KeySpec, KeyState, KeyUsage};
use crate::keys::{Algorithms, Key};
use crate::server::api::error::ApiError;
use crate::server::api::wire::{Answer, answer, parameters, seconds};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeKey {
    key_id: String,
}

impl Keys {
    pub(super) async fn describe_key(
        &self,
        caller: Caller<'_>,
        body: &[u8],
    ) -> Result<Answer, ApiError> {
        let asked: DescribeKey = parameters(body)?;
        let key = self.names.key(&asked.key_id, caller.who).await?;
        let described = self
            .operations
            .describe(caller.call(false), key, metadata)
            .await?;
        answer(&json!({ "KeyMetadata": described }))
    }
}

/// What AWS tells of a key.
fn metadata(key: &Key) -> Value {
    let spec = &key.truth.spec;
    let state = key.state();
    let algorithms = key.kind().map(Algorithms::of).unwrap_or_default();
    let mut told = json!({
        "KeyId": key.id.to_string(),
        "Arn": key.arn.to_string(),
        "AWSAccountId": key.arn.account.to_string(),
        "Enabled": state == KeyState::Enabled,
        "KeyState": state_name(state),
        "KeySpec": spec_name(spec.key_spec),
        "CustomerMasterKeySpec": spec_name(spec.key_spec),
        "KeyUsage": usage_name(spec.key_usage),
        "KeyManager": if spec.name == crate::api::names::DEFAULT_KEY { "AWS" } else { "CUSTOMER" },
        "Origin": match spec.origin {
            KeyOrigin::Keystead => "AWS_KMS",
            KeyOrigin::External => "EXTERNAL",
        },
        "MultiRegion": false,
    });
    let lists = [
        ("EncryptionAlgorithms", algorithms.encryption),
        ("SigningAlgorithms", algorithms.signing),
        ("MacAlgorithms", algorithms.mac),
    ];
    for (name, list) in lists {
        if !list.is_empty() {
            told[name] = json!(list);
        }
    }
    if let Some(first) = spec.generations.first() {
        told["CreationDate"] = json!(seconds(first.created.0));
    }
    if let Some(deletion) = &spec.deletion {
        told["DeletionDate"] = json!(seconds(deletion.date.0));
    }
    told
}

fn state_name(state: KeyState) -> &'static str {
    match state {
        KeyState::Creating => "Creating",
        KeyState::Enabled => "Enabled",
        KeyState::Disabled => "Disabled",
        KeyState::PendingImport => "PendingImport",
        // AWS has no state between the date and the end.
        KeyState::PendingDeletion | KeyState::DestructionDue => "PendingDeletion",
        KeyState::Unavailable => "Unavailable",
    }
}

fn spec_name(spec: KeySpec) -> &'static str {
    match spec {
        KeySpec::SymmetricDefault => "SYMMETRIC_DEFAULT",
        KeySpec::Hmac256 => "HMAC_256",
        KeySpec::Hmac384 => "HMAC_384",
        KeySpec::Hmac512 => "HMAC_512",
        KeySpec::Rsa2048 => "RSA_2048",
        KeySpec::Rsa3072 => "RSA_3072",
        KeySpec::Rsa4096 => "RSA_4096",
        KeySpec::EccNistP256 => "ECC_NIST_P256",
        KeySpec::EccNistP384 => "ECC_NIST_P384",
        KeySpec::EccNistEdwards25519 => "ECC_NIST_EDWARDS25519",
    }
}

fn usage_name(usage: KeyUsage) -> &'static str {
    match usage {
        KeyUsage::EncryptDecrypt => "ENCRYPT_DECRYPT",
        KeyUsage::SignVerify => "SIGN_VERIFY",
        KeyUsage::GenerateVerifyMac => "GENERATE_VERIFY_MAC",
    }
}
