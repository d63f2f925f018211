//! The uses of keys by one reconcile of a secret: gathered while it goes on, and written to the audit trail before anything
//! that was decrypted or encrypted leaves the operator.
//!
//! One line stands for all uses of one kind: a reconcile that opens three versions under one key is one line with a count. A look
//! that finds everything as it should be writes none, since nothing leaves: what it opened is forgotten.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use kube::ResourceExt;

use super::context::{Context, request_id};
use super::error::Error;
use super::key_uses::{Told, announce_refused_use};
use crate::api::managed_secret::ReplicaOf;
use crate::api::{KeyState, ManagedSecret};
use crate::audit::{Decision, Entry, EventSource, Identity, Resource, ResourceType};
use crate::crypto::{EncryptionContext, KeyId, OsRandom, SecretBytes, peek};
use crate::keys::{SecretUser, UseError, Used};
use crate::policy::{Action, Basis};

/// Why a use was refused, or failed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Refusal {
    /// The AWS error.
    code: &'static str,
    /// Why, in words.
    reason: String,
    /// Whether the key waits for its deletion, which makes its use an alarm.
    pending_deletion: bool,
}

impl Refusal {
    fn of(error: &UseError) -> Self {
        Self {
            code: error_code(error),
            reason: error.to_string(),
            pending_deletion: matches!(
                error,
                UseError::State {
                    state: KeyState::PendingDeletion | KeyState::DestructionDue,
                    ..
                }
            ),
        }
    }
}

/// The error that AWS KMS has for it.
fn error_code(error: &UseError) -> &'static str {
    match error {
        UseError::NotFound { .. } => "NotFoundException",
        UseError::NotAllowed { .. } => "AccessDeniedException",
        UseError::State {
            state: KeyState::Disabled,
            ..
        } => "DisabledException",
        UseError::State {
            state: KeyState::Unavailable,
            ..
        }
        | UseError::MaterialMissing { .. } => "KeyUnavailableException",
        UseError::State { .. } => "KMSInvalidStateException",
        UseError::Open(_) => "InvalidCiphertextException",
        UseError::Stale(_) => "DependencyTimeoutException",
        UseError::Seal(_) => "KMSInternalException",
    }
}

/// Uses of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Use {
    key: KeyId,
    /// `Decrypt`, or `GenerateDataKey`: envelopes are encrypted under a data key of their own.
    operation: Action,
    context: BTreeMap<String, String>,
    /// What allowed it, or why it was refused.
    outcome: Result<String, Refusal>,
}

/// What a replica has the value of its source read by.
pub(crate) const REPLICATION: &str = "replication";
/// What a certificate's secret has the value of its issuer read by.
const ISSUER: &str = "issuer";
/// What a rotation has the value of an administrator's secret read by.
const ROTATION: &str = "rotation";

/// Another secret that a value is read for.
#[derive(Debug)]
pub(crate) struct Reader {
    secret: Resource,
    via: &'static str,
}

impl Reader {
    /// A replica of the secret.
    pub(crate) fn replica(secret: &ManagedSecret) -> Self {
        Self::of(secret, REPLICATION)
    }

    /// A secret with a certificate that the secret signs.
    pub(crate) fn issuer_of(secret: &ManagedSecret) -> Self {
        Self::of(secret, ISSUER)
    }

    /// A secret that the administrator of the secret rotates.
    pub(crate) fn rotation_of(secret: &ManagedSecret) -> Self {
        Self::of(secret, ROTATION)
    }

    fn of(secret: &ManagedSecret, via: &'static str) -> Self {
        Self {
            secret: resource_of(secret),
            via,
        }
    }
}

/// A secret, as the audit trail names it.
pub(crate) fn resource_of(secret: &ManagedSecret) -> Resource {
    Resource {
        type_: ResourceType::ManagedSecret,
        namespace: secret.namespace().unwrap_or_default(),
        name: secret.name_any(),
        uid: secret.uid(),
        arn: None,
    }
}

