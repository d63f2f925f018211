//! What a secret's spec says, with its defaults.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::api::ManagedSecret;
use crate::api::managed_secret::{Form, KeyRef, KeyRefKind};
use crate::api::names::{ANNOTATION_FORCE_DELETE, DEFAULT_KEY};
use crate::crypto::{ContextError, EncryptionContext};
use crate::keys::SecretUser;
use crate::truth::Recovery;

/// What a secret names its key by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyName<'a> {
    /// The key's own name.
    Key(&'a str),
    /// The name of an alias.
    Alias(&'a str),
}

/// What a secret names its key by.
pub(super) fn key_name(secret: &ManagedSecret) -> KeyName<'_> {
    match &secret.spec.key_ref {
        None => KeyName::Key(DEFAULT_KEY),
        Some(KeyRef { kind, name, .. }) => match kind.unwrap_or_default() {
            KeyRefKind::ManagedKey => KeyName::Key(name),
            KeyRefKind::KeyAlias => KeyName::Alias(name),
        },
    }
}

/// The namespace of what a secret names its key by.
pub(super) fn key_namespace(secret: &ManagedSecret) -> String {
    let said = secret
        .spec
        .key_ref
        .as_ref()
        .and_then(|key| key.namespace.clone());
    said.or_else(|| secret.namespace()).unwrap_or_default()
}

/// The secret as a user of keys. `namespace_uid`: that which its namespace has.
pub(crate) fn user_of(
    secret: &ManagedSecret,
    namespace_uid: Option<&str>,
    now: Timestamp,
) -> SecretUser {
    SecretUser {
        namespace: secret.namespace().unwrap_or_default(),
        name: secret.name_any(),
        namespace_uid: namespace_uid.map(str::to_owned),
        pairs: secret.spec.encryption_context.clone(),
        now,
    }
}

/// The form that a secret is delivered in.
pub(super) fn form(secret: &ManagedSecret) -> Form {
    secret
        .spec
        .target
        .as_ref()
        .and_then(|target| target.form)
        .unwrap_or_default()
}

/// Whether each content is delivered in a Secret of its own.
pub(super) fn is_immutable(secret: &ManagedSecret) -> bool {
    let target = secret.spec.target.as_ref();
    target.and_then(|target| target.immutable).unwrap_or(false) && form(secret) == Form::Plain
}

/// What the names of the Secrets that a secret is delivered in are or begin with, if it is delivered.
pub(super) fn target_base(secret: &ManagedSecret) -> Option<String> {
    let name = secret
        .spec
        .target
        .as_ref()
        .and_then(|target| target.name.clone());
    (form(secret) != Form::None).then(|| name.unwrap_or_else(|| secret.name_any()))
}

/// Name of the Secret that a secret is delivered in, if it is in one and the same.
pub(super) fn target_name(secret: &ManagedSecret) -> Option<String> {
    target_base(secret).filter(|_| !is_immutable(secret))
}

/// What becomes of the truth about a secret when it is deleted. A mark that names another resource, as one that was left in
/// Git does, forces nothing.
pub(super) fn recovery(secret: &ManagedSecret) -> Recovery {
    let forced = secret.annotations().get(ANNOTATION_FORCE_DELETE);
    Recovery {
        window_days: secret.spec.recovery_window_days,
        forced: forced
            .filter(|uid| Some(*uid) == secret.uid().as_ref())
            .cloned(),
    }
}

/// The user's pairs of the encryption context.
pub(super) fn user_context(secret: &ManagedSecret) -> Result<EncryptionContext, ContextError> {
    let pairs = secret
        .spec
        .encryption_context
        .iter()
        .map(|(k, v)| (k.clone(), v.clone()));
    EncryptionContext::user(pairs)
}
