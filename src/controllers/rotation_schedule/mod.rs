//! The controller of `RotationSchedule`: decides what comes next in the rotation of a secret, tells the other side, and asks the
//! controller of the secret, which alone writes the truth about it, for the rest.
//!
//! ```text
//! schedule, truth about the secret ─▶ machine ─┬─▶ SetSecret, TestSecret (outside)
//!                                              └─▶ asked of the secret's controller ─▶ truth ─▶ looked at again
//! ```

mod answer;
mod check;
mod consumers;
mod events;
mod observe;
mod outside;
mod plan;
mod status;
mod told;
mod words;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt, future, stream};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::jiff::Timestamp;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{Controller, Predicate, PredicateConfig, WatchStreamExt, predicates};
use kube::{Api, Resource, ResourceExt};
use tracing::instrument;

use self::observe::{Observed, observe};
use self::outside::Answer;
use self::plan::{Doing, Plan};
use super::backoff::jittered;
use super::context::{Context, jitter};
use super::error::{Class, Error};
use super::parking::Presence;
use super::run::{drive, retry, tell_broken};
use super::status::{publish, tell};
use crate::api::names::LABEL_ROTATION_VERSION;
use crate::api::{ManagedSecret, RotationSchedule};
use crate::crypto::OsRandom;
use crate::telemetry::{Kind, Outcome};
use crate::watching::{self, WatchPauses};

/// How long a schedule is left alone when nothing happens to it. Changes are watched; this is a safety net.
const RESYNC: Duration = Duration::from_secs(3600);
/// How long until the next look at a secret of which something was asked. It is told when that was done.
const ASKED: Duration = Duration::from_secs(30);
/// How long until the next look at what somebody has to mend.
const STUCK: Duration = Duration::from_secs(300);

/// The controller over one watch, until `stop`.
pub(super) fn run<S>(
    ctx: Arc<Context>,
    api: Api<DeserializeGuard<RotationSchedule>>,
    jobs: Api<PartialObjectMeta<Job>>,
    (schedules, secrets): (Presence<RotationSchedule>, Presence<ManagedSecret>),
    stop: S,
) -> impl Future<Output = ()> + Send + use<S>
where
    S: Future<Output = ()> + Send + Sync + 'static,
{
    let (reader, writer, seen) = schedules.watch();
    let events = watching::watch(api)
        .modify(|schedule| schedule.metadata.managed_fields = None)
        .reflect(writer)
        .inspect(move |event| seen.see(event));
    let stream = watching::objects(events, reader.clone()).predicate_filter(
        predicates::generation.combine(predicates::annotations),
        PredicateConfig::default(),
    );
    let controller = Controller::for_stream(stream, reader.clone())
        .reconcile_on(of_secrets(&ctx, reader.clone()))
        .reconcile_on(of_jobs(jobs, reader))
        .trigger_backoff(WatchPauses::default())
        .with_config(controller::Config::default().concurrency(ctx.concurrency))
        .graceful_shutdown_on(stop)
        .run(
            move |schedule, ctx| reconcile(schedule, ctx, (schedules.clone(), secrets.clone())),
            |schedule, error, ctx| retry(&schedule, error, &ctx.schedule_failures),
            ctx,
        );
    drive(controller)
}

/// Schedules whose secrets were looked at.
fn of_secrets(
    ctx: &Arc<Context>,
    known: Store<RotationSchedule>,
) -> impl Stream<Item = ObjectRef<RotationSchedule>> + Send + use<> {
    let index = ctx.clone();
    ctx.rotations.woken().flat_map(move |woken| {
        // Too many at once to be told one by one: all of them.
        let woken = woken.map_or_else(|_| index.rotations.schedules(), |one| vec![one]);
        let (there, gone) = woken
            .into_iter()
            .partition::<Vec<_>, _>(|it| known.get(it).is_some());
        for schedule in gone {
            index.rotations.unfollow(&schedule);
        }
        stream::iter(there)
    })
}

/// Schedules whose Jobs changed. Of all Jobs only those of rotations are watched, of these the metadata, and none is cached. Whoever
/// misses a change looks again all the same, later.
fn of_jobs(
    jobs: Api<PartialObjectMeta<Job>>,
    known: Store<RotationSchedule>,
) -> impl Stream<Item = ObjectRef<RotationSchedule>> + Send {
    let ours = watcher::Config::default().labels(LABEL_ROTATION_VERSION);
    watching::watch_selected(jobs, ours).filter_map(move |event| {
        let changed = match event.inspect_err(tell_broken::<PartialObjectMeta<Job>>) {
            Ok(Event::Apply(job) | Event::InitApply(job) | Event::Delete(job)) => owner(&job),
            Ok(Event::Init | Event::InitDone) | Err(_) => None,
        };
        // Jobs go with their schedule.
        future::ready(changed.filter(|schedule| known.get(schedule).is_some()))
    })
}

fn owner(job: &PartialObjectMeta<Job>) -> Option<ObjectRef<RotationSchedule>> {
    let owners = job.metadata.owner_references.iter().flatten();
    let mut owners = owners.filter(|owner| owner.kind == RotationSchedule::kind(&()));
    let name = &owners.next()?.name;
    Some(ObjectRef::new(name).within(job.metadata.namespace.as_deref()?))
}

