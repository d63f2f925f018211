//! What a secret's spec says, with its defaults.

use kube::ResourceExt;

use crate::api::ManagedSecret;
use crate::api::managed_secret::{Form, KeyRef};
use crate::api::names::DEFAULT_KEY;
use crate::crypto::{ContextError, EncryptionContext};

/// Name of the key that a secret is encrypted under.
pub(super) fn key_name(secret: &ManagedSecret) -> &str {
    secret
        .spec
        .key_ref
        .as_ref()
        .map_or(DEFAULT_KEY, |KeyRef { name }| name)
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

/// Name of the Secret that a secret is delivered in, if it is.
pub(super) fn target_name(secret: &ManagedSecret) -> Option<String> {
    let name = secret
        .spec
        .target
        .as_ref()
        .and_then(|target| target.name.clone());
    (form(secret) != Form::None).then(|| name.unwrap_or_else(|| secret.name_any()))
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
