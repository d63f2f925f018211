//! The installation: a random id made once, the root key that belongs to it, and what happens when one
//! of them is missing. Nothing is ever made anew while something exists that needs the old.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, future, pin_mut};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::PartialObjectMeta;
use kube::runtime::{PredicateConfig, WatchStreamExt, predicates, watcher};
use kube::{Api, Client};
use serde_json::json;

use crate::api::names::{
    ANNOTATION_APPROVE_ADOPTION_BEFORE, FIELD_MANAGER, GUARD_ENABLED, INSTALLATION, LABEL_GUARD,
    LABEL_MANAGED_BY, MANAGED_BY,
};
use crate::crypto::{Fingerprint, InstallationId, OsRandom, Region, RootKey};
use crate::roots::{RootError, RootProvider};
use crate::telling::describe;
use crate::truth::{KeyMaterials, SealedSecrets};
use crate::watching::WatchPauses;

const ID: &str = "installationId";
const ROOT_FINGERPRINT: &str = "rootFingerprint";
const REGION: &str = "region";

/// Why the operator cannot work with what it found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not do what was asked.
    #[error("{operation}: {}", describe(reason))]
    Api {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        reason: kube::Error,
    },
    /// The root key's provider failed.
    #[error("load the root key")]
    Root(#[source] RootError),
    /// The record says which root key is needed, and there is none.
    #[error(
        "the root key {wanted} is missing at {place}: restore it; nothing is made anew while key material needs it"
    )]
    RootMissing {
        /// Fingerprint of the root key that is needed.
        wanted: Fingerprint,
        /// Where it was looked for.
        place: String,
    },
    /// There is a root key, and it is another one.
    #[error(
        "the root key at {place} is {have}, but this installation needs {wanted}: restore that one"
    )]
    RootMismatch {
        /// Fingerprint of the root key that is needed.
        wanted: Fingerprint,
        /// Fingerprint of what is there.
        have: Fingerprint,
        /// Where it is.
        place: String,
    },
    /// Truth exists and the record does not.
    #[error(
        "ConfigMap {INSTALLATION} is missing while key material or sealed secrets exist: restore it from the backup they came from"
    )]
    RecordMissing,
    /// There is no installation yet, and somebody else makes it.
    #[error("ConfigMap {INSTALLATION} is not there: the controller makes it when it first runs")]
    NotMade,
    /// The record was not written by the operator.
    #[error("ConfigMap {INSTALLATION}: {field} is missing or malformed")]
    RecordMalformed {
        /// Which entry.
        field: &'static str,
    },
    /// The operating system gave no randomness.
    #[error("draw randomness")]
    Random(#[source] crate::crypto::RandomError),
}

/// An installation with its root key.
pub struct Installation {
    /// Its id.
    pub id: InstallationId,
    /// The region in the ARNs of its keys. Fixed for life.
    pub region: Region,
    /// The root key.
    pub root: Arc<RootKey>,
    /// Whether the root key is in the same etcd as what it wraps.
    pub root_is_embedded: bool,
}

/// What the installation is found in or made from.
pub struct Bootstrap<'a> {
    /// A client.
    pub client: Client,
    /// The operator's namespace.
    pub namespace: &'a str,
    /// The root key's provider.
    pub root: &'a dyn RootProvider,
    /// The region for a new installation.
    pub region: Region,
    /// Whether the namespace gets the guard's label when the installation is made.
    pub guard_namespace: bool,
}

/// Finds the installation and never makes one: for processes that only read.
pub async fn find(
    client: Client,
    namespace: &str,
    root: &dyn RootProvider,
) -> Result<Installation, Error> {
    let record = look(&Api::namespaced(client, namespace)).await?;
    found(&record.ok_or(Error::NotMade)?, root).await
}

async fn look(records: &Api<ConfigMap>) -> Result<Option<ConfigMap>, Error> {
    let record = records.get_opt(INSTALLATION).await;
    record.map_err(|reason| Error::Api {
        operation: "get the installation record",
        reason,
    })
}

async fn found(record: &ConfigMap, provider: &dyn RootProvider) -> Result<Installation, Error> {
    let wanted: Fingerprint = entry(record, ROOT_FINGERPRINT)?;
    let place = provider.place();
    let root = provider.load().await.map_err(Error::Root)?;
    let Some(root) = root else {
        return Err(Error::RootMissing { wanted, place });
    };
    let have = root.fingerprint();
    if have != wanted {
        return Err(Error::RootMismatch {
            wanted,
            have,
            place,
        });
    }
    Ok(Installation {
        id: entry(record, ID)?,
        region: entry(record, REGION)?,
        root: Arc::new(root),
        root_is_embedded: provider.is_embedded(),
    })
}

