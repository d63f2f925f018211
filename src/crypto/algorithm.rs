//! What kinds of keys there are, and the algorithms that each can be used with, by the names that AWS KMS has for them.

use aws_lc_rs::{digest, hmac, rsa, signature};

/// Length of an RSA modulus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RsaSize {
    /// 2,048 bits.
    Rsa2048,
    /// 3,072 bits.
    Rsa3072,
    /// 4,096 bits.
    Rsa4096,
}

impl RsaSize {
    /// Length of the modulus in bits.
    pub fn bits(self) -> usize {
        match self {
            Self::Rsa2048 => 2048,
            Self::Rsa3072 => 3072,
            Self::Rsa4096 => 4096,
        }
    }

    pub(super) fn generated(self) -> rsa::KeySize {
        match self {
            Self::Rsa2048 => rsa::KeySize::Rsa2048,
            Self::Rsa3072 => rsa::KeySize::Rsa3072,
            Self::Rsa4096 => rsa::KeySize::Rsa4096,
        }
    }
}

/// Kinds of key pairs that sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SigningKind {
    /// RSA (RFC 8017).
    Rsa(RsaSize),
    /// ECDSA on NIST P-256 (FIPS 186-5).
    EccNistP256,
    /// ECDSA on NIST P-384 (FIPS 186-5).
    EccNistP384,
    /// Ed25519 (RFC 8032).
    Ed25519,
}

impl SigningKind {
    /// The algorithms that a key of this kind signs with.
    pub fn algorithms(self) -> &'static [SigningAlgorithm] {
        use SigningAlgorithm as A;
        match self {
            Self::Rsa(_) => &[
                A::RsassaPssSha256,
                A::RsassaPssSha384,
                A::RsassaPssSha512,
                A::RsassaPkcs1V15Sha256,
                A::RsassaPkcs1V15Sha384,
                A::RsassaPkcs1V15Sha512,
            ],
            Self::EccNistP256 => &[A::EcdsaSha256],
            Self::EccNistP384 => &[A::EcdsaSha384],
            Self::Ed25519 => &[A::Ed25519Sha512],
        }
    }
}

/// What a key's material is, and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// 32 bytes that encrypt, and wrap data keys.
    Symmetric,
    /// As many bytes as the hash has, for HMAC.
    Mac(MacAlgorithm),
    /// An RSA key pair that decrypts.
    Decryption(RsaSize),
    /// A key pair that signs.
    Signing(SigningKind),
}

/// `MacAlgorithm` of AWS KMS: HMAC (RFC 2104, FIPS 198-1) with that hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MacAlgorithm {
    /// `HMAC_SHA_256`.
    HmacSha256,
    /// `HMAC_SHA_384`.
    HmacSha384,
    /// `HMAC_SHA_512`.
    HmacSha512,
}

impl MacAlgorithm {
    /// All of them.
    pub const ALL: &[Self] = &[Self::HmacSha256, Self::HmacSha384, Self::HmacSha512];

    /// Its name in AWS KMS.
    pub fn name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "HMAC_SHA_256",
            Self::HmacSha384 => "HMAC_SHA_384",
            Self::HmacSha512 => "HMAC_SHA_512",
        }
    }

    /// The algorithm of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|a| a.name() == name)
    }

    /// Length of the key, and of the MAC, in bytes: that of the hash (RFC 2104, section 3).
    pub fn length(self) -> usize {
        match self {
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }

    pub(super) fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::HmacSha256 => hmac::HMAC_SHA256,
            Self::HmacSha384 => hmac::HMAC_SHA384,
            Self::HmacSha512 => hmac::HMAC_SHA512,
        }
    }
}

/// `EncryptionAlgorithmSpec` of AWS KMS for RSA keys: RSAES-OAEP (RFC 8017) with that hash, also in MGF1, and no label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OaepAlgorithm {
    /// `RSAES_OAEP_SHA_1`.
    RsaesOaepSha1,
    /// `RSAES_OAEP_SHA_256`.
    RsaesOaepSha256,
}

impl OaepAlgorithm {
    /// All of them.
    pub const ALL: &[Self] = &[Self::RsaesOaepSha1, Self::RsaesOaepSha256];

    /// Its name in AWS KMS.
    pub fn name(self) -> &'static str {
        match self {
            Self::RsaesOaepSha1 => "RSAES_OAEP_SHA_1",
            Self::RsaesOaepSha256 => "RSAES_OAEP_SHA_256",
        }
    }

    /// The algorithm of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|a| a.name() == name)
    }

    /// Most bytes of plaintext under a key of that size (RFC 8017, section 7.1.1).
    pub fn max_plaintext(self, size: RsaSize) -> usize {
        let hash = match self {
            Self::RsaesOaepSha1 => 20,
            Self::RsaesOaepSha256 => 32,
        };
        size.bits() / 8 - 2 * hash - 2
    }

    pub(super) fn oaep(self) -> &'static rsa::OaepAlgorithm {
        match self {
            Self::RsaesOaepSha1 => &rsa::OAEP_SHA1_MGF1SHA1,
            Self::RsaesOaepSha256 => &rsa::OAEP_SHA256_MGF1SHA256,
        }
    }
}

