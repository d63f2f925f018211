//! Carries the trimming of old key material out.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::runtime::events::EventType;
use kube::{Resource, ResourceExt};
use tracing::{info, warn};

use super::trim::{Facts, Trimmed, is_candidate, trim};
use crate::api::{KeyMaterial, ManagedKey, MaterialGeneration, Reason};
use crate::audit::Identity;
use crate::controllers::backoff::jittered;
use crate::controllers::context::{Context, jitter};
use crate::controllers::error::{Class, Error, call};
use crate::controllers::key_changes::{Change, KeyChange};
use crate::crypto::KeyId;
use crate::truth::{Needed, needed_by_targets, needed_by_truth};

/// How often it is counted. Whole days are waited for.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

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
    let served = |spec: &crate::api::KeyMaterialSpec| ctx.scope.contains(&spec.namespace);
    let keys = ctx.keyring.all().into_iter();
    let ids: Vec<_> = keys
        .filter(|key| is_candidate(&key.truth.spec) && served(&key.truth.spec))
        .map(|key| key.id)
        .collect();
    if ids.is_empty() {
        return Ok(());
    }
    // The keys first: what is written about them while it is counted is refused by its resource version.
    let mut truths = Vec::new();
    for id in ids {
        let object = format!("KeyMaterial {id}");
        let found = call("get", object, ctx.materials.get(&id.to_string())).await?;
        truths.extend(found.map(|truth| (id, truth)));
    }
    let stored = needed_by_truth(ctx.client.clone(), &ctx.namespace);
    let stored = call("read", "the truth of secrets", stored).await?;
    for (id, truth) in truths {
        look_at(id, truth, &stored, wait, ctx).await?;
    }
    Ok(())
}

/// Counts, by the envelopes' own headers, and marks or removes.
async fn look_at(
    id: KeyId,
    truth: KeyMaterial,
    stored: &Needed,
    wait: SignedDuration,
    ctx: &Context,
) -> Result<(), Error> {
    let namespace = &truth.spec.namespace;
    let delivered = needed_by_targets(ctx.client.clone(), namespace);
    let delivered = call("read", format!("Secrets of {namespace}"), delivered).await?;
    if let Some(name) = stored.unreadable.iter().chain(&delivered.unreadable).next() {
        // What it needs is not known. Its owner is told elsewhere.
        info!(key = %id, secret = name, "an envelope cannot be read; no material is removed");
        return Ok(());
    }
    let now = now(ctx).await?;
    let needs = |needed: &Needed, g: &MaterialGeneration| {
        let material = g.material_id.parse();
        material.map_or(true, |material| needed.contains(id, material))
    };
    let facts = Facts {
        now,
        wait,
        is_needed: &|g| needs(stored, g) || needs(&delivered, g),
        held: ctx.installation.hold.at(now).is_some(),
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

/// The earlier one of this process's clock and the API server's.
async fn now(ctx: &Context) -> Result<Timestamp, Error> {
    let server = ctx.records.server_time().await.map_err(Error::Record)?;
    Ok(ctx.now().min(ctx.clock.server_time(server)))
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
