//! What is kept of the truth about keys: the keyring, by the loader, and how fresh it is.

use std::collections::HashSet;
use std::sync::Arc;

use kube::core::DeserializeGuard;
use tokio::sync::watch;

use super::follow::Kept;
use crate::api::KeyMaterial;
use crate::keys::{Freshness, Loader};
use crate::proof::Proof;

/// Keeps keys.
pub(super) struct Keys {
    loader: Loader,
    freshness: Arc<Freshness>,
    /// Tells of root keys that were nowhere before.
    roots: watch::Receiver<()>,
}

impl Keys {
    /// Has `loader` keep them, and tells `freshness` of changes.
    pub(super) fn new(loader: Loader, freshness: Arc<Freshness>) -> Self {
        Self {
            roots: loader.news_of_roots(),
            loader,
            freshness,
        }
    }
}

impl Kept for Keys {
    type Object = DeserializeGuard<KeyMaterial>;

    fn what(&self) -> &'static str {
        "the truth about keys"
    }

    fn proof(&self) -> &Proof {
        self.freshness.proof()
    }

    async fn put(&self, truth: Self::Object) {
        self.loader.put(truth).await;
    }

    fn remove(&self, name: &str) {
        if let Ok(id) = name.parse() {
            self.loader.remove_id(id);
        }
    }

    /// A key whose truth is there and not sound was taken out when it was put.
    fn remove_all_but(&self, names: &HashSet<String>) {
        let ids = names.iter().filter_map(|name| name.parse().ok());
        self.loader.remove_all_but(&ids.collect());
    }

    fn changed(&self) {
        self.freshness.changed();
    }

    async fn look_after(&mut self) {
        self.loader.look_for_roots(&mut self.roots).await;
    }
}
