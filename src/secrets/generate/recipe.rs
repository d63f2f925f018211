//! Recipes: how the keys of one entry of `spec.generate` are made, and when they are made anew.
//!
//! | recipe | keys | made anew |
//! |---|---|---|
//! | random value | one | never |
//! | key pair | a private half, and a public one that is computed from it | never |
//! | certificate | certificate, private key, root | before it expires; when its names, usages or issuer change, unless that is in another secret |
//! | derived value | one | when one of its inputs or its parameters changes |
//!
//! What belongs to a private key is made from it when it is missing. The other way round there is no new private key
//! in the place of one that somebody still relies on: that is refused.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;

use super::authority::{Authorities, IssuerName, IssuerRef, Signer};
use super::certificate::{Authority, CertificatePolicy};
use super::derived::Derivation;
use super::pair::Pair;
use super::{Generator, GeneratorError};
use crate::api::managed_secret::{GENERATORS, Generate};
use crate::crypto::{Random, RandomError, SecretBytes};
use crate::secrets::value::SecretValue;

/// How the keys of one entry are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipe {
    /// A random value.
    Random(Generator),
    /// A key pair.
    Pair(Pair),
    /// A certificate with its private key.
    Certificate(Box<CertificatePolicy>),
    /// What follows from other keys.
    Derived(Derivation),
}

/// A recipe, and the key that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedGenerator {
    /// The key; of a pair the private half, of a certificate the certificate.
    pub key: String,
    /// How its value is made.
    pub recipe: Recipe,
}

/// Digests of what derived keys and certificates were made with, by key: SHA-256 in hexadecimal. They hold no value.
pub type Derivations = BTreeMap<String, String>;

/// The current version, as it is stored.
#[derive(Clone, Copy)]
pub struct Stored<'a> {
    /// Its value.
    pub value: &'a SecretValue,
    /// What its derived keys were made with.
    pub derivations: &'a Derivations,
}

/// Why the keys of an entry cannot be made. Every message names what to change, and never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    /// A random value.
    #[error(transparent)]
    Generator(#[from] GeneratorError),
    /// Not exactly one generator is named. The schema refuses it before.
    #[error("{count} generators are set; set exactly one of {}", GENERATORS.join(", "))]
    Choice {
        /// How many there are.
        count: usize,
    },
    /// A size that the algorithm does not have. The schema refuses it before.
    #[error("bits is {bits}, which the algorithm does not have")]
    Bits {
        /// The size given.
        bits: u32,
    },
    /// A structure that the algorithm does not have. The schema refuses it before.
    #[error("encoding Pkcs1 is for algorithm Rsa only, Sec1 for Ecdsa")]
    Encoding,
    /// AWS-LC made no key.
    #[error("no private key could be made")]
    KeyGeneration,
    /// There is no randomness.
    #[error("the source of randomness failed")]
    Random(#[source] RandomError),
    /// What belongs to a private key is there, and the private key is not.
    #[error(
        "key `{there}` is there, but not the private key `{private}` that belongs to it: none is made in its place; \
         remove `{there}` first, or name other keys"
    )]
    PrivateKeyMissing {
        /// What is there.
        there: String,
        /// What is missing.
        private: String,
    },
    /// The private key was not generated here, and cannot be read.
    #[error("key `{key}` holds no private key that could be read; remove it, or name another key")]
    PrivateKeyUnreadable {
        /// The key.
        key: String,
    },
    /// An input that the secret does not have.
    #[error("it needs key `{input}`, which the secret does not have")]
    UnknownInput {
        /// The key that it names.
        input: String,
    },
    /// It needs itself, directly or through others.
    #[error("it needs key `{input}`, which needs it in turn")]
    Cycle {
        /// The key that it names.
        input: String,
    },
    /// The issuer is no certificate with `isCA`.
    #[error("its issuer, key `{issuer}`, is not generated as a certificate with isCA: true")]
    NotAnAuthority {
        /// The key that it names.
        issuer: String,
    },
    /// The issuer's certificate or private key cannot be read, or it has expired.
    #[error("its issuer, key `{issuer}`, cannot sign: {problem}")]
    Issuer {
        /// The key that it names.
        issuer: String,
        /// Why.
        problem: &'static str,
    },
    /// An authority of another secret has to sign, and was not asked.
    #[error("it is to be signed anew by ManagedSecret `{secret}`")]
    SignedAnew {
        /// The secret that it names.
        secret: String,
    },
    /// An authority of another secret cannot sign.
    #[error("its issuer, ManagedSecret `{secret}`, cannot sign: {problem}")]
    IssuerNotReady {
        /// The secret that it names.
        secret: String,
        /// Why, and the remedy.
        problem: String,
    },
    /// A name that a certificate cannot have.
    #[error("{field} has an entry that a certificate cannot have, at position {position}")]
    CertificateName {
        /// The field.
        field: &'static str,
        /// The position, from 1.
        position: usize,
    },
    /// The certificate could not be made.
    #[error("the certificate could not be made")]
    Certificate,
    /// The keystore's library refused its content.
    #[error("the keystore could not be made of these certificates and this private key")]
    Keystore,
    /// A number outside of its bounds. The schema refuses it before.
    #[error("{field} is outside of its bounds")]
    Bounds {
        /// The field.
        field: &'static str,
    },
    /// An input that cannot be used.
    #[error("key `{input}` {problem}")]
    Input {
        /// The key that it names.
        input: String,
        /// What is wrong with it, and the remedy.
        problem: &'static str,
    },
}

