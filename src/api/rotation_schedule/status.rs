//! What the operator says of a schedule.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RotationStep;

/// What the operator last saw of a schedule. Never the truth, which is kept with the secret: losing it loses nothing.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RotationScheduleStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// When the last rotation ended; or, before the first, since when the schedule counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rotation_time: Option<Time>,

    /// When the next one begins, with its jitter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_rotation_time: Option<Time>,

    /// The next times of the schedule, without jitter. At most 3.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next_runs: Vec<Time>,

    /// How many times of the schedule passed without a rotation, since the window was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<i64>,

    /// The rotation that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<RunningRotation>,

    /// The last rotations, newest first. At most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<PastRotation>,

    /// What was found when the current version was tried last on the other side: every hour, and when annotation
    /// `keystead.dev/test-rotation` has a new value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<RotationCheck>,

    /// Conditions, by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// A rotation that is under way.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RunningRotation {
    /// The version that becomes, or has become, current.
    pub version: String,
    /// The step that is next.
    pub step: RotationStep,
    /// When it began.
    pub begun: Time,
    /// The Job that runs for it; `kubectl logs job/<name>` shows what it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// How often the step was tried without success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<i64>,
    /// How many values the other side refused for what they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_values: Option<i64>,
}

/// What was found when the current version was tried on the other side.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RotationCheck {
    /// When.
    pub time: Time,
    /// The version.
    pub version: String,
    /// The last token of annotation `keystead.dev/test-rotation` that was obeyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// What was found.
    pub result: CheckResult,
    /// In words, unless it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What can be found when a version is tried.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum CheckResult {
    /// It works; or there is no other side that it could be tried on.
    Passed,
    /// It does not: somebody else changed it there.
    OwnershipConflict,
    /// It cannot be tried as things are set up.
    Rejected,
    /// The other side was away or busy.
    Unreachable,
}

impl CheckResult {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "Passed",
            Self::OwnershipConflict => "OwnershipConflict",
            Self::Rejected => "Rejected",
            Self::Unreachable => "Unreachable",
        }
    }
}

/// A rotation that ended, or was cancelled.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PastRotation {
    /// The version that it made.
    pub version: String,
    /// When it began.
    pub begun: Time,
    /// When the version became current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted: Option<Time>,
    /// When it ended.
    pub ended: Time,
    /// Whether it was cancelled before the version became current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<bool>,
    /// Whether the value before was left working, since pods did not get the new one in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stalled: Option<bool>,
}
