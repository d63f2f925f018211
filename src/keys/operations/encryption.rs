//! `Encrypt` and `Decrypt`.

use super::error::bounded;
use super::needs::Needs;
use super::{Asked, Call, Gate, OperationError, Operations, current};
use crate::crypto::{
    self, Arn, EncryptionContext, KeyId, MAX_SMALL_PLAINTEXT, OaepAlgorithm, OpenError, OsRandom,
    SealError, SecretBytes, SecretKey,
};
use crate::keys::{Key, SYMMETRIC_DEFAULT, StateRefusal};
use crate::policy::Action;

/// Longest ciphertext that is looked at, in bytes; as in AWS KMS.
pub const MAX_CIPHERTEXT: usize = 6144;

/// `EncryptionAlgorithmSpec` of AWS KMS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EncryptionAlgorithm {
    /// `SYMMETRIC_DEFAULT`.
    #[default]
    Symmetric,
    /// `RSAES_OAEP_SHA_1` or `RSAES_OAEP_SHA_256`.
    Oaep(OaepAlgorithm),
}

impl EncryptionAlgorithm {
    /// Its name in AWS KMS.
    pub fn name(self) -> &'static str {
        match self {
            Self::Symmetric => SYMMETRIC_DEFAULT,
            Self::Oaep(algorithm) => algorithm.name(),
        }
    }

    /// The algorithm of that name.
    pub fn named(name: &str) -> Option<Self> {
        if name == SYMMETRIC_DEFAULT {
            return Some(Self::Symmetric);
        }
        OaepAlgorithm::named(name).map(Self::Oaep)
    }
}

/// `Encrypt`.
#[derive(Clone, Copy)]
pub struct EncryptRequest<'a> {
    /// The key.
    pub key: KeyId,
    /// 1 to 4,096 bytes; fewer with RSA.
    pub plaintext: &'a [u8],
    /// What the ciphertext is bound to; symmetric keys only.
    pub context: &'a EncryptionContext,
    /// The algorithm.
    pub algorithm: EncryptionAlgorithm,
}

/// The answer to `Encrypt`.
#[derive(Debug)]
pub struct Encrypted {
    /// The ciphertext.
    pub ciphertext: Vec<u8>,
    /// The key.
    pub key: Arn,
}

/// `Decrypt`.
#[derive(Clone, Copy)]
pub struct DecryptRequest<'a> {
    /// The key; a ciphertext of a symmetric key names its own.
    pub key: Option<KeyId>,
    /// 1 to 6,144 bytes.
    pub ciphertext: &'a [u8],
    /// What the ciphertext is bound to; symmetric keys only.
    pub context: &'a EncryptionContext,
    /// The algorithm.
    pub algorithm: EncryptionAlgorithm,
}

/// The answer to `Decrypt`.
#[derive(Debug)]
pub struct Decrypted {
    /// The plaintext.
    pub plaintext: SecretBytes,
    /// The key.
    pub key: Arn,
}

impl<G: Gate> Operations<G> {
    /// Encrypts up to 4,096 bytes directly under a key.
    pub async fn encrypt(
        &self,
        call: Call<'_>,
        request: EncryptRequest<'_>,
    ) -> Result<Encrypted, OperationError> {
        let asked = request.asked(call, Action::Encrypt)?;
        self.answer(asked, |key| request.encrypt_with(key)).await
    }

    /// Decrypts what `Encrypt`, `GenerateDataKey` or `ReEncrypt` made, or what somebody encrypted with the public key.
    pub async fn decrypt(
        &self,
        call: Call<'_>,
        request: DecryptRequest<'_>,
    ) -> Result<Decrypted, OperationError> {
        let asked = request.asked(call, Action::Decrypt)?;
        self.answer(asked, |key| request.decrypt_with(key)).await
    }
}

impl<'a> EncryptRequest<'a> {
    pub(super) fn asked(
        &self,
        call: Call<'a>,
        action: Action,
    ) -> Result<Asked<'a>, OperationError> {
        bounded(
            "the plaintext",
            self.plaintext.len(),
            1,
            MAX_SMALL_PLAINTEXT,
        )?;
        without_context(self.algorithm, self.context)?;
        Ok(Asked {
            call,
            action,
            key: self.key,
            context: self.context,
            named: true,
            needs: Needs::Encryption(self.algorithm),
        })
    }

    fn encrypt_with(&self, key: &Key) -> Result<Encrypted, OperationError> {
        encrypt_with(key, self.algorithm, self.context, self.plaintext)
    }
}

