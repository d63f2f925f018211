//! Who waits for what: so that a change of a key or of somebody's Secret wakes exactly the secrets that name
//! it, without a cache of everybody's Secrets.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// The index, kept up to date by each reconcile. There are several entries for each secret, so that every name is kept once.
#[derive(Debug, Default)]
pub struct References {
    index: Mutex<Index>,
}

/// A reference, or the place of a secret, as one shared text. No name has a slash in it.
type Name = Arc<str>;

#[derive(Debug, Default)]
struct Index {
    of: HashMap<Name, Box<[Name]>>,
    by: HashMap<Name, Those>,
    written: HashMap<Name, (Box<str>, Name)>,
    /// What is being written, for whom, and the states that watches told of meanwhile.
    writing: HashMap<Name, (Name, Vec<Box<str>>)>,
    /// Secrets for which something was written while somebody else wrote there, too.
    missed: HashSet<Name>,
}

/// A write that has begun, until it drops: its echo may come before its answer.
#[derive(Debug)]
pub(crate) struct Writing<'a> {
    references: &'a References,
    name: Option<Name>,
}

impl Writing<'_> {
    /// The write has led to that state. Whoever wrote another one meanwhile is news for the next look.
    pub(crate) fn done(mut self, resource_version: &str) {
        let Some(name) = self.name.take() else { return };
        let mut index = self.references.index();
        let Some((writer, seen)) = index.writing.remove(&name) else {
            return;
        };
        if seen.iter().any(|state| **state != *resource_version) {
            index.missed.insert(writer.clone());
        }
        index
            .written
            .insert(name, (resource_version.into(), writer));
    }
}

impl Drop for Writing<'_> {
    /// What failed is looked at again, whatever watches told of.
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            self.references.index().writing.remove(&name);
        }
    }
}

/// The secrets that refer to something: mostly one.
#[derive(Debug)]
enum Those {
    One(Name),
    Many(HashSet<Name>),
}

impl References {
    /// Says what `secret` refers to now, in place of what it referred to before.
    pub fn set(&self, secret: &ObjectRef<ManagedSecret>, references: &HashSet<Reference>) {
        let place = place_of(secret);
        let mut index = self.index();
        let (place, before) = index
            .of
            .remove_entry(place.as_str())
            .unwrap_or_else(|| (place.into(), Box::default()));
        let now: HashSet<String> = references.iter().map(Reference::text).collect();
        for gone in before.iter().filter(|known| !now.contains(&***known)) {
            index.forget(gone, &place);
        }
        let names = now.into_iter().map(|text| {
            let known = before.iter().find(|known| ***known == *text).cloned();
            known.unwrap_or_else(|| index.add(text, &place))
        });
        let names: Box<[_]> = names.collect();
        if names.is_empty() {
            index.missed.remove(&place);
        } else {
            index.of.insert(place, names);
        }
    }

    /// The secrets that refer to that.
    pub fn to(&self, reference: &Reference) -> Vec<ObjectRef<ManagedSecret>> {
        let index = self.index();
        let those = index.by.get(reference.text().as_str());
        those.into_iter().flat_map(Those::objects).collect()
    }

    /// Whether some secret refers to that.
    pub fn has(&self, reference: &Reference) -> bool {
        self.index().by.contains_key(reference.text().as_str())
    }

    /// The secrets that refer to anything like that; a secret that refers to several things may be there more than once.
    pub fn to_any(&self, like: impl Fn(&Reference) -> bool) -> Vec<ObjectRef<ManagedSecret>> {
        let index = self.index();
        let is_like = |text: &str| Reference::read(text).is_some_and(|reference| like(&reference));
        let found = index.by.iter().filter(|(text, _)| is_like(text));
        found.flat_map(|(_, those)| those.objects()).collect()
    }

    /// To be said before something is written for a secret, so that its echo does not wake that one.
    pub(crate) fn writing(
        &self,
        reference: &Reference,
        writer: &ObjectRef<ManagedSecret>,
    ) -> Writing<'_> {
        let (text, place) = (reference.text(), place_of(writer));
        let mut index = self.index();
        let known = index.by.get_key_value(text.as_str());
        let name = known.map(|(name, _)| name.clone());
        if let Some(name) = &name {
            let known = index.of.get_key_value(place.as_str());
            let writer = known.map_or_else(|| place.into(), |(place, _)| place.clone());
            index.writing.insert(name.clone(), (writer, Vec::new()));
        }
        Writing {
            references: self,
            name,
        }
    }

    /// The secret that this state was written for, as far as is known; while something is being written for it, that is not known,
    /// and `has_missed` tells of it in the end. To all others it is news.
    pub fn writer(
        &self,
        reference: &Reference,
        resource_version: Option<&str>,
    ) -> Option<ObjectRef<ManagedSecret>> {
        let (text, state) = (reference.text(), resource_version?);
        let mut index = self.index();
        if let Some((writer, seen)) = index.writing.get_mut(text.as_str()) {
            seen.push(state.into());
            return Some(object_at(writer));
        }
        let (written, writer) = index.written.get(text.as_str())?;
        (**written == *state).then(|| object_at(writer))
    }

    /// Whether somebody else wrote where something was written for that secret, which it was not woken for.
    pub(crate) fn has_missed(&self, secret: &ObjectRef<ManagedSecret>) -> bool {
        self.index().missed.remove(place_of(secret).as_str())
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    /// That secret refers to it from now on.
    fn add(&mut self, text: String, secret: &Name) -> Name {
        let known = self.by.get_key_value(text.as_str());
        let name = known.map_or_else(|| text.into(), |(name, _)| name.clone());
        match self.by.entry(name.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(Those::One(secret.clone()));
            }
            Entry::Occupied(mut entry) => entry.get_mut().add(secret),
        }
        name
    }

    /// That secret does not refer to it any more.
    fn forget(&mut self, name: &Name, secret: &Name) {
        let Entry::Occupied(mut entry) = self.by.entry(name.clone()) else {
            return;
        };
        if entry.get_mut().is_empty_without(secret) {
            entry.remove();
            self.written.remove(name);
        }
    }
}

