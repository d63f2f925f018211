//! The rotation of the root key, carried out by the leader.
//!
//! A command only writes the request into the installation's record (`keystead root rotate`). The work is the leader's: it is
//! the one that may write the truth, it has the root keys loaded already, and a command that is killed half-way leaves
//! nothing behind. So no key ever passes through an administrator's terminal.

mod apply;
mod pass;
mod plan;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;
use tracing::warn;

use self::apply::Look;
use self::plan::{Seen, Step, step};
use super::backoff::{Failures, jittered};
use super::context::{Context, jitter};
use super::error::{Error, call};
use crate::api::KeyMaterial;
use crate::clock::Clocks;
use crate::crypto::Fingerprint;
use crate::installation::{Phase, Record};
use crate::keys::{KeyChanged, is_under};
use crate::roots::MissingRoot;

/// How often everything is looked at although nothing has changed.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// How soon after a step the next one is looked for.
const AT_ONCE: Duration = Duration::from_millis(50);
/// How long to wait before it is looked again for what holds a rotation up.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How long to wait, without a rotation, before what the API server refused is tried again.
const REFUSED_AFTER: Duration = Duration::from_secs(60);

/// Carries rotations of the root key out, for ever. The leader only.
pub(super) async fn run(ctx: Arc<Context>) {
    let mut news = ctx.installation.roots.news();
    let mut requests = ctx.record_changes.clone();
    let mut changes = ctx.key_changes.subscribe();
    let failures = Failures::default();
    loop {
        let wait = match look(&ctx).await {
            Ok(wait) => {
                failures.reset(&());
                wait
            }
            Err(error) => {
                warn!(%error, "the root key's rotation could not be looked at; it is tried again");
                failures.delay((), error.class(), jitter())
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            // They end with the process only.
            Ok(()) = requests.changed() => {}
            Ok(()) = news.changed() => {}
            () = wrapped_otherwise(&ctx, &mut changes) => tokio::time::sleep(AT_ONCE).await,
        }
    }
}

/// Ends when a key came in that is wrapped under another root key than the current one, and can be opened: somebody put
/// back what is older.
async fn wrapped_otherwise(ctx: &Context, changes: &mut broadcast::Receiver<KeyChanged>) {
    loop {
        match changes.recv().await {
            Ok(KeyChanged { namespace, name }) => {
                let current = ctx.installation.roots.current_fingerprint();
                let mut keys = ctx.keyring.named(&namespace, &name).into_iter();
                let openable =
                    |key: &crate::keys::Key| key.generations.iter().all(|g| g.material.is_ok());
                let sealing = ctx.keyring.sealing();
                let sealing =
                    sealing.is_some_and(|k| !is_under(&k.truth, current) && k.closed.is_empty());
                if sealing || keys.any(|key| !is_under(&key.truth, current) && openable(&key)) {
                    return;
                }
            }
            Err(broadcast::error::RecvError::Lagged(_)) => return,
            // The loader ended, and the process with it.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Looks, and does one step; returns how long until the next look.
async fn look(ctx: &Context) -> Result<Duration, Error> {
    let record = ctx.records.get().await.map_err(Error::Record)?;
    // A leader that is new may not have heard of the change yet.
    let switched = ctx.installation.roots.switch(record.root).await;
    switched.map_err(Error::Root)?;
    let (mut next_found, mut next_problem) = (false, None);
    if let Some(next) = next_of(&record) {
        match ctx.installation.roots.load(next).await {
            Ok(_) => next_found = true,
            // Only of one that is nowhere it is known that nobody kept it.
            Err(error @ MissingRoot::Nowhere { .. }) => next_problem = Some(error.to_string()),
            Err(error) if is(&record, Phase::Preparing) => return Err(Error::Root(error)),
            Err(error) => next_problem = Some(error.to_string()),
        }
    }
    let others = others(&record, ctx).await?;
    let clocks = clocks(&record, ctx).await?;
    let now = clocks.earlier();
    let seen = Seen {
        record: &record,
        now,
        next_found,
        next_problem,
        others: others.as_ref().map(Vec::len),
        held: record.hold_at(now).is_some(),
    };
    let step = step(&seen);
    let look = Look {
        record: &record,
        since: clocks.later(),
        ctx,
    };
    match step {
        Step::Rest => Ok(jittered(LOOK_EVERY, jitter())),
        Step::Wait(until) => {
            let wait = Duration::try_from(until.duration_since(seen.now)).unwrap_or_default();
            let wait = (wait + Duration::from_secs(1)).min(LOOK_EVERY);
            Ok(ctx.clock.timer(wait))
        }
        Step::Stuck(problem) => {
            apply::stuck(look, problem).await?;
            Ok(RETRY_AFTER)
        }
        step => {
            ctx.check_leadership()?;
            apply::apply(&step, others.unwrap_or_default(), look).await
        }
    }
}

fn is(record: &Record, phase: Phase) -> bool {
    record.rotation.as_ref().is_some_and(|r| r.phase == phase)
}

/// The next root key that is chosen and not yet the current one.
fn next_of(record: &Record) -> Option<Fingerprint> {
    let rotation = record.rotation.as_ref()?;
    match rotation.phase {
        Phase::Preparing | Phase::Distributing => rotation.next,
        Phase::Requested | Phase::Rewrapping | Phase::Forgetting | Phase::Removing => None,
    }
}

/// The keys that have a generation under another root key than the current one, asked of the API server; `None` while that
/// does not matter.
async fn others(record: &Record, ctx: &Context) -> Result<Option<Vec<KeyMaterial>>, Error> {
    let phase = record.rotation.as_ref().map(|rotation| rotation.phase);
    let counts = match phase {
        Some(Phase::Rewrapping | Phase::Forgetting | Phase::Removing) => true,
        Some(Phase::Requested | Phase::Preparing | Phase::Distributing) => false,
        // At rest what is in memory tells whether it is worth asking.
        None => {
            let (keys, sealing) = (ctx.keyring.all(), ctx.keyring.sealing());
            let keys = keys.iter().map(|key| &key.truth);
            let sealing = sealing.iter().map(|key| &key.truth);
            keys.chain(sealing)
                .any(|truth| !is_under(truth, record.root))
        }
    };
    if !counts {
        return Ok(None);
    }
    let mut all = call("list", "KeyMaterials", ctx.materials.all()).await?;
    all.retain(|truth| !is_under(truth, record.root));
    Ok(Some(all))
}

/// The time. Where it decides when a root key is removed, or since when that is waited for, two clocks tell it.
async fn clocks(record: &Record, ctx: &Context) -> Result<Clocks, Error> {
    match record.rotation.as_ref().map(|rotation| rotation.phase) {
        Some(Phase::Rewrapping | Phase::Forgetting | Phase::Removing) => ctx.clocks().await,
        None | Some(Phase::Requested | Phase::Preparing | Phase::Distributing) => {
            let own = ctx.now();
            Ok(Clocks { own, server: own })
        }
    }
}
