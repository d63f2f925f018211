//! Who waits to be told of a change: one call a plugin, and a bounded number of all.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit, oneshot, watch};

use crate::server::api::error::ApiError;

/// Calls that wait at once: nodes for each replica.
const MOST: usize = 1024;
/// Secrets that all of them name together: each takes about a hundred bytes.
const MOST_NAMED: usize = 256 * 1024;

/// The calls that wait.
pub(super) struct Polls {
    waiting: Mutex<Waiting>,
    named: Semaphore,
    ended: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// By the UID of the plugin's pod.
    polls: HashMap<Box<str>, (u64, oneshot::Sender<()>)>,
    begun: u64,
}

/// A call that waits.
pub(super) struct Poll<'a> {
    polls: &'a Polls,
    uid: Box<str>,
    number: u64,
    displaced: oneshot::Receiver<()>,
    ended: watch::Receiver<bool>,
    _named: SemaphorePermit<'a>,
}

impl Default for Polls {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            named: Semaphore::new(MOST_NAMED),
            ended: watch::Sender::new(false),
        }
    }
}

impl Polls {
    /// Lets the plugin of that pod wait for so many secrets. An earlier call of it ends: its connection may be gone without a notice.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn begin(&self, uid: &str, named: usize) -> Result<Poll<'_>, ApiError> {
        let full = || {
            let message =
                "this replica tells as many nodes of changes as it can: wait and try again";
            ApiError::throttled(message)
        };
        let count = u32::try_from(named).map_err(|_| full())?;
        let permit = self.named.try_acquire_many(count).map_err(|_| full())?;
        let mut waiting = self.waiting();
        if waiting.polls.len() >= MOST && !waiting.polls.contains_key(uid) {
            return Err(full());
        }
        let (displace, displaced) = oneshot::channel();
        waiting.begun = waiting.begun.wrapping_add(1);
        let number = waiting.begun;
        waiting.polls.insert(uid.into(), (number, displace));
        drop(waiting);
        Ok(Poll {
            polls: self,
            uid: uid.into(),
            number,
            displaced,
            ended: self.ended.subscribe(),
            _named: permit,
        })
    }

    /// Ends all of them, also those to come.
    pub(super) fn end(&self) {
        self.ended.send_replace(true);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Poll<'_> {
    /// Resolves when it has to be answered whatever changed: the plugin has asked anew, or this replica ends.
    pub(super) async fn over(&mut self) {
        tokio::select! {
            // The sender is dropped when another call takes its place.
            _ = &mut self.displaced => {}
            _ = self.ended.wait_for(|ended| *ended) => {}
        }
    }
}

impl Drop for Poll<'_> {
    fn drop(&mut self) {
        let mut waiting = self.polls.waiting();
        let own = waiting.polls.get(&self.uid);
        if own.is_some_and(|(number, _)| *number == self.number) {
            waiting.polls.remove(&self.uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn a_plugin_that_asks_anew_ends_its_earlier_call() {
        let polls = Polls::default();
        let mut first = polls.begin("a", 1).unwrap();
        let mut other = polls.begin("b", 1).unwrap();
        assert!(first.over().now_or_never().is_none());
        let mut second = polls.begin("a", 1).unwrap();
        assert!(first.over().now_or_never().is_some());
        drop(first);
        assert_eq!(
            polls.waiting().polls.len(),
            2,
            "the second one is still there"
        );
        assert!(second.over().now_or_never().is_none());
        assert!(other.over().now_or_never().is_none());
        drop((second, other));
        assert!(polls.waiting().polls.is_empty());
    }

    #[test]
    fn all_end_with_the_replica_and_so_do_those_to_come() {
        let polls = Polls::default();
        let mut before = polls.begin("a", 1).unwrap();
        polls.end();
        assert!(before.over().now_or_never().is_some());
        let mut after = polls.begin("b", 1).unwrap();
        assert!(after.over().now_or_never().is_some());
    }

    #[test]
    fn there_are_never_more_than_the_most_and_they_name_no_more_than_they_may() {
        let polls = Polls::default();
        let waiting: Vec<_> = (0..MOST)
            .map(|number| polls.begin(&number.to_string(), 0).unwrap())
            .collect();
        let refused = polls.begin("one more", 0);
        assert_eq!(refused.err().unwrap().code, "ThrottlingException");
        assert!(polls.begin("7", 0).is_ok(), "it takes its own place");
        drop(waiting);
        let large = polls.begin("large", MOST_NAMED).unwrap();
        assert!(polls.begin("one more", 1).is_err());
        drop(large);
        assert!(polls.begin("one more", 1).is_ok());
    }
}
