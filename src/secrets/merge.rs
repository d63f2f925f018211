//! Assembles the value of a secret's next version from everything its spec names.
//!
//! The rules, key by key:
//! - A generated key that the current version has is carried over byte for byte. No change of its
//!   policy, or of any other key, generates it anew.
//! - A literal is what the spec says now.
//! - An imported key that the current version has is kept: an import happens once.
//! - A sealed key is what its entry says; an entry that was taken before is not opened again, and the current version's value kept.
//! - A key that the spec no longer names is not in the next version.
//! - A key that comes from two sources is refused, whatever their values are.
//!
//! All or nothing: an error leaves no half value, and nothing is generated before everything that
//! can be refused has been looked at.

use std::collections::BTreeMap;
use std::fmt;

use super::generate::{Generator, GeneratorError};
use super::value::{KeyNameError, SecretValue, ValueError, check_key_name, shown};
use crate::api::managed_secret::Generate;
use crate::crypto::{Random, SecretBytes};

/// A generator and the key that it fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedGenerator {
    /// The key.
    pub key: String,
    /// How its value is made, once.
    pub generator: Generator,
}

impl TryFrom<&Generate> for NamedGenerator {
    type Error = AssembleError;

    /// Fails, with the error that [`assemble`] would give, if not exactly one generator is named.
    fn try_from(spec: &Generate) -> Result<Self, Self::Error> {
        let generator =
            Generator::try_from(spec).map_err(|source| generate_error(&spec.key, source))?;
        Ok(Self {
            key: spec.key.clone(),
            generator,
        })
    }
}

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

/// A key that was sealed before it reached the resource.
pub struct SealedKey<'a> {
    /// The key.
    pub key: &'a str,
    /// What its entry says. `None` if that was taken before: the current version has the key then.
    pub bytes: Option<&'a [u8]>,
}

/// What the next version is assembled from.
pub struct Sources<'a> {
    /// The value of the current version, if there is one.
    pub current: Option<&'a SecretValue>,
    /// `spec.literals`.
    pub literals: &'a BTreeMap<String, String>,
    /// `spec.import`, with the keys of each source listed.
    pub imported: &'a [ImportedKey<'a>],
    /// `spec.sealed`.
    pub sealed: &'a [SealedKey<'a>],
    /// `spec.generate`.
    pub generators: &'a [NamedGenerator],
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
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal => f.write_str("literals"),
            Self::Generator => f.write_str("generate"),
            Self::Sealed => f.write_str("sealed"),
            Self::Import { secret } => write!(f, "import of `{secret}`"),
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
    /// A sealed key was taken before and is not in the current version.
    #[error("key `{key}` was taken from sealed before and is gone")]
    SealedMissing {
        /// The key.
        key: String,
    },
    /// A generator's policy is impossible, or its source of randomness is broken.
    #[error("key `{key}` cannot be generated")]
    Generate {
        /// The key.
        key: String,
        /// Why.
        #[source]
        source: GeneratorError,
    },
    /// The value breaks a limit.
    #[error("the keys do not make a valid value")]
    Value(#[source] ValueError),
}

enum Origin<'a> {
    Literal(&'a str),
    Import(&'a ImportedKey<'a>),
    Sealed(&'a SealedKey<'a>),
    Generator(&'a Generator),
}

impl Origin<'_> {
    fn source(&self) -> Source {
        match self {
            Self::Literal(_) => Source::Literal,
            Self::Generator(_) => Source::Generator,
            Self::Sealed(_) => Source::Sealed,
            Self::Import(import) => Source::Import {
                secret: import.secret.to_owned(),
            },
        }
    }
}

/// Assembles the next version by the rules of this module.
///
/// `random` is used only for generated keys that the current version does not have.
pub fn assemble(
    sources: &Sources<'_>,
    random: &mut dyn Random,
) -> Result<Assembled, AssembleError> {
    let origins = origins(sources)?;
    check(sources.current, &origins)?;
    let mut next = SecretValue::new();
    for (key, origin) in &origins {
        let bytes = bytes_of(key, origin, sources.current, random)?;
        next.insert((*key).to_owned(), bytes)
            .map_err(AssembleError::Value)?;
    }
    if sources.current == Some(&next) {
        return Ok(Assembled::Unchanged);
    }
    Ok(Assembled::Changed(next))
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
        .map(|named| (named.key.as_str(), Origin::Generator(&named.generator)));
    let sealed = sources
        .sealed
        .iter()
        .map(|sealed| (sealed.key, Origin::Sealed(sealed)));
    let mut origins = BTreeMap::new();
    for (key, origin) in generators.chain(literals).chain(imports).chain(sealed) {
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
    if origins.is_empty() {
        return Err(AssembleError::Empty);
    }
    Ok(origins)
}

/// What can be refused before anything is generated. A policy is checked even if its key is carried
/// over, so that a mistake shows when it is made and not when the key is first generated again.
fn check(
    current: Option<&SecretValue>,
    origins: &BTreeMap<&str, Origin<'_>>,
) -> Result<(), AssembleError> {
    for (key, origin) in origins {
        match origin {
            Origin::Literal(_) => {}
            Origin::Sealed(sealed) => {
                let kept = current.is_some_and(|current| current.get(key).is_some());
                if !kept && sealed.bytes.is_none() {
                    let key = (*key).to_owned();
                    return Err(AssembleError::SealedMissing { key });
                }
            }
            Origin::Generator(generator) => generator
                .validate()
                .map_err(|source| generate_error(key, source))?,
            Origin::Import(import) => {
                let kept = current.is_some_and(|current| current.get(key).is_some());
                if !kept && import.bytes.is_none() {
                    let (key, secret) = ((*key).to_owned(), import.secret.to_owned());
                    return Err(AssembleError::ImportMissing { key, secret });
                }
            }
        }
    }
    Ok(())
}

fn generate_error(key: &str, source: GeneratorError) -> AssembleError {
    let key = key.to_owned();
    AssembleError::Generate { key, source }
}

fn bytes_of(
    key: &str,
    origin: &Origin<'_>,
    current: Option<&SecretValue>,
    random: &mut dyn Random,
) -> Result<SecretBytes, AssembleError> {
    let kept = current.and_then(|current| current.get(key));
    match (origin, kept) {
        (Origin::Literal(text), _) => Ok(SecretBytes::copy_of(text.as_bytes())),
        (Origin::Sealed(sealed), kept) => {
            let bytes = sealed.bytes.or(kept);
            bytes.map(SecretBytes::copy_of).ok_or_else(|| {
                let key = key.to_owned();
                AssembleError::SealedMissing { key }
            })
        }
        (Origin::Generator(_) | Origin::Import(_), Some(kept)) => Ok(SecretBytes::copy_of(kept)),
        (Origin::Generator(generator), None) => generator
            .generate(random)
            .map_err(|source| generate_error(key, source)),
        (Origin::Import(import), None) => import.bytes.map(SecretBytes::copy_of).ok_or_else(|| {
            let (key, secret) = (key.to_owned(), import.secret.to_owned());
            AssembleError::ImportMissing { key, secret }
        }),
    }
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
