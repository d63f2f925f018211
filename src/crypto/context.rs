//! The encryption context: public pairs that a ciphertext is bound to.
//!
//! Canonical form (of the AWS Encryption SDK): nothing if there are no pairs, otherwise
//! `count 2 | (key length 2 | key | value length 2 | value)*`, keys in ascending order of their bytes.

use std::collections::BTreeMap;

use super::{
    bytes::Reader,
    error::{ContextError, ParseError},
};

/// Prefix of the pairs that the operator adds to what it stores.
pub const OWN_PREFIX: &str = "keystead:";
/// Key prefixes that no user may set: ours, and the SDKs'.
pub const RESERVED_PREFIXES: [&str; 2] = [OWN_PREFIX, "aws-crypto-"];
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

    /// The pairs that are not the operator's own, in canonical order.
    pub fn user_pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs().filter(|(key, _)| !key.starts_with(OWN_PREFIX))
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

    /// Whether `theirs` are the same pairs.
    pub(super) fn equals(&self, theirs: &Pairs<'_>) -> bool {
        self.pairs()
            .eq(theirs.iter().map(|(&key, &value)| (key, value)))
    }

    /// The first of our keys that `theirs` lack or give another value.
    pub(super) fn first_difference(&self, theirs: &Pairs<'_>) -> Option<&str> {
        self.pairs()
            .find(|(key, value)| theirs.get(key) != Some(value))
            .map(|(key, _)| key)
    }
}

/// The pairs in a message of somebody else.
pub(super) type Pairs<'a> = BTreeMap<&'a str, &'a str>;

/// Reads pairs. Not every SDK sorts them as the specification wants, so order is free; a repeated key, a count
/// of zero and anything left over are not.
pub(super) fn parse_pairs(encoded: &[u8]) -> Result<Pairs<'_>, ParseError> {
    let mut pairs = Pairs::new();
    if encoded.is_empty() {
        return Ok(pairs);
    }
    let mut reader = Reader::new(encoded);
    let count = reader.u16().map_err(|_| ParseError::Context)?;
    // One more than a caller may state: the public key of a signed message.
    if count == 0 || usize::from(count) > MAX_CONTEXT_PAIRS + 1 {
        return Err(ParseError::Context);
    }
    for _ in 0..count {
        let (key, value) = (read_text(&mut reader)?, read_text(&mut reader)?);
        if pairs.insert(key, value).is_some() {
            return Err(ParseError::Context);
        }
    }
    reader.end().map_err(|_| ParseError::Context)?;
    Ok(pairs)
}

fn read_text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, ParseError> {
    let bytes = reader.prefixed().map_err(|_| ParseError::Context)?;
    std::str::from_utf8(bytes).map_err(|_| ParseError::Context)
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
        assert!(context.equals(&parse_pairs(&context.to_bytes()).unwrap()));
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
        let refused: [&[u8]; 7] = [
            b"\x00",
            b"\x00\x00",
            b"\x00\x01\x00\x01a",
            b"\x00\x01\x00\x01a\x00\x02b",
            b"\x00\x01\x00\x01a\x00\x01bX",
            b"\x00\x02\x00\x01a\x00\x00\x00\x01a\x00\x00",
            b"\x00\x01\x00\x01\xff\x00\x00",
        ];
        let many: Vec<u8> = (0..66).flat_map(|key| [0, 1, key, 0, 0]).collect();
        assert_eq!(
            parse_pairs(&[&[0, 66], many.as_slice()].concat()),
            Err(ParseError::Context)
        );
        assert!(parse_pairs(&[&[0, 65], &many[..65 * 5]].concat()).is_ok());
        for bytes in refused {
            assert_eq!(
                parse_pairs(bytes).err(),
                Some(ParseError::Context),
                "{bytes:?}"
            );
        }
    }
}
