use std::fmt::Write as _;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;

const CANARY: &str = "C4N4RY-value";

fn value(entries: &[(&str, &[u8])]) -> SecretValue {
    let owned = entries
        .iter()
        .map(|(key, bytes)| ((*key).to_owned(), SecretBytes::copy_of(bytes)));
    SecretValue::from_entries(owned).unwrap()
}

fn any_value() -> impl Strategy<Value = SecretValue> {
    btree_map(
        "[a-zA-Z0-9_-][-._a-zA-Z0-9]{0,20}",
        vec(any::<u8>(), 0..80),
        0..8,
    )
    .prop_map(|map| {
        SecretValue::from_entries(map.into_iter().map(|(k, v)| (k, SecretBytes::from(v)))).unwrap()
    })
}

/// A value that keeps the text that it was read from, or does not.
fn any_value_and_text() -> impl Strategy<Value = SecretValue> {
    (any_value(), proptest::option::of(".{0,40}")).prop_map(|(mut value, text)| {
        if let Some(text) = text {
            value.keep_text(&text).unwrap();
        }
        value
    })
}

fn is_same(one: &SecretValue, other: &SecretValue) -> bool {
    one == other && one.text() == other.text()
}

fn problem(input: &[u8]) -> DecodeProblem {
    match SecretValue::decode(input) {
        Err(ValueError::Malformed { problem }) => problem,
        other => panic!("expected a malformed value, got {other:?}"),
    }
}

#[test]
fn the_documented_example_is_the_form() {
    let expected = [
        1, 0, 2, 0, 1, b'a', 0, 0, 0, 1, b'x', 0, 1, b'b', 0, 0, 0, 0,
    ];
    assert_eq!(
        value(&[("b", b""), ("a", b"x")]).encode().expose(),
        expected
    );
}

#[test]
fn awkward_bytes_come_back_as_they_were() {
    let all: Vec<u8> = (0..4).flat_map(|_| 0..=255_u8).collect();
    let cases: &[&[u8]] = &[
        &all,
        b"",
        b"\n",
        b"pw\n",
        b"pw\r\n",
        b"\xef\xbb\xbfbom",
        b"a\0b",
        b"aGVsbG8=",
        br#"{"a":1}"#,
        "\u{1f511}".as_bytes(),
        b"\xfe\xed\xfe\xed jks",
    ];
    for case in cases {
        let decoded = SecretValue::decode(value(&[("key", case)]).encode().expose()).unwrap();
        assert_eq!(decoded.get("key"), Some(*case));
    }
}

#[test]
fn key_names_are_those_of_a_secret_s_data() {
    let longest = "k".repeat(MAX_KEY_NAME);
    for key in [
        "a.b",
        ".dockerconfigjson",
        "-x",
        "_",
        "tls.crt",
        "a..b",
        ".a",
        &longest,
    ] {
        assert_eq!(check_key_name(key), Ok(()), "{key}");
    }
    let cases = [
        ("", KeyNameError::Empty),
        (&*format!("{longest}k"), KeyNameError::TooLong),
        ("a/b", KeyNameError::Character),
        ("A:B", KeyNameError::Character),
        ("ключ", KeyNameError::Character),
        ("a b", KeyNameError::Character),
        ("a\n", KeyNameError::Character),
        (".", KeyNameError::DirectoryChange),
        ("..", KeyNameError::DirectoryChange),
        ("..x", KeyNameError::DirectoryChange),
    ];
    for (key, expected) in cases {
        assert_eq!(check_key_name(key), Err(expected), "{key}");
    }
}

#[test]
fn a_duplicate_key_is_refused_and_the_first_stays() {
    let mut value = value(&[("a", b"first")]);
    let refused = value.insert("a".to_owned(), SecretBytes::copy_of(b"second"));
    assert_eq!(
        refused,
        Err(ValueError::DuplicateKey {
            key: "a".to_owned()
        })
    );
    assert_eq!(value.get("a"), Some(&b"first"[..]));
}

