//! What the envelopes of a secret's truth are bound to.

use super::VersionRecord;
use crate::crypto::{ContextError, EncryptionContext, Purpose};

/// The context of the manifest of that secret. The user's pairs are not part of it: the manifest itself says
/// which pairs each version was sealed with.
pub fn manifest_context(namespace: &str, name: &str) -> Result<EncryptionContext, ContextError> {
    Purpose::Manifest {
        namespace,
        secret: name,
    }
    .context(&EncryptionContext::empty())
}

/// The context of one version of that secret.
pub fn version_context(
    namespace: &str,
    name: &str,
    version: &VersionRecord,
) -> Result<EncryptionContext, ContextError> {
    let user = EncryptionContext::user(version.context.clone())?;
    Purpose::Value {
        namespace,
        secret: name,
        version: version.id.as_str(),
    }
    .context(&user)
}
