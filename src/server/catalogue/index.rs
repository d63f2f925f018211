//! The entries, by their own names and by those of native Secrets. Pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::entry::Entry;

/// A namespace and a name.
pub(super) type Place = (Box<str>, Box<str>);

/// All entries.
#[derive(Debug, Default)]
pub(super) struct Index {
    namespaces: HashMap<Box<str>, Namespace>,
}

#[derive(Debug, Default)]
struct Namespace {
    secrets: HashMap<Box<str>, Arc<Entry>>,
    /// Those that stand behind a native Secret of that name.
    claims: HashMap<Box<str>, Vec<Arc<Entry>>>,
}

impl Index {
    /// The entry of that name.
    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Entry>> {
        self.namespaces.get(namespace)?.secrets.get(name)
    }

    /// The entry that stands behind that native Secret: the one that is delivered in it, else the oldest that asks for it.
    pub(super) fn by_target(&self, namespace: &str, name: &str) -> Option<&Arc<Entry>> {
        let claims = self.namespaces.get(namespace)?.claims.get(name)?;
        claims.iter().min_by_key(|entry| {
            let elsewhere = entry.delivered.as_deref() != Some(name);
            (elsewhere, entry.created, &entry.name)
        })
    }

    /// Puts an entry in the place of what was known before; whether that says anything else.
    pub(super) fn put(&mut self, entry: Entry) -> bool {
        if self.get(&entry.namespace, &entry.name).map(AsRef::as_ref) == Some(&entry) {
            return false;
        }
        self.remove(&entry.namespace, &entry.name);
        let entry = Arc::new(entry);
        let namespace = self.namespaces.entry(entry.namespace.clone()).or_default();
        for name in entry.names() {
            let claims = namespace.claims.entry(name.into()).or_default();
            claims.push(entry.clone());
        }
        namespace.secrets.insert(entry.name.clone(), entry);
        true
    }

    /// Takes an entry out; whether there was one.
    pub(super) fn remove(&mut self, namespace: &str, name: &str) -> bool {
        let Some(of) = self.namespaces.get_mut(namespace) else {
            return false;
        };
        let Some(entry) = of.secrets.remove(name) else {
            return false;
        };
        for claimed in entry.names() {
            if let Some(claims) = of.claims.get_mut(claimed) {
                claims.retain(|claim| claim.name != entry.name);
                if claims.is_empty() {
                    of.claims.remove(claimed);
                }
            }
        }
        if of.secrets.is_empty() {
            self.namespaces.remove(namespace);
        }
        true
    }

    /// Keeps only those of a list, which was one of that namespace or of all of them; whether any other was there.
    pub(super) fn keep(&mut self, place: Option<&str>, listed: &HashSet<Place>) -> bool {
        let namespaces = self.namespaces.iter();
        let listed_there =
            namespaces.filter(|(name, _)| place.is_none_or(|place| place == &***name));
        let gone: Vec<Place> = listed_there
            .flat_map(|(namespace, of)| {
                of.secrets
                    .keys()
                    .map(|name| (namespace.clone(), name.clone()))
            })
            .filter(|place| !listed.contains(place))
            .collect();
        for (namespace, name) in &gone {
            self.remove(namespace, name);
        }
        !gone.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::super::testing::watched;
    use super::*;

    fn entry(name: &str, target: &str, delivered: Option<&str>, created: i64) -> Entry {
        let status = match delivered {
            Some(name) => json!({"targetRef": {"name": name, "form": "Sealed"}}),
            None => json!({}),
        };
        let mut entry = Entry::of(watched(
            "shop",
            name,
            &json!({"target": {"name": target}}),
            &status,
        ))
        .unwrap();
        entry.created = Timestamp::from_second(created).unwrap();
        entry
    }

    fn behind(index: &Index, target: &str) -> Option<String> {
        index
            .by_target("shop", target)
            .map(|entry| entry.name.to_string())
    }

    #[test]
    fn of_several_that_claim_a_name_it_is_of_the_one_delivered_in_it_and_else_of_the_oldest() {
        let mut index = Index::default();
        assert!(index.put(entry("young", "db", None, 30)));
        assert!(index.put(entry("old", "db", None, 10)));
        assert_eq!(behind(&index, "db").as_deref(), Some("old"));
        assert!(index.put(entry("middle", "db", Some("db"), 20)));
        assert_eq!(behind(&index, "db").as_deref(), Some("middle"));
        assert!(index.remove("shop", "middle"));
        assert!(index.remove("shop", "old"));
        assert_eq!(behind(&index, "db").as_deref(), Some("young"));
        assert!(index.remove("shop", "young"));
        assert!(!index.remove("shop", "young"));
        assert!(index.namespaces.is_empty(), "nothing is left of it");
    }

    #[test]
    fn a_secret_that_moved_to_another_target_stands_behind_the_former_until_it_is_delivered() {
        let mut index = Index::default();
        index.put(entry("db", "one", Some("one"), 1));
        index.put(entry("db", "two", Some("one"), 1));
        assert_eq!(behind(&index, "one").as_deref(), Some("db"));
        assert_eq!(behind(&index, "two").as_deref(), Some("db"));
        index.put(entry("db", "two", Some("two"), 1));
        assert_eq!(behind(&index, "one"), None);
    }

    #[test]
    fn what_says_the_same_is_no_change() {
        let mut index = Index::default();
        assert!(index.put(entry("db", "db", None, 1)));
        assert!(!index.put(entry("db", "db", None, 1)));
        assert!(index.put(entry("db", "db", Some("db"), 1)));
    }

    #[test]
    fn what_is_not_listed_is_gone_from_what_was_listed_only() {
        let mut index = Index::default();
        let mut other = entry("b", "b", None, 1);
        other.namespace = "farm".into();
        index.put(entry("a", "a", None, 1));
        index.put(entry("c", "c", None, 1));
        index.put(other);
        let listed = HashSet::from([("shop".into(), "a".into())]);
        assert!(index.keep(Some("shop"), &listed));
        assert!(index.get("shop", "a").is_some() && index.get("shop", "c").is_none());
        assert!(index.get("farm", "b").is_some());
        assert!(!index.keep(Some("shop"), &listed));
        assert!(index.keep(None, &listed));
        assert!(index.get("farm", "b").is_none());
    }
}
