//! Which Secrets are being made at this moment, so that two secrets that name one target do not both make it.
//!
//! A server-side apply cannot demand that its object does not exist yet, and all targets have one field manager: the
//! second of two such writes would silently take over what the first one made. Only the leader writes, so it is
//! enough that its own reconciles exclude each other.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// The places (namespace and name) of Secrets that are being made.
#[derive(Debug, Default)]
pub struct Creations {
    places: Mutex<HashSet<(String, String)>>,
}

/// The right to make one Secret, until it drops.
#[derive(Debug)]
pub struct Creation<'a> {
    creations: &'a Creations,
    place: (String, String),
}

impl Creations {
    /// The right to make that Secret, unless somebody else has it.
    pub fn begin(&self, namespace: &str, name: &str) -> Option<Creation<'_>> {
        let place = (namespace.to_owned(), name.to_owned());
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        // Only then: a right that is dropped at once would take itself for the one that is held.
        places.insert(place.clone()).then(|| Creation {
            creations: self,
            place,
        })
    }
}

impl Drop for Creation<'_> {
    fn drop(&mut self) {
        let places = self.creations.places.lock();
        places
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_secret_is_made_by_one_at_a_time() {
        let creations = Creations::default();
        let first = creations.begin("shop", "db");
        assert!(first.is_some());
        assert!(creations.begin("shop", "db").is_none());
        assert!(creations.begin("store", "db").is_some());
        drop(first);
        assert!(creations.begin("shop", "db").is_some());
    }
}
