//! The values that labels of metrics can have. Enums only: a label of free text can grow without
//! bound, and may carry what nobody should see.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

use crate::api::managed_secret::{ReplicationState, WorkloadKind};

/// Makes an enum a label value by its `as_str`.
macro_rules! label_value {
    ($type:ty) => {
        impl EncodeLabelValue for $type {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
                self.as_str().encode(encoder)
            }
        }
    };
}

/// A kind of resource that is reconciled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `ManagedKey`.
    ManagedKey,
    /// `KeyAlias`.
    KeyAlias,
    /// `KeyGrant`.
    KeyGrant,
    /// `ManagedSecret`.
    ManagedSecret,
    /// `RotationSchedule`.
    RotationSchedule,
    /// `KeyMaterial`.
    KeyMaterial,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::ManagedKey => "ManagedKey",
            Self::KeyAlias => "KeyAlias",
            Self::KeyGrant => "KeyGrant",
            Self::ManagedSecret => "ManagedSecret",
            Self::RotationSchedule => "RotationSchedule",
            Self::KeyMaterial => "KeyMaterial",
        }
    }
}

/// How a reconciliation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Everything is as the spec asks.
    Success,
    /// Something else has to happen first.
    Waiting,
    /// Another writer was faster.
    Conflict,
    /// A later try may succeed.
    Transient,
    /// Only a change of the resource helps.
    Permanent,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Waiting => "waiting",
            Self::Conflict => "conflict",
            Self::Transient => "transient",
            Self::Permanent => "permanent",
        }
    }
}

/// The status of the condition `Ready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadyStatus {
    /// What the spec asks for is so.
    True,
    /// It is not.
    False,
    /// Nobody has looked yet.
    Unknown,
}

impl ReadyStatus {
    fn as_str(self) -> &'static str {
        match self {
            Self::True => "true",
            Self::False => "false",
            Self::Unknown => "unknown",
        }
    }
}

/// An object of the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Truth {
    /// A `KeyMaterial` resource.
    KeyMaterial,
    /// A sealed Secret.
    SealedSecret,
    /// The installation record.
    Installation,
    /// The embedded root key.
    RootKey,
}

impl Truth {
    fn as_str(self) -> &'static str {
        match self {
            Self::KeyMaterial => "KeyMaterial",
            Self::SealedSecret => "SealedSecret",
            Self::Installation => "Installation",
            Self::RootKey => "RootKey",
        }
    }
}

/// A form of target that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// Ciphertext.
    Sealed,
    /// The rendered plaintext.
    Plain,
}

impl Delivery {
    fn as_str(self) -> &'static str {
        match self {
            Self::Sealed => "Sealed",
            Self::Plain => "Plain",
        }
    }
}

label_value!(ReplicationState);
label_value!(WorkloadKind);
label_value!(Kind);
label_value!(Outcome);
label_value!(ReadyStatus);
label_value!(Truth);
label_value!(Delivery);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct BuildLabels {
    pub(super) version: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct KindLabels {
    pub(super) kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReconcileLabels {
    pub(super) kind: Kind,
    pub(super) result: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ObjectLabels {
    pub(super) kind: Kind,
    pub(super) ready: ReadyStatus,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TruthLabels {
    pub(super) kind: Truth,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReplicationLabels {
    pub(super) status: ReplicationState,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RestartLabels {
    pub(super) kind: WorkloadKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DeliveryLabels {
    pub(super) form: Delivery,
}
