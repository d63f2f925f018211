//! Who asks, and who decides: what stands between a caller and a key.

use std::future::Future;
use std::sync::Arc;

use super::OperationError;
use crate::api::Via;
use crate::authorization::Subject;
use crate::crypto::{EncryptionContext, KeyId};
use crate::keys::Key;
use crate::policy::{Action, Principal};

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who that is to policies and grants.
    pub principal: Principal,
    /// Who that is to RBAC.
    pub subject: Subject,
    /// What it asks through; none if it asks itself.
    pub via: Option<Via>,
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

/// What came of a use: what allowed it, or why it was not done.
pub type Outcome<'a> = Result<&'a str, &'a OperationError>;

/// Why a use is not let through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The caller may not. The message goes to him.
    #[error("{0}")]
    Denied(String),
    /// Whoever has to be asked gave no answer in time.
    #[error("RBAC, which decides, gave no answer in time; try again")]
    Undecided,
}

/// The audit log took no line. Nothing is answered then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be written")]
pub struct Unrecorded;

/// Decides about each use of a key, and writes each down.
pub trait Gate: Send + Sync {
    /// What allows that use, in words for the audit log. `asked.key` is there.
    fn admit(&self, asked: &Use<'_>) -> impl Future<Output = Result<String, Refused>> + Send;

    /// Writes down what came of a use, before its answer leaves. Called once for each use, also for those that were
    /// refused, by whatever.
    fn record(
        &self,
        asked: &Use<'_>,
        outcome: Outcome<'_>,
    ) -> impl Future<Output = Result<(), Unrecorded>> + Send;
}

impl<G: Gate> Gate for Arc<G> {
    async fn admit(&self, asked: &Use<'_>) -> Result<String, Refused> {
        (**self).admit(asked).await
    }

    async fn record(&self, asked: &Use<'_>, outcome: Outcome<'_>) -> Result<(), Unrecorded> {
        (**self).record(asked, outcome).await
    }
}

impl<G: Gate> Gate for &G {
    async fn admit(&self, asked: &Use<'_>) -> Result<String, Refused> {
        (**self).admit(asked).await
    }

    async fn record(&self, asked: &Use<'_>, outcome: Outcome<'_>) -> Result<(), Unrecorded> {
        (**self).record(asked, outcome).await
    }
}
