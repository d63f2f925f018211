//! What calls of the API ask of secrets: the server turns each into a `SecretChange`, and the controller of `ManagedSecret`, which alone
//! writes the truth, makes it or refuses it.
//!
//! ```text
//! server ──▶ SecretChange ──watch──▶ Changes ──wakes──▶ ManagedSecret: truth, then the answer ──▶ SecretChange.status ──▶ server
//! ```
//!
//! Nothing here has to last: what is open is what the watch tells. An answer that was lost is given again, since the truth tells what was
//! done; and nobody waits for one that is older than [`TOO_LATE`], so that it is made no more.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::Status;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;
use kube::{Api, Resource, ResourceExt};
use serde_json::json;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tracing::warn;

use super::context::Context;
use super::error::{Error, call, is};
use super::parking::Presence;
use super::run::tell_broken;
use crate::api::names::FIELD_MANAGER;
use crate::api::{ChangeError, ManagedSecret, SecretChange, SecretChangeStatus};
use crate::watching::watch;

/// A change older than this is made no more: whoever asked has had another answer long ago, and an old one that is there again, as after
/// a restore, must not put an old value in force.
pub(crate) const TOO_LATE: SignedDuration = SignedDuration::from_secs(60);
/// How old a change gets before it is deleted: until then it can be looked at what was asked and answered.
const KEPT: SignedDuration = SignedDuration::from_secs(120);
/// How old an answered one gets if there are more than [`MANY`]: whoever waits for the answer asks several times a second.
const KEPT_OF_MANY: SignedDuration = SignedDuration::from_secs(15);
/// So many answered ones are kept for the whole time.
const MANY: usize = 1000;
/// How often it is looked for what can be deleted, and for what nobody answers.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// News that are kept for a listener that is slow; of more, it is told that any may have changed.
const WAITING: usize = 1024;

type Secret = ObjectRef<ManagedSecret>;

/// What is asked for, and who listens.
pub struct Changes {
    known: Mutex<Known>,
    wanted: broadcast::Sender<Secret>,
}

#[derive(Default)]
struct Known {
    /// Those that are not answered yet, by the secrets that they are about; the oldest first.
    open: HashMap<Secret, Vec<Arc<SecretChange>>>,
    /// Those that are, by UID.
    answered: HashMap<String, Answered>,
}

/// What is kept of a change that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answered {
    uid: String,
    name: String,
    created: Timestamp,
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            wanted: broadcast::channel(WAITING).0,
        }
    }
}

impl Changes {
    /// The change of that secret that is to be looked at next.
    pub(crate) fn oldest(&self, secret: &Secret) -> Option<Arc<SecretChange>> {
        self.known().open.get(secret)?.first().cloned()
    }

    /// Secrets of which something is asked.
    pub(crate) fn wanted(&self) -> BroadcastStream<Secret> {
        BroadcastStream::new(self.wanted.subscribe())
    }

    /// All secrets of which something is asked.
    pub(crate) fn all(&self) -> Vec<Secret> {
        self.known().open.keys().cloned().collect()
    }

    /// Takes in what the watch tells of a change.
    fn put(&self, change: SecretChange) {
        let mut known = self.known();
        let status = change.status.as_ref();
        if status.is_some_and(SecretChangeStatus::is_answered) {
            known.close(&change);
            drop(known);
            return self.wake_again(&secret_of(&change));
        }
        let uid = change.uid().unwrap_or_default();
        if known.answered.contains_key(&uid) {
            // The watch is behind what was answered here.
            return;
        }
        let secret = secret_of(&change);
        let open = known.open.entry(secret.clone()).or_default();
        open.retain(|other| other.metadata.uid != change.metadata.uid);
        open.push(Arc::new(change));
        open.sort_by_key(|change| (created(change), revision(change)));
        // Without listeners nobody needs the news.
        let _ = self.wanted.send(secret);
    }

    /// Forgets a change that is gone.
    fn remove(&self, uid: &str) {
        let mut known = self.known();
        known.answered.remove(uid);
        known.forget_open(|change| change.metadata.uid.as_deref() == Some(uid));
    }

    /// Forgets all changes but those with these UIDs.
    fn keep(&self, uids: &HashSet<String>) {
        let mut known = self.known();
        known.answered.retain(|uid, _| uids.contains(uid));
        known.forget_open(|change| !change.uid().is_some_and(|uid| uids.contains(&uid)));
    }

    /// A change was answered: the next one of the secret is looked at.
    fn close(&self, change: &SecretChange) {
        self.known().close(change);
        self.wake_again(&secret_of(change));
    }

