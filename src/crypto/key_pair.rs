//! Key pairs that sign (RSA, ECDSA, Ed25519), and those that decrypt (RSA).
//!
//! At rest a key pair is its PKCS#8 structure in DER (RFC 5208, RFC 5958). Private keys are used by AWS-LC only, whose
//! operations on them take the same time for every key, and which wipes the memory that they were in.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::{self, OaepPrivateDecryptingKey, PrivateDecryptingKey},
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
    },
};

use super::{
    algorithm::{OaepAlgorithm, RsaSize, SigningAlgorithm, SigningKind},
    error::{DecryptError, KeyError, RandomError, SealError, SignError},
    public_key::{self, Message, Prepared},
    secret::SecretBytes,
};

/// A key pair that signs.
#[derive(Debug)]
pub struct SigningKey {
    kind: SigningKind,
    // On the heap: whoever moves this moves no key.
    pair: Box<Pair>,
    public: Vec<u8>,
}

enum Pair {
    Rsa(rsa::KeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl SigningKey {
    /// A fresh key pair in PKCS#8, by AWS-LC's own generator, which the operating system seeds. RSA takes up to seconds.
    pub fn generate(kind: SigningKind) -> Result<SecretBytes, RandomError> {
        let failed = |_| RandomError;
        let bytes = match kind {
            SigningKind::Rsa(size) => {
                let pair = rsa::KeyPair::generate(size.generated()).map_err(failed)?;
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
                SecretBytes::copy_of(der.as_ref())
            }
            SigningKind::EccNistP256 | SigningKind::EccNistP384 => {
                let pair = EcdsaKeyPair::generate(curve(kind)).map_err(failed)?;
                SecretBytes::copy_of(pair.to_pkcs8v1().map_err(failed)?.as_ref())
            }
            SigningKind::Ed25519 => {
                let pair = Ed25519KeyPair::generate().map_err(failed)?;
                SecretBytes::copy_of(pair.to_pkcs8v1().map_err(failed)?.as_ref())
            }
        };
        Ok(bytes)
    }

    /// The key pair in a PKCS#8 structure, with an RSA modulus, or on a curve, of that kind.
    ///
    /// # Errors
    /// It is none.
    pub fn from_pkcs8(kind: SigningKind, pkcs8: &SecretBytes) -> Result<Self, KeyError> {
        let failed = |_| KeyError;
        let unmade = |_| KeyError;
        let (pair, public): (_, PublicKeyX509Der<'_>) = match kind {
            SigningKind::Rsa(size) => {
                let pair = rsa::KeyPair::from_pkcs8(pkcs8.expose()).map_err(failed)?;
                if pair.public_modulus_len() * 8 != size.bits() {
                    return Err(KeyError);
                }
                let public = pair.public_key().as_der().map_err(unmade)?;
                (Pair::Rsa(pair), public)
            }
            SigningKind::EccNistP256 | SigningKind::EccNistP384 => {
                let pair = EcdsaKeyPair::from_pkcs8(curve(kind), pkcs8.expose()).map_err(failed)?;
                let public = pair.public_key().as_der().map_err(unmade)?;
                (Pair::Ecdsa(pair), public)
            }
            SigningKind::Ed25519 => {
                let pair = Ed25519KeyPair::from_pkcs8(pkcs8.expose()).map_err(failed)?;
                let public = pair.public_key().as_der().map_err(unmade)?;
                (Pair::Ed25519(pair), public)
            }
        };
        let public = public.as_ref().to_vec();
        let pair = Box::new(pair);
        Ok(Self { kind, pair, public })
    }

    /// What it is.
    pub fn kind(&self) -> SigningKind {
        self.kind
    }

    /// The public key: a `SubjectPublicKeyInfo` in DER (RFC 5280).
    pub fn public_key(&self) -> &[u8] {
        &self.public
    }

    /// Signs.
    ///
    /// # Errors
    /// The algorithm is not one of this key's, or the digest has not its length.
    pub fn sign(
        &self,
        algorithm: SigningAlgorithm,
        message: Message<'_>,
    ) -> Result<Vec<u8>, SignError> {
        if !self.kind.algorithms().contains(&algorithm) {
            return Err(SignError::Algorithm(algorithm));
        }
        let prepared = message.prepare(algorithm)?;
        let made = match (&*self.pair, &prepared) {
            (Pair::Rsa(pair), prepared) => return sign_rsa(pair, algorithm, prepared),
            (Pair::Ecdsa(pair), Prepared::Message(message)) => {
                pair.sign(&SystemRandom::new(), message)
            }
            (Pair::Ecdsa(pair), Prepared::Digest(digest)) => pair.sign_digest(digest),
            (Pair::Ed25519(pair), Prepared::Message(message)) => pair.try_sign(message),
            (Pair::Ed25519(_), Prepared::Digest(_)) => return Err(SignError::NoDigest),
        };
        made.map(|signature| signature.as_ref().to_vec())
            .map_err(|_| SignError::Random)
    }

    /// Whether `signature` is that of the message.
    ///
    /// # Errors
    /// As [`SigningKey::sign`].
    pub fn verify(
        &self,
        algorithm: SigningAlgorithm,
        message: Message<'_>,
        signature: &[u8],
    ) -> Result<bool, SignError> {
        public_key::verify(self.kind, &self.public, algorithm, message, signature)
    }
}

fn sign_rsa(
    pair: &rsa::KeyPair,
    algorithm: SigningAlgorithm,
    prepared: &Prepared<'_>,
) -> Result<Vec<u8>, SignError> {
    let encoding = algorithm.rsa_encoding();
    let encoding = encoding.ok_or(SignError::Algorithm(algorithm))?;
    let mut signature = vec![0; pair.public_modulus_len()];
    match prepared {
        Prepared::Message(message) => {
            pair.sign(encoding, &SystemRandom::new(), message, &mut signature)
        }
        Prepared::Digest(digest) => pair.sign_digest(encoding, digest, &mut signature),
    }
    .map_err(|_| SignError::Random)?;
    Ok(signature)
}

fn curve(kind: SigningKind) -> &'static EcdsaSigningAlgorithm {
    match kind {
        SigningKind::EccNistP384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
        _ => &ECDSA_P256_SHA256_ASN1_SIGNING,
    }
}

/// An RSA key pair that decrypts: RSAES-OAEP without a label.
#[derive(Debug)]
pub struct DecryptionKey {
    size: RsaSize,
    key: OaepPrivateDecryptingKey,
    public: Vec<u8>,
}

impl DecryptionKey {
    /// A fresh key pair in PKCS#8, as [`SigningKey::generate`].
    pub fn generate(size: RsaSize) -> Result<SecretBytes, RandomError> {
        SigningKey::generate(SigningKind::Rsa(size))
    }

