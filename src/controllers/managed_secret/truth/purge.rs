//! The end of secrets whose resource is gone: their truth is deleted when its window is over, and a day has gone by since the
//! leader first saw that; or at once, if the deletion of that very resource was forced.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::api::ManagedSecret;
use crate::audit::{Entry, EventSource, Identity, Resource, ResourceType};
use crate::clock::until;
use crate::controllers::backoff::jittered;
use crate::controllers::context::{Context, jitter, request_id};
use crate::controllers::error::{Error, call};
use crate::controllers::inventory::{Change, Inventory};
use crate::truth::{Stored, end_of, truth_name};

/// How often waiting truth is looked at although nothing is due: clocks may jump.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// How long to wait before a failed attempt is repeated.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// How long a change waits for others: a namespace's secrets are deleted together.
const GATHER: Duration = Duration::from_secs(1);
/// How long truth that is due is left, so that a clock that jumped, or a restore, has time to be noticed.
const GRACE: SignedDuration = SignedDuration::from_hours(24);

/// The truth that waits for its end, by the names of its Secrets, kept up to date by the watch of the truth.
#[derive(Default)]
pub struct Parked {
    ends: Mutex<HashMap<String, Timestamp>>,
    /// When this leader first saw that they are due.
    due: Mutex<HashMap<String, Timestamp>>,
    changed: watch::Sender<()>,
}

/// What one watch of the truth tells of ends.
#[derive(Default)]
pub(crate) struct Ends(Inventory<Timestamp>);

impl Ends {
    /// Takes note of an event.
    pub(crate) fn follow(&mut self, event: &Event<PartialObjectMeta<Secret>>, parked: &Parked) {
        let Some(change) = self.0.follow(event, |truth| end_of(&truth.metadata)) else {
            return;
        };
        let mut ends = parked.ends();
        let news = match change {
            Change::All(listed) => {
                let news = *ends != listed;
                *ends = listed;
                news
            }
            Change::One(name, Some(end)) => ends.insert(name, end) != Some(end),
            Change::One(name, None) => ends.remove(&name).is_some(),
        };
        if news {
            parked.changed.send_replace(());
        }
    }
}

impl Parked {
    fn ends(&self) -> MutexGuard<'_, HashMap<String, Timestamp>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn due(&self) -> MutexGuard<'_, HashMap<String, Timestamp>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When that truth was first seen to be due.
    fn due_since(&self, name: &str) -> Option<Timestamp> {
        self.due().get(name).copied()
    }

    /// That truth is due, as is seen now; or it is not.
    fn see_due(&self, name: &str, now: Option<Timestamp>) {
        let mut due = self.due();
        match now {
            Some(now) => {
                due.entry(name.to_owned()).or_insert(now);
            }
            None => {
                due.remove(name);
            }
        }
    }

    /// Forgets when what does not wait any more was due.
    fn forget(&self) {
        let ends = self.ends();
        self.due().retain(|name, _| ends.contains_key(name));
    }
}

/// Looks at waiting truth when some of it is due, or changes, for ever. The leader only.
pub(crate) async fn run(ctx: Arc<Context>) {
    let mut changed = ctx.parked.changed.subscribe();
    // A hold after a suspected restore may be ended there.
    let mut record = ctx.record_changes.clone();
    loop {
        let wait = ctx.clock.timer(look(&ctx).await);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            Ok(()) = record.changed() => {}
            Ok(()) = changed.changed() => tokio::time::sleep(GATHER).await,
        }
    }
}

