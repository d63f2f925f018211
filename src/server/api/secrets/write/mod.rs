//! The calls of AWS Secrets Manager that change the value of a secret. The server writes no truth: it decides who may, and the controller
//! whether that can be.

mod allow;
mod ask;
mod parameters;

use std::time::Duration;

use serde_json::json;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

pub(in crate::server::api) use self::ask::Asking;
pub(super) use self::parameters::{Wish, put_of, stage_of};

use super::read::Asked;
use super::{Secrets, asked};
use crate::policy::SecretAction;
use crate::server::api::Caller;
use crate::server::api::calls::SecretCall;
use crate::server::api::error::ApiError;
use crate::server::api::wire::{Answer, answer};

/// Calls that are read, or wait for the controller, at once: each has up to some hundred kilobytes, and is an object in etcd for minutes.
const AT_ONCE: usize = 32;
/// How long a call may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// The turns of calls that change something.
pub(in crate::server::api) struct Turns(Semaphore);

impl Default for Turns {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }
}

impl Turns {
    /// Lets a call be read: of those that change something, so many at once.
    ///
    /// # Errors
    /// There are too many.
    pub(in crate::server::api) async fn admit(
        &self,
        call: SecretCall,
    ) -> Result<Option<SemaphorePermit<'_>>, ApiError> {
        if !call.is_change() {
            return Ok(None);
        }
        let Ok(Ok(turn)) = timeout(PATIENCE, self.0.acquire()).await else {
            let message = "this replica changes as many secrets as it can: wait and try again";
            return Err(ApiError::throttled(message));
        };
        Ok(Some(turn))
    }
}

impl Secrets {
    /// `PutSecretValue`.
    pub(super) async fn put_secret_value(
        &self,
        caller: Caller<'_>,
        body: &[u8],
    ) -> Result<Answer, ApiError> {
        let (id, wish) = put_of(body)?;
        let (arn, name, version, stages) = self
            .change(caller, &id, SecretAction::PutSecretValue, wish)
            .await?;
        answer(&json!({"ARN": arn, "Name": name, "VersionId": version, "VersionStages": stages}))
    }

    /// `UpdateSecretVersionStage`.
    pub(super) async fn update_secret_version_stage(
        &self,
        caller: Caller<'_>,
        body: &[u8],
    ) -> Result<Answer, ApiError> {
        let (id, wish) = stage_of(body)?;
        let action = SecretAction::UpdateSecretVersionStage;
        let (arn, name, ..) = self.change(caller, &id, action, wish).await?;
        answer(&json!({"ARN": arn, "Name": name}))
    }

    /// Has a change made; the ARN, the name, the version that it is about, and the stages that that has since.
    async fn change(
        &self,
        caller: Caller<'_>,
        id: &str,
        action: SecretAction,
        wish: Wish,
    ) -> Result<(String, String, Option<String>, Vec<String>), ApiError> {
        let place = self.accounts.secret(id, caller.who).await?;
        let asked: Asked<'_> = asked(caller, id, &place, action);
        let allowed = self.reader.allow(asked, &wish).await?;
        let (namespace, name) = (allowed.spec.namespace.clone(), allowed.spec.name.clone());
        let version = wish.version().map(ToString::to_string);
        let answered = self
            .asking
            .ask(&self.reader, allowed, &wish, caller.request_id)
            .await;
        // Whatever came of it, what this replica keeps of the secret may be behind.
        self.reader.store.ciphertext.forget(&namespace, &name);
        let stages = match answered {
            Ok(stages) => stages,
            Err(error) => return self.reader.refused(asked, &wish, error).await,
        };
        Ok((self.accounts.arn(&namespace, &name), name, version, stages))
    }
}
