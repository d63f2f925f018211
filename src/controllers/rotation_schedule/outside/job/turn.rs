//! What follows from the Jobs that there are. Pure.

use std::collections::{BTreeMap, HashSet};

use k8s_openapi::api::batch::v1::{CronJob, Job, JobCondition};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::api::names::{ANNOTATION_ROTATION_ATTEMPT, LABEL_ROTATION_STEP, LABEL_ROTATION_VERSION};

/// The exit code that says that the other side refuses the pending value for what it is.
pub(super) const REFUSED: i32 = 10;
/// How long after its failure a step is tried again: so long, twice as long the next time, and so on.
const PAUSE: SignedDuration = SignedDuration::from_secs(10);
/// How long at most.
const LONGEST: SignedDuration = SignedDuration::from_mins(5);
/// Rotations whose Jobs are kept, if the `CronJob` says nothing; as in Kubernetes.
const ROTATIONS_KEPT: i32 = 3;
/// Failed attempts of a step that are kept, if the `CronJob` says nothing; as in Kubernetes.
const FAILED_KEPT: i32 = 1;

/// What comes next.
#[derive(Debug)]
pub(super) enum Turn<'a> {
    /// A Job is made, as that attempt.
    Make(u32),
    /// This one runs.
    Wait(&'a Job),
    /// The last one has succeeded.
    Done,
    /// This one has failed.
    Failed {
        /// The Job.
        job: &'a Job,
        /// Whether it is time to try again.
        again: bool,
    },
}

/// Decides by the last attempt, of the Jobs of one step.
pub(super) fn turn(jobs: &[Job], now: Timestamp) -> Turn<'_> {
    let Some(last) = jobs.iter().max_by_key(|job| attempt_of(job)) else {
        return Turn::Make(1);
    };
    if condition(last, "Complete").is_some() {
        return Turn::Done;
    }
    let Some(failed) = condition(last, "Failed") else {
        return Turn::Wait(last);
    };
    let since = failed.last_transition_time.as_ref().map(|time| time.0);
    let due = since.and_then(|since| since.checked_add(pause(attempt_of(last))).ok());
    Turn::Failed {
        job: last,
        again: due.is_none_or(|due| due <= now),
    }
}

fn pause(attempt: u32) -> SignedDuration {
    let doubled = 2_i32.saturating_pow(attempt.saturating_sub(1));
    PAUSE.saturating_mul(doubled).min(LONGEST)
}

/// Which attempt at its step a Job is, from 1.
pub(super) fn attempt_of(job: &Job) -> u32 {
    let said = job.annotations().get(ANNOTATION_ROTATION_ATTEMPT);
    said.and_then(|said| said.parse().ok()).unwrap_or(1)
}

/// Whether a Job has ended.
pub(super) fn is_over(job: &Job) -> bool {
    condition(job, "Complete").is_some() || condition(job, "Failed").is_some()
}

fn condition<'a>(job: &'a Job, type_: &str) -> Option<&'a JobCondition> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let mut conditions = conditions.iter();
    conditions.find(|condition| condition.type_ == type_ && condition.status == "True")
}

/// The exit code of a Job's pod: [`REFUSED`], if any container says that, or that of the first one that failed.
pub(super) fn exit_code(pods: &[Pod]) -> Option<i32> {
    let statuses = pods.iter().filter_map(|pod| pod.status.as_ref());
    let containers = statuses.flat_map(|status| {
        let init = status.init_container_statuses.iter().flatten();
        init.chain(status.container_statuses.iter().flatten())
    });
    let codes = containers.filter_map(|container| {
        let terminated = container.state.as_ref()?.terminated.as_ref()?;
        Some(terminated.exit_code).filter(|code| *code != 0)
    });
    let codes: Vec<_> = codes.collect();
    let refused = codes.iter().find(|code| **code == REFUSED);
    refused.or(codes.first()).copied()
}

/// Why a Job failed, in words.
pub(super) fn why_failed(job: &Job, pods: &[Pod]) -> String {
    if let Some(code) = exit_code(pods) {
        return format!("it ended with exit code {code}");
    }
    let failed = condition(job, "Failed");
    let reason = failed.and_then(|failed| failed.reason.clone());
    let reason = reason.unwrap_or_else(|| "Failed".to_owned());
    if pods.is_empty() {
        return format!("{reason}, and it has no pod: kubectl describe job says why");
    }
    format!("{reason}: kubectl describe pod says why")
}

/// The names of Jobs that nobody needs any more: those of rotations that are over, but for the last ones, once a new one begins; and
/// failed attempts at a step, but for the last ones. `running`: the versions whose Jobs count.
pub(super) fn superfluous(
    all: &[Job],
    cron: &CronJob,
    begins: bool,
    running: &HashSet<String>,
) -> Vec<String> {
    let limit = |said: Option<i32>, default: i32| {
        usize::try_from(said.unwrap_or(default)).unwrap_or_default()
    };
    let kept = limit(cron.spec.successful_jobs_history_limit, ROTATIONS_KEPT);
    let failed = limit(cron.spec.failed_jobs_history_limit, FAILED_KEPT);
    let mut gone = failed_attempts(all, failed);
    if begins {
        gone.extend(former_rotations(all, kept, running));
    }
    gone.sort();
    gone.dedup();
    gone
}

/// Failed attempts at each step, but for the last ones. The very last stays: it says that the step was tried.
fn failed_attempts(all: &[Job], kept: usize) -> Vec<String> {
    let mut steps: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for job in all.iter().filter(|job| condition(job, "Failed").is_some()) {
        let label = |name: &str| job.labels().get(name).cloned();
        let step = (label(LABEL_ROTATION_VERSION), label(LABEL_ROTATION_STEP));
        steps.entry(step).or_default().push(job);
    }
    let surplus = steps.into_values().flat_map(|mut jobs| {
        jobs.sort_by_key(|job| std::cmp::Reverse(attempt_of(job)));
        jobs.into_iter()
            .skip(kept.max(1))
            .map(ResourceExt::name_any)
    });
    surplus.collect()
}

fn former_rotations(all: &[Job], kept: usize, running: &HashSet<String>) -> Vec<String> {
    let version = |job: &Job| job.labels().get(LABEL_ROTATION_VERSION).cloned();
    let mut newest: BTreeMap<String, Timestamp> = BTreeMap::new();
    for job in all {
        let made = job.creation_timestamp().map(|time| time.0);
        let (Some(version), Some(made)) = (version(job), made) else {
            continue;
        };
        if !running.contains(&version) {
            let newest = newest.entry(version).or_insert(made);
            *newest = made.max(*newest);
        }
    }
    let mut versions: Vec<_> = newest.into_iter().collect();
    versions.sort_by_key(|(_, made)| std::cmp::Reverse(*made));
    let over: HashSet<_> = versions.into_iter().skip(kept).map(|(id, _)| id).collect();
    let is_over = |job: &&Job| version(job).is_some_and(|version| over.contains(&version));
    all.iter()
        .filter(is_over)
        .map(ResourceExt::name_any)
        .collect()
}

#[cfg(test)]
#[path = "turn_tests.rs"]
mod tests;