/// What is at hand when the keys of an entry are made.
pub(in crate::secrets) struct Bench<'a> {
    /// Values to keep.
    pub(in crate::secrets) current: Option<&'a SecretValue>,
    /// The current version, if it is stored.
    pub(in crate::secrets) stored: Option<Stored<'a>>,
    /// The keys of the next version that are there already: every input is.
    pub(in crate::secrets) next: &'a SecretValue,
    /// The authorities of other secrets that were asked to sign.
    pub(in crate::secrets) issuers: &'a Authorities,
    /// The time.
    pub(in crate::secrets) now: Timestamp,
}

impl<'a> Bench<'a> {
    /// The value of a key that may be kept.
    pub(super) fn kept(&self, key: &str) -> Option<&'a [u8]> {
        self.current.and_then(|current| current.get(key))
    }

    /// The value of an input.
    pub(super) fn input(&self, key: &str) -> Result<&'a [u8], RecipeError> {
        self.next.get(key).ok_or_else(|| RecipeError::UnknownInput {
            input: key.to_owned(),
        })
    }

    /// An authority of another secret.
    pub(super) fn authority(&self, of: &IssuerRef) -> Result<&'a Signer, RecipeError> {
        let secret = || of.secret.clone();
        match self.issuers.get(of) {
            Some(Ok(signer)) => Ok(signer),
            Some(Err(problem)) => Err(RecipeError::IssuerNotReady {
                secret: secret(),
                problem: problem.clone(),
            }),
            None => Err(RecipeError::SignedAnew { secret: secret() }),
        }
    }

    /// Whether a key was made with the same parameters from the same inputs. What was taken over from a Secret has no
    /// digest, and counts as made with them.
    pub(super) fn is_made_with(&self, key: &str, digest: &str, inputs: &[String]) -> bool {
        let recorded = self.stored.map(|stored| stored.derivations.get(key));
        let before = self.stored.map(|stored| stored.value).or(self.current);
        let same =
            |input: &String| before.and_then(|value| value.get(input)) == self.next.get(input);
        recorded.is_none_or(|recorded| recorded.is_some_and(|recorded| recorded == digest))
            && inputs.iter().all(same)
    }
}

/// Keys with their values.
pub(in crate::secrets) type Made = Vec<(String, SecretBytes)>;

