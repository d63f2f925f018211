//! How long to wait after a failure: per object, exponential with jitter and a cap, forgotten as soon as
//! something that the object waits for changes.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;

use super::error::Class;

const CONFLICT_DELAY: Duration = Duration::from_millis(500);
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// After what only a person can mend: a slow look, in case he did so where nobody watches.
const PERMANENT_DELAY: Duration = Duration::from_secs(60);

/// Counts of consecutive failures.
#[derive(Debug)]
pub struct Failures<K> {
    counts: Mutex<HashMap<K, u32>>,
}

impl<K> Default for Failures<K> {
    fn default() -> Self {
        Self {
            counts: Mutex::default(),
        }
    }
}

impl<K: Eq + Hash> Failures<K> {
    /// Counts a failure and says how long to wait. `jitter` is uniform in 0..=255.
    pub fn delay(&self, object: K, class: Class, jitter: u8) -> Duration {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(object).or_insert(0);
        let delay = delay_after(*count, class);
        *count = count.saturating_add(1);
        jittered(delay, jitter)
    }

    /// How many failures in a row were counted.
    pub fn count(&self, object: &K) -> u32 {
        self.counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(object)
            .copied()
            .unwrap_or(0)
    }

    /// Forgets the failures of an object: it succeeded, or what it waits for has changed.
    pub fn reset(&self, object: &K) {
        self.counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(object);
    }
}

/// Repairs of what somebody else keeps changing: the first ones at once, then each later than the one before.
#[derive(Debug)]
pub struct Repairs<K> {
    last: Mutex<HashMap<K, (Timestamp, u32)>>,
}

impl<K> Default for Repairs<K> {
    fn default() -> Self {
        Self {
            last: Mutex::default(),
        }
    }
}

impl<K: Eq + Hash + Clone> Repairs<K> {
    /// Whether a repair may be made now: `None`, and it counts as made; otherwise how long to wait.
    pub fn admit(&self, object: &K, now: Timestamp) -> Option<Duration> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // What was quiet for long is forgotten, so that the map stays as small as the number of fights.
        last.retain(|_, (at, _)| elapsed(*at, now) < QUIET);
        let Some((at, count)) = last.get_mut(object) else {
            last.insert(object.clone(), (now, 0));
            return None;
        };
        let gap = match count.checked_sub(FREE_REPAIRS) {
            None => Duration::ZERO,
            Some(further) => (FIRST_DELAY * 2_u32.pow(further.min(6))).min(LONGEST_DELAY),
        };
        if let Some(rest) = gap
            .checked_sub(elapsed(*at, now))
            .filter(|rest| !rest.is_zero())
        {
            return Some(rest);
        }
        (*at, *count) = (now, count.saturating_add(1));
        None
    }
}

/// Lets a number of objects do something in each second, one after the other, and each once.
#[derive(Debug)]
pub struct Pace<K> {
    interval: Duration,
    slots: Mutex<Slots<K>>,
}

#[derive(Debug)]
struct Slots<K> {
    next: Option<Instant>,
    taken: HashMap<K, Instant>,
}

impl<K: Clone + Eq + Hash> Pace<K> {
    /// So many in each second.
    pub fn per_second(number: u16) -> Self {
        Self {
            interval: Duration::from_secs(1) / u32::from(number.max(1)),
            slots: Mutex::new(Slots {
                next: None,
                taken: HashMap::new(),
            }),
        }
    }

    /// Whether it is that object's turn; otherwise how long until it is. The turn is kept for it.
    pub fn admit(&self, object: &K, now: Instant) -> Option<Duration> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.next.is_some_and(|next| next <= now) {
            // Every turn has come. Who did not is deleted, or about to come and has its turn now.
            slots.taken.clear();
        }
        let slot = slots.taken.get(object).copied().unwrap_or_else(|| {
            let slot = slots.next.map_or(now, |next| next.max(now));
            slots.next = Some(slot + self.interval);
            slot
        });
        if slot <= now {
            slots.taken.remove(object);
            return None;
        }
        slots.taken.insert(object.clone(), slot);
        Some(slot - now)
    }
}

