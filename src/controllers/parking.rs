//! Parking by absence: truth whose resource is gone is marked as waiting.
//!
//! No Keystead resource carries a finalizer, so a deletion is not announced to anybody who was not there: the
//! resource simply is missing. Its truth is then marked with the instant at which a leader first saw that, and
//! waits to be adopted again. Deletion while the operator is down ends the same way.

use std::collections::HashSet;
use std::fmt::Debug;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use super::context::Context;
use super::error::{Error, call};

/// How often everything is compared although no deletion was seen.
const COMPARE_EVERY: Duration = Duration::from_secs(3600);
/// How long to wait before a failed attempt is repeated.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Which resources of a kind are there, and news of those that went.
pub(super) struct Presence<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    stores: Arc<Mutex<Vec<Store<K>>>>,
    /// Of each watch, whether it has seen everything once. A store can tell that to one who waits, and the controller does: of
    /// several, only the last one that asked would ever be woken.
    listed: Arc<watch::Sender<Vec<bool>>>,
    gone: mpsc::UnboundedSender<Gone<K>>,
}

/// One of the watches that a [`Presence`] knows from.
pub(super) struct Watch<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    presence: Presence<K>,
    index: usize,
}

impl<K> Watch<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    /// Takes note of an event, after what the watch knows was brought up to date: who hears of an absence must not find the
    /// resource there.
    pub(super) fn see(&self, event: &Result<Event<K>, watcher::Error>) {
        let news = match event {
            Ok(Event::Delete(object)) => Gone::One(ObjectRef::from_obj(object)),
            Ok(Event::InitDone) => {
                let listed = &self.presence.listed;
                listed.send_modify(|listed| listed[self.index] = true);
                Gone::Any
            }
            _ => return,
        };
        // The receiver ends with the controllers; nobody needs the news then.
        let _ = self.presence.gone.send(news);
    }
}

impl<K> Clone for Presence<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    fn clone(&self) -> Self {
        Self {
            stores: self.stores.clone(),
            listed: self.listed.clone(),
            gone: self.gone.clone(),
        }
    }
}

/// News of absence.
pub(super) enum Gone<K: Resource<DynamicType = ()>> {
    /// This one was deleted.
    One(ObjectRef<K>),
    /// Everything was listed anew; any may be gone.
    Any,
}

impl<K> Presence<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    /// An empty one, and where its news arrives.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Gone<K>>) {
        let (gone, news) = mpsc::unbounded_channel();
        (
            Self {
                stores: Arc::default(),
                listed: Arc::default(),
                gone,
            },
            news,
        )
    }

    /// Adds what a watch will know: where it is read, where it writes, and who takes note of its events.
    pub(super) fn watch(&self) -> (Store<K>, Writer<K>, Watch<K>) {
        let (reader, writer) = reflector::store();
        let mut stores = self.stores();
        let watch = Watch {
            presence: self.clone(),
            index: stores.len(),
        };
        stores.push(reader.clone());
        self.listed.send_modify(|listed| listed.push(false));
        (reader, writer, watch)
    }

    /// Waits until every watch has seen everything once. Any number of tasks may wait.
    pub(super) async fn complete(&self) {
        let mut listed = self.listed.subscribe();
        // What sends is here: it cannot be gone.
        let _ = listed.wait_for(|listed| listed.iter().all(|it| *it)).await;
    }

    /// To be called after a reconcile, which may have written truth for a resource that was deleted meanwhile: its absence
    /// is news again then. Either the watch has told of the deletion by now, and this sees it, or it tells it later.
    pub(super) fn look_again(&self, object: &ObjectRef<K>) {
        if self.get(object).is_none() {
            // The receiver ends with the controllers; nobody needs the news then.
            let _ = self.gone.send(Gone::One(object.clone()));
        }
    }

    /// The resource, as the watches know it.
    pub(super) fn get(&self, object: &ObjectRef<K>) -> Option<Arc<K>> {
        self.stores().iter().find_map(|store| store.get(object))
    }

    /// All resources that the watches know.
    pub(super) fn all(&self) -> Vec<Arc<K>> {
        self.stores().iter().flat_map(Store::state).collect()
    }

    fn stores(&self) -> std::sync::MutexGuard<'_, Vec<Store<K>>> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A kind of truth.
pub(super) trait Truths: Send + Sync {
    /// The resource that it belongs to.
    type Resource: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static;

