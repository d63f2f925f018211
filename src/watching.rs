//! Watches that nothing stops: how one that broke is taken up again, and what becomes of an object that cannot be
//! read.
//!
//! kube's own strategy waits up to a minute after a few outages in a row, and counts on until something changes that is
//! watched. Here nothing may be noticed later than a few seconds after the API server is back; a handful of watches that
//! ask every few seconds wears nobody out.

use std::time::{Duration, Instant};

use std::fmt::Debug;

use futures::{Stream, StreamExt, future, stream};
use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tracing::error;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(5);
/// After that long without a failure the next one counts as the first.
const FORGET_AFTER: Duration = Duration::from_secs(30);

/// Which namespaces the operator serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    Cluster,
    /// These.
    Namespaces(Vec<String>),
}

impl Scope {
    /// Whether that namespace is served.
    pub fn contains(&self, namespace: &str) -> bool {
        match self {
            Self::Cluster => true,
            Self::Namespaces(names) => names.iter().any(|name| name == namespace),
        }
    }

    /// The scope of a list of names: all namespaces if it is empty. An empty name, which an empty argument gives, is none.
    pub fn of(namespaces: &[String]) -> Self {
        let names = namespaces.iter().filter(|name| !name.is_empty());
        let names: Vec<_> = names.cloned().collect();
        if names.is_empty() {
            Self::Cluster
        } else {
            Self::Namespaces(names)
        }
    }

    /// Where a watch of all of it has to be: `None` is everywhere.
    pub fn places(&self) -> Vec<Option<String>> {
        match self {
            Self::Cluster => vec![None],
            Self::Namespaces(names) => names.iter().cloned().map(Some).collect(),
        }
    }
}

/// Watches everything of a kind. An object that this release cannot read (a newer one wrote it) is said and passed
/// over: it stays as it was last known, and does not hold up all others.
pub fn watch<K>(
    api: Api<DeserializeGuard<K>>,
) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watch_guarded(api).filter_map(|event| future::ready(event.map(readable).transpose()))
}

/// Watches everything of a kind, for those who must not go on with what they last knew of an object that has become
/// unreadable.
pub fn watch_guarded<K>(
    api: Api<DeserializeGuard<K>>,
) -> impl Stream<Item = Result<Event<DeserializeGuard<K>>, watcher::Error>> + Send
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watch_selected(api, watcher::Config::default())
}

/// Watches what is selected of a kind that is read without fail, such as metadata.
pub fn watch_selected<K>(
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watch_objects(api, config).backoff(WatchPauses::default())
}

/// The objects that the events of a watch tell of, once `store`, which these events went through before, has them.
///
/// What is listed is told when the list is complete. kube's own `applied_objects` tells it at once, while a store keeps an
/// unfinished list to itself: a controller would look for an object of which only a second list tells (the first was cut, or
/// its watch expired), not find it, and never look for it again.
pub fn objects<K>(
    events: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send,
    store: Store<K>,
) -> impl Stream<Item = Result<K, watcher::Error>> + Send
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    events.flat_map(move |event| {
        let (one, all) = match event {
            Ok(Event::Apply(object)) => (Some(Ok(object)), Vec::new()),
            Ok(Event::InitDone) => (None, store.state()),
            Ok(Event::Init | Event::InitApply(_) | Event::Delete(_)) => (None, Vec::new()),
            Err(error) => (Some(Err(error)), Vec::new()),
        };
        let all = all.into_iter().map(|object| Ok(K::clone(&object)));
        stream::iter(one.into_iter().chain(all))
    })
}

/// The event, if its object can be read.
fn readable<K>(event: Event<DeserializeGuard<K>>) -> Option<Event<K>>
where
    K: Resource<DynamicType = ()>,
{
    match event {
        Event::Init => Some(Event::Init),
        Event::InitDone => Some(Event::InitDone),
        Event::InitApply(object) => read(object).map(Event::InitApply),
        Event::Apply(object) => read(object).map(Event::Apply),
        Event::Delete(object) => read(object).map(Event::Delete),
    }
}

/// The object, if this release can read it; otherwise that is said.
pub fn read<K: Resource<DynamicType = ()>>(object: DeserializeGuard<K>) -> Option<K> {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    if object.0.is_err() {
        // Not the error itself: it may quote what the object holds.
        let kind = K::kind(&());
        error!(%kind, namespace, name, "this release cannot read the object; it is left as it is");
    }
    object.0.ok()
}

