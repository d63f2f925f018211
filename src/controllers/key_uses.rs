//! What is remembered of the uses of keys between reconciles: when each was last used, and who was refused while it waits for its
//! deletion. In memory only; a new leader begins anew, and what a status says already stays.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use kube::runtime::events::EventType;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tracing::warn;

use super::context::Context;
use super::error::{Class, Error, call};
use super::key_truth::replace;
use crate::api::{KeyMaterial, ManagedKey, Reason};
use crate::crypto::KeyId;
use crate::keys::Key;
use crate::policy::Action;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// Most things that are remembered as told. Beyond it something may be told a second time within its hour.
const MAX_TOLD: usize = 100_000;

/// Something that is told once an hour.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Told {
    /// The key.
    pub(crate) key: KeyId,
    /// Who used it.
    pub(crate) user: String,
    /// What is told.
    pub(crate) what: String,
}

/// A use that a key refused while it waits for its deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefusedUse {
    /// Who.
    pub(crate) user: String,
    /// What.
    pub(crate) operation: Action,
    /// The beginning of the hour in which it was.
    pub(crate) hour: Timestamp,
}

/// What is remembered of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UsesOfKey {
    /// The last use that was let through.
    pub(crate) last: Option<(Action, Timestamp)>,
    /// The first use that was refused in the last hour in which any was.
    pub(crate) refused: Option<RefusedUse>,
    /// How many uses were refused while it waits for its deletion.
    pub(crate) refused_count: u64,
}

/// What is new about a refused use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Alarm {
    /// Whether it is the first of its hour.
    first_of_key: bool,
    /// Whether it is the first of its hour by that user.
    first_of_user: bool,
}

/// What is remembered of all keys.
#[derive(Debug)]
pub struct KeyUses {
    memory: Mutex<Memory>,
    news: broadcast::Sender<(String, String)>,
}

#[derive(Debug, Default)]
struct Memory {
    keys: HashMap<KeyId, UsesOfKey>,
    told: HashMap<Told, i64>,
}

impl Default for KeyUses {
    fn default() -> Self {
        Self {
            memory: Mutex::default(),
            news: broadcast::channel(1024).0,
        }
    }
}

impl KeyUses {
    /// What is remembered of that key.
    pub(crate) fn of(&self, key: KeyId) -> UsesOfKey {
        self.memory().keys.get(&key).cloned().unwrap_or_default()
    }

    /// Forgets keys that are no more.
    pub(crate) fn retain(&self, known: impl Fn(&KeyId) -> bool) {
        self.memory().keys.retain(|key, _| known(key));
    }

    /// A use was let through; whether it is the first of its day.
    pub(crate) fn used(&self, key: KeyId, operation: Action, now: Timestamp) -> bool {
        let mut memory = self.memory();
        let last = &mut memory.keys.entry(key).or_default().last;
        let before = last.map(|(_, time)| time.as_second().div_euclid(DAY));
        *last = Some((operation, now));
        before != Some(now.as_second().div_euclid(DAY))
    }

    /// A use was let through elsewhere, at that time; whether that is news.
    fn used_elsewhere(&self, key: KeyId, operation: Action, time: Timestamp) -> bool {
        let mut memory = self.memory();
        let last = &mut memory.keys.entry(key).or_default().last;
        let is_later = last.is_none_or(|(_, before)| day(before) < day(time));
        if is_later {
            *last = Some((operation, time));
        }
        is_later
    }

    /// A use was refused while the key waits for its deletion; what is new about it.
    fn refused(&self, key: KeyId, user: &str, operation: Action, now: Timestamp) -> Alarm {
        let told = Told {
            key,
            user: user.to_owned(),
            what: "alarm".to_owned(),
        };
        let first_of_user = self.tell(told, now);
        let mut memory = self.memory();
        let uses = memory.keys.entry(key).or_default();
        uses.refused_count = uses.refused_count.saturating_add(1);
        let hour = hour(now);
        let first_of_key = uses.refused.as_ref().is_none_or(|told| told.hour != hour);
        if first_of_key {
            uses.refused = Some(RefusedUse {
                user: user.to_owned(),
                operation,
                hour,
            });
        }
        Alarm {
            first_of_key,
            first_of_user,
        }
    }

    /// Whether that is to be told: once an hour.
    pub(crate) fn tell(&self, told: Told, now: Timestamp) -> bool {
        let hour = now.as_second().div_euclid(HOUR);
        let mut memory = self.memory();
        if memory.told.len() >= MAX_TOLD {
            memory.told.retain(|_, at| *at == hour);
        }
        if memory.told.len() >= MAX_TOLD {
            memory.told.clear();
        }
        memory.told.insert(told, hour) != Some(hour)
    }

    /// The status of that key may have something new to say.
    fn announce(&self, namespace: &str, name: &str) {
        // An error only says that nobody listens.
        let _ = self.news.send((namespace.to_owned(), name.to_owned()));
    }

