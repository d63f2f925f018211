//! What schedules ask of secrets: the controller of `RotationSchedule` decides, and that of `ManagedSecret`, which alone writes the
//! truth about secrets, does it.
//!
//! Nothing here has to last. What is asked for names the state of the truth that it was decided on; once that is another, it is
//! asked for no more. After a crash it is decided anew.

use std::collections::{HashMap, HashSet};
use std::mem::discriminant;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::runtime::reflector::ObjectRef;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

use crate::api::{ManagedSecret, RotationSchedule};
use crate::rotation::timing::Crontabs;
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
    /// The pending one is not wanted any more.
    Cancel(VersionId),
}

/// What is asked for, and who listens.
pub struct Rotations {
    /// Crontab lines of schedules.
    pub(crate) crontabs: Crontabs,
    known: Mutex<Known>,
    wanted: broadcast::Sender<ObjectRef<ManagedSecret>>,
    woken: broadcast::Sender<ObjectRef<RotationSchedule>>,
}

#[derive(Default)]
struct Known {
    asked: HashMap<ObjectRef<ManagedSecret>, Asked>,
    /// The schedules of each secret that has some.
    schedules: HashMap<ObjectRef<ManagedSecret>, HashSet<ObjectRef<RotationSchedule>>>,
}

impl Default for Rotations {
    fn default() -> Self {
        Self {
            crontabs: Crontabs::default(),
            known: Mutex::default(),
            wanted: broadcast::channel(WAITING).0,
            woken: broadcast::channel(WAITING).0,
        }
    }
}

impl Rotations {
    /// Asks for a change, in place of what was asked for. What is asked for already is no news: a secret that cannot be written now
    /// is looked at when that changes, and the two controllers do not chase each other. Returns whether it is news.
    pub(crate) fn ask(&self, secret: &ObjectRef<ManagedSecret>, asked: Asked) -> bool {
        let mut known = self.known();
        let before = known.asked.get(secret);
        if before.is_some_and(|before| before.is_alike(&asked)) {
            return false;
        }
        known.asked.insert(secret.clone(), asked);
        // Without listeners nobody needs the news.
        let _ = self.wanted.send(secret.clone());
        true
    }

    /// What is asked for on that state of the truth. On a later one it is not asked for any more.
    pub(crate) fn of(&self, secret: &ObjectRef<ManagedSecret>, sequence: u64) -> Option<Asked> {
        let mut known = self.known();
        let found = known.asked.get(secret)?;
        if found.sequence < sequence {
            known.asked.remove(secret);
            return None;
        }
        (found.sequence == sequence).then(|| found.clone())
    }

    /// Wakes a schedule from now on whenever its secret was looked at.
    pub(crate) fn follow(
        &self,
        secret: ObjectRef<ManagedSecret>,
        schedule: ObjectRef<RotationSchedule>,
    ) {
        let mut known = self.known();
        known.schedules.entry(secret).or_default().insert(schedule);
    }

    /// Does so no more.
    pub(crate) fn unfollow(&self, schedule: &ObjectRef<RotationSchedule>) {
        self.known().schedules.retain(|_, schedules| {
            schedules.remove(schedule);
            !schedules.is_empty()
        });
    }

    /// Says that a secret was looked at, so that it is as its spec, and what was asked for, say.
    pub(crate) fn looked(&self, secret: &ObjectRef<ManagedSecret>) {
        for schedule in self.known().schedules.get(secret).into_iter().flatten() {
            let _ = self.woken.send(schedule.clone());
        }
    }

    /// Secrets of which something is asked.
    pub(crate) fn wanted(&self) -> BroadcastStream<ObjectRef<ManagedSecret>> {
        BroadcastStream::new(self.wanted.subscribe())
    }

    /// Schedules whose secrets were looked at.
    pub(crate) fn woken(&self) -> BroadcastStream<ObjectRef<RotationSchedule>> {
        BroadcastStream::new(self.woken.subscribe())
    }

    /// All secrets of which something is asked.
    pub(crate) fn all(&self) -> Vec<ObjectRef<ManagedSecret>> {
        self.known().asked.keys().cloned().collect()
    }

    /// All schedules that follow a secret.
    pub(crate) fn schedules(&self) -> Vec<ObjectRef<RotationSchedule>> {
        let known = self.known();
        known.schedules.values().flatten().cloned().collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[tokio::test]
    async fn a_secret_that_was_looked_at_wakes_its_own_schedules_only() {
        use futures::{FutureExt, StreamExt};

        let rotations = Rotations::default();
        let secret = |name: &str| ObjectRef::new(name).within("shop");
        let schedule = |name: &str| ObjectRef::<RotationSchedule>::new(name).within("shop");
        rotations.follow(secret("db"), schedule("weekly"));
        rotations.follow(secret("db"), schedule("weekly"));
        rotations.follow(secret("other"), schedule("daily"));
        let mut woken = rotations.woken();
        rotations.looked(&secret("db"));
        rotations.looked(&secret("unscheduled"));
        let told = woken.next().now_or_never().flatten().unwrap().unwrap();
        assert_eq!(told, schedule("weekly"));
        assert!(woken.next().now_or_never().is_none());
        rotations.unfollow(&schedule("weekly"));
        rotations.looked(&secret("db"));
        assert!(woken.next().now_or_never().is_none());
        assert_eq!(rotations.schedules(), [schedule("daily")]);
    }
}
