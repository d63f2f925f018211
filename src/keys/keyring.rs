//! The keyring: every key of the installation, and the operations on them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use super::freshness::{Freshness, NotFresh};
use super::key::Key;
use super::sealing::SealingKey;
use super::state_table::permitted;
use super::user::{NotAllowed, SecretUser};
use crate::api::KeyState;
use crate::crypto::{
    self, EncryptionContext, KeyId, Limits, MaterialId, OpenError, Random, SealError, SecretBytes,
};
use crate::policy::{Action, Basis};

/// Why a key was not used.
#[derive(Debug, thiserror::Error)]
pub enum UseError {
    /// This replica cannot prove that it knows the keys' states.
    #[error("no key is used: {0}")]
    Stale(NotFresh),
    /// No key of that name or id is known.
    #[error("the key {key} is not known")]
    NotFound {
        /// Its id.
        key: KeyId,
    },
    /// The key's policy and grants do not allow it.
    #[error("the key {key} must not be used: {reason}")]
    NotAllowed {
        /// Its id.
        key: KeyId,
        /// Why not.
        reason: NotAllowed,
    },
    /// The key's state refuses use.
    #[error("the key {key} is {state:?}")]
    State {
        /// Its id.
        key: KeyId,
        /// Its state.
        state: KeyState,
    },
    /// The generation that the ciphertext names is not there, or could not be opened.
    #[error("material {material} of key {key} is missing")]
    MaterialMissing {
        /// The key's id.
        key: KeyId,
        /// The generation's id.
        material: MaterialId,
    },
    /// The ciphertext does not open.
    #[error("the ciphertext does not open")]
    Open(#[source] OpenError),
    /// Nothing was encrypted.
    #[error("encryption failed")]
    Seal(#[source] SealError),
}

/// What the use of a key gave.
#[derive(Debug)]
pub struct Used<T> {
    /// The plaintext or ciphertext.
    pub result: T,
    /// What allowed the use.
    pub basis: Basis,
}

/// A key was put in, changed or taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChanged {
    /// Namespace of the `ManagedKey`.
    pub namespace: String,
    /// Name of the `ManagedKey`.
    pub name: String,
}

/// Every key of the installation with its material. Cheap to share; readers never wait for the
/// API server.
#[derive(Default)]
pub struct Keyring {
    keys: RwLock<Keys>,
    sealing: RwLock<Option<Arc<SealingKey>>>,
    freshness: Option<Arc<Freshness>>,
}

#[derive(Default)]
struct Keys {
    by_id: HashMap<KeyId, Arc<Key>>,
    /// By namespace and name, in order, so that the keys of a namespace are together.
    by_name: BTreeMap<(String, String), Vec<KeyId>>,
}

impl Keyring {
    /// A keyring that refuses every use unless that proof is fresh. The controller's needs none: it reads the truth
    /// anew before it decides, and its writes are refused when that was not the newest.
    pub fn guarded(freshness: Arc<Freshness>) -> Self {
        Self {
            keys: RwLock::default(),
            sealing: RwLock::default(),
            freshness: Some(freshness),
        }
    }

    /// The sealing key, if it is known. It is none of the keys below: nothing that goes over those touches it.
    pub fn sealing(&self) -> Option<Arc<SealingKey>> {
        let sealing = self.sealing.read();
        sealing.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts the sealing key in, or a newer state of it, or takes it out. A server has no use for it.
    pub(super) fn set_sealing(&self, key: Option<SealingKey>) {
        let key = key.filter(|_| self.freshness.is_none());
        let mut sealing = self.sealing.write().unwrap_or_else(PoisonError::into_inner);
        *sealing = key.map(Arc::new);
    }

    /// Puts a key in, or a newer state of it.
    pub fn insert(&self, key: Key) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let ids = keys.by_name.entry(place(&key)).or_default();
        if !ids.contains(&key.id) {
            ids.push(key.id);
        }
        keys.by_id.insert(key.id, Arc::new(key));
    }

    /// Takes a key out, because the truth about it is gone.
    pub fn remove(&self, id: KeyId) -> Option<Arc<Key>> {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let key = keys.by_id.remove(&id)?;
        if let Some(ids) = keys.by_name.get_mut(&place(&key)) {
            ids.retain(|known| *known != id);
            if ids.is_empty() {
                keys.by_name.remove(&place(&key));
            }
        }
        Some(key)
    }

    /// The key with that id.
    pub fn get(&self, id: KeyId) -> Option<Arc<Key>> {
        self.keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .by_id
            .get(&id)
            .cloned()
    }

    /// All keys that ever had this name and still wait or work: the one in use first, then the
    /// newest. Not one that was destroyed: its name is free.
    pub fn named(&self, namespace: &str, name: &str) -> Vec<Arc<Key>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let ids = keys.by_name.get(&(namespace.to_owned(), name.to_owned()));
        let mut found: Vec<_> = ids
            .into_iter()
            .flatten()
            .filter_map(|id| keys.by_id.get(id).cloned())
            .filter(|key| key.truth.spec.destroyed.is_none())
            .collect();
        found.sort_by_key(|key| {
            let spec = &key.truth.spec;
            let created = spec
                .generations
                .first()
                .map(|g| std::cmp::Reverse(g.created.0));
            (spec.parked_since.is_some(), created)
        });
        found
    }

