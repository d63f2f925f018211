//! The effects of the root key's rotation, each of them idempotent.

use std::convert::Infallible;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::runtime::events::EventType;
use tracing::{info, warn};

use super::pass;
use super::plan::Step;
use super::{AT_ONCE, LOOK_EVERY, REFUSED_AFTER, RETRY_AFTER};
use crate::api::{KeyMaterial, Reason};
use crate::audit::{Entry, EventSource, Identity};
use crate::controllers::context::{Context, request_id};
use crate::controllers::error::Error;
use crate::crypto::{Fingerprint, OsRandom, RootKey};
use crate::installation::{self, Changed, Phase, Record, RootRotation};
use crate::roots::ProviderKind;
use crate::telemetry::Truth;

/// What was looked at, and what is done with it.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    /// The record.
    pub(super) record: &'a Record,
    /// Since when what begins now is said to be so.
    pub(super) since: Timestamp,
    /// What is needed for the effects.
    pub(super) ctx: &'a Context,
}

/// Does one step; returns how long until the next look.
pub(super) async fn apply(
    step: &Step,
    others: Vec<KeyMaterial>,
    look: Look<'_>,
) -> Result<Duration, Error> {
    match step {
        Step::Rest | Step::Wait(_) | Step::Stuck(_) => Ok(RETRY_AFTER),
        Step::Choose => choose(look).await,
        Step::Distribute => {
            change(look, |_, rotation| {
                rotation.phase = Phase::Distributing;
            })
            .await?;
            Ok(AT_ONCE)
        }
        Step::Switch(next) => switch(look, *next).await,
        Step::Rewrap => rewrap_all(look, others).await,
        Step::Finish => finish(look).await,
        Step::Condemn(old) => condemn(look, *old).await,
        Step::Forget(old) => forget(look, *old).await,
    }
}

