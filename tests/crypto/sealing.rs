//! Sealing: round trips for one and several installations, and everything that must not open.

use keystead::crypto::{
    EncryptionContext, InstallationId, Limits, MAX_PLAINTEXT, MAX_WRAPPED_KEYS, OpenError,
    OsRandom, ParseError, Purpose, SealError, SealingKeyError, SealingKeys, SealingPrivateKey,
    SealingPublicKey, SecretArray, SecretBytes, open, open_sealed, peek, peek_sealed, seal,
    seal_to,
};
use proptest::prelude::*;

use crate::support::{Generation, INSTALLATION};

const OTHER: InstallationId = InstallationId::from_bytes([0x2b; 16]);

fn private(installation: InstallationId, seed: u8) -> SealingPrivateKey {
    let seed = SecretArray::from_slice(&[seed; 32]).unwrap();
    SealingPrivateKey::from_seed(installation, seed)
}

fn public(installation: InstallationId, seed: u8) -> SealingPublicKey {
    private(installation, seed).public(installation)
}

fn keys(installation: InstallationId, seeds: &[u8]) -> SealingKeys {
    let keys = seeds.iter().map(|seed| private(installation, *seed));
    SealingKeys::new(installation, keys.collect())
}

fn user() -> EncryptionContext {
    EncryptionContext::user([("team", "orders")]).unwrap()
}

fn place<'a>(namespace: &'a str, secret: &'a str, key: &'a str) -> EncryptionContext {
    let place = Purpose::Sealed {
        namespace,
        secret,
        key,
    };
    place.context(&user()).unwrap()
}

fn sealed(context: &EncryptionContext, recipients: &[SealingPublicKey]) -> Vec<u8> {
    seal_to(b"hunter2", context, recipients, &mut OsRandom).unwrap()
}

fn opened(
    message: &[u8],
    context: &EncryptionContext,
    keys: &SealingKeys,
) -> Result<SecretBytes, OpenError> {
    open_sealed(message, context, keys, Limits::default())
}

#[test]
fn each_of_ten_recipients_opens_and_nobody_else() {
    let installations: Vec<_> = (0..10)
        .map(|n| InstallationId::from_bytes([n; 16]))
        .collect();
    let recipients: Vec<_> = installations.iter().map(|id| public(*id, 1)).collect();
    let context = place("shop", "db", "password");
    let message = sealed(&context, &recipients);
    for installation in &installations {
        let plaintext = opened(&message, &context, &keys(*installation, &[1])).unwrap();
        assert_eq!(plaintext.expose(), b"hunter2");
    }
    let refused = opened(&message, &context, &keys(OTHER, &[1]));
    let other = OpenError::OtherInstallation {
        sealed_for: installations[0],
        this: OTHER,
    };
    assert_eq!(refused, Err(other));
    let info = peek_sealed(&message).unwrap();
    let named: Vec<_> = info.recipients.iter().map(|r| r.installation).collect();
    assert_eq!(named, installations);
    assert_eq!(info.context, context);
}

#[test]
fn an_older_key_opens_and_a_missing_one_is_named() {
    let context = place("shop", "db", "password");
    let old = public(INSTALLATION, 1);
    let message = sealed(&context, std::slice::from_ref(&old));
    assert!(opened(&message, &context, &keys(INSTALLATION, &[2, 1])).is_ok());
    for known in [&[2][..], &[]] {
        let refused = opened(&message, &context, &keys(INSTALLATION, known));
        assert_eq!(refused, Err(OpenError::SealingKeyMissing { key: old.id() }));
    }
    // Sealed for two keys of one installation, either of them does.
    let both = sealed(&context, &[old, public(INSTALLATION, 2)]);
    for known in [1, 2] {
        assert!(opened(&both, &context, &keys(INSTALLATION, &[known])).is_ok());
    }
}

