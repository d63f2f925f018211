//! Private keys: made by AWS-LC, and written and read in the forms that programs expect.
//!
//! In memory a private key is its PKCS#8 structure (RFC 5958). AWS-LC draws the randomness of a new one itself, from
//! the operating system; every other form of a key follows from it, the same bytes each time.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
};
use pkcs8::der::pem::{self, LineEnding, PemLabel};
use pkcs8::der::{Decode, Encode};
use pkcs8::{PrivateKeyInfoRef, SubjectPublicKeyInfoRef};
use sec1::{EcParameters, EcPrivateKey};
use zeroize::Zeroizing;

use super::recipe::RecipeError;
use crate::api::managed_secret::{KeyFormat, PrivateKeyAlgorithm, PrivateKeyEncoding};
use crate::crypto::SecretBytes;

/// An algorithm with its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA.
    Rsa(RsaBits),
    /// ECDSA on a NIST curve.
    Ecdsa(Curve),
    /// Ed25519.
    Ed25519,
}

/// The bits of an RSA modulus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RsaBits {
    /// 2,048.
    B2048,
    /// 3,072.
    B3072,
    /// 4,096.
    B4096,
}

/// A curve of NIST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// P-256.
    P256,
    /// P-384.
    P384,
    /// P-521.
    P521,
}

const CURVES: [Curve; 3] = [Curve::P256, Curve::P384, Curve::P521];

impl Curve {
    fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
            Self::P521 => &ECDSA_P521_SHA512_ASN1_SIGNING,
        }
    }
}

impl KeyKind {
    /// From a spec's two fields.
    ///
    /// # Errors
    /// The algorithm has no such size. The schema refuses it before.
    pub(super) fn new(
        algorithm: PrivateKeyAlgorithm,
        bits: Option<u32>,
    ) -> Result<Self, RecipeError> {
        match (algorithm, bits) {
            (PrivateKeyAlgorithm::Rsa, Some(2048)) => Ok(Self::Rsa(RsaBits::B2048)),
            (PrivateKeyAlgorithm::Rsa, None | Some(3072)) => Ok(Self::Rsa(RsaBits::B3072)),
            (PrivateKeyAlgorithm::Rsa, Some(4096)) => Ok(Self::Rsa(RsaBits::B4096)),
            (PrivateKeyAlgorithm::Ecdsa, None | Some(256)) => Ok(Self::Ecdsa(Curve::P256)),
            (PrivateKeyAlgorithm::Ecdsa, Some(384)) => Ok(Self::Ecdsa(Curve::P384)),
            (PrivateKeyAlgorithm::Ecdsa, Some(521)) => Ok(Self::Ecdsa(Curve::P521)),
            (PrivateKeyAlgorithm::Ed25519, None) => Ok(Self::Ed25519),
            (_, Some(bits)) => Err(RecipeError::Bits { bits }),
        }
    }

    /// Refuses a structure that keys of this kind do not have.
    pub(super) fn check(self, encoding: PrivateKeyEncoding) -> Result<(), RecipeError> {
        match (encoding, self) {
            (PrivateKeyEncoding::Pkcs8, _)
            | (PrivateKeyEncoding::Pkcs1, Self::Rsa(_))
            | (PrivateKeyEncoding::Sec1, Self::Ecdsa(_)) => Ok(()),
            (PrivateKeyEncoding::Pkcs1 | PrivateKeyEncoding::Sec1, _) => Err(RecipeError::Encoding),
        }
    }
}

/// A private key.
pub(super) struct PrivateKey {
    pkcs8: SecretBytes,
    public: Vec<u8>,
}

/// The bytes are no private key that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

impl PrivateKey {
    /// A fresh one. RSA takes up to seconds.
    pub(super) fn generate(kind: KeyKind) -> Result<Self, RecipeError> {
        let failed = |_| RecipeError::KeyGeneration;
        let pkcs8 = match kind {
            KeyKind::Rsa(bits) => {
                let size = match bits {
                    RsaBits::B2048 => rsa::KeySize::Rsa2048,
                    RsaBits::B3072 => rsa::KeySize::Rsa3072,
                    RsaBits::B4096 => rsa::KeySize::Rsa4096,
                };
                let pair = rsa::KeyPair::generate(size).map_err(failed)?;
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
                SecretBytes::copy_of(der.as_ref())
            }
            KeyKind::Ecdsa(curve) => {
                let pair = EcdsaKeyPair::generate(curve.signing()).map_err(failed)?;
                SecretBytes::copy_of(pair.to_pkcs8v1().map_err(failed)?.as_ref())
            }
            KeyKind::Ed25519 => {
                let pair = Ed25519KeyPair::generate().map_err(failed)?;
                SecretBytes::copy_of(pair.to_pkcs8v1().map_err(failed)?.as_ref())
            }
        };
        Self::from_der(pkcs8.expose()).map_err(|Unreadable| RecipeError::KeyGeneration)
    }

