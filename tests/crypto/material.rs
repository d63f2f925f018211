//! Material under the root key.

use keystead::crypto::{
    InstallationId, KeyId, KeyKind, MAX_MATERIAL, MaterialBinding, MaterialId, OsRandom,
    ParseError, RootKey, RsaSize, SecretBytes, SecretKey, UnwrapError, root_of, unwrap_material,
    wrap_material,
};

use crate::support::INSTALLATION;

const BINDING: MaterialBinding<'static> = MaterialBinding {
    installation: INSTALLATION,
    key: KeyId::from_bytes([1; 16]),
    material: MaterialId::from_bytes([2; 16]),
    namespace: "shop",
    name: "orders",
    spec: "SymmetricDefault",
    usage: "EncryptDecrypt",
    origin: "Keystead",
};

fn wrapped() -> (RootKey, SecretBytes, Vec<u8>) {
    let root = RootKey::generate(&mut OsRandom).unwrap();
    let material = SecretKey::generate(KeyKind::Symmetric, &mut OsRandom).unwrap();
    let wrapped = wrap_material(&root, &BINDING, &material, &mut OsRandom).unwrap();
    (root, material, wrapped)
}

#[test]
fn wrapped_material_opens_under_its_root_and_binding() {
    let (root, material, wrapped) = wrapped();
    assert_eq!(wrapped.len(), 129);
    assert_eq!(root_of(&wrapped), Ok(root.fingerprint()));
    assert_eq!(unwrap_material(&root, &BINDING, &wrapped), Ok(material));
}

#[test]
fn another_root_key_is_named_by_fingerprint() {
    let (root, _, wrapped) = wrapped();
    let other = RootKey::generate(&mut OsRandom).unwrap();
    let refused = unwrap_material(&other, &BINDING, &wrapped).unwrap_err();
    let (wanted, have) = (root.fingerprint(), other.fingerprint());
    assert_eq!(refused, UnwrapError::RootMismatch { wanted, have });
    assert!(refused.to_string().contains(&wanted.to_string()));
}

#[test]
fn material_moved_to_any_other_place_does_not_open() {
    let (root, _, wrapped) = wrapped();
    let moved = [
        MaterialBinding {
            installation: InstallationId::from_bytes([9; 16]),
            ..BINDING
        },
        MaterialBinding {
            key: KeyId::from_bytes([9; 16]),
            ..BINDING
        },
        MaterialBinding {
            material: MaterialId::from_bytes([9; 16]),
            ..BINDING
        },
        MaterialBinding {
            namespace: "shop2",
            ..BINDING
        },
        MaterialBinding {
            name: "orders2",
            ..BINDING
        },
        MaterialBinding {
            spec: "Hmac256",
            ..BINDING
        },
        MaterialBinding {
            usage: "SignVerify",
            ..BINDING
        },
        MaterialBinding {
            origin: "External",
            ..BINDING
        },
        // The same letters, divided differently.
        MaterialBinding {
            namespace: "shopo",
            name: "rders",
            ..BINDING
        },
    ];
    for binding in moved {
        let refused = unwrap_material(&root, &binding, &wrapped);
        assert!(
            matches!(refused, Err(UnwrapError::Decrypt(_))),
            "{binding:?}: {refused:?}"
        );
    }
}

#[test]
fn changed_cut_or_extended_material_does_not_open() {
    let (root, _, wrapped) = wrapped();
    for bit in 0..wrapped.len() * 8 {
        let mut changed = wrapped.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(
            unwrap_material(&root, &BINDING, &changed).is_err(),
            "bit {bit}"
        );
    }
    for length in 0..wrapped.len() {
        let refused = unwrap_material(&root, &BINDING, &wrapped[..length]);
        assert!(refused.is_err(), "{length} bytes");
    }
    for more in [1, 32] {
        let longer = [wrapped.clone(), vec![0; more]].concat();
        let refused = unwrap_material(&root, &BINDING, &longer);
        assert!(matches!(refused, Err(UnwrapError::Decrypt(_))));
    }
    let huge = [wrapped, vec![0; MAX_MATERIAL]].concat();
    let refused = unwrap_material(&root, &BINDING, &huge);
    assert_eq!(
        refused,
        Err(UnwrapError::Malformed(ParseError::TrailingBytes))
    );
}

#[test]
fn wrapping_twice_gives_unrelated_bytes() {
    let (root, material, first) = wrapped();
    let second = wrap_material(&root, &BINDING, &material, &mut OsRandom).unwrap();
    // Everything after the version and the fingerprint.
    assert!(
        first[17..]
            .chunks(8)
            .zip(second[17..].chunks(8))
            .all(|(a, b)| a != b)
    );
}

#[test]
fn the_longest_key_pair_fits_wrapped_into_its_field() {
    let root = RootKey::generate(&mut OsRandom).unwrap();
    let kind = KeyKind::Decryption(RsaSize::Rsa4096);
    let material = SecretKey::generate(kind, &mut OsRandom).unwrap();
    let longest = SecretBytes::zeroed(MAX_MATERIAL);
    assert!((2000..MAX_MATERIAL - 200).contains(&material.len()));
    for material in [material, longest] {
        let wrapped = wrap_material(&root, &BINDING, &material, &mut OsRandom).unwrap();
        assert!(wrapped.len().div_ceil(3) * 4 <= 4096, "{}", wrapped.len());
        assert_eq!(unwrap_material(&root, &BINDING, &wrapped), Ok(material));
    }
}
