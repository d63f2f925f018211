//! What the metrics show of each key, of each secret and of each schedule of rotations: gathered from memory now and then by the leader.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::context::Context;
use super::parking::Presence;
use crate::api::condition::{ConditionType, find};
use crate::api::managed_secret::ManagedSecretStatus;
use crate::api::{ManagedKey, ManagedSecret, RotationSchedule};
use crate::secrets::Stage;
use crate::telemetry::{KeyFacts, Metrics, RotationFacts, SecretFacts};

/// How often they are gathered.
const EVERY: Duration = Duration::from_secs(15);

/// Gathers for as long as it is polled; then nothing is shown, since another replica shows it.
pub(super) async fn run(
    ctx: &Context,
    keys: &Presence<ManagedKey>,
    secrets: &Presence<ManagedSecret>,
    schedules: &Presence<RotationSchedule>,
) {
    let _nothing = Nothing(&ctx.metrics);
    loop {
        ctx.key_uses.retain(|id| ctx.keyring.get(*id).is_some());
        ctx.metrics.keys(of_keys(ctx, &keys.all()));
        let all = secrets.all();
        ctx.metrics
            .secrets(all.iter().map(|secret| of_secret(secret)).collect());
        let all = schedules.all();
        ctx.metrics
            .rotations(all.iter().map(|schedule| of_schedule(schedule)).collect());
        tokio::time::sleep(EVERY).await;
    }
}

fn of_keys(ctx: &Context, resources: &[Arc<ManagedKey>]) -> Vec<KeyFacts> {
    let next: HashMap<_, _> = resources
        .iter()
        .filter_map(|key| {
            let next = key.status.as_ref()?.next_rotation_time.as_ref()?.0;
            Some((key.uid()?, next))
        })
        .collect();
    let keys = ctx.keyring.all();
    let served = keys.iter().filter(|key| {
        let spec = &key.truth.spec;
        spec.destroyed.is_none() && ctx.scope.contains(&spec.namespace)
    });
    served
        .map(|key| {
            let (spec, uses) = (&key.truth.spec, ctx.key_uses.of(key.id));
            let deletion = spec.deletion.as_ref().map(|record| record.date.0);
            let next = next.get(&spec.object_uid).copied();
            KeyFacts {
                namespace: spec.namespace.clone(),
                name: spec.name.clone(),
                key_id: key.id.to_string(),
                next_rotation: next
                    .filter(|_| deletion.is_none())
                    .map(Timestamp::as_second),
                deletion: deletion.map(Timestamp::as_second),
                last_used: uses.last.map(|(_, time)| time.as_second()),
                refused: uses.refused_count,
            }
        })
        .collect()
}

/// What its status says of a secret: it is what people see, too.
fn of_secret(secret: &ManagedSecret) -> SecretFacts {
    let mut facts = SecretFacts {
        namespace: secret.namespace().unwrap_or_default(),
        name: secret.name_any(),
        ..SecretFacts::default()
    };
    let Some(status) = &secret.status else {
        return facts;
    };
    facts.not_ready = not_ready(&status.conditions);
    facts.current = made(status, &Stage::Current);
    facts.pending = made(status, &Stage::Pending);
    facts.previous = made(status, &Stage::Previous);
    facts.versions = number(status.versions.len());
    let certificates = &status.certificates;
    let renewals = certificates.iter().map(|known| known.renewal_time.0);
    let ends = certificates.iter().map(|known| known.not_after.0);
    facts.next_renewal = renewals.min().map(Timestamp::as_second);
    facts.expiry = ends.min().map(Timestamp::as_second);
    if let Some(rollout) = &status.rollout {
        facts.restarts_pending = number(rollout.pending.len());
        facts.restarts_failed = number(rollout.failed.len());
    }
    facts
}

/// What its status says of a schedule.
fn of_schedule(schedule: &RotationSchedule) -> RotationFacts {
    let mut facts = RotationFacts {
        namespace: schedule.namespace().unwrap_or_default(),
        name: schedule.name_any(),
        ..RotationFacts::default()
    };
    let Some(status) = &schedule.status else {
        return facts;
    };
    let second = |time: &Time| time.0.as_second();
    facts.not_ready = not_ready(&status.conditions);
    facts.last = status.last_rotation_time.as_ref().map(second);
    facts.next = status.next_rotation_time.as_ref().map(second);
    facts.missed = status.missed.unwrap_or_default();
    if let Some(running) = &status.running {
        facts.begun = Some(second(&running.begun));
        facts.attempts = running.attempts.unwrap_or_default();
    }
    facts
}

