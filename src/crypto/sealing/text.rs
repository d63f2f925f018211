//! The text forms: of a public key, which people paste, and of a recipient, which messages carry.
//!
//! ```text
//! kssk1_ base64url( installation id 16 | public key 1216 | sealing key id 16 )
//! ```
//!
//! Without padding. The id follows from what is before it, so it is the checksum too: what was cut, or changed anywhere, is not
//! read.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use thiserror::Error;

use super::{
    Recipient, SealingPublicKey,
    keys::{PUBLIC_LENGTH, id_of},
};
use crate::crypto::ids::{IdError, InstallationId};

const PREFIX: &str = "kssk1_";
const LENGTH: usize = 16 + PUBLIC_LENGTH + 16;
/// Characters of base64 after the prefix.
const DIGITS: usize = LENGTH / 3 * 4;
const _: () = assert!(LENGTH.is_multiple_of(3));

/// Why a text is no sealing key.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SealingKeyError {
    /// It begins otherwise.
    #[error("a sealing key starts with {PREFIX}")]
    Prefix,
    /// A part is missing, or there is more.
    #[error("a sealing key has {expected} characters, and this has {length}")]
    Length {
        /// Characters of every sealing key.
        expected: usize,
        /// Characters given.
        length: usize,
    },
    /// Some character was changed.
    #[error("the sealing key was altered: its checksum is another")]
    Checksum,
}

impl fmt::Display for SealingPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [
            self.installation().as_bytes().as_slice(),
            self.as_bytes(),
            self.id().as_bytes(),
        ]
        .concat();
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for SealingPublicKey {
    type Err = SealingKeyError;

    /// Reads exactly what `Display` writes.
    fn from_str(text: &str) -> Result<Self, SealingKeyError> {
        let digits = text.strip_prefix(PREFIX).ok_or(SealingKeyError::Prefix)?;
        if digits.len() != DIGITS {
            return Err(SealingKeyError::Length {
                expected: PREFIX.len() + DIGITS,
                length: text.len(),
            });
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(digits)
            .map_err(|_| SealingKeyError::Checksum)?;
        read(&bytes).ok_or(SealingKeyError::Checksum)
    }
}

fn read(bytes: &[u8]) -> Option<SealingPublicKey> {
    let (installation, rest) = bytes.split_first_chunk()?;
    let (key, id) = rest.split_first_chunk::<PUBLIC_LENGTH>()?;
    let installation = InstallationId::from_bytes(*installation);
    if id_of(installation, key).as_bytes() != id {
        return None;
    }
    SealingPublicKey::new(installation, key).ok()
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.installation, self.key)
    }
}

impl FromStr for Recipient {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (installation, key) = text.split_once('/').ok_or(IdError)?;
        Ok(Self {
            installation: installation.parse()?,
            key: key.parse()?,
        })
    }
}
