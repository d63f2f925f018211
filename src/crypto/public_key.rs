//! The public half of a key pair: verifies, or encrypts.

use aws_lc_rs::{
    digest::Digest,
    rsa::{OaepPublicEncryptingKey, PublicEncryptingKey},
    signature::ParsedPublicKey,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    algorithm::{OaepAlgorithm, RsaSize, SigningAlgorithm, SigningKind},
    error::{KeyError, SealError, SignError},
};

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub enum Message<'a> {
    /// The message itself (`RAW` in AWS KMS).
    Raw(&'a [u8]),
    /// The message's hash (`DIGEST`).
    Digest(&'a [u8]),
}

impl<'a> Message<'a> {
    /// What the algorithm works on.
    pub(super) fn prepare(self, algorithm: SigningAlgorithm) -> Result<Prepared<'a>, SignError> {
        let given = match self {
            Self::Raw(message) => return Ok(Prepared::Message(message)),
            Self::Digest(digest) => digest,
        };
        let hash = algorithm.digest().ok_or(SignError::NoDigest)?;
        let expected = hash.output_len();
        let length = given.len();
        let digest = Digest::import_less_safe(given, hash);
        digest
            .map(Prepared::Digest)
            .map_err(|_| SignError::DigestLength { expected, length })
    }
}

/// A message of the right form.
pub(super) enum Prepared<'a> {
    Message(&'a [u8]),
    Digest(Digest),
}

/// Checks a signature with the public key `der` (a `SubjectPublicKeyInfo`) of a key pair of that kind. `false`: it is
/// not that of the message.
///
/// # Errors
/// The algorithm is not one of the kind's, or the digest has not its length; or `der` is no key of that kind.
pub fn verify(
    kind: SigningKind,
    der: &[u8],
    algorithm: SigningAlgorithm,
    message: Message<'_>,
    signature: &[u8],
) -> Result<bool, SignError> {
    if !kind.algorithms().contains(&algorithm) {
        return Err(SignError::Algorithm(algorithm));
    }
    let prepared = message.prepare(algorithm)?;
    if let SigningKind::Rsa(size) = kind {
        rsa_of_size(size, der).map_err(SignError::Key)?;
    }
    let key = ParsedPublicKey::new(algorithm.verification(), der);
    let key = key.map_err(|_| SignError::Key(KeyError))?;
    let verified = match &prepared {
        Prepared::Message(message) => key.verify_sig(message, signature),
        Prepared::Digest(digest) => key.verify_digest_sig(digest, signature),
    };
    Ok(verified.is_ok())
}

/// Encrypts with the public key `der` (a `SubjectPublicKeyInfo`) of an RSA key pair of that size.
///
/// # Errors
/// The plaintext is longer than the key and the algorithm allow.
pub fn encrypt_oaep(
    size: RsaSize,
    der: &[u8],
    algorithm: OaepAlgorithm,
    plaintext: &[u8],
) -> Result<Vec<u8>, SealError> {
    let (length, limit) = (plaintext.len(), algorithm.max_plaintext(size));
    if length > limit {
        return Err(SealError::TooLong { length, limit });
    }
    let key = rsa_of_size(size, der).map_err(SealError::Key)?;
    let key = OaepPublicEncryptingKey::new(key).map_err(|_| SealError::Key(KeyError))?;
    let mut ciphertext = vec![0; key.ciphertext_size()];
    // What is left to fail is the library's own generator.
    let written = key
        .encrypt(algorithm.oaep(), plaintext, &mut ciphertext, None)
        .map_err(|_| SealError::Random(super::error::RandomError))?
        .len();
    ciphertext.truncate(written);
    Ok(ciphertext)
}

fn rsa_of_size(size: RsaSize, der: &[u8]) -> Result<PublicEncryptingKey, KeyError> {
    let key = PublicEncryptingKey::from_der(der).map_err(|_| KeyError)?;
    (key.key_size_bits() == size.bits())
        .then_some(key)
        .ok_or(KeyError)
}

/// A `SubjectPublicKeyInfo` in PEM (RFC 7468).
pub fn public_key_pem(der: &[u8]) -> String {
    let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
    for line in STANDARD.encode(der).as_bytes().chunks(64) {
        pem.extend(line.iter().copied().map(char::from));
        pem.push('\n');
    }
    pem.push_str("-----END PUBLIC KEY-----\n");
    pem
}
