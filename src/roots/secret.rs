//! The embedded root key: a Secret in the operator's namespace.
//!
//! Whoever reads etcd or its backups then has the root key beside what it wraps; the threat model
//! says so. For more, use another provider.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use zeroize::Zeroizing;

use super::{RootError, RootProvider, parse};
use crate::api::names::{
    FIELD_MANAGER, LABEL_MANAGED_BY, MANAGED_BY, ROOT_SECRET, SECRET_TYPE_ROOT,
};
use crate::crypto::{OsRandom, RootKey};

/// The entry of the Secret that holds the key.
const ENTRY: &str = "key";

/// The root key in a Secret.
pub struct SecretRoot {
    secrets: Api<Secret>,
}

impl SecretRoot {
    /// The root key in the Secret `keystead-root` of that namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            secrets: Api::namespaced(client, namespace),
        }
    }

    async fn read(&self) -> Result<Option<RootKey>, RootError> {
        let secret = self.secrets.get_opt(ROOT_SECRET).await;
        let secret = secret.map_err(|source| failed("get", source))?;
        secret.map(|secret| self.key_of(secret)).transpose()
    }

    fn key_of(&self, secret: Secret) -> Result<RootKey, RootError> {
        let bytes = secret.data.and_then(|mut data| data.remove(ENTRY));
        let bytes = Zeroizing::new(bytes.map(|b| b.0).unwrap_or_default());
        parse(&bytes, || self.place())
    }

    async fn make(&self) -> Result<RootKey, RootError> {
        let root = RootKey::generate(&mut OsRandom).map_err(RootError::Random)?;
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(ROOT_SECRET.to_owned()),
                labels: Some([(LABEL_MANAGED_BY.to_owned(), MANAGED_BY.to_owned())].into()),
                ..ObjectMeta::default()
            },
            type_: Some(SECRET_TYPE_ROOT.to_owned()),
            immutable: Some(true),
            data: Some(BTreeMap::from([(
                ENTRY.to_owned(),
                ByteString(root.expose().to_vec()),
            )])),
            ..Secret::default()
        };
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        match self.secrets.create(&params, &secret).await {
            Ok(_) => Ok(root),
            // Another replica was faster; its key is the one.
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                self.read().await?.ok_or_else(|| RootError::Malformed {
                    place: self.place(),
                })
            }
            Err(source) => Err(failed("create", source)),
        }
    }
}

fn failed(operation: &'static str, reason: kube::Error) -> RootError {
    RootError::Api {
        operation,
        name: ROOT_SECRET.to_owned(),
        reason,
    }
}

impl RootProvider for SecretRoot {
    fn load(&self) -> BoxFuture<'_, Result<Option<RootKey>, RootError>> {
        Box::pin(self.read())
    }

    fn create(&self) -> BoxFuture<'_, Result<RootKey, RootError>> {
        Box::pin(self.make())
    }

    fn place(&self) -> String {
        format!("Secret {ROOT_SECRET}")
    }

    fn is_embedded(&self) -> bool {
        true
    }
}
