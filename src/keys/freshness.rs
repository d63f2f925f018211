//! Whether this replica may say that it knows the truth about keys.
//!
//! A cache that hears nothing cannot tell a quiet cluster from a broken connection. So the API server is asked, again
//! and again, which state it has now, and the answer counts once that state was applied here. What is proven is that
//! nothing is missing that was written *before the question was sent*; from then on the proof gets older, by a
//! monotonic clock that also runs while the process is stopped. Who uses a key asks at that moment, so that no
//! background task has to notice anything first.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Questions whose answers are waited for at a time. More are asked only when none is answered; the oldest is then
/// worth the least.
const MAX_PENDING: usize = 8;

/// What is proven, and what may be soon. One per process, shared by whoever proves and whoever asks.
#[derive(Debug)]
pub struct Freshness {
    proofs: Mutex<Proofs>,
    announcement: Notify,
}

/// Why a replica must not use keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotFresh {
    /// Nothing was proven yet.
    Unproven,
    /// The controller does not know of this replica, or not any more.
    Unannounced,
    /// The newest proof is that old.
    Old(Duration),
}

impl std::fmt::Display for NotFresh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unproven => f.write_str("nothing was read from the API server yet"),
            Self::Unannounced => f.write_str("this replica's Lease was not written lately"),
            Self::Old(age) => write!(
                f,
                "the state that this replica knows was last confirmed {} s ago",
                age.as_secs()
            ),
        }
    }
}

/// The judgement itself: pure, the time is an argument.
#[derive(Debug, Default)]
struct Proofs {
    /// When the question was sent that the newest proof answers.
    proven: Option<Instant>,
    /// The state that is applied here.
    applied: u64,
    /// Questions: when they were sent, and the state that the API server named.
    pending: VecDeque<(Instant, u64)>,
    /// When the newest write of this replica's Lease was sent that succeeded.
    announced: Option<Instant>,
}

impl Proofs {
    fn asked(&mut self, sent: Instant, revision: u64) {
        self.pending.push_back((sent, revision));
        if self.pending.len() > MAX_PENDING {
            self.pending.pop_front();
        }
        self.settle();
    }

    fn applied(&mut self, revision: u64) {
        self.applied = self.applied.max(revision);
        self.settle();
    }

    fn replaced(&mut self, sent: Instant, revision: u64) {
        self.pending.clear();
        self.applied = revision;
        self.prove(sent);
    }

    fn settle(&mut self) {
        let applied = self.applied;
        let answered = self.pending.iter().filter(|(_, named)| *named <= applied);
        let newest = answered.map(|(sent, _)| *sent).max();
        self.pending.retain(|(_, named)| *named > applied);
        if let Some(sent) = newest {
            self.prove(sent);
        }
    }

    fn prove(&mut self, sent: Instant) {
        self.proven = Some(self.proven.map_or(sent, |proven| proven.max(sent)));
    }

    fn check(&self, now: Instant) -> Result<(), NotFresh> {
        let age = now.saturating_duration_since(self.proven.ok_or(NotFresh::Unproven)?);
        if age > Freshness::MAX_AGE {
            return Err(NotFresh::Old(age));
        }
        let announced = self
            .announced
            .map(|sent| now.saturating_duration_since(sent));
        if announced.is_some_and(|age| age <= Freshness::MAX_AGE) {
            Ok(())
        } else {
            Err(NotFresh::Unannounced)
        }
    }
}

impl Default for Freshness {
    fn default() -> Self {
        Self::new()
    }
}

impl Freshness {
    /// How old a proof may be when a key is used.
    pub const MAX_AGE: Duration = Duration::from_secs(15);

    /// Nothing is proven.
    pub fn new() -> Self {
        Self {
            proofs: Mutex::default(),
            announcement: Notify::new(),
        }
    }

    /// The API server was asked at `sent` and named that state, by a read that no cache may answer with an older one.
    pub fn asked(&self, sent: Instant, revision: u64) {
        self.lock().asked(sent, revision);
    }

    /// Everything up to that state is applied here.
    pub fn applied(&self, revision: u64) {
        self.lock().applied(revision);
    }

    /// Something changed, and is applied up to that state: others may wait for this replica to say so.
    pub fn changed(&self, revision: u64) {
        self.applied(revision);
        self.announcement.notify_one();
    }

