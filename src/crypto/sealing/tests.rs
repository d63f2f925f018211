use super::{wrap::wrap, *};
use crate::crypto::{OsRandom, RandomError, SecretArray};

/// Bytes that were drawn before.
struct Given(Vec<u8>);

impl Random for Given {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), RandomError> {
        let rest = self.0.split_off(out.len());
        out.copy_from_slice(&std::mem::replace(&mut self.0, rest));
        Ok(())
    }
}

const INSTALLATION: InstallationId = InstallationId::from_bytes([0x1a; 16]);

/// The first two of draft-connolly-cfrg-xwing-kem, appendix C: seed, randomness, and SHA-256 of public key and ciphertext.
const XWING: [[&str; 4]; 2] = [
    [
        "7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26",
        "3cb1eea988004b93103cfb0aeefd2a686e01fa4a58e8a3639ca8a1e3f9ae57e2\
         35b8cc873c23dc62b8d260169afa2f75ab916a58d974918835d25e6a435085b2",
        "2e816deebcd76c5c80d0cd2d174478871658e8e2ff42bc9d4a6e486372e856bb",
        "17cd532d657e44c897ca6583e548a5424fc70bf54f99515a4d2bcf99e3469f33",
    ],
    [
        "badfd6dfaac359a5efbb7bcc4b59d538df9a04302e10c8bc1cbf1a0b3a5120ea",
        "17cda7cfad765f5623474d368ccca8af0007cd9f5e4c849f167a580b14aabdef\
         aee7eef47cb0fca9767be1fda69419dfb927e9df07348b196691abaeb580b32d",
        "c42ba5f8430d7d2c83739338203819f090e8303ce9c8b02107c272bfa5376916",
        "1661ea86d608a1924ba30840cb0a65f13ae051e3aec9cf0f064efc0bc92f2154",
    ],
];

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).to_vec()
}

#[test]
fn the_published_vectors_of_x_wing_give_our_public_keys_and_encapsulations() {
    for [seed, randomness, public_key, ciphertext] in XWING {
        let seed = SecretArray::from_slice(&hex(seed)).unwrap();
        let public = SealingPrivateKey::from_seed(INSTALLATION, seed).public(INSTALLATION);
        assert_eq!(sha256(public.as_bytes()), hex(public_key));
        let mut given = Given(hex(randomness));
        let wrapped = wrap(&[7; 32], b"", &public, &mut given).unwrap();
        assert_eq!(sha256(&wrapped[..1120]), hex(ciphertext));
    }
}

#[test]
fn a_data_key_of_another_context_installation_or_key_does_not_unwrap() {
    let private = SealingPrivateKey::generate(INSTALLATION, &mut OsRandom).unwrap();
    let public = private.public(INSTALLATION);
    let wrapped = wrap(&[7; 32], b"here", &public, &mut OsRandom).unwrap();
    let recipient = public.recipient();
    let opened = wrap::unwrap(&wrapped, b"here", recipient, &private).unwrap();
    assert_eq!(opened.expose(), [7; 32]);
    let elsewhere = Recipient {
        installation: InstallationId::from_bytes([0x1b; 16]),
        ..recipient
    };
    let renamed = Recipient {
        key: SealingKeyId::from_bytes([0; 16]),
        ..recipient
    };
    let other = SealingPrivateKey::generate(INSTALLATION, &mut OsRandom).unwrap();
    let cases = [
        (b"else".as_slice(), recipient, &private),
        (b"here", elsewhere, &private),
        (b"here", renamed, &private),
        (b"here", recipient, &other),
    ];
    for (context, recipient, key) in cases {
        assert!(wrap::unwrap(&wrapped, context, recipient, key).is_err());
    }
    for length in 0..wrapped.len() {
        assert!(wrap::unwrap(&wrapped[..length], b"here", recipient, &private).is_err());
    }
}

#[test]
fn a_recipient_has_one_text_form() {
    let recipient = Recipient {
        installation: INSTALLATION,
        key: SealingKeyId::from_bytes([0x5e; 16]),
    };
    let text = recipient.to_string();
    assert_eq!(text.parse(), Ok(recipient));
    for wrong in [
        "",
        "/",
        &text[1..],
        &text[..text.len() - 1],
        &text.to_uppercase(),
        &format!("{text}/"),
        &text.replace('/', ":"),
    ] {
        assert!(wrong.parse::<Recipient>().is_err(), "{wrong}");
    }
}
