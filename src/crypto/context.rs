//! The encryption context: public pairs that a ciphertext is bound to.
//!
//! Canonical form (of the AWS Encryption SDK): nothing if there are no pairs, otherwise
//! `count 2 | (key length 2 | key | value length 2 | value)*`, keys in ascending order of their bytes.

use std::collections::BTreeMap;

use super::{
    bytes::Reader,
    error::{ContextError, ParseError},
};

/// Key prefixes that no user may set: ours, and the SDKs'.
pub const RESERVED_PREFIXES: [&str; 2] = ["keystead:", "aws-crypto-"];
/// Most pairs a context may have.
pub const MAX_CONTEXT_PAIRS: usize = 64;
/// Most bytes the canonical form may have; AWS KMS has the same limit.
pub const MAX_CONTEXT_BYTES: usize = 8192;

/// The key under which the SDKs keep a signed message's public key.
pub(super) const PUBLIC_KEY: &str = "aws-crypto-public-key";

/// Pairs that a ciphertext is bound to. They are not secret.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EncryptionContext {
    // A `BTreeMap` of strings iterates in the canonical order.
    pairs: BTreeMap<String, String>,
}

impl EncryptionContext {
    /// No pairs.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A user's pairs.
    ///
    /// # Errors
    /// A reserved, repeated or empty key, or more pairs or bytes than the bounds.
    pub fn user<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self, ContextError>
    where
        K: Into<String>,
        V: Into<String>,
    {
        let mut context = Self::empty();
        for (key, value) in pairs {
            let key = key.into();
            if RESERVED_PREFIXES
                .iter()
                .any(|prefix| key.starts_with(prefix))
            {
                return Err(ContextError::Reserved { key });
            }
            context.insert(key, value.into())?;
        }
        Ok(context)
    }

    /// Adds a pair, reserved or not, within the bounds.
    pub(super) fn insert(&mut self, key: String, value: String) -> Result<(), ContextError> {
        if key.is_empty() {
            return Err(ContextError::EmptyKey);
        }
        if self.pairs.contains_key(&key) {
            return Err(ContextError::Repeated { key });
        }
        if self.pairs.len() == MAX_CONTEXT_PAIRS {
            return Err(ContextError::TooManyPairs);
        }
        if self.encoded_length() + 6 + key.len() + value.len() > MAX_CONTEXT_BYTES {
            return Err(ContextError::TooLong);
        }
        self.pairs.insert(key, value);
        Ok(())
    }

    /// The pairs, in canonical order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.get(key).map(String::as_str)
    }

    /// The canonical form.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode(self.pairs())
    }

    /// The canonical form with the public key of a signed message added.
    pub(super) fn to_bytes_signed(&self, public_key: &str) -> Vec<u8> {
        let before = self.pairs().take_while(|&(key, _)| key < PUBLIC_KEY);
        let after = self.pairs().skip_while(|&(key, _)| key < PUBLIC_KEY);
        self.encode(before.chain([(PUBLIC_KEY, public_key)]).chain(after))
    }

    fn encode<'a>(&self, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_length() + 128);
        let mut count = 0_u16;
        out.extend_from_slice(&[0; 2]);
        for (key, value) in pairs {
            for text in [key, value] {
                let length = u16::try_from(text.len()).expect("MAX_CONTEXT_BYTES bounds each text");
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(text.as_bytes());
            }
            count += 1;
        }
        if count == 0 {
            return Vec::new();
        }
        out[..2].copy_from_slice(&count.to_be_bytes());
        out
    }

    fn encoded_length(&self) -> usize {
        self.pairs()
            .map(|(key, value)| 4 + key.len() + value.len())
            .sum()
    }

    /// The first of our keys that `encoded` lacks or gives another value.
    pub(super) fn first_difference(&self, encoded: &[u8]) -> Option<&str> {
        self.pairs()
            .find(|&ours| {
                !Pairs::new(encoded).is_ok_and(|mut theirs| theirs.any(|pair| pair == ours))
            })
            .map(|(key, _)| key)
    }
}