impl RotationSchedule {
    /// The secret that it is about.
    fn secret(&self) -> ObjectRef<ManagedSecret> {
        let namespace = self.namespace().unwrap_or_default();
        ObjectRef::new(&self.spec.secret_ref.name).within(&namespace)
    }
}

#[instrument(skip_all, fields(schedule = %ObjectRef::from_obj(&*schedule)))]
async fn reconcile(
    schedule: Arc<RotationSchedule>,
    ctx: Arc<Context>,
    known: (Presence<RotationSchedule>, Presence<ManagedSecret>),
) -> Result<Action, Error> {
    let started = Instant::now();
    let result = reconcile_once(schedule, &ctx, &known).await;
    let outcome = match &result {
        Ok((_, outcome)) => *outcome,
        Err(error) => error.class().into(),
    };
    ctx.metrics
        .reconciled(Kind::RotationSchedule, outcome, started.elapsed());
    result.map(|(wait, _)| Action::requeue(wait))
}

async fn reconcile_once(
    schedule: Arc<RotationSchedule>,
    ctx: &Context,
    known: &(Presence<RotationSchedule>, Presence<ManagedSecret>),
) -> Result<(Duration, Outcome), Error> {
    // Whoever is not listed yet must not be taken for gone: an older schedule, or the secret.
    known.0.complete().await;
    known.1.complete().await;
    let object = ObjectRef::from_obj(&*schedule);
    let failures = ctx.schedule_failures.count(&object);
    let seen = match observe(schedule.clone(), known, ctx).await {
        Ok(seen) => seen,
        Err(error) => return Err(tell(&*schedule, error, failures, ctx).await?),
    };
    let planned = carry_out(&seen, failures, ctx).await;
    // Also of the steps, which may have been refused a key that changed meanwhile.
    seen.uses.record_refused(ctx).await;
    let (plan, now) = match planned {
        Ok(planned) => planned,
        Err(error) => return Err(tell(&*schedule, error, failures, ctx).await?),
    };
    let status = status::status(&seen, &plan, ctx.now());
    publish(&*schedule, &status, &plan.ready, ctx).await?;
    Ok(next_look(&plan, object, now, ctx))
}

/// Decides. What rests on a time being over is decided by both clocks: neither of them alone, put forward, rotates or retires anything.
async fn decide(seen: &Observed, ctx: &Context) -> Result<(Plan, Timestamp), Error> {
    let now = ctx.now();
    let plan = plan::plan(seen, now, &mut OsRandom);
    if !plan.is_timed {
        return Ok((plan, now));
    }
    let agreed = ctx.clocks().await?.earlier();
    if agreed >= now {
        return Ok((plan, now));
    }
    Ok((plan::plan(seen, agreed, &mut OsRandom), agreed))
}

/// Decides, and does it; and the time that it was decided at.
async fn carry_out(
    seen: &Observed,
    failures: u32,
    ctx: &Context,
) -> Result<(Plan, Timestamp), Error> {
    let (mut plan, now) = decide(seen, ctx).await?;
    let mut answered = None;
    if let Doing::Errand(errand) = &plan.doing {
        let errand = errand.clone();
        plan = match outside::run(&errand, seen, ctx).await? {
            Answer::Underway { what, job } => answer::underway(plan, what, job),
            Answer::Came(outcome) => {
                told::tried(&errand, &outcome, seen, ctx);
                let after =
                    answer::after(plan, seen, errand.clone(), &outcome, (now, &mut OsRandom));
                answered = Some((errand, outcome));
                after
            }
        };
        plan.attempts = i64::from(failures) + i64::from(matches!(plan.doing, Doing::Retry));
    }
    // What was asked for already was told already.
    let is_news = match &plan.doing {
        Doing::Ask(asked) => ctx
            .rotations
            .ask(&seen.schedule.secret(), (**asked).clone()),
        _ => true,
    };
    if is_news {
        if let Some((errand, outcome)) = &answered {
            events::answered(errand, outcome, seen, ctx).await;
        }
        if let Doing::Ask(asked) = &plan.doing {
            told::asked(asked, seen, ctx);
            events::asked(asked, seen, ctx).await;
        }
    }
    Ok((plan, now))
}

/// When to look again. What is tried again is tried ever more slowly.
fn next_look(
    plan: &Plan,
    object: ObjectRef<RotationSchedule>,
    now: Timestamp,
    ctx: &Context,
) -> (Duration, Outcome) {
    let wait = match &plan.doing {
        // Whoever looks at a call that takes its time counts on.
        Doing::Wait => return (jittered(ASKED, jitter()), Outcome::Waiting),
        Doing::Ask(_) | Doing::Errand(_) => jittered(ASKED, jitter()),
        Doing::Retry => {
            let wait = ctx
                .schedule_failures
                .delay(object, Class::Transient, jitter());
            return (wait, Outcome::Waiting);
        }
        Doing::Nothing if plan.ready.status => jittered(RESYNC, jitter()),
        Doing::Nothing => jittered(STUCK, jitter()),
    };
    ctx.schedule_failures.reset(&object);
    let until = |next: Timestamp| {
        let wait = Duration::try_from(next.duration_since(now)).unwrap_or_default();
        // A moment later than planned, since timers may be early.
        ctx.clock.timer(wait + Duration::from_millis(100))
    };
    let wait = plan.next.map_or(wait, |next| wait.min(until(next)));
    let outcome = if plan.ready.status {
        Outcome::Success
    } else {
        Outcome::Waiting
    };
    (wait, outcome)
}
