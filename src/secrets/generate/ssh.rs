//! Key pairs of SSH, in the format of OpenSSH (`PROTOCOL.key` in its source).

use pkcs8::der::asn1::{OctetStringRef, UintRef};
use pkcs8::der::{Decode, Reader, SliceReader};
use sha2::{Digest, Sha256};
use ssh_key::{LineEnding, PrivateKey as SshPrivateKey};

use super::private_key::{Curve, KeyKind, PrivateKey, Unreadable};
use super::recipe::RecipeError;
use crate::crypto::SecretBytes;

/// A fresh key pair: the private half without a passphrase, and a line of `authorized_keys`.
pub(super) fn generate(
    kind: KeyKind,
    comment: &str,
) -> Result<(SecretBytes, SecretBytes), RecipeError> {
    let key = PrivateKey::generate(kind)?;
    let blob = private_blob(kind, &key, comment).map_err(|_| RecipeError::KeyGeneration)?;
    let key = SshPrivateKey::from_bytes(blob.expose()).map_err(|_| RecipeError::KeyGeneration)?;
    let text = key.to_openssh(LineEnding::LF);
    let text = text.map_err(|_| RecipeError::KeyGeneration)?;
    let public = line(&key).map_err(|Unreadable| RecipeError::KeyGeneration)?;
    Ok((SecretBytes::copy_of(text.as_bytes()), public))
}

/// The public half of a private one.
pub(super) fn public_half(private: &[u8]) -> Result<SecretBytes, Unreadable> {
    let key = SshPrivateKey::from_openssh(private).map_err(|_| Unreadable)?;
    line(&key)
}

/// The line of `authorized_keys`.
fn line(key: &SshPrivateKey) -> Result<SecretBytes, Unreadable> {
    let text = key.public_key().to_openssh().map_err(|_| Unreadable)?;
    Ok(SecretBytes::from(format!("{}\n", text.trim_end())))
}

/// The binary form of a private key without a passphrase.
fn private_blob(kind: KeyKind, key: &PrivateKey, comment: &str) -> pkcs8::der::Result<SecretBytes> {
    let (public, private) = halves(kind, key)?;
    // Two equal numbers show whether a passphrase was right. There is none, and the same key shall have the same form.
    let check = &Sha256::digest(public.expose())[..4];
    let mut section = SecretBytes::new();
    section.extend_from_slice(check);
    section.extend_from_slice(check);
    section.extend_from_slice(private.expose());
    string(&mut section, comment.as_bytes());
    // Padded to blocks of 8, with 1, 2, 3, ...
    for byte in 1.. {
        if section.len().is_multiple_of(8) {
            break;
        }
        section.extend_from_slice(&[byte]);
    }
    let mut blob = SecretBytes::new();
    blob.extend_from_slice(b"openssh-key-v1\0");
    for none in ["none", "none", ""] {
        string(&mut blob, none.as_bytes());
    }
    blob.extend_from_slice(&1_u32.to_be_bytes());
    string(&mut blob, public.expose());
    string(&mut blob, section.expose());
    Ok(blob)
}

/// The fields of the public half, and those of the private one.
fn halves(kind: KeyKind, key: &PrivateKey) -> pkcs8::der::Result<(SecretBytes, SecretBytes)> {
    let (mut public, mut private) = (SecretBytes::new(), SecretBytes::new());
    match kind {
        KeyKind::Ed25519 => {
            let seed = <&OctetStringRef>::from_der(key.inner())?.as_bytes();
            let point = key.public_bytes();
            string(&mut public, b"ssh-ed25519");
            string(&mut public, point);
            private.extend_from_slice(public.expose());
            let mut both = SecretBytes::copy_of(seed);
            both.extend_from_slice(point);
            string(&mut private, both.expose());
        }
        KeyKind::Ecdsa(curve) => {
            let curve = match curve {
                Curve::P256 => "nistp256",
                Curve::P384 => "nistp384",
                Curve::P521 => "nistp521",
            };
            string(&mut public, format!("ecdsa-sha2-{curve}").as_bytes());
            string(&mut public, curve.as_bytes());
            string(&mut public, key.public_bytes());
            private.extend_from_slice(public.expose());
            let scalar = sec1::EcPrivateKey::from_der(key.inner())?.private_key;
            number(&mut private, scalar);
        }
        KeyKind::Rsa(_) => {
            let rsa = RsaNumbers::read(key.inner())?;
            string(&mut public, b"ssh-rsa");
            number(&mut public, rsa.exponent);
            number(&mut public, rsa.modulus);
            string(&mut private, b"ssh-rsa");
            let [first, second] = rsa.primes;
            let (secret, coefficient) = (rsa.private_exponent, rsa.coefficient);
            for part in [
                rsa.modulus,
                rsa.exponent,
                secret,
                coefficient,
                first,
                second,
            ] {
                number(&mut private, part);
            }
        }
    }
    Ok((public, private))
}

/// The numbers of an RSA key that OpenSSH writes.
struct RsaNumbers<'a> {
    modulus: &'a [u8],
    exponent: &'a [u8],
    private_exponent: &'a [u8],
    primes: [&'a [u8]; 2],
    /// The inverse of the second prime modulo the first.
    coefficient: &'a [u8],
}

impl<'a> RsaNumbers<'a> {
    /// From an `RSAPrivateKey` (RFC 8017, appendix A.1.2).
    fn read(pkcs1: &'a [u8]) -> pkcs8::der::Result<Self> {
        SliceReader::new(pkcs1)?.sequence(|reader| {
            let _version = u8::decode(reader)?;
            let mut number = || UintRef::decode(reader).map(|number| number.as_bytes());
            let (modulus, exponent, private_exponent) = (number()?, number()?, number()?);
            let primes = [number()?, number()?];
            let _exponents = (number()?, number()?);
            Ok(Self {
                modulus,
                exponent,
                private_exponent,
                primes,
                coefficient: number()?,
            })
        })
    }
}

/// Adds a string: its length, and its bytes (RFC 4251, section 5).
fn string(out: &mut SecretBytes, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("parts of keys are short");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Adds a number, big-endian, with a zero byte in front if it would be negative without. What DER gives is minimal, but
/// for the scalar of a curve, which has the curve's width: readers take both, and some only that.
fn number(out: &mut SecretBytes, bytes: &[u8]) {
    let negative = bytes.first().is_some_and(|byte| *byte >= 0x80);
    let mut digits = SecretBytes::with_capacity(bytes.len() + 1);
    if negative {
        digits.extend_from_slice(&[0]);
    }
    digits.extend_from_slice(bytes);
    string(out, digits.expose());
}
