//! The calls of AWS KMS that use keys.

mod describe;
mod name;
mod wire;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub(super) use name::Names;

use self::wire::{Blob, Encoded, Pairs, algorithm, context};
use super::Caller;
use super::calls::KeyCall;
use super::error::ApiError;
use super::wire::{Answer, answer, parameters};
use crate::crypto::KeyId;
use crate::keys::operations::{
    DataKeyLength, DataKeyRequest, DecryptRequest, EncryptRequest, Operations, ReEncryptRequest,
};
use crate::server::gate::PolicyGate;

/// The calls about keys.
pub(super) struct Keys {
    pub(super) names: Names,
    pub(super) operations: Operations<Arc<PolicyGate>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Encrypt {
    key_id: String,
    plaintext: Blob,
    #[serde(default)]
    encryption_context: Pairs,
    encryption_algorithm: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Decrypt {
    key_id: Option<String>,
    ciphertext_blob: Blob,
    #[serde(default)]
    encryption_context: Pairs,
    encryption_algorithm: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GenerateDataKey {
    key_id: String,
    key_spec: Option<String>,
    number_of_bytes: Option<usize>,
    #[serde(default)]
    encryption_context: Pairs,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReEncrypt {
    ciphertext_blob: Blob,
    source_key_id: Option<String>,
    #[serde(default)]
    source_encryption_context: Pairs,
    source_encryption_algorithm: Option<String>,
    destination_key_id: String,
    #[serde(default)]
    destination_encryption_context: Pairs,
    destination_encryption_algorithm: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GenerateRandom {
    number_of_bytes: usize,
}

/// Every answer that has a ciphertext, a plaintext or both.
#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Crypted<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphertext_blob: Option<Encoded<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext: Option<Encoded<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_algorithm: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_encryption_algorithm: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination_encryption_algorithm: Option<&'static str>,
}

impl Keys {
    /// Answers a call.
    pub(super) async fn call(
        &self,
        call: KeyCall,
        caller: Caller<'_>,
        body: &[u8],
    ) -> Result<Answer, ApiError> {
        match call {
            KeyCall::Encrypt => self.encrypt(caller, body).await,
            KeyCall::Decrypt => self.decrypt(caller, body).await,
            KeyCall::GenerateDataKey => self.generate_data_key(caller, body, true).await,
            KeyCall::GenerateDataKeyWithoutPlaintext => {
                self.generate_data_key(caller, body, false).await
            }
            KeyCall::ReEncrypt => self.re_encrypt(caller, body).await,
            KeyCall::GenerateRandom => self.generate_random(caller, body).await,
            KeyCall::DescribeKey => self.describe_key(caller, body).await,
        }
    }

    async fn encrypt(&self, caller: Caller<'_>, body: &[u8]) -> Result<Answer, ApiError> {
        let asked: Encrypt = parameters(body)?;
        let algorithm = algorithm(asked.encryption_algorithm.as_deref())?;
        let request = EncryptRequest {
            key: self.names.key(&asked.key_id, caller.who).await?,
            plaintext: asked.plaintext.bytes(),
            context: &context(asked.encryption_context)?,
            algorithm,
        };
        let made = self.operations.encrypt(caller.call(asked.dry_run), request);
        let made = made.await?;
        answer(&Crypted {
            key_id: Some(made.key.to_string()),
            ciphertext_blob: Some(Encoded(&made.ciphertext)),
            encryption_algorithm: Some(algorithm.name()),
            ..Crypted::default()
        })
    }

    async fn decrypt(&self, caller: Caller<'_>, body: &[u8]) -> Result<Answer, ApiError> {
        let asked: Decrypt = parameters(body)?;
        let algorithm = algorithm(asked.encryption_algorithm.as_deref())?;
        let request = DecryptRequest {
            key: self.optional(asked.key_id.as_deref(), caller).await?,
            ciphertext: asked.ciphertext_blob.bytes(),
            context: &context(asked.encryption_context)?,
            algorithm,
        };
        let opened = self.operations.decrypt(caller.call(asked.dry_run), request);
        let opened = opened.await?;
        answer(&Crypted {
            key_id: Some(opened.key.to_string()),
            plaintext: Some(Encoded(opened.plaintext.expose())),
            encryption_algorithm: Some(algorithm.name()),
            ..Crypted::default()
        })
    }

    async fn generate_data_key(
        &self,
        caller: Caller<'_>,
        body: &[u8],
        in_the_clear: bool,
    ) -> Result<Answer, ApiError> {
        let asked: GenerateDataKey = parameters(body)?;
        let length = length(&asked)?;
        let context = context(asked.encryption_context)?;
        let request = DataKeyRequest {
            key: self.names.key(&asked.key_id, caller.who).await?,
            context: &context,
            length,
        };
        let (operations, call) = (&self.operations, caller.call(asked.dry_run));
        let (plaintext, wrapped) = if in_the_clear {
            let made = operations.generate_data_key(call, request).await?;
            (Some(made.plaintext), made.wrapped)
        } else {
            let made = operations.generate_data_key_without_plaintext(call, request);
            (None, made.await?)
        };
        answer(&Crypted {
            key_id: Some(wrapped.key.to_string()),
            ciphertext_blob: Some(Encoded(&wrapped.ciphertext)),
            plaintext: plaintext.as_ref().map(|bytes| Encoded(bytes.expose())),
            ..Crypted::default()
        })
    }

    async fn re_encrypt(&self, caller: Caller<'_>, body: &[u8]) -> Result<Answer, ApiError> {
        let asked: ReEncrypt = parameters(body)?;
        let from = algorithm(asked.source_encryption_algorithm.as_deref())?;
        let to = algorithm(asked.destination_encryption_algorithm.as_deref())?;
        let request = ReEncryptRequest {
            source: DecryptRequest {
                key: self
                    .optional(asked.source_key_id.as_deref(), caller)
                    .await?,
                ciphertext: asked.ciphertext_blob.bytes(),
                context: &context(asked.source_encryption_context)?,
                algorithm: from,
            },
            key: self
                .names
                .key(&asked.destination_key_id, caller.who)
                .await?,
            context: &context(asked.destination_encryption_context)?,
            algorithm: to,
        };
        let made = self
            .operations
            .re_encrypt(caller.call(asked.dry_run), request);
        let made = made.await?;
        answer(&Crypted {
            key_id: Some(made.key.to_string()),
            source_key_id: Some(made.source.to_string()),
            ciphertext_blob: Some(Encoded(&made.ciphertext)),
            source_encryption_algorithm: Some(from.name()),
            destination_encryption_algorithm: Some(to.name()),
            ..Crypted::default()
        })
    }

    async fn generate_random(&self, caller: Caller<'_>, body: &[u8]) -> Result<Answer, ApiError> {
        let asked: GenerateRandom = parameters(body)?;
        let made = self
            .operations
            .generate_random(caller.call(false), asked.number_of_bytes);
        let made = made.await?;
        answer(&Crypted {
            plaintext: Some(Encoded(made.expose())),
            ..Crypted::default()
        })
    }

    async fn optional(
        &self,
        id: Option<&str>,
        caller: Caller<'_>,
    ) -> Result<Option<KeyId>, ApiError> {
        match id {
            Some(id) => self.names.key(id, caller.who).await.map(Some),
            None => Ok(None),
        }
    }
}

/// How long a data key is to be: `KeySpec` or `NumberOfBytes`, one of the two.
fn length(asked: &GenerateDataKey) -> Result<DataKeyLength, ApiError> {
    match (asked.key_spec.as_deref(), asked.number_of_bytes) {
        (Some("AES_256"), None) => Ok(DataKeyLength::Aes256),
        (Some("AES_128"), None) => Ok(DataKeyLength::Aes128),
        (None, Some(bytes)) => Ok(DataKeyLength::Bytes(bytes)),
        _ => Err(ApiError::validation(
            "give either KeySpec, AES_256 or AES_128, or NumberOfBytes, 1 to 1024",
        )),
    }
}
