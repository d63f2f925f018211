//! The controller of `KeyGrant`: which grants are in force, in the truth about their keys, so that every replica knows
//! them from the one watch that it has.

pub(crate) mod absence;
mod observe;
mod plan;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use k8s_openapi::jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{Controller, Predicate, PredicateConfig, WatchStreamExt, predicates};
use kube::{Api, ResourceExt};
use tracing::instrument;

use self::observe::{Observed, observe};
use self::plan::plan;
use super::backoff::jittered;
use super::context::{Context, changed_keys, jitter};
use super::error::Error;
use super::key_changes::{self, KeyChange};
use super::parking::Presence;
use super::run::{drive, retry};
use super::status::{publish, tell};
use crate::api::{KeyGrant, KeyMaterial};
use crate::audit::Identity;
use crate::telemetry::{Kind, Outcome};
use crate::watching::{self, WatchPauses};

/// How long a grant is left alone when nothing happens to it. Changes are watched; this is a safety net.
const RESYNC: Duration = Duration::from_secs(3600);
/// How long until the next look at a grant whose key was just written. Its echo usually comes first.
const SOON: Duration = Duration::from_secs(5);

/// The controller over one watch, until `stop`. The watch counts as present before it is first polled.
pub(super) fn run<S>(
    ctx: Arc<Context>,
    api: Api<DeserializeGuard<KeyGrant>>,
    presence: Presence<KeyGrant>,
    stop: S,
) -> impl Future<Output = ()> + Send + use<S>
where
    S: Future<Output = ()> + Send + Sync + 'static,
{
    let (reader, writer, seen) = presence.watch();
    let events = watching::watch(api)
        .modify(|grant| grant.metadata.managed_fields = None)
        .reflect(writer)
        .inspect(move |event| seen.see(event));
    let grants = watching::objects(events, reader.clone()).predicate_filter(
        // The date of a deletion changes the generation too.
        predicates::generation.combine(predicates::annotations),
        PredicateConfig::default(),
    );
    let controller = Controller::for_stream(grants, reader.clone())
        .reconcile_on(of_changed_keys(&ctx, reader))
        .trigger_backoff(WatchPauses::default())
        .with_config(controller::Config::default().concurrency(ctx.concurrency))
        .graceful_shutdown_on(stop)
        .run(
            move |grant, ctx| reconcile(grant, ctx, presence.clone()),
            |grant, error, ctx| retry(&grant, error, &ctx.grant_failures),
            ctx,
        );
    drive(controller)
}

/// Grants of keys that changed.
fn of_changed_keys(
    ctx: &Arc<Context>,
    grants: Store<KeyGrant>,
) -> impl Stream<Item = ObjectRef<KeyGrant>> + Send + use<> + 'static {
    let woken = ctx.clone();
    changed_keys(ctx).flat_map(move |key| {
        let named = |grant: &Arc<KeyGrant>| {
            grant.spec.key_ref.name == key.name
                && grant.namespace().as_deref() == Some(&key.namespace)
        };
        let found = grants.state().into_iter().filter(named);
        let found: Vec<_> = found.map(|grant| ObjectRef::from_obj(&*grant)).collect();
        for grant in &found {
            woken.grant_failures.reset(grant);
        }
        futures::stream::iter(found)
    })
}

#[instrument(skip_all, fields(grant = %ObjectRef::from_obj(&*grant)))]
async fn reconcile(
    grant: Arc<KeyGrant>,
    ctx: Arc<Context>,
    presence: Presence<KeyGrant>,
) -> Result<Action, Error> {
    let started = Instant::now();
    let object = ObjectRef::from_obj(&*grant);
    let result = reconcile_once(grant, &ctx).await;
    presence.look_again(&object);
    let outcome = match &result {
        Ok((_, outcome)) => *outcome,
        Err(error) => error.class().into(),
    };
    ctx.metrics
        .reconciled(Kind::KeyGrant, outcome, started.elapsed());
    if result.is_ok() {
        ctx.grant_failures.reset(&object);
    }
    result.map(|(action, _)| action)
}

async fn reconcile_once(grant: Arc<KeyGrant>, ctx: &Context) -> Result<(Action, Outcome), Error> {
    let failures = ctx.grant_failures.count(&ObjectRef::from_obj(&*grant));
    let seen = match observe(grant.clone(), ctx).await {
        Ok(seen) => seen,
        Err(error) => return Err(tell(&*grant, error, failures, ctx).await?),
    };
    let plan = plan(&seen, ctx.now());
    for truth in &plan.steps {
        if let Err(error) = replace(truth, &seen, ctx).await {
            return Err(tell(&*grant, error, failures, ctx).await?);
        }
    }
    let mut outcome = Outcome::Success;
    if let Some((status, ready)) = &plan.status {
        publish(&*grant, status, ready, ctx).await?;
        if !ready.status {
            outcome = Outcome::Waiting;
        }
    }
    Ok((Action::requeue(next_look(&plan, ctx)), outcome))
}

/// The only effect there is: the truth about a key, in the state that it was seen in, with or without the grant.
async fn replace(truth: &KeyMaterial, seen: &Observed, ctx: &Context) -> Result<(), Error> {
    let mut known = seen.key.iter().chain(&seen.strays);
    let before = known.find(|key| key.name_any() == truth.name_any());
    let changes = before.map(|before| key_changes::changes(&before.spec, &truth.spec));
    let change = KeyChange {
        truth,
        changes: changes.unwrap_or_default(),
        who: Identity::controller(),
        reason: "as the KeyGrant says",
    };
    change.replace(ctx).await
}

/// When to look again: soon after a write, at the next instant that the plan waits for, and in any case once in a while.
fn next_look(plan: &plan::Plan, ctx: &Context) -> Duration {
    if !plan.steps.is_empty() {
        return jittered(SOON, jitter());
    }
    let wait = jittered(RESYNC, jitter());
    let until =
        |next: Timestamp| Duration::try_from(next.duration_since(ctx.now())).unwrap_or_default();
    plan.next.map_or(wait, |next| {
        // A moment later than planned, since timers may be early; what has expired gives nothing in the meantime.
        wait.min(ctx.clock.timer(until(next) + Duration::from_millis(100)))
    })
}
