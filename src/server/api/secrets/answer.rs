//! How a value is written in an answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::secrets::SecretValue;
use crate::secrets::text::WHOLE;

/// A value as AWS has it: a text, or bytes. What it borrows from is zeroized by its owner, what it is written into by the allocator.
#[derive(Serialize)]
pub(super) enum Written<'a> {
    /// `SecretString`.
    SecretString(String),
    /// `SecretBinary`: in base64.
    SecretBinary(#[serde(serialize_with = "base64")] &'a [u8]),
}

/// Writes a value: the text that it was put as, where that is kept; that of the only key `value` as it is; otherwise a JSON object of all keys, in order, in which what is no text is
/// `{"base64": "..."}`.
pub(super) fn written(value: &SecretValue) -> Result<Written<'_>, serde_json::Error> {
    if let Some(text) = value.text() {
        return Ok(Written::SecretString(text.to_owned()));
    }
    if let Some(whole) = value.get(WHOLE).filter(|_| value.len() == 1) {
        return Ok(match std::str::from_utf8(whole) {
            Ok(text) => Written::SecretString(text.to_owned()),
            Err(_) => Written::SecretBinary(whole),
        });
    }
    serde_json::to_string(&Keys(value)).map(Written::SecretString)
}

struct Keys<'a>(&'a SecretValue);

impl Serialize for Keys<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, bytes) in self.0.iter() {
            match std::str::from_utf8(bytes) {
                Ok(text) => map.serialize_entry(key, text)?,
                Err(_) => map.serialize_entry(key, &Binary { base64: bytes })?,
            }
        }
        map.end()
    }
}

#[derive(Serialize)]
struct Binary<'a> {
    #[serde(serialize_with = "base64")]
    base64: &'a [u8],
}

fn base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::crypto::SecretBytes;

    fn answer(entries: &[(&str, &[u8])]) -> serde_json::Value {
        let entries = entries
            .iter()
            .map(|(key, bytes)| ((*key).to_owned(), SecretBytes::copy_of(bytes)));
        let value = SecretValue::from_entries(entries).unwrap();
        serde_json::to_value(written(&value).unwrap()).unwrap()
    }

    #[test]
    fn the_only_key_value_is_given_as_it_is() {
        let text = "{\"as\": \"written\"} ";
        assert_eq!(
            answer(&[("value", text.as_bytes())]),
            json!({"SecretString": text})
        );
        assert_eq!(
            answer(&[("value", &[0xff, 0])]),
            json!({"SecretBinary": "/wA="})
        );
        assert_eq!(answer(&[("value", b"")]), json!({"SecretString": ""}));
    }

    #[test]
    fn a_text_that_is_kept_is_given_as_it_was_put() {
        let text = "{ \"value\" : \"x\",\"b\":1.0 }";
        let value = crate::secrets::from_text(text).unwrap();
        let answer = serde_json::to_value(written(&value).unwrap()).unwrap();
        assert_eq!(answer, json!({"SecretString": text}));
    }

    #[test]
    fn several_keys_are_one_object_in_json() {
        let answer = answer(&[
            ("user", b"a"),
            ("password", "p\"\u{fc}".as_bytes()),
            ("der", &[0xff]),
        ]);
        let text = answer["SecretString"].as_str().unwrap();
        assert_eq!(
            text,
            "{\"der\":{\"base64\":\"/w==\"},\"password\":\"p\\\"\u{fc}\",\"user\":\"a\"}"
        );
    }
}
