//! Envelopes: round trips, and everything that must not open.

use keystead::crypto::{
    EncryptionContext, Limits, MAX_PLAINTEXT, MaterialLookup, OpenError, OsRandom, ParseError,
    Purpose, SealError, SecretBytes, Suite, open, peek, seal,
};
use proptest::prelude::*;

use crate::support::Generation;

fn user() -> EncryptionContext {
    EncryptionContext::user([("team", "orders")]).unwrap()
}

fn value<'a>(namespace: &'a str, secret: &'a str, version: &'a str) -> EncryptionContext {
    Purpose::Value {
        namespace,
        secret,
        version,
    }
    .context(&user())
    .unwrap()
}

fn sealed(plaintext: &[u8], context: &EncryptionContext, key: &Generation) -> Vec<u8> {
    seal(plaintext, context, &key.wrapping(), &mut OsRandom).unwrap()
}

fn opened(
    message: &[u8],
    context: &EncryptionContext,
    keys: &dyn MaterialLookup,
) -> Result<SecretBytes, OpenError> {
    open(message, context, keys, Limits::default())
}

#[test]
fn lengths_around_the_frame_survive() {
    let key = Generation::new(1, 1);
    let context = value("shop", "db", "v1");
    for length in [0, 1, 4095, 4096, 4097, 8191, 8192, 8193, MAX_PLAINTEXT] {
        let plaintext: Vec<u8> = (0..=250).cycle().take(length).collect();
        let message = sealed(&plaintext, &context, &key);
        assert_eq!(
            message.capacity(),
            message.len(),
            "the buffer is sized exactly"
        );
        let result = opened(&message, &context, &[key.wrapping()]).unwrap();
        assert_eq!(result.expose(), plaintext, "{length} bytes");
    }
}

#[test]
fn peek_reads_who_made_it() {
    let key = Generation::new(1, 1);
    let info = peek(&sealed(b"x", &user(), &key)).unwrap();
    assert_eq!(info.arn, key.arn);
    assert_eq!((info.key, info.material), (key.arn.key, key.material_id));
    assert_eq!(info.suite, Suite::Committing);
}

#[test]
fn every_flipped_bit_is_noticed() {
    let key = Generation::new(1, 1);
    let context = value("shop", "db", "v1");
    let message = sealed(b"secret", &context, &key);
    for bit in 0..message.len() * 8 {
        let mut changed = message.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(
            opened(&changed, &context, &[key.wrapping()]).is_err(),
            "bit {bit}"
        );
    }
}

#[test]
fn every_truncation_and_every_appended_byte_is_noticed() {
    let key = Generation::new(1, 1);
    let context = value("shop", "db", "v1");
    let message = sealed(&[7; 5000], &context, &key);
    for length in 0..message.len() {
        let refused = opened(&message[..length], &context, &[key.wrapping()]);
        assert_eq!(
            refused,
            Err(OpenError::Malformed(ParseError::Truncated)),
            "{length} bytes"
        );
    }
    let longer = [message, vec![0]].concat();
    let refused = opened(&longer, &context, &[key.wrapping()]);
    assert_eq!(
        refused,
        Err(OpenError::Malformed(ParseError::TrailingBytes))
    );
}

#[test]
fn an_envelope_of_another_place_names_what_differs() {
    let key = Generation::new(1, 1);
    let message = sealed(b"secret", &value("shop", "db", "v1"), &key);
    let manifest = Purpose::Manifest {
        namespace: "shop",
        secret: "db",
    }
    .context(&user())
    .unwrap();
    let sealed_key = Purpose::Sealed {
        namespace: "shop",
        secret: "db",
        key: "v1",
    };
    let other_user = EncryptionContext::user([("team", "billing")]).unwrap();
    let no_user = Purpose::Value {
        namespace: "shop",
        secret: "db",
        version: "v1",
    };
    let cases = [
        (value("bank", "db", "v1"), Some("keystead:namespace")),
        (value("shop", "cache", "v1"), Some("keystead:secret")),
        (value("shop", "db", "v2"), Some("keystead:version")),
        (manifest, Some("keystead:purpose")),
        (sealed_key.context(&user()).unwrap(), Some("keystead:key")),
        (no_user.context(&other_user).unwrap(), Some("team")),
        (no_user.context(&EncryptionContext::empty()).unwrap(), None),
        (EncryptionContext::empty(), None),
    ];
    for (expected, key_name) in cases {
        let refused = opened(&message, &expected, &[key.wrapping()]);
        let key = key_name.map(str::to_owned);
        assert_eq!(refused, Err(OpenError::ContextMismatch { key }));
    }
}

