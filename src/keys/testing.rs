//! Keys to test with, whose material is really made, wrapped and loaded.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::{Key, NewKey, new_generation};
use crate::api::KeyMaterial;
use crate::crypto::{InstallationId, KeyId, OsRandom, RootKey, SecretArray};
use crate::roots::RootKeys;

/// The installation that they belong to.
pub(super) const INSTALLATION: InstallationId = InstallationId::from_bytes([7; 16]);

/// The root key that they are wrapped under.
pub(super) fn root() -> RootKey {
    RootKey::from_secret(SecretArray::from_slice(&[9; 32]).unwrap())
}

/// The id of the key of that number.
pub(super) fn id(number: u8) -> KeyId {
    KeyId::from_bytes([number; 16])
}

/// The truth about a key of that spec, usage and origin, of the namespace `shop`, without material.
pub(super) fn truth(number: u8, spec: &str, usage: &str, origin: &str) -> KeyMaterial {
    let id = id(number);
    let truth = json!({
        "apiVersion": "keystead.dev/v1alpha1",
        "kind": "KeyMaterial",
        "metadata": {"namespace": "keystead-system", "name": id.to_string()},
        "spec": {
            "namespace": "shop", "name": format!("key-{number}"), "namespaceUid": "n", "objectUid": "o",
            "arn": format!("arn:aws:kms:ks-local-1:123456789012:key/{id}"),
            "keySpec": spec, "keyUsage": usage, "origin": origin, "enabled": true, "generations": [],
        },
    });
    serde_json::from_value(truth).unwrap()
}

/// A new key of that spec and usage, with material.
pub(super) fn made(number: u8, spec: &str, usage: &str) -> Key {
    rotated(truth(number, spec, usage, "Keystead"))
}

/// The key with one generation more.
pub(super) fn rotated(mut truth: KeyMaterial) -> Key {
    let root = root();
    let new = NewKey {
        installation: INSTALLATION,
        root: &root,
        id: truth.metadata.name.as_deref().unwrap().parse().unwrap(),
        now: Timestamp::UNIX_EPOCH,
    };
    let made = new_generation(&new, &truth.spec, &mut OsRandom).unwrap();
    truth.spec.generations.push(made);
    Key::load(truth, INSTALLATION, &RootKeys::only(Arc::new(root))).unwrap()
}

/// The key as it is loaded from that truth.
pub(super) fn reloaded(truth: KeyMaterial) -> Key {
    Key::load(truth, INSTALLATION, &RootKeys::only(Arc::new(root()))).unwrap()
}
