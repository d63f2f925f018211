//! The key that a secret names, as the keyring has it.

use kube::{Api, ResourceExt};

use super::spec::{KeyName, key_name};
use crate::api::names::DEFAULT_KEY;
use crate::api::{KeyAlias, KeyState, ManagedSecret, Reason};
use crate::controllers::context::Context;
use crate::controllers::error::{Error, call};
use crate::controllers::uses::Uses;
use crate::crypto::{KeyId, KeyKind, MaterialId};

/// The key that a secret names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeySeen {
    /// It can be used.
    Usable {
        /// Its id.
        id: KeyId,
        /// The generation that encrypts.
        material: MaterialId,
        /// UID of the namespace that it belongs to: a namespace of the same name may be another.
        namespace_uid: String,
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
    let namespace = secret.namespace().unwrap_or_default();
    let aliases: Api<KeyAlias> = Api::namespaced(ctx.client.clone(), &namespace);
    let object = format!("KeyAlias {namespace}/{alias}");
    let found = call("get", &object, aliases.get_opt(alias)).await?;
    Ok(found
        .map(|alias| alias.spec.key_ref.name)
        .ok_or_else(|| KeySeen::Problem(Reason::KeyNotFound, format!("{object} does not exist"))))
}

/// Finds the key of that name.
pub(super) fn find_key(namespace: &str, name: &str, uses: &Uses, ctx: &Context) -> KeySeen {
    let Some(key) = ctx.keyring.named(namespace, name).into_iter().next() else {
        if name == DEFAULT_KEY {
            return KeySeen::DefaultMissing;
        }
        let message = format!("ManagedKey {namespace}/{name} does not exist or is not ready yet");
        return KeySeen::Problem(Reason::KeyNotFound, message);
    };
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
            namespace_uid: key.truth.spec.namespace_uid.clone(),
        },
        (state @ KeyState::Disabled, _) => {
            uses.refused(key.id, state);
            let message = format!("ManagedKey {namespace}/{name} is disabled");
            KeySeen::Problem(Reason::KeyDisabled, message)
        }
        (KeyState::PendingDeletion | KeyState::DestructionDue, _) if name == DEFAULT_KEY => {
            KeySeen::DefaultMissing
        }
        (state @ (KeyState::PendingDeletion | KeyState::DestructionDue), _) => {
            uses.refused(key.id, state);
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
