//! Assembles the value of a secret's next version from everything its spec names.
//!
//! The rules, key by key:
//! - A generated key that the current version has is carried over byte for byte. No change of its
//!   policy, or of any other key, generates it anew. Certificates are made anew before they expire, and derived values
//!   when their inputs change: see [`NamedGenerator`].
//! - A literal is what the spec says now.
//! - An imported key that the current version has is kept: an import happens once.
//! - A stored key is what the current version has under it.
//! - A sealed key is what its entry says; an entry that was taken before is not opened again, and the current version's value kept.
//! - A key that the spec no longer names is not in the next version.
//! - A key that comes from two sources is refused, whatever their values are.
//!
//! All or nothing: an error leaves no half value, and nothing is generated before everything that
//! can be refused has been looked at.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::jiff::Timestamp;

use super::generate::{Authorities, Bench, Derivations, NamedGenerator, RecipeError, Stored};
use super::order::in_order;
use super::value::{KeyNameError, SecretValue, ValueError, check_key_name, shown};
use crate::crypto::{Random, SecretBytes};

/// A key that comes from another Secret.
pub struct ImportedKey<'a> {
    /// The key.
    pub key: &'a str,
    /// Name of the Secret that it comes from, for errors.
    pub secret: &'a str,
    /// What that Secret holds. `None` if it is not read any more (it was imported earlier, and may
    /// be gone): the current version must have the key then.
    pub bytes: Option<&'a [u8]>,
}

/// Which keys stay as the current version has them, and are written nowhere else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kept<'a> {
    /// None.
    #[default]
    Nothing,
    /// All that no other source names.
    Rest,
    /// These.
    Keys(&'a [String]),
}

/// A key that was sealed before it reached the resource.
pub struct SealedKey<'a> {
    /// The key.
    pub key: &'a str,
    /// What its entry says. `None` if that was taken before: the current version has the key then.
    pub bytes: Option<&'a [u8]>,
}

/// What the next version is assembled from.
pub struct Sources<'a> {
    /// The values to keep: those of the current version, if there is one, without what is to be imported anew.
    pub current: Option<&'a SecretValue>,
    /// The version that derived keys are compared with, as it is stored, if it is.
    pub previous: Option<Stored<'a>>,
    /// `spec.literals`.
    pub literals: &'a BTreeMap<String, String>,
    /// `spec.import`, with the keys of each source listed.
    pub imported: &'a [ImportedKey<'a>],
    /// `spec.sealed`.
    pub sealed: &'a [SealedKey<'a>],
    /// `spec.generate`.
    pub generators: &'a [NamedGenerator],
    /// The authorities of other secrets that were asked to sign certificates.
    pub issuers: &'a Authorities,
    /// `spec.stored`.
    pub stored: Kept<'a>,
}

/// Where a key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `spec.literals`.
    Literal,
    /// `spec.generate`.
    Generator,
    /// `spec.sealed`.
    Sealed,
    /// `spec.import`.
    Import {
        /// Name of the Secret.
        secret: String,
    },
    /// `spec.stored`.
    Stored,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal => f.write_str("literals"),
            Self::Generator => f.write_str("generate"),
            Self::Sealed => f.write_str("sealed"),
            Self::Import { secret } => write!(f, "import of `{secret}`"),
            Self::Stored => f.write_str("stored"),
        }
    }
}

/// The outcome of [`assemble`].
#[derive(Debug, PartialEq, Eq)]
pub enum Assembled {
    /// The next version would equal the current one: there is nothing to write.
    Unchanged,
    /// The value of a new version.
    Changed(SecretValue),
}

