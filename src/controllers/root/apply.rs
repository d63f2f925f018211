//! The effects of the root key's rotation, each of them idempotent.

use std::convert::Infallible;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::EventType;
use tracing::{info, warn};

use super::pass;
use super::plan::Step;
use super::{AT_ONCE, RETRY_AFTER};
use crate::api::names::INSTALLATION;
use crate::api::{KeyMaterial, Reason};
use crate::audit::{Entry, EventSource, Identity};
use crate::controllers::context::{Context, request_id};
use crate::controllers::error::Error;
use crate::crypto::{Fingerprint, OsRandom, RootKey};
use crate::installation::{Changed, Phase, Record, RootRotation};
use crate::roots::ProviderKind;
use crate::telemetry::Truth;

/// Does one step; returns how long until the next look.
pub(super) async fn apply(
    step: &Step,
    record: &Record,
    others: Vec<KeyMaterial>,
    ctx: &Context,
) -> Result<Duration, Error> {
    match step {
        Step::Rest | Step::Wait(_) | Step::Stuck(_) => Ok(RETRY_AFTER),
        Step::Choose => choose(record, ctx).await,
        Step::Distribute => {
            change(record, ctx, |_, rotation| {
                rotation.phase = Phase::Distributing;
            })
            .await?;
            Ok(AT_ONCE)
        }
        Step::Switch(next) => switch(record, *next, ctx).await,
        Step::Rewrap => rewrap_all(record, others, ctx).await,
        Step::Finish => finish(record, ctx).await,
        Step::Condemn(old) => condemn(record, *old, ctx).await,
        Step::Forget(old) => forget(record, *old, ctx).await,
    }
}

/// Changes the rotation in the record, if it is still the one that was seen. If it is not, nothing of the step is so, and
/// everything is looked at anew.
async fn change(
    seen: &Record,
    ctx: &Context,
    change: impl Fn(&mut Record, &mut RootRotation),
) -> Result<Changed, Error> {
    ctx.check_leadership()?;
    let now = ctx.now();
    let changed = ctx.records.change(|record| -> Result<bool, Infallible> {
        let same = record.rotation == seen.rotation && record.root == seen.root;
        let Some(mut rotation) = record.rotation.clone().filter(|_| same) else {
            return Ok(false);
        };
        let phase = rotation.phase;
        change(record, &mut rotation);
        if rotation.phase != phase {
            rotation.since = now;
            rotation.problem = None;
        }
        if record.rotation.is_some() {
            record.rotation = Some(rotation);
        }
        Ok(true)
    });
    let Ok(changed) = changed.await.map_err(Error::Record)?;
    if matches!(changed, Changed::Written(_)) {
        ctx.metrics.truth_written(Truth::Installation);
    }
    Ok(changed)
}

/// Writes down what holds the rotation up, once.
pub(super) async fn stuck(record: &Record, problem: String, ctx: &Context) -> Result<(), Error> {
    let known = record.rotation.as_ref().and_then(|r| r.problem.as_ref());
    if known == Some(&problem) {
        return Ok(());
    }
    warn!(problem, "the rotation of the root key waits");
    let written = change(record, ctx, |_, rotation| {
        rotation.problem = Some(problem.clone());
    });
    if let Changed::Written(_) = written.await? {
        let reason = Reason::RootRotationWaiting;
        tell(EventType::Warning, reason, problem.clone(), ctx).await;
    }
    Ok(())
}

async fn choose(record: &Record, ctx: &Context) -> Result<Duration, Error> {
    let embedded = ctx.installation.roots.is_embedded();
    let asked = record.rotation.as_ref().and_then(|rotation| rotation.to);
    let to = asked.unwrap_or(if embedded {
        ProviderKind::Secret
    } else {
        ProviderKind::File
    });
    match to {
        ProviderKind::Secret => make(record, ctx).await,
        ProviderKind::File => take(record, ctx).await,
    }
}

/// Makes the next root key. Its fingerprint is in the record before it is kept, so that it is found by it; one that was not
/// kept is made again, since nothing is wrapped under it.
async fn make(record: &Record, ctx: &Context) -> Result<Duration, Error> {
    let Some(provider) = ctx.installation.roots.providers().of(ProviderKind::Secret) else {
        stuck(record, "no provider of Secrets".to_owned(), ctx).await?;
        return Ok(RETRY_AFTER);
    };
    let root = RootKey::generate(&mut OsRandom).map_err(|_| Error::Random)?;
    let next = root.fingerprint();
    let written = change(record, ctx, |_, rotation| {
        rotation.to = Some(ProviderKind::Secret);
        rotation.phase = Phase::Preparing;
        rotation.next = Some(next);
    });
    if let Changed::Written(_) = written.await? {
        provider.keep(&root).await.map_err(Error::RootProvider)?;
        ctx.metrics.truth_written(Truth::RootKey);
        info!(root = %next, "a new root key was made; back its Secret up");
    }
    Ok(AT_ONCE)
}

/// Takes the root key that somebody put into the file.
async fn take(record: &Record, ctx: &Context) -> Result<Duration, Error> {
    let next = match offered_by_file(record, ctx).await {
        Ok(next) => next,
        Err(problem) => {
            stuck(record, problem, ctx).await?;
            return Ok(RETRY_AFTER);
        }
    };
    change(record, ctx, |_, rotation| {
        rotation.to = Some(ProviderKind::File);
        rotation.phase = Phase::Distributing;
        rotation.next = Some(next);
    })
    .await?;
    Ok(AT_ONCE)
}

