//! What schedules ask of secrets: the controller of `RotationSchedule` decides, and that of `ManagedSecret`, which alone writes the
//! truth about secrets, does it.
//!
//! Nothing here has to last. What is asked for names the state of the truth that it was decided on; once that is another, it is
//! asked for no more. After a crash it is decided anew.

use std::collections::HashMap;
use std::mem::discriminant;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::runtime::reflector::ObjectRef;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

use crate::api::ManagedSecret;
use crate::secrets::{SecretRotation, Substitutes, VersionId};

/// News that are kept for a listener that is slow; of more, it is told that any may have changed.
const WAITING: usize = 1024;

/// A change of the truth about a secret, decided on its state of that sequence number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The sequence number.
    pub(crate) sequence: u64,
    /// What is remembered of rotations then.
    pub(crate) record: SecretRotation,
    /// What becomes of the versions.
    pub(crate) change: Change,
}

impl Asked {
    /// Whether another one was decided on the same state, and asks for the same but for ids and times.
    fn is_alike(&self, other: &Self) -> bool {
        self.sequence == other.sequence && discriminant(&self.change) == discriminant(&other.change)
    }
}

/// What becomes of the versions of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing: only the record is another.
    Record,
    /// A new one is made and pending, in place of a pending one.
    Create {
        /// Its id.
        version: VersionId,
        /// What stands in the place of literals, and of what else has these keys.
        substitutes: Substitutes,
    },
    /// The pending one becomes current.
    Promote(VersionId),
}

/// What is asked for, and who listens.
pub struct Rotations {
    asked: Mutex<HashMap<ObjectRef<ManagedSecret>, Asked>>,
    wanted: broadcast::Sender<ObjectRef<ManagedSecret>>,
    looked: broadcast::Sender<ObjectRef<ManagedSecret>>,
}

impl Default for Rotations {
    fn default() -> Self {
        Self {
            asked: Mutex::default(),
            wanted: broadcast::channel(WAITING).0,
            looked: broadcast::channel(WAITING).0,
        }
    }
}

impl Rotations {
    /// Asks for a change, in place of what was asked for. What is asked for already is no news: a secret that cannot be written now
    /// is looked at when that changes, and the two controllers do not chase each other.
    pub(crate) fn ask(&self, secret: &ObjectRef<ManagedSecret>, asked: Asked) {
        let mut all = self.asked();
        let known = all.get(secret);
        if known.is_some_and(|known| known.is_alike(&asked)) {
            return;
        }
        all.insert(secret.clone(), asked);
        // Without listeners nobody needs the news.
        let _ = self.wanted.send(secret.clone());
    }

    /// What is asked for on that state of the truth. On a later one it is not asked for any more.
    pub(crate) fn of(&self, secret: &ObjectRef<ManagedSecret>, sequence: u64) -> Option<Asked> {
        let mut asked = self.asked();
        let found = asked.get(secret)?;
        if found.sequence < sequence {
            asked.remove(secret);
            return None;
        }
        (found.sequence == sequence).then(|| found.clone())
    }

    /// Says that a secret was looked at, so that it is as its spec, and what was asked for, say.
    pub(crate) fn looked(&self, secret: &ObjectRef<ManagedSecret>) {
        let _ = self.looked.send(secret.clone());
    }

    /// Secrets of which something is asked.
    pub(crate) fn wanted(&self) -> BroadcastStream<ObjectRef<ManagedSecret>> {
        BroadcastStream::new(self.wanted.subscribe())
    }

    /// Secrets that were looked at.
    pub(crate) fn news(&self) -> BroadcastStream<ObjectRef<ManagedSecret>> {
        BroadcastStream::new(self.looked.subscribe())
    }

    /// All secrets of which something is asked.
    pub(crate) fn all(&self) -> Vec<ObjectRef<ManagedSecret>> {
        self.asked().keys().cloned().collect()
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<ObjectRef<ManagedSecret>, Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;
    use crate::secrets::testing::IDS;

    #[test]
    fn what_is_asked_counts_only_in_the_state_that_it_was_decided_on() {
        let rotations = Rotations::default();
        let secret = ObjectRef::new("db").within("shop");
        let asked = Asked {
            sequence: 4,
            record: SecretRotation::new(Timestamp::UNIX_EPOCH),
            change: Change::Record,
        };
        rotations.ask(&secret, asked.clone());
        // Read from a cache that is late.
        assert_eq!(rotations.of(&secret, 3), None);
        assert_eq!(rotations.of(&secret, 4), Some(asked));
        assert_eq!(rotations.of(&secret, 5), None);
        assert_eq!(rotations.of(&secret, 4), None, "it is forgotten");
        assert!(rotations.all().is_empty());
    }

    #[tokio::test]
    async fn what_is_asked_for_again_is_no_news() {
        use futures::{FutureExt, StreamExt};

        let rotations = Rotations::default();
        let secret = ObjectRef::new("db").within("shop");
        let mut news = rotations.wanted();
        let ask = |sequence, seconds, change| {
            let since = Timestamp::from_second(seconds).unwrap();
            let record = SecretRotation::new(since);
            rotations.ask(
                &secret,
                Asked {
                    sequence,
                    record,
                    change,
                },
            );
        };
        let promote = || Change::Promote(IDS[0].parse().unwrap());
        let mut told = || news.next().now_or_never().is_some();
        ask(4, 1, Change::Record);
        assert!(told());
        ask(4, 2, Change::Record);
        assert!(!told());
        ask(4, 3, promote());
        assert!(told(), "something else");
        ask(5, 4, promote());
        assert!(told(), "another state");
    }
}
