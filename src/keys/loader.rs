//! Fills the keyring from the truth and keeps it so, on every replica.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, pin_mut};
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use kube::{Api, Client, ResourceExt};
use tokio::sync::{broadcast, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::warn;

use super::key::Key;
use super::keyring::{KeyChanged, Keyring};
use super::sealing::{SealingKey, sealing_key_id};
use super::wrapped::roots_of;
use crate::api::KeyMaterial;
use crate::crypto::{InstallationId, KeyId};
use crate::roots::RootKeys;
use crate::telemetry::Metrics;
use crate::telling::describe_watch;
use crate::watching;

/// How often a root key that is nowhere is looked for again, while something needs it.
const LOOK_FOR_ROOTS: Duration = Duration::from_secs(10);

/// When it is looked. After a long time in which nothing was missing, one look is enough.
fn looks() -> Interval {
    let mut looks = interval(LOOK_FOR_ROOTS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}

/// Watches the truth about keys.
pub struct Loader {
    keyring: Arc<Keyring>,
    installation: InstallationId,
    roots: Arc<RootKeys>,
    metrics: Metrics,
    changes: broadcast::Sender<KeyChanged>,
}

impl Loader {
    /// A loader for that keyring.
    pub fn new(
        keyring: Arc<Keyring>,
        installation: InstallationId,
        roots: Arc<RootKeys>,
        metrics: Metrics,
    ) -> Self {
        let (changes, _) = broadcast::channel(4096);
        Self {
            keyring,
            installation,
            roots,
            metrics,
            changes,
        }
    }

    /// Announces what changes. A receiver that falls behind gets `Lagged` and must look at all.
    pub fn changes(&self) -> broadcast::Sender<KeyChanged> {
        self.changes.clone()
    }

    /// Runs for ever; calls `loaded` when the keyring first is complete. A lost watch is taken up
    /// again; until then the keyring stays as it is. What cannot be read, or was not written by the operator, is
    /// nothing that a key may be used by: it is as if it were not there, also where it was readable before.
    pub async fn run(self, client: Client, namespace: &str, loaded: impl FnOnce()) {
        let stream = watching::watch_guarded::<KeyMaterial>(Api::namespaced(client, namespace));
        pin_mut!(stream);
        let mut loaded = Some(loaded);
        let mut listed = HashSet::new();
        let mut news = self.roots.news();
        let mut looks = looks();
        loop {
            let event = tokio::select! {
                event = stream.next() => event,
                _ = news.changed() => {
                    self.open_again();
                    continue;
                }
                _ = looks.tick(), if self.roots.is_missing_any() => {
                    self.look_again().await;
                    continue;
                }
            };
            let Some(event) = event else {
                return;
            };
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(truth)) => {
                    listed.extend(self.put(truth).await);
                }
                Ok(Event::InitDone) => {
                    self.remove_all_but(&listed);
                    if let Some(loaded) = loaded.take() {
                        loaded();
                    }
                }
                Ok(Event::Apply(truth)) => {
                    self.put(truth).await;
                }
                Ok(Event::Delete(truth)) => self.remove(&truth.name_any()),
                Err(error) => {
                    warn!(
                        error = describe_watch(&error),
                        "the watch of key material broke; it is taken up again"
                    );
                }
            }
        }
    }

    /// Loads again what could not be opened, now that there is another root key.
    fn open_again(&self) {
        for key in self.keyring.all() {
            if key.generations.iter().any(|g| g.material.is_err()) {
                self.load(key.truth.clone());
            }
        }
        if let Some(key) = self.keyring.sealing().filter(|key| !key.closed.is_empty()) {
            self.load(key.truth.clone());
        }
    }

    /// Tells when there is another root key, for [`Self::look_for_roots`].
    pub(crate) fn news_of_roots(&self) -> watch::Receiver<()> {
        self.roots.news()
    }

    /// Looks again for root keys that were nowhere, and opens what has waited for them.
    pub(crate) async fn look_for_roots(&self, news: &mut watch::Receiver<()>) {
        if self.roots.is_missing_any() {
            self.look_again().await;
        }
        if news.has_changed().unwrap_or(false) {
            news.mark_unchanged();
            self.open_again();
        }
    }

    /// Looks again for the root keys that some key still needs.
    async fn look_again(&self) {
        let keys = self.keyring.all();
        let sealing = self.keyring.sealing();
        let truths = keys.iter().map(|key| &key.truth);
        let truths = truths.chain(sealing.iter().map(|key| &key.truth));
        let needed: HashSet<_> = truths.flat_map(|truth| roots_of(&truth.spec)).collect();
        self.roots.miss_only(&needed);
        self.roots.look_again().await;
    }

    /// Puts a key in, or a newer state of it. If the truth about it is not sound, or cannot be read by this release, the
    /// key is taken out: what was known of it is not so any more, and a key that may be disabled must not be used.
    pub(crate) async fn put(&self, truth: DeserializeGuard<KeyMaterial>) -> Option<KeyId> {
        let name = truth.name_any();
        let put = self.insert(truth).await;
        if put.is_none() {
            self.remove(&name);
        }
        put
    }

    async fn insert(&self, truth: DeserializeGuard<KeyMaterial>) -> Option<KeyId> {
        let truth = watching::read(truth)?;
        if let Some(id) = self.known(&truth) {
            return Some(id);
        }
        for root in roots_of(&truth.spec) {
            self.roots.want(root).await;
        }
        self.load(truth)
    }

    /// The key that this very truth is loaded as, with all of its material. A watch that begins anew tells of every key, and
    /// most are as they were. All of the truth is compared: after a restore a resourceVersion may come a second time.
    fn known(&self, truth: &KeyMaterial) -> Option<KeyId> {
        let id = truth.name_any().parse().ok()?;
        let sealing = self.keyring.sealing().filter(|_| self.is_sealing(id));
        if let Some(key) = sealing {
            let same = key.truth.metadata == truth.metadata && key.truth.spec == truth.spec;
            return (key.closed.is_empty() && same).then_some(id);
        }
        let key = self.keyring.get(id)?;
        let opened = key.generations.iter().all(|g| g.material.is_ok());
        let same = key.truth.metadata == truth.metadata && key.truth.spec == truth.spec;
        (opened && same).then_some(key.id)
    }

    fn load(&self, truth: KeyMaterial) -> Option<KeyId> {
        let (namespace, name) = (truth.spec.namespace.clone(), truth.spec.name.clone());
        let object = truth.name_any();
        if truth.spec.internal.is_some() {
            return self.load_sealing(truth);
        }
        match Key::load(truth, self.installation, &self.roots) {
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

    fn load_sealing(&self, truth: KeyMaterial) -> Option<KeyId> {
        let (namespace, name) = (truth.spec.namespace.clone(), truth.spec.name.clone());
        let id = truth.name_any().parse().ok();
        match SealingKey::load(truth, self.installation, &self.roots) {
            Ok(key) => {
                for (version, error) in &key.closed {
                    warn!(version, error, "a sealing key cannot be opened");
                }
                self.keyring.set_sealing(Some(key));
                self.announce(namespace, name);
                id
            }
            Err(error) => {
                warn!(error, "this sealing key was not written by the operator");
                None
            }
        }
    }

    fn is_sealing(&self, id: KeyId) -> bool {
        id == sealing_key_id(self.installation)
    }

    fn remove(&self, name: &str) {
        if let Ok(id) = name.parse() {
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
        let sealing = sealing_key_id(self.installation);
        if !listed.contains(&sealing) {
            self.remove_id(sealing);
        }
    }

    /// Takes a key out.
    pub(crate) fn remove_id(&self, id: KeyId) {
        let sealing = self.keyring.sealing().filter(|_| self.is_sealing(id));
        if let Some(key) = sealing {
            self.keyring.set_sealing(None);
            let spec = &key.truth.spec;
            self.announce(spec.namespace.clone(), spec.name.clone());
        }
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

#[cfg(test)]
#[path = "loader_tests.rs"]
mod tests;
