//! The controller of `KeyAlias`: whether an alias stands for a key. What names an alias looks it up itself.

mod observe;
mod plan;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use kube::core::DeserializeGuard;
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{Controller, PredicateConfig, WatchStreamExt, predicates};
use kube::{Api, ResourceExt};
use tracing::instrument;

use self::observe::observe;
use self::plan::plan;
use super::backoff::jittered;
use super::context::{Context, changed_keys, jitter};
use super::error::Error;
use super::parking::Presence;
use super::run::{drive, retry};
use super::status::publish;
use crate::api::KeyAlias;
use crate::telemetry::{Kind, Outcome};
use crate::watching::{self, WatchPauses};

/// How long an alias is left alone when nothing happens to it. Changes are watched; this is a safety net.
const RESYNC: Duration = Duration::from_secs(3600);

/// The controller over one watch, until `stop`. The watch counts as present before it is first polled.
pub(super) fn run<S>(
    ctx: Arc<Context>,
    api: Api<DeserializeGuard<KeyAlias>>,
    presence: &Presence<KeyAlias>,
    stop: S,
) -> impl Future<Output = ()> + Send + use<S>
where
    S: Future<Output = ()> + Send + Sync + 'static,
{
    let (reader, writer, seen) = presence.watch();
    let events = watching::watch(api)
        .modify(|alias| alias.metadata.managed_fields = None)
        .reflect(writer)
        .inspect(move |event| seen.see(event));
    let aliases = watching::objects(events, reader.clone())
        .predicate_filter(predicates::generation, PredicateConfig::default());
    let controller = Controller::for_stream(aliases, reader.clone())
        .reconcile_on(of_changed_keys(&ctx, reader))
        .trigger_backoff(WatchPauses::default())
        .with_config(controller::Config::default().concurrency(ctx.concurrency))
        .graceful_shutdown_on(stop)
        .run(
            reconcile,
            |alias, error, ctx| retry(&alias, error, &ctx.alias_failures),
            ctx,
        );
    drive(controller)
}

/// Aliases of keys that changed. There are few, so that looking through them costs less than an index.
fn of_changed_keys(
    ctx: &Arc<Context>,
    aliases: Store<KeyAlias>,
) -> impl Stream<Item = ObjectRef<KeyAlias>> + Send + use<> + 'static {
    changed_keys(ctx).flat_map(move |key| {
        let named = |alias: &Arc<KeyAlias>| {
            alias.spec.key_ref.name == key.name
                && alias.namespace().as_deref() == Some(&key.namespace)
        };
        let found: Vec<_> = aliases.state().into_iter().filter(named).collect();
        futures::stream::iter(found).map(|alias| ObjectRef::from_obj(&*alias))
    })
}

#[instrument(skip_all, fields(alias = %ObjectRef::from_obj(&*alias)))]
async fn reconcile(alias: Arc<KeyAlias>, ctx: Arc<Context>) -> Result<Action, Error> {
    let started = Instant::now();
    let object = ObjectRef::from_obj(&*alias);
    let result = reconcile_once(alias, &ctx).await;
    let outcome = match &result {
        Ok(outcome) => *outcome,
        Err(error) => error.class().into(),
    };
    ctx.metrics
        .reconciled(Kind::KeyAlias, outcome, started.elapsed());
    result?;
    ctx.alias_failures.reset(&object);
    Ok(Action::requeue(jittered(RESYNC, jitter())))
}

async fn reconcile_once(alias: Arc<KeyAlias>, ctx: &Context) -> Result<Outcome, Error> {
    let seen = observe(alias, ctx);
    let Some(plan) = plan(&seen, ctx.now()) else {
        return Ok(Outcome::Success);
    };
    publish(&*seen.alias, &plan.status, &plan.ready, ctx).await?;
    Ok(if plan.ready.status {
        Outcome::Success
    } else {
        Outcome::Waiting
    })
}
