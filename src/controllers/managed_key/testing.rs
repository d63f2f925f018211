//! A world in memory to plan in: what `observe` would see of a key, and what carrying out a plan does to it.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde_json::json;

use super::observe::{Material, Observed};
use super::plan::{Plan, Step, plan};
use super::rotation;
use crate::api::{KeyMaterial, ManagedKey};
use crate::controllers::key_uses::UsesOfKey;
use crate::controllers::namespace::NamespaceFacts;
use crate::crypto::KeyId;
use crate::keys::{Generation, Key};

/// The id of the key.
pub(super) const ID: &str = "11111111-1111-4111-8111-111111111111";

/// What would be seen of a new key in an orderly namespace.
pub(super) fn new_key() -> Observed {
    Observed {
        key: Arc::new(resource("object-1")),
        in_operator_namespace: false,
        material: None,
        new_id: ID.parse().unwrap(),
        root_is_embedded: false,
        namespace: Some(namespace("namespace-1")),
        references: None,
        import: None,
        trusted_time: None,
        dependents: Some(0),
        hold: None,
        namespaces: std::collections::BTreeMap::new(),
        uses: UsesOfKey::default(),
    }
}

pub(super) fn resource(uid: &str) -> ManagedKey {
    serde_json::from_value(json!({
        "apiVersion": "keystead.dev/v1alpha1",
        "kind": "ManagedKey",
        "metadata": {"namespace": "shop", "name": "orders", "uid": uid, "generation": 1},
        "spec": {},
    }))
    .unwrap()
}

pub(super) fn namespace(uid: &str) -> NamespaceFacts {
    NamespaceFacts {
        uid: uid.into(),
        created: None,
        approved_before: None,
    }
}

/// The truth that a key of that resource and namespace would have.
fn truth(seen: &Observed) -> KeyMaterial {
    serde_json::from_value(json!({
        "apiVersion": "keystead.dev/v1alpha1",
        "kind": "KeyMaterial",
        "metadata": {"namespace": "keystead-system", "name": seen.new_id.to_string()},
        "spec": {
            "namespace": "shop",
            "name": "orders",
            "namespaceUid": seen.namespace.as_ref().unwrap().uid,
            "objectUid": seen.key.uid().unwrap(),
            "arn": format!("arn:aws:kms:ks-local-1:123456789012:key/{}", seen.new_id),
            "keySpec": "SymmetricDefault",
            "keyUsage": "EncryptDecrypt",
            "origin": "Keystead",
            "enabled": true,
            "generations": [{
                "version": 1,
                "materialId": "0".repeat(32),
                "wrapped": "AA==",
                "rootFingerprint": "f",
                "created": "2026-01-01T00:00:00Z",
            }],
        },
    }))
    .unwrap()
}

/// The key as a keyring would hold it, with those generations.
pub(super) fn loaded(truth: &KeyMaterial, generations: Vec<Generation>) -> Arc<Key> {
    Arc::new(Key {
        id: truth.name_any().parse::<KeyId>().unwrap(),
        arn: truth.spec.arn.parse().unwrap(),
        truth: truth.clone(),
        rules: crate::policy::KeyRules::of(&truth.spec),
        generations,
    })
}

/// The truth with another generation.
fn rotated(mut truth: KeyMaterial, cause: &rotation::Cause) -> KeyMaterial {
    let mut next = truth.spec.generations.last().unwrap().clone();
    next.version += 1;
    next.material_id = format!("{:032}", next.version);
    truth.spec.generations.push(next);
    rotation::record(cause, &mut truth.spec.rotation, now());
    truth
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// Plans.
pub(super) fn planned(seen: &Observed) -> Plan {
    plan(seen, now())
}

/// Plans and carries the plan out until nothing is left to do.
pub(super) fn settle(seen: &mut Observed) {
    for _ in 0..3 {
        let plan = planned(seen);
        if let Some(status) = plan.status {
            Arc::make_mut(&mut seen.key).status = Some(status);
        }
        if plan.steps.is_empty() {
            return;
        }
        for step in plan.steps {
            let truth = match step {
                Step::Create => truth(seen),
                Step::Replace(truth) => *truth,
                Step::Rotate(truth, cause) => rotated(*truth, &cause),
                Step::OfferImport(..) | Step::Import(_) | Step::Park(_) => {
                    panic!("nothing is imported or replaced here")
                }
            };
            let loaded = Some(loaded(&truth, Vec::new()));
            seen.material = Some(Material { truth, loaded });
        }
    }
    panic!("planning never comes to rest");
}