/// Since when the summary says that all is not well, in seconds since 1970, if it does.
fn not_ready(conditions: &[Condition]) -> Option<i64> {
    let ready = find(conditions, ConditionType::Ready);
    ready
        .filter(|ready| ready.status != "True")
        .map(|ready| ready.last_transition_time.0.as_second())
}

/// When the version of that stage was made, in seconds since 1970.
fn made(status: &ManagedSecretStatus, stage: &Stage) -> Option<i64> {
    let mut versions = status.versions.iter();
    let version = versions.find(|version| version.has_stage(stage.as_str()))?;
    Some(version.created.0.as_second())
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

struct Nothing<'a>(&'a Metrics);

impl Drop for Nothing<'_> {
    fn drop(&mut self) {
        self.0.keys(Vec::new());
        self.0.secrets(Vec::new());
        self.0.rotations(Vec::new());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_shown_of_a_secret_is_what_its_status_says() {
        let secret: ManagedSecret = serde_json::from_value(json!({
            "apiVersion": "keystead.dev/v1alpha1",
            "kind": "ManagedSecret",
            "metadata": {"namespace": "shop", "name": "db"},
            "spec": {"literals": {"a": "b"}},
            "status": {
                "versions": [
                    {"id": "2", "stages": ["Current", "blue"], "created": "1970-01-01T00:00:20Z", "keyId": "k"},
                    {"id": "1", "stages": ["Previous"], "created": "1970-01-01T00:00:10Z", "keyId": "k"},
                    {"id": "0", "created": "1970-01-01T00:00:05Z", "keyId": "k"}
                ],
                "certificates": [
                    {"key": "a", "notAfter": "1970-01-01T00:10:00Z", "renewalTime": "1970-01-01T00:05:00Z", "serial": "1"},
                    {"key": "b", "notAfter": "1970-01-01T00:09:00Z", "renewalTime": "1970-01-01T00:06:00Z", "serial": "2"}
                ],
                "rollout": {
                    "pending": [{"kind": "Deployment", "name": "x"}, {"kind": "Deployment", "name": "y"}],
                    "failed": [{"kind": "Deployment", "name": "x", "reason": "Forbidden"}]
                },
                "conditions": [{
                    "type": "Ready", "status": "False", "reason": "KeyNotReady", "message": "", "observedGeneration": 1,
                    "lastTransitionTime": "1970-01-01T00:00:30Z"
                }]
            }
        }))
        .unwrap();
        let expected = SecretFacts {
            namespace: "shop".to_owned(),
            name: "db".to_owned(),
            not_ready: Some(30),
            current: Some(20),
            pending: None,
            previous: Some(10),
            versions: 3,
            next_renewal: Some(300),
            expiry: Some(540),
            restarts_pending: 2,
            restarts_failed: 1,
        };
        assert_eq!(of_secret(&secret), expected);
    }

    #[test]
    fn what_is_shown_of_a_schedule_is_what_its_status_says() {
        let schedule: RotationSchedule = serde_json::from_value(json!({
            "apiVersion": "keystead.dev/v1alpha1",
            "kind": "RotationSchedule",
            "metadata": {"namespace": "shop", "name": "db"},
            "spec": {"secretRef": {"name": "db"}, "strategy": {"regenerate": {}}},
            "status": {
                "lastRotationTime": "1970-01-01T00:00:10Z",
                "nextRotationTime": "1970-01-02T00:00:10Z",
                "missed": 2,
                "running": {"version": "v", "step": "SetSecret", "begun": "1970-01-01T00:00:20Z", "attempts": 3},
                "conditions": [{
                    "type": "Ready", "status": "False", "reason": "RotationFailed", "message": "", "observedGeneration": 1,
                    "lastTransitionTime": "1970-01-01T00:00:30Z"
                }]
            }
        }))
        .unwrap();
        let expected = RotationFacts {
            namespace: "shop".to_owned(),
            name: "db".to_owned(),
            not_ready: Some(30),
            last: Some(10),
            next: Some(86_410),
            begun: Some(20),
            attempts: 3,
            missed: 2,
        };
        assert_eq!(of_schedule(&schedule), expected);
    }
}
