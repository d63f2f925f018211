//! The plaintext of one version of a secret: a sorted map from key to bytes, and its binary form.
//!
//! Bytes go in and come out unchanged, whatever they are: nothing here trims, decodes or guesses.
//!
//! # Binary form
//!
//! What [`SecretValue::encode`] writes and an envelope of purpose `value` holds. Integers are
//! big-endian.
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 1 | format, `01` |
//! | 1 | 2 | number of entries `n`, at most [`MAX_KEYS`] |
//! | 3 | | `n` entries: |
//! | | 2 | length `k` of the key, 1 to [`MAX_KEY_NAME`] |
//! | | `k` | the key, ASCII |
//! | | 4 | length `v` of the value |
//! | | `v` | the value |
//!
//! Keys are strictly ascending by their bytes, so one value has one form. Nothing follows the last
//! entry. The sum of all `k` and `v` is at most [`MAX_PLAINTEXT`].
//!
//! `{"a": "x", "b": ""}` is `01 0002 0001 61 00000001 78 0001 62 00000000`.
//!
//! A value whose keys were read from one text, which has to be given back byte for byte, has format `02`: the same, and after the
//! last entry
//!
//! | bytes | content |
//! |---|---|
//! | 4 | length `w` of the text |
//! | `w` | the text, UTF-8 |
//!
//! `w` counts to the sum. A value without such a text has format `01`, always.

use std::collections::BTreeMap;
use std::fmt;

use crate::crypto::SecretBytes;

/// Most bytes that the keys and values of one version may have together.
pub const MAX_PLAINTEXT: usize = 256 * 1024;
/// Longest name of a key, as in the data of a Kubernetes Secret.
pub const MAX_KEY_NAME: usize = 253;
/// Most keys of one version. A target of the sealed form spends several hundred bytes on each key,
/// and a Secret holds 1 MiB.
pub const MAX_KEYS: usize = 1_024;

const FORMAT: u8 = 1;
const FORMAT_WITH_TEXT: u8 = 2;
const TEXT_OVERHEAD: usize = 4;
const HEADER: usize = 3;
const ENTRY_OVERHEAD: usize = 6;

/// Why a name cannot be a key of a secret. The rules are those of the API server for Secret data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyNameError {
    /// The empty name.
    #[error("a key must have at least 1 character")]
    Empty,
    /// Longer than [`MAX_KEY_NAME`].
    #[error("a key must have at most {MAX_KEY_NAME} characters")]
    TooLong,
    /// A character other than `[-._a-zA-Z0-9]`.
    #[error("a key may contain only letters, digits, `-`, `_` and `.`")]
    Character,
    /// `.`, or anything that begins with `..`.
    #[error("a key must not be `.` or begin with `..`")]
    DirectoryChange,
}

/// Why bytes are not a value's binary form. Carries no part of them: they may be plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeProblem {
    /// The input ends inside a field.
    #[error("it is cut short")]
    Truncated,
    /// The first byte is no format that this version knows.
    #[error("its format is not known")]
    Format,
    /// More keys, or longer ones, or more bytes than allowed.
    #[error("a length is over its limit")]
    Length,
    /// A key that is no valid name.
    #[error("a key is not a valid name")]
    KeyName,
    /// A key not greater than the one before it.
    #[error("its keys are not in ascending order")]
    Order,
    /// The text that its keys were read from is not UTF-8.
    #[error("its text is no text")]
    Text,
    /// Bytes after the last entry.
    #[error("bytes follow its end")]
    Trailing,
}

/// Why a value cannot be built or read. Names keys and limits, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// The name of a key is refused.
    #[error("key `{key}` is not allowed: {problem}")]
    KeyName {
        /// The name, shortened if it is very long.
        key: String,
        /// The rule that it breaks.
        problem: KeyNameError,
    },
    /// The same key twice.
    #[error("key `{key}` occurs twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// More than [`MAX_KEYS`] keys.
    #[error("with key `{key}` there would be more than {MAX_KEYS} keys")]
    TooManyKeys {
        /// The first key over the limit.
        key: String,
    },
    /// More than [`MAX_PLAINTEXT`] bytes.
    #[error(
        "with key `{key}` the keys and values have {size} bytes, more than the limit of \
         {MAX_PLAINTEXT} bytes"
    )]
    TooLarge {
        /// The first key over the limit.
        key: String,
        /// The size with it.
        size: usize,
    },
    /// More than [`MAX_PLAINTEXT`] bytes, with the text that the keys were read from.
    #[error(
        "the keys and values have, with the text that they were read from, {size} bytes, more than the limit of \
         {MAX_PLAINTEXT} bytes"
    )]
    TextTooLarge {
        /// The size with it.
        size: usize,
    },
    /// The stored form is damaged, or none.
    #[error("the stored value cannot be read: {problem}")]
    Malformed {
        /// What is wrong with it.
        problem: DecodeProblem,
    },
}

