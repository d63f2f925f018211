//! Whether what is known of the API server's state is the newest.
//!
//! A cache that hears nothing cannot tell a quiet cluster from a broken connection. So the API server is asked, again
//! and again, which state it has now, and the answer counts once that state was applied here. What is proven is that
//! nothing is missing that was written *before the question was sent*; from then on the proof gets older, by a
//! monotonic clock that also runs while the process is stopped. Who relies on the cache asks at that moment, so that no
//! background task has to notice anything first.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Questions whose answers are waited for at a time. More are asked only when none is answered; the oldest is then
/// worth the least.
const MAX_PENDING: usize = 8;

/// What is proven of one cache, and what may be soon. Shared by whoever proves and whoever asks.
#[derive(Debug, Default)]
pub struct Proof(Mutex<Proofs>);

/// The judgement itself: pure, the time is an argument.
#[derive(Debug, Default)]
struct Proofs {
    /// When the question was sent that the newest proof answers.
    proven: Option<Instant>,
    /// The state that is applied here.
    applied: u64,
    /// Questions: when they were sent, and the state that the API server named.
    pending: VecDeque<(Instant, u64)>,
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
}

impl Proof {
    /// The API server was asked at `sent` and named that state, by a read that no cache may answer with an older one.
    pub fn asked(&self, sent: Instant, revision: u64) {
        self.lock().asked(sent, revision);
    }

    /// Everything up to that state is applied here.
    pub fn applied(&self, revision: u64) {
        self.lock().applied(revision);
    }

    /// Everything was read anew, by a read that was sent at `sent`, and is as of that state. That may be an earlier one
    /// than before: the cluster was restored.
    pub fn replaced(&self, sent: Instant, revision: u64) {
        self.lock().replaced(sent, revision);
    }

    /// How old the newest proof is; `None` before the first.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        let proven = self.lock().proven?;
        Some(now.saturating_duration_since(proven))
    }

    /// The state that is applied here.
    pub fn revision(&self) -> u64 {
        self.lock().applied
    }

    fn lock(&self) -> MutexGuard<'_, Proofs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_question_proves_nothing_until_the_named_state_is_applied() {
        let (proof, start) = (Proof::default(), Instant::now());
        proof.asked(start, 7);
        assert_eq!(proof.age(start), None);
        proof.applied(6);
        assert_eq!(proof.age(start), None);
        proof.applied(7);
        assert_eq!(proof.age(start), Some(Duration::ZERO));
    }

    #[test]
    fn a_proof_counts_from_when_the_question_was_sent() {
        let (proof, start) = (Proof::default(), Instant::now());
        proof.asked(start, 7);
        // However late the answer is applied.
        proof.applied(9);
        assert_eq!(proof.age(after(start, 15)), Some(Duration::from_secs(15)));
    }

    #[test]
    fn a_state_that_was_read_anew_may_be_an_earlier_one() {
        let (mut proofs, start) = (Proofs::default(), Instant::now());
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
            let (mut proofs, start) = (Proofs::default(), Instant::now());
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
