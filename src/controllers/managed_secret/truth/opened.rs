//! The truth about a secret, opened.

use crate::api::Reason;
use crate::controllers::uses::KeyAccess;
use crate::crypto::{EncryptionContext, MaterialId, SecretBytes};
use crate::keys::UseError;
use crate::secrets::{Manifest, SecretValue, VersionRecord, manifest_context, version_context};
use crate::truth::{Materials, Needs, Stored};

/// What is known about a secret.
pub(crate) enum TruthSeen {
    /// Nothing.
    Absent,
    /// This.
    Present(Box<Truth>),
    /// Something that does not open.
    Unreadable {
        /// What is stored.
        stored: Option<Box<Stored>>,
        /// Why it does not open.
        reason: Reason,
        /// In words.
        message: String,
    },
}

/// The truth, opened.
pub(crate) struct Truth {
    /// As stored.
    pub(crate) stored: Stored,
    /// What the versions are.
    pub(crate) manifest: Manifest,
    /// The value of the current version.
    pub(crate) current: SecretValue,
    /// The material that the envelopes need, by their own headers.
    pub(crate) needs: Needs,
}

impl Truth {
    /// Whether it has to be written although it says what it should: an envelope needs other material than that which
    /// encrypts now, or what is written beside the envelopes for counting is not so. `entries`: what those of `spec.sealed` need.
    pub(crate) fn is_stale(&self, current: MaterialId, entries: &Materials) -> bool {
        let old = |material: &MaterialId| *material != current;
        let told =
            self.stored.needs.as_ref() == Some(&self.needs) && self.stored.entries == *entries;
        self.needs.key.is_some() && (!told || self.needs.materials.iter().any(old))
    }
}

impl TruthSeen {
    /// The truth, if it could be opened.
    pub(crate) fn opened(&self) -> Option<&Truth> {
        match self {
            Self::Present(truth) => Some(truth),
            Self::Absent | Self::Unreadable { .. } => None,
        }
    }

    /// The manifest, if it could be opened.
    pub(crate) fn manifest(&self) -> Option<&Manifest> {
        self.opened().map(|truth| &truth.manifest)
    }
}

/// Opens what is stored. Every context is computed from where it was found; the envelopes' own words count
/// for nothing.
pub(crate) fn open(stored: Option<Result<Stored, String>>, access: &KeyAccess<'_>) -> TruthSeen {
    match stored {
        None => TruthSeen::Absent,
        Some(Err(problem)) => TruthSeen::Unreadable {
            stored: None,
            reason: Reason::TruthUnreadable,
            message: format!("the stored secret was not written by the operator: {problem}"),
        },
        Some(Ok(stored)) => match open_stored(&stored, access) {
            Ok((manifest, current)) => TruthSeen::Present(Box::new(Truth {
                needs: stored.needed(),
                stored,
                manifest,
                current,
            })),
            Err((reason, message)) => TruthSeen::Unreadable {
                stored: Some(Box::new(stored)),
                reason,
                message,
            },
        },
    }
}

/// Opens the manifest, and the value of the current version.
pub(crate) fn open_stored(
    stored: &Stored,
    access: &KeyAccess<'_>,
) -> Result<(Manifest, SecretValue), (Reason, String)> {
    let manifest = open_manifest(stored, access)?;
    let current = manifest.current().ok_or_else(|| {
        let problem = "no version is current".to_owned();
        (Reason::TruthUnreadable, problem)
    })?;
    let value = read_version(stored, current, access)?;
    Ok((manifest, value))
}

/// Opens the manifest.
pub(crate) fn open_manifest(
    stored: &Stored,
    access: &KeyAccess<'_>,
) -> Result<Manifest, (Reason, String)> {
    let (namespace, name) = (&stored.namespace, &stored.name);
    let unreadable = |what: String| (Reason::TruthUnreadable, what);
    let context = manifest_context(namespace, name)
        .map_err(|error| unreadable(format!("the manifest's context: {error}")))?;
    let json = unseal(&stored.manifest, &context, "the manifest", access)?;
    Manifest::from_json(json.expose()).map_err(|error| unreadable(format!("the manifest: {error}")))
}

/// Opens one version.
pub(crate) fn read_version(
    stored: &Stored,
    version: &VersionRecord,
    access: &KeyAccess<'_>,
) -> Result<SecretValue, (Reason, String)> {
    let what = format!("version {}", version.id);
    let unreadable = |problem: String| (Reason::TruthUnreadable, format!("{what}: {problem}"));
    let envelope = stored.versions.get(version.id.as_str()).ok_or_else(|| {
        (
            Reason::SourceLost,
            format!("the ciphertext of {what} is gone; restore it from a backup"),
        )
    })?;
    let context = version_context(&stored.namespace, &stored.name, version)
        .map_err(|error| unreadable(error.to_string()))?;
    let bytes = unseal(envelope, &context, &what, access)?;
    SecretValue::decode(bytes.expose()).map_err(|error| unreadable(error.to_string()))
}

fn unseal(
    envelope: &[u8],
    context: &EncryptionContext,
    what: &str,
    access: &KeyAccess<'_>,
) -> Result<SecretBytes, (Reason, String)> {
    access.open(envelope, context).map_err(|error| {
        let reason = match &error {
            UseError::State {
                state: crate::api::KeyState::Disabled,
                ..
            } => Reason::KeyDisabled,
            UseError::State {
                state: crate::api::KeyState::PendingDeletion | crate::api::KeyState::DestructionDue,
                ..
            } => Reason::KeyPendingDeletion,
            UseError::State {
                state: crate::api::KeyState::PendingImport,
                ..
            } => Reason::KeyNotReady,
            UseError::State { .. } => Reason::MaterialUnreadable,
            // Only a server's keyring says so, never the controller's.
            UseError::Stale(_) => Reason::Waiting,
            UseError::NotFound { .. } | UseError::MaterialMissing { .. } => Reason::MaterialMissing,
            UseError::NotAllowed { .. } => Reason::KeyNotAllowed,
            UseError::Open(_) | UseError::Seal(_) => Reason::TruthUnreadable,
        };
        // Why a key must not be used is nobody's to know who must not use it.
        let problem = match &error {
            UseError::NotAllowed { key, .. } => {
                format!("key {key} must not be used for it; the audit log says why")
            }
            error => error.to_string(),
        };
        let place = context_place(context);
        (
            reason,
            format!("{what} does not open: {problem} (expected {place})"),
        )
    })
}

/// The place that a context names, for messages.
fn context_place(context: &EncryptionContext) -> String {
    let part = |key| context.get(key).unwrap_or("?");
    format!("{}/{}", part("keystead:namespace"), part("keystead:secret"))
}
