//! What can be asked of a key: the operations of AWS KMS, each checked and written down in one place.
//!
//! ```text
//! limits ─▶ key found ─▶ Gate::admit (policy) ─▶ spec, usage ─▶ state ─▶ dry run ─▶ the operation ─▶ Gate::record ─▶ answer
//!    │          └──────────────────┴──── refused ────┴────────────┴─────────┴──────────────┴─────────────▲
//!    └─ refused: no key was named yet, nothing is written down
//! ```
//!
//! A caller that may not use a key does not learn its kind and state, and of a key that only a ciphertext names not even
//! whether it exists. Who the caller is, and which key an ARN or an alias stands for,
//! was found out before. The operations themselves are short: a signature of RSA with 4,096 bits, the slowest, takes
//! milliseconds.

mod data_key;
mod describe;
mod encryption;
mod error;
mod gate;
mod mac;
mod needs;
mod random;
mod re_encrypt;
mod signature;
#[cfg(test)]
mod testing;

use std::sync::Arc;

pub use data_key::{DataKey, DataKeyLength, DataKeyRequest, WrappedDataKey};
pub use encryption::{
    DecryptRequest, Decrypted, EncryptRequest, Encrypted, EncryptionAlgorithm, MAX_CIPHERTEXT,
};
pub use error::OperationError;
pub use gate::{Call, Caller, Gate, Outcome, Refused, Unrecorded, Use};
pub use mac::{MacAnswer, MacRequest};
pub use random::MAX_RANDOM;
pub use re_encrypt::{ReEncryptRequest, ReEncrypted};
pub use signature::{PublicKeyAnswer, SignRequest, Signed, VerifyRequest};

use self::needs::Needs;
use super::{Key, Keyring, permitted};
use crate::crypto::{EncryptionContext, KeyId, SecretKey};
use crate::keys::StateRefusal;
use crate::policy::Action;

/// Longest message that is signed or authenticated, in bytes; as in AWS KMS.
pub const MAX_MESSAGE: usize = 4096;
/// Longest signature or code that is looked at, in bytes; as in AWS KMS.
pub const MAX_SIGNATURE: usize = 6144;

/// How often a use is decided on, if the key changes meanwhile.
const TRIES: usize = 3;

/// The operations on the keys of a keyring.
pub struct Operations<G> {
    keyring: Arc<Keyring>,
    gate: G,
}

/// One use of a key, before the key is found.
#[derive(Clone, Copy)]
struct Asked<'a> {
    call: Call<'a>,
    action: Action,
    key: KeyId,
    context: &'a EncryptionContext,
    /// Whether the key's existence is the caller's to know: not if only a ciphertext names it.
    named: bool,
    needs: Needs,
}

/// A key, and what allows its use.
struct Admitted {
    key: Arc<Key>,
    basis: String,
}

/// A use that is not let through.
struct TurnedAway {
    /// The key, if it was found.
    key: Option<Arc<Key>>,
    error: OperationError,
}

impl<'a> Asked<'a> {
    fn of(self, key: Option<&'a Key>) -> Use<'a> {
        Use {
            call: self.call,
            action: Some(self.action),
            key_id: Some(self.key),
            key,
            context: self.context,
        }
    }

    /// What the caller is told of a refusal. A key that only a ciphertext names is neither said to be missing nor to be denied:
    /// whoever may not use it cannot know. (So AWS KMS.)
    fn answered(&self, refusal: OperationError) -> OperationError {
        match refusal {
            OperationError::NotFound(_) | OperationError::AccessDenied(_) if !self.named => {
                let message =
                    "the ciphertext refers to a key that does not exist, or that you may not use";
                OperationError::AccessDenied(message.to_owned())
            }
            refusal => refusal,
        }
    }
}

impl<G: Gate> Operations<G> {
    /// The operations on those keys, with that gate before them.
    pub fn new(keyring: Arc<Keyring>, gate: G) -> Self {
        Self { keyring, gate }
    }