/// Repairs in a row that are made at once.
const FREE_REPAIRS: u32 = 4;
/// How long after the last repair a fight counts as over.
const QUIET: Duration = Duration::from_secs(600);

fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// The wait after the `failures`-th consecutive failure, before jitter.
fn delay_after(failures: u32, class: Class) -> Duration {
    match class {
        // A conflict that keeps coming back is a fight with another writer: wait longer each time.
        Class::Conflict => (CONFLICT_DELAY * 2_u32.pow(failures.min(7))).min(LONGEST_DELAY),
        Class::Transient | Class::Refused => {
            (FIRST_DELAY * 2_u32.pow(failures.min(6))).min(LONGEST_DELAY)
        }
        Class::Permanent => PERMANENT_DELAY,
    }
}

/// Between 3/4 and 5/4 of `delay`, so that many objects that failed together do not come back together.
pub fn jittered(delay: Duration, jitter: u8) -> Duration {
    delay.mul_f64(0.75 + f64::from(jitter) / 510.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_tried_again_soon_at_first_and_what_is_invalid_is_not() {
        assert_eq!(delay_after(0, Class::Refused), FIRST_DELAY);
        assert_eq!(delay_after(9, Class::Refused), LONGEST_DELAY);
        assert_eq!(delay_after(0, Class::Permanent), PERMANENT_DELAY);
    }

    #[test]
    fn delays_grow_to_the_cap_and_start_over_after_a_reset() {
        let failures = Failures::default();
        let middle = 127;
        let delays: Vec<_> = (0..9)
            .map(|_| failures.delay("a", Class::Transient, middle).as_secs())
            .collect();
        assert!(
            delays.windows(2).all(|pair| pair[0] <= pair[1]),
            "{delays:?}"
        );
        assert!(delays[8] >= 59 && delays[8] <= 60, "{delays:?}");
        failures.reset(&"a");
        assert!(failures.delay("a", Class::Transient, middle).as_secs() <= 1);
    }

    #[test]
    fn one_object_does_not_slow_another() {
        let failures = Failures::default();
        for _ in 0..10 {
            failures.delay("bad", Class::Transient, 0);
        }
        assert!(failures.delay("good", Class::Transient, 255) <= FIRST_DELAY.mul_f64(1.25));
    }

    #[test]
    fn a_fight_over_a_target_is_fought_ever_more_slowly() {
        let repairs = Repairs::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(repairs.admit(&"a", at(0)), None);
        assert_eq!(repairs.admit(&"b", at(0)), None);
        // Somebody changes it every second for 200 s.
        let repaired = (1..200)
            .filter(|&s| repairs.admit(&"a", at(s)).is_none())
            .count();
        assert!((8..=14).contains(&repaired), "{repaired}");
        // After a quiet time the next one is repaired at once.
        assert_eq!(repairs.admit(&"a", at(2000)), None);
    }

    #[test]
    fn a_pace_gives_each_object_a_turn_of_its_own_and_keeps_it() {
        let pace = Pace::per_second(10);
        let start = Instant::now();
        let tenths = |count: u32| start + Duration::from_millis(100) * count;
        assert_eq!(pace.admit(&"a", start), None);
        assert_eq!(pace.admit(&"b", start), Some(Duration::from_millis(100)));
        assert_eq!(pace.admit(&"c", start), Some(Duration::from_millis(200)));
        assert_eq!(pace.admit(&"b", tenths(1)), None);
        assert_eq!(pace.admit(&"c", tenths(2)), None);
        // What was not used is not saved up.
        assert_eq!(pace.admit(&"a", tenths(100)), None);
        assert_eq!(
            pace.admit(&"b", tenths(100)),
            Some(Duration::from_millis(100))
        );
        // "b" is deleted before its turn comes: it is forgotten, and keeps nobody waiting.
        assert_eq!(pace.admit(&"c", tenths(200)), None);
        assert_eq!(pace.slots.lock().unwrap().taken.len(), 0);
    }

    #[test]
    fn jitter_stays_within_a_quarter() {
        let base = Duration::from_secs(60);
        assert_eq!(jittered(base, 0), Duration::from_secs(45));
        assert!(jittered(base, 255) <= Duration::from_secs(75));
    }
}
