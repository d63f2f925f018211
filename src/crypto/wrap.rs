//! What a key's material encrypts directly: the data keys of messages, and small plaintexts.
//!
//! ```text
//! version 1 (01) | algorithm 1 (01) | key id 16 | material id 16 | salt 32 | commitment 32 | ct | tag 16
//! ```
//!
//! Encrypted as `committed` describes, under the material, with info `keystead/v1/kms/` algorithm, key id,
//! material id. The AAD also holds the canonical encryption context.

use super::{
    bytes::Reader,
    committed,
    context::EncryptionContext,
    error::{OpenError, ParseError, RandomError, SealError},
    ids::{KeyId, MaterialId},
    kdf,
    material::{MaterialLookup, WrappingKey},
    random::Random,
    secret::SecretBytes,
};

/// Most bytes that [`encrypt`] takes; AWS KMS has the same limit.
pub const MAX_SMALL_PLAINTEXT: usize = 4096;

const VERSION: u8 = 1;
/// AES-256-GCM, HKDF-SHA-512, 32-byte salt and commitment.
const ALGORITHM: u8 = 1;
const PREFIX_LENGTH: usize = 2 + 16 + 16;

/// Bytes beyond the plaintext.
pub(super) const OVERHEAD: usize = PREFIX_LENGTH + committed::OVERHEAD;

/// What a small ciphertext or a wrapped key says about itself. Nothing of it is authenticated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CiphertextInfo {
    /// The key that made it.
    pub key: KeyId,
    /// The generation that made it.
    pub material: MaterialId,
    /// Bytes of plaintext in it.
    pub plaintext_length: usize,
}

/// Encrypts up to [`MAX_SMALL_PLAINTEXT`] bytes directly under a key.
pub fn encrypt(
    plaintext: &[u8],
    context: &EncryptionContext,
    key: &WrappingKey<'_>,
    random: &mut dyn Random,
) -> Result<Vec<u8>, SealError> {
    let (length, limit) = (plaintext.len(), MAX_SMALL_PLAINTEXT);
    if length > limit {
        return Err(SealError::TooLong { length, limit });
    }
    wrap(plaintext, &context.to_bytes(), key, random).map_err(SealError::Random)
}

/// Decrypts what [`encrypt`] made with the same context.
pub fn decrypt(
    ciphertext: &[u8],
    context: &EncryptionContext,
    keys: &dyn MaterialLookup,
) -> Result<SecretBytes, OpenError> {
    let info = peek_ciphertext(ciphertext).map_err(OpenError::Malformed)?;
    let CiphertextInfo { key, material, .. } = info;
    let found = keys
        .find(key, material)
        .ok_or(OpenError::MaterialMissing { key, material })?;
    unwrap(ciphertext, &context.to_bytes(), &found)
}

/// Reads which key made a small ciphertext, without decrypting it.
pub fn peek_ciphertext(ciphertext: &[u8]) -> Result<CiphertextInfo, ParseError> {
    let mut reader = Reader::new(ciphertext);
    let version = reader.u8()?;
    if version != VERSION {
        return Err(ParseError::Version(version));
    }
    let algorithm = reader.u8()?;
    if algorithm != ALGORITHM {
        return Err(ParseError::Algorithm(algorithm.into()));
    }
    let key = KeyId::from_bytes(*reader.array()?);
    let material = MaterialId::from_bytes(*reader.array()?);
    let plaintext_length = committed::plaintext_length(ciphertext, PREFIX_LENGTH)?;
    if plaintext_length > MAX_SMALL_PLAINTEXT {
        return Err(ParseError::TrailingBytes);
    }
    Ok(CiphertextInfo {
        key,
        material,
        plaintext_length,
    })
}

/// Encrypts under `key`, bound to a canonical context.
pub(super) fn wrap(
    plaintext: &[u8],
    context: &[u8],
    key: &WrappingKey<'_>,
    random: &mut dyn Random,
) -> Result<Vec<u8>, RandomError> {
    let names = [
        key.arn.key.as_bytes().as_slice(),
        key.material_id.as_bytes(),
    ];
    let prefix = [&[VERSION, ALGORITHM], names[0], names[1]].concat();
    committed::seal(
        key.material.expose(),
        &info(&names),
        &prefix,
        context,
        plaintext,
        random,
    )
}

/// Decrypts what [`wrap`] made. The caller has parsed the blob and looked `key` up by what it names.
pub(super) fn unwrap(
    blob: &[u8],
    context: &[u8],
    key: &WrappingKey<'_>,
) -> Result<SecretBytes, OpenError> {
    let names = [
        key.arn.key.as_bytes().as_slice(),
        key.material_id.as_bytes(),
    ];
    committed::open(
        key.material.expose(),
        &info(&names),
        PREFIX_LENGTH,
        context,
        blob,
    )
    .map_err(OpenError::Decrypt)
}

fn info<'a>(names: &[&'a [u8]; 2]) -> [&'a [u8]; 4] {
    [kdf::MATERIAL_WRAPS, &[ALGORITHM], names[0], names[1]]
}
