//! Embedded root keys: Secrets in the operator's namespace, immutable, one for each root key.
//!
//! Whoever reads etcd or its backups then has the root key beside what it wraps; the threat model
//! says so. For more, use another provider.
//!
//! The first one has a fixed name, so that of two replicas that make it one loses. Each further one is named by its
//! fingerprint: it is found without a list, and nothing is ever written over.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ObjectMeta, PostParams, Preconditions};
use kube::{Api, Client};
use zeroize::Zeroizing;

use super::{ProviderKind, RootError, RootProvider, parse};
use crate::api::names::{
    FIELD_MANAGER, LABEL_MANAGED_BY, MANAGED_BY, ROOT_SECRET, SECRET_TYPE_ROOT,
};
use crate::calling::answered;
use crate::crypto::{Fingerprint, OsRandom, RootKey};

/// The entry of the Secret that holds the key.
const ENTRY: &str = "key";

/// Root keys in Secrets.
pub struct SecretRoot {
    secrets: Api<Secret>,
}

/// A root key, and which object holds it.
struct Held {
    root: RootKey,
    name: String,
    state: Preconditions,
}

impl SecretRoot {
    /// Root keys in the Secrets `keystead-root` and `keystead-root-<fingerprint>` of that namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            secrets: Api::namespaced(client, namespace),
        }
    }

    async fn read(&self, name: &str) -> Result<Option<Held>, RootError> {
        let secret = answered(self.secrets.get_opt(name)).await;
        let secret = secret.map_err(|source| failed("get", name, source))?;
        secret.map(|secret| held(name, secret)).transpose()
    }

    async fn look_up(&self, wanted: Fingerprint) -> Result<Option<Held>, RootError> {
        for name in places_of(wanted) {
            let found = self.read(&name).await?;
            if let Some(held) = found.filter(|held| held.root.fingerprint() == wanted) {
                return Ok(Some(held));
            }
        }
        Ok(None)
    }

    /// Makes the Secret; whether it was not there yet.
    async fn write(&self, name: &str, root: &RootKey) -> Result<bool, RootError> {
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
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
        match answered(self.secrets.create(&params, &secret)).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(false),
            Err(source) => Err(failed("create", name, source)),
        }
    }

    async fn make(&self) -> Result<RootKey, RootError> {
        let root = RootKey::generate(&mut OsRandom).map_err(RootError::Random)?;
        if self.write(ROOT_SECRET, &root).await? {
            return Ok(root);
        }
        // Another replica was faster; its key is the one.
        let held = self.read(ROOT_SECRET).await?;
        held.map(|held| held.root)
            .ok_or_else(|| malformed(ROOT_SECRET))
    }

    /// Removes every Secret that holds it. A deleted Secret may still be there, kept by a finalizer of somebody else: it is
    /// looked for again.
    async fn remove(&self, root: Fingerprint) -> Result<bool, RootError> {
        for name in places_of(root) {
            let found = self.read(&name).await?;
            if let Some(held) = found.filter(|held| held.root.fingerprint() == root) {
                self.delete(held).await?;
            }
        }
        Ok(self.look_up(root).await?.is_none())
    }

    /// Deletes exactly the Secret that was looked at.
    async fn delete(&self, Held { name, state, .. }: Held) -> Result<(), RootError> {
        let params = DeleteParams {
            preconditions: Some(state),
            ..DeleteParams::default()
        };
        match answered(self.secrets.delete(&name, &params)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(source) => Err(failed("delete", &name, source)),
        }
    }
}

/// The name of the Secret of a root key that is not the first.
fn name_of(root: Fingerprint) -> String {
    format!("{ROOT_SECRET}-{root}")
}

/// The names of the Secrets that may hold a root key.
fn places_of(root: Fingerprint) -> [String; 2] {
    [name_of(root), ROOT_SECRET.to_owned()]
}

fn held(name: &str, secret: Secret) -> Result<Held, RootError> {
    let state = Preconditions {
        uid: secret.metadata.uid,
        resource_version: secret.metadata.resource_version,
    };
    let bytes = secret.data.and_then(|mut data| data.remove(ENTRY));
    let bytes = Zeroizing::new(bytes.map(|b| b.0).unwrap_or_default());
    let root = parse(&bytes, || format!("Secret {name}"))?;
    Ok(Held {
        root,
        name: name.to_owned(),
        state,
    })
}

fn malformed(name: &str) -> RootError {
    RootError::Malformed {
        place: format!("Secret {name}"),
    }
}

fn failed(operation: &'static str, name: &str, reason: kube::Error) -> RootError {
    RootError::Api {
        operation,
        name: name.to_owned(),
        reason,
    }
}

impl RootProvider for SecretRoot {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Secret
    }

    fn find(&self, wanted: Fingerprint) -> BoxFuture<'_, Result<Option<RootKey>, RootError>> {
        Box::pin(async move { Ok(self.look_up(wanted).await?.map(|held| held.root)) })
    }

    fn offered(&self) -> BoxFuture<'_, Result<Option<RootKey>, RootError>> {
        Box::pin(async { Ok(self.read(ROOT_SECRET).await?.map(|held| held.root)) })
    }

    fn create(&self) -> BoxFuture<'_, Result<RootKey, RootError>> {
        Box::pin(self.make())
    }

    fn keep<'a>(&'a self, root: &'a RootKey) -> BoxFuture<'a, Result<(), RootError>> {
        Box::pin(async move {
            // One of that name that is there already must be this very key.
            let name = name_of(root.fingerprint());
            self.write(&name, root).await?;
            match self.read(&name).await? {
                Some(held) if held.root == *root => Ok(()),
                _ => Err(malformed(&name)),
            }
        })
    }

    fn forget(&self, root: Fingerprint) -> BoxFuture<'_, Result<bool, RootError>> {
        Box::pin(self.remove(root))
    }

    fn place(&self) -> String {
        format!("Secret {ROOT_SECRET}")
    }
}