/// Why no next version can be assembled. Names keys and sources, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    /// One key, two sources.
    #[error("key `{key}` comes from two sources: {first} and {second}")]
    DuplicateKey {
        /// The key.
        key: String,
        /// The source named first.
        first: Source,
        /// The other one.
        second: Source,
    },
    /// The spec names no key at all.
    #[error("the secret has no keys: name at least one in generate, literals, import or sealed")]
    Empty,
    /// The name of a key is refused.
    #[error("key `{key}` from {source_of_key} is not allowed: {problem}")]
    KeyName {
        /// The name, shortened if it is very long.
        key: String,
        /// Where it is written.
        source_of_key: Source,
        /// The rule that it breaks.
        problem: KeyNameError,
    },
    /// An imported key is neither in the current version nor to be read.
    #[error("key `{key}` was to be imported from `{secret}`, which does not have it")]
    ImportMissing {
        /// The key.
        key: String,
        /// Name of the Secret.
        secret: String,
    },
    /// A key that is to stay as it is, and is not.
    #[error("key `{key}` is to stay as it is stored, and nothing is stored under it")]
    StoredMissing {
        /// The key.
        key: String,
    },
    /// A sealed key was taken before and is not in the current version.
    #[error("key `{key}` was taken from sealed before and is gone")]
    SealedMissing {
        /// The key.
        key: String,
    },
    /// A generator's policy is impossible, its inputs cannot be used, or its source of randomness is broken.
    #[error("key `{key}` cannot be generated")]
    Generate {
        /// The key.
        key: String,
        /// Why.
        #[source]
        source: RecipeError,
    },
    /// The value breaks a limit.
    #[error("the keys do not make a valid value")]
    Value(#[source] ValueError),
}

enum Origin<'a> {
    Literal(&'a str),
    Import(&'a ImportedKey<'a>),
    Sealed(&'a SealedKey<'a>),
    Generator,
    Stored,
}

impl Origin<'_> {
    fn source(&self) -> Source {
        match self {
            Self::Literal(_) => Source::Literal,
            Self::Sealed(_) => Source::Sealed,
            Self::Generator => Source::Generator,
            Self::Stored => Source::Stored,
            Self::Import(import) => Source::Import {
                secret: import.secret.to_owned(),
            },
        }
    }
}

/// Assembles the next version by the rules of this module.
///
/// `random` is used only for generated keys that the current version does not have, or that are made anew.
pub fn assemble(
    sources: &Sources<'_>,
    now: Timestamp,
    random: &mut dyn Random,
) -> Result<Assembled, AssembleError> {
    let origins = origins(sources)?;
    check(sources, &origins)?;
    let generators = in_order(sources.generators, |key| origins.contains_key(key))
        .map_err(|(key, source)| generate_error(key, source))?;
    let mut next = SecretValue::new();
    for (key, origin) in &origins {
        if let Some(bytes) = given(key, origin, sources.current)? {
            insert(&mut next, key, bytes)?;
        }
    }
    for (generator, issuer) in generators {
        let bench = Bench {
            current: sources.current,
            stored: sources.previous,
            next: &next,
            issuers: sources.issuers,
            now,
        };
        let made = generator
            .fill(&bench, issuer.as_ref(), random)
            .map_err(|source| generate_error(&generator.key, source))?;
        for (key, bytes) in made {
            insert(&mut next, &key, bytes)?;
        }
    }
    if sources.current == Some(&next) {
        return Ok(Assembled::Unchanged);
    }
    Ok(Assembled::Changed(next))
}

/// What the keys of the assembled version were made with, to be recorded with it.
pub fn derivations(generators: &[NamedGenerator]) -> Derivations {
    let digest = |named: &NamedGenerator| Some((named.key.clone(), named.digest()?));
    generators.iter().filter_map(digest).collect()
}

fn insert(value: &mut SecretValue, key: &str, bytes: SecretBytes) -> Result<(), AssembleError> {
    value
        .insert(key.to_owned(), bytes)
        .map_err(AssembleError::Value)
}

