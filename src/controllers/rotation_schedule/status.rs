//! The status of a schedule.

use k8s_openapi::jiff::Timestamp;

use super::observe::Observed;
use super::plan::Plan;
use crate::api::condition;
use crate::api::rotation_schedule::{MAX_NEXT_RUNS, PastRotation, RunningRotation};
use crate::api::time::as_stored;
use crate::api::{ConditionType, RotationScheduleStatus};
use crate::secrets::SecretRotation;

/// Conditions beside the summary, which are there while they are so.
const BESIDE: [ConditionType; 2] = [
    ConditionType::OwnershipConflict,
    ConditionType::FinishStalled,
];

/// The status that the plan leads to.
pub(super) fn status(seen: &Observed, plan: &Plan, now: Timestamp) -> RotationScheduleStatus {
    let old = seen.schedule.status.clone().unwrap_or_default();
    let generation = seen.schedule.metadata.generation.unwrap_or_default();
    let mut conditions = old.conditions.clone();
    condition::set(&mut conditions, plan.ready.clone(), generation, now);
    for type_ in BESIDE {
        match plan.beside.as_ref().filter(|it| it.condition == type_) {
            Some(so) => condition::set(&mut conditions, so.clone(), generation, now),
            None => condition::remove(&mut conditions, type_),
        }
    }
    let mut status = RotationScheduleStatus {
        observed_generation: Some(generation),
        conditions,
        next_rotation_time: plan.begins.map(as_stored),
        next_runs: Vec::new(),
        check: plan.check.clone().or(old.check),
        ..old
    };
    if let Ok(timing) = &seen.timing
        && !seen.schedule.spec.suspend.unwrap_or_default()
        && plan.begins.is_some()
    {
        let runs = timing.runs(now).take(MAX_NEXT_RUNS);
        status.next_runs = runs.map(as_stored).collect();
    }
    let manifest = seen.truth.as_ref().map(|truth| &truth.manifest);
    if let Some(record) = manifest.and_then(|manifest| manifest.rotation()) {
        describe(&mut status, record, plan);
    }
    status
}

fn describe(status: &mut RotationScheduleStatus, record: &SecretRotation, plan: &Plan) {
    let count = |number: u64| i64::try_from(number).ok().filter(|number| *number > 0);
    let last = record
        .history
        .last()
        .map_or(record.since, |last| last.ended);
    status.last_rotation_time = Some(as_stored(last));
    status.missed = count(record.missed);
    status.running = record
        .running
        .as_ref()
        .zip(plan.step)
        .map(|(running, step)| RunningRotation {
            version: running.version.to_string(),
            step,
            begun: as_stored(running.begun),
            job: plan.job.clone(),
            attempts: Some(plan.attempts).filter(|attempts| *attempts > 0),
            refused_values: count(running.refused),
        });
    let past = record.history.iter().rev().map(|past| PastRotation {
        version: past.version.to_string(),
        begun: as_stored(past.begun),
        promoted: past.promoted.map(as_stored),
        ended: as_stored(past.ended),
        cancelled: past.promoted.is_none().then_some(true),
        stalled: past.stalled.then_some(true),
    });
    status.history = past.collect();
}