/// Looks at everything that waits; returns how long until the next look.
async fn look(ctx: &Context) -> Duration {
    ctx.parked.forget();
    let ends = ctx.parked.ends().clone();
    let first = ends.values().min().copied();
    ctx.metrics.parked_secrets(ends.len(), first);
    let now = ctx.now();
    let mut wait = jittered(LOOK_EVERY, jitter());
    let mut due = Vec::new();
    for (name, end) in ends {
        // Most waits for weeks: the API server is asked only about what is due by our clock.
        if now < end {
            wait = wait.min(until(end, now));
        } else {
            due.push(name);
        }
    }
    if due.is_empty() {
        return wait;
    }
    let now = match ctx.clocks().await {
        Ok(clocks) => clocks.earlier(),
        Err(error) => {
            warn!(%error, "secrets whose window is over could not be looked at; it is tried again");
            return wait.min(RETRY_AFTER);
        }
    };
    for name in due {
        match advance(&name, now, ctx).await {
            Ok(next) => wait = next.map_or(wait, |next| wait.min(until(next, now))),
            Err(error) => {
                warn!(truth = name, %error, "the end of a secret could not be looked at; it is tried again");
                wait = wait.min(RETRY_AFTER);
            }
        }
    }
    wait
}

/// What is to be done with one piece of truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing: it does not wait any more.
    Leave,
    /// Its window is not over: look again then.
    Wait(Timestamp),
    /// Its window is over, and something else keeps it until then.
    Due(Timestamp),
    /// Delete it.
    Purge,
}

/// What a step depends on besides the truth.
struct Facts {
    /// The earlier one of our clock and the API server's.
    now: Timestamp,
    /// When this leader first saw that its window is over, if it did so before.
    due_since: Option<Timestamp>,
    /// Until when nothing is destroyed, since the cluster may have been restored.
    held: Option<Timestamp>,
}

fn step(stored: &Stored, facts: &Facts) -> Step {
    let Some(since) = stored.parked_since else {
        return Step::Leave;
    };
    let uid = &stored.claim.object_uid;
    let window = stored.recovery.window_for(uid);
    let grace = if stored.recovery.is_forced_for(uid) {
        SignedDuration::ZERO
    } else {
        GRACE
    };
    let due_since = facts.due_since.unwrap_or(facts.now);
    let (Ok(end), Ok(ready)) = (since.checked_add(window), due_since.checked_add(grace)) else {
        return Step::Leave;
    };
    match facts.held {
        _ if facts.now < end => Step::Wait(end),
        _ if facts.now < ready => Step::Due(ready),
        Some(until) if facts.now < until => Step::Due(until),
        _ => Step::Purge,
    }
}

/// Looks at one piece of truth anew and deletes it if it is time; returns the next instant that matters.
async fn advance(name: &str, now: Timestamp, ctx: &Context) -> Result<Option<Timestamp>, Error> {
    let found = call("get", format!("Secret {name}"), ctx.sealed.get_named(name)).await?;
    // What the operator did not write is left alone.
    let Some(Ok(stored)) = found else {
        return Ok(None);
    };
    if !ctx.scope.contains(&stored.namespace) {
        return Ok(None);
    }
    let facts = Facts {
        now,
        due_since: ctx.parked.due_since(name),
        held: ctx.installation.hold.at(now).map(|hold| hold.until),
    };
    let step = step(&stored, &facts);
    // A clock that had jumped and is right again makes it due no earlier.
    let due = !matches!(step, Step::Leave | Step::Wait(_));
    ctx.parked.see_due(name, due.then_some(now));
    match step {
        Step::Leave => Ok(None),
        Step::Wait(next) | Step::Due(next) => Ok(Some(next)),
        // Its resource is back: it is adopted, or an administrator decides.
        Step::Purge if is_back(name, &stored, ctx).await? => Ok(None),
        Step::Purge => purge(name, &stored, ctx).await.map(|()| None),
    }
}

/// Whether there is a resource of the name that the truth belongs to. Truth that was put aside belongs to none any more.
async fn is_back(name: &str, stored: &Stored, ctx: &Context) -> Result<bool, Error> {
    if name != truth_name(&stored.namespace, &stored.name) {
        return Ok(false);
    }
    let api: Api<ManagedSecret> = Api::namespaced(ctx.client.clone(), &stored.namespace);
    let object = format!("ManagedSecret {}/{}", stored.namespace, stored.name);
    let found = call("get", object, api.get_metadata_opt(&stored.name)).await?;
    Ok(found.is_some())
}