/// Checks the name of a key by the API server's rules for Secret data.
pub fn check_key_name(key: &str) -> Result<(), KeyNameError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if key.is_empty() {
        Err(KeyNameError::Empty)
    } else if key.len() > MAX_KEY_NAME {
        Err(KeyNameError::TooLong)
    } else if !key.bytes().all(allowed) {
        Err(KeyNameError::Character)
    } else if key == "." || key.starts_with("..") {
        Err(KeyNameError::DirectoryChange)
    } else {
        Ok(())
    }
}

/// A name as an error shows it: whole, unless it is longer than any valid one.
pub(super) fn shown(name: &str) -> String {
    if name.chars().count() <= MAX_KEY_NAME + 1 {
        return name.to_owned();
    }
    let mut short: String = name.chars().take(32).collect();
    short.push('…');
    short
}

/// The plaintext of one version: sorted keys with their bytes, zeroized when dropped.
///
/// It has no `Clone` and no `Serialize`, prints as `[redacted]`, and compares in constant time for
/// values of the same length. Names and lengths are not secret: the stored ciphertext shows them.
#[derive(Default)]
pub struct SecretValue {
    entries: BTreeMap<String, SecretBytes>,
    /// The text that the entries were read from.
    text: Option<SecretBytes>,
    size: usize,
}

impl SecretValue {
    /// A value without keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Builds a value from entries in any order; a key that occurs twice is refused.
    pub fn from_entries(
        entries: impl IntoIterator<Item = (String, SecretBytes)>,
    ) -> Result<Self, ValueError> {
        let mut value = Self::new();
        for (key, bytes) in entries {
            value.insert(key, bytes)?;
        }
        Ok(value)
    }

    /// Adds a key. One that is there already is refused, never replaced. The text that the other keys were read from is forgotten.
    pub fn insert(&mut self, key: String, bytes: SecretBytes) -> Result<(), ValueError> {
        if let Err(problem) = check_key_name(&key) {
            return Err(ValueError::KeyName {
                key: shown(&key),
                problem,
            });
        }
        if self.entries.contains_key(&key) {
            return Err(ValueError::DuplicateKey { key });
        }
        if self.entries.len() == MAX_KEYS {
            return Err(ValueError::TooManyKeys { key });
        }
        let size = self
            .without_text()
            .saturating_add(key.len())
            .saturating_add(bytes.len());
        if size > MAX_PLAINTEXT {
            return Err(ValueError::TooLarge { key, size });
        }
        self.text = None;
        self.size = size;
        self.entries.insert(key, bytes);
        Ok(())
    }

    /// Keeps the text that the keys were read from, to be given back as it is. Nothing else is ever made of it: it is delivered nowhere.
    ///
    /// # Errors
    /// There is no room for it beside the keys.
    pub fn keep_text(&mut self, text: &str) -> Result<(), ValueError> {
        let size = self.without_text().saturating_add(text.len());
        if size > MAX_PLAINTEXT {
            return Err(ValueError::TextTooLarge { size });
        }
        self.text = Some(SecretBytes::copy_of(text.as_bytes()));
        self.size = size;
        Ok(())
    }

    /// The text that the keys were read from, if it is kept.
    pub fn text(&self) -> Option<&str> {
        let text = self.text.as_ref()?;
        std::str::from_utf8(text.expose()).ok()
    }

    /// Bytes of the keys and values alone.
    fn without_text(&self) -> usize {
        let text = self.text.as_ref().map_or(0, SecretBytes::len);
        self.size.saturating_sub(text)
    }

