//! What a status tells of restarts. Pure.

use k8s_openapi::jiff::Timestamp;

use crate::api::condition::{self, NewCondition};
use crate::api::managed_secret::{
    ManagedSecretStatus, RolloutFailure, RolloutStatus, RolloutTarget,
};
use crate::api::time::as_stored;
use crate::api::{ConditionType, Reason};
use crate::secrets::{Consumer, RolloutRecord};

/// Most workloads that a message names.
const NAMED: usize = 3;

/// Where the restarts stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nobody waits, or the next step comes soon.
    Going,
    /// They are paused.
    Paused,
    /// No window is open before that.
    Closed(Timestamp),
    /// They do not go on until somebody acts.
    Stalled(Stall),
}

/// Why restarts do not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stall {
    /// Why.
    pub(crate) reason: Reason,
    /// In words.
    pub(crate) message: String,
    /// Because of whom.
    pub(crate) failed: Vec<Consumer>,
}

impl Stall {
    /// These were restarted, and are not rolled out in time.
    pub(crate) fn late(late: Vec<Consumer>) -> Self {
        let message = format!(
            "not rolled out in spec.rollout.batch.timeout: {}; no further workloads are restarted until they are",
            names(&late)
        );
        Self {
            reason: Reason::RolloutTimedOut,
            message,
            failed: late,
        }
    }
}

/// What a status tells of restarts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Report {
    status: Option<RolloutStatus>,
    pending: Option<NewCondition>,
    /// The condition that they are stalled.
    pub(crate) stalled: Option<NewCondition>,
}

impl Report {
    /// Of a record, and of where it stands.
    pub(crate) fn of(record: &RolloutRecord, standing: &Standing) -> Self {
        Self {
            status: Some(status(record, standing)),
            pending: (!record.is_idle()).then(|| pending(record, standing)),
            stalled: match standing {
                Standing::Stalled(stall) => Some(said(
                    ConditionType::RolloutStalled,
                    stall.reason,
                    stall.message.clone(),
                )),
                Standing::Going | Standing::Paused | Standing::Closed(_) => None,
            },
        }
    }

    /// Writes it into a status.
    pub(crate) fn write(self, into: &mut ManagedSecretStatus, generation: i64, now: Timestamp) {
        into.rollout = self.status;
        for (type_, condition) in [
            (ConditionType::RolloutPending, self.pending),
            (ConditionType::RolloutStalled, self.stalled),
        ] {
            match condition {
                Some(new) => condition::set(&mut into.conditions, new, generation, now),
                None => condition::remove(&mut into.conditions, type_),
            }
        }
    }
}

fn status(record: &RolloutRecord, standing: &Standing) -> RolloutStatus {
    let failed = match standing {
        Standing::Stalled(stall) => failures(stall),
        Standing::Going | Standing::Paused | Standing::Closed(_) => Vec::new(),
    };
    let pending = record.pending.iter().map(|consumer| RolloutTarget {
        kind: consumer.kind,
        name: consumer.name.clone(),
    });
    RolloutStatus {
        version: record.change.as_ref().map(|c| c.version.to_string()),
        pending: pending.collect(),
        restarted: record.restarted.map(|restarted| restarted.count),
        last_restart_time: record.restarted.map(|restarted| as_stored(restarted.time)),
        failed,
    }
}

fn failures(stall: &Stall) -> Vec<RolloutFailure> {
    let failure = |consumer: &Consumer| RolloutFailure {
        kind: consumer.kind,
        name: consumer.name.clone(),
        reason: stall.reason.as_str().to_owned(),
    };
    stall.failed.iter().map(failure).collect()
}

fn pending(record: &RolloutRecord, standing: &Standing) -> NewCondition {
    let waiting = match record.pending.len() {
        0 => "workloads that were restarted are waited for".to_owned(),
        _ => format!("to be restarted: {}", names(&record.pending)),
    };
    let (reason, message) = match standing {
        Standing::Paused => (
            Reason::Paused,
            format!("{waiting}; spec.rollout.paused is true"),
        ),
        Standing::Closed(time) => (
            Reason::OutsideWindow,
            format!("{waiting}; the next window opens at {time}"),
        ),
        Standing::Going | Standing::Stalled(_)
            if record.search.is_some() && record.pending.is_empty() =>
        {
            (
                Reason::Restarting,
                "the workloads that use the secret are looked for".to_owned(),
            )
        }
        Standing::Going | Standing::Stalled(_) => (Reason::Restarting, waiting),
    };
    said(ConditionType::RolloutPending, reason, message)
}