/// Encrypts with a key that was admitted.
pub(super) fn encrypt_with(
    key: &Key,
    algorithm: EncryptionAlgorithm,
    context: &EncryptionContext,
    plaintext: &[u8],
) -> Result<Encrypted, OperationError> {
    let made = match (algorithm, current(key)?) {
        (EncryptionAlgorithm::Oaep(algorithm), SecretKey::Decryption(secret)) => {
            secret.encrypt(algorithm, plaintext)
        }
        (EncryptionAlgorithm::Symmetric, SecretKey::Symmetric(_)) => {
            let wrapping = key.wrapping_key();
            let wrapping = wrapping.ok_or(OperationError::State(StateRefusal::Unavailable))?;
            crypto::encrypt(plaintext, context, &wrapping, &mut OsRandom)
        }
        _ => return Err(OperationError::InvalidKeyUsage(key.id)),
    };
    let ciphertext = made.map_err(|error| match error {
        SealError::TooLong { length, limit } => OperationError::Validation(format!(
            "the plaintext has {length} bytes; this key and algorithm take at most {limit}: encrypt with a data key"
        )),
        SealError::Random(_)
        | SealError::Key(_)
        | SealError::Recipients(_)
        | SealError::RepeatedRecipient(_) => OperationError::Internal,
    })?;
    let key = key.arn.clone();
    Ok(Encrypted { ciphertext, key })
}

impl<'a> DecryptRequest<'a> {
    pub(super) fn asked(
        &self,
        call: Call<'a>,
        action: Action,
    ) -> Result<Asked<'a>, OperationError> {
        bounded("the ciphertext", self.ciphertext.len(), 1, MAX_CIPHERTEXT)?;
        without_context(self.algorithm, self.context)?;
        let by_ciphertext = || match self.algorithm {
            EncryptionAlgorithm::Symmetric => crypto::peek_ciphertext(self.ciphertext)
                .map(|info| info.key)
                .map_err(|_| OperationError::InvalidCiphertext),
            EncryptionAlgorithm::Oaep(_) => Err(OperationError::Validation(
                "a ciphertext of an RSA key does not name its key: name it".to_owned(),
            )),
        };
        Ok(Asked {
            call,
            action,
            key: self.key.map_or_else(by_ciphertext, Ok)?,
            context: self.context,
            named: self.key.is_some(),
            needs: Needs::Encryption(self.algorithm),
        })
    }

    /// Decrypts with a key that was admitted.
    pub(super) fn decrypt_with(&self, key: &Key) -> Result<Decrypted, OperationError> {
        let plaintext = match (self.algorithm, current(key)?) {
            (EncryptionAlgorithm::Oaep(algorithm), SecretKey::Decryption(secret)) => secret
                .decrypt(algorithm, self.ciphertext)
                .map_err(|_| OperationError::InvalidCiphertext)?,
            (EncryptionAlgorithm::Symmetric, SecretKey::Symmetric(_)) => self.open_with(key)?,
            _ => return Err(OperationError::InvalidKeyUsage(key.id)),
        };
        let key = key.arn.clone();
        Ok(Decrypted { plaintext, key })
    }

    fn open_with(&self, key: &Key) -> Result<SecretBytes, OperationError> {
        let info = crypto::peek_ciphertext(self.ciphertext);
        let info = info.map_err(|_| OperationError::InvalidCiphertext)?;
        if info.key != key.id {
            return Err(OperationError::IncorrectKey);
        }
        crypto::decrypt(self.ciphertext, self.context, key).map_err(|error| match error {
            // A generation that was lost, or does not open, may be restored. One that never was is not told apart.
            OpenError::MaterialMissing { .. } => OperationError::State(StateRefusal::Unavailable),
            _ => OperationError::InvalidCiphertext,
        })
    }
}

/// Only symmetric keys bind a ciphertext to a context: with RSA it would be silently ignored.
pub(super) fn without_context(
    algorithm: EncryptionAlgorithm,
    context: &EncryptionContext,
) -> Result<(), OperationError> {
    if algorithm != EncryptionAlgorithm::Symmetric && context.pairs().next().is_some() {
        let message = format!("{} takes no encryption context", algorithm.name());
        return Err(OperationError::Validation(message));
    }
    Ok(())
}

#[cfg(test)]
#[path = "encryption_tests.rs"]
mod tests;