    /// Wakes a secret of which more is asked.
    fn wake_again(&self, secret: &Secret) {
        if self.known().open.contains_key(secret) {
            let _ = self.wanted.send(secret.clone());
        }
    }

    /// What is not needed any more, answered or not.
    fn ended(&self, now: Timestamp) -> Vec<Answered> {
        let known = self.known();
        let is_older = |created: Timestamp, age| now.duration_since(created) >= age;
        let mut answered: Vec<_> = known.answered.values().cloned().collect();
        answered.sort_by_key(|one| Reverse(one.created));
        let surplus = answered.split_off(answered.len().min(MANY));
        let ended = answered.into_iter().filter(|it| is_older(it.created, KEPT));
        let surplus = surplus
            .into_iter()
            .filter(|it| is_older(it.created, KEPT_OF_MANY));
        let open = known.open.values().flatten().map(|it| Answered::of(it));
        let unanswered = open.filter(|it| is_older(it.created, KEPT));
        ended.chain(surplus).chain(unanswered).collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn close(&mut self, change: &SecretChange) {
        self.forget_open(|open| open.metadata.uid == change.metadata.uid);
        let answered = Answered::of(change);
        self.answered.insert(answered.uid.clone(), answered);
    }

    fn forget_open(&mut self, is_gone: impl Fn(&SecretChange) -> bool) {
        self.open.retain(|_, changes| {
            changes.retain(|change| !is_gone(change));
            !changes.is_empty()
        });
    }
}

impl Answered {
    fn of(change: &SecretChange) -> Self {
        Self {
            uid: change.uid().unwrap_or_default(),
            name: change.name_any(),
            created: created(change),
        }
    }
}

/// The secret that a change is about.
pub(crate) fn secret_of(change: &SecretChange) -> Secret {
    ObjectRef::new(&change.spec.name).within(&change.spec.namespace)
}

/// When it was asked for, by the API server's clock.
pub(crate) fn created(change: &SecretChange) -> Timestamp {
    let created = change.meta().creation_timestamp.as_ref();
    created.map_or(Timestamp::UNIX_EPOCH, |created| created.0)
}

/// Orders changes that were made in the same second. (KEP-5504: resource versions can be compared.)
fn revision(change: &SecretChange) -> u64 {
    let revision = change.resource_version();
    revision
        .and_then(|text| text.parse().ok())
        .unwrap_or(u64::MAX)
}

/// Follows the changes, and deletes those that are over, for as long as it is polled.
pub(super) async fn run(ctx: &Context, secrets: &Presence<ManagedSecret>) {
    tokio::join!(follow(ctx), look_after(ctx, secrets));
}

async fn follow(ctx: &Context) {
    let api = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    let mut events = pin!(watch::<SecretChange>(api));
    let (mut listed, mut broken) = (HashSet::new(), false);
    while let Some(event) = events.next().await {
        let was_broken = std::mem::replace(&mut broken, event.is_err());
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(change)) => {
                listed.extend(change.uid());
                ctx.changes.put(change);
            }
            Ok(Event::InitDone) => ctx.changes.keep(&listed),
            Ok(Event::Apply(change)) => ctx.changes.put(change),
            Ok(Event::Delete(change)) => ctx.changes.remove(&change.uid().unwrap_or_default()),
            // Where the definition is not there yet, it stays so for long.
            Err(error) if !was_broken => tell_broken::<SecretChange>(&error),
            Err(_) => {}
        }
    }
}