fn said(condition: ConditionType, reason: Reason, message: String) -> NewCondition {
    NewCondition {
        condition,
        status: true,
        reason,
        message,
    }
}

/// The first of them by kind and name, and how many more there are.
fn names(consumers: &[Consumer]) -> String {
    let named: Vec<_> = consumers
        .iter()
        .take(NAMED)
        .map(|consumer| format!("{} {}", consumer.kind, consumer.name))
        .collect();
    let more = consumers.len().saturating_sub(NAMED);
    match more {
        0 => named.join(", "),
        _ => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::managed_secret::WorkloadKind;
    use crate::crypto::OsRandom;
    use crate::secrets::{SecretValue, VersionId};

    fn record(pending: usize) -> RolloutRecord {
        let content = SecretValue::new();
        let version = VersionId::generate(&mut OsRandom).unwrap();
        let record = RolloutRecord::begin(&content, &mut OsRandom).unwrap();
        let record = record.changed(&content, version, Timestamp::UNIX_EPOCH, &mut OsRandom);
        let mut record = record.unwrap();
        record.search = None;
        record.pending = consumers(pending);
        record
    }

    fn consumers(count: usize) -> Vec<Consumer> {
        let consumer = |index: usize| Consumer {
            kind: WorkloadKind::Deployment,
            name: format!("w{index}"),
            uid: index.to_string(),
        };
        (0..count).map(consumer).collect()
    }

    fn written(record: &RolloutRecord, standing: &Standing) -> (RolloutStatus, Vec<[String; 3]>) {
        let mut status = ManagedSecretStatus::default();
        Report::of(record, standing).write(&mut status, 1, Timestamp::UNIX_EPOCH);
        let conditions = status.conditions.into_iter();
        let conditions = conditions.map(|c| [c.type_, c.reason, c.message]);
        (status.rollout.unwrap(), conditions.collect())
    }

    #[test]
    fn who_waits_is_named_with_the_reason() {
        let (status, conditions) = written(&record(5), &Standing::Paused);
        assert_eq!(status.pending.len(), 5);
        assert_eq!(
            conditions,
            [[
                "RolloutPending",
                "Paused",
                "to be restarted: Deployment w0, Deployment w1, Deployment w2 and 2 more; spec.rollout.paused is true"
            ]]
        );
        let opens = "2026-11-29T03:00:00Z".parse().unwrap();
        let (_, conditions) = written(&record(1), &Standing::Closed(opens));
        assert_eq!(conditions[0][1], "OutsideWindow");
        assert!(conditions[0][2].ends_with("opens at 2026-11-29T03:00:00Z"));
    }

    #[test]
    fn who_is_late_is_named_and_nobody_else_is_restarted() {
        let stall = Stall::late(consumers(1));
        let (status, conditions) = written(&record(2), &Standing::Stalled(stall));
        assert_eq!(status.failed[0].name, "w0");
        assert_eq!(status.failed[0].reason, "RolloutTimedOut");
        let types: Vec<_> = conditions.iter().map(|c| c[0].as_str()).collect();
        assert_eq!(types, ["RolloutPending", "RolloutStalled"]);
    }

    #[test]
    fn when_nobody_waits_there_are_no_conditions_and_when_nothing_is_asked_no_status() {
        let mut status = ManagedSecretStatus::default();
        let now = Timestamp::UNIX_EPOCH;
        let stalled = Standing::Stalled(Stall::late(consumers(1)));
        Report::of(&record(1), &stalled).write(&mut status, 1, now);
        assert_eq!(status.conditions.len(), 2);
        Report::of(&record(0), &Standing::Going).write(&mut status, 1, now);
        assert!(status.conditions.is_empty() && status.rollout.is_some());
        Report::default().write(&mut status, 1, now);
        assert_eq!(status, ManagedSecretStatus::default());
    }
}
