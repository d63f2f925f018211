//! How much one caller may ask: so many calls at once, and so many a second, so that one does not take the service from the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::error::ApiError;

/// Calls of one caller at once.
const AT_ONCE: u32 = 128;
/// Calls of all callers at once: what they hold in memory is bounded by it.
const ALL_AT_ONCE: u32 = 512;
/// Calls of one caller in a second, on average.
const PER_SECOND: f64 = 2000.0;
/// Calls of one caller that may come together after a pause.
const BURST: f64 = 4000.0;
/// Most callers that are remembered.
const MOST: usize = 16_384;

/// The callers of the last time.
#[derive(Debug, Default, Clone)]
pub(super) struct Throttle(Arc<Mutex<Callers>>);

#[derive(Debug, Default)]
struct Callers {
    buckets: HashMap<String, Bucket>,
    under_way: u32,
}

#[derive(Debug)]
struct Bucket {
    under_way: u32,
    left: f64,
    at: Instant,
}

/// A call that is under way.
#[derive(Debug)]
pub(super) struct Turn {
    throttle: Throttle,
    caller: String,
}

impl Throttle {
    /// Lets a call of that caller begin.
    ///
    /// # Errors
    /// He asks too much.
    pub(super) fn admit(&self, caller: &str) -> Result<Turn, ApiError> {
        self.admit_at(caller, Instant::now())
    }

    fn admit_at(&self, caller: &str, now: Instant) -> Result<Turn, ApiError> {
        let mut callers = self.callers();
        let Callers { buckets, under_way } = &mut *callers;
        if *under_way >= ALL_AT_ONCE {
            let message = "this replica answers as many calls as it can: wait and try again";
            return Err(ApiError::throttled(message));
        }
        if buckets.len() >= MOST && !buckets.contains_key(caller) {
            // Whoever is at rest and has a full bucket is as good as forgotten.
            buckets.retain(|_, bucket| {
                bucket.fill(now);
                bucket.under_way > 0 || bucket.left < BURST
            });
        }
        let bucket = buckets.entry(caller.to_owned()).or_insert(Bucket {
            under_way: 0,
            left: BURST,
            at: now,
        });
        bucket.fill(now);
        if bucket.under_way >= AT_ONCE || bucket.left < 1.0 {
            return Err(ApiError::throttled(format!(
                "one caller may make {AT_ONCE} calls at once and {PER_SECOND} a second: wait and try again"
            )));
        }
        *under_way += 1;
        bucket.under_way += 1;
        bucket.left -= 1.0;
        Ok(Turn {
            throttle: self.clone(),
            caller: caller.to_owned(),
        })
    }

    fn callers(&self) -> MutexGuard<'_, Callers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bucket {
    fn fill(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + since * PER_SECOND).min(BURST);
        self.at = now;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut callers = self.throttle.callers();
        callers.under_way = callers.under_way.saturating_sub(1);
        if let Some(bucket) = callers.buckets.get_mut(&self.caller) {
            bucket.under_way = bucket.under_way.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_caller_has_so_many_calls_at_once_and_others_are_not_held_up() {
        let throttle = Throttle::default();
        let turns: Vec<_> = (0..AT_ONCE)
            .map(|_| throttle.admit("ann").unwrap())
            .collect();
        assert_eq!(
            throttle.admit("ann").unwrap_err().code,
            "ThrottlingException"
        );
        assert!(throttle.admit("bob").is_ok());
        drop(turns);
        assert!(throttle.admit("ann").is_ok());
    }

    #[test]
    fn all_callers_together_have_so_many_calls_at_once() {
        let throttle = Throttle::default();
        let callers: Vec<_> = (0..8).map(|caller| caller.to_string()).collect();
        let calls = callers
            .iter()
            .flat_map(|caller| std::iter::repeat_n(caller, 100));
        let turns: Vec<_> = calls
            .filter_map(|caller| throttle.admit(caller).ok())
            .collect();
        assert_eq!(turns.len(), 512);
        assert!(throttle.admit("one more").is_err());
        drop(turns);
        assert!(throttle.admit("one more").is_ok());
    }

    #[test]
    fn a_caller_who_asked_too_much_may_go_on_after_a_while() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let calls = (0..10_000).take_while(|_| throttle.admit_at("ann", start).is_ok());
        assert_eq!(calls.count(), 4000);
        let later = start + Duration::from_millis(1);
        assert!(throttle.admit_at("ann", later).is_ok());
        assert!(throttle.admit_at("ann", later).is_ok());
        assert!(throttle.admit_at("ann", later).is_err());
    }

    #[test]
    fn callers_at_rest_are_forgotten_when_there_are_too_many() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        for caller in 0..MOST {
            drop(throttle.admit_at(&caller.to_string(), start));
        }
        let later = start + Duration::from_secs(10);
        let busy = throttle.admit_at("0", later).unwrap();
        drop(throttle.admit_at("one more", later));
        assert_eq!(throttle.callers().buckets.len(), 2);
        drop(busy);
    }
}
