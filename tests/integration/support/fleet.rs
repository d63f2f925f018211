//! Many objects at once, and the truth behind them.

use std::collections::BTreeMap;
use std::fmt::Write;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use keystead::api::{KeyMaterial, ManagedKey, ManagedSecret};
use keystead::truth::truth_name;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::Value;

use super::{Bed, SYSTEM, eventually, eventually_within};

/// The operator's user.
pub(crate) const OPERATOR_USER: &str = "system:serviceaccount:keystead-system:keystead-controller";

/// A `ManagedKey` as YAML.
pub(crate) fn key(namespace: &str, name: &str) -> String {
    format!(
        "---\napiVersion: keystead.dev/v1alpha1\nkind: ManagedKey\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec: {{}}\n"
    )
}

/// A `ManagedSecret` as YAML: a generated `password` and a literal, delivered plain.
pub(crate) fn plain(namespace: &str, name: &str, key: Option<&str>, literal: &str) -> String {
    let key = key.map_or_else(String::new, |key| format!("  keyRef: {{name: {key}}}\n"));
    format!(
        "---\napiVersion: keystead.dev/v1alpha1\nkind: ManagedSecret\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec:\n{key}  generate: [{{key: password, password: {{}}}}]\n  literals: {{literal: \"{literal}\"}}\n  \
         target: {{form: Plain}}\n"
    )
}

/// That many of them, named `s0`, `s1`, ...
pub(crate) fn plains(namespace: &str, count: usize, key: Option<&str>) -> String {
    (0..count).fold(String::new(), |mut yaml, index| {
        write!(yaml, "{}", plain(namespace, &format!("s{index}"), key, "x")).unwrap();
        yaml
    })
}

