//! Which kind of material does what. Pure.

use super::EncryptionAlgorithm;
use crate::crypto::{KeyKind, MacAlgorithm, SigningAlgorithm};

/// What an operation needs of a key's material.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// To encrypt or decrypt with that algorithm.
    Encryption(EncryptionAlgorithm),
    /// To make or check codes with that algorithm.
    Mac(MacAlgorithm),
    /// To sign or verify with that algorithm.
    Signing(SigningAlgorithm),
    /// To have a public key.
    PublicKey,
    /// Nothing.
    Nothing,
}

impl Needs {
    /// Whether material of that kind has it.
    pub(super) fn met_by(self, kind: KeyKind) -> bool {
        match (self, kind) {
            (Self::Nothing, _)
            | (Self::Encryption(EncryptionAlgorithm::Symmetric), KeyKind::Symmetric)
            | (Self::Encryption(EncryptionAlgorithm::Oaep(_)), KeyKind::Decryption(_))
            | (Self::PublicKey, KeyKind::Decryption(_) | KeyKind::Signing(_)) => true,
            (Self::Mac(wanted), KeyKind::Mac(algorithm)) => wanted == algorithm,
            (Self::Signing(wanted), KeyKind::Signing(kind)) => kind.algorithms().contains(&wanted),
            (Self::Encryption(_) | Self::Mac(_) | Self::Signing(_) | Self::PublicKey, _) => false,
        }
    }
}