/// The uses of one reconcile that are not written yet, with how often each was made.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    namespace: String,
    name: String,
    uid: Option<String>,
    /// The secret that the value is read for, if it is another.
    reader: Option<Reader>,
    waiting: Mutex<BTreeMap<Use, u32>>,
}

impl Uses {
    /// Nothing was used yet for that secret.
    pub(crate) fn of(secret: &ManagedSecret) -> Self {
        Self {
            namespace: secret.namespace().unwrap_or_default(),
            name: secret.name_any(),
            uid: secret.uid(),
            reader: None,
            waiting: Mutex::default(),
        }
    }

    /// Nothing was used yet for that secret, in whose name another one has its value read.
    pub(crate) fn of_other(secret: &ManagedSecret, reader: Reader) -> Self {
        Self {
            reader: Some(reader),
            ..Self::of(secret)
        }
    }

    /// Nothing was used yet of that source, which may be gone, in whose name a replica has its value read.
    pub(crate) fn of_source(source: &ReplicaOf, uid: &str, replica: Reader) -> Self {
        Self {
            namespace: source.namespace.clone(),
            name: source.name.clone(),
            uid: Some(uid.to_owned()),
            reader: Some(replica),
            waiting: Mutex::default(),
        }
    }

    /// The key that the secret names refuses to be used, so that nobody even tries.
    pub(crate) fn refused(&self, key: KeyId, error: &UseError) {
        let context = EncryptionContext::empty();
        self.note(
            key,
            Action::GenerateDataKey,
            &context,
            Err(Refusal::of(error)),
        );
    }

    fn note(
        &self,
        key: KeyId,
        operation: Action,
        context: &EncryptionContext,
        outcome: Result<Basis, Refusal>,
    ) {
        let noted = Use {
            key,
            operation,
            context: context
                .user_pairs()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            outcome: outcome.map(|basis| basis.to_string()),
        };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.entry(noted).or_default();
        *count = count.saturating_add(1);
    }

    /// Takes out what was let through, or what was not.
    fn take(&self, allowed: bool) -> Vec<(Use, u32)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = std::mem::take(&mut *waiting).into_iter();
        let (taken, left) = taken.partition(|(used, _)| used.outcome.is_ok() == allowed);
        *waiting = left;
        let taken: BTreeMap<_, _> = taken;
        taken.into_iter().collect()
    }

    /// Writes what was used so far. To be called before anything of it leaves the operator.
    ///
    /// # Errors
    /// [`Error::Audit`]: it could not be written, and nothing may leave.
    pub(crate) async fn record(&self, ctx: &Context) -> Result<(), Error> {
        let used = self.take(true);
        let request = request_id();
        let entries = used
            .iter()
            .map(|(used, count)| self.entry(used, *count, &request, ctx));
        ctx.trail
            .write_all(entries.collect())
            .await
            .map_err(Error::Audit)?;
        for (used, _) in &used {
            ctx.used(used.key, used.operation);
        }
        Ok(())
    }

    /// Writes what was refused, and raises the alarm about keys that wait for their deletion: once for each key, secret and
    /// hour, since a secret that waits tries again and again.
    pub(crate) async fn record_refused(&self, ctx: &Context) {
        let (request, user) = (
            request_id(),
            Identity::secret(&self.namespace, &self.name).user,
        );
        let mut entries = Vec::new();
        for (used, count) in self.take(false) {
            let Err(refusal) = &used.outcome else {
                continue;
            };
            if refusal.pending_deletion {
                announce_refused_use(used.key, &user, used.operation, ctx).await;
            }
            let told = Told {
                key: used.key,
                user: user.clone(),
                what: format!("{} {}", used.operation.name(), refusal.code),
            };
            if ctx.key_uses.tell(told, ctx.now()) {
                entries.push(self.entry(&used, count, &request, ctx));
            }
        }
        // It is refused already; that the line is lost is counted and shown by the trail itself.
        let _ = ctx.trail.write_all(entries).await;
    }

    fn entry(&self, used: &Use, count: u32, request: &str, ctx: &Context) -> Entry {
        let mut who = Identity::secret(&self.namespace, &self.name);
        if let Some(reader) = &self.reader {
            who.via = Some(reader.via.to_owned());
        }
        let name = used.operation.name();
        let mut entry = Entry::allowed(EventSource::SecretsManager, name, who, request);
        entry.resources = vec![
            ctx.key_resource(used.key),
            Resource {
                type_: ResourceType::ManagedSecret,
                namespace: self.namespace.clone(),
                name: self.name.clone(),
                uid: self.uid.clone(),
                arn: None,
            },
        ];
        let reader = self.reader.as_ref().map(|reader| reader.secret.clone());
        entry.resources.extend(reader);
        entry
            .request_parameters
            .encryption_context
            .clone_from(&used.context);
        entry.count = (count > 1).then_some(count);
        match &used.outcome {
            Ok(basis) => entry.reason.clone_from(basis),
            Err(refusal) => {
                entry.decision = Decision::Deny;
                entry.error_code = Some(refusal.code.to_owned());
                entry.reason.clone_from(&refusal.reason);
            }
        }
        entry
    }
}

