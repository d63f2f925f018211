//! Imported material: what a `ManagedKey` asks for, what its status offers, and what the truth keeps of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::key_material::MaterialGeneration;
use super::schema::OBJECT_NAME;

/// Material to import (AWS KMS: `ImportKeyMaterial`).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KeyImport {
    /// The Secret of this namespace that holds the material. Its author must be allowed to `get` it.
    pub secret_ref: ImportSecretRef,

    /// How the material is wrapped in it. `RsaesOaepSha256` takes up to 446 bytes, so no RSA key pair.
    pub wrapping_algorithm: ImportWrappingAlgorithm,

    /// When the imported material expires: from then on every use is refused until it is imported again. Never, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<Time>,
}

/// The Secret that holds wrapped material: entry `encryptedKeyMaterial`, the wrapped bytes, and entry `importToken`, the
/// text of `status.import.importToken`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ImportSecretRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
}

/// How material is wrapped, in the words of AWS KMS `WrappingAlgorithm`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum ImportWrappingAlgorithm {
    /// The material, encrypted with the wrapping public key (`RSAES_OAEP_SHA_256`).
    RsaesOaepSha256,
    /// An AES-256 key, encrypted so, and the material, wrapped with it (`RSA_AES_KEY_WRAP_SHA_256`).
    RsaAesKeyWrapSha256,
}

impl ImportWrappingAlgorithm {
    /// All of them.
    pub const ALL: &[Self] = &[Self::RsaesOaepSha256, Self::RsaAesKeyWrapSha256];

    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RsaesOaepSha256 => "RsaesOaepSha256",
            Self::RsaAesKeyWrapSha256 => "RsaAesKeyWrapSha256",
        }
    }
}

/// What material to import is wrapped with (AWS KMS: `GetParametersForImport`).
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KeyImportStatus {
    /// The wrapping public key: RSA with 4,096 bits, a `SubjectPublicKeyInfo` in DER, base64.
    pub wrapping_public_key: String,
    /// The values that `spec.import.wrappingAlgorithm` may have.
    pub wrapping_algorithms: Vec<String>,
    /// Names the wrapping key; goes into the Secret beside the material.
    pub import_token: String,
    /// Until when material that is wrapped so is taken: 24 hours from when it was offered.
    pub valid_until: Time,
}

/// What the truth keeps of imported material.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ImportRecord {
    /// The key pair that material can be wrapped for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<ImportOffer>,
    /// Which material is this key's: no other is ever taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<ImportIdentity>,
    /// When the material that is there expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<Time>,
    /// Material that expired or was deleted, and waits to be destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parked: Option<ParkedMaterial>,
    /// The token of the last offer that was asked for. It asks once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub offer_token: Option<String>,
    /// The token that last deleted the material. It deletes once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub delete_token: Option<String>,
}

/// A key pair that material can be wrapped for.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ImportOffer {
    /// Its id, 32 hexadecimal digits: what the import token names.
    #[schemars(length(min = 32, max = 32))]
    pub id: String,
    /// The public key, base64 of the DER.
    #[schemars(length(min = 1, max = 1024))]
    pub public_key: String,
    /// The key pair, wrapped under the root key like material, base64.
    #[schemars(length(min = 1, max = 4096))]
    pub wrapped: String,
    /// Until when it is kept.
    pub valid_until: Time,
}

/// Which material is a key's.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ImportIdentity {
    /// The id that ciphertext names the material by. It gets the same when it is imported again.
    #[schemars(length(min = 32, max = 32))]
    pub material_id: String,
    /// A digest of the material, wrapped under the root key like material, base64: it tells nobody else anything.
    #[schemars(length(min = 1, max = 4096))]
    pub wrapped_digest: String,
}

/// Material that waits to be destroyed. Importing the same again brings it back.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ParkedMaterial {
    /// The material.
    pub generation: MaterialGeneration,
    /// Since when it waits.
    pub since: Time,
    /// When it is destroyed.
    pub date: Time,
}
