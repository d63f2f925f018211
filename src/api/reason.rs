//! Why something is so or is not: the reasons of conditions, of Events, and of metrics' labels.

/// Why a condition is as it is. Also the reason of Events and the label of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Nobody has looked at the object yet.
    Pending,
    /// The key can be used.
    Enabled,
    /// `spec.enabled` is false: the key refuses every use.
    Disabled,
    /// The key waits for its material to be imported: it refuses every use.
    PendingImport,
    /// The material to import is refused; the message says why, and what to do.
    ImportRefused,
    /// The deletion of the key is scheduled: it refuses every use, and can be cancelled.
    PendingDeletion,
    /// The date of the deletion has come: the key is destroyed at least a day later.
    DestructionDue,
    /// The date of the deletion has come, and stored secrets still need the key.
    DeletionBlocked,
    /// The material was destroyed.
    Destroyed,
    /// The key is being made.
    Creating,
    /// The alias stands for a key.
    Resolved,
    /// The grant is in force.
    Granted,
    /// The grant's time is over: it gives nothing.
    Expired,
    /// The key's policy does not let its creator make the grant, or nobody may grant this key.
    GrantNotAllowed,
    /// The namespace of the grantee does not exist.
    PrincipalNotFound,
    /// The key has as many grants as it can have.
    LimitExceeded,
    /// The secret is stored and delivered as asked.
    Synced,
    /// The spec asks for what cannot be; the message names the field and the remedy.
    InvalidSpec,
    /// Two sources give the same key.
    DuplicateKey,
    /// The value is larger than a version may be.
    ValueTooLarge,
    /// `spec.versionStages` names a version that is not kept. Everything else is as asked.
    VersionNotFound,
    /// A template cannot be rendered; the message names its key and line, never a value.
    TemplateFailed,
    /// The `ManagedKey` does not exist.
    KeyNotFound,
    /// The alias was pointed at a key of another spec or usage, or the secret names a key that is not symmetric.
    KeyTypeMismatch,
    /// The policy of the `ManagedKey` does not let the secret use it.
    KeyNotAllowed,
    /// The `ManagedKey` is disabled.
    KeyDisabled,
    /// The `ManagedKey` was deleted and its material waits.
    KeyPendingDeletion,
    /// The `ManagedKey` has no usable material (yet).
    KeyNotReady,
    /// An object says it has key material, and that material is not there.
    MaterialMissing,
    /// Key material cannot be opened with the root key that is loaded.
    MaterialUnreadable,
    /// A Secret to import does not exist, or lacks a key.
    ImportSourceMissing,
    /// A certificate authority of another secret is to sign, and cannot; the message says why. A certificate that it signed
    /// before stays.
    IssuerNotReady,
    /// The replica gets nothing from its source; the message says why. The value that it has stays.
    ReplicationFailed,
    /// The value cannot be put where the clusters of `spec.shareWith` find it; the message says why. Everything else is as asked.
    SharingFailed,
    /// A Secret of the target's name exists and is not ours.
    TargetExists,
    /// The target belongs to another `ManagedSecret`, or to another controller.
    TargetOwnedByOther,
    /// The target's type differs and it cannot be made anew.
    TargetTypeConflict,
    /// The target is plaintext, is to become sealed, and is still used; or too many former ones of an immutable one are.
    TargetInUse,
    /// A pod names the native Secret and was made before the secret, so that nothing was put into it.
    PodNotInjected,
    /// The target is immutable and its content would change.
    TargetImmutable,
    /// The API server refused the target; the message names the fields.
    TargetRefused,
    /// A value once existed and its ciphertext is gone. No new value is made.
    SourceLost,
    /// An entry of `spec.sealed` was sealed for another name, key or namespace, or with other pairs.
    SealedForAnotherPlace,
    /// An entry of `spec.sealed` was sealed for other installations only.
    SealedForAnotherInstallation,
    /// An entry of `spec.sealed` was sealed under a sealing key, or material of a key, that is not here.
    SealingKeyMissing,
    /// An entry of `spec.sealed` is malformed, or was altered.
    SealedUnreadable,
    /// A sealing key of the installation was made and is gone.
    SealingKeyLost,
    /// An administrator exported the private sealing keys.
    SealingKeysExported,
    /// An administrator had entries of `spec.sealed` sealed anew in the operator's pod.
    EntriesResealed,
    /// The stored ciphertext does not open: altered, moved, or of another secret.
    TruthUnreadable,
    /// The stored ciphertext is older than what was seen before.
    RollbackDetected,
    /// Truth of this name waits, from a namespace that was deleted; an administrator decides.
    AdoptionNeedsApproval,
    /// Resources are not allowed in the operator's own namespace.
    OperatorNamespace,
    /// Waiting for another step (said in the message); nothing is wrong.
    Waiting,
    /// The API server did not do what was asked of it; it is tried again.
    ApiError,
    /// The operator lacks a right; the message names it.
    Forbidden,
    /// The audit trail cannot be written, so that no key may be used.
    AuditUnavailable,
    /// A key was used, and refused that, while its deletion is pending (Event, and the condition of that name).
    UsedWhilePendingDeletion,
    /// Someone else's change of a delivered Secret was undone (Event only).
    DriftRepaired,
    /// The material of the key was imported (Event only).
    Imported,
    /// The resource is back and took over its waiting truth (Event only).
    Adopted,
    /// The key has a new generation of material, which encrypts from now on (Event only).
    Rotated,
    /// Old material that nothing needs was removed (Event only).
    Trimmed,
    /// The cluster may have been restored from a backup: nothing is rotated or destroyed for a day.
    RestoreSuspected,
    /// All key material is wrapped under another root key, or the old one is forgotten (Event only).
    RootRotated,
    /// The rotation of the root key waits for what the message says (Event only).
    RootRotationWaiting,
    /// Workloads are restarted, since what is delivered has changed.
    Restarting,
    /// Workloads wait to be restarted until a window of `spec.rollout.windows` opens.
    OutsideWindow,
    /// Workloads wait to be restarted, since `spec.rollout.paused` is true.
    Paused,
    /// Workloads that were restarted are not rolled out in time; no further ones are restarted.
    RolloutTimedOut,
    /// The API server refused to restart a workload.
    RestartRefused,
    /// A workload was restarted (Event only).
    Restarted,
    /// Values cannot be environment variables of pods; the message names their keys, and what is wrong with them.
    NotDeliverableByEnv,
    /// The schedule is obeyed; the message says when it rotates next.
    Scheduled,
    /// A rotation is under way; the message says how far it is.
    Rotating,
    /// A new value is made (Event only).
    CreateSecret,
    /// The other side was told of the new value (Event only).
    SetSecret,
    /// A value was tried on the other side (Event only).
    TestSecret,
    /// The new value becomes current (Event only).
    FinishSecret,
    /// A rotation was cancelled (Event only).
    RotationCancelled,
    /// An older schedule rotates the same secret.
    Conflict,
    /// The `ManagedSecret` does not exist.
    SecretNotFound,
    /// A step did not succeed; it is tried again.
    RotationFailed,
    /// A step is not possible as things are; the message says what somebody has to change.
    RotationRejected,
    /// Value after value was refused for what it is.
    ValueRefused,
    /// Somebody else changed what is rotated.
    OwnershipConflict,
    /// Pods are without the new value for longer than they should be.
    FinishStalled,
}

