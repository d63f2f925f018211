//! Which Secrets are being made, or were made a while ago, so that two secrets that name one target do not both make it.
//!
//! A server-side apply cannot demand that its object does not exist yet, and all targets have one field manager: the
//! second of two such writes would silently take over what the first one made. Only the leader writes, so it is
//! enough that its own reconciles exclude each other, and that what one of them made after another's look is known to
//! that other.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a creation is remembered at least, and so how old a look may be that is trusted. A reconcile takes seconds.
const REMEMBERED: Duration = Duration::from_secs(300);

/// The places (namespace and name) of Secrets that are being made, and of those that were made lately.
#[derive(Debug, Default)]
pub struct Creations {
    state: Mutex<State>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct State {
    making: HashSet<(String, String)>,
    /// When the last attempt at each place ended, whatever came of it, by the place's hash: that two places share one costs a
    /// second look.
    ended: HashMap<u64, Instant>,
    /// Those of the time before, which are forgotten next.
    earlier: HashMap<u64, Instant>,
    since: Option<Instant>,
}

/// The right to make one Secret, until it drops.
#[derive(Debug)]
pub struct Creation<'a> {
    creations: &'a Creations,
    place: (String, String),
}

impl Creations {
    /// The right to make that Secret, unless somebody else has it, or had it after the look at that instant which found no such
    /// Secret.
    pub fn begin(&self, namespace: &str, name: &str, looked: Instant) -> Option<Creation<'_>> {
        let place = (namespace.to_owned(), name.to_owned());
        let hash = self.hasher.hash_one(&place);
        let mut state = self.state();
        let ended = [&state.ended, &state.earlier];
        let last = ended.into_iter().find_map(|ended| ended.get(&hash));
        if looked.elapsed() >= REMEMBERED || last.is_some_and(|last| *last >= looked) {
            return None;
        }
        // Only then: a right that is dropped at once would take itself for the one that is held.
        state.making.insert(place.clone()).then(|| Creation {
            creations: self,
            place,
        })
    }

    fn end(&self, place: &(String, String), now: Instant) {
        let mut state = self.state();
        state.making.remove(place);
        let since = *state.since.get_or_insert(now);
        if now.duration_since(since) >= REMEMBERED {
            state.since = Some(now);
            state.earlier = std::mem::take(&mut state.ended);
        }
        state.ended.insert(self.hasher.hash_one(place), now);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Creation<'_> {
    fn drop(&mut self) {
        self.creations.end(&self.place, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_secret_is_made_by_one_at_a_time() {
        let creations = Creations::default();
        let looked = Instant::now();
        let first = creations.begin("shop", "db", looked);
        assert!(first.is_some());
        assert!(creations.begin("shop", "db", looked).is_none());
        assert!(creations.begin("store", "db", looked).is_some());
        drop(first);
        assert!(creations.begin("shop", "db", Instant::now()).is_some());
    }

    #[test]
    fn whoever_looked_before_another_had_made_it_looks_again() {
        let creations = Creations::default();
        let looked = Instant::now();
        drop(creations.begin("shop", "db", looked));
        assert!(creations.begin("shop", "db", looked).is_none());
        assert!(creations.begin("shop", "other", looked).is_some());
        assert!(creations.begin("shop", "db", Instant::now()).is_some());
    }

    #[test]
    fn what_was_made_is_remembered_for_longer_than_a_look_is_trusted() {
        let creations = Creations::default();
        let Some(start) = Instant::now().checked_sub(REMEMBERED * 3) else {
            return;
        };
        let place = |name: &str| ("shop".to_owned(), name.to_owned());
        let known = |name: &str| {
            let (state, hash) = (creations.state(), creations.hasher.hash_one(place(name)));
            state.ended.contains_key(&hash) || state.earlier.contains_key(&hash)
        };
        creations.end(&place("a"), start);
        creations.end(&place("b"), start + REMEMBERED);
        assert!(known("a") && known("b"));
        creations.end(&place("c"), start + REMEMBERED * 2);
        assert!(!known("a") && known("b") && known("c"));
        let old = Instant::now().checked_sub(REMEMBERED);
        let trusted = old.and_then(|old| creations.begin("shop", "new", old));
        assert!(trusted.is_none(), "a look that old is not trusted");
    }
}
