//! The installation: a random id made once, the root key that belongs to it, and what happens when one
//! of them is missing. Nothing is ever made anew while something exists that needs the old.

mod follow;
mod record;
mod records;
mod restore;

use std::sync::Arc;

use futures::{StreamExt, future, pin_mut};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ObjectReference};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::{PredicateConfig, WatchStreamExt, predicates, watcher};
use kube::{Api, Client};
use serde_json::json;

pub use self::follow::Follower;
pub use self::record::{Malformed, Objection, Phase, Record, RootRotation};
pub use self::records::{Changed, RecordError, Records};
pub use self::restore::{Hold, RestoreHold, Suspicion, suspect, suspicion};
use crate::api::names::{
    ANNOTATION_APPROVE_ADOPTION_BEFORE, FIELD_MANAGER, GUARD_ENABLED, INSTALLATION, LABEL_GUARD,
};
use crate::calling::answered;
use crate::crypto::{InstallationId, OsRandom, Region, secret_arn};
use crate::roots::{MissingRoot, Providers, RootError, RootKeys};
use crate::telling::describe;
use crate::truth::{KeyMaterials, SealedSecrets};
use crate::watching::WatchPauses;

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
    /// A new installation starts with a provider that is not configured.
    #[error(
        "the provider of the root key is not configured: give the file that holds it (--root-file)"
    )]
    NoProvider,
    /// The record says which root key is needed, and there is none.
    #[error(transparent)]
    RootMissing(MissingRoot),
    /// Truth exists and the record does not.
    #[error(
        "ConfigMap {INSTALLATION} is missing while key material or sealed secrets exist: restore it from the backup they came from"
    )]
    RecordMissing,
    /// The record was not read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// There is no installation yet, and somebody else makes it.
    #[error("ConfigMap {INSTALLATION} is not there: the controller makes it when it first runs")]
    NotMade,
    /// The operating system gave no randomness.
    #[error("draw randomness")]
    Random(#[source] crate::crypto::RandomError),
}

/// An installation with its root keys.
pub struct Installation {
    /// Its id.
    pub id: InstallationId,
    /// The region in the ARNs of its keys. Fixed for life.
    pub region: Region,
    /// The root keys.
    pub roots: Arc<RootKeys>,
    /// Whether nothing is rotated or destroyed, since a restore is suspected.
    pub hold: Arc<Hold>,
}

impl Installation {
    /// The ARN of the secret of that name.
    pub fn secret_arn(&self, namespace: &str, name: &str) -> String {
        secret_arn(self.id, &self.region, namespace, name)
    }
}

/// What the installation is found in or made from.
pub struct Bootstrap<'a> {
    /// A client.
    pub client: Client,
    /// The operator's namespace.
    pub namespace: &'a str,
    /// Where root keys may be.
    pub roots: Providers,
    /// The region for a new installation.
    pub region: Region,
    /// Whether the namespace gets the guard's label when the installation is made.
    pub guard_namespace: bool,
}

/// Finds the installation and never makes one: for processes that only read.
///
/// # Errors
/// If there is none, or the root key that it needs is missing.
pub async fn find(
    client: Client,
    namespace: &str,
    roots: Providers,
) -> Result<Installation, Error> {
    let map = Records::new(client, namespace).find().await?;
    found(&map.ok_or(Error::NotMade)?, roots).await
}

async fn found(map: &ConfigMap, roots: Providers) -> Result<Installation, Error> {
    let record = Record::read(map).map_err(RecordError::Malformed)?;
    let roots = RootKeys::open(roots, record.root).await;
    let hold = Hold::default();
    hold.set(&record);
    Ok(Installation {
        id: record.id,
        region: record.region,
        roots: Arc::new(roots.map_err(Error::RootMissing)?),
        hold: Arc::new(hold),
    })
}

impl Bootstrap<'_> {
    /// Finds the installation, or makes it if nothing of one exists.
    ///
    /// The order makes every crash harmless: guard, root key, record. Before the record is there, nothing
    /// was encrypted; once it is there, it names the root key that everything needs.
    pub async fn run(&self) -> Result<Installation, Error> {
        match self.records().find().await? {
            Some(map) => found(&map, self.roots.clone()).await,
            None => self.first().await,
        }
    }

    fn records(&self) -> Records {
        Records::new(self.client.clone(), self.namespace)
    }

    async fn first(&self) -> Result<Installation, Error> {
        let failed = |operation| move |reason| Error::Api { operation, reason };
        let materials = KeyMaterials::new(self.client.clone(), self.namespace);
        let sealed = SealedSecrets::new(self.client.clone(), self.namespace);
        let keys = answered(materials.any()).await;
        let secrets = answered(sealed.any()).await;
        if keys.map_err(failed("look for key material"))?
            || secrets.map_err(failed("look for sealed secrets"))?
        {
            return Err(Error::RecordMissing);
        }
        if self.guard_namespace {
            self.guard()
                .await
                .map_err(failed("label the operator's namespace"))?;
        }
        let Some(provider) = self.roots.first() else {
            return Err(Error::NoProvider);
        };
        let root = match provider.offered().await.map_err(Error::Root)? {
            Some(root) => root,
            None => provider.create().await.map_err(Error::Root)?,
        };
        let id = InstallationId::generate(&mut OsRandom).map_err(Error::Random)?;
        let record = Record::new(id, self.region.clone(), root.fingerprint());
        // Of several replicas one is the first; its record counts.
        let map = self.records().create(&record).await?;
        found(&map, self.roots.clone()).await
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
        let patch = Patch::Merge(label);
        let labelled = namespaces.patch_metadata(self.namespace, &params, &patch);
        answered(labelled).await.map(|_| ())
    }
}

/// The record, as what an Event is about.
pub fn reference(namespace: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("ConfigMap".to_owned()),
        name: Some(INSTALLATION.to_owned()),
        namespace: Some(namespace.to_owned()),
        ..ObjectReference::default()
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
