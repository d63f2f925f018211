//! The store of `KeyMaterial`.

use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::{Api, Client};

use crate::api::names::{FIELD_MANAGER, LABEL_MANAGED_BY, MANAGED_BY};
use crate::api::{KeyMaterial, KeyMaterialSpec};
use crate::crypto::KeyId;

/// The store of `KeyMaterial` in the operator's namespace.
#[derive(Clone)]
pub struct KeyMaterials {
    api: Api<KeyMaterial>,
}

impl KeyMaterials {
    /// The store in that namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
        }
    }

    /// All material of keys of that name, asked of the API server and not of a cache: for the
    /// decision to make new material, a cache may be too old.
    pub async fn named(&self, namespace: &str, name: &str) -> kube::Result<Vec<KeyMaterial>> {
        let selector = format!("spec.namespace={namespace},spec.name={name}");
        Ok(self
            .api
            .list(&ListParams::default().fields(&selector))
            .await?
            .items)
    }

    /// The material of that key, asked of the API server.
    pub async fn get(&self, id: &str) -> kube::Result<Option<KeyMaterial>> {
        self.api.get_opt(id).await
    }

    /// All material, asked of the API server, page by page.
    pub async fn all(&self) -> kube::Result<Vec<KeyMaterial>> {
        let mut params = ListParams::default().limit(500);
        let mut all = Vec::new();
        loop {
            let page = self.api.list(&params).await?;
            all.extend(page.items);
            match page.metadata.continue_ {
                Some(token) if !token.is_empty() => params.continue_token = Some(token),
                _ => return Ok(all),
            }
        }
    }

    /// Whether there is any material at all.
    pub async fn any(&self) -> kube::Result<bool> {
        Ok(!self
            .api
            .list(&ListParams::default().limit(1))
            .await?
            .items
            .is_empty())
    }

    /// Writes the material of a new key.
    pub async fn create(&self, id: KeyId, spec: KeyMaterialSpec) -> kube::Result<KeyMaterial> {
        let mut material = KeyMaterial::new(&id.to_string(), spec);
        material.metadata = ObjectMeta {
            labels: Some([(LABEL_MANAGED_BY.to_owned(), MANAGED_BY.to_owned())].into()),
            ..material.metadata
        };
        self.api.create(&params(), &material).await
    }

    /// Writes over exactly the state that `material` was read in.
    pub async fn replace(&self, material: &KeyMaterial) -> kube::Result<KeyMaterial> {
        let name = material.metadata.name.as_deref().unwrap_or_default();
        self.api.replace(name, &params(), material).await
    }
}

fn params() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}
