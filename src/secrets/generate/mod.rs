//! Generators: how keys of a secret get values that nobody has seen before.
//!
//! A [`Generator`] makes one random value. It is a policy and nothing else; randomness is given to it.
//! [`Generator::validate`] refuses a policy that no value could satisfy, naming the field and the remedy, so
//! that generating cannot fail later.
//!
//! A [`Recipe`] makes all keys of one entry of `spec.generate`: a random value, a key pair, a certificate, or what is
//! derived from other keys; and says when one is made anew.

mod authority;
mod certificate;
mod derived;
mod encoding;
mod keystore;
mod pair;
mod password;
mod private_key;
mod recipe;
mod spec;
mod ssh;

pub(in crate::secrets) use certificate::Authority;
pub(crate) use derived::scram;
pub(in crate::secrets) use recipe::Bench;

pub use authority::{Authorities, IssuerName, IssuerRef, Signer};
pub use certificate::{CertificateFacts, CertificatePolicy};
pub use derived::{Derivation, Text};
pub use pair::{Pair, PairForm};
pub use private_key::{Curve, KeyKind, RsaBits};
pub use recipe::{Derivations, NamedGenerator, Recipe, RecipeError, Stored};

pub use password::{DEFAULT_LENGTH, DEFAULT_SYMBOLS, PasswordPolicy};
pub use spec::DEFAULT_BYTES_LENGTH;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::api::managed_secret::{CharacterClass, Encoding};
use crate::crypto::{Random, RandomError, SecretBytes};
use crate::hex::Hex;

/// Longest password, in characters.
pub const MAX_PASSWORD_LENGTH: u32 = 4_096;
/// Most random bytes of one key. The longest encoding doubles them, so that a secret has room for
/// thirty such keys, and no algorithm takes a symmetric key anywhere near as long.
pub const MAX_BYTES_LENGTH: u32 = 4_096;

/// How the value of a key is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Generator {
    /// Characters from chosen classes.
    Password(PasswordPolicy),
    /// Random bytes, as they are or encoded.
    Bytes {
        /// Number of random bytes, before encoding: 1 to [`MAX_BYTES_LENGTH`].
        length: u32,
        /// How they are written.
        encoding: Encoding,
    },
    /// Random bytes in lower-case hexadecimal: twice as many characters.
    Hex {
        /// Number of random bytes: 1 to [`MAX_BYTES_LENGTH`].
        length: u32,
    },
    /// A random UUID (RFC 9562, version 4).
    Uuid,
}

/// Why a generator cannot work. Every message names the field and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GeneratorError {
    /// A length outside of its bounds.
    #[error("length is {length}; choose one from 1 to {limit}")]
    Length {
        /// The length given.
        length: u32,
        /// The greatest one allowed.
        limit: u32,
    },
    /// No class is chosen.
    #[error("classes is empty; name at least one of Lowercase, Uppercase, Digits, Symbols")]
    NoClasses,
    /// The password is too short to hold a character of each class.
    #[error(
        "length is {length}, too short for one character of each of {classes} classes; raise \
         length, take fewer classes or set requireEachClass to false"
    )]
    TooShort {
        /// The length given.
        length: u32,
        /// The number of classes.
        classes: usize,
    },
    /// No character of a required class is left.
    #[error(
        "exclude leaves no character of class {class:?}; exclude fewer, remove {class:?} from classes \
         or set requireEachClass to false"
    )]
    ClassExcluded {
        /// The class.
        class: CharacterClass,
    },
    /// The alphabet of the class `Symbols` is empty.
    #[error("symbols is empty; name at least one character or remove Symbols from classes")]
    NoSymbols,
    /// A character of `symbols` that is no printable ASCII punctuation.
    #[error("symbols may contain only printable ASCII punctuation; remove character {position}")]
    SymbolCharacter {
        /// Its position in the field, from 1.
        position: usize,
    },
    /// A character of `exclude` that is no printable ASCII.
    #[error("exclude may contain only printable ASCII characters; remove character {position}")]
    ExcludeCharacter {
        /// Its position in the field, from 1.
        position: usize,
    },
    /// Fewer than two characters to choose from, or only `-` to begin with.
    #[error(
        "exclude and classes leave fewer than two characters to choose from, or none that a \
         password may begin with (which `-` is not); exclude fewer or add a class"
    )]
    AlphabetTooSmall,
    /// There is no randomness.
    #[error("the source of randomness failed")]
    Random(#[source] RandomError),
    /// No candidate satisfied the policy. Impossible with sound randomness.
    #[error("no password satisfied the policy; the source of randomness is not sound")]
    Exhausted,
}

impl Generator {
    /// Refuses a policy that no value can satisfy.
    pub fn validate(&self) -> Result<(), GeneratorError> {
        match self {
            Self::Password(policy) => policy.validate(),
            Self::Bytes { length, .. } | Self::Hex { length } => {
                check_length(*length, MAX_BYTES_LENGTH)
            }
            Self::Uuid => Ok(()),
        }
    }

    /// Makes a new value. Fails only where [`validate`](Self::validate) does, or if `random`
    /// fails or is not random.
    pub fn generate(&self, random: &mut dyn Random) -> Result<SecretBytes, GeneratorError> {
        self.validate()?;
        match self {
            Self::Password(policy) => policy.generate(random),
            Self::Bytes { length, encoding } => bytes(*length, *encoding, random),
            Self::Hex { length } => bytes(*length, Encoding::Hex, random),
            Self::Uuid => uuid(random)
                .map(SecretBytes::from)
                .map_err(GeneratorError::Random),
        }
    }
}

/// SHA-256 of a description, in hexadecimal. An object's fields are sorted, so that equal ones have equal digests.
fn digest(description: &serde_json::Value) -> String {
    Hex(&Sha256::digest(description.to_string())).to_string()
}

fn check_length(length: u32, limit: u32) -> Result<(), GeneratorError> {
    if (1..=limit).contains(&length) {
        return Ok(());
    }
    Err(GeneratorError::Length { length, limit })
}

fn bytes(
    length: u32,
    encoding: Encoding,
    random: &mut dyn Random,
) -> Result<SecretBytes, GeneratorError> {
    let mut raw = SecretBytes::zeroed(length as usize);
    random
        .fill(raw.expose_mut())
        .map_err(GeneratorError::Random)?;
    Ok(match encoding {
        Encoding::Raw => raw,
        Encoding::Base64 | Encoding::Base64Url | Encoding::Base32 | Encoding::Hex => {
            encoding::encode(encoding, raw.expose())
        }
    })
}

/// A random UUID in its canonical text form (RFC 9562, section 5.4): 122 random bits.
pub(crate) fn uuid(random: &mut dyn Random) -> Result<String, RandomError> {
    let mut raw = Zeroizing::new([0_u8; 16]);
    random.fill(&mut *raw)?;
    raw[6] = (raw[6] & 0x0f) | 0x40;
    raw[8] = (raw[8] & 0x3f) | 0x80;
    let mut text = String::with_capacity(36);
    for (index, byte) in raw.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push(encoding::hex_digit(byte >> 4));
        text.push(encoding::hex_digit(byte & 0x0f));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
