//! Looks at everything that the plan for a key may depend on.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use tracing::warn;

use super::import::Found;
use super::import_source;
use super::policy::{self, Namespaces};
use crate::api::{KeyMaterial, ManagedKey};
use crate::controllers::context::Context;
use crate::controllers::error::{Error, call};
use crate::controllers::key_uses::UsesOfKey;
use crate::controllers::namespace::{NamespaceFacts, find_namespace, namespace_facts};
use crate::crypto::KeyId;
use crate::installation::RestoreHold;
use crate::keys::{Key, derive_key_id};
use crate::truth::KeyInUse;

/// Everything that [`super::plan::plan`] may look at.
pub(crate) struct Observed {
    /// The resource.
    pub(crate) key: Arc<ManagedKey>,
    /// Whether it lives in the operator's own namespace.
    pub(crate) in_operator_namespace: bool,
    /// The truth about it, if there is any.
    pub(crate) material: Option<Material>,
    /// The key id that it would get.
    pub(crate) new_id: KeyId,
    /// Whether the root key is in the same etcd as the material: said to whoever relies on the key.
    pub(crate) root_is_embedded: bool,
    /// The namespace, looked at only when truth is to be made or adopted.
    pub(crate) namespace: Option<NamespaceFacts>,
    /// The namespaces of others that its policy speaks of, where they have to be looked at.
    pub(crate) namespaces: Namespaces,
    /// How many stored secrets need each generation, by material id, if that is known; only of a key that was rotated.
    pub(crate) references: Option<BTreeMap<String, u32>>,
    /// What was found where material to import should be; looked for only when the key waits for it.
    pub(crate) import: Option<Found>,
    /// The earlier one of this process's clock and the API server's; asked only when parked material seems due.
    pub(crate) trusted_time: Option<Timestamp>,
    /// How many stored secrets need the key, if that is known. If its deletion is scheduled, it was counted in this look.
    pub(crate) dependents: Option<u32>,
    /// That nothing is rotated or destroyed, since a restore is suspected.
    pub(crate) hold: Option<RestoreHold>,
    /// What is remembered of its uses.
    pub(crate) uses: UsesOfKey,
}

/// The truth about a key, and what this replica could make of it.
pub(crate) struct Material {
    /// As stored.
    pub(crate) truth: KeyMaterial,
    /// As loaded; `None` until the keyring has seen this state.
    pub(crate) loaded: Option<Arc<Key>>,
}

/// Looks.
pub(super) async fn observe(key: Arc<ManagedKey>, ctx: &Context) -> Result<Observed, Error> {
    let namespace = key.namespace().unwrap_or_default();
    let uid = key.uid().unwrap_or_default();
    let mut seen = Observed {
        in_operator_namespace: namespace == ctx.namespace,
        material: None,
        new_id: derive_key_id(ctx.installation.id, &uid),
        root_is_embedded: ctx.installation.roots.is_embedded(),
        namespace: None,
        references: None,
        import: None,
        trusted_time: None,
        dependents: None,
        hold: ctx.installation.hold.at(ctx.now()),
        namespaces: Namespaces::new(),
        uses: UsesOfKey::default(),
        key,
    };
    if seen.in_operator_namespace || seen.key.metadata.deletion_timestamp.is_some() {
        return Ok(seen);
    }
    seen.material = find_material(&namespace, &seen.key.name_any(), &uid, ctx).await?;
    seen.uses = ctx.key_uses.of(id_of(&seen));
    if let Some(Material { truth, .. }) = &seen.material {
        if let Some(used) = in_use(id_of(&seen), &seen.key, ctx).await? {
            seen.dependents = Some(used.secrets);
            seen.references = (truth.spec.generations.len() > 1).then_some(used.materials);
        }
        seen.import = import_source::find(&seen.key, truth, ctx).await?;
        seen.trusted_time = trusted_time(truth, ctx).await?;
        // No clock alone ends a hold either where something is about to be destroyed.
        if let Some(now) = seen.trusted_time {
            seen.hold = ctx.installation.hold.at(now);
        }
    }
    if seen
        .material
        .as_ref()
        .is_none_or(|m| m.truth.spec.object_uid != uid)
    {
        seen.namespace = Some(namespace_facts(&namespace, ctx).await?);
    }
    let record = seen.material.as_ref().map(|m| &m.truth.spec.policy);
    let policy = seen.key.spec.policy.as_ref();
    for name in policy::to_look_at(policy, &namespace, record, seen.namespace.is_some()) {
        // One that cannot be looked at now is looked for again; nobody else's namespace shall keep a key from being disabled.
        match find_namespace(&name, ctx).await {
            Ok(facts) => {
                seen.namespaces.insert(name, facts);
            }
            Err(error) => {
                warn!(
                    namespace = name,
                    %error, "a namespace that a policy speaks of could not be looked at"
                );
            }
        }
    }
    Ok(seen)
}

/// How much needs the key. Of one whose deletion is scheduled it is counted anew: that decides about its end.
async fn in_use(id: KeyId, key: &ManagedKey, ctx: &Context) -> Result<Option<KeyInUse>, Error> {
    if key.spec.deletion.is_none() {
        return Ok(ctx.census.of(id));
    }
    let mut counted = call("count", "the truth of secrets", ctx.sealed.keys_in_use()).await?;
    Ok(Some(counted.remove(&id).unwrap_or_default()))
}

/// A time that no clock alone tells, if parked material seems due: it is about to be destroyed.
async fn trusted_time(truth: &KeyMaterial, ctx: &Context) -> Result<Option<Timestamp>, Error> {
    let now = ctx.now();
    let record = truth.spec.import.as_ref();
    let parked = record.and_then(|record| record.parked.as_ref());
    if parked.is_none_or(|parked| now < parked.date.0) {
        return Ok(None);
    }
    Ok(Some(ctx.clocks().await?.earlier()))
}

/// The id of the key: that of its material, or that which it would get.
fn id_of(seen: &Observed) -> KeyId {
    let material = seen.material.as_ref();
    let known = material.and_then(|material| material.truth.name_any().parse().ok());
    known.unwrap_or(seen.new_id)
}

/// The material that this resource claimed; otherwise what waits under its name, asked of the API server
/// itself before anybody decides that there is none.
async fn find_material(
    namespace: &str,
    name: &str,
    uid: &str,
    ctx: &Context,
) -> Result<Option<Material>, Error> {
    let known = ctx.keyring.named(namespace, name);
    if let Some(key) = known.iter().find(|key| key.truth.spec.object_uid == uid) {
        return Ok(Some(Material {
            truth: key.truth.clone(),
            loaded: Some(key.clone()),
        }));
    }
    let object = format!("KeyMaterial of {namespace}/{name}");
    let mut stored = call("list", object, ctx.materials.named(namespace, name)).await?;
    // A tombstone of somebody else is nothing to take over: the name is free.
    stored.retain(|m| m.spec.object_uid == uid || m.spec.destroyed.is_none());
    stored.sort_by_key(|m| {
        let created = m
            .spec
            .generations
            .first()
            .map(|g| std::cmp::Reverse(g.created.0));
        (
            m.spec.object_uid != uid,
            m.spec.parked_since.is_some(),
            created,
        )
    });
    Ok(stored.into_iter().next().map(|truth| {
        let same = |key: &&Arc<Key>| {
            key.truth.metadata.resource_version == truth.metadata.resource_version
        };
        let loaded = known.iter().find(same).cloned();
        Material { truth, loaded }
    }))
}
