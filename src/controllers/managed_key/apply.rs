//! The effects of a key's plan, each of them idempotent.

use kube::runtime::events::EventType;
use kube::{Api, Resource, ResourceExt};

use super::import::{self, Found};
use super::observe::Observed;
use super::plan::Step;
use super::policy;
use super::rotation::{self, Cause};
use super::{absence, deletion};
use crate::api::key_import::ImportOffer;
use crate::api::{KeyMaterial, KeyMaterialSpec, KeyOrigin, ManagedKey, MaterialGeneration, Reason};
use crate::audit::Identity;
use crate::controllers::context::Context;
use crate::controllers::error::{Error, call, is};
use crate::controllers::key_changes::{self, Change, KeyChange, on_behalf_of};
use crate::crypto::{AccountId, Arn, KeyId, OsRandom};
use crate::keys::{GenerateError, NewKey, imported_generation, new_generation, new_offer};

/// Does one step.
pub(super) async fn apply(step: &Step, seen: &Observed, ctx: &Context) -> Result<(), Error> {
    ctx.check_leadership()?;
    match step {
        Step::Create => Box::pin(create(seen, ctx)).await,
        Step::Replace(material) => {
            let before = seen.material.as_ref().map(|material| &material.truth.spec);
            let changes = before.map(|before| key_changes::changes(before, &material.spec));
            let change = asked(material, changes.unwrap_or_default(), seen, ctx).await;
            change.replace(ctx).await?;
            announce_adoption(material, seen, ctx).await;
            Ok(())
        }
        Step::Park(material) => park(material.as_ref().clone(), seen, ctx).await,
        Step::OfferImport(material, token) => {
            offer_import(material.as_ref().clone(), token, seen, ctx).await
        }
        Step::Import(material) => take_import(material.as_ref().clone(), seen, ctx).await,
        Step::Rotate(material, cause) => rotate(material.as_ref().clone(), cause, seen, ctx).await,
    }
}

/// Parks truth of another resource of this one's name, if this one is really there: a cache may be behind.
async fn park(material: KeyMaterial, seen: &Observed, ctx: &Context) -> Result<(), Error> {
    let (namespace, name) = (
        seen.key.namespace().unwrap_or_default(),
        seen.key.name_any(),
    );
    let keys: Api<ManagedKey> = Api::namespaced(ctx.client.clone(), &namespace);
    let object = format!("ManagedKey {namespace}/{name}");
    let found = call("get", object, keys.get_metadata_opt(&name)).await?;
    if found.and_then(|key| key.uid()) != seen.key.uid() {
        return Ok(());
    }
    absence::park(material, None, ctx).await
}

/// Changes that the resource asks for.
async fn asked<'a>(
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

/// Offers a wrapping key, and writes down who asked, in one update.
async fn offer_import(
    mut material: KeyMaterial,
    token: &str,
    seen: &Observed,
    ctx: &Context,
) -> Result<(), Error> {
    let Ok(id) = material.name_any().parse() else {
        return Ok(());
    };
    let offer = offer(id, &material.spec, ctx).await?;
    let record = material.spec.import.get_or_insert_default();
    record.offer = Some(offer);
    record.offer_token = Some(token.to_owned());
    let change = Change::new("GetParametersForImport", Vec::new());
    let change = asked(&material, vec![change], seen, ctx).await;
    change.replace(ctx).await
}

async fn offer(id: KeyId, spec: &KeyMaterialSpec, ctx: &Context) -> Result<ImportOffer, Error> {
    made_aside(id, spec, ctx, |new, spec| {
        new_offer(new, spec, &mut OsRandom)
    })
    .await
}

/// Takes the material that was found, and ends the offer, in one update. What waits to be destroyed is the same material.
async fn take_import(
    mut material: KeyMaterial,
    seen: &Observed,
    ctx: &Context,
) -> Result<(), Error> {
    let (Ok(id), Some(Found::Material(imported))) = (material.name_any().parse(), &seen.import)
    else {
        return Ok(());
    };
    let new = NewKey {
        installation: ctx.installation.id,
        root: &ctx.installation.roots.current(),
        id,
        now: ctx.now(),
    };
    let made = imported_generation(&new, &material.spec, imported, &mut OsRandom);
    let (generation, identity) = made.map_err(|_| Error::Random)?;
    material.spec.generations = vec![generation];
    let record = material.spec.import.get_or_insert_default();
    record.offer = None;
    record.parked = None;
    record.identity = Some(identity);
    record.valid_to = import::valid_to(&seen.key);
    let change = Change::new("ImportKeyMaterial", end_of(&material.spec));
    let change = asked(&material, vec![change], seen, ctx).await;
    change.replace(ctx).await?;
    let key = seen.key.object_ref(&());
    let note = "the material was imported; the Secret that it came in is not needed any more";
    ctx.event(&key, EventType::Normal, Reason::Imported, note.to_owned())
        .await;
    Ok(())
}

/// What the trail says of imported material.
fn end_of(spec: &KeyMaterialSpec) -> Vec<(&'static str, String)> {
    let end = spec
        .import
        .as_ref()
        .and_then(|import| import.valid_to.as_ref());
    end.map(|end| ("validTo", end.0.to_string()))
        .into_iter()
        .collect()
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
    let changes = vec![Change::new(call_name, parameters)];
    let rotation = KeyChange {
        reason: why,
        ..asked(&material, changes, seen, ctx).await
    };
    rotation.replace(ctx).await?;
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
    made_aside(id, spec, ctx, |new, spec| {
        new_generation(new, spec, &mut OsRandom)
    })
    .await
}

/// Makes something with a key pair. One of RSA takes up to seconds, which others shall not wait for.
async fn made_aside<T: Send + 'static>(
    id: KeyId,
    spec: &KeyMaterialSpec,
    ctx: &Context,
    make: impl FnOnce(&NewKey<'_>, &KeyMaterialSpec) -> Result<T, GenerateError> + Send + 'static,
) -> Result<T, Error> {
    let (installation, spec, now) = (ctx.installation.clone(), spec.clone(), ctx.now());
    let made = tokio::task::spawn_blocking(move || {
        let new = NewKey {
            installation: installation.id,
            root: &installation.roots.current(),
            id,
            now,
        };
        make(&new, &spec)
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
        internal: None,
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
        import: None,
        generations: Vec::new(),
    };
    if material.origin == KeyOrigin::External {
        let offer = offer(seen.new_id, &material, ctx).await?;
        material.import = Some(import::of_new(&seen.key, offer));
    } else {
        let first = generation(seen.new_id, &material, ctx).await?;
        material.generations.push(first);
    }
    let object = format!("KeyMaterial {}", seen.new_id);
    let truth = KeyMaterial::new(&seen.new_id.to_string(), material.clone());
    let changes = vec![Change::new("CreateKey", Vec::new())];
    let making = asked(&truth, changes, seen, ctx).await;
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
