//! `GenerateDataKey`, with and without the plaintext.

use super::encryption::{EncryptionAlgorithm, encrypt_with};
use super::error::bounded;
use super::needs::Needs;
use super::random::random_bytes;
use super::{Asked, Call, Gate, OperationError, Operations};
use crate::crypto::{Arn, EncryptionContext, KeyId, SecretBytes};
use crate::keys::Key;
use crate::policy::Action;

/// Longest data key, in bytes; as in AWS KMS.
const MAX_DATA_KEY: usize = 1024;

/// How long a data key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataKeyLength {
    /// `AES_128`: 16 bytes.
    Aes128,
    /// `AES_256`: 32 bytes.
    Aes256,
    /// `NumberOfBytes`, 1 to 1,024.
    Bytes(usize),
}

impl DataKeyLength {
    fn bytes(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes256 => 32,
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// `GenerateDataKey` and `GenerateDataKeyWithoutPlaintext`.
#[derive(Clone, Copy)]
pub struct DataKeyRequest<'a> {
    /// The symmetric key that wraps it.
    pub key: KeyId,
    /// What the wrapped key is bound to.
    pub context: &'a EncryptionContext,
    /// How long it is.
    pub length: DataKeyLength,
}

/// The answer to `GenerateDataKey`.
#[derive(Debug)]
pub struct DataKey {
    /// The data key.
    pub plaintext: SecretBytes,
    /// The same, wrapped.
    pub wrapped: WrappedDataKey,
}

/// The answer to `GenerateDataKeyWithoutPlaintext`.
#[derive(Debug)]
pub struct WrappedDataKey {
    /// The data key, encrypted: for `Decrypt`.
    pub ciphertext: Vec<u8>,
    /// The key that wrapped it.
    pub key: Arn,
}

impl<G: Gate> Operations<G> {
    /// A fresh random key, in the clear and wrapped.
    pub async fn generate_data_key(
        &self,
        call: Call<'_>,
        request: DataKeyRequest<'_>,
    ) -> Result<DataKey, OperationError> {
        let asked = request.asked(call, Action::GenerateDataKey)?;
        self.answer(asked, |key| request.generate_with(key)).await
    }

    /// A fresh random key, wrapped only.
    pub async fn generate_data_key_without_plaintext(
        &self,
        call: Call<'_>,
        request: DataKeyRequest<'_>,
    ) -> Result<WrappedDataKey, OperationError> {
        let asked = request.asked(call, Action::GenerateDataKeyWithoutPlaintext)?;
        let made = self.answer(asked, |key| request.generate_with(key)).await?;
        Ok(made.wrapped)
    }
}

impl<'a> DataKeyRequest<'a> {
    fn asked(&self, call: Call<'a>, action: Action) -> Result<Asked<'a>, OperationError> {
        bounded("the data key", self.length.bytes(), 1, MAX_DATA_KEY)?;
        Ok(Asked {
            call,
            action,
            key: self.key,
            context: self.context,
            named: true,
            needs: Needs::Encryption(EncryptionAlgorithm::Symmetric),
        })
    }

    fn generate_with(&self, key: &Key) -> Result<DataKey, OperationError> {
        let plaintext = random_bytes(self.length.bytes())?;
        let algorithm = EncryptionAlgorithm::Symmetric;
        let made = encrypt_with(key, algorithm, self.context, plaintext.expose())?;
        let wrapped = WrappedDataKey {
            ciphertext: made.ciphertext,
            key: made.key,
        };
        Ok(DataKey { plaintext, wrapped })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bed, context, id};
    use super::*;

    fn request(context: &EncryptionContext, length: DataKeyLength) -> DataKeyRequest<'_> {
        DataKeyRequest {
            key: id(1),
            context,
            length,
        }
    }

    #[tokio::test]
    async fn a_data_key_has_its_length_and_is_what_its_wrapped_form_decrypts_to() {
        let bed = Bed::new();
        bed.key(1, "SymmetricDefault", "EncryptDecrypt");
        let context = context("orders");
        for (length, bytes) in [
            (DataKeyLength::Aes128, 16),
            (DataKeyLength::Aes256, 32),
            (DataKeyLength::Bytes(1), 1),
            (DataKeyLength::Bytes(1024), 1024),
        ] {
            let request = request(&context, length);
            let operations = bed.operations();
            let made = operations.generate_data_key(bed.call(), request).await;
            let made = made.unwrap();
            assert_eq!(made.plaintext.len(), bytes);
            let opened = bed.decrypt(&made.wrapped.ciphertext, &context).await;
            assert_eq!(opened.unwrap().plaintext, made.plaintext);
            let other = operations.generate_data_key_without_plaintext(bed.call(), request);
            let other = other.await.unwrap();
            let opened = bed.decrypt(&other.ciphertext, &context).await.unwrap();
            assert_eq!(opened.plaintext.len(), bytes);
            assert!(bytes == 1 || opened.plaintext != made.plaintext);
        }
        assert_eq!(bed.lines()[0], "GenerateDataKey done");
        assert_eq!(bed.lines()[2], "GenerateDataKeyWithoutPlaintext done");
    }

    #[tokio::test]
    async fn a_data_key_without_or_of_too_many_bytes_is_refused() {
        let bed = Bed::new();
        let context = EncryptionContext::empty();
        for bytes in [0, 1025] {
            let request = request(&context, DataKeyLength::Bytes(bytes));
            let operations = bed.operations();
            let refused = operations.generate_data_key(bed.call(), request).await;
            let message = refused.unwrap_err().to_string();
            assert!(message.contains("1 to 1024"), "{message}");
        }
    }
}
