//! `RotationSchedule`: when and how the value of a secret is replaced; the counterpart of the rotation rules and the rotation
//! function of AWS Secrets Manager.

mod status;
mod strategy;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::status::{
    CheckResult, PastRotation, RotationCheck, RotationScheduleStatus, RunningRotation,
};
pub use self::strategy::{
    CronJobReference, DatabaseRotation, DatabaseUsers, JobRotation, JobTemplateSource, Regenerate,
    RotationStrategy, Strategy, WebhookRotation,
};
use super::schema::OBJECT_NAME;

/// Most rotations that a status lists.
pub const MAX_LISTED_ROTATIONS: usize = 10;
/// Most runs to come that a status lists.
pub const MAX_NEXT_RUNS: usize = 3;

/// What a duration looks like: hours, minutes, seconds, or some of them.
const DURATION: &str = r"^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$";

/// Replaces the value of a `ManagedSecret` of the same namespace, on a schedule and when asked, by the four steps
/// `CreateSecret`, `SetSecret`, `TestSecret` and `FinishSecret`. Annotation `keystead.dev/rotate` with a new value rotates once, now.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "keystead.dev",
    version = "v1alpha1",
    kind = "RotationSchedule",
    plural = "rotationschedules",
    namespaced,
    status = "RotationScheduleStatus",
    shortname = "rsched",
    category = "keystead",
    doc = "When and how the value of a ManagedSecret is replaced: the counterpart of the rotation rules and the rotation function of AWS Secrets Manager.",
    printcolumn(name = "Secret", type_ = "string", json_path = ".spec.secretRef.name"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Step", type_ = "string", json_path = ".status.running.step"),
    printcolumn(name = "Last", type_ = "date", json_path = ".status.lastRotationTime"),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.nextRotationTime"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.spec.secretRef == oldSelf.spec.secretRef")
        .message("secretRef is immutable: make another RotationSchedule")
        .field_path(".spec.secretRef")
)]
#[serde(rename_all = "camelCase")]
pub struct RotationScheduleSpec {
    /// The secret whose value is replaced. One schedule is obeyed for each secret: the oldest.
    pub secret_ref: RotatedSecret,

    /// When it is replaced; without it, only when asked by annotation `keystead.dev/rotate`. A secret that a schedule is first made
    /// for counts as just rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<RotationTimes>,

    /// How late a rotation may begin, from 1m to 168h, as `3h`. What was missed by more waits for the next time. Without it, what was
    /// missed is made up for once, as soon as possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 21), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m') && duration(self) <= duration('168h')")
        .message("must be from 1m to 168h"))]
    pub window: Option<String>,

    /// By how much the beginning is put off at most, from 0s to 24h; by how much is fixed for each schedule. Default `5m`, and never
    /// more than half of the window. It keeps schedules of the same time from running all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 21), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) <= duration('24h')").message("must be from 0s to 24h"))]
    pub jitter: Option<String>,

    /// How: exactly one of its fields.
    pub strategy: RotationStrategy,

    /// What is waited for after the new value is current, before the one before stops to work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<RotationFinish>,

    /// While true, no rotation begins on schedule; one by annotation does, and one that has begun goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// A `ManagedSecret` of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RotatedSecret {
    /// Name of the `ManagedSecret`.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = OBJECT_NAME)
    )]
    pub name: String,
}

/// When a secret is rotated.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.every) != has(self.cron)").message("exactly one of every and cron says when"),
    validation = Rule::new("!has(self.timeZone) || has(self.cron)")
        .message("timeZone is that of cron: every counts from the last rotation")
        .field_path(".timeZone")
)]
pub struct RotationTimes {
    /// How long after the last rotation, from 1h to 87600h, as `720h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 21), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1h') && duration(self) <= duration('87600h')")
        .message("must be from 1h to 87600h"))]
    pub every: Option<String>,

    /// The times of a crontab line: minute, hour, day of month, month, day of week, as `30 2 * * 1`. They must be at least an hour
    /// apart. A local time that a clock skips counts as the one after the gap, and one that comes twice as the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 9, max = 128),
        regex(pattern = r"^[0-9A-Za-z*/,#?LW-]+( +[0-9A-Za-z*/,#?LW-]+){4}$")
    )]
    pub cron: Option<String>,

    /// The time zone of `cron`, by its name in the IANA database, as `Europe/Berlin`; default `UTC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_+/-]+$"))]
    pub time_zone: Option<String>,
}

/// What is waited for after the new value is current.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RotationFinish {
    /// Whether every pod that gets the secret must have the new value; default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_for_consumers: Option<bool>,

    /// How long the value before goes on to work after that, from 0s to 168h; default `0s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 21), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) <= duration('168h')").message("must be from 0s to 168h"))]
    pub grace_period: Option<String>,

    /// How long pods are waited for, from 1m to 168h; default `1h`. When it is over, the new value stays current, the one before goes
    /// on to work, and condition `FinishStalled` says which pods are without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 21), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m') && duration(self) <= duration('168h')")
        .message("must be from 1m to 168h"))]
    pub timeout: Option<String>,
}

/// A step of a rotation, in the words of AWS Secrets Manager.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum RotationStep {
    /// A new value is made and stored as `Pending`.
    CreateSecret,
    /// The other side is told of it.
    SetSecret,
    /// It is tried there.
    TestSecret,
    /// It is made current, and its consumers are waited for.
    FinishSecret,
}

impl RotationStep {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CreateSecret => "CreateSecret",
            Self::SetSecret => "SetSecret",
            Self::TestSecret => "TestSecret",
            Self::FinishSecret => "FinishSecret",
        }
    }
}