    /// The resources that truth says it belongs to and that are not known to be gone.
    fn owners(
        ctx: &Context,
    ) -> impl Future<Output = Result<Vec<ObjectRef<Self::Resource>>, Error>> + Send;

    /// One piece of truth, in the state that it was read in.
    type Truth: Send;

    /// What is logged when truth was marked.
    const PARKED: &'static str = "the resource is gone; its truth waits to be adopted";

    /// The truth of that resource that does not wait yet.
    fn in_use(
        ctx: &Context,
        owner: &ObjectRef<Self::Resource>,
    ) -> impl Future<Output = Result<Vec<Self::Truth>, Error>> + Send;

    /// Marks that truth, in exactly the state that it was read in, as waiting.
    fn park(
        ctx: &Context,
        owner: &ObjectRef<Self::Resource>,
        truth: Vec<Self::Truth>,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Parks what is missing, for ever.
pub(super) async fn run<T: Truths>(
    ctx: Arc<Context>,
    presence: Presence<T::Resource>,
    mut news: mpsc::UnboundedReceiver<Gone<T::Resource>>,
) {
    presence.complete().await;
    let mut suspects = HashSet::new();
    let mut compare = true;
    loop {
        if compare {
            match T::owners(&ctx).await {
                Ok(owners) => {
                    suspects.extend(owners);
                    compare = false;
                }
                Err(error) => warn!(%error, "waiting truth could not be listed; it is tried again"),
            }
        }
        suspects = settle::<T>(&ctx, &presence, suspects).await;
        let wait = if suspects.is_empty() && !compare {
            COMPARE_EVERY
        } else {
            RETRY_AFTER
        };
        match tokio::time::timeout(wait, news.recv()).await {
            Ok(Some(Gone::One(object))) => {
                suspects.insert(object);
            }
            Ok(Some(Gone::Any)) => compare = true,
            Ok(None) => return,
            Err(_) => compare = compare || suspects.is_empty(),
        }
    }
}

/// Parks those that really are gone; returns those that could not be settled.
async fn settle<T: Truths>(
    ctx: &Context,
    presence: &Presence<T::Resource>,
    suspects: HashSet<ObjectRef<T::Resource>>,
) -> HashSet<ObjectRef<T::Resource>> {
    let mut unsettled = HashSet::new();
    for owner in suspects {
        let namespace = owner.namespace.as_deref().unwrap_or_default();
        if !ctx.scope.contains(namespace) || presence.get(&owner).is_some() {
            continue;
        }
        match park_if_gone::<T>(ctx, &owner).await {
            Ok(false) => {}
            Ok(true) => info!(%owner, "{}", T::PARKED),
            Err(error) => {
                warn!(%owner, %error, "truth could not be marked as waiting; it is tried again");
                unsettled.insert(owner);
            }
        }
    }
    unsettled
}

/// The watch's word is not enough to start a window: the API server itself must say that it is gone.
async fn park_if_gone<T: Truths>(
    ctx: &Context,
    owner: &ObjectRef<T::Resource>,
) -> Result<bool, Error> {
    // Read before the look at the resource: one that is applied and takes the truth over between look and write then
    // makes the write conflict, instead of being marked as gone while it is there.
    let truth = T::in_use(ctx, owner).await?;
    let namespace = owner.namespace.as_deref().unwrap_or_default();
    let api: Api<T::Resource> = Api::namespaced(ctx.client.clone(), namespace);
    if call("get", owner, api.get_metadata_opt(&owner.name))
        .await?
        .is_some()
    {
        return Ok(false);
    }
    ctx.check_leadership()?;
    let parks = !truth.is_empty();
    T::park(ctx, owner, truth).await.map(|()| parks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ManagedKey;

    #[tokio::test]
    async fn everybody_who_waits_for_the_first_lists_is_woken_by_the_last_of_them() {
        let (presence, _news) = Presence::<ManagedKey>::new();
        let (_first_store, _first_writer, first) = presence.watch();
        let (_second_store, _second_writer, second) = presence.watch();
        let waiters = [(); 3].map(|()| {
            let presence = presence.clone();
            tokio::spawn(async move { presence.complete().await })
        });
        first.see(&Ok(Event::InitDone));
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(!waiters.iter().any(tokio::task::JoinHandle::is_finished));
        second.see(&Ok(Event::InitDone));
        for waiter in waiters {
            let woken = tokio::time::timeout(Duration::from_secs(10), waiter).await;
            woken.expect("it is woken").expect("it does not panic");
        }
    }
}
