//! Carries the end of keys out: also of those whose resource is gone, which no reconcile looks at.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use tokio::sync::broadcast;
use tracing::{info, warn};

use super::deletion::{self, Facts, Step};
use crate::api::names::ANNOTATION_ACCEPT_DATA_LOSS;
use crate::api::{DeletionRecord, KeyMaterial, KeyMaterialSpec};
use crate::controllers::backoff::jittered;
use crate::controllers::context::{Context, jitter};
use crate::controllers::error::{Error, call};
use crate::keys::Key;
use crate::telemetry::Truth;

/// How often waiting keys are looked at although nothing is due: what blocks one may go, and clocks may jump.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// How long to wait before a failed attempt is repeated.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Looks at the keys that wait for their end when one of them is due, or changes, for ever. The leader only.
pub(crate) async fn run(ctx: Arc<Context>) {
    let mut changes = ctx.key_changes.subscribe();
    loop {
        let wait = ctx.clock.timer(look(&ctx).await);
        let changed = async {
            loop {
                match changes.recv().await {
                    Ok(change) if waits(&ctx, &change.namespace, &change.name) => return,
                    Ok(_) => {}
                    Err(broadcast::error::RecvError::Lagged(_)) => return,
                    // The loader ended, and the process with it.
                    Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = changed => {}
        }
    }
}

fn waits(ctx: &Context, namespace: &str, name: &str) -> bool {
    ctx.keyring
        .named(namespace, name)
        .iter()
        .any(|key| record_of(key).is_some())
}

/// The record of a key that waits for its end.
fn record_of(key: &Key) -> Option<&DeletionRecord> {
    let spec = &key.truth.spec;
    spec.deletion.as_ref().filter(|_| spec.destroyed.is_none())
}

/// Looks at every key whose date has come by our clock; returns how long until the next look.
async fn look(ctx: &Context) -> Duration {
    let mut wait = jittered(LOOK_EVERY, jitter());
    for key in ctx.keyring.all() {
        let Some(record) = record_of(&key) else {
            continue;
        };
        if !ctx.scope.contains(&key.truth.spec.namespace) {
            continue;
        }
        // Most wait for weeks: the API server is asked only about those whose time has come.
        let next = if ctx.now() < record.date.0 {
            Ok(Some(record.date.0))
        } else {
            advance(&key.truth.name_any(), ctx).await
        };
        match next {
            Ok(next) => wait = wait.min(until(next, ctx.now())),
            Err(error) => {
                warn!(key = %key.id, %error, "the end of a key could not be looked at; it is tried again");
                wait = wait.min(RETRY_AFTER);
            }
        }
    }
    wait
}

fn until(next: Option<Timestamp>, now: Timestamp) -> Duration {
    let Some(next) = next else {
        return LOOK_EVERY;
    };
    let wait = Duration::try_from(next.duration_since(now)).unwrap_or_default();
    // A second later than planned, since the API server tells whole seconds.
    wait + Duration::from_secs(1)
}

/// Brings one key one step on, on a fresh look at all that counts; returns the next instant that matters.
async fn advance(id: &str, ctx: &Context) -> Result<Option<Timestamp>, Error> {
    let object = format!("KeyMaterial {id}");
    let Some(truth) = call("get", &object, ctx.materials.get(id)).await? else {
        return Ok(None);
    };
    let Some(record) = truth.spec.deletion.clone() else {
        return Ok(None);
    };
    let server = call(
        "ask",
        "the API server's time",
        ctx.materials.server_time(&truth),
    )
    .await?;
    let now = ctx.now().min(ctx.clock.server_time(server));
    let dependents = match id.parse() {
        Ok(key) => call("count", "the truth of secrets", ctx.sealed.dependents(key)).await?,
        // Not written by the operator; nothing of it was loaded either.
        Err(_) => return Ok(None),
    };
    let facts = Facts {
        now,
        tenure: &ctx.tenure,
        dependents,
        accepted: accepted(&truth, &record),
    };
    let step = deletion::step(&record, &facts);
    match step {
        Step::Wait(next) => return Ok(Some(next)),
        Step::Blocked => return Ok(None),
        Step::SeeDue => write(&truth, deletion::due(&record, &facts), ctx).await?,
        Step::ForgetPreset => write(&truth, deletion::without_preset(&record), ctx).await?,
        Step::Block(count) => {
            let blocked_by = Some(count);
            write(
                &truth,
                DeletionRecord {
                    blocked_by,
                    ..record
                },
                ctx,
            )
            .await?;
        }
        Step::Destroy => destroy(truth, now, ctx).await?,
    }
    // What was written comes back through the watch, and with it the next look.
    Ok(None)
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

async fn write(truth: &KeyMaterial, record: DeletionRecord, ctx: &Context) -> Result<(), Error> {
    let mut wanted = truth.clone();
    wanted.spec.deletion = Some(record);
    replace(&wanted, ctx).await
}

/// Destroys the material, for good. The tombstone keeps the id, so that no other key ever gets it.
async fn destroy(mut truth: KeyMaterial, now: Timestamp, ctx: &Context) -> Result<(), Error> {
    let KeyMaterialSpec {
        generations,
        destroyed,
        ..
    } = &mut truth.spec;
    generations.clear();
    *destroyed = Some(Time(now));
    replace(&truth, ctx).await?;
    let spec = &truth.spec;
    info!(
        key = truth.name_any(),
        namespace = spec.namespace,
        name = spec.name,
        "the material of a key was destroyed"
    );
    Ok(())
}

async fn replace(truth: &KeyMaterial, ctx: &Context) -> Result<(), Error> {
    ctx.check_leadership()?;
    let object = format!("KeyMaterial {}", truth.name_any());
    call("replace", object, ctx.materials.replace(truth)).await?;
    ctx.metrics.truth_written(Truth::KeyMaterial);
    Ok(())
}
