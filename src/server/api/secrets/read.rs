//! Reads a secret for a caller: finds it, decides, opens it, and writes down what came of it before anything leaves.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::look::Store;
use super::record::line;
use super::select::Selector;
use crate::api::KeyState;
use crate::audit::{Decision, Entry};
use crate::clock::Clock;
use crate::crypto::{EncryptionContext, peek};
use crate::keys::{Keyring, SecretUser, UseError};
use crate::policy::{Action, Context, SecretAction, SecretBasis};
use crate::secrets::{Manifest, SecretValue, VersionId, VersionRecord, version_context};
use crate::server::api::authenticate::Identity;
use crate::server::api::error::ApiError;
use crate::server::api::places::SecretPlace;
use crate::server::api::pods::Pods;
use crate::server::ciphertext::Described;
use crate::server::gate::{Noted, PolicyGate};
use crate::telemetry::ApiResult;
use crate::truth::Stored;

/// How long the API server may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Secrets that are read at once: what is stored of one, with all its versions, may have a megabyte.
const AT_ONCE: usize = 32;

/// Reads secrets.
pub(in crate::server::api) struct Reader {
    turns: Semaphore,
    pub(super) client: Client,
    pub(super) store: Store,
    pub(super) keyring: Arc<Keyring>,
    pub(super) gate: Arc<PolicyGate>,
    pub(super) pods: Pods,
    pub(super) clock: Arc<dyn Clock>,
}

/// One call about one secret.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) who: &'a Identity,
    pub(super) request_id: &'a str,
    /// What the caller calls the secret.
    pub(super) said: &'a str,
    pub(super) place: &'a SecretPlace,
    pub(super) action: SecretAction,
}

/// A secret of which the caller may do what he asked.
pub(super) struct Found {
    pub(super) described: Arc<Described>,
    pub(super) stored: Arc<Stored>,
    /// What let the caller through.
    pub(super) basis: SecretBasis,
}

/// A version with its value.
pub(in crate::server::api) struct Opened {
    pub(in crate::server::api) stored: Arc<Stored>,
    pub(in crate::server::api) version: VersionRecord,
    pub(in crate::server::api) value: SecretValue,
    /// The current version at that moment.
    pub(in crate::server::api) current: VersionId,
    /// Whether it was read as a pod of the secret's rotation.
    pub(in crate::server::api) rotates: bool,
}

impl Found {
    pub(super) fn manifest(&self) -> &Manifest {
        &self.described.manifest
    }

    /// Refuses what is only for a secret whose resource is there.
    pub(super) fn is_not_parked(&self) -> Result<(), ApiError> {
        if self.stored.parked_since.is_none() {
            return Ok(());
        }
        let message =
            "the secret is marked for deletion: apply its ManagedSecret again to have it back";
        Err(ApiError::invalid_request(message))
    }

    /// The secret as a user of keys, with these pairs.
    pub(super) fn user(&self, pairs: &Context, now: Timestamp) -> SecretUser {
        SecretUser {
            namespace: self.stored.namespace.clone(),
            name: self.stored.name.clone(),
            namespace_uid: Some(self.stored.claim.namespace_uid.clone()),
            pairs: pairs.clone(),
            now,
        }
    }
}

impl Reader {
    pub(in crate::server::api) fn new(client: Client, store: Store, clock: Arc<dyn Clock>) -> Self {
        Self {
            turns: Semaphore::new(AT_ONCE),
            pods: Pods::new(client.clone()),
            client,
            keyring: store.keyring.clone(),
            gate: store.gate.clone(),
            store,
            clock,
        }
    }

    /// The manifest of a secret.
    pub(super) async fn describe(&self, asked: Asked<'_>) -> Result<Found, ApiError> {
        let _turn = self.turn().await?;
        let mut line = line(&asked);
        let found = self.found(&asked, &mut line).await;
        let found = found.inspect(|found| line.reason = found.basis.to_string());
        self.told(line, found).await
    }

    /// A version of a secret, with its value.
    pub(super) async fn value(
        &self,
        asked: Asked<'_>,
        selector: &Selector,
    ) -> Result<Opened, ApiError> {
        let _turn = self.turn().await?;
        let mut line = line(&asked);
        line.request_parameters.other.extend(selector.told());
        let opened = self.opened(&asked, selector, &mut line).await;
        self.told(line, opened).await
    }

