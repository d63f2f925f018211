//! What a `keySpec` and a `keyUsage` mean for the material, and which algorithms they allow.

use crate::api::{KeySpec, KeyUsage};
use crate::crypto::{KeyKind, MacAlgorithm, OaepAlgorithm, RsaSize, SigningKind};

/// The encryption algorithm of symmetric keys, as AWS KMS names it.
pub const SYMMETRIC_DEFAULT: &str = "SYMMETRIC_DEFAULT";

/// What the material of such a key is; none if the two do not go together (the schema refuses it).
pub fn kind(spec: KeySpec, usage: KeyUsage) -> Option<KeyKind> {
    use KeyUsage::{EncryptDecrypt, GenerateVerifyMac, SignVerify};
    let rsa = |size| match usage {
        EncryptDecrypt => Some(KeyKind::Decryption(size)),
        SignVerify => Some(KeyKind::Signing(SigningKind::Rsa(size))),
        GenerateVerifyMac => None,
    };
    let only = |wanted, kind| (usage == wanted).then_some(kind);
    let mac = |algorithm| only(GenerateVerifyMac, KeyKind::Mac(algorithm));
    let signing = |kind| only(SignVerify, KeyKind::Signing(kind));
    match spec {
        KeySpec::SymmetricDefault => only(EncryptDecrypt, KeyKind::Symmetric),
        KeySpec::Hmac256 => mac(MacAlgorithm::HmacSha256),
        KeySpec::Hmac384 => mac(MacAlgorithm::HmacSha384),
        KeySpec::Hmac512 => mac(MacAlgorithm::HmacSha512),
        KeySpec::Rsa2048 => rsa(RsaSize::Rsa2048),
        KeySpec::Rsa3072 => rsa(RsaSize::Rsa3072),
        KeySpec::Rsa4096 => rsa(RsaSize::Rsa4096),
        KeySpec::EccNistP256 => signing(SigningKind::EccNistP256),
        KeySpec::EccNistP384 => signing(SigningKind::EccNistP384),
        KeySpec::EccNistEdwards25519 => signing(SigningKind::Ed25519),
    }
}

/// The names of the algorithms that a key can be used with, as `DescribeKey` of AWS KMS lists them. One list has entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Algorithms {
    /// `EncryptionAlgorithms`.
    pub encryption: Vec<&'static str>,
    /// `SigningAlgorithms`.
    pub signing: Vec<&'static str>,
    /// `MacAlgorithms`.
    pub mac: Vec<&'static str>,
}

impl Algorithms {
    /// Those of that kind of material.
    pub fn of(kind: KeyKind) -> Self {
        let mut all = Self::default();
        match kind {
            KeyKind::Symmetric => all.encryption = vec![SYMMETRIC_DEFAULT],
            KeyKind::Mac(algorithm) => all.mac = vec![algorithm.name()],
            KeyKind::Decryption(_) => {
                all.encryption = OaepAlgorithm::ALL.iter().map(|a| a.name()).collect();
            }
            KeyKind::Signing(kind) => {
                all.signing = kind.algorithms().iter().map(|a| a.name()).collect();
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPECS: [KeySpec; 10] = [
        KeySpec::SymmetricDefault,
        KeySpec::Hmac256,
        KeySpec::Hmac384,
        KeySpec::Hmac512,
        KeySpec::Rsa2048,
        KeySpec::Rsa3072,
        KeySpec::Rsa4096,
        KeySpec::EccNistP256,
        KeySpec::EccNistP384,
        KeySpec::EccNistEdwards25519,
    ];

    #[test]
    fn every_spec_goes_with_the_usages_that_aws_allows() {
        for spec in SPECS {
            let usages = [
                KeyUsage::EncryptDecrypt,
                KeyUsage::SignVerify,
                KeyUsage::GenerateVerifyMac,
            ];
            let allowed = usages.map(|usage| kind(spec, usage).is_some());
            let expected = match spec.as_str() {
                "SymmetricDefault" => [true, false, false],
                name if name.starts_with("Rsa") => [true, true, false],
                name if name.starts_with("Ecc") => [false, true, false],
                _ => [false, false, true],
            };
            assert_eq!(allowed, expected, "{spec:?}");
        }
    }

    #[test]
    fn a_key_lists_the_algorithms_of_its_one_use() {
        let of = |spec, usage| Algorithms::of(kind(spec, usage).unwrap());
        let rsa = of(KeySpec::Rsa2048, KeyUsage::EncryptDecrypt);
        assert_eq!(rsa.encryption, ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"]);
        assert!(rsa.signing.is_empty() && rsa.mac.is_empty());
        let rsa = of(KeySpec::Rsa4096, KeyUsage::SignVerify);
        assert_eq!(rsa.signing.len(), 6);
        let hmac = of(KeySpec::Hmac384, KeyUsage::GenerateVerifyMac);
        assert_eq!(hmac.mac, ["HMAC_SHA_384"]);
        let edwards = of(KeySpec::EccNistEdwards25519, KeyUsage::SignVerify);
        assert_eq!(edwards.signing, ["ED25519_SHA_512"]);
    }
}
