//! Carries the end of keys out: also of those whose resource is gone, which no reconcile looks at.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use tokio::sync::broadcast;
use tracing::{info, warn};

use super::deletion::{self, Facts, Step};
use crate::api::names::ANNOTATION_ACCEPT_DATA_LOSS;
use crate::api::{DeletionRecord, KeyMaterial, KeyMaterialSpec, PolicyRecord};
use crate::audit::Identity;
use crate::clock::until;
use crate::controllers::backoff::jittered;
use crate::controllers::context::{Context, jitter};
use crate::controllers::error::{Error, call};
use crate::controllers::key_changes::{Change, KeyChange};
use crate::controllers::key_truth::replace;
use crate::crypto::KeyId;
use crate::keys::{Key, KeyChanged};
use crate::truth::KeyInUse;

/// How often waiting keys are looked at although nothing is due: what blocks one may go, and clocks may jump.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// How long to wait before a failed attempt is repeated.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// How long a count of what needs the keys is good enough to destroy one. In a longer pass the others wait for the next.
const FRESH_FOR: Duration = Duration::from_secs(10);
/// How long a change waits for others: a namespace's keys come due together, and each that is looked at changes.
const GATHER: Duration = Duration::from_secs(1);

/// Looks at the keys that wait for their end when one of them is due, or changes, for ever. The leader only.
pub(crate) async fn run(ctx: Arc<Context>) {
    let mut changes = ctx.key_changes.subscribe();
    // A hold after a suspected restore may be ended there.
    let mut record = ctx.record_changes.clone();
    loop {
        let wait = ctx.clock.timer(look(&ctx).await);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            Ok(()) = record.changed() => {}
            () = changed(&ctx, &mut changes) => {
                tokio::time::sleep(GATHER).await;
                changes = changes.resubscribe();
            }
        }
    }
}

