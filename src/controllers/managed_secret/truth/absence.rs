//! The truth about secrets whose resource is gone.

use k8s_openapi::api::core::v1::{ObjectReference, Secret};
use kube::api::ListParams;
use kube::runtime::events::EventType;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};

use super::super::apply::release;
use super::super::sharing::replication::clusters_of;
use crate::api::names::{
    ANNOTATION_DELETION_POLICY, ANNOTATION_EXISTING, ANNOTATION_MANAGED_BY, ANNOTATION_TARGET,
    LABEL_MANAGED_BY, MANAGED_BY,
};
use crate::api::{ManagedSecret, Reason};
use crate::controllers::context::Context;
use crate::controllers::error::{Error, call, is};
use crate::controllers::parking::Truths;
use crate::telemetry::Truth;
use crate::truth::Stored;

/// Sealed secrets.
pub(crate) struct SecretTruths;

impl Truths for SecretTruths {
    type Resource = ManagedSecret;
    type Truth = Stored;

    async fn owners(ctx: &Context) -> Result<Vec<ObjectRef<ManagedSecret>>, Error> {
        call("list", "sealed secrets", ctx.sealed.owners_in_use()).await
    }

    async fn in_use(ctx: &Context, owner: &ObjectRef<ManagedSecret>) -> Result<Vec<Stored>, Error> {
        let namespace = owner.namespace.as_deref().unwrap_or_default();
        let object = format!("truth of {namespace}/{}", owner.name);
        let found = call("get", object, ctx.sealed.get(namespace, &owner.name)).await?;
        let stored = found.and_then(Result::ok);
        Ok(stored
            .into_iter()
            .filter(|stored| stored.parked_since.is_none())
            .collect())
    }

    async fn park(
        ctx: &Context,
        owner: &ObjectRef<ManagedSecret>,
        truth: Vec<Stored>,
    ) -> Result<(), Error> {
        let namespace = owner.namespace.as_deref().unwrap_or_default();
        ctx.references.set(owner, &std::collections::HashSet::new());
        for mut stored in truth {
            take_out_of_merged(namespace, &owner.name, ctx).await?;
            stored.parked_since = Some(ctx.now());
            let object = format!("truth of {namespace}/{}", owner.name);
            call("write", object, ctx.sealed.write(&stored)).await?;
            ctx.metrics.truth_written(Truth::SealedSecret);
            warn_of_replicas(owner, &stored, ctx).await;
        }
        Ok(())
    }
}

/// An Event when a source is gone that has replicas: they keep its value, and get no other.
/// Of other clusters it is only known that it was shared with them.
async fn warn_of_replicas(owner: &ObjectRef<ManagedSecret>, stored: &Stored, ctx: &Context) {
    let here = match ctx.sharing.count(owner) {
        0 => None,
        count => Some(format!("{count} ManagedSecrets are replicas of it")),
    };
    let clusters = clusters_of(stored, ctx).join(", ");
    let elsewhere =
        (!clusters.is_empty()).then(|| format!("it is shared with the clusters {clusters}"));
    let replicas: Vec<_> = here.into_iter().chain(elsewhere).collect();
    if replicas.is_empty() {
        return;
    }
    let note = format!(
        "deleted while {}: replicas keep the value, and get no other until it is applied again",
        replicas.join(" and ")
    );
    let gone = ObjectReference {
        uid: Some(stored.claim.object_uid.clone()),
        ..ObjectReference::from(owner.clone())
    };
    ctx.event(&gone, EventType::Warning, Reason::ReplicationFailed, note)
        .await;
}

/// Takes the keys of a secret that is gone out of Secrets that they were merged into. (Other targets are deleted by
/// the garbage collector.)
async fn take_out_of_merged(namespace: &str, name: &str, ctx: &Context) -> Result<(), Error> {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), namespace);
    let params = ListParams::default().labels(&format!("{LABEL_MANAGED_BY}={MANAGED_BY}"));
    let found = match call(
        "list",
        format!("Secrets of {namespace}"),
        api.list_metadata(&params),
    )
    .await
    {
        // The namespace may be gone with everything in it, and our right to look there.
        Err(Error::Api { source, .. }) if is(&source, kube::core::Status::is_forbidden) => {
            return Ok(());
        }
        other => other?,
    };
    let place = format!("{namespace}/{name}");
    for secret in found.items {
        let says =
            |key: &str, value: &str| secret.annotations().get(key).is_some_and(|v| v == value);
        if says(ANNOTATION_MANAGED_BY, &place)
            && says(ANNOTATION_TARGET, &secret.name_any())
            && says(ANNOTATION_EXISTING, "Merge")
            && says(ANNOTATION_DELETION_POLICY, "Delete")
        {
            release(
                namespace,
                &secret.name_any(),
                &secret.uid().unwrap_or_default(),
                ctx,
            )
            .await?;
        }
    }
    Ok(())
}