/// A secret with the keys that it may use. Each use is noted for the audit trail.
pub(crate) struct KeyAccess<'a> {
    user: SecretUser,
    uses: &'a Uses,
    ctx: &'a Context,
}

impl<'a> KeyAccess<'a> {
    /// That of `user`.
    pub(crate) fn new(user: SecretUser, uses: &'a Uses, ctx: &'a Context) -> Self {
        Self { user, uses, ctx }
    }

    /// Opens an envelope.
    pub(crate) fn open(
        &self,
        envelope: &[u8],
        context: &EncryptionContext,
    ) -> Result<SecretBytes, UseError> {
        let opened = self.ctx.keyring.open(envelope, &self.user, context);
        // What names no key used none.
        match peek(envelope) {
            Ok(info) => self.noted(info.key, Action::Decrypt, context, opened),
            Err(_) => opened.map(|used| used.result),
        }
    }

    /// Makes an envelope under that key.
    pub(crate) fn seal(
        &self,
        key: KeyId,
        context: &EncryptionContext,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, UseError> {
        let keyring = &self.ctx.keyring;
        let sealed = keyring.seal(key, &self.user, context, plaintext, &mut OsRandom);
        self.noted(key, Action::GenerateDataKey, context, sealed)
    }

    fn noted<T>(
        &self,
        key: KeyId,
        operation: Action,
        context: &EncryptionContext,
        used: Result<Used<T>, UseError>,
    ) -> Result<T, UseError> {
        let outcome = match &used {
            Ok(used) => Ok(used.basis.clone()),
            Err(error) => Err(Refusal::of(error)),
        };
        self.uses.note(key, operation, context, outcome);
        used.map(|used| used.result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_of_one_kind_are_counted_and_our_own_pairs_are_left_out() {
        let uses = Uses::default();
        let key = KeyId::from_bytes([1; 16]);
        let user = EncryptionContext::user([("team", "orders")]).unwrap();
        for version in ["v1", "v2"] {
            let place = crate::crypto::Purpose::Value {
                namespace: "shop",
                secret: "db",
                version,
            };
            let context = place.context(&user).unwrap();
            uses.note(key, Action::Decrypt, &context, Ok(Basis::OwnSecret));
        }
        let state = KeyState::PendingDeletion;
        uses.refused(key, &UseError::State { key, state });
        let allowed = uses.take(true);
        assert_eq!(allowed.len(), 1);
        assert_eq!(allowed[0].1, 2);
        assert_eq!(allowed[0].0.outcome, Ok(Basis::OwnSecret.to_string()));
        assert_eq!(
            allowed[0].0.context,
            BTreeMap::from([("team".to_owned(), "orders".to_owned())])
        );
        assert!(uses.take(true).is_empty(), "nothing is written twice");
        let refused = uses.take(false);
        let refusal = refused[0].0.outcome.as_ref().unwrap_err();
        assert_eq!(refusal.code, "KMSInvalidStateException");
        assert!(refusal.pending_deletion);
    }
}