/// Ends when a key that waits for its end may have changed.
async fn changed(ctx: &Context, changes: &mut broadcast::Receiver<KeyChanged>) {
    loop {
        match changes.recv().await {
            Ok(KeyChanged { namespace, name }) => {
                let named = ctx.keyring.named(&namespace, &name);
                if named.iter().any(|key| record_of(key).is_some()) {
                    return;
                }
            }
            Err(broadcast::error::RecvError::Lagged(_)) => return,
            // The loader ended, and the process with it.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// The record of a key that waits for its end.
fn record_of(key: &Key) -> Option<&DeletionRecord> {
    let spec = &key.truth.spec;
    spec.deletion.as_ref().filter(|_| spec.destroyed.is_none())
}

/// Looks at every key that waits for its end; returns how long until the next look.
async fn look(ctx: &Context) -> Duration {
    let now = ctx.now();
    let mut wait = jittered(LOOK_EVERY, jitter());
    let mut due = Vec::new();
    for key in ctx.keyring.all() {
        match record_of(&key) {
            Some(record) if ctx.scope.contains(&key.truth.spec.namespace) => {
                // Most wait for weeks: the API server is asked only about those whose time has come by our clock.
                if now < record.date.0 {
                    wait = wait.min(until(record.date.0, now));
                } else {
                    due.push(key);
                }
            }
            _ => {}
        }
    }
    if due.is_empty() {
        return wait;
    }
    let seen = match Seen::look(ctx).await {
        Ok(seen) => seen,
        Err(error) => {
            warn!(%error, "keys that are due could not be looked at; it is tried again");
            return wait.min(RETRY_AFTER);
        }
    };
    for key in due {
        match advance(key.id, &seen, ctx).await {
            Ok(next) => wait = next.map_or(wait, |next| wait.min(until(next, seen.now))),
            Err(error) => {
                warn!(key = %key.id, %error, "the end of a key could not be looked at; it is tried again");
                wait = wait.min(RETRY_AFTER);
            }
        }
    }
    wait
}

/// What one look sees that is the same for all keys.
struct Seen {
    /// The earlier one of our clock and the API server's.
    now: Timestamp,
    /// How much of what is stored needs each key.
    in_use: HashMap<KeyId, KeyInUse>,
    /// When that was counted.
    counted: Instant,
}

impl Seen {
    async fn look(ctx: &Context) -> Result<Self, Error> {
        let now = ctx.clocks().await?.earlier();
        let in_use = call("count", "the truth of secrets", ctx.sealed.keys_in_use()).await?;
        Ok(Self {
            now,
            in_use,
            counted: Instant::now(),
        })
    }

    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.counted) < FRESH_FOR
    }
}

/// Brings one key one step on, on a fresh look at it; returns the next instant that matters. What is written comes back
/// through the watch, and with it the next look.
async fn advance(id: KeyId, seen: &Seen, ctx: &Context) -> Result<Option<Timestamp>, Error> {
    let (id_text, object) = (id.to_string(), format!("KeyMaterial {id}"));
    let Some(truth) = call("get", &object, ctx.materials.get(&id_text)).await? else {
        return Ok(None);
    };
    let Some(record) = truth.spec.deletion.clone() else {
        return Ok(None);
    };
    let facts = Facts {
        now: seen.now,
        tenure: &ctx.tenure,
        dependents: seen.in_use.get(&id).map_or(0, |used| used.secrets),
        accepted: accepted(&truth, &record),
        held: ctx.installation.hold.at(seen.now).map(|hold| hold.until),
    };
    let record = match deletion::step(&record, &facts) {
        Step::Wait(next) => return Ok(Some(next)),
        Step::Blocked => return Ok(None),
        Step::Destroy if !seen.is_fresh(Instant::now()) => return Ok(Some(seen.now)),
        Step::Destroy => return destroy(truth, seen.now, ctx).await.map(|()| None),
        Step::SeeDue => deletion::due(&record, &facts),
        Step::ForgetPreset => deletion::without_preset(&record),
        Step::Block(count) => DeletionRecord {
            blocked_by: Some(count),
            ..record
        },
    };
    let mut wanted = truth;
    wanted.spec.deletion = Some(record);
    replace(&wanted, ctx).await.map(|()| None)
}

/// The loss that is accepted: by the resource; by an administrator where there is none.
fn accepted(truth: &KeyMaterial, record: &DeletionRecord) -> Option<u32> {
    if truth.spec.parked_since.is_none() {
        return record.accept_data_loss;
    }
    truth
        .annotations()
        .get(ANNOTATION_ACCEPT_DATA_LOSS)?
        .parse()
        .ok()
}

/// Destroys the material, for good. The tombstone keeps the id, so that no other key ever gets it.
async fn destroy(mut truth: KeyMaterial, now: Timestamp, ctx: &Context) -> Result<(), Error> {
    let KeyMaterialSpec {
        generations,
        destroyed,
        import,
        policy,
        grants,
        ..
    } = &mut truth.spec;
    generations.clear();
    *import = None;
    *policy = PolicyRecord::default();
    grants.clear();
    *destroyed = Some(Time(now));
    let change = KeyChange {
        truth: &truth,
        changes: vec![Change::new("DeleteKey", Vec::new())],
        who: Identity::controller(),
        reason: "its date came a day ago or more, and nothing that is known needs it, or the loss was accepted",
    };
    change.replace(ctx).await?;
    let spec = &truth.spec;
    info!(
        key = truth.name_any(),
        namespace = spec.namespace,
        name = spec.name,
        "the material of a key was destroyed"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_good_for_a_few_seconds_only() {
        let seen = Seen {
            now: Timestamp::UNIX_EPOCH,
            in_use: HashMap::new(),
            counted: Instant::now(),
        };
        assert!(seen.is_fresh(seen.counted + Duration::from_secs(9)));
        assert!(!seen.is_fresh(seen.counted + FRESH_FOR));
    }
}