#[test]
fn the_greatest_value_is_accepted_and_one_byte_more_is_not() {
    let mut full = SecretValue::new();
    full.insert(
        "a".to_owned(),
        SecretBytes::from(vec![7; MAX_PLAINTEXT - 1]),
    )
    .unwrap();
    assert_eq!(full.size(), MAX_PLAINTEXT);
    assert!(SecretValue::decode(full.encode().expose()).unwrap() == full);

    let error = SecretValue::new()
        .insert(
            "abc".to_owned(),
            SecretBytes::from(vec![7; MAX_PLAINTEXT - 2]),
        )
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "with key `abc` the keys and values have 262145 bytes, more than the limit of 262144 bytes"
    );
}

#[test]
fn one_key_too_many_is_refused() {
    let mut value = SecretValue::new();
    for index in 0..MAX_KEYS {
        value
            .insert(format!("k{index}"), SecretBytes::copy_of(b""))
            .unwrap();
    }
    assert!(SecretValue::decode(value.encode().expose()).unwrap() == value);
    let refused = value.insert("last".to_owned(), SecretBytes::copy_of(b""));
    assert_eq!(
        refused,
        Err(ValueError::TooManyKeys {
            key: "last".to_owned()
        })
    );
}

#[test]
fn other_forms_of_a_value_are_refused() {
    let cases: &[(&[u8], DecodeProblem)] = &[
        (b"", DecodeProblem::Truncated),
        (b"\x00\x00\x00", DecodeProblem::Format),
        (b"\x03\x00\x00", DecodeProblem::Format),
        (b"\x02\x00\x00", DecodeProblem::Truncated),
        (b"\x02\x00\x00\x00\x00\x00\x02x", DecodeProblem::Truncated),
        (b"\x02\x00\x00\x00\x00\x00\x01\xff", DecodeProblem::Text),
        (b"\x02\x00\x00\x00\x00\x00\x01xy", DecodeProblem::Trailing),
        (b"\x02\x00\x00\x00\x04\x00\x01", DecodeProblem::Length),
        (b"\x01\x00\x00\x00", DecodeProblem::Trailing),
        (b"\x01\x04\x01", DecodeProblem::Length),
        (b"\x01\x00\x01\x00\xfe", DecodeProblem::Length),
        (
            b"\x01\x00\x01\x00\x00\x00\x00\x00\x00",
            DecodeProblem::KeyName,
        ),
        (
            b"\x01\x00\x01\x00\x01/\x00\x00\x00\x00",
            DecodeProblem::KeyName,
        ),
        (
            b"\x01\x00\x01\x00\x01\xff\x00\x00\x00\x00",
            DecodeProblem::KeyName,
        ),
        (
            b"\x01\x00\x01\x00\x01a\xff\xff\xff\xff",
            DecodeProblem::Length,
        ),
        (
            b"\x01\x00\x01\x00\x01a\x00\x00\x00\x02x",
            DecodeProblem::Truncated,
        ),
        (
            b"\x01\x00\x02\x00\x01b\x00\x00\x00\x00\x00\x01a\x00\x00\x00\x00",
            DecodeProblem::Order,
        ),
        (
            b"\x01\x00\x02\x00\x01a\x00\x00\x00\x00\x00\x01a\x00\x00\x00\x00",
            DecodeProblem::Order,
        ),
    ];
    for (input, expected) in cases {
        assert_eq!(problem(input), *expected, "{input:?}");
    }
}

#[test]
fn errors_and_debug_tell_no_value() {
    let mut secret = value(&[("a", CANARY.as_bytes())]);
    let mut told = format!("{secret:?} {:#?}", &secret);
    let attempts = [("a", 0), ("a/b", 0), ("big", MAX_PLAINTEXT)].map(|(key, padding)| {
        let mut bytes = CANARY.as_bytes().to_vec();
        bytes.resize(bytes.len() + padding, b'x');
        secret
            .insert(key.to_owned(), SecretBytes::from(bytes))
            .unwrap_err()
    });
    let encoded = secret.encode();
    let damaged = &encoded.expose()[..encoded.len() - 1];
    let damaged = SecretValue::decode(damaged).unwrap_err();
    // Plaintext of another kind, where a length and a key are expected.
    let mut foreign = b"\x01\x00\x01\x00\x0c".to_vec();
    foreign.extend_from_slice(CANARY.as_bytes());
    let foreign = SecretValue::decode(&foreign).unwrap_err();
    for error in attempts.iter().chain([&damaged, &foreign]) {
        write!(told, "{error} {error:?}").unwrap();
    }
    assert!(!told.contains("C4N4RY"), "{told}");
    assert!(told.contains("[redacted]"), "{told}");
}

