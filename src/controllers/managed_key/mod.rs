//! The controller of `ManagedKey`: material, and Enabled or Disabled.

pub(crate) mod absence;
mod agreement;
mod apply;
pub(crate) mod deletion;
pub(crate) mod destruction;
pub(crate) mod import;
mod import_source;
mod observe;
mod plan;
mod policy;
mod ready;
mod rotation;
mod status;
#[cfg(test)]
mod testing;
mod trim;
pub(crate) mod trimming;
mod usage;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt, stream};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{self, Action};
use kube::runtime::predicates;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Controller, Predicate, PredicateConfig, WatchStreamExt};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tracing::instrument;

use self::observe::observe;
use self::plan::{Plan, plan};
use super::backoff::jittered;
use super::census;
use super::context::{Context, changed_keys, jitter};
use super::error::Error;
use super::parking::Presence;
use super::run::{drive, retry};
use super::status::{publish, tell};
use crate::api::{KeyState, ManagedKey};
use crate::telemetry::{Kind, Outcome};
use crate::watching::{self, WatchPauses};

/// How long a key is left alone when nothing happens to it. Changes are watched; this is a safety net.
const RESYNC: Duration = Duration::from_secs(3600);
/// The same for a key that waits for its end, which changes nothing for weeks: a look counts what depends on it, and
/// three a day are enough.
const RESYNC_PENDING: Duration = Duration::from_secs(12 * 3600);
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
    let (reader, writer, seen) = presence.watch();
    let events = watching::watch(api)
        .modify(|key| key.metadata.managed_fields = None)
        .reflect(writer)
        .inspect(move |event| seen.see(event));
    let keys = watching::objects(events, reader.clone()).predicate_filter(
        predicates::generation.combine(predicates::annotations),
        PredicateConfig::default(),
    );
    let controller = Controller::for_stream(keys, reader)
        .reconcile_on(with_changed_material(&ctx))
        .trigger_backoff(WatchPauses::default())
        .reconcile_all_on(WatchStream::from_changes(approvals))
        .with_config(controller::Config::default().concurrency(ctx.concurrency))
        .graceful_shutdown_on(stop)
        .run(
            move |key, ctx| reconcile(key, ctx, presence.clone()),
            |key, error, ctx| retry(&key, error, &ctx.key_failures),
            ctx,
        );
    drive(controller)
}

/// Keys whose material changed, or whose status has to tell of a use or of what needs them. What the former waited for may have
/// come: they start over with the shortest wait.
fn with_changed_material(
    ctx: &Arc<Context>,
) -> impl Stream<Item = ObjectRef<ManagedKey>> + Send + use<> + 'static {
    let woken = ctx.clone();
    let changed = changed_keys(ctx).map(move |change| {
        let key = ObjectRef::new(&change.name).within(&change.namespace);
        woken.key_failures.reset(&key);
        key
    });
    let told = stream::select(ctx.key_uses.news(), census::news(ctx));
    stream::select(changed, told)
}

#[instrument(skip_all, fields(key = %ObjectRef::from_obj(&*key)))]
async fn reconcile(
    key: Arc<ManagedKey>,
    ctx: Arc<Context>,
    presence: Presence<ManagedKey>,
) -> Result<Action, Error> {
    let started = Instant::now();
    let result = Box::pin(reconcile_once(key.clone(), &ctx)).await;
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
        Err(error) => return Err(tell(&*key, error, failures, ctx).await?),
    };
    let mut plan = plan(&seen, ctx.now());
    if let Err(error) = agreement::hold(&mut plan, &seen, ctx).await {
        return Err(tell(&*key, error, failures, ctx).await?);
    }
    for step in &plan.steps {
        if let Err(error) = apply::apply(step, &seen, ctx).await {
            return Err(tell(&*key, error, failures, ctx).await?);
        }
    }
    // A status that is about to be overtaken by the next look is not worth a write.
    if let (Some(status), Some(ready), true) = (&plan.status, &plan.ready, plan.steps.is_empty()) {
        publish(&*key, status, ready, ctx).await?;
    }
    Ok(Action::requeue(next_look(&plan, ctx.now())))
}

/// When to look again: soon after a write, at the next instant that the plan waits for, and in any case once in a while.
fn next_look(plan: &Plan, now: Timestamp) -> Duration {
    if !plan.steps.is_empty() {
        return jittered(SOON, jitter());
    }
    let pending = plan.status.as_ref().is_some_and(|status| {
        matches!(
            status.state,
            Some(KeyState::PendingDeletion | KeyState::DestructionDue)
        )
    });
    let wait = if pending { RESYNC_PENDING } else { RESYNC };
    let wait = jittered(wait, jitter());
    let until = plan.next.map(|next| next.duration_since(now));
    match until.map(|until| Duration::try_from(until).unwrap_or_default()) {
        // A second later than planned, since timers may be early.
        Some(until) => wait.min(until + Duration::from_secs(1)),
        None => wait,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::SignedDuration;

    use super::*;
    use crate::api::ManagedKeyStatus;

    fn waits(state: KeyState, until: Option<SignedDuration>) -> Duration {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let plan = Plan {
            steps: Vec::new(),
            status: Some(ManagedKeyStatus {
                state: Some(state),
                ..ManagedKeyStatus::default()
            }),
            ready: None,
            next: until.map(|until| now + until),
        };
        next_look(&plan, now)
    }

    #[test]
    fn a_key_that_waits_for_its_end_is_looked_at_at_most_three_times_a_day_and_at_its_date() {
        let third = Duration::from_secs(8 * 3600);
        for _ in 0..100 {
            let far = Some(SignedDuration::from_hours(30 * 24));
            assert!(waits(KeyState::PendingDeletion, far) >= third);
            assert!(waits(KeyState::DestructionDue, None) >= third);
            assert!(waits(KeyState::Enabled, far) <= Duration::from_secs(2 * 3600));
        }
        let near = Some(SignedDuration::from_secs(90));
        let exactly = Duration::from_secs(91);
        assert_eq!(waits(KeyState::PendingDeletion, near), exactly);
    }
}
