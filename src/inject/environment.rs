//! Variables that come from Secrets come from files instead.
//!
//! kubelet makes the environment of a container in one pass: the entries of `envFrom` in their order, then those of `env` in
//! theirs; the last one of a name wins, and one that is optional and finds nothing leaves what was there before. So an entry of
//! `envFrom` that names a sealed secret becomes one variable for each key, before the container's own `env`, and what an entry of
//! `envFrom` after it would have overridden is said by an optional reference to that key of that object: which keys it has
//! is not known here, and need not be.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMapKeySelector, Container, EnvFromSource, EnvVar, EnvVarSource, FileKeySelector,
    SecretEnvSource, SecretKeySelector,
};

use super::env::FILE_KEY;
use super::parts::{ENV_VOLUME, Files};
use super::record::{Expanded, Record};
use super::refusal::{Findings, shown};
use super::volumes::Managed;
use super::{KeyFacts, Known, Referred};
use crate::secrets::value::check_key_name;

/// Replaces the references of containers, and notes what they need.
pub(super) struct Environment<'a> {
    pub(super) known: &'a Known<'a>,
    pub(super) findings: &'a mut Findings,
    pub(super) record: &'a mut Record,
    pub(super) files: &'a mut Files,
}

impl Environment<'_> {
    /// Replaces those of one container.
    pub(super) fn replace(&mut self, at: &str, container: &mut Container) {
        let expected = expansions(container, self.record);
        let (mut expanded, mut own) = split(container.env.take().unwrap_or_default(), expected);
        expanded.extend(self.expand(at, container, &own));
        for variable in &mut own {
            self.replace_one(at, variable);
        }
        expanded.append(&mut own);
        container.env = Some(expanded).filter(|env| !env.is_empty());
    }

    fn replace_one(&mut self, at: &str, variable: &mut EnvVar) {
        let known = self.known;
        let Some(replaced) = replaced(variable, &|name| known.managed(name)) else {
            return;
        };
        let source = variable.value_from.as_ref();
        let Some((key, referred)) = source
            .and_then(|source| source.secret_key_ref.as_ref())
            .and_then(|key| Some((key, known.sealed(&key.name)?)))
        else {
            return;
        };
        let at = format!("{at}.env[{}]", shown(&variable.name));
        let optional = key.optional.unwrap_or_default();
        let facts = referred.keys.as_ref();
        match facts.map(|keys| keys.iter().find(|facts| facts.name == key.key)) {
            Some(Some(facts)) => self.check(&at, referred, facts),
            // The pod waits, as it does for a key that is not in a native Secret.
            Some(None) if !optional => {
                let (key, secret) = (shown(&key.key), &referred.secret);
                let warning = format!("{at}: ManagedSecret {secret} has no key {key} yet");
                self.findings.warn(warning);
            }
            Some(None) | None => {}
        }
        self.files.want(&referred.secret, &key.key, optional);
        let replacement = (key.name.clone(), referred.secret.clone());
        self.record.secrets.extend([replacement]);
        *variable = replaced;
    }

    /// Takes sealed secrets out of `envFrom`; what stands in their place.
    fn expand(&mut self, at: &str, container: &mut Container, own: &[EnvVar]) -> Vec<EnvVar> {
        let known = self.known;
        let sources = container.env_from.take().unwrap_or_default();
        let (sealed, rest): (Vec<_>, Vec<_>) = sources
            .iter()
            .enumerate()
            .partition(|(_, source)| Sealed::of(source, known).is_some());
        let sealed = sealed.into_iter();
        let sealed: Vec<_> = sealed
            .filter_map(|(index, source)| Some((index, Sealed::of(source, known)?)))
            .collect();
        let winners = self.winners(at, &sealed, own);
        let mut made = Vec::new();
        for (index, one) in sealed {
            let at = format!("{at}.envFrom[{index}]");
            let after = rest.partition_point(|(other, _)| *other < index);
            let mut expanded = one.expanded(after);
            let of_it = winners.iter().filter(|(_, (winner, _))| *winner == index);
            for (name, (_, facts)) in of_it {
                self.check(&at, one.referred, facts);
                self.files
                    .want(&one.referred.secret, &facts.name, expanded.optional);
                expanded.variables.push(name.clone());
            }
            let later: Vec<_> = rest[after..].iter().map(|(_, source)| *source).collect();
            made.extend(stand_ins(&expanded, &one.referred.secret, &later));
            let replacement = (expanded.name.clone(), one.referred.secret.clone());
            self.record.secrets.extend([replacement]);
            let of_container = self.record.env_from.entry(container.name.clone());
            of_container.or_default().push(expanded);
        }
        let rest: Vec<_> = rest.into_iter().map(|(_, source)| source.clone()).collect();
        container.env_from = Some(rest).filter(|rest| !rest.is_empty());
        made
    }

    /// Of each variable that sealed entries of an `envFrom` make and the container sees, the last of them that makes it.
    fn winners<'k>(
        &mut self,
        at: &str,
        sealed: &[(usize, Sealed<'k>)],
        own: &[EnvVar],
    ) -> BTreeMap<String, (usize, &'k KeyFacts)> {
        let mut variables = BTreeMap::new();
        for (index, one) in sealed {
            let Some(keys) = &one.referred.keys else {
                self.refuse_unknown_keys(&format!("{at}.envFrom[{index}]"), one.referred);
                continue;
            };
            for facts in keys {
                variables.insert(format!("{}{}", one.prefix, facts.name), (*index, facts));
            }
        }
        variables.retain(|name, _| !is_hidden(name, own));
        variables
    }

    fn check(&mut self, at: &str, referred: &Referred, facts: &KeyFacts) {
        let Some(reason) = facts.undeliverable else {
            return;
        };
        let secret = self.known.in_words(referred);
        self.findings.refuse(
            at,
            format!(
                "needs key {} of {secret}, whose value cannot be an environment variable, since {reason}",
                shown(&facts.name)
            ),
            "mount the secret as a volume, change the value, or set spec.target.form: Plain on it",
        );
    }

    fn refuse_unknown_keys(&mut self, at: &str, referred: &Referred) {
        let secret = self.known.in_words(referred);
        self.findings.refuse(
            at,
            format!("needs all keys of {secret}, which has no value yet"),
            "try again when it is Ready, as controllers do by themselves",
        );
    }
}

