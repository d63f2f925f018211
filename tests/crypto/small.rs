//! Small plaintexts directly under a key.

use keystead::crypto::{
    CiphertextInfo, EncryptionContext, MAX_SMALL_PLAINTEXT, OpenError, OsRandom, ParseError,
    SealError, decrypt, encrypt, peek_ciphertext,
};

use crate::support::Generation;

fn context() -> EncryptionContext {
    EncryptionContext::user([("team", "orders")]).unwrap()
}

#[test]
fn small_plaintexts_survive() {
    let key = Generation::new(1, 1);
    for length in [0, 1, 32, MAX_SMALL_PLAINTEXT] {
        let plaintext = vec![0x5a; length];
        let blob = encrypt(&plaintext, &context(), &key.wrapping(), &mut OsRandom).unwrap();
        assert_eq!(blob.len(), 114 + length);
        let info = peek_ciphertext(&blob).unwrap();
        let named = CiphertextInfo {
            key: key.arn.key,
            material: key.material_id,
            plaintext_length: length,
        };
        assert_eq!(info, named);
        let opened = decrypt(&blob, &context(), &[key.wrapping()]).unwrap();
        assert_eq!(opened.expose(), plaintext);
    }
}

#[test]
fn larger_plaintexts_are_refused() {
    let key = Generation::new(1, 1);
    let (length, limit) = (MAX_SMALL_PLAINTEXT + 1, MAX_SMALL_PLAINTEXT);
    let refused = encrypt(&vec![0; length], &context(), &key.wrapping(), &mut OsRandom);
    assert_eq!(refused, Err(SealError::TooLong { length, limit }));
}

#[test]
fn another_context_does_not_open() {
    let key = Generation::new(1, 1);
    let blob = encrypt(b"x", &context(), &key.wrapping(), &mut OsRandom).unwrap();
    let refused = decrypt(&blob, &EncryptionContext::empty(), &[key.wrapping()]);
    assert!(matches!(refused, Err(OpenError::Decrypt(_))));
}

#[test]
fn unknown_material_is_named_and_no_other_is_tried() {
    let (old, new) = (Generation::new(1, 1), Generation::new(1, 2));
    let blob = encrypt(b"x", &context(), &old.wrapping(), &mut OsRandom).unwrap();
    let refused = decrypt(&blob, &context(), &[new.wrapping()]);
    let missing = OpenError::MaterialMissing {
        key: old.arn.key,
        material: old.material_id,
    };
    assert_eq!(refused, Err(missing));
}

#[test]
fn changed_cut_or_extended_ciphertext_does_not_open() {
    let key = Generation::new(1, 1);
    let blob = encrypt(b"secret", &context(), &key.wrapping(), &mut OsRandom).unwrap();
    let open = |bytes: &[u8]| decrypt(bytes, &context(), &[key.wrapping()]);
    for bit in 0..blob.len() * 8 {
        let mut changed = blob.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(open(&changed).is_err(), "bit {bit}");
    }
    for length in 0..blob.len() {
        assert!(open(&blob[..length]).is_err(), "{length} bytes");
    }
    assert!(open(&[blob.as_slice(), &[0]].concat()).is_err());
    let huge = [blob, vec![0; MAX_SMALL_PLAINTEXT]].concat();
    assert_eq!(
        open(&huge),
        Err(OpenError::Malformed(ParseError::TrailingBytes))
    );
}