impl Bed {
    /// The passwords of the delivered Secrets of a namespace, by name.
    pub(crate) async fn passwords(&self, namespace: &str) -> BTreeMap<String, Vec<u8>> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let params = ListParams::default().labels("app.kubernetes.io/managed-by=keystead");
        let listed = secrets.list(&params).await.unwrap();
        let password = |secret: Secret| {
            let name = secret.name_any();
            Some((name, secret.data?.remove("password")?.0))
        };
        listed.items.into_iter().filter_map(password).collect()
    }

    /// All secrets of a namespace.
    pub(crate) async fn managed_secrets(&self, namespace: &str) -> Vec<ManagedSecret> {
        let secrets: Api<ManagedSecret> = Api::namespaced(self.client.clone(), namespace);
        secrets.list(&ListParams::default()).await.unwrap().items
    }

    /// All keys of a namespace.
    pub(crate) async fn managed_keys(&self, namespace: &str) -> Vec<ManagedKey> {
        let keys: Api<ManagedKey> = Api::namespaced(self.client.clone(), namespace);
        keys.list(&ListParams::default()).await.unwrap().items
    }

    /// The truth about keys.
    pub(crate) async fn materials(&self) -> Vec<KeyMaterial> {
        let mut all = self.all_materials().await;
        all.retain(|material| material.spec.internal.is_none());
        all
    }

    /// The truth about keys, and about what the operator keeps for itself.
    pub(crate) async fn all_materials(&self) -> Vec<KeyMaterial> {
        let materials: Api<KeyMaterial> = Api::namespaced(self.client.clone(), SYSTEM);
        materials.list(&ListParams::default()).await.unwrap().items
    }

    /// The truth about the key of that name.
    pub(crate) async fn material(&self, namespace: &str, name: &str) -> KeyMaterial {
        let mut all = self.materials().await;
        all.retain(|m| m.spec.namespace == namespace && m.spec.name == name);
        assert_eq!(all.len(), 1, "materials of {namespace}/{name}");
        all.remove(0)
    }

    /// The truth about secrets.
    pub(crate) async fn truths(&self) -> Vec<Secret> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), SYSTEM);
        let params = ListParams::default().fields("type=keystead.dev/sealed");
        secrets.list(&params).await.unwrap().items
    }

    /// The truth about the secret of that name.
    pub(crate) async fn truth(&self, namespace: &str, name: &str) -> Option<Secret> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), SYSTEM);
        secrets.get_opt(&truth_name(namespace, name)).await.unwrap()
    }

    /// An annotation of the truth about the secret of that name.
    pub(crate) async fn truth_says(
        &self,
        namespace: &str,
        name: &str,
        key: &str,
    ) -> Option<String> {
        let truth = self.truth(namespace, name).await.unwrap();
        truth.annotations().get(key).cloned()
    }

    /// An object as JSON, without what belongs to one life of it: what a backup tool would put back.
    pub(crate) async fn saved(&self, namespace: &str, kind: &str, name: &str) -> String {
        let args = ["get", kind, name, "-n", namespace, "-o", "json"];
        let mut object: Value =
            serde_json::from_str(&self.kubectl(&args).await.expect_ok()).unwrap();
        let metadata = object["metadata"].as_object_mut().unwrap();
        for field in [
            "uid",
            "resourceVersion",
            "creationTimestamp",
            "managedFields",
            "generation",
        ] {
            metadata.remove(field);
        }
        object.to_string()
    }

    /// Whether all secrets of a namespace are Ready for their generation.
    pub(crate) async fn not_ready(&self, namespace: &str) -> Vec<String> {
        let unready = |secret: &ManagedSecret| {
            let status = secret.status.clone().unwrap_or_default();
            let ready = status.conditions.iter().find(|c| c.type_ == "Ready");
            !ready.is_some_and(|c| {
                c.status == "True" && c.observed_generation == secret.metadata.generation
            }) || status.observed_generation != secret.metadata.generation
        };
        let all = self.managed_secrets(namespace).await;
        all.iter()
            .filter(|s| unready(s))
            .map(ResourceExt::name_any)
            .collect()
    }

    /// Waits until all of that many secrets of a namespace are Ready.
    pub(crate) async fn wait_all_ready(&self, namespace: &str, count: usize) {
        let what = format!("{count} secrets of {namespace} are Ready");
        eventually_within(std::time::Duration::from_secs(120), &what, || async {
            self.managed_secrets(namespace).await.len() == count
                && self.not_ready(namespace).await.is_empty()
        })
        .await;
    }

    /// Waits until the truth of that secret waits to be adopted, or does not.
    pub(crate) async fn wait_parked(&self, namespace: &str, name: &str, parked: bool) {
        eventually(&format!("parked {namespace}/{name}: {parked}"), || async {
            let mark = self.truth_says(namespace, name, "keystead.dev/parked-since");
            mark.await.is_some() == parked
        })
        .await;
    }

    /// The installation's record.
    pub(crate) async fn record(&self) -> BTreeMap<String, String> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), SYSTEM);
        let map = maps.get("keystead-installation").await.unwrap();
        map.data.unwrap_or_default()
    }

    /// Waits until a restore is suspected, or is not.
    pub(crate) async fn wait_hold(&self, held: bool) {
        eventually(&format!("a restore is suspected: {held}"), || async {
            self.record().await.contains_key("restoreSuspected") == held
        })
        .await;
    }

    /// Lets the administrator change the truth.
    pub(crate) async fn lift_guard(&self) {
        self.kubectl(&["label", "namespace", SYSTEM, "keystead.dev/guard-"])
            .await
            .expect_ok();
        // The policies hear of it a moment later.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }

    /// Every key has one material, every secret one truth, nothing else is there, and nothing waits.
    pub(crate) async fn assert_truth_is_exact(&self, namespaces: &[&str]) {
        let (mut keys, mut secrets) = (Vec::new(), Vec::new());
        for namespace in namespaces {
            let uid = |meta: &kube::core::ObjectMeta| meta.uid.clone().unwrap();
            keys.extend(
                self.managed_keys(namespace)
                    .await
                    .iter()
                    .map(|k| uid(&k.metadata)),
            );
            secrets.extend(
                self.managed_secrets(namespace)
                    .await
                    .iter()
                    .map(|s| uid(&s.metadata)),
            );
        }
        // A secret may be ready before it is seen that the default key of its namespace is gone, parked, and made again.
        eventually("no key waits", || async {
            let materials = self.materials().await;
            materials.iter().all(|m| m.spec.parked_since.is_none())
        })
        .await;
        let materials = self.materials().await;
        assert!(materials.iter().all(|m| m.spec.generations.len() == 1));
        let mut claimed: Vec<_> = materials.into_iter().map(|m| m.spec.object_uid).collect();
        keys.sort();
        claimed.sort();
        assert_eq!(claimed, keys, "one material per key");
        let truths = self.truths().await;
        let parked = |t: &Secret| t.annotations().contains_key("keystead.dev/parked-since");
        assert!(!truths.iter().any(parked));
        let mut claimed: Vec<_> = truths
            .iter()
            .map(|t| t.annotations()["keystead.dev/object-uid"].clone())
            .collect();
        secrets.sort();
        claimed.sort();
        assert_eq!(claimed, secrets, "one truth per secret");
    }
}
