//! The effects of a secret's plan, each of them idempotent.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{
    DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions, ValidationDirective,
};
use kube::core::PartialObjectMeta;
use kube::runtime::events::EventType;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};

use super::delivery::guard;
use super::delivery::target::{annotations, labels, owner_reference, sealed_context};
use super::observe::Observed;
use super::sharing::write_export::write_export;
use super::spec::user_context;
use super::step::{Step, TargetState, TargetWrite};
use super::truth::write::write_truth;
use crate::api::managed_secret::Existing;
use crate::api::names::{DEFAULT_KEY, FIELD_MANAGER, LABEL_MANAGED_BY, MANAGED_BY, SEALED_SUFFIX};
use crate::api::{KeyRotation, ManagedKey, ManagedKeySpec, Reason};
use crate::controllers::changes;
use crate::controllers::context::Context;
use crate::controllers::creations::Creation;
use crate::controllers::error::{Error, call, is};
use crate::controllers::references::Reference;
use crate::telemetry::Delivery;

/// Does one step.
pub(super) async fn apply(step: &Step, seen: &Observed, ctx: &Context) -> Result<(), Error> {
    ctx.check_leadership()?;
    match step {
        Step::CreateDefaultKey => create_default_key(seen, ctx).await,
        Step::Archive(stored) => {
            let archived = ctx.sealed.archive(stored, ctx.now());
            call("archive", "waiting truth", archived).await
        }
        Step::WriteTruth(write) => write_truth(write, seen, ctx).await,
        Step::Answer(answer) => changes::answer(&answer.change, &answer.status, ctx).await,
        Step::ApplyTarget(write) => apply_target(write, seen, ctx).await,
        Step::ApplyExport(write) => write_export(write, seen, ctx).await,
        Step::ReleaseTarget(target) => {
            let namespace = seen.secret.namespace().unwrap_or_default();
            release(&namespace, &target.name, &target.uid, ctx).await
        }
        Step::DeletePod(pod) => guard::delete(pod, seen, ctx).await,
        Step::DeleteTarget(target) | Step::DeleteSource(target) => delete(seen, target, ctx).await,
    }
}

fn secrets(seen: &Observed, ctx: &Context) -> Api<Secret> {
    Api::namespaced(
        ctx.client.clone(),
        &seen.secret.namespace().unwrap_or_default(),
    )
}

async fn create_default_key(seen: &Observed, ctx: &Context) -> Result<(), Error> {
    let namespace = seen.secret.namespace().unwrap_or_default();
    let keys: Api<ManagedKey> = Api::namespaced(ctx.client.clone(), &namespace);
    let spec = ManagedKeySpec {
        description: Some(
            "Encrypts the secrets of this namespace that name no other key".to_owned(),
        ),
        // As the keys that AWS manages: rotated every year.
        rotation: Some(KeyRotation::default()),
        ..ManagedKeySpec::default()
    };
    let mut key = ManagedKey::new(DEFAULT_KEY, spec);
    key.metadata = ObjectMeta {
        labels: Some([(LABEL_MANAGED_BY.to_owned(), MANAGED_BY.to_owned())].into()),
        ..key.metadata
    };
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let object = format!("ManagedKey {namespace}/{DEFAULT_KEY}");
    match call("create", object, keys.create(&params, &key)).await {
        // Another secret of the namespace was faster.
        Err(Error::Api { source, .. }) if is(&source, kube::core::Status::is_already_exists) => {
            Ok(())
        }
        other => other.map(|_| ()),
    }
}

async fn apply_target(write: &TargetWrite, seen: &Observed, ctx: &Context) -> Result<(), Error> {
    let body = || target_body(write, seen, ctx);
    put(&write.name, write.over.as_ref(), body, seen, ctx).await?;
    ctx.metrics.target_written(match write.seal_under {
        Some(_) => Delivery::Sealed,
        None => Delivery::Plain,
    });
    if write.repair {
        announce_repair(&write.name, seen, ctx).await;
    }
    Ok(())
}

/// Applies a Secret of ours over the state that it was seen in, or makes it if there was none.
pub(super) async fn put(
    name: &str,
    over: Option<&TargetState>,
    body: impl FnOnce() -> Result<Value, Error>,
    seen: &Observed,
    ctx: &Context,
) -> Result<(), Error> {
    let namespace = seen.secret.namespace().unwrap_or_default();
    let object = format!("Secret {namespace}/{name}");
    let _making = match over {
        Some(_) => None,
        None => Some(begin(name, &namespace, &object, seen, ctx).await?),
    };
    let mut body = body()?;
    if let Some(over) = over {
        body["metadata"]["uid"] = json!(over.uid);
        body["metadata"]["resourceVersion"] = json!(over.resource_version);
    }
    // Our own keys are ours: a change by anybody else is undone at once. What exists and is not ours was looked at
    // before, and a Secret that was not there must not be taken over.
    let params = PatchParams {
        force: over.is_some(),
        // What is not known of would only be warned of, for which the API server reads the body a second time.
        field_validation: Some(ValidationDirective::Ignore),
        ..PatchParams::apply(FIELD_MANAGER)
    };
    let api = secrets(seen, ctx);
    let patch = Patch::Apply(&body);
    seen.uses.record(ctx).await?;
    // Once more, since the look above took a while, and an apply that makes an object has no resourceVersion that would
    // keep it from what a successor made meanwhile.
    ctx.check_leadership()?;
    let reference = Reference::Secret(namespace.clone(), name.to_owned());
    let writer = ObjectRef::from_obj(&*seen.secret);
    let writing = ctx.references.writing(&reference, &writer);
    let written = call("apply", &object, api.patch_metadata(name, &params, &patch)).await?;
    if over.is_none() && is_shared(&written.metadata) {
        // Somebody made it between our look and our write: take our keys out again and look anew.
        let uid = written.metadata.uid.unwrap_or_default();
        release(&namespace, name, &uid, ctx).await?;
        return Err(Error::Raced { object });
    }
    if let Some(version) = &written.metadata.resource_version {
        writing.done(version);
    }
    Ok(())
}

