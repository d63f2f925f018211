//! The root keys of an installation in memory: the current one, which wraps, and those of which something is still wrapped.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Providers, RootError};
use crate::crypto::{Fingerprint, RootKey};

/// How long one look-up of a root key may take.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a root key that is nowhere is not looked for again.
const MISSING_FOR: Duration = Duration::from_secs(10);

/// A root key is needed and is nowhere.
#[derive(Debug, thiserror::Error)]
pub enum MissingRoot {
    /// Nobody has it.
    #[error(
        "the root key {wanted} is missing at {places}: restore it; nothing is made anew while key material needs it"
    )]
    Nowhere {
        /// Its fingerprint.
        wanted: Fingerprint,
        /// Where it was looked for.
        places: String,
    },
    /// Where it may be cannot be looked at.
    #[error("load the root key {wanted}")]
    Provider {
        /// Its fingerprint.
        wanted: Fingerprint,
        /// Why.
        #[source]
        source: RootError,
    },
    /// Where it may be does not answer.
    #[error("load the root key {wanted}: no answer within {} s", LOOK_UP_TIMEOUT.as_secs())]
    Timeout {
        /// Its fingerprint.
        wanted: Fingerprint,
    },
}

/// The root keys of an installation. Found by fingerprint: which one wrapped something is written before it.
pub struct RootKeys {
    providers: Providers,
    state: RwLock<State>,
    news: watch::Sender<()>,
}

struct State {
    current: Fingerprint,
    known: HashMap<Fingerprint, Known>,
    missing: HashMap<Fingerprint, Instant>,
}

struct Known {
    root: Arc<RootKey>,
    embedded: bool,
}

impl RootKeys {
    /// The root keys of an installation whose current one has that fingerprint.
    ///
    /// # Errors
    /// If that one is missing.
    pub async fn open(providers: Providers, current: Fingerprint) -> Result<Self, MissingRoot> {
        let roots = Self {
            providers,
            state: RwLock::new(State {
                current,
                known: HashMap::new(),
                missing: HashMap::new(),
            }),
            news: watch::Sender::new(()),
        };
        roots.load(current).await?;
        Ok(roots)
    }

    /// That root key and no other, looked for nowhere: for tests and benchmarks of what is wrapped under it.
    pub fn only(root: Arc<RootKey>) -> Self {
        let current = root.fingerprint();
        let embedded = false;
        let known = Known { root, embedded };
        let state = State {
            current,
            known: HashMap::from([(current, known)]),
            missing: HashMap::new(),
        };
        Self {
            providers: Providers {
                first: super::ProviderKind::File,
                all: Arc::new([]),
            },
            state: RwLock::new(state),
            news: watch::Sender::new(()),
        }
    }

    /// Where root keys may be.
    pub fn providers(&self) -> &Providers {
        &self.providers
    }