async fn look_after(ctx: &Context, secrets: &Presence<ManagedSecret>) {
    secrets.complete().await;
    loop {
        for ended in ctx.changes.ended(ctx.now()) {
            if let Err(error) = delete(&ended, ctx).await {
                warn!(%error, "a change that is over stays for now");
                break;
            }
        }
        for secret in ctx.changes.all() {
            if secrets.get(&secret).is_none()
                && let Err(error) = refuse_orphan(&secret, ctx).await
            {
                warn!(%error, "a change of a secret that is gone is not answered yet");
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Answers a change whose secret is not there: no look at it will.
async fn refuse_orphan(secret: &Secret, ctx: &Context) -> Result<(), Error> {
    let Some(change) = ctx.changes.oldest(secret) else {
        return Ok(());
    };
    let message =
        "the secret is marked for deletion: apply its ManagedSecret again to have it back";
    let refused = refused(ChangeError::InvalidRequestException, message);
    answer(&change, &refused, ctx).await
}

/// What a refused change is answered.
pub(crate) fn refused(code: ChangeError, message: &str) -> SecretChangeStatus {
    let most = SecretChangeStatus::MAX_MESSAGE;
    SecretChangeStatus {
        done: Some(false),
        code: Some(code),
        message: Some(message.chars().take(most).collect()),
        ..SecretChangeStatus::default()
    }
}

/// Answers a change. One that is gone needs no answer: nobody waits.
pub(crate) async fn answer(
    change: &SecretChange,
    status: &SecretChangeStatus,
    ctx: &Context,
) -> Result<(), Error> {
    ctx.check_leadership()?;
    let api: Api<SecretChange> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    let name = change.name_any();
    let body = json!({"metadata": {"uid": change.metadata.uid}, "status": status});
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(&body);
    let patched = api.patch_status(&name, &params, &patch);
    let object = format!("SecretChange {name}");
    match call("answer", object, patched).await {
        Err(Error::Api { source, .. }) if is(&source, Status::is_not_found) => {}
        answered => drop(answered?),
    }
    ctx.changes.close(change);
    Ok(())
}

async fn delete(ended: &Answered, ctx: &Context) -> Result<(), Error> {
    ctx.check_leadership()?;
    let api: Api<SecretChange> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(ended.uid.clone()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let object = format!("SecretChange {}", ended.name);
    match call("delete", object, api.delete(&ended.name, &params)).await {
        Err(Error::Api { source, .. })
            if is(&source, Status::is_not_found) || is(&source, Status::is_conflict) => {}
        deleted => drop(deleted?),
    }
    ctx.changes.remove(&ended.uid);
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn change(name: &str, second: i64, revision: u64) -> SecretChange {
        let created = Timestamp::from_second(second).unwrap();
        serde_json::from_value(json!({
            "apiVersion": "keystead.dev/v1alpha1", "kind": "SecretChange",
            "metadata": {"name": name, "uid": format!("uid-{name}"), "creationTimestamp": created,
                         "resourceVersion": revision.to_string()},
            "spec": {"namespace": "shop", "name": "db", "namespaceUid": "n", "objectUid": "o", "user": "ann",
                     "moveStage": {"stage": "Pending"}},
        }))
        .unwrap()
    }

    fn answered(mut change: SecretChange) -> SecretChange {
        change.status = Some(refused(ChangeError::InvalidRequestException, "no"));
        change
    }

    fn oldest(changes: &Changes) -> Option<String> {
        let secret = ObjectRef::new("db").within("shop");
        changes.oldest(&secret).map(|change| change.name_any())
    }

    #[test]
    fn changes_of_a_secret_are_looked_at_one_by_one_in_the_order_in_which_they_were_asked_for() {
        let changes = Changes::default();
        let mut news = changes.wanted();
        let mut told = || news.next().now_or_never().is_some();
        changes.put(change("late", 30, 40));
        changes.put(change("second", 20, 12));
        changes.put(change("first", 20, 9));
        assert_eq!(oldest(&changes).as_deref(), Some("first"));
        assert!(told() && told() && told() && !told());
        changes.close(&change("first", 20, 9));
        assert!(told(), "the next one wakes the secret");
        // The watch may be behind.
        changes.put(change("first", 20, 9));
        assert_eq!(oldest(&changes).as_deref(), Some("second"));
        changes.put(answered(change("second", 20, 50)));
        assert!(told());
        assert_eq!(oldest(&changes).as_deref(), Some("late"));
        changes.remove("uid-late");
        assert_eq!(oldest(&changes), None);
        assert!(!told());
        assert!(changes.all().is_empty());
    }

    #[test]
    fn a_second_list_takes_out_what_is_gone() {
        let changes = Changes::default();
        changes.put(change("gone", 20, 1));
        changes.put(answered(change("answered", 20, 2)));
        changes.put(change("kept", 21, 3));
        changes.keep(&HashSet::from(["uid-kept".to_owned()]));
        assert_eq!(oldest(&changes).as_deref(), Some("kept"));
        assert!(
            changes
                .ended(Timestamp::from_second(100).unwrap())
                .is_empty()
        );
    }

    #[test]
    fn what_is_over_goes_after_two_minutes_and_sooner_where_there_is_very_much() {
        let changes = Changes::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        changes.put(change("open", 0, 1));
        changes.put(answered(change("answered", 10, 2)));
        let ended = |second| {
            let ended = changes.ended(at(second)).into_iter();
            ended.map(|it| it.name).collect::<Vec<_>>()
        };
        assert_eq!(ended(119), Vec::<String>::new());
        assert_eq!(ended(120), ["open"]);
        assert_eq!(ended(130), ["answered", "open"]);
        // A clock that was put back.
        assert!(ended(-1000).is_empty());
        for number in 0..MANY {
            changes.put(answered(change(&format!("many-{number}"), 100, 3)));
        }
        assert_eq!(ended(24).len(), 0);
        assert_eq!(ended(25), ["answered"], "the oldest of too many");
    }
}