/// Says that somebody else had changed a Secret of ours.
pub(super) async fn announce_repair(name: &str, seen: &Observed, ctx: &Context) {
    ctx.metrics.drift_repaired();
    let note = format!("Secret {name} was changed or deleted by somebody else and was restored");
    let reference = seen.secret.object_ref(&());
    ctx.event(&reference, EventType::Warning, Reason::DriftRepaired, note)
        .await;
}

/// Takes the right to make a target of which the look found none: another secret that names the same one may have been faster.
async fn begin<'a>(
    name: &str,
    namespace: &str,
    object: &str,
    seen: &Observed,
    ctx: &'a Context,
) -> Result<Creation<'a>, Error> {
    let raced = || Error::Raced {
        object: object.to_owned(),
    };
    let making = ctx.creations.begin(namespace, name, seen.looked);
    let making = making.ok_or_else(raced)?;
    if !seen.found(name) {
        return Ok(making);
    }
    // This plan has deleted it; somebody's finalizer may hold it still.
    let api = secrets(seen, ctx);
    let found = call("get", object, api.get_metadata_opt(name)).await?;
    match found {
        None => Ok(making),
        Some(_) => Err(raced()),
    }
}

/// Whether others own fields of an object that was to be only ours.
fn is_shared(meta: &ObjectMeta) -> bool {
    let managers = meta.managed_fields.iter().flatten();
    managers
        .into_iter()
        .any(|entry| entry.manager.as_deref() != Some(FIELD_MANAGER))
}

fn target_body(write: &TargetWrite, seen: &Observed, ctx: &Context) -> Result<Value, Error> {
    let mut metadata = json!({
        "name": write.name,
        "namespace": seen.secret.namespace(),
        "labels": labels(&seen.secret),
        "annotations": annotations(&seen.secret, &write.name, write.existing),
    });
    if let Some(owner) = owner_reference(&seen.secret, write.existing) {
        metadata["ownerReferences"] = json!([owner]);
    }
    let mut body = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "data": target_data(write, seen, ctx)?,
    });
    if write.immutable {
        body["immutable"] = json!(true);
    }
    if write.existing != Existing::Merge {
        body["type"] = json!(write.type_);
    }
    Ok(body)
}

fn target_data(
    write: &TargetWrite,
    seen: &Observed,
    ctx: &Context,
) -> Result<BTreeMap<String, String>, Error> {
    let Some(key) = write.seal_under else {
        return Ok(write
            .content
            .iter()
            .map(|(k, bytes)| (k.to_owned(), BASE64.encode(bytes)))
            .collect());
    };
    let access = seen.key_access(ctx);
    let user = user_context(&seen.secret).map_err(Error::Context)?;
    let seal = |(name, bytes): (&str, &[u8])| {
        let context = sealed_context(&seen.secret, name, &user).map_err(Error::Context)?;
        let envelope = access
            .seal(key, &context, bytes)
            .map_err(|source| Error::Crypto {
                operation: "seal",
                source,
            })?;
        Ok((format!("{name}{SEALED_SUFFIX}"), BASE64.encode(envelope)))
    };
    write.content.iter().map(seal).collect()
}

/// Gives up every field that we own of the Secret with that UID, which takes our keys out of it. The UID also keeps
/// the apply from making an empty Secret in the place of one that is gone meanwhile.
pub(super) async fn release(
    namespace: &str,
    name: &str,
    uid: &str,
    ctx: &Context,
) -> Result<(), Error> {
    ctx.check_leadership()?;
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), namespace);
    let metadata = json!({ "name": name, "namespace": namespace, "uid": uid });
    let body = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let object = format!("Secret {namespace}/{name}");
    let released: Result<PartialObjectMeta<Secret>, _> = call(
        "release",
        object,
        api.patch_metadata(name, &params, &Patch::Apply(&body)),
    )
    .await;
    released.map(|_| ())
}

/// Deletes a Secret in exactly the state that it was seen in.
async fn delete(seen: &Observed, target: &TargetState, ctx: &Context) -> Result<(), Error> {
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(target.uid.clone()),
            resource_version: Some(target.resource_version.clone()),
        }),
        ..DeleteParams::default()
    };
    let object = format!(
        "Secret {}/{}",
        seen.secret.namespace().unwrap_or_default(),
        target.name
    );
    match call(
        "delete",
        object,
        secrets(seen, ctx).delete(&target.name, &params),
    )
    .await
    {
        Err(Error::Api { source, .. }) if is(&source, kube::core::Status::is_not_found) => Ok(()),
        other => other.map(|_| ()),
    }
}
