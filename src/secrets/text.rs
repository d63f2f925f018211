//! What a text or bytes that somebody puts as a whole become: keys with their values. Pure.
//!
//! A text that is a JSON object has a key for each of its members; any other text, and bytes, are the key `value`. The text is kept beside
//! the keys wherever they alone would not give it back.

use crate::crypto::SecretBytes;

use super::value::{KeyNameError, MAX_KEYS, SecretValue, ValueError, check_key_name, shown};

/// The only key of a secret whose value is given as it is, and not as JSON.
pub const WHOLE: &str = "value";

/// Why a text is not taken. Names keys, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// A member of the object cannot be a key.
    #[error("the member `{key}` of the JSON object cannot be a key: {problem}")]
    KeyName {
        /// Its name, shortened if it is very long.
        key: String,
        /// The rule that it breaks.
        problem: KeyNameError,
    },
    /// The name of a member, or its text, has half of a character of UTF-16 in it.
    #[error("a name or text in the JSON object is no Unicode")]
    NoUnicode,
    /// A member of the object is an object or an array.
    #[error(
        "the member `{key}` of the JSON object is an object or an array: put it as a text, in quotes"
    )]
    Nested {
        /// Its name.
        key: String,
    },
    /// A member of the object is null.
    #[error("the member `{key}` of the JSON object is null: leave it out, or put an empty text")]
    Null {
        /// Its name.
        key: String,
    },
    /// The object has more members than a value may have keys.
    #[error("the JSON object has more than {MAX_KEYS} members")]
    TooMany,
    /// The value breaks a limit, or a member occurs twice.
    #[error(transparent)]
    Value(ValueError),
}

/// The value that a text is.
///
/// # Errors
/// It is a JSON object that has members which cannot be keys, or breaks a limit.
pub fn from_text(text: &str) -> Result<SecretValue, TextError> {
    if !is_object(text) {
        return from_bytes(text.as_bytes());
    }
    let mut value = SecretValue::new();
    let mut members = Members::of(text);
    while let Some((name, written)) = members.next() {
        if value.len() == MAX_KEYS {
            return Err(TextError::TooMany);
        }
        let name: String = serde_json::from_str(name).map_err(|_| TextError::NoUnicode)?;
        check_key_name(&name).map_err(|problem| TextError::KeyName {
            key: shown(&name),
            problem,
        })?;
        let bytes = scalar(&name, written)?;
        value.insert(name, bytes).map_err(TextError::Value)?;
    }
    value.keep_text(text).map_err(TextError::Value)?;
    Ok(value)
}

/// The value that bytes are.
///
/// # Errors
/// They break a limit.
pub fn from_bytes(bytes: &[u8]) -> Result<SecretValue, TextError> {
    let entry = (WHOLE.to_owned(), SecretBytes::copy_of(bytes));
    SecretValue::from_entries([entry]).map_err(TextError::Value)
}

/// Whether it is an object in JSON (RFC 8259).
fn is_object(text: &str) -> bool {
    let begins = text.trim_start_matches(is_space).starts_with('{');
    begins && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// The bytes of a member that is a text; of a number, `true` or `false` as they are written.
fn scalar(key: &str, written: &str) -> Result<SecretBytes, TextError> {
    let key = || key.to_owned();
    match written.as_bytes().first() {
        Some(b'"') => {
            let text = serde_json::from_str::<String>(written);
            text.map(SecretBytes::from)
                .map_err(|_| TextError::NoUnicode)
        }
        Some(b'{' | b'[') => Err(TextError::Nested { key: key() }),
        Some(b'n') => Err(TextError::Null { key: key() }),
        _ => Ok(SecretBytes::copy_of(written.as_bytes())),
    }
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r')
}

/// The members of an object as they are written, name and value. The text is known to be an object.
struct Members<'a> {
    rest: &'a str,
}

impl<'a> Members<'a> {
    fn of(object: &'a str) -> Self {
        Self { rest: object }
    }

    fn next(&mut self) -> Option<(&'a str, &'a str)> {
        // What stands before a name: the brace of the object, or a comma.
        let between = |character| is_space(character) || matches!(character, '{' | ',');
        self.rest = self.rest.trim_start_matches(between);
        if !self.rest.starts_with('"') {
            return None;
        }
        let name = self.take(string_length);
        let colon = |character| is_space(character) || character == ':';
        self.rest = self.rest.trim_start_matches(colon);
        let value = self.take(value_length);
        Some((name, value))
    }

    fn take(&mut self, length: fn(&str) -> usize) -> &'a str {
        let length = length(self.rest);
        // Each ends before or after a character of ASCII.
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }
}

/// Bytes of the string that a text begins with, with its quotes.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let bytes = text.bytes().enumerate().skip(1);
    for (at, byte) in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Bytes of the value that a text begins with. What is nested ends where it is nested no more.
fn value_length(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(byte) = text.as_bytes().get(at) {
        match byte {
            b'"' => at += string_length(&text[at..]) - 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 0 => depth -= 1,
            b',' | b'}' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    at
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
