//! Every replica follows the record: it takes the root key that the record names as the current one, loads the next one of
//! a rotation before anything is wrapped under it, and objects if it cannot.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::sync::watch;
use tracing::{info, warn};

use super::record::{Objection, Phase, Record};
use super::records::{RecordError, Records};
use super::restore::Hold;
use crate::api::names::INSTALLATION;
use crate::clock::Clock;
use crate::crypto::Fingerprint;
use crate::roots::{MissingRoot, RootKeys};
use crate::telemetry::Component;
use crate::watching::WatchPauses;

/// How often what did not succeed is tried again. An objection counts for longer ([`Objection::is_live`]).
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// A replica that follows the record.
pub struct Follower {
    /// A client.
    pub client: Client,
    /// The operator's namespace.
    pub namespace: String,
    /// The root keys.
    pub roots: Arc<RootKeys>,
    /// Whether nothing is rotated or destroyed.
    pub hold: Arc<Hold>,
    /// The name of this replica.
    pub identity: String,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whether this replica has the root key that the record names.
    pub component: Component,
    /// Is told of each change of the record.
    pub changed: watch::Sender<()>,
}

impl Follower {
    /// Follows the record. Runs for ever.
    pub async fn run(self) {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let only = watcher::Config::default().fields(&format!("metadata.name={INSTALLATION}"));
        let changes = watcher(maps, only)
            .backoff(WatchPauses::default())
            .applied_objects()
            .filter_map(|seen| std::future::ready(seen.ok()));
        pin_mut!(changes);
        let (mut latest, mut settled) = (None, true);
        loop {
            let changed = tokio::select! {
                seen = changes.next() => match seen {
                    // What cannot be read is said when the installation is looked for; the last that could be read counts.
                    Some(map) => {
                        latest = Record::read(&map).ok().or(latest);
                        true
                    }
                    None => return,
                },
                () = tokio::time::sleep(RETRY_AFTER), if !settled => false,
            };
            let Some(record) = &latest else { continue };
            self.hold.set(record);
            settled = self.obey(record).await;
            if changed {
                self.changed.send_replace(());
            }
        }
    }

    /// Whether everything is as the record says.
    async fn obey(&self, record: &Record) -> bool {
        let before = self.roots.current_fingerprint();
        if let Err(error) = self.roots.switch(record.root).await {
            let problem = text(&error);
            warn!(problem, "the root key cannot be changed; it is tried again");
            self.component.not_ready(problem);
            return false;
        }
        self.component.ready();
        if before != record.root {
            info!(root = %record.root, "another root key is the current one");
        }
        let Some(rotation) = &record.rotation else {
            return true;
        };
        let (Phase::Distributing, Some(next)) = (rotation.phase, rotation.next) else {
            return true;
        };
        let loaded = match self.roots.find(next) {
            Some(_) => Ok(()),
            None => self.roots.load(next).await.map(drop),
        };
        let told = self.tell(next, loaded.is_ok(), record).await;
        if let Err(error) = &told {
            warn!(%error, "the objection to the next root key could not be written; it is tried again");
        }
        match loaded {
            Ok(()) => told.is_ok(),
            Err(error) => {
                warn!(error = text(&error), "the next root key cannot be loaded");
                false
            }
        }
    }

    /// Writes an objection down, or takes it back, if the record does not say so yet.
    async fn tell(
        &self,
        next: Fingerprint,
        loaded: bool,
        seen: &Record,
    ) -> Result<(), RecordError> {
        let name = Objection::name(&self.identity);
        let objection = (!loaded).then(|| Objection {
            root: next,
            at: self.clock.now(),
        });
        if !seen.clone().note_objection(name, objection.clone()) {
            return Ok(());
        }
        let records = Records::new(self.client.clone(), &self.namespace);
        let change = |record: &mut Record| -> Result<bool, Infallible> {
            Ok(record.note_objection(name, objection.clone()))
        };
        let Ok(_) = records.change(change).await?;
        Ok(())
    }
}

/// An error with its causes.
fn text(error: &MissingRoot) -> String {
    let source = std::error::Error::source(error).map(|source| format!(": {source}"));
    format!("{error}{}", source.unwrap_or_default())
}
