//! The material of a key of any kind, ready for use.

use super::{
    algorithm::KeyKind,
    error::{KeyError, RandomError},
    key_pair::{DecryptionKey, SigningKey},
    mac::MacKey,
    material::Material,
    random::Random,
    secret::{SecretArray, SecretBytes},
};

/// Material, by what it is for. At rest it is bytes: the key itself, or a key pair in PKCS#8.
#[derive(Debug)]
pub enum SecretKey {
    /// It encrypts, and wraps data keys.
    Symmetric(Material),
    /// It authenticates messages.
    Mac(MacKey),
    /// It decrypts what was encrypted with its public key.
    Decryption(DecryptionKey),
    /// It signs.
    Signing(SigningKey),
}

impl SecretKey {
    /// Fresh material of that kind, as it is at rest. Key pairs come from AWS-LC's own generator; RSA takes up to seconds.
    pub fn generate(kind: KeyKind, random: &mut dyn Random) -> Result<SecretBytes, RandomError> {
        let length = match kind {
            KeyKind::Symmetric => Material::LENGTH,
            KeyKind::Mac(algorithm) => algorithm.length(),
            KeyKind::Decryption(size) => return DecryptionKey::generate(size),
            KeyKind::Signing(kind) => return SigningKey::generate(kind),
        };
        let mut bytes = SecretBytes::zeroed(length);
        random.fill(bytes.expose_mut())?;
        Ok(bytes)
    }

    /// Material of that kind from what it is at rest.
    ///
    /// # Errors
    /// The bytes are no such key.
    pub fn from_bytes(kind: KeyKind, bytes: &SecretBytes) -> Result<Self, KeyError> {
        match kind {
            KeyKind::Symmetric => SecretArray::from_slice(bytes.expose())
                .map(|bytes| Self::Symmetric(Material::from_secret(bytes)))
                .ok_or(KeyError),
            KeyKind::Mac(algorithm) => MacKey::from_bytes(algorithm, bytes).map(Self::Mac),
            KeyKind::Decryption(size) => {
                DecryptionKey::from_pkcs8(size, bytes).map(Self::Decryption)
            }
            KeyKind::Signing(kind) => SigningKey::from_pkcs8(kind, bytes).map(Self::Signing),
        }
    }

    /// What encrypts, and wraps data keys.
    pub fn symmetric(&self) -> Option<&Material> {
        match self {
            Self::Symmetric(material) => Some(material),
            Self::Mac(_) | Self::Decryption(_) | Self::Signing(_) => None,
        }
    }

    /// The public key of a key pair: a `SubjectPublicKeyInfo` in DER (RFC 5280).
    pub fn public_key(&self) -> Option<&[u8]> {
        match self {
            Self::Symmetric(_) | Self::Mac(_) => None,
            Self::Decryption(key) => Some(key.public_key()),
            Self::Signing(key) => Some(key.public_key()),
        }
    }
}