impl NamedGenerator {
    /// All keys that it fills, its own first.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let companions: Vec<&str> = match &self.recipe {
            Recipe::Random(_) | Recipe::Derived(_) => Vec::new(),
            Recipe::Pair(pair) => vec![&pair.public_key],
            Recipe::Certificate(policy) => vec![&policy.private_key, &policy.ca],
        };
        std::iter::once(self.key.as_str()).chain(companions)
    }

    /// The keys that it is made from; of its issuer's the certificate.
    pub(in crate::secrets) fn inputs(&self) -> Vec<String> {
        match &self.recipe {
            Recipe::Random(_) | Recipe::Pair(_) => Vec::new(),
            Recipe::Certificate(_) => self.issuer().map(str::to_owned).into_iter().collect(),
            Recipe::Derived(derivation) => derivation.inputs(),
        }
    }

    /// Refuses what no value could satisfy.
    pub fn validate(&self) -> Result<(), RecipeError> {
        match &self.recipe {
            Recipe::Random(generator) => Ok(generator.validate()?),
            Recipe::Pair(pair) => pair.validate(),
            Recipe::Certificate(policy) => policy.validate(),
            Recipe::Derived(derivation) => derivation.validate(),
        }
    }

    /// The digest of what it is made with, if that is recorded.
    pub fn digest(&self) -> Option<String> {
        match &self.recipe {
            Recipe::Random(_) | Recipe::Pair(_) => None,
            Recipe::Certificate(policy) => Some(policy.digest()),
            Recipe::Derived(derivation) => Some(derivation.digest()),
        }
    }

    /// Whether a key of its may have a value that was made elsewhere. What is made from others, and the public half of a pair, may not.
    pub fn takes(&self, key: &str) -> bool {
        self.key == key && matches!(self.recipe, Recipe::Random(_) | Recipe::Pair(_))
    }

    /// Whether a key of its is the public half of what it keeps under its own.
    pub fn is_public_half(&self, key: &str) -> bool {
        matches!(&self.recipe, Recipe::Pair(pair) if pair.public_key == key)
    }

    /// Whether making it takes long enough to keep others waiting.
    pub fn is_slow(&self) -> bool {
        !matches!(self.recipe, Recipe::Random(_))
    }

    /// The key of the same secret with the certificate that signs it, if it has one.
    pub(in crate::secrets) fn issuer(&self) -> Option<&str> {
        match &self.recipe {
            Recipe::Certificate(policy) => match &policy.issuer {
                Some(IssuerName::Key(key)) => Some(key),
                Some(IssuerName::Secret(_)) | None => None,
            },
            Recipe::Random(_) | Recipe::Pair(_) | Recipe::Derived(_) => None,
        }
    }

    /// The authority of another secret without which the next version cannot be made, if there is one. `current`: values to
    /// keep.
    pub fn needs_authority(
        &self,
        current: Option<&SecretValue>,
        stored: Option<Stored<'_>>,
        now: Timestamp,
    ) -> Option<&IssuerRef> {
        let Recipe::Certificate(policy) = &self.recipe else {
            return None;
        };
        let bench = Bench {
            current,
            stored,
            next: &SecretValue::new(),
            issuers: &Authorities::new(),
            now,
        };
        policy.needs_authority(&self.key, &bench)
    }

    /// Where its keys are, if it is a certificate that signs others.
    pub(in crate::secrets) fn authority(&self) -> Option<Authority<'_>> {
        match &self.recipe {
            Recipe::Certificate(policy) if policy.is_ca => Some(Authority {
                certificate: &self.key,
                private_key: &policy.private_key,
                root: &policy.ca,
            }),
            Recipe::Certificate(_) | Recipe::Random(_) | Recipe::Pair(_) | Recipe::Derived(_) => {
                None
            }
        }
    }

    /// All its keys, kept or made. `issuer`: where the keys of its issuer are.
    pub(in crate::secrets) fn fill(
        &self,
        bench: &Bench<'_>,
        issuer: Option<&Authority<'_>>,
        random: &mut dyn Random,
    ) -> Result<Made, RecipeError> {
        let only = |bytes| vec![(self.key.clone(), bytes)];
        match &self.recipe {
            Recipe::Random(generator) => match bench.kept(&self.key) {
                Some(kept) => Ok(only(SecretBytes::copy_of(kept))),
                None => Ok(only(generator.generate(random)?)),
            },
            Recipe::Pair(pair) => pair.fill(&self.key, bench),
            Recipe::Certificate(policy) => policy.fill(&self.key, bench, issuer, random),
            Recipe::Derived(derivation) => derivation.fill(&self.key, bench, random).map(only),
        }
    }
}

impl TryFrom<&Generate> for NamedGenerator {
    type Error = RecipeError;

    /// Refuses none and several generators, and what the schema would have refused.
    fn try_from(spec: &Generate) -> Result<Self, Self::Error> {
        let key = spec.key.as_str();
        let ssh = spec.ssh_key.as_ref().map(|ssh| Pair::ssh(key, ssh));
        let plain = spec.key_pair.as_ref().map(|pair| Pair::plain(key, pair));
        let certificate = spec.certificate.as_ref();
        let certificate = certificate.map(|spec| CertificatePolicy::new(key, spec));
        let mut recipes: Vec<Result<Recipe, RecipeError>> = Vec::new();
        recipes.extend(
            ssh.into_iter()
                .chain(plain)
                .map(|pair| pair.map(Recipe::Pair)),
        );
        recipes.extend(certificate.map(|policy| Ok(Recipe::Certificate(Box::new(policy?)))));
        recipes.extend(
            Generator::all_of(spec)
                .into_iter()
                .map(Recipe::Random)
                .map(Ok),
        );
        recipes.extend(
            Derivation::all_of(spec)
                .into_iter()
                .map(Recipe::Derived)
                .map(Ok),
        );
        match (recipes.len(), recipes.pop()) {
            (1, Some(recipe)) => Ok(Self {
                key: spec.key.clone(),
                recipe: recipe?,
            }),
            (count, _) => Err(RecipeError::Choice { count }),
        }
    }
}

#[cfg(test)]
#[path = "recipe_tests/mod.rs"]
mod tests;