/// `SigningAlgorithmSpec` of AWS KMS. RSASSA-PSS has a salt as long as the hash, and that hash in MGF1; ECDSA signatures
/// are the ASN.1 structure of RFC 3279.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SigningAlgorithm {
    /// `RSASSA_PSS_SHA_256`.
    RsassaPssSha256,
    /// `RSASSA_PSS_SHA_384`.
    RsassaPssSha384,
    /// `RSASSA_PSS_SHA_512`.
    RsassaPssSha512,
    /// `RSASSA_PKCS1_V1_5_SHA_256`.
    RsassaPkcs1V15Sha256,
    /// `RSASSA_PKCS1_V1_5_SHA_384`.
    RsassaPkcs1V15Sha384,
    /// `RSASSA_PKCS1_V1_5_SHA_512`.
    RsassaPkcs1V15Sha512,
    /// `ECDSA_SHA_256`, on P-256.
    EcdsaSha256,
    /// `ECDSA_SHA_384`, on P-384.
    EcdsaSha384,
    /// `ED25519_SHA_512`: Ed25519 over the message itself.
    Ed25519Sha512,
}

impl SigningAlgorithm {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::RsassaPssSha256,
        Self::RsassaPssSha384,
        Self::RsassaPssSha512,
        Self::RsassaPkcs1V15Sha256,
        Self::RsassaPkcs1V15Sha384,
        Self::RsassaPkcs1V15Sha512,
        Self::EcdsaSha256,
        Self::EcdsaSha384,
        Self::Ed25519Sha512,
    ];

    /// Its name in AWS KMS.
    pub fn name(self) -> &'static str {
        match self {
            Self::RsassaPssSha256 => "RSASSA_PSS_SHA_256",
            Self::RsassaPssSha384 => "RSASSA_PSS_SHA_384",
            Self::RsassaPssSha512 => "RSASSA_PSS_SHA_512",
            Self::RsassaPkcs1V15Sha256 => "RSASSA_PKCS1_V1_5_SHA_256",
            Self::RsassaPkcs1V15Sha384 => "RSASSA_PKCS1_V1_5_SHA_384",
            Self::RsassaPkcs1V15Sha512 => "RSASSA_PKCS1_V1_5_SHA_512",
            Self::EcdsaSha256 => "ECDSA_SHA_256",
            Self::EcdsaSha384 => "ECDSA_SHA_384",
            Self::Ed25519Sha512 => "ED25519_SHA_512",
        }
    }

    /// The algorithm of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|a| a.name() == name)
    }

    /// The hash of the message, which may be given in the message's place; none for Ed25519, which hashes twice.
    pub(super) fn digest(self) -> Option<&'static digest::Algorithm> {
        match self {
            Self::RsassaPssSha256 | Self::RsassaPkcs1V15Sha256 | Self::EcdsaSha256 => {
                Some(&digest::SHA256)
            }
            Self::RsassaPssSha384 | Self::RsassaPkcs1V15Sha384 | Self::EcdsaSha384 => {
                Some(&digest::SHA384)
            }
            Self::RsassaPssSha512 | Self::RsassaPkcs1V15Sha512 => Some(&digest::SHA512),
            Self::Ed25519Sha512 => None,
        }
    }

    pub(super) fn verification(self) -> &'static dyn signature::VerificationAlgorithm {
        match self {
            Self::RsassaPssSha256 => &signature::RSA_PSS_2048_8192_SHA256,
            Self::RsassaPssSha384 => &signature::RSA_PSS_2048_8192_SHA384,
            Self::RsassaPssSha512 => &signature::RSA_PSS_2048_8192_SHA512,
            Self::RsassaPkcs1V15Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::RsassaPkcs1V15Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Self::RsassaPkcs1V15Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Self::EcdsaSha256 => &signature::ECDSA_P256_SHA256_ASN1,
            Self::EcdsaSha384 => &signature::ECDSA_P384_SHA384_ASN1,
            Self::Ed25519Sha512 => &signature::ED25519,
        }
    }

    /// How an RSA key encodes what it signs; none for the others.
    pub(super) fn rsa_encoding(self) -> Option<&'static dyn signature::RsaEncoding> {
        match self {
            Self::RsassaPssSha256 => Some(&signature::RSA_PSS_SHA256),
            Self::RsassaPssSha384 => Some(&signature::RSA_PSS_SHA384),
            Self::RsassaPssSha512 => Some(&signature::RSA_PSS_SHA512),
            Self::RsassaPkcs1V15Sha256 => Some(&signature::RSA_PKCS1_SHA256),
            Self::RsassaPkcs1V15Sha384 => Some(&signature::RSA_PKCS1_SHA384),
            Self::RsassaPkcs1V15Sha512 => Some(&signature::RSA_PKCS1_SHA512),
            Self::EcdsaSha256 | Self::EcdsaSha384 | Self::Ed25519Sha512 => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_is_found_by_its_name() {
        for algorithm in SigningAlgorithm::ALL {
            assert_eq!(SigningAlgorithm::named(algorithm.name()), Some(*algorithm));
        }
        for algorithm in MacAlgorithm::ALL {
            assert_eq!(MacAlgorithm::named(algorithm.name()), Some(*algorithm));
        }
        for algorithm in OaepAlgorithm::ALL {
            assert_eq!(OaepAlgorithm::named(algorithm.name()), Some(*algorithm));
        }
        assert_eq!(SigningAlgorithm::named("RSASSA_PSS_SHA_1"), None);
    }

    #[test]
    fn the_longest_plaintexts_are_those_that_aws_documents() {
        // AWS KMS developer guide, "RSA key specs": plaintext sizes of RSAES_OAEP_SHA_1 and _SHA_256.
        let expected = [(214, 190), (342, 318), (470, 446)];
        let sizes = [RsaSize::Rsa2048, RsaSize::Rsa3072, RsaSize::Rsa4096];
        for (size, (sha1, sha256)) in sizes.into_iter().zip(expected) {
            assert_eq!(OaepAlgorithm::RsaesOaepSha1.max_plaintext(size), sha1);
            assert_eq!(OaepAlgorithm::RsaesOaepSha256.max_plaintext(size), sha256);
        }
    }
}