/// An entry of an `envFrom` that names a sealed secret.
#[derive(Clone, Copy)]
struct Sealed<'a> {
    /// What its variables begin with.
    prefix: &'a str,
    secret: &'a SecretEnvSource,
    referred: &'a Referred,
}

impl<'a> Sealed<'a> {
    fn of(source: &'a EnvFromSource, known: &'a Known<'_>) -> Option<Self> {
        // A source beside is refused by the API server, which must see it.
        let secret = source
            .secret_ref
            .as_ref()
            .filter(|_| source.config_map_ref.is_none())?;
        Some(Self {
            prefix: source.prefix.as_deref().unwrap_or_default(),
            secret,
            referred: known.sealed(&secret.name)?,
        })
    }

    /// What is recorded of it, without its variables.
    fn expanded(&self, after: usize) -> Expanded {
        Expanded {
            name: self.secret.name.clone(),
            prefix: self.prefix.to_owned(),
            optional: self.secret.optional.unwrap_or_default(),
            after,
            variables: Vec::new(),
        }
    }
}

/// What becomes of a variable; `None` if it does not come from a sealed secret.
pub(super) fn replaced(variable: &EnvVar, managed: &Managed<'_>) -> Option<EnvVar> {
    let source = variable.value_from.as_ref()?;
    let key = source.secret_key_ref.as_ref()?;
    let secret = managed(&key.name)?;
    let optional = key.optional.unwrap_or_default();
    let file = file_key((&secret, &key.key), optional);
    Some(EnvVar {
        // A source beside is refused by the API server, which must see it.
        value_from: Some(EnvVarSource {
            secret_key_ref: None,
            file_key_ref: Some(file),
            ..source.clone()
        }),
        ..variable.clone()
    })
}

/// The variables that may stand in the place of `envFrom` of a container, exactly as they were made.
pub(super) fn expansions(container: &Container, record: &Record) -> Vec<EnvVar> {
    let rest: Vec<_> = container.env_from.iter().flatten().collect();
    let mut all = Vec::new();
    for entry in record.expanded(container) {
        if let Some(secret) = record.managed(&entry.name) {
            let later = rest.get(entry.after..).unwrap_or_default();
            all.extend(stand_ins(entry, &secret, later));
        }
    }
    all
}