    /// Keys whose status may have something new to say. What is missed is said at the next look.
    pub(super) fn news(
        &self,
    ) -> impl Stream<Item = ObjectRef<ManagedKey>> + Send + use<> + 'static {
        BroadcastStream::new(self.news.subscribe()).filter_map(|news| {
            let key = news
                .ok()
                .map(|(namespace, name)| ObjectRef::new(&name).within(&namespace));
            futures::future::ready(key)
        })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The beginning of the day of that instant, in UTC.
pub(crate) fn day(time: Timestamp) -> Timestamp {
    floor(time, DAY)
}

/// The beginning of the hour of that instant.
pub(crate) fn hour(time: Timestamp) -> Timestamp {
    floor(time, HOUR)
}

fn floor(time: Timestamp, seconds: i64) -> Timestamp {
    let floored = time.as_second().div_euclid(seconds).saturating_mul(seconds);
    Timestamp::from_second(floored).unwrap_or(time)
}

impl Context {
    /// A use of a key was let through by another process, and is in its audit trail.
    pub(crate) fn used_elsewhere(&self, key: KeyId, operation: Action, time: Timestamp) {
        // A clock that is ahead is not believed.
        let time = time.min(self.now());
        if let Some(key) = self.keyring.get(key)
            && self.key_uses.used_elsewhere(key.id, operation, time)
        {
            let spec = &key.truth.spec;
            self.key_uses.announce(&spec.namespace, &spec.name);
        }
    }

    /// A use of a key was let through and is in the audit trail.
    pub(crate) fn used(&self, key: KeyId, operation: Action) {
        if self.key_uses.used(key, operation, self.now())
            && let Some(key) = self.keyring.get(key)
        {
            let spec = &key.truth.spec;
            self.key_uses.announce(&spec.namespace, &spec.name);
        }
    }
}

/// The alarm: a metric for each use, once for each key and hour a look at the key's condition, and once for each key, user and hour an
/// Event.
pub(super) async fn announce_refused_use(key: KeyId, user: &str, operation: Action, ctx: &Context) {
    ctx.metrics.used_while_pending_deletion();
    let alarm = ctx.key_uses.refused(key, user, operation, ctx.now());
    if !alarm.first_of_user {
        return;
    }
    let Some(key) = ctx.keyring.get(key) else {
        return;
    };
    let spec = &key.truth.spec;
    if alarm.first_of_key {
        ctx.key_uses.announce(&spec.namespace, &spec.name);
    }
    if let Err(error) = remember_refused(&key, ctx).await {
        warn!(%error, key = %key.id, "that a use was refused could not be written down; it is tried again");
    }
    let object = ObjectReference {
        api_version: Some(ManagedKey::api_version(&()).into_owned()),
        kind: Some(ManagedKey::kind(&()).into_owned()),
        namespace: Some(spec.namespace.clone()),
        name: Some(spec.name.clone()),
        uid: Some(spec.object_uid.clone()),
        ..ObjectReference::default()
    };
    let note = format!(
        "refused {} by {user}: the deletion of the key is pending",
        operation.name()
    );
    ctx.event(
        &object,
        EventType::Warning,
        Reason::UsedWhilePendingDeletion,
        note,
    )
    .await;
}

/// Writes into the truth that somebody wanted to use a key which waits for its end: that keeps it. Once for each key and day.
async fn remember_refused(key: &Key, ctx: &Context) -> Result<(), Error> {
    let today = day(ctx.now());
    let is_known = |truth: &KeyMaterial| {
        let record = truth.spec.deletion.as_ref();
        record.is_none_or(|record| record.refused.as_ref().is_some_and(|day| day.0 >= today))
    };
    if is_known(&key.truth) {
        return Ok(());
    }
    let (id, object) = (key.id.to_string(), format!("KeyMaterial {}", key.id));
    let found = call("get", object, ctx.materials.get(&id)).await?;
    let Some(mut truth) = found.filter(|truth| !is_known(truth)) else {
        return Ok(());
    };
    if let Some(record) = &mut truth.spec.deletion {
        record.refused = Some(Time(today));
    }
    match replace(&truth, ctx).await {
        // Somebody else wrote; the next refusal tries again.
        Err(error) if error.class() == Class::Conflict => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: KeyId = KeyId::from_bytes([1; 16]);

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn only_the_first_use_of_a_day_is_news() {
        let uses = KeyUses::default();
        let used = |time| uses.used(KEY, Action::Decrypt, at(time));
        assert!(used("2026-11-25T00:00:00Z"));
        assert!(!used("2026-11-25T23:59:59Z"));
        assert!(used("2026-11-26T00:00:00Z"));
        let last = uses.of(KEY).last.unwrap().1;
        assert_eq!(day(last), at("2026-11-26T00:00:00Z"));
    }

    #[test]
    fn a_refused_use_is_an_alarm_once_for_each_user_and_hour_and_is_counted_always() {
        let uses = KeyUses::default();
        let refused = |user, time| {
            let alarm = uses.refused(KEY, user, Action::Decrypt, at(time));
            (alarm.first_of_key, alarm.first_of_user)
        };
        assert_eq!(refused("a", "2026-11-25T10:01:00Z"), (true, true));
        assert_eq!(refused("a", "2026-11-25T10:59:00Z"), (false, false));
        assert_eq!(refused("b", "2026-11-25T10:59:00Z"), (false, true));
        assert_eq!(refused("a", "2026-11-25T10:59:30Z"), (false, false));
        assert_eq!(
            uses.of(KEY).refused.unwrap().user,
            "a",
            "what the condition says is steady"
        );
        assert_eq!(refused("a", "2026-11-25T11:00:00Z"), (true, true));
        assert_eq!(uses.of(KEY).refused_count, 5);
        assert_eq!(
            uses.of(KEY).refused.unwrap().hour,
            at("2026-11-25T11:00:00Z")
        );
    }
}