impl Bootstrap<'_> {
    /// Finds the installation, or makes it if nothing of one exists.
    ///
    /// The order makes every crash harmless: guard, root key, record. Before the record is there, nothing
    /// was encrypted; once it is there, it names the root key that everything needs.
    pub async fn run(&self) -> Result<Installation, Error> {
        match self.look().await? {
            Some(record) => self.found(&record).await,
            None => self.first().await,
        }
    }

    async fn look(&self) -> Result<Option<ConfigMap>, Error> {
        look(&self.records()).await
    }

    fn records(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), self.namespace)
    }

    async fn found(&self, record: &ConfigMap) -> Result<Installation, Error> {
        found(record, self.root).await
    }

    async fn first(&self) -> Result<Installation, Error> {
        let failed = |operation| move |reason| Error::Api { operation, reason };
        let materials = KeyMaterials::new(self.client.clone(), self.namespace);
        let sealed = SealedSecrets::new(self.client.clone(), self.namespace);
        if materials
            .any()
            .await
            .map_err(failed("look for key material"))?
            || sealed
                .any()
                .await
                .map_err(failed("look for sealed secrets"))?
        {
            return Err(Error::RecordMissing);
        }
        if self.guard_namespace {
            self.guard()
                .await
                .map_err(failed("label the operator's namespace"))?;
        }
        let root = match self.root.load().await.map_err(Error::Root)? {
            Some(root) => root,
            None => self.root.create().await.map_err(Error::Root)?,
        };
        let id = InstallationId::generate(&mut OsRandom).map_err(Error::Random)?;
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        match self
            .records()
            .create(&params, &self.record(id, root.fingerprint()))
            .await
        {
            Ok(record) => self.found(&record).await,
            // Another replica was faster; its record counts.
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let record = self.records().get(INSTALLATION).await;
                self.found(&record.map_err(failed("get the installation record"))?)
                    .await
            }
            Err(reason) => Err(Error::Api {
                operation: "create the installation record",
                reason,
            }),
        }
    }

    fn record(&self, id: InstallationId, root: Fingerprint) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(INSTALLATION.to_owned()),
                labels: Some([(LABEL_MANAGED_BY.to_owned(), MANAGED_BY.to_owned())].into()),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([
                (ID.to_owned(), id.to_string()),
                (ROOT_FINGERPRINT.to_owned(), root.to_string()),
                (REGION.to_owned(), self.region.as_str().to_owned()),
            ])),
            ..ConfigMap::default()
        }
    }

    /// Puts the guard's label on the operator's namespace. Done once, when the installation is made, so
    /// that an administrator who takes it off stays obeyed.
    async fn guard(&self) -> kube::Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let label = json!({ "metadata": { "labels": { LABEL_GUARD: GUARD_ENABLED } } });
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        namespaces
            .patch_metadata(self.namespace, &params, &Patch::Merge(label))
            .await
            .map(|_| ())
    }
}

/// The instant before which namespaces were approved, all at once, to adopt what waits under their name.
pub async fn approved_before(client: Client, namespace: &str) -> kube::Result<Option<Timestamp>> {
    let records: Api<ConfigMap> = Api::namespaced(client, namespace);
    let record = records.get_opt(INSTALLATION).await?;
    let annotations = record.and_then(|record| record.metadata.annotations);
    Ok(annotations.and_then(|annotations| {
        annotations
            .get(ANNOTATION_APPROVE_ADOPTION_BEFORE)?
            .parse()
            .ok()
    }))
}

/// Calls `changed` whenever an administrator changes the annotations of the installation record, among them the approval
/// that [`approved_before`] reads. Runs for ever.
pub async fn watch_approvals(client: Client, namespace: &str, mut changed: impl FnMut()) {
    let records: Api<PartialObjectMeta<ConfigMap>> = Api::namespaced(client, namespace);
    let only = watcher::Config::default().fields(&format!("metadata.name={INSTALLATION}"));
    let changes = watcher(records, only)
        .backoff(WatchPauses::default())
        .applied_objects()
        .predicate_filter(predicates::annotations, PredicateConfig::default())
        .filter_map(|seen| future::ready(seen.ok()))
        // The first is how the record was found; whoever acts on it looks for himself.
        .skip(1);
    pin_mut!(changes);
    while changes.next().await.is_some() {
        changed();
    }
}

fn entry<T: std::str::FromStr>(record: &ConfigMap, field: &'static str) -> Result<T, Error> {
    let text = record.data.as_ref().and_then(|data| data.get(field));
    text.and_then(|text| text.parse().ok())
        .ok_or(Error::RecordMalformed { field })
}
