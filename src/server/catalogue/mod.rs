//! What a replica knows of the `ManagedSecrets` that there are: which stands behind a name, and which content it has now. It knows no
//! value and decides about none: the truth is read for that.
//!
//! They are watched, and of each only what delivery looks at is kept: about a kilobyte, so that ten thousand of them take some ten
//! megabytes. Templates are kept as they are.

mod entry;
mod index;
#[cfg(test)]
mod testing;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use futures::StreamExt;
use futures::stream::{BoxStream, select_all};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tracing::{error, info, warn};

pub use self::entry::{Entry, NoRevision, Revision};

use self::entry::Watched;
use self::index::{Index, Place};
use crate::telemetry::Component;
use crate::telling::describe_watch;
use crate::watching::{Scope, watch_selected};

/// Secrets a page. One may have more than a megabyte of sealed entries, which are in the page and nowhere else.
const PAGE: u32 = 100;

/// The secrets that there are.
#[derive(Debug, Default)]
pub struct Catalogue {
    index: RwLock<Index>,
    /// How often anything of it changed.
    changed: watch::Sender<u64>,
    complete: AtomicBool,
}

type News = (usize, Result<Event<Watched>, watcher::Error>);

/// One list that is followed.
struct Listing {
    /// Its namespace; `None` for all of them.
    place: Option<String>,
    /// What was named since the list began.
    listed: HashSet<Place>,
    complete: bool,
    broken: bool,
}

impl Catalogue {
    /// The secret of that name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<Entry>> {
        self.read(|index| index.get(namespace, name).cloned())
    }

    /// The secret that stands behind a native Secret of that name: the one that is delivered in it, else the oldest that asks for it.
    pub fn by_target(&self, namespace: &str, native: &str) -> Option<Arc<Entry>> {
        self.read(|index| index.by_target(namespace, native).cloned())
    }

    /// What the content of that secret is told by; `None` if there is no such secret, or no content of it yet.
    pub fn revision(&self, namespace: &str, name: &str) -> Option<Revision> {
        self.read(|index| index.get(namespace, name)?.revision)
    }

    /// The revisions of many secrets, as they are at one moment.
    pub fn revisions<'a>(
        &self,
        of: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Vec<Option<Revision>> {
        self.read(|index| {
            let revision = |(namespace, name): (&str, &str)| index.get(namespace, name)?.revision;
            of.map(revision).collect()
        })
    }

    /// Tells of changes: how many there were.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Whether all secrets are known. Before that, one that is missing means nothing.
    pub fn is_ready(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    fn read<T>(&self, look: impl FnOnce(&Index) -> T) -> T {
        look(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, change: impl FnOnce(&mut Index) -> bool) {
        let changed = change(&mut self.index.write().unwrap_or_else(PoisonError::into_inner));
        if changed {
            self.changed
                .send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Follows the secrets of that scope for ever. What was known before counts no more until it is read anew.
    pub(super) async fn follow(&self, client: &Client, scope: &Scope, component: &Component) {
        self.complete.store(false, Ordering::Release);
        component.not_ready("the ManagedSecrets are not read yet");
        let mut listings: Vec<_> = scope.places().into_iter().map(Listing::of).collect();
        let watches = listings.iter().enumerate().map(|(number, listing)| {
            let api = match listing.place.as_deref() {
                None => Api::all(client.clone()),
                Some(namespace) => Api::namespaced(client.clone(), namespace),
            };
            watched(number, api)
        });
        let mut news = select_all(watches.collect::<Vec<_>>());
        while let Some((number, event)) = news.next().await {
            self.take(&mut listings[number], event);
            if !self.is_ready() && listings.iter().all(|listing| listing.complete) {
                info!("the ManagedSecrets are read");
                self.complete.store(true, Ordering::Release);
                self.changed
                    .send_modify(|count| *count = count.wrapping_add(1));
                component.ready();
            }
        }
    }

    fn take(&self, listing: &mut Listing, event: Result<Event<Watched>, watcher::Error>) {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                if !listing.broken {
                    let error = describe_watch(&error);
                    warn!(
                        error,
                        "the watch of ManagedSecrets broke; it is taken up again"
                    );
                }
                listing.broken = true;
                return;
            }
        };
        listing.broken = false;
        match event {
            Event::Init => listing.listed.clear(),
            Event::InitApply(object) => {
                listing.listed.insert(place(&object));
                self.put(object);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut listing.listed);
                listing.complete = true;
                self.write(|index| index.keep(listing.place.as_deref(), &listed));
            }
            Event::Apply(object) => self.put(object),
            Event::Delete(object) => {
                let (namespace, name) = place(&object);
                self.write(|index| index.remove(&namespace, &name));
            }
        }
    }

    fn put(&self, object: Watched) {
        let (namespace, name) = place(&object);
        if let Some(entry) = Entry::of(object) {
            self.write(|index| index.put(entry));
        } else {
            error!(%namespace, %name, "this release does not know the form of the secret; it takes it for none");
            self.write(|index| index.remove(&namespace, &name));
        }
    }
}