async fn purge(name: &str, stored: &Stored, ctx: &Context) -> Result<(), Error> {
    let mut entry = Entry::allowed(
        EventSource::SecretsManager,
        "DeleteSecret",
        Identity::controller(),
        &request_id(),
    );
    entry.resources = vec![Resource {
        type_: ResourceType::ManagedSecret,
        namespace: stored.namespace.clone(),
        name: stored.name.clone(),
        uid: Some(stored.claim.object_uid.clone()),
        arn: None,
    }];
    let reason = if stored.recovery.is_forced_for(&stored.claim.object_uid) {
        "its resource is gone, and its deletion was forced"
    } else {
        "its resource is gone, and its recovery window is over"
    };
    reason.clone_into(&mut entry.reason);
    ctx.trail
        .write_all(vec![entry])
        .await
        .map_err(Error::Audit)?;
    ctx.check_leadership()?;
    let state = stored.resource_version.as_deref().unwrap_or_default();
    let object = format!("truth of {}/{}", stored.namespace, stored.name);
    call("delete", object, ctx.sealed.delete(name, state)).await?;
    info!(
        namespace = stored.namespace,
        name = stored.name,
        "a secret was deleted for good: {reason}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truth::Recovery;
    use crate::truth::testing::stored;

    fn at(text: &str) -> Timestamp {
        format!("2026-{text}:00Z").parse().unwrap()
    }

    fn parked() -> Stored {
        Stored {
            recovery: Recovery {
                window_days: Some(7),
                forced: None,
            },
            parked_since: Some(at("01-01T00:00")),
            ..stored("shop", "db")
        }
    }

    #[test]
    fn truth_is_purged_a_day_after_it_was_first_seen_to_be_due_and_never_in_its_window() {
        let facts = |now: &str, due: Option<&str>, held: Option<&str>| Facts {
            now: at(now),
            due_since: due.map(at),
            held: held.map(at),
        };
        let wait = |text: &str| Step::Wait(at(text));
        let due = |text: &str| Step::Due(at(text));
        let first = Some("01-08T00:00");
        for (facts, expected) in [
            (facts("01-02T00:00", None, None), wait("01-08T00:00")),
            (facts("01-08T00:00", None, None), due("01-09T00:00")),
            (facts("01-08T10:00", first, None), due("01-09T00:00")),
            (facts("01-09T00:00", first, None), Step::Purge),
            // A leader that sees it late waits as long.
            (facts("03-01T00:00", None, None), due("03-02T00:00")),
            // A clock that was put back.
            (facts("01-07T00:00", first, None), wait("01-08T00:00")),
            (
                facts("01-09T00:00", first, Some("01-09T12:00")),
                due("01-09T12:00"),
            ),
            (
                facts("01-09T12:00", first, Some("01-09T12:00")),
                Step::Purge,
            ),
        ] {
            assert_eq!(step(&parked(), &facts), expected);
        }
    }

    #[test]
    fn a_forced_deletion_of_that_very_resource_waits_for_nothing_but_a_hold() {
        let facts = |held: Option<&str>| Facts {
            now: at("01-01T00:00"),
            due_since: None,
            held: held.map(at),
        };
        let mut stored = parked();
        stored.recovery.forced = Some("u1".into());
        assert_eq!(step(&stored, &facts(None)), Step::Purge);
        let held = at("01-01T12:00");
        assert_eq!(step(&stored, &facts(Some("01-01T12:00"))), Step::Due(held));
        stored.recovery.forced = Some("another".into());
        assert_ne!(step(&stored, &facts(None)), Step::Purge);
        stored.parked_since = None;
        assert_eq!(step(&stored, &facts(None)), Step::Leave);
    }
}