#[test]
fn values_differ_in_a_key_a_length_or_a_byte() {
    let one = value(&[("a", b"xy"), ("b", b"z")]);
    assert!(one == value(&[("b", b"z"), ("a", b"xy")]));
    for other in [
        value(&[("a", b"xz"), ("b", b"z")]),
        value(&[("a", b"xy"), ("b", b"")]),
        value(&[("a", b"xy"), ("c", b"z")]),
        value(&[("a", b"xy")]),
    ] {
        assert!(one != other, "{:?}", other.keys().collect::<Vec<_>>());
    }
}

#[test]
fn a_text_is_kept_until_another_key_is_added_and_counts_to_the_limit() {
    let mut one = value(&[("a", b"x")]);
    one.keep_text("{\"a\":\"x\"}").unwrap();
    assert_eq!((one.text(), one.size()), (Some("{\"a\":\"x\"}"), 11));
    one.keep_text("other").unwrap();
    assert_eq!(one.size(), 7);
    assert!(one == value(&[("a", b"x")]), "the keys are the value");
    assert!(!format!("{one:?}").contains("other"));
    one.insert("b".to_owned(), SecretBytes::copy_of(b"y"))
        .unwrap();
    assert_eq!((one.text(), one.size()), (None, 4));
    let long = "x".repeat(MAX_PLAINTEXT - 4);
    one.keep_text(&long).unwrap();
    assert!(is_same(
        &SecretValue::decode(one.encode().expose()).unwrap(),
        &one
    ));
    let size = MAX_PLAINTEXT + 1;
    assert_eq!(
        one.keep_text(&format!("{long}x")),
        Err(ValueError::TextTooLarge { size })
    );
    assert_eq!(one.text(), Some(long.as_str()));
}

proptest! {
    #[test]
    fn decoding_gives_what_was_encoded(value in any_value_and_text()) {
        let encoded = value.encode();
        // What was allocated at first, so that the buffer never grew.
        prop_assert_eq!(encoded.len(), value.encoded_length());
        let decoded = SecretValue::decode(encoded.expose()).unwrap();
        prop_assert!(is_same(&decoded, &value));
        prop_assert_eq!(decoded.size(), value.size());
    }

    #[test]
    fn a_value_without_a_text_has_the_form_that_it_always_had(mut value in any_value(), text in ".{0,40}") {
        let before = value.encode();
        prop_assert_eq!(before.expose()[0], 1);
        prop_assert_eq!(before.len(), HEADER + ENTRY_OVERHEAD * value.len() + value.size());
        value.keep_text(&text).unwrap();
        let keys = value.encode_keys();
        prop_assert_eq!(keys.expose(), before.expose());
        prop_assert_eq!(value.encode().expose()[0], 2);
    }

    #[test]
    fn cutting_or_extending_the_form_is_refused(value in any_value_and_text(), tail in vec(any::<u8>(), 1..9)) {
        let encoded = value.encode();
        for length in 0..encoded.len() {
            prop_assert_eq!(problem(&encoded.expose()[..length]), DecodeProblem::Truncated);
        }
        let mut extended = encoded.expose().to_vec();
        extended.extend_from_slice(&tail);
        prop_assert_eq!(problem(&extended), DecodeProblem::Trailing);
    }

    #[test]
    fn whatever_decodes_encodes_to_the_same_bytes(
        mut input in vec(any::<u8>(), 0..200),
        plausible in any::<bool>(),
    ) {
        if plausible && input.len() >= 5 {
            let header = [1 + (input[0] & 1), 0, input[2] & 3, 0, input[4] & 7];
            input[..5].copy_from_slice(&header);
        }
        if let Ok(value) = SecretValue::decode(&input) {
            let encoded = value.encode();
            prop_assert_eq!(encoded.expose(), &*input);
        }
    }

    #[test]
    fn a_changed_byte_is_refused_or_another_value(value in any_value_and_text(), at: prop::sample::Index, flip in 1..=255_u8) {
        let mut changed = value.encode().expose().to_vec();
        let at = at.index(changed.len());
        changed[at] ^= flip;
        if let Ok(other) = SecretValue::decode(&changed) {
            prop_assert!(!is_same(&other, &value));
        }
    }
}
