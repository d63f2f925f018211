//! Who asks, and who decides: what stands between a caller and a key.

use std::future::Future;

use super::OperationError;
use crate::crypto::{EncryptionContext, KeyId};
use crate::keys::Key;
use crate::policy::Action;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The Kubernetes user, or `keystead:secret:<namespace>:<name>`.
    pub principal: String,
    /// The groups that it is in.
    pub groups: Vec<String>,
    /// What it asks through; none if it asks itself.
    pub via: Option<Via>,
}

/// What uses a key on somebody's behalf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// A `ManagedSecret`.
    Secrets,
}

impl Via {
    /// Its name in policies and in the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secrets => "secrets",
        }
    }
}

/// One call of the API.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Who asks.
    pub caller: &'a Caller,
    /// What names the call in the audit log.
    pub request_id: &'a str,
    /// Whether only to say if it would be done.
    pub dry_run: bool,
}

/// One use of a key that is asked for. `ReEncrypt` is two.
#[derive(Clone, Copy)]
pub struct Use<'a> {
    /// The call that it belongs to.
    pub call: Call<'a>,
    /// What is to be done; none of a call that uses no key (`GenerateRandom`).
    pub action: Option<Action>,
    /// The key that is named, whether it exists or not.
    pub key_id: Option<KeyId>,
    /// The key, once it is found.
    pub key: Option<&'a Key>,
    /// The encryption context that is stated; empty where the operation has none.
    pub context: &'a EncryptionContext,
}

/// What came of a use.
pub type Outcome<'a> = Result<(), &'a OperationError>;

/// Who may not. The message goes to the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Denied {
    /// What is missing.
    pub message: String,
}

/// The audit log took no line. Nothing is answered then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be written")]
pub struct Unrecorded;

/// Decides about each use of a key, and writes each down.
pub trait Gate: Send + Sync {
    /// Whether that use is allowed. `asked.key` is there.
    fn admit(&self, asked: &Use<'_>) -> impl Future<Output = Result<(), Denied>> + Send;

    /// Writes down what came of a use, before its answer leaves. Called once for each use, also for those that were
    /// refused, by whatever.
    fn record(
        &self,
        asked: &Use<'_>,
        outcome: Outcome<'_>,
    ) -> impl Future<Output = Result<(), Unrecorded>> + Send;
}

impl<G: Gate> Gate for &G {
    async fn admit(&self, asked: &Use<'_>) -> Result<(), Denied> {
        (**self).admit(asked).await
    }

    async fn record(&self, asked: &Use<'_>, outcome: Outcome<'_>) -> Result<(), Unrecorded> {
        (**self).record(asked, outcome).await
    }
}