    /// Reads what [`write`](Self::write) writes, in any structure and format.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        if !bytes.starts_with(b"-----BEGIN") {
            return Self::from_der(bytes);
        }
        let (_, der) = pem::decode_vec(bytes).map_err(|_| Unreadable)?;
        Self::from_der(&Zeroizing::new(der))
    }

    fn from_der(der: &[u8]) -> Result<Self, Unreadable> {
        let failed = |_| Unreadable;
        if let Ok(pair) = rsa::KeyPair::from_pkcs8(der).or_else(|_| rsa::KeyPair::from_der(der)) {
            let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
            let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(failed)?;
            return Ok(Self::of(pkcs8.as_ref(), public.as_ref()));
        }
        for curve in CURVES {
            if let Ok(pair) = EcdsaKeyPair::from_private_key_der(curve.signing(), der) {
                let pkcs8 = pair.to_pkcs8v1().map_err(failed)?;
                let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(failed)?;
                return Ok(Self::of(pkcs8.as_ref(), public.as_ref()));
            }
        }
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| Unreadable)?;
        let pkcs8 = pair.to_pkcs8v1().map_err(failed)?;
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(failed)?;
        Ok(Self::of(pkcs8.as_ref(), public.as_ref()))
    }

    fn of(pkcs8: &[u8], public: &[u8]) -> Self {
        Self {
            pkcs8: SecretBytes::copy_of(pkcs8),
            public: public.to_vec(),
        }
    }

    /// The PKCS#8 structure, in DER.
    pub(super) fn pkcs8(&self) -> &[u8] {
        self.pkcs8.expose()
    }

    /// As certificates are signed with it; `None` if the library cannot read it.
    pub(super) fn signing(&self) -> Option<rcgen::KeyPair> {
        rcgen::KeyPair::try_from(self.pkcs8()).ok()
    }

    /// The PKCS#8 structure, in its parts.
    fn info(&self) -> PrivateKeyInfoRef<'_> {
        PrivateKeyInfoRef::try_from(self.pkcs8.expose()).expect("AWS-LC wrote it")
    }

    /// What PKCS#8 wraps: for RSA the structure of PKCS#1, for ECDSA that of SEC1, for Ed25519 an octet string (RFC 8410).
    pub(super) fn inner(&self) -> &[u8] {
        self.info().private_key.as_bytes()
    }

    /// The public key's own bytes: for RSA the structure of PKCS#1, for ECDSA a point, for Ed25519 32 bytes.
    pub(super) fn public_bytes(&self) -> &[u8] {
        let info = SubjectPublicKeyInfoRef::try_from(self.public.as_slice());
        let info = info.expect("AWS-LC wrote it");
        info.subject_public_key.raw_bytes()
    }

    /// The `SubjectPublicKeyInfo` (RFC 5280), in DER.
    pub(super) fn public_der(&self) -> &[u8] {
        &self.public
    }

    /// Writes the private key.
    pub(super) fn write(&self, encoding: PrivateKeyEncoding, format: KeyFormat) -> SecretBytes {
        match encoding {
            PrivateKeyEncoding::Pkcs8 => {
                written(PrivateKeyInfoRef::PEM_LABEL, self.pkcs8(), format)
            }
            PrivateKeyEncoding::Pkcs1 => written("RSA PRIVATE KEY", self.inner(), format),
            PrivateKeyEncoding::Sec1 => {
                written(EcPrivateKey::PEM_LABEL, self.sec1().expose(), format)
            }
        }
    }

    /// The SEC1 structure with its curve, which PKCS#8 says outside of it and OpenSSL wants inside.
    fn sec1(&self) -> SecretBytes {
        let curve = self.info().algorithm.parameters_oid();
        let mut key = EcPrivateKey::from_der(self.inner()).expect("AWS-LC wrote it");
        key.parameters = curve.ok().map(EcParameters::NamedCurve);
        SecretBytes::from(key.to_der().expect("it was read a moment ago"))
    }

    /// Writes the public key.
    pub(super) fn write_public(&self, format: KeyFormat) -> SecretBytes {
        written("PUBLIC KEY", self.public_der(), format)
    }
}

/// A structure in a format.
fn written(label: &'static str, der: &[u8], format: KeyFormat) -> SecretBytes {
    match format {
        KeyFormat::Der => SecretBytes::copy_of(der),
        KeyFormat::Pem => {
            let text = pem::encode_string(label, LineEnding::LF, der);
            SecretBytes::from(text.expect("a key is far below the limits of the format"))
        }
    }
}
