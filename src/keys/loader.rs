//! Fills the keyring from the truth and keeps it so, on every replica.

use std::collections::HashSet;
use std::sync::Arc;

use futures::{StreamExt, pin_mut};
use kube::runtime::watcher::Event;
use kube::{Api, Client, ResourceExt};
use tokio::sync::broadcast;
use tracing::warn;

use super::key::Key;
use super::keyring::{KeyChanged, Keyring};
use crate::api::KeyMaterial;
use crate::crypto::{InstallationId, KeyId, RootKey};
use crate::telemetry::Metrics;
use crate::telling::describe_watch;
use crate::watching;

/// Watches the truth about keys.
pub struct Loader {
    keyring: Arc<Keyring>,
    installation: InstallationId,
    root: Arc<RootKey>,
    metrics: Metrics,
    changes: broadcast::Sender<KeyChanged>,
}

impl Loader {
    /// A loader for that keyring.
    pub fn new(
        keyring: Arc<Keyring>,
        installation: InstallationId,
        root: Arc<RootKey>,
        metrics: Metrics,
    ) -> Self {
        let (changes, _) = broadcast::channel(4096);
        Self {
            keyring,
            installation,
            root,
            metrics,
            changes,
        }
    }

    /// Announces what changes. A receiver that falls behind gets `Lagged` and must look at all.
    pub fn changes(&self) -> broadcast::Sender<KeyChanged> {
        self.changes.clone()
    }

    /// Runs for ever; calls `loaded` when the keyring first is complete. A lost watch is taken up
    /// again; until then the keyring stays as it is.
    pub async fn run(self, client: Client, namespace: &str, loaded: impl FnOnce()) {
        let stream = watching::watch::<KeyMaterial>(Api::namespaced(client, namespace));
        pin_mut!(stream);
        let mut loaded = Some(loaded);
        let mut listed = HashSet::new();
        while let Some(event) = stream.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(truth)) => {
                    listed.extend(self.insert(truth));
                }
                Ok(Event::InitDone) => {
                    self.remove_all_but(&listed);
                    if let Some(loaded) = loaded.take() {
                        loaded();
                    }
                }
                Ok(Event::Apply(truth)) => {
                    self.insert(truth);
                }
                Ok(Event::Delete(truth)) => self.remove(&truth),
                Err(error) => {
                    warn!(
                        error = describe_watch(&error),
                        "the watch of key material broke; it is taken up again"
                    );
                }
            }
        }
    }

    /// Puts a key in, or a newer state of it. `None`: it was not written by the operator.
    pub(crate) fn insert(&self, truth: KeyMaterial) -> Option<KeyId> {
        let (namespace, name) = (truth.spec.namespace.clone(), truth.spec.name.clone());
        let object = truth.name_any();
        match Key::load(truth, self.installation, &self.root) {
            Ok(key) => {
                let id = key.id;
                for generation in &key.generations {
                    if let Err(error) = &generation.material {
                        warn!(key = %id, version = generation.version, error, "key material cannot be opened");
                    }
                }
                self.keyring.insert(key);
                self.announce(namespace, name);
                Some(id)
            }
            Err(error) => {
                warn!(
                    object,
                    error, "this key material was not written by the operator"
                );
                None
            }
        }
    }

    fn remove(&self, truth: &KeyMaterial) {
        if let Ok(id) = truth.name_any().parse() {
            self.remove_id(id);
        }
    }

    /// Takes all other keys out.
    pub(crate) fn remove_all_but(&self, listed: &HashSet<KeyId>) {
        for key in self.keyring.all() {
            if !listed.contains(&key.id) {
                self.remove_id(key.id);
            }
        }
    }

    /// Takes a key out.
    pub(crate) fn remove_id(&self, id: KeyId) {
        if let Some(key) = self.keyring.remove(id) {
            let spec = &key.truth.spec;
            self.announce(spec.namespace.clone(), spec.name.clone());
        }
    }

    fn announce(&self, namespace: String, name: String) {
        self.metrics.keyring_keys(self.keyring.len());
        // An error only says that nobody listens: this replica does not lead.
        let _ = self.changes.send(KeyChanged { namespace, name });
    }
}
