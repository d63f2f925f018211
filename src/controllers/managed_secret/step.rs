//! The effects that a plan can consist of, and why there may be none.

use std::sync::Arc;

use super::delivery::guard::Straggler;
use super::delivery::target::Target;
use super::sharing::export::ExportWrite;
use crate::api::managed_secret::Existing;
use crate::api::{Reason, SecretChange, SecretChangeStatus};
use crate::crypto::{ContextError, KeyId, MaterialId};
use crate::secrets::{Manifest, SecretValue};
use crate::truth::{Claim, Recovery, Stored};

/// One effect.
pub(crate) enum Step {
    /// Make the namespace's default key.
    CreateDefaultKey,
    /// Keep waiting truth under another name, since its place is taken by a fresh start.
    Archive(Box<Stored>),
    /// Write the truth.
    WriteTruth(Box<TruthWrite>),
    /// Answer a change that a call of the API asked for: after the truth, which tells that it is done, and before all that can fail.
    Answer(Box<Answer>),
    /// Delete a Secret that is only ours, in exactly the state that it was seen in.
    DeleteTarget(TargetState),
    /// Write the target.
    ApplyTarget(Box<TargetWrite>),
    /// Write what waits for replicas in other clusters.
    ApplyExport(Box<ExportWrite>),
    /// Take our keys out of a Secret that is not ours.
    ReleaseTarget(TargetState),
    /// Delete a pod that was made too early.
    DeletePod(Straggler),
    /// Delete a Secret that was imported.
    DeleteSource(TargetState),
}

impl Step {
    /// Whether it undoes what somebody else did to a Secret of ours.
    pub(crate) fn is_repair(&self) -> bool {
        match self {
            Self::ApplyTarget(write) => write.repair,
            Self::ApplyExport(write) => write.repair,
            Self::CreateDefaultKey
            | Self::Archive(_)
            | Self::WriteTruth(_)
            | Self::Answer(_)
            | Self::DeleteTarget(_)
            | Self::ReleaseTarget(_)
            | Self::DeletePod(_)
            | Self::DeleteSource(_) => false,
        }
    }
}

/// Truth to be written.
pub(crate) struct TruthWrite {
    /// The manifest to seal.
    pub(crate) manifest: Manifest,
    /// Values of versions that are not stored yet, by version id.
    pub(crate) fresh: Vec<(String, SecretValue)>,
    /// The key to seal under.
    pub(crate) key: KeyId,
    /// The generation of it that encrypts: what was sealed under another one is sealed anew.
    pub(crate) material: MaterialId,
    /// Who claims it.
    pub(crate) claim: Claim,
    /// What becomes of it when the resource is gone.
    pub(crate) recovery: Recovery,
    /// What is stored now, and what its manifest says.
    pub(crate) before: Option<(Stored, Manifest)>,
    /// The state to write over when the place is taken by truth that was put aside.
    pub(crate) over: Option<String>,
}

/// What a change is answered.
pub(crate) struct Answer {
    /// The change.
    pub(crate) change: Arc<SecretChange>,
    /// What came of it.
    pub(crate) status: SecretChangeStatus,
}

/// A Secret in the state that it was seen in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TargetState {
    /// Its name.
    pub(crate) name: String,
    /// Its UID.
    pub(crate) uid: String,
    /// Its resource version.
    pub(crate) resource_version: String,
}

impl TargetState {
    pub(super) fn of(target: &Target) -> Self {
        Self {
            name: target.name.clone(),
            uid: target.uid.clone(),
            resource_version: target.resource_version.clone(),
        }
    }
}

/// A target to be written.
pub(crate) struct TargetWrite {
    /// Its name.
    pub(crate) name: String,
    /// What a consumer shall get.
    pub(crate) content: SecretValue,
    /// Its type.
    pub(crate) type_: String,
    /// The key to seal entries under; `None` for plaintext.
    pub(crate) seal_under: Option<KeyId>,
    /// Whether its data shall never change.
    pub(crate) immutable: bool,
    /// How it came to us.
    pub(crate) existing: Existing,
    /// The state that it was seen in; `None` if there was no such Secret.
    pub(crate) over: Option<TargetState>,
    /// Whether it was as it should be until somebody else changed it.
    pub(crate) repair: bool,
    /// Whether all that is wrong with it is that old material encrypts it.
    pub(crate) reencryption: bool,
}

/// Why nothing is done.
pub(crate) struct Refusal(pub(crate) Reason, pub(crate) String);

/// A refusal of the user's pairs, alone or together with our own.
pub(super) fn context_refused(error: &ContextError) -> Refusal {
    Refusal(
        Reason::InvalidSpec,
        format!("spec.encryptionContext: {error}"),
    )
}

/// A refusal for what should not happen: the truth contradicts itself.
pub(super) fn internal(error: &dyn std::fmt::Display) -> Refusal {
    Refusal(Reason::TruthUnreadable, error.to_string())
}

/// An error with all its causes: those of this crate's domains never hold a value.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
