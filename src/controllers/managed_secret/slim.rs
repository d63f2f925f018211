//! Makes a watched secret as small as it can be kept: all of them are, for as long as the operator leads.

use kube::{Resource, ResourceExt};

use crate::api::ManagedSecret;

/// What `kubectl apply` writes: the whole object once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Drops what nobody here reads, and the room that lists were given to grow.
pub(super) fn slim(secret: &mut ManagedSecret) {
    // Not emptied: an empty list would keep its room.
    secret.meta_mut().managed_fields = None;
    secret.annotations_mut().remove(LAST_APPLIED);
    secret.spec.generate.shrink_to_fit();
    secret.spec.import.shrink_to_fit();
    let Some(status) = &mut secret.status else {
        return;
    };
    status.keys.shrink_to_fit();
    status.versions.shrink_to_fit();
    for version in &mut status.versions {
        version.stages.shrink_to_fit();
    }
    status.certificates.shrink_to_fit();
    status.undeliverable_by_env.shrink_to_fit();
    status.replicas.shrink_to_fit();
    if let Some(consumers) = &mut status.consumers {
        consumers.versions.shrink_to_fit();
    }
    status.conditions.shrink_to_fit();
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_kept_of_a_secret_has_no_room_to_grow_and_says_the_same() {
        let mut secret: ManagedSecret = serde_json::from_value(json!({
            "apiVersion": "keystead.dev/v1alpha1",
            "kind": "ManagedSecret",
            "metadata": {
                "namespace": "shop", "name": "db",
                "annotations": {LAST_APPLIED: "{}", "keystead.dev/rotate": "a"},
                "managedFields": [{"manager": "kubectl"}],
            },
            "spec": {"generate": [{"key": "password", "password": {}}]},
            "status": {"keys": ["password"], "versions": [
                {"id": "1", "stages": ["Current"], "created": "1970-01-01T00:00:20Z", "keyId": "k"},
            ]},
        }))
        .unwrap();
        let whole = secret.clone();
        slim(&mut secret);
        assert_eq!(secret.spec, whole.spec);
        assert_eq!(secret.status, whole.status);
        assert!(secret.meta().managed_fields.is_none());
        assert_eq!(secret.annotations().len(), 1);
        let status = secret.status.unwrap();
        assert_eq!(secret.spec.generate.capacity(), 1);
        assert_eq!(status.versions.capacity(), 1);
        assert_eq!(status.versions[0].stages.capacity(), 1);
    }
}