/// Every key with its one source.
fn origins<'a>(sources: &Sources<'a>) -> Result<BTreeMap<&'a str, Origin<'a>>, AssembleError> {
    let literals = sources
        .literals
        .iter()
        .map(|(key, text)| (key.as_str(), Origin::Literal(text)));
    let imports = sources
        .imported
        .iter()
        .map(|import| (import.key, Origin::Import(import)));
    let generators = sources
        .generators
        .iter()
        .flat_map(|named| named.keys().map(|key| (key, Origin::Generator)));
    let sealed = sources.sealed.iter();
    let sealed = sealed.map(|sealed| (sealed.key, Origin::Sealed(sealed)));
    let named = match sources.stored {
        Kept::Keys(keys) => keys,
        Kept::Nothing | Kept::Rest => &[],
    };
    let stored = named.iter().map(|key| (key.as_str(), Origin::Stored));
    let declared = generators.chain(literals).chain(imports);
    let mut origins = BTreeMap::new();
    for (key, origin) in declared.chain(sealed).chain(stored) {
        if let Err(problem) = check_key_name(key) {
            let source_of_key = origin.source();
            return Err(AssembleError::KeyName {
                key: shown(key),
                source_of_key,
                problem,
            });
        }
        let second = origin.source();
        if let Some(first) = origins.insert(key, origin) {
            let (key, first) = (key.to_owned(), first.source());
            return Err(AssembleError::DuplicateKey { key, first, second });
        }
    }
    if sources.stored == Kept::Rest {
        for key in sources.current.into_iter().flat_map(SecretValue::keys) {
            origins.entry(key).or_insert(Origin::Stored);
        }
    }
    if origins.is_empty() {
        return Err(AssembleError::Empty);
    }
    Ok(origins)
}

/// What can be refused before anything is generated. A policy is checked even if its key is carried
/// over, so that a mistake shows when it is made and not when the key is first generated again.
fn check(sources: &Sources<'_>, origins: &BTreeMap<&str, Origin<'_>>) -> Result<(), AssembleError> {
    for named in sources.generators {
        named
            .validate()
            .map_err(|source| generate_error(&named.key, source))?;
    }
    for (key, origin) in origins {
        let there = has(sources.current, key);
        match origin {
            Origin::Import(import) if !there && import.bytes.is_none() => {
                return Err(import_missing(import));
            }
            Origin::Sealed(sealed) if !there && sealed.bytes.is_none() => {
                return Err(sealed_missing(key));
            }
            Origin::Stored if !there => return Err(stored_missing(key)),
            Origin::Literal(_)
            | Origin::Import(_)
            | Origin::Sealed(_)
            | Origin::Generator
            | Origin::Stored => {}
        }
    }
    Ok(())
}

fn has(current: Option<&SecretValue>, key: &str) -> bool {
    current.is_some_and(|current| current.get(key).is_some())
}

fn stored_missing(key: &str) -> AssembleError {
    let key = key.to_owned();
    AssembleError::StoredMissing { key }
}

fn sealed_missing(key: &str) -> AssembleError {
    let key = key.to_owned();
    AssembleError::SealedMissing { key }
}

fn generate_error(key: &str, source: RecipeError) -> AssembleError {
    let key = key.to_owned();
    AssembleError::Generate { key, source }
}

fn import_missing(import: &ImportedKey<'_>) -> AssembleError {
    let (key, secret) = (import.key.to_owned(), import.secret.to_owned());
    AssembleError::ImportMissing { key, secret }
}

/// The value of a key that is not generated.
fn given(
    key: &str,
    origin: &Origin<'_>,
    current: Option<&SecretValue>,
) -> Result<Option<SecretBytes>, AssembleError> {
    let kept = current.and_then(|current| current.get(key));
    let bytes = match origin {
        Origin::Generator => return Ok(None),
        Origin::Literal(text) => text.as_bytes(),
        Origin::Stored => kept.ok_or_else(|| stored_missing(key))?,
        Origin::Sealed(sealed) => {
            let found = sealed.bytes.or(kept);
            found.ok_or_else(|| sealed_missing(key))?
        }
        Origin::Import(import) => {
            let found = kept.or(import.bytes);
            found.ok_or_else(|| import_missing(import))?
        }
    };
    Ok(Some(SecretBytes::copy_of(bytes)))
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
