//! The effects of a key's plan, each of them idempotent.

use kube::runtime::events::EventType;
use kube::{Resource, ResourceExt};

use super::deletion;
use super::observe::Observed;
use super::plan::Step;
use super::policy;
use super::rotation::{self, Cause};
use crate::api::{KeyMaterial, KeyMaterialSpec, MaterialGeneration, Reason};
use crate::audit::Identity;
use crate::controllers::context::Context;
use crate::controllers::error::{Error, call, is};
use crate::controllers::key_changes::{self, Change, KeyChange, on_behalf_of};
use crate::crypto::{AccountId, Arn, KeyId, OsRandom};
use crate::keys::{NewKey, new_generation};

/// Does one step.
pub(super) async fn apply(step: &Step, seen: &Observed, ctx: &Context) -> Result<(), Error> {
    ctx.check_leadership()?;
    match step {
        Step::Create => create(seen, ctx).await,
        Step::Replace(material) => {
            let before = seen.material.as_ref().map(|material| &material.truth.spec);
            let changes = before.map(|before| key_changes::changes(before, &material.spec));
            let change = change(material, changes.unwrap_or_default(), seen, ctx).await;
            let object = format!("KeyMaterial {}", material.name_any());
            let replaced = call("replace", object, ctx.materials.replace(material));
            change.carry_out(ctx, replaced).await?;
            ctx.metrics
                .truth_written(crate::telemetry::Truth::KeyMaterial);
            announce_adoption(material, seen, ctx).await;
            Ok(())
        }
        Step::Rotate(material, cause) => rotate(material.as_ref().clone(), cause, seen, ctx).await,
    }
}

/// Changes that the resource asks for.
async fn change<'a>(
    truth: &'a KeyMaterial,
    changes: Vec<Change>,
    seen: &Observed,
    ctx: &Context,
) -> KeyChange<'a> {
    let who = if changes.is_empty() {
        Identity::controller()
    } else {
        on_behalf_of(&seen.key, ctx).await
    };
    KeyChange {
        truth,
        changes,
        who,
        reason: "the ManagedKey asks for it",
    }
}

/// Adds a generation, and writes down why, in one update.
async fn rotate(
    mut material: KeyMaterial,
    cause: &Cause,
    seen: &Observed,
    ctx: &Context,
) -> Result<(), Error> {
    let Ok(id) = material.name_any().parse() else {
        return Ok(());
    };
    let generation = generation(id, &material.spec, ctx).await?;
    let version = generation.version;
    material.spec.generations.push(generation);
    rotation::record(cause, &mut material.spec.rotation, ctx.now());
    let (call_name, why) = match cause {
        Cause::Period => ("RotateKey", "its period is over"),
        Cause::Token(_) => ("RotateKeyOnDemand", "on demand"),
    };
    let parameters = vec![("version", version.to_string())];
    let rotation = KeyChange {
        reason: why,
        ..change(
            &material,
            vec![Change::new(call_name, parameters)],
            seen,
            ctx,
        )
        .await
    };
    let object = format!("KeyMaterial {}", material.name_any());
    let replaced = call("replace", object, ctx.materials.replace(&material));
    rotation.carry_out(ctx, replaced).await?;
    ctx.metrics
        .truth_written(crate::telemetry::Truth::KeyMaterial);
    let note = format!("version {version} of the material encrypts from now on: {why}");
    let key = seen.key.object_ref(&());
    ctx.event(&key, EventType::Normal, Reason::Rotated, note)
        .await;
    Ok(())
}

async fn generation(
    id: KeyId,
    spec: &KeyMaterialSpec,
    ctx: &Context,
) -> Result<MaterialGeneration, Error> {
    let (installation, spec, now) = (ctx.installation.clone(), spec.clone(), ctx.now());
    // A key pair of RSA takes up to seconds, which others shall not wait for.
    let made = tokio::task::spawn_blocking(move || {
        let new = NewKey {
            installation: installation.id,
            root: &installation.roots.current(),
            id,
            now,
        };
        new_generation(&new, &spec, &mut OsRandom)
    });
    made.await.ok().and_then(Result::ok).ok_or(Error::Random)
}

/// An Event when the key has taken over material that another resource of its name had.
async fn announce_adoption(material: &KeyMaterial, seen: &Observed, ctx: &Context) {
    let before = seen.material.as_ref().map(|m| &m.truth.spec.object_uid);
    if before != Some(&material.spec.object_uid) {
        let note = format!("took over KeyMaterial {}", material.name_any());
        let key = seen.key.object_ref(&());
        ctx.event(&key, EventType::Normal, Reason::Adopted, note)
            .await;
    }
}

async fn create(seen: &Observed, ctx: &Context) -> Result<(), Error> {
    let Some(namespace) = &seen.namespace else {
        return Ok(());
    };
    let name = seen.key.namespace().unwrap_or_default();
    let spec = &seen.key.spec;
    let arn = Arn {
        region: ctx.installation.region.clone(),
        account: AccountId::of(ctx.installation.id, &name),
        key: seen.new_id,
    };
    let mut material = KeyMaterialSpec {
        namespace: name,
        name: seen.key.name_any(),
        namespace_uid: namespace.uid.clone(),
        object_uid: seen.key.uid().unwrap_or_default(),
        arn: arn.to_string(),
        key_spec: spec.key_spec.unwrap_or_default(),
        key_usage: spec.key_usage.unwrap_or_default(),
        origin: spec.origin.unwrap_or_default(),
        enabled: spec.enabled.unwrap_or(true),
        parked_since: None,
        deletion: deletion::asked(spec.deletion.as_ref(), None, ctx.now()),
        destroyed: None,
        rotation: rotation::of_new(&seen.key, ctx.now()),
        policy: policy::of_new(seen),
        grants: Vec::new(),
        generations: Vec::new(),
    };
    let first = generation(seen.new_id, &material, ctx).await?;
    material.generations.push(first);
    let object = format!("KeyMaterial {}", seen.new_id);
    let truth = KeyMaterial::new(&seen.new_id.to_string(), material.clone());
    let changes = vec![Change::new("CreateKey", Vec::new())];
    let making = change(&truth, changes, seen, ctx).await;
    let made = ctx.materials.create(seen.new_id, material);
    match making.carry_out(ctx, call("create", object, made)).await {
        // Made by an earlier attempt whose answer was lost, or by another leader: that one counts.
        Err(Error::Api { source, .. }) if is(&source, kube::core::Status::is_already_exists) => {
            Ok(())
        }
        Err(error) => Err(error),
        Ok(_) => {
            ctx.metrics
                .truth_written(crate::telemetry::Truth::KeyMaterial);
            Ok(())
        }
    }
}
