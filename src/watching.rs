//! Watches that nothing stops: how one that broke is taken up again, and what becomes of an object that cannot be
//! read.
//!
//! kube's own strategy waits up to a minute after a few outages in a row, and counts on until something changes that is
//! watched. Here nothing may be noticed later than a few seconds after the API server is back; a handful of watches that
//! ask every few seconds wears nobody out.

use std::time::{Duration, Instant};

use std::fmt::Debug;

use futures::{Stream, StreamExt, future};
use kube::core::DeserializeGuard;
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

    #[test]
    fn an_event_resets_the_pauses() {
        let mut pauses = WatchPauses::default();
        assert!(pauses.by_ref().take(6).all(|pause| !pause.is_zero()));
        pauses.reset();
        assert!(pauses.next().unwrap() <= FIRST.mul_f64(1.25));
    }
}
