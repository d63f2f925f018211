//! The namespaces that new secrets live in: one look at a namespace serves all secrets that were seen in it before.
//!
//! An object stays in the namespace that it was made in, and a namespace goes only after everything in it. So the UID that a
//! namespace had at a look which began after an object was seen is the UID of that object's namespace for as long as the
//! object is there, whoever makes a namespace of the same name later. What was seen after a look has a look of its own.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::ResourceExt;
use kube::runtime::watcher::{self, Event};

use super::context::Context;
use super::error::Error;
use super::namespace::namespace_uid;
use crate::api::ManagedSecret;

/// How long a look is kept. What came before it is through by then, or has waited for something else.
const KEPT: Duration = Duration::from_secs(60);

/// What was seen, and when.
#[derive(Debug, Default)]
pub struct Homes(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// When each secret was first seen, by its UID: of those only that no truth is known of, which are few for long.
    since: HashMap<String, Instant>,
    /// When the last look at each namespace began, and the UID that it found.
    looks: HashMap<String, (Instant, String)>,
}

impl Homes {
    /// Takes note of an event of a watch of secrets.
    pub(super) fn see(&self, event: &Result<Event<ManagedSecret>, watcher::Error>) {
        let now = Instant::now();
        match event {
            Ok(Event::InitApply(secret) | Event::Apply(secret)) => {
                let Some(uid) = secret.uid() else { return };
                self.seen().note(uid, is_new(secret), now);
            }
            Ok(Event::Delete(secret)) => {
                self.seen()
                    .note(secret.uid().unwrap_or_default(), false, now);
            }
            // What was deleted while the watch was cut is told by nobody.
            Ok(Event::Init) => self.seen().since.clear(),
            Ok(Event::InitDone) | Err(_) => {}
        }
    }

    /// The UID of the namespace that a secret is in.
    pub(super) async fn of(&self, secret: &ManagedSecret, ctx: &Context) -> Result<String, Error> {
        let name = secret.namespace().unwrap_or_default();
        let uid = secret.uid().unwrap_or_default();
        if let Some(home) = self.seen().known(&uid, &name) {
            return Ok(home);
        }
        let begun = Instant::now();
        let home = namespace_uid(&name, ctx).await?;
        self.seen().looked(name, begun, home.clone());
        Ok(home)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether nothing is known of its truth.
pub(super) fn is_new(secret: &ManagedSecret) -> bool {
    let status = secret.status.as_ref();
    status.is_none_or(|status| status.versions.is_empty() && status.sequence.is_none())
}

impl Seen {
    fn note(&mut self, uid: String, is_new: bool, now: Instant) {
        if is_new {
            self.since.entry(uid).or_insert(now);
        } else {
            self.since.remove(&uid);
        }
    }

    /// What a look found that began after the secret was seen.
    fn known(&self, uid: &str, namespace: &str) -> Option<String> {
        let (since, (begun, home)) = (self.since.get(uid)?, self.looks.get(namespace)?);
        (begun >= since).then(|| home.clone())
    }

    fn looked(&mut self, namespace: String, begun: Instant, home: String) {
        self.looks
            .retain(|_, (other, _)| begun.saturating_duration_since(*other) < KEPT);
        let newer = self.looks.get(&namespace).is_some_and(|it| it.0 > begun);
        if !newer {
            self.looks.insert(namespace, (begun, home));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_serves_what_was_seen_before_it_and_nothing_else() {
        let (mut seen, start) = (Seen::default(), Instant::now());
        let at = |second| start + Duration::from_secs(second);
        seen.note("early".into(), true, at(1));
        assert_eq!(seen.known("early", "shop"), None);
        seen.looked("shop".into(), at(2), "home-1".into());
        seen.note("late".into(), true, at(3));
        assert_eq!(seen.known("early", "shop").as_deref(), Some("home-1"));
        assert_eq!(seen.known("early", "other"), None);
        assert_eq!(seen.known("late", "shop"), None, "perhaps of another one");
        assert_eq!(seen.known("never", "shop"), None);
        // It is seen again, and is the same.
        seen.note("early".into(), true, at(4));
        assert_eq!(seen.known("early", "shop").as_deref(), Some("home-1"));
        seen.note("early".into(), false, at(5));
        assert_eq!(seen.known("early", "shop"), None);
    }

    #[test]
    fn a_look_that_took_long_does_not_replace_one_that_began_later() {
        let (mut seen, start) = (Seen::default(), Instant::now());
        seen.note("a".into(), true, start + Duration::from_secs(1));
        seen.looked("shop".into(), start + Duration::from_secs(2), "new".into());
        seen.looked("shop".into(), start, "old".into());
        assert_eq!(seen.known("a", "shop").as_deref(), Some("new"));
        seen.looked("bank".into(), start + KEPT * 2, "bank".into());
        assert_eq!(seen.known("a", "shop"), None, "forgotten");
    }
}
