//! Secrets for tests, as the API server tells of them.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::Catalogue;
use super::entry::Watched;

pub(super) fn watched(namespace: &str, name: &str, spec: &Value, status: &Value) -> Watched {
    serde_json::from_value(json!({
        "apiVersion": "keystead.dev/v1alpha1", "kind": "ManagedSecret",
        "metadata": {"namespace": namespace, "name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": spec, "status": status,
    }))
    .unwrap()
}

impl Catalogue {
    /// One that knows all secrets: these, of that current version each.
    pub(in crate::server) fn of_versions(secrets: &[(&str, &str, &str)]) -> Self {
        let catalogue = Self::default();
        for (namespace, name, version) in secrets {
            catalogue.set_version(namespace, name, version);
        }
        catalogue.complete.store(true, Ordering::Release);
        catalogue
    }

    /// Gives a secret another current version.
    pub(in crate::server) fn set_version(&self, namespace: &str, name: &str, version: &str) {
        let status = json!({"versions": [{"id": version, "stages": ["Current"]}]});
        self.put(watched(namespace, name, &json!({}), &status));
    }
}
