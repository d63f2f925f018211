//! Records of grants that were deleted: they give nothing any more.

use kube::runtime::reflector::ObjectRef;

use super::plan::forget;
use crate::api::{KeyGrant, KeyMaterial};
use crate::audit::Identity;
use crate::controllers::context::Context;
use crate::controllers::error::{Error, call};
use crate::controllers::key_changes::{self, KeyChange};
use crate::controllers::parking::Truths;

/// The grants that the truth about keys records.
pub(crate) struct GrantTruths;

impl Truths for GrantTruths {
    type Resource = KeyGrant;
    type Truth = KeyMaterial;

    const PARKED: &'static str = "the grant was deleted and gives nothing any more";

    async fn owners(ctx: &Context) -> Result<Vec<ObjectRef<KeyGrant>>, Error> {
        let of_key = |key: std::sync::Arc<crate::keys::Key>| {
            let spec = &key.truth.spec;
            let grant = |name: &str| ObjectRef::new(name).within(&spec.namespace);
            spec.grants
                .iter()
                .map(|r| grant(&r.name))
                .collect::<Vec<_>>()
        };
        Ok(ctx.keyring.all().into_iter().flat_map(of_key).collect())
    }

    async fn in_use(ctx: &Context, owner: &ObjectRef<KeyGrant>) -> Result<Vec<KeyMaterial>, Error> {
        let namespace = owner.namespace.as_deref().unwrap_or_default();
        let records = |truth: &KeyMaterial| {
            let mut grants = truth.spec.grants.iter();
            grants.any(|record| record.name == owner.name)
        };
        let mut found = Vec::new();
        for key in ctx.keyring.of_namespace(namespace) {
            if !records(&key.truth) {
                continue;
            }
            let (id, object) = (key.id.to_string(), format!("KeyMaterial {}", key.id));
            let truth = call("get", object, ctx.materials.get(&id)).await?;
            found.extend(truth.filter(records));
        }
        Ok(found)
    }

    async fn park(
        ctx: &Context,
        owner: &ObjectRef<KeyGrant>,
        truth: Vec<KeyMaterial>,
    ) -> Result<(), Error> {
        for mut material in truth {
            let before = material.spec.clone();
            forget(&mut material, &owner.name);
            let change = KeyChange {
                truth: &material,
                changes: key_changes::changes(&before, &material.spec),
                who: Identity::controller(),
                reason: "the KeyGrant is gone",
            };
            change.replace(ctx).await?;
        }
        Ok(())
    }
}
