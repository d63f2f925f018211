//! What users and the operator say to each other through the Kubernetes API: resource types, condition
//! reasons, names of labels and annotations. Types and schemas only; nothing here does I/O.

// The derive for schemas repeats each struct inside a function, where `pub` reaches nobody.
#![allow(unreachable_pub)]

pub mod condition;
pub mod crds;
pub mod key_alias;
pub mod key_grant;
pub mod key_import;
pub mod key_material;
pub mod key_policy;
pub(crate) mod loaded;
pub mod managed_key;
pub mod managed_secret;
pub mod names;
mod reason;
pub mod rotation_schedule;
mod schema;
pub mod secret_change;
pub mod secret_policy;
pub(crate) mod time;
pub(crate) mod tokens;
pub mod volume;

pub use condition::ConditionType;
pub use key_alias::{KeyAlias, KeyAliasSpec, KeyAliasStatus};
pub use key_grant::{GrantConstraints, GrantOperation, KeyGrant, KeyGrantSpec, KeyGrantStatus};
pub use key_material::{
    DeletionRecord, DueRecord, GrantRecord, InternalUse, KeyMaterial, KeyMaterialSpec,
    MaterialGeneration, NamespaceRecord, PolicyRecord, RotationRecord,
};
pub use key_policy::{
    Effect, KeyPolicy, PolicyStatement, Principals, ServiceAccountName, StatementConditions, Via,
};
pub use managed_key::{
    KeyDeletion, KeyDependents, KeyOrigin, KeyRotation, KeySpec, KeyState, KeyUsage, ManagedKey,
    ManagedKeySpec, ManagedKeyStatus,
};
pub use managed_secret::{ManagedSecret, ManagedSecretSpec, ManagedSecretStatus};
pub use reason::Reason;
pub use rotation_schedule::{
    DatabaseUsers, RotationSchedule, RotationScheduleSpec, RotationScheduleStatus, RotationStep,
    RotationTimes,
};
pub use secret_change::{
    ChangeError, ChangedStage, MoveStage, PutVersion, SecretChange, SecretChangeSpec,
    SecretChangeStatus,
};
pub use secret_policy::{Consumers, SecretPolicy, SecretStatement};
pub use volume::{FileMode, VolumeError, VolumeItem, VolumeRequest, VolumeSource, VolumeStage};
