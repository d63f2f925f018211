//! The key that a secret names, as the keyring has it.

use kube::{Api, ResourceExt};

use super::spec::{KeyName, key_name, key_namespace, user_of};
use crate::api::names::DEFAULT_KEY;
use crate::api::{KeyAlias, KeyState, ManagedSecret, Reason};
use crate::controllers::context::Context;
use crate::controllers::error::{Error, call};
use crate::controllers::uses::Uses;
use crate::crypto::{KeyId, KeyKind, MaterialId};
use crate::keys::{NotAllowed, UseError};
use crate::policy::{Basis, Principal};

/// The key that a secret names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeySeen {
    /// It can be used.
    Usable {
        /// Its id.
        id: KeyId,
        /// The generation that encrypts.
        material: MaterialId,
        /// UID of the secret's namespace, as the key knows it: a namespace of the same name may be another. `None` for a key of
        /// another namespace, whose policy has compared it.
        namespace_uid: Option<String>,
    },
    /// It is the default key and not made yet.
    DefaultMissing,
    /// It cannot be used.
    Problem(Reason, String),
}

/// The name of the key that a secret names, itself or by an alias; otherwise why there is none. An alias is asked of
/// the API server, so that no cache can lead to a key that it stood for before.
pub(super) async fn name_of_key(
    secret: &ManagedSecret,
    ctx: &Context,
) -> Result<Result<String, KeySeen>, Error> {
    let alias = match key_name(secret) {
        KeyName::Key(name) => return Ok(Ok(name.to_owned())),
        KeyName::Alias(alias) => alias,
    };
    let namespace = key_namespace(secret);
    let foreign = secret.namespace().as_deref() != Some(&namespace);
    if foreign && !ctx.scope.contains(&namespace) {
        return Ok(Err(foreign_key(secret)));
    }
    let aliases: Api<KeyAlias> = Api::namespaced(ctx.client.clone(), &namespace);
    let object = format!("KeyAlias {namespace}/{alias}");
    let found = call("get", &object, aliases.get_opt(alias)).await?;
    Ok(found.map(|alias| alias.spec.key_ref.name).ok_or_else(|| {
        if foreign {
            return foreign_key(secret);
        }
        KeySeen::Problem(Reason::KeyNotFound, format!("{object} does not exist"))
    }))
}

/// What is said of every key of another namespace that the secret must not use, be it there or not: nobody learns from it which
/// keys, aliases and statements another namespace has. The audit trail has the reason.
fn foreign_key(secret: &ManagedSecret) -> KeySeen {
    let (kind, name) = match key_name(secret) {
        KeyName::Key(name) => ("ManagedKey", name),
        KeyName::Alias(name) => ("KeyAlias", name),
    };
    let (namespace, user) = (key_namespace(secret), principal_of(secret));
    let default = if name == DEFAULT_KEY {
        format!(" ({})", Basis::DefaultKey)
    } else {
        String::new()
    };
    let message = format!(
        "{kind} {namespace}/{name} does not exist, or neither its policy nor a grant lets {} use it (GenerateDataKey and \
         Decrypt){default}; a namespace that was made anew inherits nothing. Whoever administers the key finds the reason in \
         the audit log",
        user.name()
    );
    KeySeen::Problem(Reason::KeyNotAllowed, message)
}

fn own_key(secret: &ManagedSecret, name: &str, reason: &NotAllowed) -> KeySeen {
    let (namespace, user) = (key_namespace(secret), principal_of(secret));
    let message = format!(
        "ManagedKey {namespace}/{name} must not be used by {}: {reason}",
        user.name()
    );
    KeySeen::Problem(Reason::KeyNotAllowed, message)
}

fn principal_of(secret: &ManagedSecret) -> Principal {
    let namespace = secret.namespace().unwrap_or_default();
    Principal::secret(&namespace, &secret.name_any(), None)
}

/// Finds the key of that name. `namespace_uid`: that of the secret's namespace.
pub(super) fn find_key(
    secret: &ManagedSecret,
    name: &str,
    namespace_uid: Option<&str>,
    uses: &Uses,
    ctx: &Context,
) -> KeySeen {
    let namespace = &key_namespace(secret);
    let foreign = secret.namespace().as_ref() != Some(namespace);
    let Some(key) = ctx.keyring.named(namespace, name).into_iter().next() else {
        if foreign {
            return foreign_key(secret);
        }
        if name == DEFAULT_KEY {
            return KeySeen::DefaultMissing;
        }
        let message = format!("ManagedKey {namespace}/{name} does not exist or is not ready yet");
        return KeySeen::Problem(Reason::KeyNotFound, message);
    };
    if let Err(reason) = user_of(secret, namespace_uid, ctx.now()).may_use(&key) {
        let refusal = if foreign {
            foreign_key(secret)
        } else {
            own_key(secret, name, &reason)
        };
        uses.refused(
            key.id,
            &UseError::NotAllowed {
                key: key.id,
                reason,
            },
        );
        return refusal;
    }
    if key.kind() != Some(KeyKind::Symmetric) {
        let spec = key.truth.spec.key_spec.as_str();
        let message = format!(
            "ManagedKey {namespace}/{name} is of keySpec {spec}, and secrets are kept under keys of SymmetricDefault only: \
             name such a key in spec.keyRef"
        );
        return KeySeen::Problem(Reason::KeyTypeMismatch, message);
    }
    match (key.state(), key.current()) {
        (KeyState::Enabled, Some(current)) => KeySeen::Usable {
            id: key.id,
            material: current.id,
            namespace_uid: (!foreign).then(|| key.truth.spec.namespace_uid.clone()),
        },
        (state @ KeyState::Disabled, _) => {
            uses.refused(key.id, &UseError::State { key: key.id, state });
            let message = format!("ManagedKey {namespace}/{name} is disabled");
            KeySeen::Problem(Reason::KeyDisabled, message)
        }
        (KeyState::PendingDeletion | KeyState::DestructionDue, _) if name == DEFAULT_KEY => {
            KeySeen::DefaultMissing
        }
        (state @ (KeyState::PendingDeletion | KeyState::DestructionDue), _) => {
            uses.refused(key.id, &UseError::State { key: key.id, state });
            let message = format!(
                "ManagedKey {namespace}/{name} was deleted, or its deletion is scheduled: apply it again, or, if it \
                 is there, look at its own condition"
            );
            KeySeen::Problem(Reason::KeyPendingDeletion, message)
        }
        (KeyState::PendingImport, _) => {
            let message =
                format!("ManagedKey {namespace}/{name} waits for its material: import it");
            KeySeen::Problem(Reason::KeyNotReady, message)
        }
        (KeyState::Creating | KeyState::Unavailable | KeyState::Enabled, _) => {
            let message = format!("the material of ManagedKey {namespace}/{name} cannot be opened");
            KeySeen::Problem(Reason::MaterialUnreadable, message)
        }
    }
}
