//! What is known of every object that a watch tells of, by name, and nothing more of it than is asked for.

use std::collections::HashMap;

use kube::ResourceExt;
use kube::runtime::watcher::Event;

/// Follows one watch.
pub(crate) struct Inventory<T> {
    /// What a list that is not complete has had so far.
    listed: HashMap<String, T>,
}

/// What an event changes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change<T> {
    /// This is all there is.
    All(HashMap<String, T>),
    /// This is what is known of one object now; nothing, if it is gone or there is nothing to know.
    One(String, Option<T>),
}

impl<T> Default for Inventory<T> {
    fn default() -> Self {
        let listed = HashMap::new();
        Self { listed }
    }
}

impl<T> Inventory<T> {
    /// Takes note of an event. `read`: what is to be known of an object.
    pub(crate) fn follow<K: ResourceExt>(
        &mut self,
        event: &Event<K>,
        read: impl Fn(&K) -> Option<T>,
    ) -> Option<Change<T>> {
        match event {
            Event::Init => {
                self.listed.clear();
                None
            }
            Event::InitApply(object) => {
                let known = read(object).map(|known| (object.name_any(), known));
                self.listed.extend(known);
                None
            }
            // What was deleted while the watch was cut is in no event: it is not in the list.
            Event::InitDone => Some(Change::All(std::mem::take(&mut self.listed))),
            Event::Apply(object) => Some(Change::One(object.name_any(), read(object))),
            Event::Delete(object) => Some(Change::One(object.name_any(), None)),
        }
    }
}