    pub(super) async fn turn(&self) -> Result<SemaphorePermit<'_>, ApiError> {
        let Ok(Ok(turn)) = timeout(PATIENCE, self.turns.acquire()).await else {
            let message = "this replica reads as many secrets as it can: wait and try again";
            return Err(ApiError::throttled(message));
        };
        Ok(turn)
    }

    /// Writes down what came of it; without that there is no answer.
    pub(super) async fn told<T>(
        &self,
        mut line: Entry,
        result: Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        if let Err(error) = &result {
            if matches!(error.result, ApiResult::Denied | ApiResult::Failed) {
                line.decision = Decision::Deny;
            }
            if line.reason.is_empty() {
                line.reason.clone_from(&error.message);
            }
            line.error_code = Some(error.code.to_owned());
        }
        self.gate.write(line).await?;
        result
    }

    async fn opened(
        &self,
        asked: &Asked<'_>,
        selector: &Selector,
        line: &mut Entry,
    ) -> Result<Opened, ApiError> {
        let found = self.found(asked, line).await?;
        found.is_not_parked()?;
        let version = selector.of_manifest(found.manifest())?.clone();
        let current = Selector::default().of_manifest(found.manifest())?;
        let current = current.id.clone();
        let other = &mut line.request_parameters.other;
        other.insert("versionId".to_owned(), version.id.to_string());
        line.request_parameters
            .encryption_context
            .clone_from(&version.context);
        let lost = || {
            let message =
                "the ciphertext of the version is gone: see the condition of the ManagedSecret";
            ApiError::invalid_request(message)
        };
        let envelope = found
            .stored
            .versions
            .get(version.id.as_str())
            .ok_or_else(lost)?;
        let (namespace, name) = (&found.stored.namespace, &found.stored.name);
        let context = version_context(namespace, name, &version);
        let context = context.map_err(|error| ApiError::internal(error.to_string()))?;
        let by_key = self
            .key_lets(asked, &found, envelope, (Action::Decrypt, &context), line)
            .await?;
        line.reason = format!("{}; {by_key}", found.basis);
        let value = self.open(asked, &found, &version, envelope, &context, line)?;
        Ok(Opened {
            stored: found.stored,
            version,
            value,
            current,
            rotates: found.basis == SecretBasis::Rotates,
        })
    }

    /// Tells the controller of the use of the key.
    pub(super) fn note(
        &self,
        asked: &Asked<'_>,
        (envelope, action): (&[u8], Action),
        failed: Option<&UseError>,
    ) {
        let noted = match failed {
            None => Noted::Used,
            Some(UseError::State {
                state: KeyState::PendingDeletion | KeyState::DestructionDue,
                ..
            }) => Noted::PendingDeletion,
            Some(_) => return,
        };
        if let Ok(info) = peek(envelope) {
            let user = asked.who.caller.principal.name();
            self.gate.note(info.key, user, action, noted);
        }
    }

    fn open(
        &self,
        asked: &Asked<'_>,
        found: &Found,
        version: &VersionRecord,
        envelope: &[u8],
        context: &EncryptionContext,
        line: &mut Entry,
    ) -> Result<SecretValue, ApiError> {
        let user = found.user(&version.context, self.clock.now());
        let opened = self.keyring.open(envelope, &user, context);
        self.note(asked, (envelope, Action::Decrypt), opened.as_ref().err());
        let opened = opened.map_err(|error| {
            line.reason = error.to_string();
            failure(&error)
        })?;
        SecretValue::decode(opened.result.expose()).map_err(|_| unreadable())
    }
}

pub(super) fn unreadable() -> ApiError {
    let message = "what is stored does not open: see the condition of the ManagedSecret";
    ApiError::decryption_failure(message)
}

/// What the caller is told of a key that does not open something. Why is the key's owner's to know.
pub(super) fn failure(error: &UseError) -> ApiError {
    match error {
        UseError::Stale(_) => ApiError::unavailable(error.to_string()),
        _ => ApiError::decryption_failure(
            "the key of the secret does not decrypt it now: see the conditions of the ManagedSecret and of its key",
        ),
    }
}
