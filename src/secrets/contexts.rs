//! What the envelopes of a secret's truth are bound to.

use super::{VersionId, VersionRecord};
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

/// The context of what a call of the API puts as a version of that secret. The user's pairs are no part of it: which ones the version
/// gets is decided when it is made.
pub fn change_context(
    namespace: &str,
    name: &str,
    version: &VersionId,
) -> Result<EncryptionContext, ContextError> {
    Purpose::Change {
        namespace,
        secret: name,
        version: version.as_str(),
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
