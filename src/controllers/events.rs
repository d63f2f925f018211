//! Publishes Events. Best effort: an Event that is lost loses nothing.
//!
//! kube's own recorder remembers every Event of the last minutes whole and goes through all of them for each new one, which
//! ten thousand secrets that become Ready at once would pay for in memory and time. This one remembers a bounded number of
//! them by what they say, which is all that a repetition needs: what is forgotten early becomes an Event of its own.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event as Stored, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::events::{Event, EventType, Reporter};
use kube::{Api, Client};
use serde_json::json;

/// For how long the same again is a repetition.
const REPEATS: Duration = Duration::from_secs(360);
/// Most Events that are remembered; the oldest are forgotten first.
const REMEMBERED: usize = 1024;

/// Longest name of an object (Kubernetes: a DNS subdomain, RFC 1123).
const MAX_NAME: usize = 253;

/// Publishes Events.
pub struct Events {
    client: Client,
    reporter: Reporter,
    recent: Mutex<Recent>,
}

impl Events {
    /// Those of that reporter.
    pub fn new(client: Client, reporter: Reporter) -> Self {
        Self {
            client,
            reporter,
            recent: Mutex::default(),
        }
    }

    /// Publishes one; one that was published lately is counted as its repetition.
    pub(super) async fn publish(&self, event: &Event, about: &ObjectReference) -> kube::Result<()> {
        let (now, said) = (Timestamp::now(), said(event, about));
        let namespace = about.namespace.as_deref().unwrap_or("default");
        let api: Api<Stored> = Api::namespaced(self.client.clone(), namespace);
        let repeated = self.recent().again(&said, Instant::now());
        if let Some((name, count)) = repeated {
            let series = EventSeries {
                count,
                last_observed_time: MicroTime(now),
            };
            let patch = Patch::Merge(json!({ "series": series }));
            return api
                .patch_metadata(&name, &PatchParams::default(), &patch)
                .await
                .map(drop);
        }
        let new = self.stored(event, about, now);
        let name = new.metadata.name.clone().unwrap_or_default();
        api.create(&PostParams::default(), &new).await?;
        self.recent().made(said, name, Instant::now());
        Ok(())
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stored(&self, event: &Event, about: &ObjectReference, now: Timestamp) -> Stored {
        let controller = &self.reporter.controller;
        let name = about.name.as_deref().unwrap_or(controller);
        let instance = self.reporter.instance.as_ref().unwrap_or(controller);
        Stored {
            metadata: ObjectMeta {
                namespace: about.namespace.clone(),
                name: Some(name_at(name, now)),
                ..ObjectMeta::default()
            },
            type_: Some(type_name(event.type_).to_owned()),
            reason: Some(event.reason.clone()),
            note: event.note.clone(),
            action: Some(event.action.clone()),
            event_time: Some(MicroTime(now)),
            regarding: Some(about.clone()),
            related: event.secondary.clone(),
            reporting_controller: Some(controller.clone()),
            reporting_instance: Some(instance.clone()),
            ..Stored::default()
        }
    }
}

/// The name of an Event: that of the object, as far as there is room, and when.
fn name_at(object: &str, now: Timestamp) -> String {
    let time = format!(".{:x}", now.as_nanosecond());
    let room = MAX_NAME - time.len();
    let kept = object.get(..room).unwrap_or(object);
    // What comes before a dot ends with a letter or digit.
    format!("{}{time}", kept.trim_end_matches(['-', '.']))
}

fn type_name(type_: EventType) -> &'static str {
    match type_ {
        EventType::Normal => "Normal",
        EventType::Warning => "Warning",
    }
}

/// What an Event says, besides its note.
fn said(event: &Event, about: &ObjectReference) -> String {
    let object = |object: &ObjectReference| {
        let parts = [&object.kind, &object.namespace, &object.name, &object.uid];
        parts
            .map(|part| part.as_deref().unwrap_or_default())
            .join("/")
    };
    let related = event.secondary.as_ref().map(object).unwrap_or_default();
    [
        type_name(event.type_),
        &event.reason,
        &event.action,
        &object(about),
        &related,
    ]
    .join(" ")
}

