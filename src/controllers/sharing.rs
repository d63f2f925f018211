//! Which secrets are replicas of which: kept up to date by the watch of the secrets, so that a source can tell how its replicas
//! are without listing anything, and hears of it when one of them comes, goes or turns.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, Event};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

use super::context::Context;
use crate::api::ManagedSecret;
use crate::api::managed_secret::{ReplicaStatus, ReplicationState};
use crate::telemetry::Metrics;

/// News that are kept for a listener that is slow; of more, it is told that any may have changed.
const WAITING: usize = 1024;

/// Namespace and name.
type Place = (String, String);

/// A source, if it is in this cluster, and how its replica follows it.
type Follows = (Option<Place>, Option<ReplicationState>);

/// The index.
pub struct Sharing {
    known: Mutex<Known>,
    changed: broadcast::Sender<ObjectRef<ManagedSecret>>,
}

#[derive(Default)]
struct Known {
    replicas: HashMap<Place, Follows>,
    by_source: HashMap<Place, BTreeSet<Place>>,
    /// Watches that have not listed everything once.
    listing: usize,
}

impl Default for Sharing {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            changed: broadcast::channel(WAITING).0,
        }
    }
}

impl Sharing {
    /// What a watch will tell the index. Nothing is known before every watch has listed everything once.
    pub(crate) fn follow(&self) -> Following {
        self.known().listing += 1;
        Following::default()
    }

    /// The replicas of a source in the namespaces that it is shared with, in order; `None` before they are known.
    pub(crate) fn replicas_of(&self, source: &ManagedSecret) -> Option<Vec<ReplicaStatus>> {
        let shared = source.spec.share_with.as_ref();
        let namespaces: HashSet<_> = shared.into_iter().flat_map(|s| &s.namespaces).collect();
        let known = self.known();
        let replicas = known.by_source.get(&place(source)).into_iter().flatten();
        let listed = replicas.filter(|(namespace, _)| namespaces.contains(namespace));
        let replicas = listed.map(|replica| ReplicaStatus {
            namespace: replica.0.clone(),
            name: replica.1.clone(),
            status: known.replicas.get(replica).and_then(|(_, state)| *state),
        });
        (known.listing == 0).then(|| replicas.collect())
    }

    /// How many secrets say that they are replicas of that.
    pub(crate) fn count(&self, source: &ObjectRef<ManagedSecret>) -> usize {
        let namespace = source.namespace.clone().unwrap_or_default();
        let known = self.known();
        let replicas = known.by_source.get(&(namespace, source.name.clone()));
        replicas.map_or(0, BTreeSet::len)
    }

    /// Sources whose replicas changed.
    pub(crate) fn news(&self) -> BroadcastStream<ObjectRef<ManagedSecret>> {
        BroadcastStream::new(self.changed.subscribe())
    }

    /// All sources that have replicas.
    pub(crate) fn sources(&self) -> Vec<ObjectRef<ManagedSecret>> {
        self.known().by_source.keys().map(object).collect()
    }

    /// Takes note of what a replica follows now; `None` if it is none any more. Returns whether it is one.
    fn note(&self, replica: Place, follows: Option<Follows>, metrics: &Metrics) -> bool {
        let is_replica = follows.is_some();
        let told = self.known().put(replica, follows, metrics);
        for source in told {
            // Without listeners nobody needs the news.
            let _ = self.changed.send(object(&source));
        }
        is_replica
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Puts it in place of what was known, and returns the sources to which that is news.
    fn put(&mut self, replica: Place, follows: Option<Follows>, metrics: &Metrics) -> Vec<Place> {
        let before = match &follows {
            Some(follows) => self.replicas.insert(replica.clone(), follows.clone()),
            None => self.replicas.remove(&replica),
        };
        if before == follows {
            return Vec::new();
        }
        if let Some((source, state)) = &before {
            metrics.replica_gone(counted(*state));
            if let Some(source) = source
                && let Some(replicas) = self.by_source.get_mut(source)
            {
                replicas.remove(&replica);
                if replicas.is_empty() {
                    self.by_source.remove(source);
                }
            }
        }
        if let Some((source, state)) = &follows {
            metrics.replica(counted(*state));
            if let Some(source) = source {
                let replicas = self.by_source.entry(source.clone()).or_default();
                replicas.insert(replica);
            }
        }
        let told = before.into_iter().chain(follows);
        let told: BTreeSet<_> = told.filter_map(|(source, _)| source).collect();
        told.into_iter().collect()
    }
}

/// What one watch of secrets tells the index.
#[derive(Default)]
pub(crate) struct Following {
    /// The replicas that it told of.
    told: HashSet<Place>,
    /// Those that a list which is not complete has had so far.
    listed: HashSet<Place>,
    /// Whether there was a complete list.
    is_complete: bool,
}

impl Following {
    /// Takes note of an event.
    pub(crate) fn see(
        &mut self,
        event: &Result<Event<ManagedSecret>, watcher::Error>,
        ctx: &Context,
    ) {
        if let Ok(event) = event {
            self.follow(event, &ctx.sharing, &ctx.metrics);
        }
    }

    fn follow(&mut self, event: &Event<ManagedSecret>, sharing: &Sharing, metrics: &Metrics) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(secret) => {
                if sharing.note(place(secret), follows(secret), metrics) {
                    self.listed.insert(place(secret));
                }
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                for gone in self.told.difference(&listed) {
                    sharing.note(gone.clone(), None, metrics);
                }
                self.told = listed;
                if !std::mem::replace(&mut self.is_complete, true) {
                    sharing.known().listing -= 1;
                }
            }
            Event::Apply(secret) => {
                if sharing.note(place(secret), follows(secret), metrics) {
                    self.told.insert(place(secret));
                } else {
                    self.told.remove(&place(secret));
                }
            }
            Event::Delete(secret) => {
                sharing.note(place(secret), None, metrics);
                self.told.remove(&place(secret));
            }
        }
    }
}

fn place(secret: &ManagedSecret) -> Place {
    (secret.namespace().unwrap_or_default(), secret.name_any())
}

fn object((namespace, name): &Place) -> ObjectRef<ManagedSecret> {
    ObjectRef::new(name).within(namespace)
}

fn follows(secret: &ManagedSecret) -> Option<Follows> {
    let source = secret.spec.replica_of.as_ref()?;
    let status = secret.status.as_ref().and_then(|s| s.replication.as_ref());
    let here = source.cluster.is_none();
    let source = here.then(|| (source.namespace.clone(), source.name.clone()));
    Some((source, status.map(|replication| replication.status)))
}

/// How a replica is counted: one that nobody has looked at yet is on its way.
fn counted(state: Option<ReplicationState>) -> ReplicationState {
    state.unwrap_or(ReplicationState::InProgress)
}

#[cfg(test)]
#[path = "sharing_tests.rs"]
mod tests;