/// The pairs of a canonical form that somebody else wrote. Checked completely when made.
#[derive(Clone)]
pub(super) struct Pairs<'a> {
    count: u16,
    reader: Reader<'a>,
}

impl<'a> Pairs<'a> {
    /// Checks that `encoded` is canonical: UTF-8, keys ascending, nothing missing or left over.
    pub(super) fn new(encoded: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(encoded);
        if encoded.is_empty() {
            return Ok(Self { count: 0, reader });
        }
        let count = reader.u16().map_err(|_| ParseError::Context)?;
        let pairs = Self { count, reader };
        if count == 0 {
            return Err(ParseError::Context);
        }
        let mut previous = None;
        for _ in 0..count {
            let (key, _) = read_pair(&mut reader)?;
            if previous >= Some(key) {
                return Err(ParseError::Context);
            }
            previous = Some(key);
        }
        reader.end().map_err(|_| ParseError::Context)?;
        Ok(pairs)
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        read_pair(&mut self.reader).ok()
    }
}

fn read_pair<'a>(reader: &mut Reader<'a>) -> Result<(&'a str, &'a str), ParseError> {
    let mut text = || {
        let bytes = reader.prefixed().map_err(|_| ParseError::Context)?;
        std::str::from_utf8(bytes).map_err(|_| ParseError::Context)
    };
    Ok((text()?, text()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_form_sorts_by_bytes_and_is_empty_without_pairs() {
        assert_eq!(EncryptionContext::empty().to_bytes(), b"");
        let context = EncryptionContext::user([("b", "2"), ("\u{e9}", "3"), ("B", "1")]).unwrap();
        assert_eq!(
            context.to_bytes(),
            b"\x00\x03\x00\x01B\x00\x011\x00\x01b\x00\x012\x00\x02\xc3\xa9\x00\x013"
        );
        let read: Vec<_> = Pairs::new(&context.to_bytes())
            .unwrap()
            .map(|(k, _)| k.len())
            .collect();
        assert_eq!(read, [1, 1, 2]);
    }

    #[test]
    fn users_cannot_set_reserved_repeated_or_empty_keys() {
        for key in ["keystead:purpose", "keystead:", "aws-crypto-public-key"] {
            let refused = EncryptionContext::user([(key, "x")]);
            assert_eq!(refused, Err(ContextError::Reserved { key: key.into() }));
        }
        let repeated = EncryptionContext::user([("a", "1"), ("a", "2")]);
        assert_eq!(repeated, Err(ContextError::Repeated { key: "a".into() }));
        assert_eq!(
            EncryptionContext::user([("", "1")]),
            Err(ContextError::EmptyKey)
        );
    }

    #[test]
    fn pairs_and_bytes_are_bounded() {
        let pairs = |count: usize| (0..count).map(|i| (format!("{i}"), ""));
        assert!(EncryptionContext::user(pairs(MAX_CONTEXT_PAIRS)).is_ok());
        let many = EncryptionContext::user(pairs(MAX_CONTEXT_PAIRS + 1));
        assert_eq!(many, Err(ContextError::TooManyPairs));
        let long = |length: usize| EncryptionContext::user([("k", "v".repeat(length))]);
        assert_eq!(
            long(MAX_CONTEXT_BYTES - 7).unwrap().to_bytes().len(),
            MAX_CONTEXT_BYTES
        );
        assert_eq!(long(MAX_CONTEXT_BYTES - 6), Err(ContextError::TooLong));
    }

    #[test]
    fn other_encodings_are_refused() {
        let refused: [&[u8]; 8] = [
            b"\x00",
            b"\x00\x00",
            b"\x00\x01\x00\x01a",
            b"\x00\x01\x00\x01a\x00\x02b",
            b"\x00\x01\x00\x01a\x00\x01bX",
            b"\x00\x02\x00\x01b\x00\x00\x00\x01a\x00\x00",
            b"\x00\x02\x00\x01a\x00\x00\x00\x01a\x00\x00",
            b"\x00\x01\x00\x01\xff\x00\x00",
        ];
        for bytes in refused {
            assert_eq!(
                Pairs::new(bytes).err(),
                Some(ParseError::Context),
                "{bytes:?}"
            );
        }
    }
}
