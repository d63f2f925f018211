//! Keys that are used directly: HMAC keys and key pairs.

use keystead::crypto::{
    DecryptionKey, KeyError, KeyKind, MacAlgorithm, MacKey, Message, OaepAlgorithm, OsRandom,
    RsaSize, SealError, SecretBytes, SecretKey, SignError, SigningAlgorithm, SigningKey,
    SigningKind, public_key_pem, verify,
};
use sha2::Digest as _;

const RSA: SigningKind = SigningKind::Rsa(RsaSize::Rsa2048);
const KINDS: [SigningKind; 4] = [
    RSA,
    SigningKind::EccNistP256,
    SigningKind::EccNistP384,
    SigningKind::Ed25519,
];

fn signing_key(kind: SigningKind) -> SigningKey {
    SigningKey::from_pkcs8(kind, &SigningKey::generate(kind).unwrap()).unwrap()
}

#[test]
fn every_algorithm_of_a_key_pair_signs_and_only_that_message_verifies() {
    for kind in KINDS {
        let key = signing_key(kind);
        for algorithm in kind.algorithms().iter().copied() {
            let signature = key.sign(algorithm, Message::Raw(b"hello")).unwrap();
            let check = |message: &[u8], signature: &[u8]| {
                let public = key.public_key();
                verify(kind, public, algorithm, Message::Raw(message), signature).unwrap()
            };
            assert!(check(b"hello", &signature), "{}", algorithm.name());
            assert!(!check(b"hallo", &signature));
            assert!(!check(b"hello", &[]));
            for byte in 0..signature.len() {
                let mut changed = signature.clone();
                changed[byte] ^= 1;
                assert!(!check(b"hello", &changed), "{} {byte}", algorithm.name());
            }
            let other = signing_key(kind);
            let checked = other.verify(algorithm, Message::Raw(b"hello"), &signature);
            assert_eq!(checked, Ok(false));
        }
    }
}

#[test]
fn a_digest_in_the_place_of_its_message_gives_a_signature_of_the_message() {
    let digests: [(&str, Vec<u8>); 3] = [
        ("256", sha2::Sha256::digest(b"hello").to_vec()),
        ("384", sha2::Sha384::digest(b"hello").to_vec()),
        ("512", sha2::Sha512::digest(b"hello").to_vec()),
    ];
    for kind in KINDS {
        let key = signing_key(kind);
        for algorithm in kind.algorithms().iter().copied() {
            let of_hash = digests
                .iter()
                .find(|(hash, _)| algorithm.name().ends_with(hash));
            let digest = &of_hash.unwrap().1;
            let signed = key.sign(algorithm, Message::Digest(digest));
            if algorithm == SigningAlgorithm::Ed25519Sha512 {
                assert_eq!(signed, Err(SignError::NoDigest));
                continue;
            }
            let signature = signed.unwrap();
            let raw = key.verify(algorithm, Message::Raw(b"hello"), &signature);
            let given = key.verify(algorithm, Message::Digest(digest), &signature);
            assert_eq!((raw, given), (Ok(true), Ok(true)), "{}", algorithm.name());
            let (expected, length) = (digest.len(), digest.len() - 1);
            let refused = SignError::DigestLength { expected, length };
            let cut = Message::Digest(&digest[1..]);
            assert_eq!(key.sign(algorithm, cut), Err(refused));
            assert_eq!(key.verify(algorithm, cut, &signature), Err(refused));
        }
    }
}

#[test]
fn a_key_pair_refuses_the_algorithms_of_others() {
    for kind in KINDS {
        let key = signing_key(kind);
        for algorithm in SigningAlgorithm::ALL {
            if !kind.algorithms().contains(algorithm) {
                let refused = SignError::Algorithm(*algorithm);
                let message = Message::Raw(b"x");
                assert_eq!(key.sign(*algorithm, message), Err(refused));
                assert_eq!(key.verify(*algorithm, message, b"x"), Err(refused));
            }
        }
    }
}

