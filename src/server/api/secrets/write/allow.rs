//! Whether a caller may have a change made: decided, and written down before the controller hears of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::read::{Asked, Found, Reader, unreadable};
use super::super::record::line;
use super::parameters::Wish;
use crate::api::{PutVersion, SecretChangeSpec};
use crate::audit::Entry;
use crate::crypto::{EncryptionContext, KeyId, OsRandom, Purpose, peek};
use crate::keys::{SecretUser, UseError};
use crate::policy::Action;
use crate::secrets::{SecretValue, VersionId, change_context};
use crate::server::api::error::ApiError;

/// Most characters of a user's name in a change. It is for people: the audit log has the whole.
const MAX_USER: usize = 330;

/// A change that the caller may have made.
pub(super) struct Allowed {
    /// As the controller is asked for it.
    pub(super) spec: SecretChangeSpec,
    /// The secret, as a user of its key.
    pub(super) user: SecretUser,
}

impl Reader {
    /// Lets a change be asked for.
    ///
    /// # Errors
    /// The caller may not, or the secret's key does not encrypt it now.
    pub(super) async fn allow(&self, asked: Asked<'_>, wish: &Wish) -> Result<Allowed, ApiError> {
        let _turn = self.turn().await?;
        let mut line = line(&asked);
        line.request_parameters.other.extend(wish.told());
        let allowed = self.allowed(&asked, wish, &mut line).await;
        self.told(line, allowed).await
    }

    /// Writes down that a change which was allowed was not made, and why.
    pub(super) async fn refused<T>(
        &self,
        asked: Asked<'_>,
        wish: &Wish,
        error: ApiError,
    ) -> Result<T, ApiError> {
        let mut line = line(&asked);
        line.request_parameters.other.extend(wish.told());
        self.told(line, Err(error)).await
    }

    async fn allowed(
        &self,
        asked: &Asked<'_>,
        wish: &Wish,
        line: &mut Entry,
    ) -> Result<Allowed, ApiError> {
        let found = self.found(asked, line).await?;
        found.is_not_parked()?;
        line.reason = found.basis.to_string();
        let current = found.manifest().current().ok_or_else(unreadable)?;
        let user = found.user(&current.context, self.clock.now());
        let claim = &found.stored.claim;
        let user_name = asked.who.caller.principal.name();
        let mut spec = SecretChangeSpec {
            namespace: found.stored.namespace.clone(),
            name: found.stored.name.clone(),
            namespace_uid: claim.namespace_uid.clone(),
            object_uid: claim.object_uid.clone(),
            user: user_name.chars().take(MAX_USER).collect(),
            put: None,
            move_stage: None,
        };
        match wish {
            Wish::Put {
                version,
                stage,
                value,
            } => {
                let sealed = self
                    .sealed(asked, &found, &user, (version, value), line)
                    .await?;
                spec.put = Some(PutVersion {
                    version_id: version.to_string(),
                    stage: *stage,
                    value: STANDARD.encode(sealed),
                });
            }
            Wish::Move(moved) => spec.move_stage = Some(moved.clone()),
        }
        Ok(Allowed { spec, user })
    }

    /// Encrypts what is put under the secret's key, if that lets the caller do so.
    async fn sealed(
        &self,
        asked: &Asked<'_>,
        found: &Found,
        user: &SecretUser,
        (version, value): (&VersionId, &SecretValue),
        line: &mut Entry,
    ) -> Result<Vec<u8>, ApiError> {
        let envelope = current_envelope(found)?;
        let (namespace, name) = (&found.stored.namespace, &found.stored.name);
        let internal = |error: crate::crypto::ContextError| ApiError::internal(error.to_string());
        let to_be = context_to_be(found, user, version).map_err(internal)?;
        line.request_parameters
            .encryption_context
            .clone_from(&user.pairs);
        let action = Action::GenerateDataKey;
        let by_key = self
            .key_lets(asked, found, envelope, (action, &to_be), line)
            .await?;
        line.reason = format!("{}; {by_key}", found.basis);
        let context = change_context(namespace, name, version).map_err(internal)?;
        let key = key_of(envelope)?;
        let plaintext = value.encode();
        let keyring = &self.keyring;
        let sealed = keyring.seal(key, user, &context, plaintext.expose(), &mut OsRandom);
        self.note(asked, (envelope, action), sealed.as_ref().err());
        let sealed = sealed.map_err(|error| {
            line.reason = error.to_string();
            not_sealed(&error)
        })?;
        Ok(sealed.result)
    }
}

/// What is stored of the current version: it is under the secret's key.
fn current_envelope(found: &Found) -> Result<&[u8], ApiError> {
    let current = found.manifest().current();
    let envelope = current.and_then(|current| found.stored.versions.get(current.id.as_str()));
    envelope.map(Vec::as_slice).ok_or_else(unreadable)
}

fn key_of(envelope: &[u8]) -> Result<KeyId, ApiError> {
    peek(envelope)
        .map(|info| info.key)
        .map_err(|_| unreadable())
}

/// What the version will be bound to, which is what policies of keys speak of.
fn context_to_be(
    found: &Found,
    user: &SecretUser,
    version: &VersionId,
) -> Result<EncryptionContext, crate::crypto::ContextError> {
    let place = Purpose::Value {
        namespace: &found.stored.namespace,
        secret: &found.stored.name,
        version: version.as_str(),
    };
    place.context(&EncryptionContext::user(user.pairs.clone())?)
}

/// What the caller is told of a key that does not encrypt. Why is the key's owner's to know.
fn not_sealed(error: &UseError) -> ApiError {
    match error {
        UseError::Stale(_) => ApiError::unavailable(error.to_string()),
        _ => ApiError::encryption_failure(
            "the key of the secret does not encrypt now: see the conditions of the ManagedSecret and of its key",
        ),
    }
}
