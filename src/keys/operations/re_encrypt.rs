//! `ReEncrypt`: from one key or context to another, without the plaintext leaving.

use std::sync::Arc;

use super::encryption::{DecryptRequest, EncryptionAlgorithm, encrypt_with, without_context};
use super::needs::Needs;
use super::{Asked, Call, Gate, OperationError, Operations, Refused, TurnedAway, dry_run};
use crate::crypto::{Arn, EncryptionContext, KeyId};
use crate::keys::Key;
use crate::policy::Action;

/// `ReEncrypt`.
#[derive(Clone, Copy)]
pub struct ReEncryptRequest<'a> {
    /// What is decrypted, and how.
    pub source: DecryptRequest<'a>,
    /// The key that encrypts anew.
    pub key: KeyId,
    /// What the new ciphertext is bound to. Nothing is taken over from the source: who wants its context states it.
    pub context: &'a EncryptionContext,
    /// The algorithm of the new ciphertext.
    pub algorithm: EncryptionAlgorithm,
}

/// The answer to `ReEncrypt`.
#[derive(Debug)]
pub struct ReEncrypted {
    /// The new ciphertext.
    pub ciphertext: Vec<u8>,
    /// The key that decrypted.
    pub source: Arn,
    /// The key that encrypted.
    pub key: Arn,
}

impl<G: Gate> Operations<G> {
    /// Decrypts and encrypts anew. Both uses are decided before anything is decrypted, and each is written down.
    pub async fn re_encrypt(
        &self,
        call: Call<'_>,
        request: ReEncryptRequest<'_>,
    ) -> Result<ReEncrypted, OperationError> {
        let from = request.source.asked(call, Action::ReEncryptFrom)?;
        let to = request.asked(call)?;
        let source = match self.admit(&from).await {
            Ok(source) => source,
            // Whether the second key may be used is nothing to ask then; the refusal is written down for both uses.
            Err(TurnedAway { key, error }) => {
                let told = self.refuse(&from, key.as_deref(), error).await;
                let told = self.refuse(&to, self.find(to.key).as_deref(), told).await;
                return Err(from.answered(told));
            }
        };
        let target = match self.admit(&to).await {
            Ok(target) => target,
            Err(TurnedAway { key, error }) => {
                let told = self.refuse(&from, Some(&source.key), error).await;
                return Err(self.refuse(&to, key.as_deref(), told).await);
            }
        };
        let result = self.carried_over(call, &request, &source.key, &target.key);
        let from = from.of(Some(&source.key));
        let told = self.told(&from, source.basis, result).await;
        // Also if the first line could not be written: each use is one.
        let to = to.of(Some(&target.key));
        self.told(&to, target.basis, told).await
    }

    /// Writes a refusal down; what the caller is told then.
    async fn refuse(
        &self,
        asked: &Asked<'_>,
        key: Option<&Key>,
        error: OperationError,
    ) -> OperationError {
        let told: Result<(), _> = self
            .told(&asked.of(key), String::new(), Err(error.clone()))
            .await;
        told.err().unwrap_or(error)
    }

    fn carried_over(
        &self,
        call: Call<'_>,
        request: &ReEncryptRequest<'_>,
        source: &Arc<Key>,
        key: &Key,
    ) -> Result<ReEncrypted, OperationError> {
        // While RBAC was asked about the second key, the first may have changed.
        if !self.is_current(source) {
            return Err(Refused::Undecided.into());
        }
        dry_run(call)?;
        let made = request.carry_over(source, key)?;
        self.fresh()?;
        Ok(made)
    }
}