/// Changes the rotation in the record, if it is still the one that was seen. If it is not, nothing of the step is so, and
/// everything is looked at anew.
async fn change(
    look: Look<'_>,
    change: impl Fn(&mut Record, &mut RootRotation),
) -> Result<Changed, Error> {
    let Look {
        record: seen,
        since,
        ctx,
    } = look;
    ctx.check_leadership()?;
    let changed = ctx.records.change(|record| -> Result<bool, Infallible> {
        let same = record.rotation == seen.rotation && record.root == seen.root;
        let Some(mut rotation) = record.rotation.clone().filter(|_| same) else {
            return Ok(false);
        };
        let phase = rotation.phase;
        change(record, &mut rotation);
        if rotation.phase != phase {
            rotation.since = since;
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
pub(super) async fn stuck(look: Look<'_>, problem: String) -> Result<(), Error> {
    let Look { record, ctx, .. } = look;
    let known = record.rotation.as_ref().and_then(|r| r.problem.as_ref());
    if known == Some(&problem) {
        return Ok(());
    }
    warn!(problem, "the rotation of the root key waits");
    let written = change(look, |_, rotation| {
        rotation.problem = Some(problem.clone());
    });
    if let Changed::Written(_) = written.await? {
        let reason = Reason::RootRotationWaiting;
        tell(EventType::Warning, reason, problem.clone(), ctx).await;
    }
    Ok(())
}

async fn choose(look: Look<'_>) -> Result<Duration, Error> {
    let Look { record, ctx, .. } = look;
    let embedded = ctx.installation.roots.is_embedded();
    let asked = record.rotation.as_ref().and_then(|rotation| rotation.to);
    let to = asked.unwrap_or(if embedded {
        ProviderKind::Secret
    } else {
        ProviderKind::File
    });
    match to {
        ProviderKind::Secret => make(look).await,
        ProviderKind::File => take(look).await,
    }
}

/// Makes the next root key. Its fingerprint is in the record before it is kept, so that it is found by it; one that was not
/// kept is made again, since nothing is wrapped under it.
async fn make(look: Look<'_>) -> Result<Duration, Error> {
    let ctx = look.ctx;
    let Some(provider) = ctx.installation.roots.providers().of(ProviderKind::Secret) else {
        stuck(look, "no provider of Secrets".to_owned()).await?;
        return Ok(RETRY_AFTER);
    };
    let root = RootKey::generate(&mut OsRandom).map_err(|_| Error::Random)?;
    let next = root.fingerprint();
    let written = change(look, |_, rotation| {
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
async fn take(look: Look<'_>) -> Result<Duration, Error> {
    let Look { record, ctx, .. } = look;
    let next = match offered_by_file(record, ctx).await {
        Ok(next) => next,
        Err(problem) => {
            stuck(look, problem).await?;
            return Ok(RETRY_AFTER);
        }
    };
    change(look, |_, rotation| {
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

/// A line of the audit trail about what is about to be done with root keys: without it, it is not done.
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
async fn switch(look: Look<'_>, next: Fingerprint) -> Result<Duration, Error> {
    let Look { record, ctx, .. } = look;
    told("RotateRootKey", [("from", record.root), ("to", next)], ctx).await?;
    let written = change(look, |record, rotation| {
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
async fn rewrap_all(look: Look<'_>, others: Vec<KeyMaterial>) -> Result<Duration, Error> {
    let Look { record, ctx, .. } = look;
    let pass = pass::rewrap_all(others, ctx).await?;
    let Some(problem) = pass.problem() else {
        return Ok(AT_ONCE);
    };
    if record.rotation.is_some() {
        stuck(look, problem).await?;
        return Ok(RETRY_AFTER);
    }
    warn!(problem, "key material stays under an older root key");
    // At rest nothing new can come of what does not open before somebody acts.
    Ok(if pass.may_do_better() {
        REFUSED_AFTER
    } else {
        LOOK_EVERY
    })
}

/// A count proved that nothing is wrapped under the old root key.
async fn finish(look: Look<'_>) -> Result<Duration, Error> {
    let Look { record, ctx, .. } = look;
    let Some(RootRotation {
        from, forget_old, ..
    }) = record.rotation
    else {
        return Ok(AT_ONCE);
    };
    let written = change(look, |record, rotation| {
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
async fn condemn(look: Look<'_>, old: Fingerprint) -> Result<Duration, Error> {
    let Look { record, ctx, .. } = look;
    let parameters = [("old", old), ("current", record.root)];
    told("ForgetRootKey", parameters, ctx).await?;
    change(look, |_, rotation| rotation.phase = Phase::Removing).await?;
    Ok(AT_ONCE)
}

/// Removes the old root key wherever the operator can, and says what is so then.
async fn forget(look: Look<'_>, old: Fingerprint) -> Result<Duration, Error> {
    let ctx = look.ctx;
    let left = remove(old, ctx).await?;
    let written = change(look, |record, _| {
        record.retired.retain(|retired| *retired != old);
        if !left.is_empty() {
            record.retire(old);
        }
        record.rotation = None;
    });
    if let Changed::Written(_) = written.await? {
        if left.is_empty() {
            ctx.installation.roots.forget(old);
        }
        let (type_, note) = fate(old, &left);
        tell(type_, Reason::RootRotated, note, ctx).await;
    }
    Ok(AT_ONCE)
}

/// Removes a root key; returns the places where it still is.
async fn remove(old: Fingerprint, ctx: &Context) -> Result<Vec<String>, Error> {
    let providers = ctx.installation.roots.providers();
    let mut left = Vec::new();
    for kind in [ProviderKind::Secret, ProviderKind::File] {
        let Some(provider) = providers.of(kind) else {
            continue;
        };
        ctx.check_leadership()?;
        let gone = provider.forget(old).await.map_err(Error::RootProvider)?;
        info!(root = %old, place = provider.place(), gone, "a root key is not needed any more");
        if !gone {
            left.push(provider.place());
        }
    }
    Ok(left)
}

/// What is said of a root key that was removed, given where it still is.
fn fate(old: Fingerprint, left: &[String]) -> (EventType, String) {
    if left.is_empty() {
        let note = "is forgotten: backups from before the rotation open no more";
        (EventType::Normal, format!("root key {old} {note}"))
    } else {
        let note = format!(
            "root key {old} is needed no more, and is still at {}: remove it there. Until then it opens backups from before \
             the rotation",
            left.join(" and ")
        );
        (EventType::Warning, note)
    }
}

/// An Event about the installation.
async fn tell(type_: EventType, reason: Reason, note: String, ctx: &Context) {
    let object = installation::reference(&ctx.namespace);
    ctx.event(&object, type_, reason, note).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_key_that_is_still_somewhere_is_not_called_forgotten() {
        let root = RootKey::generate(&mut OsRandom).unwrap().fingerprint();
        let (type_, gone) = fate(root, &[]);
        assert!(type_ == EventType::Normal && gone.contains("forgotten"));
        let (type_, left) = fate(root, &["file /root/key".to_owned()]);
        assert!(type_ == EventType::Warning && !left.contains("forgotten"));
        assert!(left.contains("file /root/key"), "{left}");
    }
}
