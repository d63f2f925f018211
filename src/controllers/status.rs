//! Publishing a status: by server-side apply on the subresource, only when something changed, and an Event
//! only when the summary turned.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Patch, PatchParams, ValidationDirective};
use kube::core::object::HasStatus;
use kube::runtime::events::EventType;
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::context::Context;
use super::error::{Error, call, is};
use crate::api::condition::{self, NewCondition};
use crate::api::names::{
    FIELD_MANAGER_ALIAS, FIELD_MANAGER_GRANT, FIELD_MANAGER_KEY, FIELD_MANAGER_ROTATION,
    FIELD_MANAGER_SECRET,
};
use crate::api::{ConditionType, KeyAlias, KeyGrant, ManagedKey, ManagedSecret, RotationSchedule};

/// A resource whose status the operator publishes.
pub(crate) trait Reported:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + HasStatus<Status: Serialize + PartialEq + Clone + Default>
    + Clone
    + DeserializeOwned
    + Debug
{
    /// The field manager of this kind's status.
    const MANAGER: &'static str;

    /// Fields of the status that another manager writes.
    const OF_OTHERS: &'static [&'static str];

    /// The conditions of a status.
    fn conditions(status: &Self::Status) -> &[Condition];

    /// The generation that a status is about, and its conditions.
    fn summary(status: &mut Self::Status) -> (&mut Option<i64>, &mut Vec<Condition>);
}

macro_rules! reported {
    ($($kind:ty: $manager:expr, without $others:expr;)+) => {$(
        impl Reported for $kind {
            const MANAGER: &'static str = $manager;
            const OF_OTHERS: &'static [&'static str] = &$others;

            fn conditions(status: &Self::Status) -> &[Condition] {
                &status.conditions
            }

            fn summary(status: &mut Self::Status) -> (&mut Option<i64>, &mut Vec<Condition>) {
                (&mut status.observed_generation, &mut status.conditions)
            }
        }
    )+};
}

reported! {
    ManagedKey: FIELD_MANAGER_KEY, without [];
    KeyAlias: FIELD_MANAGER_ALIAS, without [];
    KeyGrant: FIELD_MANAGER_GRANT, without [];
    ManagedSecret: FIELD_MANAGER_SECRET, without ["consumers"];
    RotationSchedule: FIELD_MANAGER_ROTATION, without [];
}

/// Publishes what `object` shall say, if that is anything new; `ready` is its summary. An object that is gone meanwhile needs no
/// status.
pub(crate) async fn publish<K: Reported>(
    object: &K,
    new: &K::Status,
    ready: &NewCondition,
    ctx: &Context,
) -> Result<(), Error> {
    let old = object.status();
    if old == Some(new) {
        return Ok(());
    }
    let mut own = json!(new);
    if let Some(fields) = own.as_object_mut() {
        fields.retain(|field, _| !K::OF_OTHERS.contains(&field.as_str()));
    }
    if apply(object, K::MANAGER, own, ctx).await? == Applied::Yes {
        announce(object, old, ready, ctx).await;
    }
    Ok(())
}

/// Whether a status was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It was.
    Yes,
    /// The object is gone meanwhile, and needs none.
    Gone,
}

/// Applies what a manager says in a status, which is all that it says there.
pub(crate) async fn apply<K: Reported>(
    object: &K,
    manager: &str,
    status: Value,
    ctx: &Context,
) -> Result<Applied, Error> {
    ctx.check_leadership()?;
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let api: Api<K> = Api::namespaced(ctx.client.clone(), &namespace);
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        // The UID makes sure that a status never lands on another object of the same name.
        "metadata": { "name": name, "namespace": namespace, "uid": object.uid() },
        "status": status,
    });
    let params = PatchParams {
        // What is not known of would only be warned of, for which the API server reads the body a second time.
        field_validation: Some(ValidationDirective::Ignore),
        ..PatchParams::apply(manager).force()
    };
    let what = format!("status of {} {namespace}/{name}", K::kind(&()));
    let patch = Patch::Apply(body);
    match call("apply", what, api.patch_status(&name, &params, &patch)).await {
        Err(Error::Api { source, .. }) if is(&source, kube::core::Status::is_not_found) => {
            Ok(Applied::Gone)
        }
        other => other.map(|_| Applied::Yes),
    }
}

/// Puts what failed into the status, unless trying again soon will mend it; what else was known stays.
pub(crate) async fn tell<K: Reported>(
    object: &K,
    error: Error,
    failures: u32,
    ctx: &Context,
) -> Result<Error, Error> {
    if error.is_told(failures) {
        let ready = NewCondition::not_ready(error.reason(), error.to_string());
        let generation = object.meta().generation.unwrap_or_default();
        let mut status = object.status().cloned().unwrap_or_default();
        let (observed, conditions) = K::summary(&mut status);
        *observed = Some(generation);
        condition::set(conditions, ready.clone(), generation, ctx.now());
        publish(object, &status, &ready, ctx).await?;
    }
    Ok(error)
}

/// An Event when the summary turned, or when it is still false for another reason.
async fn announce<K: Reported>(
    object: &K,
    old: Option<&K::Status>,
    ready: &NewCondition,
    ctx: &Context,
) {
    let old = old.and_then(|old| condition::find(K::conditions(old), ConditionType::Ready));
    let status = if ready.status { "True" } else { "False" };
    let same = old.is_some_and(|old| {
        old.status == status && (ready.status || old.reason == ready.reason.as_str())
    });
    if same {
        return;
    }
    let type_ = if ready.status || ready.reason.is_progress() {
        EventType::Normal
    } else {
        EventType::Warning
    };
    let reference = object.object_ref(&());
    ctx.event(&reference, type_, ready.reason, ready.message.clone())
        .await;
}
