//! What tests of secrets look at and do, in one line each.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use keystead::api::ManagedSecret;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use serde_json::Value;

use super::{Bed, eventually_within};

/// How soon the operator answers a change of something that a secret waits for. What is not watched is looked at
/// again only after minutes, so a slow machine within this time still proves the watch.
pub(crate) const SOON: Duration = Duration::from_secs(5);

impl Bed {
    /// A `ManagedSecret` of that spec (the inside of a YAML flow mapping or an indented block).
    pub(crate) async fn apply_secret(&self, namespace: &str, name: &str, spec: &str) {
        self.apply(&managed_secret(namespace, name, spec)).await;
    }

    /// The `ManagedSecret`, which must be there.
    pub(crate) async fn managed(&self, namespace: &str, name: &str) -> ManagedSecret {
        let api: Api<ManagedSecret> = Api::namespaced(self.client.clone(), namespace);
        api.get(name).await.expect("the ManagedSecret is there")
    }

    /// Ids and stages of the kept versions, newest first.
    pub(crate) async fn versions(&self, namespace: &str, name: &str) -> Vec<(String, Vec<String>)> {
        let status = self.managed(namespace, name).await.status;
        let versions = status.map(|status| status.versions).unwrap_or_default();
        versions
            .into_iter()
            .map(|version| (version.id, version.stages))
            .collect()
    }

    /// A native Secret, if there is one.
    pub(crate) async fn native(&self, namespace: &str, name: &str) -> Option<Secret> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        api.get_opt(name).await.expect("the API server answers")
    }

    /// The resource version of a native Secret that must be there.
    pub(crate) async fn state_of(&self, namespace: &str, name: &str) -> String {
        let secret = self.native(namespace, name).await;
        let secret = secret.unwrap_or_else(|| panic!("Secret {namespace}/{name} is not there"));
        secret.metadata.resource_version.expect("it is stored")
    }

    /// Makes a native Secret; returns its UID.
    pub(crate) async fn create_native(
        &self,
        namespace: &str,
        name: &str,
        data: &[(&str, &[u8])],
    ) -> String {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let data: BTreeMap<_, _> = data
            .iter()
            .map(|(key, bytes)| ((*key).to_owned(), ByteString(bytes.to_vec())))
            .collect();
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            data: Some(data),
            ..Secret::default()
        };
        let made = api.create(&PostParams::default(), &secret).await;
        made.expect("the Secret is made")
            .metadata
            .uid
            .expect("it is stored")
    }

    /// `kubectl patch --type merge`.
    pub(crate) async fn patch(&self, namespace: &str, what: &str, patch: &Value) {
        let patch = patch.to_string();
        self.kubectl(&[
            "patch", "-n", namespace, what, "--type", "merge", "-p", &patch,
        ])
        .await
        .expect_ok();
    }

    /// `kubectl delete`, without waiting for what hangs on it.
    pub(crate) async fn delete(&self, namespace: &str, what: &str) {
        self.kubectl(&["delete", "-n", namespace, what])
            .await
            .expect_ok();
    }

    /// The same without waiting until it is gone.
    pub(crate) async fn begin_to_delete(&self, namespace: &str, what: &str) {
        self.kubectl(&["delete", "-n", namespace, what, "--wait=false"])
            .await
            .expect_ok();
    }

    /// Messages of the Events of that reason about an object of that name; a series counts as often as it says.
    pub(crate) async fn events(&self, namespace: &str, name: &str, reason: &str) -> usize {
        let shown = self
            .kubectl(&["get", "events.events.k8s.io", "-n", namespace, "-o", "json"])
            .await
            .expect_ok();
        let list: Value = serde_json::from_str(&shown).expect("kubectl prints JSON");
        let about =
            |event: &&Value| event["regarding"]["name"] == name && event["reason"] == reason;
        let events = list["items"].as_array().expect("a list").iter();
        events
            .filter(about)
            .map(|event| event["series"]["count"].as_u64().unwrap_or(1))
            .map(|count| usize::try_from(count).expect("a small number"))
            .sum()
    }

    /// Waits, no longer than the operator may take, until a key of a native Secret has that value.
    pub(crate) async fn wait_value(&self, namespace: &str, name: &str, key: &str, value: &[u8]) {
        let what = format!("{key} of Secret {namespace}/{name} is as it should be");
        eventually_within(SOON, &what, || async {
            let data = self.data(namespace, name).await.unwrap_or_default();
            data.get(key).is_some_and(|found| found == value)
        })
        .await;
    }

    /// Waits, no longer than the operator may take, until a native Secret is gone.
    pub(crate) async fn wait_gone(&self, namespace: &str, name: &str) {
        let what = format!("Secret {namespace}/{name} is gone");
        eventually_within(SOON, &what, || async {
            self.native(namespace, name).await.is_none()
        })
        .await;
    }
}

/// The manifest of a `ManagedSecret`; `spec` is a YAML flow mapping.
pub(crate) fn managed_secret(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: keystead.dev/v1alpha1\nkind: ManagedSecret\n\
         metadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )
}
