//! The sealing key of the installation: made once, followed by another every year, and published. The leader only.

mod plan;
mod publish;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::Status;
use kube::runtime::WatchStreamExt;
use kube::runtime::events::EventType;
use kube::runtime::watcher::watch_object;
use kube::{Api, ResourceExt};
use tracing::{info, warn};

use self::plan::{Seen, Step, step};
use super::backoff::{Failures, jittered};
use super::context::{Context, changed_keys, jitter, request_id};
use super::error::{Error, call, is};
use super::key_truth::replace;
use crate::api::names::{ANNOTATION_ROTATE, INSTALLATION, PUBLIC, PUBLIC_NAMESPACE, SEALING_KEY};
use crate::api::{KeyMaterial, KeyMaterialSpec, MaterialGeneration, Reason};
use crate::audit::{Entry, EventSource, Identity};
use crate::crypto::{OsRandom, SealingKeyId};
use crate::installation::{self, Changed};
use crate::keys::{NewKey, new_sealing_generation, new_sealing_key, sealing_key_id};
use crate::telemetry::Truth;
use crate::watching::WatchPauses;

/// How often it is looked although nothing has changed.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// How soon after a step the next one is looked for.
const AT_ONCE: Duration = Duration::from_millis(50);

/// Keeps the sealing key, for ever.
pub(super) async fn run(ctx: Arc<Context>) {
    let mut requests = ctx.record_changes.clone();
    let mut keys = Box::pin(changed_keys(&ctx).filter(|changed| {
        let ours = changed.name == SEALING_KEY && changed.namespace == ctx.namespace;
        std::future::ready(ours)
    }));
    let mut published = published(&ctx);
    let (failures, mut said) = (Failures::default(), None);
    loop {
        let wait = match look(&ctx, &mut said).await {
            Ok(wait) => {
                failures.reset(&());
                wait
            }
            Err(error) => {
                warn!(%error, "the sealing key could not be looked at; it is tried again");
                failures.delay((), error.class(), jitter())
            }
        };
        tokio::select! {
            () = passed(wait, &ctx) => {}
            // They end with the process only.
            Ok(()) = requests.changed() => {}
            Some(_) = keys.next() => {}
            Some(()) = published.next() => {}
        }
    }
}

/// Changes of what is published. None if nothing is.
fn published(ctx: &Context) -> futures::stream::BoxStream<'static, ()> {
    if !ctx.sealing.publish {
        return futures::stream::pending().boxed();
    }
    let maps: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), PUBLIC_NAMESPACE);
    watch_object(maps, PUBLIC)
        .backoff(WatchPauses::default())
        .filter_map(|seen| std::future::ready(seen.ok().map(drop)))
        .boxed()
}

/// Looks, does one step or publishes; returns how long until the next look.
async fn look(ctx: &Context, said: &mut Option<SealingKeyId>) -> Result<Duration, Error> {
    let record = ctx.records.get().await.map_err(Error::Record)?;
    let id = sealing_key_id(ctx.installation.id);
    let object = format!("KeyMaterial {id}");
    let truth = call("get", &object, ctx.materials.get(&id.to_string())).await?;
    let annotations = truth.as_ref().map(ResourceExt::annotations);
    let token = annotations.and_then(|annotations| annotations.get(ANNOTATION_ROTATE));
    let now = ctx.now();
    let seen = Seen {
        truth: truth.as_ref().map(|truth| &truth.spec),
        recorded: record.sealing_key,
        token: token.map(String::as_str),
        period: ctx.sealing.period,
        held: record.hold_at(now).is_some(),
    };
    let step = step(&seen, now);
    match &step {
        Step::Make => make(ctx).await?,
        Step::Rotate { token } => {
            let truth = truth.expect("what is rotated is there");
            rotate(truth, token.as_deref(), ctx).await?;
        }
        Step::Record(newest) => remember(*newest, ctx).await?,
        Step::Lost(_) | Step::Rest(_) => {}
    }
    let wait = match step {
        Step::Make | Step::Rotate { .. } | Step::Record(_) => return Ok(AT_ONCE),
        Step::Lost(lost) => {
            if said.replace(lost) != Some(lost) {
                tell_lost(lost, ctx).await;
            }
            LOOK_EVERY
        }
        Step::Rest(until) => {
            *said = None;
            until.map_or(LOOK_EVERY, |until| {
                let wait = Duration::try_from(until.duration_since(now)).unwrap_or_default();
                (wait + Duration::from_secs(1)).min(LOOK_EVERY)
            })
        }
    };
    // What was published is not taken back where no key can be opened.
    let sealing = ctx.keyring.sealing().filter(|_| ctx.sealing.publish);
    if let Some(sealing) = sealing.filter(|sealing| !sealing.public.is_empty()) {
        publish::publish(&sealing.public, ctx).await?;
    }
    Ok(jittered(wait, jitter()))
}

