//! Reads a secret for a caller: finds it, decides, opens it, and writes down what came of it before anything leaves.
//!
//! ```text
//! truth found ─▶ manifest opened ─▶ the secret's policy, mount, RBAC ─▶ version ─▶ the key's policy, with the reader as principal ─▶ value
//! ```
//!
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::look::{Seen, Store};
use super::record::{NOT_ALLOWED, denied, found, line};
use super::select::Selector;
use crate::api::names::DEFAULT_KEY;
use crate::api::{KeyState, Via};
use crate::audit::{Decision, Entry};
use crate::authorization::{self, ObjectPlace};
use crate::clock::Clock;
use crate::crypto::{EncryptionContext, SecretBytes, peek};
use crate::keys::operations::{Call, Caller, Gate, Use};
use crate::keys::{Key, Keyring, SecretUser, UseError, Used};
use crate::policy::{
    Action, Basis, Context, Rbac, Reading, Request, SecretAction, SecretBasis, SecretDecision,
    SecretRules, decide, decide_reading,
};
use crate::secrets::{Manifest, SecretValue, VersionId, VersionRecord, version_context};
use crate::server::api::authenticate::Identity;
use crate::server::api::error::ApiError;
use crate::server::api::places::SecretPlace;
use crate::server::api::pods::Pods;
use crate::server::ciphertext::Described;
use crate::server::gate::{Noted, PolicyGate, resource_of};
use crate::telemetry::ApiResult;
use crate::truth::Stored;

/// How long the API server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Secrets that are read at once: what is stored of one, with all its versions, may have a megabyte.
const AT_ONCE: usize = 32;

/// Reads secrets.
pub(in crate::server::api) struct Reader {
    turns: Semaphore,
    client: Client,
    store: Store,
    keyring: Arc<Keyring>,
    gate: Arc<PolicyGate>,
    pods: Pods,
    clock: Arc<dyn Clock>,
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

/// A secret that the caller may read of.
pub(super) struct Found {
    described: Arc<Described>,
    pub(super) stored: Arc<Stored>,
    /// What let the caller through.
    basis: SecretBasis,
}

/// A version with its value.
pub(in crate::server::api) struct Opened {
    pub(in crate::server::api) stored: Arc<Stored>,
    pub(in crate::server::api) version: VersionRecord,
    pub(in crate::server::api) value: SecretValue,
    /// The current version at that moment.
    pub(in crate::server::api) current: VersionId,
}

impl Found {
    pub(super) fn manifest(&self) -> &Manifest {
        &self.described.manifest
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

    async fn turn(&self) -> Result<SemaphorePermit<'_>, ApiError> {
        let Ok(Ok(turn)) = timeout(PATIENCE, self.turns.acquire()).await else {
            let message = "this replica reads as many secrets as it can: wait and try again";
            return Err(ApiError::throttled(message));
        };
        Ok(turn)
    }

    /// Writes down what came of it; without that there is no answer.
    async fn told<T>(&self, mut line: Entry, result: Result<T, ApiError>) -> Result<T, ApiError> {
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
        if found.stored.parked_since.is_some() {
            let message =
                "the secret is marked for deletion: apply its ManagedSecret again to have it back";
            return Err(ApiError::invalid_request(message));
        }
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
            .key_lets(asked, &found, envelope, &context, line)
            .await?;
        line.reason = format!("{}; {by_key}", found.basis);
        let value = self.open(asked, &found, &version, envelope, &context, line)?;
        Ok(Opened {
            stored: found.stored,
            version,
            value,
            current,
        })
    }

    /// The secret, if the caller may do that.
    async fn found(&self, asked: &Asked<'_>, line: &mut Entry) -> Result<Found, ApiError> {
        let Some(namespace) = asked.place.namespace.as_deref() else {
            return Err(denied(asked, &NOT_ALLOWED));
        };
        let seen = self.store.look(namespace, &asked.place.name).await?;
        let mounts = self.mounts(asked, namespace).await?;
        if let Some(seen) = &seen {
            found(line, &seen.stored);
        }
        let decision = self
            .secret_lets(asked, namespace, mounts, seen.as_ref())
            .await?;
        let Some(Seen { stored, described }) = seen else {
            // kubelet tries again for a pod that mounts it. Who may not read it is told what he would be if it were there.
            return Err(if mounts || decision.allow {
                ApiError::not_found("there is no such secret")
            } else {
                denied(asked, &NOT_ALLOWED)
            });
        };
        if !decision.allow {
            return Err(denied(asked, &decision.reason));
        }
        Ok(Found {
            described: described?,
            stored,
            basis: decision.reason,
        })
    }

