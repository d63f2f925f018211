//! The truth about keys whose resource is gone.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use super::deletion;
use crate::api::{KeyMaterial, KeyMaterialSpec, ManagedKey};
use crate::audit::Identity;
use crate::controllers::context::Context;
use crate::controllers::error::{Error, call};
use crate::controllers::key_changes::{self, KeyChange};
use crate::controllers::parking::Truths;

/// `KeyMaterial`.
pub(crate) struct KeyTruths;

/// Whether nothing is left to write down of a key whose resource is gone: it is parked with its date (one that an earlier
/// release parked has none), or destroyed.
fn is_settled(spec: &KeyMaterialSpec) -> bool {
    spec.destroyed.is_some() || spec.parked_since.is_some() && spec.deletion.is_some()
}

impl Truths for KeyTruths {
    type Resource = ManagedKey;
    type Truth = KeyMaterial;

    async fn owners(ctx: &Context) -> Result<Vec<ObjectRef<ManagedKey>>, Error> {
        let spec = |key: &std::sync::Arc<crate::keys::Key>| key.truth.spec.clone();
        let waiting = ctx
            .keyring
            .all()
            .iter()
            .map(spec)
            .filter(|spec| !is_settled(spec))
            .collect::<Vec<_>>();
        Ok(waiting
            .iter()
            .map(|s| ObjectRef::new(&s.name).within(&s.namespace))
            .collect())
    }

    async fn in_use(
        ctx: &Context,
        owner: &ObjectRef<ManagedKey>,
    ) -> Result<Vec<KeyMaterial>, Error> {
        let namespace = owner.namespace.as_deref().unwrap_or_default();
        let object = format!("KeyMaterial of {namespace}/{}", owner.name);
        let mut found = call("list", object, ctx.materials.named(namespace, &owner.name)).await?;
        found.retain(|material| !is_settled(&material.spec));
        Ok(found)
    }

    async fn park(
        ctx: &Context,
        _: &ObjectRef<ManagedKey>,
        truth: Vec<KeyMaterial>,
    ) -> Result<(), Error> {
        if truth.is_empty() {
            return Ok(());
        }
        let counted = call("count", "the truth of secrets", ctx.sealed.keys_in_use()).await?;
        for material in truth {
            let id = material.name_any().parse().ok();
            let needed = id.and_then(|id| counted.get(&id)).map(|used| used.secrets);
            park(material, Some(needed.unwrap_or_default()), ctx).await?;
        }
        Ok(())
    }
}

/// Writes down that a key, in the state that it was seen in, waits since its resource is gone. `dependents`: how many stored
/// secrets need it; if that is not known it is as if some did.
pub(super) async fn park(
    mut material: KeyMaterial,
    dependents: Option<u32>,
    ctx: &Context,
) -> Result<(), Error> {
    let before = material.spec.clone();
    let record = deletion::absent(before.deletion.as_ref(), dependents.unwrap_or(1), ctx.now());
    material.spec.deletion = Some(record);
    material.spec.parked_since.get_or_insert(Time(ctx.now()));
    let change = KeyChange {
        truth: &material,
        changes: key_changes::changes(&before, &material.spec),
        who: Identity::controller(),
        reason: "the ManagedKey is gone",
    };
    change.replace(ctx).await
}