impl Those {
    fn add(&mut self, secret: &Name) {
        match self {
            Self::One(known) if known == secret => {}
            Self::One(known) => {
                let both = HashSet::from([known.clone(), secret.clone()]);
                *self = Self::Many(both);
            }
            Self::Many(known) => {
                known.insert(secret.clone());
            }
        }
    }

    /// Takes a secret out; whether none is left.
    fn is_empty_without(&mut self, secret: &Name) -> bool {
        match self {
            Self::One(known) => known == secret,
            Self::Many(known) => {
                known.remove(secret);
                known.is_empty()
            }
        }
    }

    fn objects(&self) -> Vec<ObjectRef<ManagedSecret>> {
        match self {
            Self::One(secret) => vec![object_at(secret)],
            Self::Many(secrets) => secrets.iter().map(|secret| object_at(secret)).collect(),
        }
    }
}

impl Reference {
    fn text(&self) -> String {
        match self {
            Self::Key(namespace, name) => format!("key/{namespace}/{name}"),
            Self::Alias(namespace, name) => format!("alias/{namespace}/{name}"),
            Self::Secret(namespace, name) => format!("secret/{namespace}/{name}"),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let (kind, place) = text.split_once('/')?;
        let (namespace, name) = place.split_once('/')?;
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        match kind {
            "key" => Some(Self::Key(namespace, name)),
            "alias" => Some(Self::Alias(namespace, name)),
            "secret" => Some(Self::Secret(namespace, name)),
            _ => None,
        }
    }
}

fn place_of(secret: &ObjectRef<ManagedSecret>) -> String {
    let namespace = secret.namespace.as_deref().unwrap_or_default();
    format!("{namespace}/{}", secret.name)
}

fn object_at(place: &str) -> ObjectRef<ManagedSecret> {
    let (namespace, name) = place.split_once('/').unwrap_or_default();
    ObjectRef::new(name).within(namespace)
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
        references.set(&secret("a"), &HashSet::from([key("one")]));
        references.set(&secret("b"), &HashSet::from([key("two")]));
        assert_eq!(references.to(&key("one")), [secret("a")]);
        references.set(&secret("a"), &HashSet::from([key("two")]));
        assert!(references.to(&key("one")).is_empty());
        assert_eq!(references.to(&key("two")).len(), 2);
        references.set(&secret("a"), &HashSet::new());
        assert_eq!(references.to(&key("two")), [secret("b")]);
        references.set(&secret("b"), &HashSet::new());
        assert!(!references.has(&key("two")));
        let index = references.index();
        assert!(index.of.is_empty() && index.by.is_empty() && index.written.is_empty());
    }

    #[test]
    fn a_reference_survives_its_form_as_text() {
        let named = |new: fn(String, String) -> Reference| new("shop".into(), "a.b".into());
        for new in [Reference::Key, Reference::Alias, Reference::Secret] {
            assert_eq!(Reference::read(&named(new).text()), Some(named(new)));
        }
    }

    #[test]
    fn what_is_like_what_was_asked_is_found_whatever_refers_to_it() {
        let references = References::default();
        let native = |name: &str| Reference::Secret("shop".into(), name.into());
        references.set(&secret("a"), &HashSet::from([key("one"), native("one")]));
        references.set(&secret("b"), &HashSet::from([native("two")]));
        let found = references.to_any(|it| matches!(it, Reference::Secret(..)));
        assert_eq!(found.len(), 2);
        assert_eq!(references.to_any(|it| *it == key("one")), [secret("a")]);
    }

    #[test]
    fn only_the_last_write_is_an_echo_and_only_to_its_writer() {
        let references = References::default();
        references.set(&secret("a"), &HashSet::from([key("one")]));
        references.writing(&key("one"), &secret("a")).done("7");
        assert_eq!(references.writer(&key("one"), Some("7")), Some(secret("a")));
        assert_eq!(references.writer(&key("one"), Some("8")), None);
        assert_eq!(references.writer(&key("one"), None), None);
        assert!(!references.has_missed(&secret("a")));
    }

    #[test]
    fn an_echo_that_comes_before_the_answer_wakes_nobody_and_what_others_wrote_then_is_not_lost() {
        let references = References::default();
        references.set(&secret("a"), &HashSet::from([key("one")]));
        let writing = references.writing(&key("one"), &secret("a"));
        assert_eq!(references.writer(&key("one"), Some("7")), Some(secret("a")));
        writing.done("7");
        assert!(!references.has_missed(&secret("a")));
        let writing = references.writing(&key("one"), &secret("a"));
        assert_eq!(references.writer(&key("one"), Some("8")), Some(secret("a")));
        assert_eq!(references.writer(&key("one"), Some("9")), Some(secret("a")));
        writing.done("9");
        assert!(references.has_missed(&secret("a")));
        assert!(!references.has_missed(&secret("a")), "told once");
        drop(references.writing(&key("one"), &secret("a")));
        assert_eq!(
            references.writer(&key("one"), Some("10")),
            None,
            "it failed"
        );
    }
}