    async fn mounts(&self, asked: &Asked<'_>, namespace: &str) -> Result<bool, ApiError> {
        match &asked.who.pod {
            Some(pod) if pod.namespace == namespace => {
                self.pods.mounts(pod, &asked.place.name).await
            }
            _ => Ok(false),
        }
    }

    /// Whether the secret's policy, its mount or RBAC lets the caller, and what that rests on.
    async fn secret_lets(
        &self,
        asked: &Asked<'_>,
        namespace: &str,
        mounts: bool,
        seen: Option<&Seen>,
    ) -> Result<SecretDecision, ApiError> {
        let without_statements;
        let described = seen.and_then(|seen| seen.described.as_ref().ok());
        let rules = if let Some(described) = described {
            &described.rules
        } else {
            let uid = seen.map_or("", |seen| &seen.stored.claim.namespace_uid);
            without_statements = SecretRules::new((namespace, uid), None);
            &without_statements
        };
        let rules = rules
            .as_ref()
            .map_err(|error| ApiError::access_denied(error.to_string()))?;
        let reading = Reading {
            principal: &asked.who.caller.principal,
            action: asked.action,
            mounts,
        };
        let mut decision = decide_reading(&reading, rules, Rbac::NotAsked);
        if let Some(attributes) = decision.needs_rbac() {
            let place = ObjectPlace {
                namespace,
                name: &asked.place.name,
            };
            let (client, subject) = (self.client.clone(), &asked.who.caller.subject);
            let rbac = authorization::ask(client, subject, place, attributes, PATIENCE).await;
            let rbac = rbac.ok_or_else(ApiError::unanswered)?;
            decision = decide_reading(&reading, rules, rbac);
        }
        Ok(decision)
    }

    /// Whether the key lets the reader decrypt that, and why. A namespace's own default key asks nobody; and whoever mounts a secret gets it
    /// in the secret's name, as it is delivered, unless a Deny speaks of him.
    async fn key_lets(
        &self,
        asked: &Asked<'_>,
        found: &Found,
        envelope: &[u8],
        context: &EncryptionContext,
        line: &mut Entry,
    ) -> Result<String, ApiError> {
        let id = peek(envelope).map_err(|_| unreadable())?.key;
        let key = self.keyring.get(id);
        let key = key.ok_or_else(|| failure(&UseError::NotFound { key: id }))?;
        line.resources.insert(0, resource_of(&key));
        if key.truth.spec.name == DEFAULT_KEY {
            return Ok("the default key is used for secrets of its own namespace".to_owned());
        }
        if found.basis == SecretBasis::Mounted {
            return self.mount_is_not_denied(asked, &key, context);
        }
        let caller = Caller {
            via: Some(Via::Secrets),
            ..asked.who.caller.clone()
        };
        let used = Use {
            call: Call {
                caller: &caller,
                request_id: asked.request_id,
                dry_run: false,
            },
            action: Some(Action::Decrypt),
            key_id: Some(id),
            key: Some(&key),
            context,
        };
        Ok(self.gate.admit(&used).await?)
    }

    fn mount_is_not_denied(
        &self,
        asked: &Asked<'_>,
        key: &Key,
        context: &EncryptionContext,
    ) -> Result<String, ApiError> {
        let pairs: Context = context
            .pairs()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let request = Request {
            principal: &asked.who.caller.principal,
            action: Action::Decrypt,
            context: &pairs,
            via: Some(Via::Secrets),
            now: self.clock.now(),
        };
        let rules = key.rules.as_ref();
        let rules = rules.map_err(|error| ApiError::access_denied(error.to_string()))?;
        match decide(&request, rules, Rbac::NotAsked).reason {
            why @ Basis::DeniedBy(_) => Err(denied(asked, &why)),
            _ => Ok("the key is used in the secret's name".to_owned()),
        }
    }

    /// Tells the controller of the use of the key.
    fn note(
        &self,
        asked: &Asked<'_>,
        envelope: &[u8],
        opened: &Result<Used<SecretBytes>, UseError>,
    ) {
        let noted = match opened {
            Ok(_) => Noted::Used,
            Err(UseError::State {
                state: KeyState::PendingDeletion | KeyState::DestructionDue,
                ..
            }) => Noted::PendingDeletion,
            Err(_) => return,
        };
        if let Ok(info) = peek(envelope) {
            let user = asked.who.caller.principal.name();
            self.gate.note(info.key, user, Action::Decrypt, noted);
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
        let user = SecretUser {
            namespace: found.stored.namespace.clone(),
            name: found.stored.name.clone(),
            namespace_uid: Some(found.stored.claim.namespace_uid.clone()),
            pairs: version.context.clone(),
            now: self.clock.now(),
        };
        let opened = self.keyring.open(envelope, &user, context);
        self.note(asked, envelope, &opened);
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