#[test]
fn an_entry_of_another_place_names_what_differs() {
    let message = sealed(&place("shop", "db", "password"), &[public(INSTALLATION, 1)]);
    let namespace = Purpose::SealedForNamespace { namespace: "shop" };
    let no_user = Purpose::Sealed {
        namespace: "shop",
        secret: "db",
        key: "password",
    };
    let cases = [
        (place("bank", "db", "password"), Some("keystead:namespace")),
        (place("shop", "cache", "password"), Some("keystead:secret")),
        (place("shop", "db", "token"), Some("keystead:key")),
        (namespace.context(&user()).unwrap(), Some("keystead:scope")),
        (no_user.context(&EncryptionContext::empty()).unwrap(), None),
    ];
    for (expected, key) in cases {
        // Whoever lacks the key too learns first that it is the wrong place.
        for known in [&[1][..], &[2]] {
            let refused = opened(&message, &expected, &keys(INSTALLATION, known));
            let key = key.map(str::to_owned);
            assert_eq!(refused, Err(OpenError::ContextMismatch { key }));
        }
    }
}

#[test]
fn the_scope_of_a_namespace_opens_under_every_name_in_it() {
    let scope = |namespace| {
        Purpose::SealedForNamespace { namespace }
            .context(&user())
            .unwrap()
    };
    let message = sealed(&scope("shop"), &[public(INSTALLATION, 1)]);
    assert!(opened(&message, &scope("shop"), &keys(INSTALLATION, &[1])).is_ok());
    let refused = opened(&message, &scope("bank"), &keys(INSTALLATION, &[1]));
    let key = Some("keystead:namespace".to_owned());
    assert_eq!(refused, Err(OpenError::ContextMismatch { key }));
}

#[test]
fn every_flipped_bit_is_noticed() {
    let context = place("shop", "db", "password");
    let message = sealed(&context, &[public(INSTALLATION, 1)]);
    let keys = keys(INSTALLATION, &[1]);
    for (index, _) in message.iter().enumerate() {
        let mut changed = message.clone();
        changed[index] ^= 1 << (index % 8);
        assert!(opened(&changed, &context, &keys).is_err(), "byte {index}");
    }
}

#[test]
fn every_truncation_and_every_appended_byte_is_noticed() {
    let context = place("shop", "db", "password");
    let message = sealed(&context, &[public(INSTALLATION, 1)]);
    let keys = keys(INSTALLATION, &[1]);
    let malformed = |error| Err(OpenError::Malformed(error));
    for length in 0..message.len() {
        let cut = &message[..length];
        assert_eq!(
            opened(cut, &context, &keys),
            malformed(ParseError::Truncated)
        );
        assert_eq!(
            peek_sealed(cut),
            Err(OpenError::Malformed(ParseError::Truncated))
        );
    }
    let longer = [message, vec![0]].concat();
    let tail = malformed(ParseError::TrailingBytes);
    assert_eq!(opened(&longer, &context, &keys), tail);
}

#[test]
fn a_header_rewritten_to_the_expected_place_does_not_open() {
    let mut message = sealed(&place("shop", "db", "password"), &[public(INSTALLATION, 1)]);
    let at = message.windows(4).position(|part| part == b"shop").unwrap();
    message[at..at + 4].copy_from_slice(b"bank");
    let expected = place("bank", "db", "password");
    let refused = opened(&message, &expected, &keys(INSTALLATION, &[1]));
    assert!(matches!(refused, Err(OpenError::Decrypt(_))), "{refused:?}");
}

#[test]
fn the_same_recipient_twice_none_and_too_many_are_refused() {
    let context = place("shop", "db", "password");
    let seal = |recipients: &[SealingPublicKey]| {
        seal_to(b"x", &context, recipients, &mut OsRandom).unwrap_err()
    };
    let one = public(INSTALLATION, 1);
    assert_eq!(seal(&[]), SealError::Recipients(0));
    let twice = [one.clone(), public(OTHER, 1), one.clone()];
    assert_eq!(seal(&twice), SealError::RepeatedRecipient(one.id()));
    let many: Vec<_> = (0..=10).map(|seed| public(INSTALLATION, seed)).collect();
    assert_eq!(usize::from(MAX_WRAPPED_KEYS) + 1, many.len());
    assert_eq!(seal(&many), SealError::Recipients(11));
    // A message that says it twice is refused by the reader too.
    let two = sealed(&context, &[one, public(OTHER, 1)]);
    let start = two.windows(2).position(|part| part == b"\0\x0d").unwrap();
    let entry = 2 + 13 + 2 + 69 + 2 + 1168;
    let mut repeated = two.clone();
    repeated.copy_within(start..start + entry, start + entry);
    let refused = opened(&repeated, &context, &keys(INSTALLATION, &[1]));
    assert_eq!(refused, Err(OpenError::SeveralKeys));
}

