//! The proof, handed to the leader's work, that this process leads.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::watch;

/// This process leads no longer, or cannot prove that it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("leadership is lost or cannot be proven any more")]
pub struct LeadershipLost;

/// One leadership of this process, from its acquisition to its end. Clones are handles of the same
/// leadership; once it is lost it never becomes valid again.
#[derive(Clone, Debug)]
pub struct Leadership(Arc<Tenure>);

#[derive(Debug)]
struct Tenure {
    origin: Instant,
    /// Nanoseconds after `origin` at which the leadership ends unless it is renewed.
    valid_until: AtomicU64,
    stopping: watch::Sender<bool>,
}

impl Leadership {
    /// A leadership that nobody contests and that never ends: for tests and for commands that run
    /// alone.
    pub fn uncontested() -> Self {
        Self::until(Instant::now(), u64::MAX)
    }

    /// A leadership by a request that was sent at `sent`. The time of the request counts, not
    /// that of its answer: no other process can have seen the renewal before it was sent.
    pub(super) fn granted(sent: Instant, renew_deadline: Duration) -> Self {
        Self::until(sent, nanoseconds(renew_deadline))
    }

    fn until(origin: Instant, nanoseconds: u64) -> Self {
        let valid_until = AtomicU64::new(nanoseconds);
        Self(Arc::new(Tenure {
            origin,
            valid_until,
            stopping: watch::Sender::new(false),
        }))
    }

    /// Whether this process may still write. To be called before every write.
    ///
    /// # Caveats
    /// The clock stands still while the whole machine is suspended; then, and for a write that is
    /// already under way, only the resourceVersion of the written object protects. A delivered Secret that is
    /// made by an apply has none: such a write can still arrive.
    ///
    /// # Errors
    /// If the Lease was lost, released, or not renewed within the renew deadline by the monotonic
    /// clock, even if the renewing task has not run since.
    pub fn check(&self) -> Result<(), LeadershipLost> {
        self.check_at(Instant::now())
    }

    fn check_at(&self, now: Instant) -> Result<(), LeadershipLost> {
        let valid_until = self.0.valid_until.load(Ordering::SeqCst);
        if self.elapsed(now) < valid_until {
            Ok(())
        } else {
            Err(LeadershipLost)
        }
    }

    /// Resolves when the work shall come to an end: the process is asked to stop, or the
    /// leadership is over.
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + Sync + 'static {
        let mut stopping = self.0.stopping.subscribe();
        let tenure = Arc::clone(&self.0);
        async move {
            while !*stopping.borrow_and_update() && stopping.changed().await.is_ok() {}
            drop(tenure);
        }
    }

    /// When the leadership ends unless it is renewed.
    pub(super) fn valid_until(&self) -> Instant {
        let valid_until = Duration::from_nanos(self.0.valid_until.load(Ordering::SeqCst));
        self.0.origin + valid_until
    }

    /// Prolongs the leadership by a renewal that was sent at `sent`, unless it ended meanwhile.
    pub(super) fn extend(
        &self,
        sent: Instant,
        renew_deadline: Duration,
    ) -> Result<(), LeadershipLost> {
        self.extend_at(sent, renew_deadline, Instant::now())
    }

    fn extend_at(
        &self,
        sent: Instant,
        renew_deadline: Duration,
        now: Instant,
    ) -> Result<(), LeadershipLost> {
        let now = self.elapsed(now);
        let until = self
            .elapsed(sent)
            .saturating_add(nanoseconds(renew_deadline));
        self.0
            .valid_until
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |valid_until| {
                (now < valid_until).then(|| valid_until.max(until))
            })
            .map(drop)
            .map_err(|_| LeadershipLost)
    }

    /// Asks the work to come to an end.
    pub(super) fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    /// Ends the leadership.
    pub(super) fn revoke(&self) {
        self.0.valid_until.store(0, Ordering::SeqCst);
        self.stop();
    }

    fn elapsed(&self, now: Instant) -> u64 {
        nanoseconds(now.saturating_duration_since(self.0.origin))
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    fn granted() -> (Leadership, Instant) {
        let sent = Instant::now();
        (Leadership::granted(sent, DEADLINE), sent)
    }

    #[test]
    fn leadership_ends_when_the_deadline_passes_without_a_renewal() {
        let (leadership, sent) = granted();
        assert_eq!(
            leadership.check_at(sent + Duration::from_millis(9_999)),
            Ok(())
        );
        assert_eq!(leadership.check_at(sent + DEADLINE), Err(LeadershipLost));
    }

    #[test]
    fn a_renewal_counts_from_when_it_was_sent() {
        let (leadership, sent) = granted();
        let renewed = sent + Duration::from_secs(4);
        leadership
            .extend_at(renewed, DEADLINE, sent + Duration::from_secs(9))
            .unwrap();
        assert_eq!(
            leadership.check_at(renewed + Duration::from_millis(9_999)),
            Ok(())
        );
        assert_eq!(leadership.check_at(renewed + DEADLINE), Err(LeadershipLost));
    }

    #[test]
    fn a_renewal_whose_answer_comes_too_late_does_not_revive() {
        let (leadership, sent) = granted();
        let answer = sent + DEADLINE;
        assert_eq!(
            leadership.extend_at(sent, DEADLINE, answer),
            Err(LeadershipLost)
        );
        assert_eq!(leadership.check_at(answer), Err(LeadershipLost));
    }

    #[test]
    fn an_older_renewal_does_not_shorten() {
        let (leadership, sent) = granted();
        leadership
            .extend_at(sent + Duration::from_secs(5), DEADLINE, sent)
            .unwrap();
        leadership.extend_at(sent, DEADLINE, sent).unwrap();
        assert_eq!(leadership.check_at(sent + Duration::from_secs(14)), Ok(()));
    }

    #[test]
    fn a_revoked_leadership_stays_lost_for_every_clone() {
        let (leadership, sent) = granted();
        let clone = leadership.clone();
        leadership.revoke();
        assert_eq!(clone.check(), Err(LeadershipLost));
        assert_eq!(
            leadership.extend_at(sent, DEADLINE, sent),
            Err(LeadershipLost)
        );
        assert_eq!(clone.stopping().now_or_never(), Some(()));
    }

    #[test]
    fn stopping_resolves_when_asked_and_leaves_the_right_to_write() {
        let (leadership, _) = granted();
        let mut stopping = Box::pin(leadership.stopping());
        assert_eq!((&mut stopping).now_or_never(), None);
        leadership.stop();
        assert_eq!(stopping.now_or_never(), Some(()));
        assert_eq!(leadership.check(), Ok(()));
    }

    #[test]
    fn an_uncontested_leadership_is_valid_and_never_stops() {
        let leadership = Leadership::uncontested();
        assert_eq!(leadership.check(), Ok(()));
        let stopping = leadership.stopping();
        drop(leadership);
        assert_eq!(stopping.now_or_never(), None);
    }
}
