//! What is shown of each schedule of rotations.

use std::cmp::Reverse;

use prometheus_client::encoding::EncodeLabelSet;

use super::table::{Facts, Shows, Table};

/// What is shown of one schedule. Times are in seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RotationFacts {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Since when it is not ready, if it is not.
    pub not_ready: Option<i64>,
    /// When the last rotation ended.
    pub last: Option<i64>,
    /// When the next one begins.
    pub next: Option<i64>,
    /// When the one under way began, if one is.
    pub begun: Option<i64>,
    /// How often its step was tried without success.
    pub attempts: i64,
    /// How many times of the schedule passed without a rotation.
    pub missed: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Labels {
    schedule_namespace: String,
    schedule_name: String,
}

/// The schedules that are shown.
pub(super) type Rotations = Table<RotationFacts>;

impl Facts for RotationFacts {
    type Labels = Labels;
    /// Those that are not ready, those that try again, and those that rotate soonest.
    type Urgency = (Reverse<bool>, Reverse<i64>, i64);

    const GAUGES: &'static [Shows<Self>] = &[
        Shows::time(
            "keystead_rotation_not_ready_timestamp",
            "Since when a schedule of rotations is not ready",
            |schedule| schedule.not_ready,
        ),
        Shows::time(
            "keystead_rotation_last_timestamp",
            "When the last rotation of a schedule ended",
            |schedule| schedule.last,
        ),
        Shows::time(
            "keystead_rotation_next_timestamp",
            "When the next rotation of a schedule begins",
            |schedule| schedule.next,
        ),
        Shows::time(
            "keystead_rotation_begun_timestamp",
            "When the rotation that is under way began",
            |schedule| schedule.begun,
        ),
        Shows::count(
            "keystead_rotation_attempts",
            "How often the step of the rotation that is under way was tried without success",
            |schedule| schedule.begun.map(|_| schedule.attempts),
        ),
        Shows::count(
            "keystead_rotation_missed",
            "Times of a schedule that passed without a rotation",
            |schedule| Some(schedule.missed),
        ),
    ];
    const OMITTED: (&'static str, &'static str) = (
        "keystead_rotation_metrics_omitted",
        "Schedules of rotations that have no metrics of their own, since there are too many",
    );

    fn labels(&self) -> Labels {
        Labels {
            schedule_namespace: self.namespace.clone(),
            schedule_name: self.name.clone(),
        }
    }

    fn urgency(&self) -> Self::Urgency {
        (
            Reverse(self.not_ready.is_some()),
            Reverse(self.attempts),
            self.next.unwrap_or(i64::MAX),
        )
    }
}
