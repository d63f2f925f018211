//! The controller of `ManagedSecret`: versions in the truth, and their delivery.

mod apply;
mod delivery;
mod key;
mod observe;
mod plan;
mod requests;
mod sharing;
mod slim;
mod sources;
mod spec;
mod status;
mod step;
#[cfg(test)]
mod testing;
pub(crate) mod truth;
mod wake;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Controller, Predicate, PredicateConfig, WatchStreamExt, predicates};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tracing::instrument;

pub(crate) use self::sources::native::plain;
pub(crate) use self::spec::user_of;
pub(crate) use self::truth::opened;
pub(crate) use self::truth::other::read_other;

use self::delivery::rollout::{self, Advance};
use self::observe::{Observed, observe};
use self::plan::{Plan, plan};
use self::sharing::remote_source;
use self::slim::slim;
use self::sources::generated;
use self::step::Step;
use super::backoff::jittered;
use super::context::{Context, jitter};
use super::error::Error;
use super::parking::Presence;
use super::run::{drive, retry};
use crate::api::{KeyAlias, ManagedSecret};
use crate::crypto::OsRandom;
use crate::telemetry::{Kind, Outcome};
use crate::watching::{self, WatchPauses};

/// How long a secret is left alone when nothing happens to it. Changes are watched; this is a safety net.
const RESYNC: Duration = Duration::from_secs(3600);
/// How long until the next look at a secret whose plan prepared another.
const SOON: Duration = Duration::from_secs(1);
/// How long until the next look at a secret that waits for something. What it waits for is watched.
const WAITING: Duration = Duration::from_secs(300);

/// The watches of one scope.
pub(super) struct Watches {
    /// The secrets.
    pub(super) secrets: Api<DeserializeGuard<ManagedSecret>>,
    /// Native Secrets where they live; only their metadata is watched and none is cached.
    pub(super) targets: Api<PartialObjectMeta<Secret>>,
    /// The truth; only its metadata is watched.
    pub(super) truth: Api<PartialObjectMeta<Secret>>,
    /// Aliases of keys; only their metadata is watched.
    pub(super) aliases: Api<PartialObjectMeta<KeyAlias>>,
}

/// The controller over one scope, until `stop`. The watch counts as present before it is first polled.
pub(super) fn run(
    ctx: Arc<Context>,
    watches: Watches,
    presence: Presence<ManagedSecret>,
    approvals: watch::Receiver<()>,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) -> impl Future<Output = ()> + Send {
    let (reader, writer, seen) = presence.watch();
    let (sharing, mut following) = (ctx.clone(), ctx.sharing.follow());
    let living = ctx.clone();
    let events = watching::watch(watches.secrets)
        .modify(slim)
        .reflect(writer)
        .inspect(move |event| seen.see(event))
        .inspect(move |event| following.see(event, &sharing))
        .inspect(move |event| living.homes.see(event));
    let secrets = watching::objects(events, reader.clone()).predicate_filter(
        predicates::generation.combine(predicates::annotations),
        PredicateConfig::default(),
    );
    let controller = Controller::for_stream(secrets, reader)
        .reconcile_on(wake::by_targets(watches.targets, &ctx))
        .reconcile_on(wake::by_truth(watches.truth, &ctx))
        .reconcile_on(wake::by_aliases(watches.aliases, &ctx))
        .reconcile_on(wake::by_keys(&ctx))
        .reconcile_on(wake::by_replicas(&ctx))
        .reconcile_on(wake::by_rotations(&ctx))
        .reconcile_on(wake::by_changes(&ctx))
        .trigger_backoff(WatchPauses::default())
        .reconcile_all_on(WatchStream::from_changes(approvals))
        .with_config(controller::Config::default().concurrency(ctx.concurrency))
        .graceful_shutdown_on(stop)
        .run(
            move |secret, ctx| reconcile(secret, ctx, presence.clone()),
            |secret, error, ctx| retry(&secret, error, &ctx.secret_failures),
            ctx,
        );
    drive(controller)
}

#[instrument(skip_all, fields(secret = %ObjectRef::from_obj(&*secret)))]
async fn reconcile(
    secret: Arc<ManagedSecret>,
    ctx: Arc<Context>,
    presence: Presence<ManagedSecret>,
) -> Result<Action, Error> {
    let started = Instant::now();
    let result = reconcile_once(secret.clone(), &ctx).await;
    presence.look_again(&ObjectRef::from_obj(&*secret));
    let outcome = match &result {
        Ok((_, outcome)) => *outcome,
        Err(error) => error.class().into(),
    };
    ctx.metrics
        .reconciled(Kind::ManagedSecret, outcome, started.elapsed());
    if result.is_ok() {
        ctx.secret_failures.reset(&ObjectRef::from_obj(&*secret));
    }
    ctx.rotations.looked(&ObjectRef::from_obj(&*secret));
    result.map(|(action, _)| action)
}

