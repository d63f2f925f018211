//! Every reader of untrusted bytes: none may panic, and none may open what was not made.
//!
//! Run `python3 fuzz/seeds.py` first: it makes the seed corpus from the published vectors and from the
//! example in `docs/formats.md`, whose key and context are those below.
#![no_main]

#[allow(dead_code, unreachable_pub, unused_imports)]
#[path = "../../src/crypto/mod.rs"]
mod crypto;

use crypto::{
    AccountId, Arn, EncryptionContext, InstallationId, KeyId, Limits, Material, MaterialBinding,
    MaterialId, Purpose, Recipient, RootKey, SealingKeys, SealingPrivateKey, SealingPublicKey,
    SecretArray, WrappingKey, decrypt, open, open_sealed, peek, peek_ciphertext, peek_sealed,
    root_of, unwrap_material,
};
use libfuzzer_sys::fuzz_target;

const INSTALLATION: InstallationId = InstallationId::from_bytes([0x1a; 16]);
const MATERIAL: MaterialId = MaterialId::from_bytes([0x22; 16]);

fuzz_target!(|data: &[u8]| {
    let key = "11111111-1111-4111-8111-111111111111"
        .parse::<KeyId>()
        .unwrap();
    let arn = Arn {
        region: "eu-central-1".parse().unwrap(),
        account: AccountId::of(INSTALLATION, "shop"),
        key,
    };
    let material = Material::from_secret(SecretArray::from_slice(&[0x33; 32]).unwrap());
    let keys = [WrappingKey {
        arn: &arn,
        material_id: MATERIAL,
        material: &material,
    }];
    let user = EncryptionContext::user([("team", "orders")]).unwrap();
    let place = Purpose::Value {
        namespace: "shop",
        secret: "orders-db",
        version: "v1",
    };
    let example = place.context(&user).unwrap();
    for expected in [EncryptionContext::empty(), example] {
        if open(data, &expected, &keys, Limits::default()).is_ok() {
            peek(data).expect("what opens can be peeked into");
            let longer = [data, &[0]].concat();
            assert!(open(&longer, &expected, &keys, Limits::default()).is_err());
        }
        let _ = decrypt(data, &expected, &keys);
    }
    let _ = peek(data);
    let _ = peek_ciphertext(data);
    let _ = root_of(data);
    let root = RootKey::from_secret(SecretArray::from_slice(&[0x44; 32]).unwrap());
    let binding = MaterialBinding {
        installation: INSTALLATION,
        key,
        material: MATERIAL,
        namespace: "shop",
        name: "orders",
        spec: "SymmetricDefault",
        usage: "EncryptDecrypt",
        origin: "Keystead",
    };
    let _ = unwrap_material(&root, &binding, data);
    sealed(data);
});

/// What anybody on the way to the operator can write.
fn sealed(data: &[u8]) {
    let seed = SecretArray::from_slice(&[0x55; 32]).unwrap();
    let private = SealingPrivateKey::from_seed(INSTALLATION, seed);
    let keys = SealingKeys::new(INSTALLATION, vec![private]);
    let place = Purpose::Sealed {
        namespace: "shop",
        secret: "orders-db",
        key: "password",
    };
    let expected = place.context(&EncryptionContext::empty()).unwrap();
    let info = peek_sealed(data);
    if open_sealed(data, &expected, &keys, Limits::default()).is_ok() {
        assert_eq!(
            info.expect("what opens can be peeked into").context,
            expected
        );
        let longer = [data, &[0]].concat();
        assert!(open_sealed(&longer, &expected, &keys, Limits::default()).is_err());
    }
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(recipient) = text.parse::<Recipient>() {
            assert_eq!(recipient.to_string(), text);
        }
        if let Ok(key) = text.parse::<SealingPublicKey>() {
            assert_eq!(key.to_string(), text);
        }
    }
}