/// See [`Reason::leaves_delivery`].
pub(super) const LEAVE_DELIVERY: [Reason; 2] = [Reason::VersionNotFound, Reason::SharingFailed];

impl Reason {
    /// Whether `Ready=False` for this reason is a step on the way and nothing to worry about.
    pub fn is_progress(self) -> bool {
        matches!(
            self,
            Self::Pending | Self::Creating | Self::PendingImport | Self::Waiting
        )
    }

    /// Whether consumers of a secret that is not `Ready` for this reason have what they should all the same: a label on a version
    /// that is not kept changes nothing of that, nor does what other clusters get.
    pub fn leaves_delivery(self) -> bool {
        LEAVE_DELIVERY.contains(&self)
    }

    /// The name in `status.conditions[].reason`, in Events and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Enabled => "Enabled",
            Self::Disabled => "Disabled",
            Self::PendingImport => "PendingImport",
            Self::ImportRefused => "ImportRefused",
            Self::PendingDeletion => "PendingDeletion",
            Self::DestructionDue => "DestructionDue",
            Self::DeletionBlocked => "DeletionBlocked",
            Self::Destroyed => "Destroyed",
            Self::Creating => "Creating",
            Self::Resolved => "Resolved",
            Self::Granted => "Granted",
            Self::Expired => "Expired",
            Self::GrantNotAllowed => "GrantNotAllowed",
            Self::PrincipalNotFound => "PrincipalNotFound",
            Self::LimitExceeded => "LimitExceeded",
            Self::Synced => "Synced",
            Self::InvalidSpec => "InvalidSpec",
            Self::DuplicateKey => "DuplicateKey",
            Self::ValueTooLarge => "ValueTooLarge",
            Self::VersionNotFound => "VersionNotFound",
            Self::TemplateFailed => "TemplateFailed",
            Self::KeyNotFound => "KeyNotFound",
            Self::KeyTypeMismatch => "KeyTypeMismatch",
            Self::KeyNotAllowed => "KeyNotAllowed",
            Self::KeyDisabled => "KeyDisabled",
            Self::KeyPendingDeletion => "KeyPendingDeletion",
            Self::KeyNotReady => "KeyNotReady",
            Self::MaterialMissing => "MaterialMissing",
            Self::MaterialUnreadable => "MaterialUnreadable",
            Self::ImportSourceMissing => "ImportSourceMissing",
            Self::IssuerNotReady => "IssuerNotReady",
            Self::ReplicationFailed => "ReplicationFailed",
            Self::SharingFailed => "SharingFailed",
            Self::TargetExists => "TargetExists",
            Self::TargetOwnedByOther => "TargetOwnedByOther",
            Self::TargetTypeConflict => "TargetTypeConflict",
            Self::TargetInUse => "TargetInUse",
            Self::PodNotInjected => "PodNotInjected",
            Self::TargetImmutable => "TargetImmutable",
            Self::TargetRefused => "TargetRefused",
            Self::SourceLost => "SourceLost",
            Self::SealedForAnotherPlace => "SealedForAnotherPlace",
            Self::SealedForAnotherInstallation => "SealedForAnotherInstallation",
            Self::SealingKeyMissing => "SealingKeyMissing",
            Self::SealedUnreadable => "SealedUnreadable",
            Self::SealingKeyLost => "SealingKeyLost",
            Self::SealingKeysExported => "SealingKeysExported",
            Self::EntriesResealed => "EntriesResealed",
            Self::TruthUnreadable => "TruthUnreadable",
            Self::RollbackDetected => "RollbackDetected",
            Self::AdoptionNeedsApproval => "AdoptionNeedsApproval",
            Self::OperatorNamespace => "OperatorNamespace",
            Self::Waiting => "Waiting",
            Self::ApiError => "ApiError",
            Self::Forbidden => "Forbidden",
            Self::AuditUnavailable => "AuditUnavailable",
            Self::UsedWhilePendingDeletion => "UsedWhilePendingDeletion",
            Self::DriftRepaired => "DriftRepaired",
            Self::Imported => "Imported",
            Self::Adopted => "Adopted",
            Self::Rotated => "Rotated",
            Self::Trimmed => "Trimmed",
            Self::RestoreSuspected => "RestoreSuspected",
            Self::RootRotated => "RootRotated",
            Self::RootRotationWaiting => "RootRotationWaiting",
            Self::Restarting => "Restarting",
            Self::OutsideWindow => "OutsideWindow",
            Self::Paused => "Paused",
            Self::RolloutTimedOut => "RolloutTimedOut",
            Self::RestartRefused => "RestartRefused",
            Self::Restarted => "Restarted",
            Self::NotDeliverableByEnv => "NotDeliverableByEnv",
            Self::Scheduled => "Scheduled",
            Self::Rotating => "Rotating",
            Self::CreateSecret => "CreateSecret",
            Self::SetSecret => "SetSecret",
            Self::TestSecret => "TestSecret",
            Self::FinishSecret => "FinishSecret",
            Self::RotationCancelled => "RotationCancelled",
            Self::Conflict => "Conflict",
            Self::SecretNotFound => "SecretNotFound",
            Self::RotationFailed => "RotationFailed",
            Self::RotationRejected => "RotationRejected",
            Self::ValueRefused => "ValueRefused",
            Self::OwnershipConflict => "OwnershipConflict",
            Self::FinishStalled => "FinishStalled",
        }
    }
}
