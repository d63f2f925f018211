//! Where an entry opens.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::crypto::{ContextError, EncryptionContext, Purpose, SealedInfo};

/// Under which names an entry opens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Scope {
    /// Only as this key of this secret.
    #[default]
    Strict,
    /// As any key of any secret of the namespace.
    Namespace,
}

/// The place of a `ManagedSecret`, and the pairs that are bound to its ciphertext.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its `spec.encryptionContext`.
    #[serde(
        default,
        rename = "encryptionContext",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub context: BTreeMap<String, String>,
}

impl Place {
    /// What an entry of that scope is bound to.
    ///
    /// # Errors
    /// The pairs are out of bounds, or have reserved names.
    pub fn context(&self, scope: Scope, key: &str) -> Result<EncryptionContext, ContextError> {
        let purpose = match scope {
            Scope::Strict => Purpose::Sealed {
                namespace: &self.namespace,
                secret: &self.name,
                key,
            },
            Scope::Namespace => Purpose::SealedForNamespace {
                namespace: &self.namespace,
            },
        };
        purpose.context(&EncryptionContext::user(&self.context)?)
    }

    /// What an entry that was found there must be bound to. Its own words only say which of the scopes is meant.
    ///
    /// # Errors
    /// As [`Self::context`].
    pub fn expected(
        &self,
        info: &SealedInfo,
        key: &str,
    ) -> Result<EncryptionContext, ContextError> {
        let scope = if info.context.get("keystead:scope").is_some() {
            Scope::Namespace
        } else {
            Scope::Strict
        };
        self.context(scope, key)
    }
}
