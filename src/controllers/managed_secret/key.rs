//! The key that a secret names, as the keyring has it.

use crate::api::names::DEFAULT_KEY;
use crate::api::{KeyState, Reason};
use crate::controllers::context::Context;
use crate::crypto::KeyId;

/// The key that a secret names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeySeen {
    /// It can be used.
    Usable {
        /// Its id.
        id: KeyId,
        /// UID of the namespace that it belongs to: a namespace of the same name may be another.
        namespace_uid: String,
    },
    /// It is the default key and not made yet.
    DefaultMissing,
    /// It cannot be used.
    Problem(Reason, String),
}

/// Finds it.
pub(super) fn find_key(namespace: &str, name: &str, ctx: &Context) -> KeySeen {
    let Some(key) = ctx.keyring.named(namespace, name).into_iter().next() else {
        if name == DEFAULT_KEY {
            return KeySeen::DefaultMissing;
        }
        let message = format!("ManagedKey {namespace}/{name} does not exist or is not ready yet");
        return KeySeen::Problem(Reason::KeyNotFound, message);
    };
    match key.state() {
        KeyState::Enabled => KeySeen::Usable {
            id: key.id,
            namespace_uid: key.truth.spec.namespace_uid.clone(),
        },
        KeyState::Disabled => KeySeen::Problem(
            Reason::KeyDisabled,
            format!("ManagedKey {namespace}/{name} is disabled"),
        ),
        KeyState::PendingDeletion if name == DEFAULT_KEY => KeySeen::DefaultMissing,
        KeyState::PendingDeletion => {
            let message = format!(
                "ManagedKey {namespace}/{name} was deleted and its material waits: apply it again, or, if it \
                 is there, look at its own condition"
            );
            KeySeen::Problem(Reason::KeyPendingDeletion, message)
        }
        KeyState::Creating | KeyState::Unavailable => {
            let message = format!("the material of ManagedKey {namespace}/{name} cannot be opened");
            KeySeen::Problem(Reason::MaterialUnreadable, message)
        }
    }
}
