//! What can be asked of a key: the operations of AWS KMS, each checked and written down in one place.
//!
//! ```text
//! limits ─▶ key found ─▶ spec, usage ─▶ Gate::admit (policy) ─▶ state ─▶ dry run ─▶ the operation ─▶ Gate::record ─▶ answer
//!    │          └──────────────┴──────────────┴──── refused ─────┴─────────┴──────────────┴─────────────▲
//!    └─ refused: no key was named yet, nothing is written down
//! ```
//!
//! A caller that may not use a key does not learn its state. Who the caller is, and which key an ARN or an alias stands for,
//! was found out before. The operations themselves are short: a signature of RSA with 4,096 bits, the slowest, takes
//! milliseconds.

mod data_key;
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
pub use gate::{Call, Caller, Denied, Gate, Outcome, Unrecorded, Use, Via};
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
        let key = self.find(asked.key);
        let asked_of = asked.of(key.as_deref());
        let result = match &key {
            Some(key) => self.admitted(&asked, &asked_of, key).await,
            None => Err(missing(&asked)),
        };
        let result = result
            .and_then(|()| dry_run(asked.call))
            .and_then(|()| work(key.as_deref().expect("a key was admitted")));
        self.told(&asked_of, result).await
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
    ) -> Result<(), OperationError> {
        if !key.kind().is_some_and(|kind| asked.needs.met_by(kind)) {
            return Err(match asked.needs {
                Needs::PublicKey => OperationError::Unsupported(key.id),
                Needs::Encryption(_) | Needs::Mac(_) | Needs::Signing(_) => {
                    OperationError::InvalidKeyUsage(key.id)
                }
            });
        }
        let decided = self.gate.admit(asked_of).await;
        decided.map_err(OperationError::AccessDenied)?;
        permitted(key.state(), asked.action).map_err(OperationError::State)
    }

    /// Writes down what came of a use; without that there is no answer.
    async fn told<T>(
        &self,
        asked: &Use<'_>,
        result: Result<T, OperationError>,
    ) -> Result<T, OperationError> {
        let outcome = result.as_ref().map(|_| ());
        let recorded = self.gate.record(asked, outcome).await;
        recorded.map_err(OperationError::Unrecorded)?;
        result
    }
}

/// A key that only a ciphertext names is not said to be missing: whoever may not use it cannot know. (So AWS KMS.)
fn missing(asked: &Asked<'_>) -> OperationError {
    if asked.named {
        return OperationError::NotFound(asked.key);
    }
    let message = "the ciphertext refers to a key that does not exist, or that you may not use";
    OperationError::AccessDenied(Denied {
        message: message.to_owned(),
    })
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