    /// The one that wraps new material.
    pub fn current(&self) -> Arc<RootKey> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let known = state.known.get(&state.current);
        let known = known.expect("a root key becomes the current one only when it is loaded");
        known.root.clone()
    }

    /// The fingerprint of the one that wraps new material.
    pub fn current_fingerprint(&self) -> Fingerprint {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.current
    }

    /// Whether the current one is in the same etcd as what it wraps.
    pub fn is_embedded(&self) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let known = state.known.get(&state.current);
        known.is_some_and(|known| known.embedded)
    }

    /// The one with that fingerprint, if it is loaded.
    pub fn find(&self, wanted: Fingerprint) -> Option<Arc<RootKey>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.known.get(&wanted).map(|known| known.root.clone())
    }

    /// Loads the one with that fingerprint, unless it is loaded. One that was nowhere is not looked for again at once:
    /// thousands of keys may need it.
    pub async fn want(&self, wanted: Fingerprint) {
        let since = {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            if state.known.contains_key(&wanted) {
                return;
            }
            state.missing.get(&wanted).copied()
        };
        if since.is_none_or(|since| since.elapsed() >= MISSING_FOR) {
            // What is missing is said by whoever needs it.
            if self.load(wanted).await.is_err() {
                self.write().missing.insert(wanted, Instant::now());
            }
        }
    }

    /// Loads the one with that fingerprint anew.
    ///
    /// # Errors
    /// If it is nowhere.
    pub async fn load(&self, wanted: Fingerprint) -> Result<Arc<RootKey>, MissingRoot> {
        let found = tokio::time::timeout(LOOK_UP_TIMEOUT, self.providers.find(wanted)).await;
        let found = match found {
            Ok(Ok(Some(found))) => found,
            Ok(Ok(None)) => {
                let places = self.providers.places().await;
                return Err(MissingRoot::Nowhere { wanted, places });
            }
            Ok(Err(source)) => return Err(MissingRoot::Provider { wanted, source }),
            Err(_) => return Err(MissingRoot::Timeout { wanted }),
        };
        let (root, embedded) = (Arc::new(found.0), found.1);
        let mut state = self.write();
        state.missing.remove(&wanted);
        let known = Known {
            root: root.clone(),
            embedded,
        };
        let is_new = state.known.insert(wanted, known).is_none();
        drop(state);
        if is_new {
            self.news.send_replace(());
        }
        Ok(root)
    }

    /// Makes another one the current one.
    ///
    /// # Errors
    /// If it is nowhere; the current one stays then.
    pub async fn switch(&self, current: Fingerprint) -> Result<(), MissingRoot> {
        if self.find(current).is_none() {
            self.load(current).await?;
        }
        let mut state = self.write();
        let changed = state.current != current;
        state.current = current;
        drop(state);
        if changed {
            self.news.send_replace(());
        }
        Ok(())
    }

    /// Takes one out of memory that is not the current one.
    pub fn forget(&self, root: Fingerprint) {
        let mut state = self.write();
        if state.current != root {
            state.known.remove(&root);
        }
    }

    /// Whether something waits for a root key that is nowhere.
    pub fn is_missing_any(&self) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        !state.missing.is_empty()
    }

    /// Waits for no other missing root keys than these: nothing needs the others any more.
    pub fn miss_only(&self, needed: &HashSet<Fingerprint>) {
        let mut state = self.write();
        state.missing.retain(|root, _| needed.contains(root));
    }

    /// Looks again for what was nowhere.
    pub async fn look_again(&self) {
        let missing: Vec<_> = {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            state.missing.keys().copied().collect()
        };
        for wanted in missing {
            let _ = self.load(wanted).await;
        }
    }

    /// Tells when one was loaded, or another one became the current one.
    pub fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn fingerprint(byte: u8) -> Fingerprint {
        let bytes = crate::crypto::SecretArray::from_slice(&[byte; 32]).unwrap();
        RootKey::from_secret(bytes).fingerprint()
    }

    fn providers(folder: &Path) -> Providers {
        Providers::of_files(folder.join("key"), folder.join("previous"))
    }

    #[tokio::test]
    async fn what_was_wrapped_under_either_is_found_and_the_current_one_changes_only_when_it_is_there()
     {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), [1; 32]).unwrap();
        let roots = RootKeys::open(providers(folder.path()), fingerprint(1));
        let roots = roots.await.unwrap();
        assert_eq!(roots.current().fingerprint(), fingerprint(1));
        assert!(!roots.is_embedded());
        let missing = roots.switch(fingerprint(2)).await.unwrap_err().to_string();
        assert!(
            missing.contains(&fingerprint(2).to_string())
                && missing.contains(&fingerprint(1).to_string()),
            "{missing}"
        );
        assert_eq!(roots.current_fingerprint(), fingerprint(1));
        roots.want(fingerprint(2)).await;
        assert!(roots.is_missing_any());
        let news = roots.news();
        std::fs::write(folder.path().join("previous"), [2; 32]).unwrap();
        roots.look_again().await;
        assert!(!roots.is_missing_any() && news.has_changed().unwrap());
        roots.switch(fingerprint(2)).await.unwrap();
        assert_eq!(roots.current().fingerprint(), fingerprint(2));
        assert!(roots.find(fingerprint(1)).is_some());
        roots.forget(fingerprint(2));
        roots.forget(fingerprint(1));
        assert!(roots.find(fingerprint(2)).is_some() && roots.find(fingerprint(1)).is_none());
    }

    #[tokio::test]
    async fn one_that_is_nowhere_is_not_looked_for_again_at_once() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), [1; 32]).unwrap();
        let roots = RootKeys::open(providers(folder.path()), fingerprint(1));
        let roots = roots.await.unwrap();
        roots.want(fingerprint(2)).await;
        std::fs::write(folder.path().join("previous"), [2; 32]).unwrap();
        roots.want(fingerprint(2)).await;
        assert!(roots.find(fingerprint(2)).is_none());
        // Whoever insists gets it.
        roots.load(fingerprint(2)).await.unwrap();
        assert!(roots.find(fingerprint(2)).is_some());
    }
}