async fn reconcile_once(
    secret: Arc<ManagedSecret>,
    ctx: &Context,
) -> Result<(Action, Outcome), Error> {
    let object = ObjectRef::from_obj(&*secret);
    let failures = ctx.secret_failures.count(&object);
    // What is due is due for the look and for the plan.
    let now = ctx.now();
    let seen = match observe(secret.clone(), now, ctx).await {
        Ok(seen) => seen,
        Err(error) => {
            if error.is_told(failures) {
                let (seen, plan) = (Observed::of(secret, ctx), Plan::failed(&error));
                publish(&seen, &plan, &Advance::default(), ctx).await?;
            }
            return Err(error);
        }
    };
    if let Some(replication) = &seen.replication {
        // Before its status says so: by that it is known whether it was written down.
        replication.record_denied(&seen.secret, ctx).await;
    }
    let planned = carry_out(&seen, &object, (failures, now), ctx).await;
    // After the steps, which may have been refused a key that changed meanwhile.
    seen.uses.record_refused(ctx).await;
    seen.issuers.record_refused(ctx).await;
    if let Some(replication) = &seen.replication {
        replication.uses.record_refused(ctx).await;
    }
    planned
}

/// Decides, does it, and says it.
async fn carry_out(
    seen: &Observed,
    object: &ObjectRef<ManagedSecret>,
    (failures, now): (u32, Timestamp),
    ctx: &Context,
) -> Result<(Action, Outcome), Error> {
    let plan = generated::with_time(&seen.secret, || plan(seen, now, &mut OsRandom));
    if let Some(wait) = repair_delay(&plan, object, ctx) {
        answer_meanwhile(&plan, seen, ctx).await?;
        return Ok((Action::requeue(wait), Outcome::Waiting));
    }
    if plan.background
        && let Some(wait) = ctx.reencryptions.admit(object, Instant::now())
    {
        return Ok((Action::requeue(wait), Outcome::Waiting));
    }
    let answered = match apply_all(&plan, seen, ctx).await {
        Ok(answered) => answered,
        Err(error) => {
            if error.is_told(failures) {
                publish(seen, &Plan::failed(&error), &Advance::default(), ctx).await?;
            }
            return Err(error);
        }
    };
    let restarts = rollout::advance(seen, &plan, ctx).await;
    publish(seen, &plan, &restarts, ctx).await?;
    answered?;
    let missed = ctx.references.has_missed(object);
    let poll = remote_source::is_remote(&seen.secret).then(|| ctx.remotes.poll());
    next_look(&plan, missed, restarts, poll, ctx.now())
}

/// Does every step. An answer that could not be given holds up nothing of the secret: it is the inner result, and given again by the
/// next look.
async fn apply_all(
    plan: &Plan,
    seen: &Observed,
    ctx: &Context,
) -> Result<Result<(), Error>, Error> {
    let mut answered = Ok(());
    for step in &plan.steps {
        match apply::apply(step, seen, ctx).await {
            Err(error) if matches!(step, Step::Answer(_)) => answered = Err(error),
            applied => applied?,
        }
    }
    Ok(answered)
}

/// A target that somebody else keeps changing is repaired at once, then ever more slowly: two writers in a fight
/// must not wear the API server out.
fn repair_delay(plan: &Plan, object: &ObjectRef<ManagedSecret>, ctx: &Context) -> Option<Duration> {
    if plan.steps.iter().any(Step::is_repair) {
        ctx.repairs.admit(object, ctx.now())
    } else {
        None
    }
}

/// Whoever asked for something that needs no new truth does not wait for the end of somebody else's fight.
async fn answer_meanwhile(plan: &Plan, seen: &Observed, ctx: &Context) -> Result<(), Error> {
    let writes = |step: &Step| matches!(step, Step::WriteTruth(_));
    let is_answer = |step: &&Step| matches!(step, Step::Answer(_));
    match plan.steps.iter().find(is_answer) {
        Some(answer) if !plan.steps.iter().any(writes) => apply::apply(answer, seen, ctx).await,
        _ => Ok(()),
    }
}

async fn publish(
    seen: &Observed,
    plan: &Plan,
    restarts: &Advance,
    ctx: &Context,
) -> Result<(), Error> {
    let Some(ready) = &plan.ready else {
        return Ok(());
    };
    let mut new = status::status(seen, plan, ready.clone(), ctx.now());
    let generation = seen.secret.metadata.generation.unwrap_or_default();
    restarts.tell(&mut new, generation, ctx.now());
    super::status::publish(&*seen.secret, &new, ready, ctx).await
}

/// `missed`: somebody else wrote while we did. `poll`: how long until the source is asked for again, if nobody tells when it
/// changes.
fn next_look(
    plan: &Plan,
    missed: bool,
    restarts: Advance,
    poll: Option<Duration>,
    now: Timestamp,
) -> Result<(Action, Outcome), Error> {
    let unmet = plan.ready.as_ref().filter(|ready| !ready.status);
    let (wait, outcome) = match (plan.soon || missed, unmet) {
        (true, _) => (SOON, Outcome::Success),
        (false, None) => (RESYNC, Outcome::Success),
        (false, Some(_)) => (WAITING, Outcome::Waiting),
    };
    let wait = plan.users_again.map_or(wait, |again| wait.min(again));
    let wait = poll.map_or(wait, |poll| wait.min(poll));
    let wait = jittered(restarts.wait(wait), jitter());
    let shown = plan.shown.as_ref();
    let renewal = shown.and_then(|shown| shown.until_renewal(now));
    let wait = renewal.map_or(wait, |renewal| wait.min(renewal));
    match restarts.error {
        Some(error) => Err(error),
        None => Ok((Action::requeue(wait), outcome)),
    }
}
