//! Key pairs: made once; the public half is computed from the private one.

use super::private_key::{KeyKind, PrivateKey, Unreadable};
use super::recipe::{Bench, Made, RecipeError};
use super::ssh;
use crate::api::managed_secret::{
    KeyFormat, KeyPair, PrivateKeyAlgorithm, PrivateKeyEncoding, SshKey,
};
use crate::crypto::SecretBytes;

/// A key pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The algorithm and size.
    pub kind: KeyKind,
    /// How the halves are written.
    pub form: PairForm,
    /// The key that gets the public half.
    pub public_key: String,
}

/// How the halves of a key pair are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PairForm {
    /// As OpenSSH does, with a comment.
    Ssh {
        /// The comment.
        comment: String,
    },
    /// The private half in a structure of its own, the public one as `SubjectPublicKeyInfo`.
    Plain {
        /// The structure of the private half.
        encoding: PrivateKeyEncoding,
        /// How both are written.
        format: KeyFormat,
    },
}

impl Pair {
    pub(super) fn ssh(key: &str, spec: &SshKey) -> Result<Self, RecipeError> {
        let algorithm = spec.algorithm.unwrap_or(PrivateKeyAlgorithm::Ed25519);
        Ok(Self {
            kind: KeyKind::new(algorithm, spec.bits)?,
            form: PairForm::Ssh {
                comment: spec.comment.clone().unwrap_or_default(),
            },
            public_key: public_key(key, spec.public_key.as_ref()),
        })
    }

    pub(super) fn plain(key: &str, spec: &KeyPair) -> Result<Self, RecipeError> {
        Ok(Self {
            kind: KeyKind::new(spec.algorithm, spec.bits)?,
            form: PairForm::Plain {
                encoding: spec.encoding.unwrap_or_default(),
                format: spec.format.unwrap_or_default(),
            },
            public_key: public_key(key, spec.public_key.as_ref()),
        })
    }

    pub(super) fn validate(&self) -> Result<(), RecipeError> {
        match &self.form {
            PairForm::Ssh { .. } => Ok(()),
            PairForm::Plain { encoding, .. } => self.kind.check(*encoding),
        }
    }

    /// Both halves: kept, or the public one from the private one, or both made.
    pub(super) fn fill(&self, key: &str, bench: &Bench<'_>) -> Result<Made, RecipeError> {
        let (private, public) = match (bench.kept(key), bench.kept(&self.public_key)) {
            (Some(private), Some(public)) => {
                (SecretBytes::copy_of(private), SecretBytes::copy_of(public))
            }
            (Some(private), None) => (SecretBytes::copy_of(private), self.public_of(key, private)?),
            (None, Some(_)) => {
                return Err(RecipeError::PrivateKeyMissing {
                    there: self.public_key.clone(),
                    private: key.to_owned(),
                });
            }
            (None, None) => self.generate()?,
        };
        Ok(vec![
            (key.to_owned(), private),
            (self.public_key.clone(), public),
        ])
    }

    fn public_of(&self, key: &str, private: &[u8]) -> Result<SecretBytes, RecipeError> {
        let public = match &self.form {
            PairForm::Ssh { .. } => ssh::public_half(private),
            PairForm::Plain { format, .. } => {
                PrivateKey::read(private).map(|private| private.write_public(*format))
            }
        };
        public.map_err(|Unreadable| RecipeError::PrivateKeyUnreadable {
            key: key.to_owned(),
        })
    }

    fn generate(&self) -> Result<(SecretBytes, SecretBytes), RecipeError> {
        match &self.form {
            PairForm::Ssh { comment } => ssh::generate(self.kind, comment),
            PairForm::Plain { encoding, format } => {
                let key = PrivateKey::generate(self.kind)?;
                Ok((key.write(*encoding, *format), key.write_public(*format)))
            }
        }
    }
}

fn public_key(key: &str, named: Option<&String>) -> String {
    named.cloned().unwrap_or_else(|| format!("{key}.pub"))
}