impl Listing {
    fn of(place: Option<String>) -> Self {
        Self {
            place,
            listed: HashSet::new(),
            complete: false,
            broken: false,
        }
    }
}

fn watched(number: usize, api: Api<Watched>) -> BoxStream<'static, News> {
    let config = watcher::Config::default().page_size(PAGE);
    let events = watch_selected(api, config);
    events.map(move |event| (number, event)).boxed()
}

fn place(object: &Watched) -> Place {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    (namespace.into_boxed_str(), name.into_boxed_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::testing::watched;
    use super::*;

    fn secret(name: &str, version: &str) -> Watched {
        let status = json!({"versions": [{"id": version, "stages": ["Current"]}]});
        watched("shop", name, &json!({}), &status)
    }

    fn take(catalogue: &Catalogue, listing: &mut Listing, events: Vec<Event<Watched>>) {
        for event in events {
            catalogue.take(listing, Ok(event));
        }
    }

    #[test]
    fn a_second_list_takes_out_what_is_gone_and_nothing_is_missing_meanwhile() {
        let (catalogue, mut listing) = (Catalogue::default(), Listing::of(None));
        let first = vec![
            Event::Init,
            Event::InitApply(secret("a", "1")),
            Event::InitApply(secret("b", "1")),
            Event::InitDone,
        ];
        take(&catalogue, &mut listing, first);
        assert!(listing.complete);
        let (a, b) = (
            catalogue.revision("shop", "a"),
            catalogue.revision("shop", "b"),
        );
        assert!(a.is_some() && a == b);
        // The first try is cut.
        let cut = vec![
            Event::Init,
            Event::InitApply(secret("b", "1")),
            Event::Init,
            Event::InitApply(secret("a", "2")),
        ];
        take(&catalogue, &mut listing, cut);
        assert!(catalogue.get("shop", "b").is_some());
        take(&catalogue, &mut listing, vec![Event::InitDone]);
        assert!(catalogue.get("shop", "b").is_none());
        assert_ne!(catalogue.revision("shop", "a"), a);
        take(
            &catalogue,
            &mut listing,
            vec![Event::Delete(secret("a", "2"))],
        );
        let both = [("shop", "a"), ("shop", "b")];
        assert_eq!(catalogue.revisions(both.into_iter()), [None, None]);
    }

    #[test]
    fn only_what_says_something_else_is_told() {
        let (catalogue, mut listing) = (Catalogue::default(), Listing::of(None));
        let mut changes = catalogue.changes();
        take(
            &catalogue,
            &mut listing,
            vec![Event::Apply(secret("a", "1"))],
        );
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        let mut labelled = secret("a", "1");
        labelled
            .labels_mut()
            .insert("team".to_owned(), "orders".to_owned());
        take(&catalogue, &mut listing, vec![Event::Apply(labelled)]);
        assert!(!changes.has_changed().unwrap());
        take(
            &catalogue,
            &mut listing,
            vec![Event::Apply(secret("a", "2"))],
        );
        assert!(changes.has_changed().unwrap());
    }
}
