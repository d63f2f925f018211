//! For whom the operator uses a key.

use k8s_openapi::jiff::Timestamp;

use super::key::Key;
use crate::api::Via;
use crate::crypto::EncryptionContext;
use crate::policy::{Action, Basis, Context, Principal, Rbac, Request, RuleError, decide};

/// A secret, for which the operator uses a key.
#[derive(Clone, Debug)]
pub struct SecretUser {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// UID of its namespace. Without it a key of another namespace is not used.
    pub namespace_uid: Option<String>,
    /// The pairs of its encryption context. A manifest, and a change on its way to the controller, do not carry them, and are what they
    /// decide about all the same.
    pub pairs: Context,
    /// Now: grants expire.
    pub now: Timestamp,
}

/// Why a key is not used for somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAllowed {
    /// Nothing allows it, or something denies it.
    Decision(Basis),
    /// The key's policy cannot be read.
    Unreadable(RuleError),
}

impl std::fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Decision(basis) => basis.fmt(f),
            Self::Unreadable(error) => write!(f, "its policy cannot be read: {error}"),
        }
    }
}

impl SecretUser {
    /// Whether the secret may have that done with `key`, for a message with `context`, and what allows it.
    ///
    /// # Errors
    /// The key's policy and grants do not allow it.
    pub fn may(
        &self,
        key: &Key,
        action: Action,
        context: &EncryptionContext,
    ) -> Result<Basis, NotAllowed> {
        self.decide(key, action, &self.context_of(context))
    }

    /// Whether the secret may be stored and read under `key`.
    ///
    /// # Errors
    /// The key's policy and grants do not allow it.
    pub fn may_use(&self, key: &Key) -> Result<(), NotAllowed> {
        let actions = [Action::GenerateDataKey, Action::Decrypt];
        actions
            .into_iter()
            .try_for_each(|action| self.decide(key, action, &self.pairs).map(drop))
    }

    fn decide(&self, key: &Key, action: Action, context: &Context) -> Result<Basis, NotAllowed> {
        let rules = key.rules.as_ref();
        let rules = rules.map_err(|error| NotAllowed::Unreadable(error.clone()))?;
        let own = &key.truth.spec;
        // A key of the own namespace is compared by UID where it is claimed; that its material waits is a state of its own.
        let uid = if own.namespace == self.namespace {
            Some(own.namespace_uid.clone())
        } else {
            self.namespace_uid.clone()
        };
        let request = Request {
            principal: &Principal::secret(&self.namespace, &self.name, uid),
            action,
            context,
            via: Some(Via::Secrets),
            now: self.now,
        };
        let decision = decide(&request, rules, Rbac::NotAsked);
        if decision.allow {
            Ok(decision.reason)
        } else {
            Err(NotAllowed::Decision(decision.reason))
        }
    }

    fn context_of(&self, message: &EncryptionContext) -> Context {
        let own = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let pairs = message.pairs().map(own);
        let purpose = message.get("keystead:purpose");
        if matches!(purpose, Some("manifest" | "change")) {
            self.pairs.clone().into_iter().chain(pairs).collect()
        } else {
            pairs.collect()
        }
    }
}
