//! What is stored of secrets: read on demand, and kept as it was read for as long as it is proven that nothing newer is stored. It is
//! ciphertext, and stays so: no value is kept by anybody. What is kept open is only the manifest, which says who may read it.
//!
//! ```text
//! watched metadata ─▶ newest revision, proven ─┬─ is the one that is kept ─▶ that
//!                                              └─ is not, or nothing is proven ─▶ read anew
//! ```

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use kube::Client;

use super::known::Revisions;
use crate::calling::within;
use crate::policy::{RuleError, SecretRules};
use crate::secrets::Manifest;
use crate::truth::{SealedSecrets, Stored, truth_name};

/// How long the API server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes that are kept.
const MOST_BYTES: usize = 64 * 1024 * 1024;
/// What an entry takes beside its ciphertext, names and context, roughly.
const OVERHEAD: usize = 1024;

/// What was read of one secret in one state.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) stored: Arc<Stored>,
    /// What it says, once somebody has opened it.
    pub(super) described: Arc<OnceLock<Arc<Described>>>,
}

/// What a secret says of itself.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) manifest: Manifest,
    /// Who may read it, as the manifest says.
    pub(super) rules: Result<SecretRules, RuleError>,
}

/// What is stored of secrets.
pub(super) struct Ciphertext {
    sealed: SealedSecrets,
    newest: Arc<Revisions>,
    shelf: Mutex<Shelf>,
}

impl Ciphertext {
    /// That of the operator's namespace, of whose Secrets `newest` knows the states.
    pub(super) fn new(client: Client, namespace: &str, newest: Arc<Revisions>) -> Self {
        Self {
            sealed: SealedSecrets::new(client, namespace),
            newest,
            shelf: Mutex::new(Shelf::new(MOST_BYTES)),
        }
    }

    /// What is kept of a secret, if that is the newest.
    pub(super) fn kept(&self, namespace: &str, name: &str) -> Option<Kept> {
        let truth = truth_name(namespace, name);
        let newest = self.newest.get(&truth, Instant::now())?;
        self.shelf().get(&truth, newest)
    }

    /// What is stored of a secret now.
    ///
    /// # Errors
    /// As [`SealedSecrets::get`].
    pub(super) async fn read(
        &self,
        namespace: &str,
        name: &str,
    ) -> kube::Result<Option<Result<Kept, String>>> {
        let truth = truth_name(namespace, name);
        let read = within(PATIENCE, self.sealed.get_named(&truth)).await?;
        let Some(Ok(stored)) = read else {
            return Ok(read.map(|read| read.map(Kept::new)));
        };
        let kept = Kept::new(stored);
        let revision = kept.stored.resource_version.as_deref();
        if let Some(revision) = revision.and_then(|revision| revision.parse().ok()) {
            self.shelf().put(&truth, revision, kept.clone());
        }
        Ok(Some(Ok(kept)))
    }

    /// Keeps nothing of a secret any more, since it is known that something newer may be stored.
    pub(super) fn forget(&self, namespace: &str, name: &str) {
        self.shelf().remove(&truth_name(namespace, name));
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn new(stored: Stored) -> Self {
        Self {
            stored: Arc::new(stored),
            described: Arc::default(),
        }
    }

    /// What it takes, roughly: read from JSON, the manifest is some two times as large as it is stored.
    fn bytes(&self) -> usize {
        let versions = self.stored.versions.values().map(Vec::len);
        OVERHEAD + 3 * self.stored.manifest.len() + versions.sum::<usize>()
    }
}

/// What was read, by the names of Secrets; what was not asked for the longest goes first.
#[derive(Debug)]
struct Shelf {
    entries: HashMap<Arc<str>, Entry>,
    /// By when they were last asked for.
    order: BTreeMap<u64, Arc<str>>,
    /// How often anything was asked for.
    time: u64,
    bytes: usize,
    most: usize,
}

#[derive(Debug)]
struct Entry {
    revision: u64,
    kept: Kept,
    bytes: usize,
    time: u64,
}

impl Shelf {
    fn new(most: usize) -> Self {
        Self {
            entries: HashMap::new(),
            order: BTreeMap::new(),
            time: 0,
            bytes: 0,
            most,
        }
    }

    /// What was read, if it was in that state.
    fn get(&mut self, name: &str, revision: u64) -> Option<Kept> {
        let entry = self.entries.get_mut(name)?;
        if entry.revision != revision {
            return None;
        }
        self.time += 1;
        let name = self.order.remove(&entry.time)?;
        entry.time = self.time;
        self.order.insert(self.time, name);
        Some(entry.kept.clone())
    }

    /// Keeps what was read, unless something newer was: reads may overtake each other.
    fn put(&mut self, name: &str, revision: u64, kept: Kept) {
        let before = self.entries.get(name).map(|entry| entry.revision);
        if before.is_some_and(|before| before > revision) {
            return;
        }
        self.remove(name);
        let bytes = kept.bytes();
        self.time += 1;
        let (name, time): (Arc<str>, _) = (name.into(), self.time);
        let entry = Entry {
            revision,
            kept,
            bytes,
            time,
        };
        self.bytes += bytes;
        self.order.insert(time, name.clone());
        self.entries.insert(name, entry);
        while self.bytes > self.most
            && let Some((_, oldest)) = self.order.first_key_value()
        {
            let oldest = oldest.clone();
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, name: &str) {
        if let Some(entry) = self.entries.remove(name) {
            self.order.remove(&entry.time);
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truth;

    fn stored(bytes: usize) -> Kept {
        Kept::new(Stored {
            manifest: vec![0; 10],
            versions: [("v1".to_owned(), vec![0; bytes - OVERHEAD - 30])].into(),
            ..truth::testing::stored("shop", "db")
        })
    }

    #[test]
    fn only_the_newest_state_is_found() {
        let mut shelf = Shelf::new(100_000);
        shelf.put("a", 7, stored(2000));
        assert!(shelf.get("a", 7).is_some());
        assert!(shelf.get("a", 8).is_none());
        shelf.put("a", 8, stored(3000));
        assert!(shelf.get("a", 8).is_some());
        // A read that was overtaken.
        shelf.put("a", 7, stored(2000));
        assert!(shelf.get("a", 7).is_none());
        assert!(shelf.get("a", 8).is_some());
        assert_eq!(shelf.bytes, 3000);
    }

    #[test]
    fn what_was_not_asked_for_the_longest_goes_first_and_the_bound_is_kept() {
        let mut shelf = Shelf::new(10_000);
        for (name, revision) in [("a", 1), ("b", 2), ("c", 3)] {
            shelf.put(name, revision, stored(3000));
        }
        assert!(shelf.get("a", 1).is_some());
        shelf.put("d", 4, stored(3000));
        assert!(shelf.get("b", 2).is_none());
        assert!(shelf.get("a", 1).is_some());
        assert_eq!((shelf.bytes, shelf.order.len()), (9000, 3));
        // One that is larger than the bound is not kept, and leaves nothing behind.
        shelf.put("e", 5, stored(20_000));
        assert_eq!((shelf.bytes, shelf.order.len()), (0, 0));
        assert!(shelf.entries.is_empty());
    }
}