/// Ends when that much time has passed by the clock, which a test may move.
async fn passed(wait: Duration, ctx: &Context) {
    let until = ctx.now().checked_add(wait);
    // Beyond the end of time there is nothing to wait for.
    while let Ok(left) = until.as_ref().map(|until| until.duration_since(ctx.now())) {
        match Duration::try_from(left) {
            Ok(left) if !left.is_zero() => tokio::time::sleep(ctx.clock.timer(left)).await,
            Ok(_) | Err(_) => return,
        }
    }
    std::future::pending::<()>().await;
}

async fn make(ctx: &Context) -> Result<(), Error> {
    let id = sealing_key_id(ctx.installation.id);
    let mut spec = new_sealing_key(
        ctx.installation.id,
        &ctx.installation.region,
        &ctx.namespace,
    );
    let first = generation(&spec, ctx)?;
    spec.generations.push(first);
    told("CreateSealingKey", &spec, "the installation had none", ctx).await?;
    ctx.check_leadership()?;
    let object = format!("KeyMaterial {id}");
    match call("create", object, ctx.materials.create(id, spec)).await {
        Ok(_) => {
            ctx.metrics.truth_written(Truth::KeyMaterial);
            info!("the sealing key was made");
            Ok(())
        }
        // Made by an earlier attempt whose answer was lost, or by another leader: that one counts.
        Err(Error::Api { source, .. }) if is(&source, Status::is_already_exists) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn rotate(mut truth: KeyMaterial, token: Option<&str>, ctx: &Context) -> Result<(), Error> {
    let next = generation(&truth.spec, ctx)?;
    truth.spec.generations.push(next);
    let why = match token {
        Some(token) => {
            truth.spec.rotation.consume(token);
            "asked by the annotation"
        }
        None => "the newest key is as old as it may get",
    };
    told("RotateSealingKey", &truth.spec, why, ctx).await?;
    replace(&truth, ctx).await?;
    info!(why, "another sealing key was made");
    Ok(())
}

fn generation(spec: &KeyMaterialSpec, ctx: &Context) -> Result<MaterialGeneration, Error> {
    let new = NewKey {
        installation: ctx.installation.id,
        root: &ctx.installation.roots.current(),
        id: sealing_key_id(ctx.installation.id),
        now: ctx.now(),
    };
    new_sealing_generation(&new, spec, &mut OsRandom).map_err(|_| Error::Random)
}

/// A line of the audit trail about a key that is about to be made: without it, it is not.
async fn told(name: &str, spec: &KeyMaterialSpec, why: &str, ctx: &Context) -> Result<(), Error> {
    let who = Identity::controller();
    let mut entry = Entry::allowed(EventSource::Kms, name, who, &request_id());
    let newest = spec.generations.last().map(|g| g.material_id.clone());
    entry.request_parameters.other = newest
        .into_iter()
        .map(|id| ("sealingKey".to_owned(), id))
        .collect();
    why.clone_into(&mut entry.reason);
    ctx.trail.write(entry).await.map_err(Error::Audit)
}

/// Writes down which key is the newest, so that its loss is noticed.
async fn remember(newest: SealingKeyId, ctx: &Context) -> Result<(), Error> {
    ctx.check_leadership()?;
    let changed = ctx.records.change(|record| -> Result<bool, Infallible> {
        let differs = record.sealing_key != Some(newest);
        record.sealing_key = Some(newest);
        Ok(differs)
    });
    let Ok(changed) = changed.await.map_err(Error::Record)?;
    if matches!(changed, Changed::Written(_)) {
        ctx.metrics.truth_written(Truth::Installation);
    }
    Ok(())
}

async fn tell_lost(lost: SealingKeyId, ctx: &Context) {
    let note = format!(
        "sealing key {lost} was made and is gone: what is sealed under it does not open, and none is made in its place. Restore \
         KeyMaterial {} in {} from a backup; if there is none, take the entry sealingKey out of ConfigMap {INSTALLATION} and seal \
         everything anew",
        sealing_key_id(ctx.installation.id),
        ctx.namespace
    );
    warn!(note, "a sealing key is lost");
    let object = installation::reference(&ctx.namespace);
    let reason = Reason::SealingKeyLost;
    ctx.event(&object, EventType::Warning, reason, note).await;
}
