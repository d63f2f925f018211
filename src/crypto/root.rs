//! The root key: 32 random bytes that wrap all material of an installation.

use std::{fmt, str::FromStr};

use super::{
    error::RandomError,
    ids::{IdError, read_hex, write_hex},
    kdf::{Extracted, ROOT_FINGERPRINT},
    random::Random,
    secret::SecretArray,
};

/// Names a root key without revealing anything of it; shown as 32 hexadecimal digits.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes, as they stand before wrapped material.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0, &[])
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        read_hex(text, &[]).map(Self)
    }
}

impl serde::Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The key that wraps all material.
#[derive(Debug, Eq, PartialEq)]
pub struct RootKey(SecretArray<32>);

impl RootKey {
    /// A fresh random root key.
    pub fn generate(random: &mut dyn Random) -> Result<Self, RandomError> {
        SecretArray::fill_with(|bytes| random.fill(bytes)).map(Self)
    }

    /// The root key with these bytes.
    pub fn from_secret(bytes: SecretArray<32>) -> Self {
        Self(bytes)
    }

    /// The key itself, for the provider that stores it.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// Its public name: 16 bytes of HKDF-SHA-512 without salt, under a label of its own.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut fingerprint = [0; 16];
        Extracted::new(&[], self.expose()).expand(&[ROOT_FINGERPRINT], &mut fingerprint);
        Fingerprint(fingerprint)
    }
}
