//! One fact of each object of a kind, as of a state that is proven not to be old: which state a stored secret is in, and which UID a
//! namespace has. It only saves questions: whoever finds nothing here asks the API server.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::follow::Kept;
use crate::proof::Proof;

/// How old the proof of a fact may be that is relied on: as old as what is remembered of tokens and pods. While the API server answers,
/// a change is known within moments, and no proof is older than some seven seconds.
const MAX_AGE: Duration = Duration::from_secs(10);

/// Facts by the names of objects.
#[derive(Debug)]
pub(super) struct Known<V> {
    facts: RwLock<HashMap<Box<str>, V>>,
    proof: Proof,
}

/// The resource version that each stored secret has, by the name of its Secret.
pub(super) type Revisions = Known<u64>;
/// The UID that each namespace has.
pub(super) type Uids = Known<Arc<str>>;

impl<V> Default for Known<V> {
    fn default() -> Self {
        Self {
            facts: RwLock::default(),
            proof: Proof::default(),
        }
    }
}

impl<V: Clone> Known<V> {
    /// What is known of the object of that name; `None` if nothing is, or nothing that is proven.
    pub(super) fn get(&self, name: &str, now: Instant) -> Option<V> {
        let age = self.proof.age(now)?;
        let facts = self.facts.read().unwrap_or_else(PoisonError::into_inner);
        facts.get(name).filter(|_| age <= MAX_AGE).cloned()
    }

    fn write(&self, change: impl FnOnce(&mut HashMap<Box<str>, V>)) {
        change(&mut self.facts.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Keeps facts of the metadata of a kind of objects.
pub(super) struct Facts<K, V> {
    known: Arc<Known<V>>,
    what: &'static str,
    read: fn(&ObjectMeta) -> Option<V>,
    of: PhantomData<fn() -> K>,
}

impl Facts<Secret, u64> {
    /// Keeps the resource versions of stored secrets.
    pub(super) fn revisions(known: Arc<Revisions>) -> Self {
        Self {
            known,
            what: "the truth about secrets",
            read: |meta| meta.resource_version.as_deref()?.parse().ok(),
            of: PhantomData,
        }
    }
}

impl Facts<Namespace, Arc<str>> {
    /// Keeps the UIDs of namespaces.
    pub(super) fn uids(known: Arc<Uids>) -> Self {
        Self {
            known,
            what: "the namespaces",
            read: |meta| meta.uid.as_deref().map(Arc::from),
            of: PhantomData,
        }
    }
}

impl<K, V> Kept for Facts<K, V>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    V: Clone,
{
    type Object = PartialObjectMeta<K>;

    fn what(&self) -> &'static str {
        self.what
    }

    fn proof(&self) -> &Proof {
        &self.known.proof
    }

    async fn put(&self, object: Self::Object) {
        let name = object.name_any().into_boxed_str();
        self.known
            .write(|facts| match (self.read)(&object.metadata) {
                Some(fact) => drop(facts.insert(name, fact)),
                None => drop(facts.remove(&name)),
            });
    }

    fn remove(&self, name: &str) {
        self.known.write(|facts| {
            facts.remove(name);
        });
    }

    fn remove_all_but(&self, names: &HashSet<String>) {
        self.known
            .write(|facts| facts.retain(|name, _| names.contains(&**name)));
    }
}

#[cfg(test)]
pub(super) mod testing {
    //! Facts without an API server.

    use super::*;

    /// That fact of one object, as read at that instant.
    pub(in crate::server) fn known<V: Clone>(name: &str, fact: V, at: Instant) -> Arc<Known<V>> {
        let known = Known::default();
        known.write(|facts| facts.extend([(name.into(), fact)]));
        known.proof.replaced(at, 1);
        Arc::new(known)
    }
}

#[cfg(test)]
mod tests {
    use super::testing::known;
    use super::*;

    fn secret(name: &str, revision: Option<&str>) -> PartialObjectMeta<Secret> {
        PartialObjectMeta {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                resource_version: revision.map(str::to_owned),
                ..ObjectMeta::default()
            },
            ..PartialObjectMeta::default()
        }
    }

    #[test]
    fn what_is_not_proven_is_not_known() {
        let now = Instant::now();
        let unproven = Revisions::default();
        unproven.write(|facts| facts.extend([("a".into(), 7)]));
        assert_eq!(unproven.get("a", now), None);
        let proven = known("a", 7, now);
        assert_eq!(proven.get("a", now + MAX_AGE), Some(7));
        let later = now + MAX_AGE + Duration::from_millis(1);
        assert_eq!(proven.get("a", later), None);
        assert_eq!(proven.get("b", now), None);
    }

    #[tokio::test]
    async fn an_object_has_the_fact_of_its_newest_state_until_it_is_gone() {
        let revisions = known("a", 7, Instant::now());
        let facts = Facts::revisions(revisions.clone());
        let get = |name: &str| revisions.get(name, Instant::now());
        facts.put(secret("a", Some("9"))).await;
        facts.put(secret("b", Some("8"))).await;
        assert_eq!((get("a"), get("b")), (Some(9), Some(8)));
        facts.put(secret("a", None)).await;
        assert_eq!(get("a"), None);
        facts.remove_all_but(&HashSet::from(["b".to_owned()]));
        assert_eq!(get("b"), Some(8));
        facts.remove("b");
        assert_eq!(get("b"), None);
    }
}
