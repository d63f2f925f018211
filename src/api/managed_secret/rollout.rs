//! Restarts: which workloads are restarted when what they are delivered changes, and when.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::schema::OBJECT_NAME;

/// Which workloads are restarted, and when. Once for each change of what is delivered; not when it is encrypted anew, and
/// not when this field is added.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "has(self.auto) && self.auto != (has(self.targets) && size(self.targets) > 0) || !has(self.auto) && has(self.targets) && size(self.targets) > 0"
).message("exactly one of auto: true and targets says what is restarted"))]
pub struct RolloutSpec {
    /// Whether all workloads of the namespace are restarted whose pods use the delivered Secret, or this secret by a volume
    /// of the driver `secrets.keystead.dev`: Deployments, then Rollouts of Argo, `DaemonSets` and `StatefulSets`, each by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto: Option<bool>,
    /// The workloads that are restarted, in this order. At most 24.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 24), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["kind", "name"]))]
    pub targets: Vec<RolloutTarget>,
    /// How many are restarted at a time; default all at once, without waiting for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<RolloutBatch>,
    /// When restarts may begin; default at any time. At most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub windows: Vec<RolloutWindow>,
    /// While true, no restart begins; those that are due wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

/// A workload to restart.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RolloutTarget {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = OBJECT_NAME)
    )]
    pub name: String,
}

/// A kind of workload that can be restarted. In the order in which they are.
#[derive(
    Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash,
)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum WorkloadKind {
    /// A Deployment.
    Deployment,
    /// A Rollout of Argo (`argoproj.io/v1alpha1`).
    Rollout,
    /// A `DaemonSet`.
    DaemonSet,
    /// A `StatefulSet`: last, since what stores data is what the others need.
    StatefulSet,
}

impl WorkloadKind {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [
        Self::Deployment,
        Self::Rollout,
        Self::DaemonSet,
        Self::StatefulSet,
    ];

    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::Rollout => "Rollout",
            Self::DaemonSet => "DaemonSet",
            Self::StatefulSet => "StatefulSet",
        }
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many workloads are restarted at a time, and what is waited for.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RolloutBatch {
    /// How many at a time, 1 to 100; default all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub size: Option<u32>,
    /// Whether those that were restarted must be rolled out before the next ones are; default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_for_ready: Option<bool>,
    /// How long they may take, from 1m to 24h, as `1h30m`; default `10m`. When it is over, no further ones are restarted until
    /// they are rolled out: what cannot start with the new value must not be everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 8), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m') && duration(self) <= duration('24h')")
        .message("must be from 1m to 24h"))]
    pub timeout: Option<String>,
}

/// What a duration looks like: hours, minutes, or both.
const DURATION: &str = r"^([0-9]{1,3}h)?([0-9]{1,4}m)?$";

/// A time of the week in which restarts may begin.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RolloutWindow {
    /// The days on which it opens; default every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7), extend("x-kubernetes-list-type" = "set"))]
    pub days: Vec<Day>,
    /// When it opens, as `22:30`. A time that a clock skips counts as the one after the gap, and one that comes twice as the
    /// first.
    #[schemars(
        length(min = 5, max = 5),
        regex(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$")
    )]
    pub start: String,
    /// How long it is open, from 1m to 24h, as `1h30m`.
    #[schemars(length(min = 2, max = 8), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m') && duration(self) <= duration('24h')")
        .message("must be from 1m to 24h"))]
    pub duration: String,
    /// The time zone of `start`, by its name in the IANA database, as `Europe/Berlin`; default `UTC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_+/-]+$"))]
    pub time_zone: Option<String>,
}

/// A day of the week.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

/// The restarts for the last change of what is delivered.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// The version that the workloads are, or were, restarted for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Those that wait to be restarted, in order. At most 100; there may be more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<RolloutTarget>,
    /// How many were restarted for that version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarted: Option<u32>,
    /// When the last of them was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_restart_time: Option<Time>,
    /// Those that could not be restarted, or are not rolled out in time. At most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<RolloutFailure>,
}

/// A workload that could not be restarted, or is not rolled out in time.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RolloutFailure {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: String,
    /// Why: a reason of a condition.
    pub reason: String,
}