    /// The RSA key pair of that size in a PKCS#8 structure.
    ///
    /// # Errors
    /// It is none.
    pub fn from_pkcs8(size: RsaSize, pkcs8: &SecretBytes) -> Result<Self, KeyError> {
        let key = PrivateDecryptingKey::from_pkcs8(pkcs8.expose()).map_err(|_| KeyError)?;
        if key.key_size_bits() != size.bits() {
            return Err(KeyError);
        }
        let public: PublicKeyX509Der<'_> = key.public_key().as_der().map_err(|_| KeyError)?;
        let public = public.as_ref().to_vec();
        let key = OaepPrivateDecryptingKey::new(key).map_err(|_| KeyError)?;
        Ok(Self { size, key, public })
    }

    /// Length of its modulus.
    pub fn size(&self) -> RsaSize {
        self.size
    }

    /// The public key: a `SubjectPublicKeyInfo` in DER (RFC 5280).
    pub fn public_key(&self) -> &[u8] {
        &self.public
    }

    /// Encrypts with the public key.
    ///
    /// # Errors
    /// The plaintext is longer than the key and the algorithm allow.
    pub fn encrypt(
        &self,
        algorithm: OaepAlgorithm,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        public_key::encrypt_oaep(self.size, &self.public, algorithm, plaintext)
    }

    /// Decrypts.
    ///
    /// # Errors
    /// One error for everything that can be wrong with a ciphertext, so that it is no oracle.
    pub fn decrypt(
        &self,
        algorithm: OaepAlgorithm,
        ciphertext: &[u8],
    ) -> Result<SecretBytes, DecryptError> {
        let mut buffer = SecretBytes::zeroed(self.key.min_output_size());
        let plaintext = self
            .key
            .decrypt(algorithm.oaep(), ciphertext, buffer.expose_mut(), None)
            .map_err(|_| DecryptError)?;
        Ok(SecretBytes::copy_of(plaintext))
    }
}