async fn offered_by_file(record: &Record, ctx: &Context) -> Result<Fingerprint, String> {
    let roots = &ctx.installation.roots;
    let Some(provider) = roots.providers().of(ProviderKind::File) else {
        return Err("the operator has no --root-file (root.file in the chart's values)".to_owned());
    };
    let place = provider.place();
    match provider.offered().await {
        Err(error) => Err(error.to_string()),
        Ok(None) => Err(format!(
            "there is no root key at {place}: put 32 random bytes there"
        )),
        Ok(Some(root)) if root.fingerprint() == record.root => Err(format!(
            "the root key at {place} is the current one already: put the new one there, and the current one into \
             --root-previous-file (root.file.previousPath in the chart's values)"
        )),
        Ok(Some(root)) => Ok(root.fingerprint()),
    }
}

/// A line of the audit trail about root keys, written before what it says is done.
async fn told(
    name: &str,
    parameters: [(&str, Fingerprint); 2],
    ctx: &Context,
) -> Result<(), Error> {
    let mut entry = Entry::allowed(
        EventSource::Kms,
        name,
        Identity::controller(),
        &request_id(),
    );
    let parameters = parameters.into_iter();
    entry.request_parameters.other = parameters
        .map(|(name, root)| (name.to_owned(), root.to_string()))
        .collect();
    "asked by `keystead root rotate`".clone_into(&mut entry.reason);
    ctx.trail.write(entry).await.map_err(Error::Audit)
}

/// One write: the next root key is the current one, and what is under another is to be wrapped anew.
async fn switch(record: &Record, next: Fingerprint, ctx: &Context) -> Result<Duration, Error> {
    told("RotateRootKey", [("from", record.root), ("to", next)], ctx).await?;
    let written = change(record, ctx, |record, rotation| {
        record.root = next;
        record.retired.retain(|retired| *retired != next);
        record.objections.clear();
        rotation.phase = Phase::Rewrapping;
    });
    if let Changed::Written(_) = written.await? {
        let switched = ctx.installation.roots.switch(next).await;
        switched.map_err(Error::Root)?;
        info!(from = %record.root, to = %next, "another root key is the current one");
    }
    Ok(AT_ONCE)
}

/// Wraps anew what is wrapped under another root key.
async fn rewrap_all(
    record: &Record,
    others: Vec<KeyMaterial>,
    ctx: &Context,
) -> Result<Duration, Error> {
    let pass = pass::rewrap_all(others, ctx).await?;
    let Some(problem) = pass.problem() else {
        return Ok(AT_ONCE);
    };
    if record.rotation.is_some() {
        stuck(record, problem, ctx).await?;
        Ok(RETRY_AFTER)
    } else {
        warn!(problem, "key material stays under an older root key");
        // At rest nothing new can come of it before somebody acts.
        Ok(super::LOOK_EVERY)
    }
}

/// A count proved that nothing is wrapped under the old root key.
async fn finish(record: &Record, ctx: &Context) -> Result<Duration, Error> {
    let Some(RootRotation {
        from, forget_old, ..
    }) = record.rotation
    else {
        return Ok(AT_ONCE);
    };
    let written = change(record, ctx, |record, rotation| {
        if forget_old {
            rotation.phase = Phase::Forgetting;
        } else {
            record.retire(from);
            record.rotation = None;
        }
    });
    if let Changed::Written(record) = written.await? {
        let kept = if forget_old {
            "is removed in a day"
        } else {
            "is kept for older backups"
        };
        let note = format!(
            "all key material is wrapped under root key {}; {from} {kept}",
            record.root
        );
        tell(EventType::Normal, Reason::RootRotated, note, ctx).await;
    }
    Ok(AT_ONCE)
}

/// Writes down that the old root key is removed, before any of it is: whoever takes the rotation back does so before this
/// write, or not at all.
async fn condemn(record: &Record, old: Fingerprint, ctx: &Context) -> Result<Duration, Error> {
    let parameters = [("forgotten", old), ("current", record.root)];
    told("ForgetRootKey", parameters, ctx).await?;
    change(record, ctx, |_, rotation| rotation.phase = Phase::Removing).await?;
    Ok(AT_ONCE)
}

/// Removes the old root key. Backups from before the rotation open no more.
async fn forget(record: &Record, old: Fingerprint, ctx: &Context) -> Result<Duration, Error> {
    let providers = ctx.installation.roots.providers();
    for kind in [ProviderKind::Secret, ProviderKind::File] {
        let Some(provider) = providers.of(kind) else {
            continue;
        };
        ctx.check_leadership()?;
        let removed = provider.forget(old).await.map_err(Error::RootProvider)?;
        info!(root = %old, place = provider.place(), removed, "a root key is not needed any more");
    }
    let written = change(record, ctx, |record, _| {
        record.retired.retain(|retired| *retired != old);
        record.rotation = None;
    });
    if let Changed::Written(_) = written.await? {
        ctx.installation.roots.forget(old);
        let note =
            format!("root key {old} is forgotten: backups from before the rotation open no more");
        tell(EventType::Normal, Reason::RootRotated, note, ctx).await;
    }
    Ok(AT_ONCE)
}

/// An Event about the installation.
async fn tell(type_: EventType, reason: Reason, note: String, ctx: &Context) {
    let object = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("ConfigMap".to_owned()),
        name: Some(INSTALLATION.to_owned()),
        namespace: Some(ctx.namespace.clone()),
        ..ObjectReference::default()
    };
    ctx.event(&object, type_, reason, note).await;
}