    /// The bytes of a key.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.entries.get(key).map(SecretBytes::expose)
    }

    /// The keys, ascending.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The entries, by ascending key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &[u8])> {
        self.entries
            .iter()
            .map(|(key, bytes)| (key.as_str(), bytes.expose()))
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes of all keys and values together, and of the text that they were read from: what [`MAX_PLAINTEXT`] bounds.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Bytes of the binary form.
    pub fn encoded_length(&self) -> usize {
        let text = self.text.as_ref().map_or(0, |_| TEXT_OVERHEAD);
        HEADER + ENTRY_OVERHEAD * self.entries.len() + self.size + text
    }

    /// The binary form.
    pub fn encode(&self) -> SecretBytes {
        let Some(text) = &self.text else {
            return self.encode_keys();
        };
        let mut encoded = self.encode_as(FORMAT_WITH_TEXT, self.encoded_length());
        let length = u32::try_from(text.len()).expect("keep_text allows MAX_PLAINTEXT at most");
        encoded.extend_from_slice(&length.to_be_bytes());
        encoded.extend_from_slice(text.expose());
        encoded
    }

    /// The binary form of the keys alone: for whoever may be of a release that knows no other, and is given no text.
    pub fn encode_keys(&self) -> SecretBytes {
        self.encode_as(FORMAT, self.encoded_length())
    }

    fn encode_as(&self, format: u8, capacity: usize) -> SecretBytes {
        let mut encoded = SecretBytes::with_capacity(capacity);
        encoded.extend_from_slice(&[format]);
        let count = u16::try_from(self.entries.len()).expect("insert allows MAX_KEYS at most");
        encoded.extend_from_slice(&count.to_be_bytes());
        for (key, bytes) in &self.entries {
            let key_length = u16::try_from(key.len()).expect("insert allows MAX_KEY_NAME at most");
            encoded.extend_from_slice(&key_length.to_be_bytes());
            encoded.extend_from_slice(key.as_bytes());
            let length = u32::try_from(bytes.len()).expect("insert allows MAX_PLAINTEXT at most");
            encoded.extend_from_slice(&length.to_be_bytes());
            encoded.extend_from_slice(bytes.expose());
        }
        encoded
    }

    /// Reads the binary form, strictly: only what [`encode`](Self::encode) writes is accepted.
    pub fn decode(input: &[u8]) -> Result<Self, ValueError> {
        decode(input).map_err(|problem| ValueError::Malformed { problem })
    }
}

fn decode(input: &[u8]) -> Result<SecretValue, DecodeProblem> {
    let mut reader = Reader { rest: input };
    let [format @ (FORMAT | FORMAT_WITH_TEXT)] = reader.array()? else {
        return Err(DecodeProblem::Format);
    };
    let count = usize::from(u16::from_be_bytes(reader.array()?));
    if count > MAX_KEYS {
        return Err(DecodeProblem::Length);
    }
    let mut value = SecretValue::new();
    for _ in 0..count {
        let length = usize::from(u16::from_be_bytes(reader.array()?));
        if length > MAX_KEY_NAME {
            return Err(DecodeProblem::Length);
        }
        let key = std::str::from_utf8(reader.take(length)?).map_err(|_| DecodeProblem::KeyName)?;
        check_key_name(key).map_err(|_| DecodeProblem::KeyName)?;
        if value
            .entries
            .last_key_value()
            .is_some_and(|(last, _)| key <= last.as_str())
        {
            return Err(DecodeProblem::Order);
        }
        let length = usize::try_from(u32::from_be_bytes(reader.array()?))
            .map_err(|_| DecodeProblem::Length)?;
        let size = value.size.saturating_add(key.len()).saturating_add(length);
        if size > MAX_PLAINTEXT {
            return Err(DecodeProblem::Length);
        }
        let bytes = SecretBytes::copy_of(reader.take(length)?);
        value.entries.insert(key.to_owned(), bytes);
        value.size = size;
    }
    if format == FORMAT_WITH_TEXT {
        let length = usize::try_from(u32::from_be_bytes(reader.array()?))
            .map_err(|_| DecodeProblem::Length)?;
        if value.size.saturating_add(length) > MAX_PLAINTEXT {
            return Err(DecodeProblem::Length);
        }
        let text = std::str::from_utf8(reader.take(length)?).map_err(|_| DecodeProblem::Text)?;
        value.text = Some(SecretBytes::copy_of(text.as_bytes()));
        value.size += length;
    }
    if !reader.rest.is_empty() {
        return Err(DecodeProblem::Trailing);
    }
    Ok(value)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeProblem> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(DecodeProblem::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeProblem> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(DecodeProblem::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }
}

impl PartialEq for SecretValue {
    /// Looks at every byte of every value, wherever the first difference is. The text that the keys were read from does not count:
    /// the same keys are the same value.
    fn eq(&self, other: &Self) -> bool {
        if !self.keys().eq(other.keys()) {
            return false;
        }
        let pairs = self.entries.values().zip(other.entries.values());
        pairs.fold(true, |equal, (left, right)| (left == right) & equal)
    }
}

impl Eq for SecretValue {}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue([redacted])")
    }
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
