use std::collections::BTreeMap;

use proptest::collection::btree_map;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn keys(text: &str) -> BTreeMap<String, String> {
    let value = from_text(text).unwrap();
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().to_owned();
    value
        .iter()
        .map(|(key, bytes)| (key.to_owned(), text(bytes)))
        .collect()
}

fn only(key: &str, text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), text.to_owned())])
}

#[test]
fn an_object_has_a_key_for_each_member_and_keeps_numbers_as_they_are_written() {
    let text = " { \"user\" : \"a\\\"\\u00fc,}\" ,\n\"port\":5432, \"rate\": 1.50e3,\"on\":true , \"off\":false}\t";
    let expected = [
        ("user", "a\"\u{fc},}"),
        ("port", "5432"),
        ("rate", "1.50e3"),
        ("on", "true"),
        ("off", "false"),
    ];
    let expected = expected.map(|(key, text)| (key.to_owned(), text.to_owned()));
    assert_eq!(keys(text), BTreeMap::from(expected));
    assert_eq!(from_text(text).unwrap().text(), Some(text));
    assert_eq!(keys("{}"), BTreeMap::new());
    assert_eq!(from_text("{ }").unwrap().text(), Some("{ }"));
}

#[test]
fn whatever_is_no_object_is_one_value_as_it_is() {
    for text in [
        "",
        " ",
        "pw\n",
        "5432",
        "null",
        "[1,2]",
        "\"{}\"",
        "{",
        "{\"a\":1",
        "{\"a\":1}}",
        "{a: 1}",
        "{\"a\":01}",
        "\u{feff}{\"a\":\"b\"}",
        "{\"a\":\"b\",}",
    ] {
        assert_eq!(keys(text), only(WHOLE, text), "{text}");
        assert_eq!(from_text(text).unwrap().text(), None, "{text}");
    }
    let bytes = from_bytes(&[0xff, 0]).unwrap();
    assert_eq!(bytes.get(WHOLE), Some(&[0xff, 0][..]));
}

#[test]
fn what_cannot_be_a_key_is_refused_by_its_name_and_no_value_is_told() {
    for (text, said) in [
        ("{\"a\":{\"b\":\"C4N4RY\"}}", "`a`"),
        ("{\"x\":\"C4N4RY\",\"list\":[\"C4N4RY\",{}]}", "`list`"),
        ("{\"gone\":null}", "`gone`"),
        ("{\"a/b\":\"C4N4RY\"}", "`a/b`"),
        ("{\"\":\"C4N4RY\"}", "at least 1"),
        (
            "{\"a\":\"C4N4RY\",\"a\":\"C4N4RY\"}",
            "key `a` occurs twice",
        ),
        (
            "{\"\\u0061\":\"C4N4RY\",\"a\":\"C4N4RY\"}",
            "key `a` occurs twice",
        ),
        ("{\"a\":\"\\ud800\"}", "no Unicode"),
        ("{\"\\udc00\":\"C4N4RY\"}", "no Unicode"),
    ] {
        let told = from_text(text).unwrap_err().to_string();
        assert!(told.contains(said), "{text}: {told}");
        assert!(!told.contains("C4N4RY"), "{told}");
    }
    let many: serde_json::Map<_, _> = (0..=MAX_KEYS)
        .map(|number| (format!("k{number}"), json!("")))
        .collect();
    let many = Value::Object(many).to_string();
    assert_eq!(from_text(&many), Err(TextError::TooMany));
}

proptest! {
    #[test]
    fn an_object_of_any_texts_comes_back_byte_for_byte_and_key_by_key(
        members in btree_map("[a-zA-Z0-9_-][-._a-zA-Z0-9]{0,12}", any::<String>(), 0..6),
        pretty in any::<bool>(),
    ) {
        let object = json!(members);
        let text = if pretty { format!("{object:#}") } else { object.to_string() };
        let value = from_text(&text).unwrap();
        prop_assert_eq!(value.text(), Some(text.as_str()));
        let stored = SecretValue::decode(value.encode().expose()).unwrap();
        prop_assert_eq!(stored.text(), Some(text.as_str()));
        prop_assert_eq!(stored.len(), members.len());
        for (key, text) in &members {
            prop_assert_eq!(stored.get(key), Some(text.as_bytes()));
        }
    }

    #[test]
    fn any_text_is_refused_or_kept_byte_for_byte(text in any::<String>()) {
        if let Ok(value) = from_text(&text) {
            let kept = value.text().map_or_else(|| value.get(WHOLE).unwrap(), str::as_bytes);
            prop_assert_eq!(kept, text.as_bytes());
        }
    }

    #[test]
    fn texts_that_look_like_objects_never_panic(text in "[ \\t]{0,2}\\{[\"\\\\{}\\[\\],:a1nu. ]{0,24}\\}?") {
        if let Ok(value) = from_text(&text) {
            let kept = value.text().map_or_else(|| value.get(WHOLE).unwrap(), str::as_bytes);
            prop_assert_eq!(kept, text.as_bytes());
        }
    }
}