    /// Does `work` with the key if it may be done, and writes down what came of it.
    async fn answer<T>(
        &self,
        asked: Asked<'_>,
        work: impl FnOnce(&Key) -> Result<T, OperationError>,
    ) -> Result<T, OperationError> {
        match self.admit(&asked).await {
            Ok(Admitted { key, basis }) => {
                let result = dry_run(asked.call).and_then(|()| {
                    let done = work(&key)?;
                    self.fresh()?;
                    Ok(done)
                });
                self.told(&asked.of(Some(&key)), basis, result).await
            }
            Err(TurnedAway { key, error }) => {
                let refused = asked.of(key.as_deref());
                let told = self.told(&refused, String::new(), Err(error)).await;
                told.map_err(|error| asked.answered(error))
            }
        }
    }

    /// Finds the key and everything that must be so before it is used. While somebody was asked, the key may have changed: then
    /// once more, with the new state of it.
    async fn admit(&self, asked: &Asked<'_>) -> Result<Admitted, TurnedAway> {
        let nobody = |error| TurnedAway { key: None, error };
        for _ in 0..TRIES {
            self.fresh().map_err(nobody)?;
            let missing = || nobody(OperationError::NotFound(asked.key));
            let key = self.find(asked.key).ok_or_else(missing)?;
            match self.admitted(asked, &asked.of(Some(&key)), &key).await {
                Ok(basis) if self.is_current(&key) => return Ok(Admitted { key, basis }),
                Ok(_) => {}
                Err(error) => {
                    return Err(TurnedAway {
                        key: Some(key),
                        error,
                    });
                }
            }
        }
        Err(nobody(Refused::Undecided.into()))
    }

    /// Whether that is the newest that this replica knows of the key.
    fn is_current(&self, key: &Arc<Key>) -> bool {
        self.find(key.id).is_some_and(|now| Arc::ptr_eq(&now, key))
    }

    /// Refuses while what this replica knows may be too old.
    fn fresh(&self) -> Result<(), OperationError> {
        self.keyring
            .check_freshness()
            .map_err(OperationError::Stale)
    }

    /// The key, unless it was destroyed.
    fn find(&self, id: KeyId) -> Option<Arc<Key>> {
        let key = self.keyring.get(id)?;
        key.truth.spec.destroyed.is_none().then_some(key)
    }

    /// Everything that must be so before a key is used.
    async fn admitted(
        &self,
        asked: &Asked<'_>,
        asked_of: &Use<'_>,
        key: &Key,
    ) -> Result<String, OperationError> {
        let basis = self.gate.admit(asked_of).await?;
        if !key.kind().is_some_and(|kind| asked.needs.met_by(kind)) {
            return Err(match asked.needs {
                Needs::PublicKey => OperationError::Unsupported(key.id),
                Needs::Encryption(_) | Needs::Mac(_) | Needs::Signing(_) | Needs::Nothing => {
                    OperationError::InvalidKeyUsage(key.id)
                }
            });
        }
        permitted(key.state(), asked.action).map_err(OperationError::State)?;
        Ok(basis)
    }

    /// Writes down what came of a use; without that there is no answer.
    async fn told<T>(
        &self,
        asked: &Use<'_>,
        basis: String,
        result: Result<T, OperationError>,
    ) -> Result<T, OperationError> {
        let outcome = result.as_ref().map(|_| basis.as_str());
        let recorded = self.gate.record(asked, outcome).await;
        recorded.map_err(OperationError::Unrecorded)?;
        result
    }
}

fn dry_run(call: Call<'_>) -> Result<(), OperationError> {
    if call.dry_run {
        return Err(OperationError::DryRun);
    }
    Ok(())
}

/// The material that a key uses now.
fn current(key: &Key) -> Result<&SecretKey, OperationError> {
    let generation = key.current();
    generation
        .and_then(|generation| generation.material.as_ref().ok())
        .ok_or(OperationError::State(StateRefusal::Unavailable))
}

#[cfg(test)]
#[path = "checks_tests.rs"]
mod tests;