#[test]
fn sealed_and_wrapped_envelopes_are_not_taken_for_each_other() {
    let context = place("shop", "db", "password");
    let key = Generation::new(1, 1);
    let wrapped = seal(b"x", &context, &key.wrapping(), &mut OsRandom).unwrap();
    let refused = opened(&wrapped, &context, &keys(INSTALLATION, &[1]));
    assert_eq!(refused, Err(OpenError::NoKey));
    assert_eq!(peek_sealed(&wrapped), Err(OpenError::NoKey));
    let sealed = sealed(&context, &[public(INSTALLATION, 1)]);
    let refused = open(&sealed, &context, &[key.wrapping()], Limits::default());
    assert_eq!(refused, Err(OpenError::NoKey));
    assert_eq!(peek(&sealed), Err(OpenError::NoKey));
}

#[test]
fn plaintexts_beyond_the_limits_are_refused() {
    let context = place("shop", "db", "password");
    let (length, limit) = (MAX_PLAINTEXT + 1, MAX_PLAINTEXT);
    let one = [public(INSTALLATION, 1)];
    let refused = seal_to(&vec![0; length], &context, &one, &mut OsRandom);
    assert_eq!(refused, Err(SealError::TooLong { length, limit }));
    let message = sealed(&context, &one);
    let limits = Limits { max_plaintext: 6 };
    let refused = open_sealed(&message, &context, &keys(INSTALLATION, &[1]), limits);
    assert_eq!(
        refused,
        Err(OpenError::TooLong {
            length: 7,
            limit: 6
        })
    );
}

#[test]
fn a_public_key_survives_its_text_form_and_every_change_to_it_is_noticed() {
    let key = public(INSTALLATION, 1);
    let text = key.to_string();
    assert_eq!(text.len(), 1670);
    assert_eq!(text.parse::<SealingPublicKey>().as_ref(), Ok(&key));
    let read = |text: &str| text.parse::<SealingPublicKey>().unwrap_err();
    for length in 6..text.len() {
        let cut = SealingKeyError::Length {
            expected: 1670,
            length,
        };
        assert_eq!(read(&text[..length]), cut);
    }
    assert_eq!(read(&text[..5]), SealingKeyError::Prefix);
    assert_eq!(read(&text[1..]), SealingKeyError::Prefix);
    for at in 6..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(read(&changed), SealingKeyError::Checksum, "character {at}");
    }
}

#[test]
fn a_key_of_another_installation_has_another_id() {
    assert_ne!(public(INSTALLATION, 1).id(), public(OTHER, 1).id());
    assert_eq!(private(OTHER, 1).id(), public(OTHER, 1).id());
    assert!(SealingPublicKey::new(OTHER, &[0; 1215]).is_err());
    // Coefficients beyond the modulus of ML-KEM.
    assert!(SealingPublicKey::new(OTHER, &[0xff; 1216]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_plaintext_survives_and_any_damage_is_noticed(
        plaintext in prop::collection::vec(any::<u8>(), 0..10_000),
        pairs in prop::collection::btree_map("[a-z]{1,8}", ".{0,20}", 0..5),
        damage in any::<(prop::sample::Index, u8)>(),
        cut in any::<prop::sample::Index>(),
        tail in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let context = EncryptionContext::user(pairs).unwrap();
        let one = [public(INSTALLATION, 1)];
        let message = seal_to(&plaintext, &context, &one, &mut OsRandom).unwrap();
        let keys = keys(INSTALLATION, &[1]);
        let open = |bytes: &[u8]| opened(bytes, &context, &keys);
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
        let keys = keys(INSTALLATION, &[1]);
        prop_assert!(opened(&bytes, &user(), &keys).is_err());
        prop_assert!(peek_sealed(&bytes).is_err());
        // A genuine beginning reaches deeper into the parser.
        let message = sealed(&user(), &[public(INSTALLATION, 1)]);
        let start = &message[..kept.index(message.len())];
        prop_assert!(opened(&[start, &bytes].concat(), &user(), &keys).is_err());
        let _ = peek_sealed(&[start, &bytes].concat());
    }

    #[test]
    fn arbitrary_text_is_no_public_key(text in "(kssk1_)?[A-Za-z0-9_-]{0,1700}") {
        prop_assert!(text.parse::<SealingPublicKey>().is_err());
    }
}
