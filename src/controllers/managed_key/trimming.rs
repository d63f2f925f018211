//! Carries the trimming of old key material out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::runtime::events::EventType;
use kube::{Resource, ResourceExt};
use tracing::{info, warn};

use super::trim::{Facts, Trimmed, is_candidate, trim};
use crate::api::{KeyMaterial, KeyMaterialSpec, ManagedKey, MaterialGeneration, Reason};
use crate::audit::Identity;
use crate::controllers::backoff::jittered;
use crate::controllers::context::{Context, jitter};
use crate::controllers::error::{Class, Error, call_within};
use crate::controllers::key_changes::{Change, KeyChange};
use crate::crypto::KeyId;
use crate::truth::{Needed, needed_by_targets, needed_by_truth};

/// How often it is counted. Whole days are waited for.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// How long a count may take: all ciphertext of a cluster is read for it, page by page.
const COUNT_WITHIN: Duration = Duration::from_secs(10 * 60);
/// How old a count of the truth may be for material to be removed. What is not looked at by then is so at the next look, at which it
/// is among the first. (What needs old material again was put back from a backup, which holds everything.)
const FRESH_FOR: Duration = Duration::from_secs(15 * 60);

/// Removes old material that nothing needs, for ever, if that is asked for. The leader only.
pub(crate) async fn run(ctx: Arc<Context>) {
    let Some(wait) = ctx.trim_after else {
        return std::future::pending().await;
    };
    loop {
        if let Err(error) = Box::pin(look(wait, &ctx)).await {
            warn!(%error, "old key material could not be counted; it is tried again");
        }
        let pause = ctx.clock.timer(jittered(LOOK_EVERY, jitter()));
        tokio::time::sleep(pause).await;
    }
}

async fn look(wait: SignedDuration, ctx: &Context) -> Result<(), Error> {
    let served = |spec: &KeyMaterialSpec| ctx.scope.contains(&spec.namespace);
    // As they are before it is counted: what is written about them meanwhile makes our write conflict.
    let mut keys = ctx.keyring.all();
    keys.retain(|key| is_candidate(&key.truth.spec) && served(&key.truth.spec));
    if keys.is_empty() {
        return Ok(());
    }
    keys.sort_by_key(|key| longest_unused(&key.truth.spec));
    let since = Instant::now();
    let needed = needed_by_truth(ctx.client.clone(), &ctx.namespace);
    let needed = call_within(COUNT_WITHIN, "read", "the truth of secrets", needed).await?;
    let stored = Counted { needed, since };
    for key in keys {
        let looked = look_at(key.id, key.truth.clone(), &stored, wait, ctx);
        if let Err(error) = Box::pin(looked).await {
            warn!(%error, key = %key.id, "old material of a key could not be looked at; it is tried again");
        }
    }
    Ok(())
}

/// What the truth about secrets needs.
struct Counted {
    needed: Needed,
    /// When the count began.
    since: Instant,
}

/// Since when nothing has needed the material that is due first; what is not known to be unused is last.
fn longest_unused(spec: &KeyMaterialSpec) -> (bool, Option<Timestamp>) {
    let unused = spec
        .generations
        .iter()
        .filter_map(|g| g.unused_since.as_ref());
    let first = unused.map(|since| since.0).min();
    (first.is_none(), first)
}

/// Counts, by the envelopes' own headers, and marks or removes.
async fn look_at(
    id: KeyId,
    truth: KeyMaterial,
    stored: &Counted,
    wait: SignedDuration,
    ctx: &Context,
) -> Result<(), Error> {
    let namespace = &truth.spec.namespace;
    let delivered = needed_by_targets(ctx.client.clone(), namespace);
    let object = format!("Secrets of {namespace}");
    let delivered = call_within(COUNT_WITHIN, "read", object, delivered).await?;
    let unreadable = stored.needed.unreadable.iter();
    if let Some(name) = unreadable.chain(&delivered.unreadable).next() {
        // What it needs is not known. Its owner is told elsewhere.
        info!(key = %id, secret = name, "an envelope cannot be read; no material is removed");
        return Ok(());
    }
    let now = ctx.clocks().await?.earlier();
    let needs = |needed: &Needed, g: &MaterialGeneration| {
        let material = g.material_id.parse();
        material.map_or(true, |material| needed.contains(id, material))
    };
    let facts = Facts {
        now,
        wait,
        is_needed: &|g| needs(&stored.needed, g) || needs(&delivered, g),
        held: stored.since.elapsed() > FRESH_FOR || ctx.installation.hold.at(now).is_some(),
    };
    let trimmed = trim(&truth.spec, &facts);
    if trimmed.spec == truth.spec {
        return Ok(());
    }
    write(truth, trimmed, ctx).await
}

async fn write(mut truth: KeyMaterial, trimmed: Trimmed, ctx: &Context) -> Result<(), Error> {
    truth.spec = trimmed.spec;
    let removed = |version: &u32| {
        let version = vec![("version", version.to_string())];
        Change::new("DeleteOldKeyMaterial", version)
    };
    let change = KeyChange {
        truth: &truth,
        changes: trimmed.removed.iter().map(removed).collect(),
        who: Identity::controller(),
        reason: "nothing that is stored has needed it for long",
    };
    match change.replace(ctx).await {
        // Somebody else wrote; it is counted again at the next look.
        Err(error) if error.class() == Class::Conflict => return Ok(()),
        other => other?,
    }
    for version in trimmed.removed {
        info!(
            key = truth.name_any(),
            version, "old key material was removed"
        );
        let note = format!(
            "version {version} of the material was removed: nothing that is stored has needed it for long"
        );
        ctx.event(&key_of(&truth), EventType::Normal, Reason::Trimmed, note)
            .await;
    }
    Ok(())
}

fn key_of(truth: &KeyMaterial) -> ObjectReference {
    ObjectReference {
        api_version: Some(ManagedKey::api_version(&()).into_owned()),
        kind: Some(ManagedKey::kind(&()).into_owned()),
        namespace: Some(truth.spec.namespace.clone()),
        name: Some(truth.spec.name.clone()),
        uid: Some(truth.spec.object_uid.clone()),
        ..ObjectReference::default()
    }
}
