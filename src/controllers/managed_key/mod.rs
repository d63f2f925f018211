//! The controller of `ManagedKey`: material, and Enabled or Disabled.

pub(crate) mod absence;
mod apply;
pub(crate) mod deletion;
pub(crate) mod destruction;
pub(crate) mod import;
mod import_source;
mod observe;
mod plan;
mod rotation;
#[cfg(test)]
mod testing;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt, future};
use k8s_openapi::jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{self, Action};
use kube::runtime::predicates;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Controller, Predicate, PredicateConfig, WatchStreamExt};
use kube::{Api, ResourceExt};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tracing::{instrument, warn};

use self::observe::observe;
use self::plan::{Plan, plan};
use super::backoff::jittered;
use super::context::{Context, changed_keys, jitter};
use super::error::Error;
use super::parking::Presence;
use super::status::Publication;
use crate::api::condition::{self, NewCondition};
use crate::api::names::FIELD_MANAGER_KEY;
use crate::api::{ManagedKey, ManagedKeyStatus};
use crate::telemetry::{Kind, Outcome};
use crate::telling::describe_watch;
use crate::watching::{self, WatchPauses};

/// How long a key is left alone when nothing happens to it. Changes are watched; this is a safety net.
const RESYNC: Duration = Duration::from_secs(3600);
/// How long until the next look at a key that was just written. Its echo usually comes first.
const SOON: Duration = Duration::from_secs(5);

/// The controller over one watch, until `stop`. The watch counts as present before it is first polled.
pub(super) fn run(
    ctx: Arc<Context>,
    api: Api<DeserializeGuard<ManagedKey>>,
    presence: Presence<ManagedKey>,
    approvals: watch::Receiver<()>,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) -> impl Future<Output = ()> + Send {
    let (reader, writer) = presence.watch();
    let seen = presence.clone();
    let keys = watching::watch(api)
        .modify(|key| key.managed_fields_mut().clear())
        .reflect(writer)
        .inspect(move |event| seen.see(event))
        .applied_objects()
        .predicate_filter(
            predicates::generation.combine(predicates::annotations),
            PredicateConfig::default(),
        );
    Controller::for_stream(keys, reader)
        .reconcile_on(with_changed_material(&ctx))
        .trigger_backoff(WatchPauses::default())
        .reconcile_all_on(WatchStream::from_changes(approvals))
        .with_config(controller::Config::default().concurrency(ctx.concurrency))
        .graceful_shutdown_on(stop)
        .run(
            move |key, ctx| reconcile(key, ctx, presence.clone()),
            |key, error, ctx| retry(&key, error, &ctx),
            ctx,
        )
        .for_each(|result| {
            if let Err(controller::Error::QueueError(error)) = result {
                warn!(
                    error = describe_watch(&error),
                    "the watch of keys broke; it is taken up again"
                );
            }
            future::ready(())
        })
}

/// Keys whose material changed. What they waited for may have come: they start over with the shortest wait.
fn with_changed_material(
    ctx: &Arc<Context>,
) -> impl Stream<Item = ObjectRef<ManagedKey>> + Send + use<> + 'static {
    let woken = ctx.clone();
    changed_keys(ctx).map(move |change| {
        let key = ObjectRef::new(&change.name).within(&change.namespace);
        woken.key_failures.reset(&key);
        key
    })
}

#[instrument(skip_all, fields(key = %ObjectRef::from_obj(&*key)))]
async fn reconcile(
    key: Arc<ManagedKey>,
    ctx: Arc<Context>,
    presence: Presence<ManagedKey>,
) -> Result<Action, Error> {
    let started = Instant::now();
    let result = reconcile_once(key.clone(), &ctx).await;
    presence.look_again(&ObjectRef::from_obj(&*key));
    let outcome = match &result {
        Ok(_) => Outcome::Success,
        Err(error) => error.class().into(),
    };
    ctx.metrics
        .reconciled(Kind::ManagedKey, outcome, started.elapsed());
    if result.is_ok() {
        ctx.key_failures.reset(&ObjectRef::from_obj(&*key));
    }
    result
}

async fn reconcile_once(key: Arc<ManagedKey>, ctx: &Context) -> Result<Action, Error> {
    let failures = ctx.key_failures.count(&ObjectRef::from_obj(&*key));
    let seen = match observe(key.clone(), ctx).await {
        Ok(seen) => seen,
        Err(error) => return Err(told(error, failures, &key, ctx).await?),
    };
    let plan = plan(&seen, ctx.now());
    for step in &plan.steps {
        if let Err(error) = apply::apply(step, &seen, ctx).await {
            return Err(told(error, failures, &key, ctx).await?);
        }
    }
    // A status that is about to be overtaken by the next look is not worth a write.
    if let (Some(status), Some(ready), true) = (&plan.status, &plan.ready, plan.steps.is_empty()) {
        publish(&key, status, ready, ctx).await?;
    }
    Ok(Action::requeue(next_look(&plan, ctx.now())))
}

/// When to look again: soon after a write, at the next instant that the plan waits for, and in any case once in a while.
fn next_look(plan: &Plan, now: Timestamp) -> Duration {
    if !plan.steps.is_empty() {
        return jittered(SOON, jitter());
    }
    let wait = jittered(RESYNC, jitter());
    let until = plan.next.map(|next| next.duration_since(now));
    match until.map(|until| Duration::try_from(until).unwrap_or_default()) {
        // A second later than planned, since timers may be early.
        Some(until) => wait.min(until + Duration::from_secs(1)),
        None => wait,
    }
}

/// Puts what failed into the status, unless trying again soon will mend it; what else was known stays.
async fn told(
    error: Error,
    failures: u32,
    key: &ManagedKey,
    ctx: &Context,
) -> Result<Error, Error> {
    if error.is_told(failures) {
        let ready = NewCondition::not_ready(error.reason(), error.to_string());
        let generation = key.metadata.generation.unwrap_or_default();
        let mut status = key.status.clone().unwrap_or_default();
        status.observed_generation = Some(generation);
        condition::set(&mut status.conditions, ready.clone(), generation, ctx.now());
        publish(key, &status, &ready, ctx).await?;
    }
    Ok(error)
}

async fn publish(
    key: &ManagedKey,
    new: &ManagedKeyStatus,
    ready: &NewCondition,
    ctx: &Context,
) -> Result<(), Error> {
    let old = key.status.as_ref();
    let publication = Publication {
        object: key,
        old,
        new,
        old_conditions: old.map(|s| s.conditions.as_slice()).unwrap_or_default(),
        ready,
        manager: FIELD_MANAGER_KEY,
    };
    publication.publish(ctx).await
}

/// When to try again.
fn retry(key: &ManagedKey, error: &Error, ctx: &Context) -> Action {
    let object = ObjectRef::from_obj(key);
    if error.is_logged(ctx.key_failures.count(&object)) {
        warn!(key = %object, %error, "a key could not be reconciled; it is tried again");
    }
    Action::requeue(ctx.key_failures.delay(object, error.class(), jitter()))
}