/// The pauses between attempts: exponential with jitter and a short cap.
#[derive(Debug, Default)]
pub struct WatchPauses {
    failures: u32,
    last: Option<Instant>,
}

impl WatchPauses {
    fn pause(&mut self, now: Instant, jitter: u8) -> Duration {
        if self
            .last
            .is_some_and(|last| now.duration_since(last) > FORGET_AFTER)
        {
            self.failures = 0;
        }
        self.last = Some(now);
        let pause = (FIRST * 2_u32.pow(self.failures.min(8))).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        pause.mul_f64(0.75 + f64::from(jitter) / 510.0)
    }
}

impl Iterator for WatchPauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let mut jitter = [0];
        // Without randomness the pauses are merely less spread.
        let _ = getrandom::fill(&mut jitter);
        Some(self.pause(Instant::now(), jitter[0]))
    }
}

impl Backoff for WatchPauses {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::FutureExt;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::reflector::{self, ObjectRef};

    use super::*;

    #[test]
    fn pauses_grow_to_a_short_cap_and_an_old_failure_is_forgotten() {
        let (mut pauses, start) = (WatchPauses::default(), Instant::now());
        let at = |second| start + Duration::from_secs(second);
        let lasting: Vec<_> = (0..8).map(|second| pauses.pause(at(second), 255)).collect();
        assert!(lasting.is_sorted(), "{lasting:?}");
        assert!(lasting[0] <= FIRST.mul_f64(1.25), "{lasting:?}");
        assert_eq!(lasting[7], LONGEST.mul_f64(1.25));
        assert!(pauses.pause(at(37), 0) >= LONGEST.mul_f64(0.75));
        assert!(pauses.pause(at(68), 255) <= FIRST.mul_f64(1.25));
    }

    #[tokio::test]
    async fn what_a_second_list_tells_of_is_told_when_it_is_complete() {
        let named = |name: &str| {
            let mut map = ConfigMap::default();
            map.metadata.name = Some(name.to_owned());
            map.metadata.namespace = Some("shop".to_owned());
            map
        };
        let (store, writer) = reflector::store();
        let (sender, events) = futures::channel::mpsc::unbounded();
        let mut told = pin!(objects(events.reflect(writer), store.clone()));
        let mut told_after = |events: Vec<Event<ConfigMap>>| {
            for event in events {
                sender.unbounded_send(Ok(event)).unwrap();
            }
            let mut names = Vec::new();
            while let Some(Some(object)) = told.next().now_or_never() {
                let object = object.unwrap();
                assert!(store.get(&ObjectRef::from_obj(&object)).is_some());
                names.push(object.name_any());
            }
            names.sort();
            names
        };
        assert!(told_after(vec![Event::Init, Event::InitApply(named("a"))]).is_empty());
        assert_eq!(told_after(vec![Event::InitDone]), ["a"]);
        assert_eq!(told_after(vec![Event::Apply(named("b"))]), ["b"]);
        assert!(told_after(vec![Event::Delete(named("b"))]).is_empty());
        let again = vec![Event::Init, Event::InitApply(named("c"))];
        assert!(told_after(again).is_empty(), "the store has it not yet");
        assert_eq!(told_after(vec![Event::InitDone]), ["c"]);
    }

    #[test]
    fn the_scope_of_no_name_is_all_namespaces() {
        let of = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            Scope::of(&names)
        };
        assert_eq!(of(&[""]), Scope::Cluster);
        assert_eq!(of(&[]).places(), [None]);
        assert!(of(&[]).contains("shop"));
        let two = of(&["shop", "", "farm"]);
        assert_eq!(
            two.places(),
            ["shop", "farm"].map(|name| Some(name.to_owned()))
        );
        assert!(two.contains("farm") && !two.contains("other") && !two.contains(""));
    }

    #[test]
    fn an_event_resets_the_pauses() {
        let mut pauses = WatchPauses::default();
        assert!(pauses.by_ref().take(6).all(|pause| !pause.is_zero()));
        pauses.reset();
        assert!(pauses.next().unwrap() <= FIRST.mul_f64(1.25));
    }
}