    /// All keys of a namespace that still wait or work, in the order of their names.
    pub fn of_namespace(&self, namespace: &str) -> Vec<Arc<Key>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let first = (namespace.to_owned(), String::new());
        keys.by_name
            .range(first..)
            .take_while(|((of, _), _)| of == namespace)
            .flat_map(|(_, ids)| ids)
            .filter_map(|id| keys.by_id.get(id).cloned())
            .filter(|key| key.truth.spec.destroyed.is_none())
            .collect()
    }

    /// All keys.
    pub fn all(&self) -> Vec<Arc<Key>> {
        self.keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .by_id
            .values()
            .cloned()
            .collect()
    }

    /// Where all keys are.
    pub fn places(&self) -> Vec<KeyChanged> {
        let place = |key: Arc<Key>| KeyChanged {
            namespace: key.truth.spec.namespace.clone(),
            name: key.truth.spec.name.clone(),
        };
        self.all().into_iter().map(place).collect()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .by_id
            .len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Encrypts under the current material of a key that `user` may use.
    pub fn seal(
        &self,
        key: KeyId,
        user: &SecretUser,
        context: &EncryptionContext,
        plaintext: &[u8],
        random: &mut dyn Random,
    ) -> Result<Used<Vec<u8>>, UseError> {
        let (key, basis) = self.usable(key, user, Action::GenerateDataKey, context)?;
        let wrapping = key.wrapping_key().ok_or(UseError::State {
            key: key.id,
            state: KeyState::Unavailable,
        })?;
        let sealed = crypto::seal(plaintext, context, &wrapping, random).map_err(UseError::Seal)?;
        // The process may have been stopped meanwhile.
        self.fresh()?;
        Ok(Used {
            result: sealed,
            basis,
        })
    }

    /// Decrypts what the key named in its header encrypted, if that is a key that `user` may use and
    /// the message was made for `context`.
    pub fn open(
        &self,
        message: &[u8],
        user: &SecretUser,
        context: &EncryptionContext,
    ) -> Result<Used<SecretBytes>, UseError> {
        let info = crypto::peek(message).map_err(UseError::Open)?;
        let (key, basis) = self.usable(info.key, user, Action::Decrypt, context)?;
        let opened = opened(message, context, &key)?;
        self.fresh()?;
        Ok(Used {
            result: opened,
            basis,
        })
    }

    /// Decrypts what has no value in it and is what somebody decides by who may read one: the manifest of a secret. The key's state counts;
    /// its policy does not, since the decision about the value is still to come.
    pub fn open_to_decide(
        &self,
        message: &[u8],
        context: &EncryptionContext,
    ) -> Result<SecretBytes, UseError> {
        opened(message, context, &*self.key_to_decide(message)?)
    }

    /// The key of such a message, while it may be used: to be asked also by whoever has opened the message before.
    pub fn key_to_decide(&self, message: &[u8]) -> Result<Arc<Key>, UseError> {
        self.fresh()?;
        let id = crypto::peek(message).map_err(UseError::Open)?.key;
        let key = self.get(id).ok_or(UseError::NotFound { key: id })?;
        let state = key.state();
        permitted(state, Action::Decrypt).map_err(|_| UseError::State { key: id, state })?;
        Ok(key)
    }

    /// Refuses while what this replica knows may be too old.
    fn fresh(&self) -> Result<(), UseError> {
        self.check_freshness().map_err(UseError::Stale)
    }

    /// Whether this replica can prove that it knows the keys' states. To be asked before a use and after it.
    ///
    /// # Errors
    /// It cannot, and says since when.
    pub fn check_freshness(&self) -> Result<(), NotFresh> {
        let checked = self.freshness.as_ref().map(|f| f.check(Instant::now()));
        checked.transpose().map(drop)
    }

    /// The key, if that may be done with it now.
    fn usable(
        &self,
        id: KeyId,
        user: &SecretUser,
        action: Action,
        context: &EncryptionContext,
    ) -> Result<(Arc<Key>, Basis), UseError> {
        self.fresh()?;
        let key = self.get(id).ok_or(UseError::NotFound { key: id })?;
        let refused = |reason| UseError::NotAllowed { key: id, reason };
        let basis = user.may(&key, action, context).map_err(refused)?;
        let state = key.state();
        match permitted(state, action) {
            Ok(()) => Ok((key, basis)),
            Err(_) => Err(UseError::State { key: id, state }),
        }
    }
}

fn opened(message: &[u8], context: &EncryptionContext, key: &Key) -> Result<SecretBytes, UseError> {
    crypto::open(message, context, key, Limits::default()).map_err(|error| match error {
        OpenError::MaterialMissing { key, material } => UseError::MaterialMissing { key, material },
        other => UseError::Open(other),
    })
}

fn place(key: &Key) -> (String, String) {
    (
        key.truth.spec.namespace.clone(),
        key.truth.spec.name.clone(),
    )
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use super::super::testing::{id, reloaded, truth};
    use super::*;

    #[test]
    fn the_keys_of_a_namespace_are_those_of_no_other_and_none_that_was_destroyed() {
        let keyring = Keyring::default();
        for (number, namespace) in (1..).zip(["shop", "shop", "shop-2", "sho", "shop"]) {
            let mut truth = truth(number, "SymmetricDefault", "EncryptDecrypt", "Keystead");
            truth.spec.namespace = namespace.to_owned();
            truth.spec.name = format!("key-{number}");
            truth.spec.destroyed = (number == 5).then_some(Time(Timestamp::UNIX_EPOCH));
            keyring.insert(reloaded(truth));
        }
        let ids = |namespace| {
            let keys = keyring.of_namespace(namespace).into_iter();
            keys.map(|key| key.id).collect::<Vec<_>>()
        };
        assert_eq!(ids("shop"), [id(1), id(2)]);
        assert_eq!(ids("shop-2"), [id(3)]);
        assert_eq!(ids("none"), []);
    }
}
