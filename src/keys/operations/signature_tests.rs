use super::super::testing::{Bed, id};
use super::*;

const KEYS: [(u8, &str); 4] = [
    (1, "Rsa2048"),
    (2, "EccNistP256"),
    (3, "EccNistP384"),
    (4, "EccNistEdwards25519"),
];

fn bed() -> Bed {
    let bed = Bed::new();
    for (number, spec) in KEYS {
        bed.key(number, spec, "SignVerify");
    }
    bed
}

fn request(key: u8, message: Message<'_>, algorithm: SigningAlgorithm) -> SignRequest<'_> {
    SignRequest {
        key: id(key),
        message,
        algorithm,
    }
}

async fn sign(bed: &Bed, request: SignRequest<'_>) -> Result<Vec<u8>, &'static str> {
    let signed = bed.operations().sign(bed.call(), request).await;
    signed.map(|s| s.signature).map_err(|error| error.name())
}

async fn verify(
    bed: &Bed,
    signed: SignRequest<'_>,
    signature: &[u8],
) -> Result<KeyId, &'static str> {
    let request = VerifyRequest { signed, signature };
    let verified = bed.operations().verify(bed.call(), request).await;
    verified.map(|arn| arn.key).map_err(|error| error.name())
}

async fn public_key(bed: &Bed, key: u8) -> Result<PublicKeyAnswer, &'static str> {
    let answer = bed.operations().get_public_key(bed.call(), id(key)).await;
    answer.map_err(|error| error.name())
}

#[tokio::test]
async fn every_algorithm_of_a_key_signs_and_everybody_with_its_public_key_can_verify() {
    let bed = bed();
    for (number, _) in KEYS {
        let answer = public_key(&bed, number).await.unwrap();
        assert!(!answer.algorithms.signing.is_empty());
        for name in &answer.algorithms.signing {
            let algorithm = SigningAlgorithm::named(name).unwrap();
            let hello = request(number, Message::Raw(b"hello"), algorithm);
            let signature = sign(&bed, hello).await.unwrap();
            assert_eq!(verify(&bed, hello, &signature).await, Ok(id(number)));
            let kind = match bed.kind(number) {
                crate::crypto::KeyKind::Signing(kind) => kind,
                other => panic!("{other:?}"),
            };
            let der = &answer.public_key;
            let outside = crate::crypto::verify(kind, der, algorithm, hello.message, &signature);
            assert_eq!(outside, Ok(true), "{name}");
            let hallo = request(number, Message::Raw(b"hallo"), algorithm);
            let invalid = Err("KMSInvalidSignatureException");
            assert_eq!(verify(&bed, hallo, &signature).await, invalid);
        }
    }
}

#[tokio::test]
async fn other_algorithms_digests_and_lengths_are_refused() {
    let bed = bed();
    let (usage, length) = (Err("InvalidKeyUsageException"), Err("ValidationException"));
    let p256 = SigningAlgorithm::EcdsaSha256;
    let long = vec![1; MAX_MESSAGE + 1];
    for (asked, expected) in [
        (request(3, Message::Raw(b"x"), p256), &usage),
        (request(1, Message::Raw(b"x"), p256), &usage),
        (request(2, Message::Raw(b""), p256), &length),
        (request(2, Message::Raw(&long), p256), &length),
        (request(2, Message::Digest(&[1; 31]), p256), &length),
        (
            request(
                4,
                Message::Digest(&[1; 64]),
                SigningAlgorithm::Ed25519Sha512,
            ),
            &length,
        ),
    ] {
        assert_eq!(&sign(&bed, asked).await, expected);
        let verified = verify(&bed, asked, b"x").await;
        assert_eq!(&verified.map(|_| Vec::new()), expected);
    }
    let fine = request(2, Message::Raw(&long[1..]), p256);
    assert!(sign(&bed, fine).await.is_ok());
    let verified = verify(&bed, fine, &vec![1; MAX_SIGNATURE + 1]).await;
    assert_eq!(verified, Err("ValidationException"));
}

#[tokio::test]
async fn only_key_pairs_have_a_public_key() {
    let bed = bed();
    bed.key(5, "SymmetricDefault", "EncryptDecrypt");
    bed.key(6, "Hmac256", "GenerateVerifyMac");
    bed.key(7, "Rsa2048", "EncryptDecrypt");
    for number in [5, 6] {
        let refused = public_key(&bed, number).await.err();
        assert_eq!(refused, Some("UnsupportedOperationException"));
    }
    let answer = public_key(&bed, 7).await.unwrap();
    assert_eq!(answer.usage, KeyUsage::EncryptDecrypt);
    assert_eq!(answer.algorithms.encryption.len(), 2);
}