#[test]
fn what_is_no_key_of_the_kind_is_refused_and_not_described() {
    let rsa = SigningKey::generate(RSA).unwrap();
    let p256 = SigningKey::generate(SigningKind::EccNistP256).unwrap();
    let ed25519 = SigningKey::generate(SigningKind::Ed25519).unwrap();
    let refused = [
        SigningKey::from_pkcs8(SigningKind::Rsa(RsaSize::Rsa3072), &rsa).err(),
        SigningKey::from_pkcs8(SigningKind::EccNistP384, &p256).err(),
        SigningKey::from_pkcs8(SigningKind::EccNistP256, &ed25519).err(),
        SigningKey::from_pkcs8(SigningKind::Ed25519, &p256).err(),
        SigningKey::from_pkcs8(RSA, &SecretBytes::copy_of(b"x")).err(),
        DecryptionKey::from_pkcs8(RsaSize::Rsa4096, &rsa).err(),
        DecryptionKey::from_pkcs8(RsaSize::Rsa2048, &p256).err(),
        MacKey::from_bytes(MacAlgorithm::HmacSha384, &SecretBytes::zeroed(32)).err(),
        SecretKey::from_bytes(KeyKind::Symmetric, &SecretBytes::zeroed(31)).err(),
    ];
    assert_eq!(refused, [Some(KeyError); 9]);
    let key = signing_key(SigningKind::EccNistP256);
    assert!(!format!("{key:?}").contains("Ecdsa"), "{key:?}");
}

#[test]
fn oaep_takes_up_to_its_limit_and_opens_under_its_own_key_and_algorithm_only() {
    let size = RsaSize::Rsa2048;
    let key = DecryptionKey::from_pkcs8(size, &DecryptionKey::generate(size).unwrap()).unwrap();
    let other = DecryptionKey::from_pkcs8(size, &DecryptionKey::generate(size).unwrap()).unwrap();
    for algorithm in OaepAlgorithm::ALL.iter().copied() {
        let limit = algorithm.max_plaintext(size);
        for length in [0, 1, limit] {
            let plaintext = vec![7; length];
            let ciphertext = key.encrypt(algorithm, &plaintext).unwrap();
            let opened = key.decrypt(algorithm, &ciphertext).unwrap();
            assert_eq!(opened.expose(), plaintext);
            assert!(other.decrypt(algorithm, &ciphertext).is_err());
            for wrong in OaepAlgorithm::ALL.iter().filter(|a| **a != algorithm) {
                assert!(key.decrypt(*wrong, &ciphertext).is_err());
            }
        }
        let length = limit + 1;
        let refused = SealError::TooLong { length, limit };
        assert_eq!(key.encrypt(algorithm, &vec![0; length]), Err(refused));
        assert!(key.decrypt(algorithm, &[0; 5000]).is_err());
    }
}

#[test]
fn material_of_every_kind_is_made_and_read_again_as_the_same_key() {
    let message = Message::Raw(b"hello");
    for kind in KINDS {
        let bytes = SecretKey::generate(KeyKind::Signing(kind), &mut OsRandom).unwrap();
        let read = || SecretKey::from_bytes(KeyKind::Signing(kind), &bytes).unwrap();
        let (SecretKey::Signing(one), SecretKey::Signing(two)) = (read(), read()) else {
            panic!("{kind:?} is no signing key");
        };
        let algorithm = kind.algorithms()[0];
        let signature = one.sign(algorithm, message).unwrap();
        assert_eq!(two.verify(algorithm, message, &signature), Ok(true));
        assert_eq!(one.public_key(), two.public_key());
    }
    for algorithm in MacAlgorithm::ALL.iter().copied() {
        let bytes = SecretKey::generate(KeyKind::Mac(algorithm), &mut OsRandom).unwrap();
        assert_eq!(bytes.len(), algorithm.length());
        let key = MacKey::from_bytes(algorithm, &bytes).unwrap();
        let mac = key.generate(b"hello");
        assert!(key.verify(b"hello", &mac) && !key.verify(b"hallo", &mac));
    }
}

#[test]
fn a_public_key_in_pem_is_lines_of_64_characters() {
    let key = signing_key(SigningKind::EccNistP256);
    let pem = public_key_pem(key.public_key());
    let lines: Vec<_> = pem.lines().collect();
    assert_eq!(lines[0], "-----BEGIN PUBLIC KEY-----");
    assert_eq!((lines[1].len(), lines.len()), (64, 4));
    assert_eq!(lines[3], "-----END PUBLIC KEY-----");
}