impl<'a> ReEncryptRequest<'a> {
    fn asked(&self, call: Call<'a>) -> Result<Asked<'a>, OperationError> {
        without_context(self.algorithm, self.context)?;
        Ok(Asked {
            call,
            action: Action::ReEncryptTo,
            key: self.key,
            context: self.context,
            named: true,
            needs: Needs::Encryption(self.algorithm),
        })
    }

    fn carry_over(&self, source: &Key, key: &Key) -> Result<ReEncrypted, OperationError> {
        let opened = self.source.decrypt_with(source)?;
        let plaintext = opened.plaintext.expose();
        let made = encrypt_with(key, self.algorithm, self.context, plaintext)?;
        Ok(ReEncrypted {
            ciphertext: made.ciphertext,
            source: opened.key,
            key: made.key,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bed, context, id};
    use super::*;
    use crate::crypto::OaepAlgorithm;

    /// From whatever key made the ciphertext to key 2.
    fn to_second<'a>(
        ciphertext: &'a [u8],
        from: &'a EncryptionContext,
        to: &'a EncryptionContext,
    ) -> ReEncryptRequest<'a> {
        ReEncryptRequest {
            source: DecryptRequest {
                key: None,
                ciphertext,
                context: from,
                algorithm: EncryptionAlgorithm::Symmetric,
            },
            key: id(2),
            context: to,
            algorithm: EncryptionAlgorithm::Symmetric,
        }
    }

    fn two_keys() -> Bed {
        let bed = Bed::new();
        bed.key(1, "SymmetricDefault", "EncryptDecrypt");
        bed.key(2, "SymmetricDefault", "EncryptDecrypt");
        bed
    }

    #[tokio::test]
    async fn a_ciphertext_is_carried_over_to_another_key_and_context() {
        let bed = two_keys();
        let (old, new) = (context("old"), context("new"));
        let ciphertext = bed.encrypt(1, b"hello", &old).await.unwrap().ciphertext;
        let request = to_second(&ciphertext, &old, &new);
        let moved = bed.operations().re_encrypt(bed.call(), request).await;
        let moved = moved.unwrap();
        assert_eq!((moved.source.key, moved.key.key), (id(1), id(2)));
        let opened = bed.decrypt(&moved.ciphertext, &new).await.unwrap();
        assert_eq!(opened.plaintext.expose(), b"hello");
        assert!(bed.decrypt(&moved.ciphertext, &old).await.is_err());
        let lines = bed.lines();
        assert_eq!(lines[1..3], ["ReEncryptFrom done", "ReEncryptTo done"]);
    }

    #[tokio::test]
    async fn both_rights_are_needed_and_both_refusals_are_written_down() {
        for denied in [Action::ReEncryptFrom, Action::ReEncryptTo] {
            let bed = two_keys();
            let none = EncryptionContext::empty();
            let ciphertext = bed.encrypt(1, b"x", &none).await.unwrap().ciphertext;
            bed.deny(denied);
            let request = to_second(&ciphertext, &none, &none);
            let refused = bed.operations().re_encrypt(bed.call(), request).await;
            assert_eq!(refused.unwrap_err().name(), "AccessDeniedException");
            assert_eq!(
                bed.lines()[1..],
                [
                    "ReEncryptFrom AccessDeniedException",
                    "ReEncryptTo AccessDeniedException"
                ]
            );
        }
    }

    #[tokio::test]
    async fn symmetric_ciphertext_is_carried_over_to_rsa_if_it_is_short_enough() {
        let bed = two_keys();
        bed.key(3, "Rsa2048", "EncryptDecrypt");
        let none = EncryptionContext::empty();
        for (length, fits) in [(190, true), (191, false)] {
            let plaintext = vec![7; length];
            let made = bed.encrypt(1, &plaintext, &none).await.unwrap();
            let algorithm = EncryptionAlgorithm::Oaep(OaepAlgorithm::RsaesOaepSha256);
            let request = ReEncryptRequest {
                key: id(3),
                algorithm,
                ..to_second(&made.ciphertext, &none, &none)
            };
            let moved = bed.operations().re_encrypt(bed.call(), request).await;
            assert_eq!(moved.is_ok(), fits, "{length}");
        }
    }
}