    /// Everything was read anew, by a read that was sent at `sent`, and is as of that state. That may be an earlier one
    /// than before: the cluster was restored.
    pub fn replaced(&self, sent: Instant, revision: u64) {
        self.lock().replaced(sent, revision);
    }

    /// This replica's Lease was written, by a request that was sent at `sent`: as long as it lasts, the controller waits for
    /// this replica.
    pub fn announced(&self, sent: Instant) {
        self.lock().announced = Some(sent);
    }

    /// Resolves when this replica should announce itself soon, and not only when it is time.
    pub async fn announcement_wanted(&self) {
        self.announcement.notified().await;
    }

    /// Whether keys may be used at `now`.
    pub fn check(&self, now: Instant) -> Result<(), NotFresh> {
        self.lock().check(now)
    }

    /// How old the newest proof is.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        let proven = self.lock().proven?;
        Some(now.saturating_duration_since(proven))
    }

    /// The state that is applied here.
    pub fn revision(&self) -> u64 {
        self.lock().applied
    }

    fn lock(&self) -> MutexGuard<'_, Proofs> {
        self.proofs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As of a time long after all that is tested.
    fn announced() -> Proofs {
        Proofs {
            announced: Some(Instant::now() + Duration::from_secs(3600)),
            ..Proofs::default()
        }
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_question_proves_nothing_until_the_named_state_is_applied() {
        let (mut proofs, start) = (announced(), Instant::now());
        proofs.asked(start, 7);
        assert_eq!(proofs.check(start), Err(NotFresh::Unproven));
        proofs.applied(6);
        assert_eq!(proofs.check(start), Err(NotFresh::Unproven));
        proofs.applied(7);
        assert_eq!(proofs.check(start), Ok(()));
    }

    #[test]
    fn a_proof_counts_from_when_the_question_was_sent_and_for_fifteen_seconds() {
        let (mut proofs, start) = (announced(), Instant::now());
        proofs.asked(start, 7);
        // However late the answer is applied.
        proofs.applied(9);
        assert_eq!(proofs.check(after(start, 15)), Ok(()));
        let age = Duration::from_millis(15_001);
        assert_eq!(proofs.check(start + age), Err(NotFresh::Old(age)));
    }

    #[test]
    fn a_replica_that_nobody_knows_of_is_not_fresh() {
        let (mut proofs, start) = (Proofs::default(), Instant::now());
        proofs.replaced(start, 7);
        assert_eq!(proofs.check(start), Err(NotFresh::Unannounced));
        proofs.announced = Some(start);
        assert_eq!(proofs.check(start), Ok(()));
        // Nobody waits for a replica whose Lease ended.
        proofs.asked(after(start, 16), 7);
        assert_eq!(proofs.check(after(start, 15)), Ok(()));
        assert_eq!(proofs.check(after(start, 16)), Err(NotFresh::Unannounced));
    }

    #[test]
    fn a_state_that_was_read_anew_may_be_an_earlier_one() {
        let (mut proofs, start) = (announced(), Instant::now());
        proofs.replaced(start, 100);
        proofs.asked(after(start, 5), 101);
        proofs.replaced(after(start, 10), 50);
        assert_eq!(proofs.applied, 50);
        // The question about the state that is gone proves nothing any more.
        proofs.applied(101);
        assert_eq!(proofs.proven, Some(after(start, 10)));
    }

    proptest! {
        /// Whatever is asked and applied in whatever order: what counts as proven is a question whose state was
        /// applied, and the pending questions stay few.
        #[test]
        fn only_answered_questions_prove(steps in prop::collection::vec((any::<bool>(), 0_u64..50), 0..60)) {
            let (mut proofs, start) = (announced(), Instant::now());
            let (mut asked, mut applied) = (Vec::new(), 0);
            for (index, (question, revision)) in steps.into_iter().enumerate() {
                let now = after(start, index as u64);
                if question {
                    proofs.asked(now, revision);
                    asked.push((now, revision));
                } else {
                    proofs.applied(revision);
                    applied = applied.max(revision);
                }
                let newest = asked.iter().filter(|(_, named)| *named <= applied).map(|(sent, _)| *sent).max();
                prop_assert!(proofs.proven <= newest, "{:?} {newest:?}", proofs.proven);
                if asked.len() <= MAX_PENDING {
                    prop_assert_eq!(proofs.proven, newest);
                }
                prop_assert!(proofs.pending.len() <= MAX_PENDING);
            }
        }
    }
}
