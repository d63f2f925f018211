//! The status of a secret.

use k8s_openapi::jiff::Timestamp;

use super::delivery::environment;
use super::observe::Observed;
use super::plan::{Plan, Shown};
use super::sharing::replication;
use crate::api::condition::{self, NewCondition};
use crate::api::managed_secret::{MAX_LISTED_REPLICAS, ManagedSecretStatus, SecretVersionStatus};
use crate::api::time::as_stored;

/// The status that the plan leads to, or that a failure leaves.
pub(super) fn status(
    seen: &Observed,
    plan: &Plan,
    ready: NewCondition,
    now: Timestamp,
) -> ManagedSecretStatus {
    let old = seen.secret.status.clone().unwrap_or_default();
    let generation = seen.secret.metadata.generation.unwrap_or_default();
    let manifest = plan.shown.as_ref().map(|shown| &shown.manifest);
    let replication = replication::status(&seen.secret, manifest, &ready);
    let mut conditions = old.conditions.clone();
    condition::set(&mut conditions, ready, generation, now);
    let mut status = ManagedSecretStatus {
        observed_generation: Some(generation),
        conditions,
        replication,
        ..old
    };
    if let Some(targets) = &plan.targets {
        status.target_ref.clone_from(&targets.current);
        status.former_targets.clone_from(&targets.former);
    }
    if let Some(shown) = &plan.shown {
        describe(&mut status, shown);
        environment::tell(&mut status, generation, now);
    }
    if let Some(replicas) = &seen.replicas {
        let count = i64::try_from(replicas.len()).unwrap_or(i64::MAX);
        status.replica_count = seen.secret.spec.share_with.is_some().then_some(count);
        status.replicas = replicas.iter().take(MAX_LISTED_REPLICAS).cloned().collect();
    }
    status
}

fn describe(status: &mut ManagedSecretStatus, shown: &Shown) {
    let version = |version: &crate::secrets::VersionRecord| SecretVersionStatus {
        id: version.id.to_string(),
        stages: version.stages.iter().map(ToString::to_string).collect(),
        created: as_stored(version.created),
        key_id: version.key_id.clone(),
    };
    status.keys.clone_from(&shown.keys);
    status.forced_deletion = shown.forced.then_some(true);
    status.certificates.clone_from(&shown.certificates);
    if let Some(keys) = &shown.undeliverable {
        status.undeliverable_by_env.clone_from(keys);
    }
    status.versions = shown
        .manifest
        .versions()
        .iter()
        .rev()
        .map(version)
        .collect();
    let sequence = i64::try_from(shown.manifest.sequence()).unwrap_or(i64::MAX);
    // Never backwards: it is what a roll-back is noticed by.
    status.sequence = Some(sequence.max(status.sequence.unwrap_or(0)));
}
