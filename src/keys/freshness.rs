//! Whether this replica may say that it knows the truth about keys.
//!
//! What it knows must be proven to be the newest (see [`crate::proof`]), and the controller must know of this replica, so
//! that it waits for it. Who uses a key asks at that moment, so that no background task has to notice anything first.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::proof::Proof;

/// What is proven, and how this replica stands with the others. One per process, shared by whoever proves and whoever asks.
#[derive(Debug, Default)]
pub struct Freshness {
    proof: Proof,
    standing: Mutex<Standing>,
    announcement: Notify,
}

/// How this replica stands with the others.
#[derive(Debug, Default)]
struct Standing {
    /// When the newest write of this replica's Lease was sent that succeeded.
    announced: Option<Instant>,
    /// Whether no use counts as fresh any more, whatever is proven later.
    retired: bool,
}

/// Why a replica must not use keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotFresh {
    /// This replica has said, or is about to say, that it uses no key any more.
    Retired,
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
            Self::Retired => f.write_str("this replica is ending, or starting over"),
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

impl Freshness {
    /// How old a proof may be when a key is used.
    pub const MAX_AGE: Duration = Duration::from_secs(15);

    /// Nothing is proven.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is proven of what this replica knows of keys.
    pub fn proof(&self) -> &Proof {
        &self.proof
    }

    /// Something changed, and is applied: others may wait for this replica to say so.
    pub fn changed(&self) {
        self.announcement.notify_one();
    }

    /// This replica's Lease was written, by a request that was sent at `sent`: as long as it lasts, the controller waits for
    /// this replica.
    pub fn announced(&self, sent: Instant) {
        self.standing().announced = Some(sent);
    }

    /// Nothing counts as fresh from now on: to be said before others are told that this replica uses no key any more, since calls that
    /// are under way still hold the keys.
    pub fn retire(&self) {
        self.standing().retired = true;
    }

    /// Resolves when this replica should announce itself soon, and not only when it is time.
    pub async fn announcement_wanted(&self) {
        self.announcement.notified().await;
    }

    /// Whether keys may be used at `now`.
    ///
    /// # Errors
    /// They must not, and why.
    pub fn check(&self, now: Instant) -> Result<(), NotFresh> {
        let standing = self.standing();
        if standing.retired {
            return Err(NotFresh::Retired);
        }
        let age = self.proof.age(now).ok_or(NotFresh::Unproven)?;
        if age > Self::MAX_AGE {
            return Err(NotFresh::Old(age));
        }
        let announced = standing.announced;
        let announced = announced.map(|sent| now.saturating_duration_since(sent));
        if announced.is_some_and(|age| age <= Self::MAX_AGE) {
            Ok(())
        } else {
            Err(NotFresh::Unannounced)
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_proof_counts_for_fifteen_seconds() {
        let (freshness, start) = (Freshness::new(), Instant::now());
        freshness.announced(after(start, 3600));
        assert_eq!(freshness.check(start), Err(NotFresh::Unproven));
        freshness.proof().replaced(start, 7);
        assert_eq!(freshness.check(after(start, 15)), Ok(()));
        let age = Duration::from_millis(15_001);
        assert_eq!(freshness.check(start + age), Err(NotFresh::Old(age)));
    }

    #[test]
    fn a_replica_that_nobody_knows_of_is_not_fresh() {
        let (freshness, start) = (Freshness::new(), Instant::now());
        freshness.proof().replaced(start, 7);
        assert_eq!(freshness.check(start), Err(NotFresh::Unannounced));
        freshness.announced(start);
        assert_eq!(freshness.check(start), Ok(()));
        // Nobody waits for a replica whose Lease ended.
        freshness.proof().asked(after(start, 16), 7);
        assert_eq!(freshness.check(after(start, 15)), Ok(()));
        let unannounced = freshness.check(after(start, 16));
        assert_eq!(unannounced, Err(NotFresh::Unannounced));
    }

    #[test]
    fn what_is_retired_is_not_fresh_whatever_is_proven_later() {
        let (freshness, now) = (Freshness::new(), Instant::now());
        freshness.proof().replaced(now, 7);
        freshness.announced(now);
        assert_eq!(freshness.check(now), Ok(()));
        freshness.retire();
        freshness.proof().replaced(now, 8);
        freshness.announced(now);
        assert_eq!(freshness.check(now), Err(NotFresh::Retired));
    }
}