/// What the entries of an `envFrom` become again, and which stay; `None` if they are not those that were expanded.
pub(super) fn expanded_again(
    sources: &[EnvFromSource],
    expanded: &[Expanded],
    record: &Record,
) -> Option<(Vec<EnvVar>, Vec<EnvFromSource>)> {
    let is_sealed = |source: &EnvFromSource| expanded.iter().any(|entry| entry.is_of(source));
    let mut entries = expanded.iter();
    let (mut made, mut rest) = (Vec::new(), Vec::new());
    for (index, source) in sources.iter().enumerate() {
        if !is_sealed(source) {
            rest.push(source.clone());
            continue;
        }
        let entry = entries.next().filter(|entry| entry.is_of(source))?;
        let later = sources[index + 1..].iter();
        let later: Vec<_> = later.filter(|source| !is_sealed(source)).collect();
        made.extend(stand_ins(entry, &record.managed(&entry.name)?, &later));
    }
    entries.next().is_none().then_some((made, rest))
}

/// What stands in the place of one entry of an `envFrom`, which others come after.
fn stand_ins(entry: &Expanded, secret: &str, later: &[&EnvFromSource]) -> Vec<EnvVar> {
    let mut all = Vec::new();
    for name in &entry.variables {
        if let Some(key) = name.strip_prefix(&entry.prefix) {
            all.push(from_file(name, (secret, key), entry.optional));
            all.extend(later.iter().filter_map(|source| overriding(name, source)));
        }
    }
    all
}

/// Parts those variables, each where it is first, from the others.
pub(super) fn split(env: Vec<EnvVar>, mut expected: Vec<EnvVar>) -> (Vec<EnvVar>, Vec<EnvVar>) {
    env.into_iter().partition(|variable| {
        let found = expected.iter().position(|one| one == variable);
        found.map(|index| expected.remove(index)).is_some()
    })
}

fn from_file(name: &str, key: (&str, &str), optional: bool) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            file_key_ref: Some(file_key(key, optional)),
            ..EnvVarSource::default()
        }),
    }
}

fn file_key((secret, key): (&str, &str), optional: bool) -> FileKeySelector {
    FileKeySelector {
        key: FILE_KEY.to_owned(),
        // The API server writes what it is by default, so it is written from the start.
        optional: Some(optional),
        path: Files::path(secret, key),
        volume_name: ENV_VOLUME.to_owned(),
    }
}

/// A variable that takes the value of another entry of `envFrom`, if that has one of this name.
fn overriding(name: &str, source: &EnvFromSource) -> Option<EnvVar> {
    let prefix = source.prefix.as_deref().unwrap_or_default();
    let key = name
        .strip_prefix(prefix)
        .filter(|key| check_key_name(key).is_ok())?
        .to_owned();
    let config_map = source.config_map_ref.as_ref();
    let secret = source.secret_ref.as_ref();
    let value_from = EnvVarSource {
        config_map_key_ref: config_map.map(|map| ConfigMapKeySelector {
            key: key.clone(),
            name: map.name.clone(),
            optional: Some(true),
        }),
        secret_key_ref: secret.map(|secret| SecretKeySelector {
            key,
            name: secret.name.clone(),
            optional: Some(true),
        }),
        ..EnvVarSource::default()
    };
    Some(EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(value_from),
    })
}

/// Whether nobody sees a value of this name that comes from `envFrom`: the container's own `env` replaces it before it uses it.
fn is_hidden(name: &str, own: &[EnvVar]) -> bool {
    let reference = format!("$({name})");
    for variable in own {
        let value = variable.value.as_deref().unwrap_or_default();
        if value.contains(&reference) {
            return false;
        }
        if variable.name == name && is_certain(variable) {
            return true;
        }
    }
    false
}

/// Whether a variable has a value wherever the container starts.
fn is_certain(variable: &EnvVar) -> bool {
    let Some(source) = &variable.value_from else {
        return true;
    };
    let optional = [
        source
            .config_map_key_ref
            .as_ref()
            .and_then(|key| key.optional),
        source.secret_key_ref.as_ref().and_then(|key| key.optional),
        source.file_key_ref.as_ref().and_then(|key| key.optional),
    ];
    !optional.contains(&Some(true))
}
