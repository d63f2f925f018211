//! Answers of the API server that are remembered for a short while, and in bounded number.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Answers by what was asked.
#[derive(Debug)]
pub struct Remembered<K, V> {
    entries: Mutex<HashMap<K, (Instant, V)>>,
    time: Duration,
    most: usize,
}

impl<K: Eq + Hash, V: Clone> Remembered<K, V> {
    /// Nothing yet. An answer counts for `time` from when it was asked for; at most `most` are kept.
    pub fn new(time: Duration, most: usize) -> Self {
        Self {
            entries: Mutex::default(),
            time,
            most,
        }
    }

    /// The answer to that question, if it was asked lately.
    pub fn get(&self, key: &K, now: Instant) -> Option<V> {
        let entries = self.entries();
        let (asked, answer) = entries.get(key)?;
        self.is_fresh(*asked, now).then(|| answer.clone())
    }

    /// Keeps an answer to what was asked at that instant.
    pub fn put(&self, key: K, asked: Instant, answer: V) {
        let mut entries = self.entries();
        if entries.len() >= self.most {
            entries.retain(|_, (before, _)| self.is_fresh(*before, asked));
        }
        if entries.len() >= self.most {
            // All of them are fresh: whoever comes again is asked about again.
            entries.clear();
        }
        entries.insert(key, (asked, answer));
    }

    fn is_fresh(&self, asked: Instant, now: Instant) -> bool {
        now.saturating_duration_since(asked) < self.time
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<K, (Instant, V)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_for_its_time_from_when_it_was_asked_for() {
        let answers = Remembered::new(Duration::from_secs(10), 8);
        let start = Instant::now();
        answers.put("a", start, 1);
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(answers.get(&"a", after(9)), Some(1));
        assert_eq!(answers.get(&"a", after(10)), None);
        assert_eq!(answers.get(&"b", start), None);
        answers.put("a", after(10), 2);
        assert_eq!(answers.get(&"a", after(19)), Some(2));
    }

    #[test]
    fn there_are_never_more_than_the_most() {
        let answers = Remembered::new(Duration::from_secs(10), 8);
        let start = Instant::now();
        for number in 0..100_u64 {
            answers.put(number, start + Duration::from_secs(number), number);
            assert!(answers.entries().len() <= 8);
        }
        assert_eq!(answers.get(&99, start + Duration::from_secs(99)), Some(99));
        for number in 0..100 {
            answers.put(number, start, number);
            assert!(answers.entries().len() <= 8);
        }
    }
}