#[test]
fn a_header_rewritten_to_the_expected_context_does_not_open() {
    let key = Generation::new(1, 1);
    let message = sealed(b"secret", &value("shop", "db", "v1"), &key);
    let position = message.windows(2).position(|pair| pair == b"v1").unwrap();
    let mut changed = message;
    changed[position + 1] = b'2';
    let refused = opened(&changed, &value("shop", "db", "v2"), &[key.wrapping()]);
    assert!(matches!(refused, Err(OpenError::Decrypt(_))), "{refused:?}");
}

#[test]
fn unknown_material_is_named_and_known_material_opens_after_rotation() {
    let (old, new) = (Generation::new(1, 1), Generation::new(1, 2));
    let message = sealed(b"secret", &user(), &old);
    let refused = opened(&message, &user(), &[new.wrapping()]);
    let missing = OpenError::MaterialMissing {
        key: old.arn.key,
        material: old.material_id,
    };
    assert_eq!(refused, Err(missing));
    let rotated = [new.wrapping(), old.wrapping()];
    assert_eq!(
        opened(&message, &user(), &rotated).unwrap().expose(),
        b"secret"
    );
}

#[test]
fn other_material_under_the_same_name_fails_opaquely() {
    let (right, mut wrong) = (Generation::new(1, 1), Generation::new(1, 2));
    let message = sealed(b"secret", &user(), &right);
    wrong.material_id = right.material_id;
    let refused = opened(&message, &user(), &[wrong.wrapping()]).unwrap_err();
    assert_eq!(refused.to_string(), "the ciphertext does not open");
}

#[test]
fn no_two_envelopes_of_one_secret_share_an_id_or_a_commitment() {
    let (old, new) = (Generation::new(1, 1), Generation::new(1, 2));
    let context = value("shop", "db", "v1");
    let mut seen = std::collections::HashSet::new();
    for key in [&old, &old, &new, &new] {
        for _ in 0..25 {
            let message = sealed(b"the same value", &context, key);
            let info = peek(&message).unwrap();
            // The wrapped key's own commitment, after its prefix and salt.
            let prefix = [&[1, 1], key.arn.key.as_bytes().as_slice()].concat();
            let start = message
                .windows(prefix.len())
                .position(|part| part == prefix)
                .unwrap();
            let wrapped: [u8; 32] = message[start + 66..start + 98].try_into().unwrap();
            for value in [info.message_id, info.commitment, wrapped] {
                assert!(seen.insert(value), "repeated");
            }
        }
    }
    assert_eq!(seen.len(), 300);
}

#[test]
fn plaintexts_beyond_the_limits_are_refused() {
    let key = Generation::new(1, 1);
    let (length, limit) = (MAX_PLAINTEXT + 1, MAX_PLAINTEXT);
    let refused = seal(&vec![0; length], &user(), &key.wrapping(), &mut OsRandom);
    assert_eq!(refused, Err(SealError::TooLong { length, limit }));
    let message = sealed(&[0; 11], &user(), &key);
    let refused = open(
        &message,
        &user(),
        &[key.wrapping()],
        Limits { max_plaintext: 10 },
    );
    assert_eq!(
        refused,
        Err(OpenError::TooLong {
            length: 11,
            limit: 10
        })
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_plaintext_survives_and_any_damage_is_noticed(
        plaintext in prop::collection::vec(any::<u8>(), 0..20_000),
        pairs in prop::collection::btree_map("[a-z]{1,8}", ".{0,20}", 0..5),
        damage in any::<(prop::sample::Index, u8)>(),
        cut in any::<prop::sample::Index>(),
        tail in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let key = Generation::new(1, 1);
        let context = EncryptionContext::user(pairs).unwrap();
        let message = sealed(&plaintext, &context, &key);
        let open = |bytes: &[u8]| opened(bytes, &context, &[key.wrapping()]);
        let result = open(&message).unwrap();
        prop_assert_eq!(result.expose(), plaintext.as_slice());

        let mut changed = message.clone();
        changed[damage.0.index(message.len())] ^= 1 << (damage.1 % 8);
        prop_assert!(open(&changed).is_err());
        prop_assert!(open(&message[..cut.index(message.len())]).is_err());
        prop_assert!(open(&[message, tail].concat()).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_open_and_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        kept in any::<prop::sample::Index>(),
    ) {
        let key = Generation::new(1, 1);
        prop_assert!(opened(&bytes, &user(), &[key.wrapping()]).is_err());
        prop_assert!(peek(&bytes).is_err());
        // A genuine beginning reaches deeper into the parser.
        let message = sealed(&[1; 5000], &user(), &key);
        let start = &message[..kept.index(message.len())];
        prop_assert!(opened(&[start, &bytes].concat(), &user(), &[key.wrapping()]).is_err());
    }
}