/// The Events of the last minutes, by what they say.
#[derive(Debug, Default)]
struct Recent {
    known: HashMap<String, Known>,
    /// Oldest first, with the count that it had then: one that was repeated since comes later once more.
    order: VecDeque<(String, i32)>,
}

#[derive(Debug)]
struct Known {
    name: String,
    count: i32,
    last: Instant,
}

impl Recent {
    /// The name of the Event that said the same lately, and how often it did, now included.
    fn again(&mut self, said: &str, now: Instant) -> Option<(String, i32)> {
        let known = self.known.get_mut(said)?;
        if now.duration_since(known.last) >= REPEATS {
            return None;
        }
        known.count = known.count.saturating_add(1);
        known.last = now;
        let repeated = (known.name.clone(), known.count);
        self.order.push_back((said.to_owned(), repeated.1));
        self.forget();
        Some(repeated)
    }

    /// Takes note of a new one.
    fn made(&mut self, said: String, name: String, now: Instant) {
        let known = Known {
            name,
            count: 1,
            last: now,
        };
        self.order.push_back((said.clone(), known.count));
        self.known.insert(said, known);
        self.forget();
    }

    fn forget(&mut self) {
        while self.order.len() > REMEMBERED {
            let Some((said, count)) = self.order.pop_front() else {
                return;
            };
            if self.known.get(&said).is_some_and(|it| it.count == count) {
                self.known.remove(&said);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_within_minutes_is_a_repetition_and_later_a_new_one() {
        let (mut recent, start) = (Recent::default(), Instant::now());
        assert_eq!(recent.again("a", start), None);
        recent.made("a".to_owned(), "a.1".to_owned(), start);
        assert_eq!(recent.again("b", start), None);
        let soon = start + Duration::from_secs(300);
        assert_eq!(recent.again("a", soon), Some(("a.1".to_owned(), 2)));
        let late = soon + Duration::from_secs(300);
        assert_eq!(recent.again("a", late), Some(("a.1".to_owned(), 3)));
        assert_eq!(recent.again("a", late + REPEATS), None);
    }

    #[test]
    fn no_more_are_remembered_than_a_bounded_number_and_those_that_repeat_longest() {
        let (mut recent, now) = (Recent::default(), Instant::now());
        recent.made("first".to_owned(), "first.1".to_owned(), now);
        for index in 0..REMEMBERED {
            recent.again("first", now);
            recent.made(index.to_string(), index.to_string(), now);
        }
        assert!(recent.known.len() <= REMEMBERED);
        assert_eq!(recent.order.len(), REMEMBERED);
        assert!(recent.again("first", now).is_some());
        assert!(recent.again("0", now).is_none());
    }

    #[test]
    fn an_event_about_an_object_of_any_name_has_a_name_that_is_allowed() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        assert!(name_at("db", now).starts_with("db."));
        let long = format!("{}.{}", "a".repeat(236), "b".repeat(16));
        for name in [&long[..253], &"a-".repeat(126), &"x".repeat(253)] {
            let named = name_at(name, now);
            assert!(named.len() <= MAX_NAME, "{named}");
            let (before, _) = named.rsplit_once('.').unwrap();
            assert!(!before.ends_with(['-', '.']), "{named}");
        }
    }

    #[test]
    fn what_an_event_says_names_the_object_and_not_the_note() {
        let event = |note: &str| Event {
            type_: EventType::Normal,
            reason: "Synced".to_owned(),
            note: Some(note.to_owned()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let about = |uid: &str| ObjectReference {
            name: Some("db".to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        assert_eq!(
            said(&event("one"), &about("1")),
            said(&event("two"), &about("1"))
        );
        assert_ne!(
            said(&event("one"), &about("1")),
            said(&event("one"), &about("2"))
        );
    }
}
