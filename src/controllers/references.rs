//! Who waits for what: so that a change of a key or of somebody's Secret wakes exactly the secrets that name
//! it, without a cache of everybody's Secrets.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use kube::runtime::reflector::ObjectRef;

use crate::api::ManagedSecret;

/// Something that a secret refers to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// A `ManagedKey`, by namespace and name.
    Key(String, String),
    /// A `KeyAlias`, by namespace and name.
    Alias(String, String),
    /// A native Secret, by namespace and name.
    Secret(String, String),
}

/// The index, kept up to date by each reconcile.
#[derive(Debug, Default)]
pub struct References {
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    of: HashMap<ObjectRef<ManagedSecret>, HashSet<Reference>>,
    by: HashMap<Reference, HashSet<ObjectRef<ManagedSecret>>>,
    written: HashMap<Reference, (String, ObjectRef<ManagedSecret>)>,
}

impl References {
    /// Says what `secret` refers to now, in place of what it referred to before.
    pub fn set(&self, secret: &ObjectRef<ManagedSecret>, references: HashSet<Reference>) {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let before = index.of.remove(secret).unwrap_or_default();
        for gone in before.difference(&references) {
            if let Some(secrets) = index.by.get_mut(gone) {
                secrets.remove(secret);
                if secrets.is_empty() {
                    index.by.remove(gone);
                    index.written.remove(gone);
                }
            }
        }
        for new in references.difference(&before) {
            index
                .by
                .entry(new.clone())
                .or_default()
                .insert(secret.clone());
        }
        if !references.is_empty() {
            index.of.insert(secret.clone(), references);
        }
    }

    /// The secrets that refer to that.
    pub fn to(&self, reference: &Reference) -> Vec<ObjectRef<ManagedSecret>> {
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        index
            .by
            .get(reference)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// Whether some secret refers to that.
    pub fn has(&self, reference: &Reference) -> bool {
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        index.by.contains_key(reference)
    }

    /// The secrets that refer to anything like that; a secret that refers to several things may be there more than once.
    pub fn to_any(&self, like: impl Fn(&Reference) -> bool) -> Vec<ObjectRef<ManagedSecret>> {
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let found = index.by.iter().filter(|(reference, _)| like(reference));
        found.flat_map(|(_, secrets)| secrets).cloned().collect()
    }

    /// Remembers the state that was written for a secret, so that its echo does not wake that one.
    pub fn wrote(
        &self,
        reference: Reference,
        resource_version: String,
        writer: ObjectRef<ManagedSecret>,
    ) {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if index.by.contains_key(&reference) {
            index.written.insert(reference, (resource_version, writer));
        }
    }

    /// The secret that this state was written for. To all others it is news.
    pub fn writer(
        &self,
        reference: &Reference,
        resource_version: Option<&str>,
    ) -> Option<ObjectRef<ManagedSecret>> {
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let (written, writer) = index.written.get(reference)?;
        (Some(written.as_str()) == resource_version).then(|| writer.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(name: &str) -> ObjectRef<ManagedSecret> {
        ObjectRef::new(name).within("shop")
    }

    fn key(name: &str) -> Reference {
        Reference::Key("shop".into(), name.into())
    }

    #[test]
    fn a_change_wakes_those_who_refer_to_it_and_no_others() {
        let references = References::default();
        references.set(&secret("a"), HashSet::from([key("one")]));
        references.set(&secret("b"), HashSet::from([key("two")]));
        assert_eq!(references.to(&key("one")), [secret("a")]);
        references.set(&secret("a"), HashSet::from([key("two")]));
        assert!(references.to(&key("one")).is_empty());
        assert_eq!(references.to(&key("two")).len(), 2);
        references.set(&secret("a"), HashSet::new());
        assert_eq!(references.to(&key("two")), [secret("b")]);
    }

    #[test]
    fn only_the_last_write_is_an_echo_and_only_to_its_writer() {
        let references = References::default();
        references.set(&secret("a"), HashSet::from([key("one")]));
        references.wrote(key("one"), "7".into(), secret("a"));
        assert_eq!(references.writer(&key("one"), Some("7")), Some(secret("a")));
        assert_eq!(references.writer(&key("one"), Some("8")), None);
        assert_eq!(references.writer(&key("one"), None), None);
    }
}
